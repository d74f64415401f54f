"""Pickles of networks and of their subclasses, by every protocol."""

from __future__ import annotations

import copy
import pickle

import pytest

from helpers import Slotted
from micrograd import Value, nn, nn_tanh


class Counted(nn_tanh.Neuron):
    def __getstate__(self):
        return {"kept": [w.data for w in self.w]}

    def __setstate__(self, state):
        self.w, self.b, self.nonlin = [Value(x) for x in state["kept"]], Value(0.0), True


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_states_of_subclasses(protocol):
    layer = Slotted(2, 3)
    layer.extra, layer.more = "slot", "dict"
    neuron = Counted(2)
    for duplicate in (copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x, protocol))):
        twin = duplicate(layer)
        assert (twin.extra, twin.more) == ("slot", "dict")
        assert [out.data for out in twin([1.0, 2.0])] == [out.data for out in layer([1.0, 2.0])]
        other = duplicate(neuron)
        assert (other.b.data, [w.data for w in other.w]) == (0.0, [w.data for w in neuron.w])


class SlottedNetwork(nn.MLP):
    __slots__ = ("extra",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("make", [lambda: nn.MLP(2, [2, 1]), lambda: SlottedNetwork(2, [1])], ids=["MLP", "subclass"])
def test_networks_are_pickled_by_every_protocol(make, protocol):
    model = make()
    model.parent, model.extra = model, "kept"
    twin = pickle.loads(pickle.dumps(model, protocol))
    assert twin.parent is twin
    assert twin.extra == "kept"
    assert twin.state_dict() == model.state_dict()


def test_a_slot_that_is_not_set_stays_so():
    layer = Slotted(2, 1)
    for twin in (copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert not hasattr(twin, "extra")
        twin.extra = 1

"""copy, deepcopy and pickle of Values and modules: a copy is a leaf, without the graph."""

from __future__ import annotations

import copy
import math
import pickle
import random
import subprocess
import sys

import pytest

from helpers import lecture_tanh
from micrograd import Value, nn

COPIES = {
    "pickle": lambda v: pickle.loads(pickle.dumps(v)),
    "pickle protocol 2": lambda v: pickle.loads(pickle.dumps(v, 2)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


every_copy = pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)


class Named(Value):
    def __init__(self, data, name):
        super().__init__(data)
        self.name = name


def _leaf():
    return Value(2.5)


def _result():
    return Value(5.0) * 0.5


def _user_op():
    x = Value(0.5)
    out = lecture_tanh(x)
    out.data = 2.5
    return out


def _user_op_with_local_grads():
    return Value(2.5, (Value(1.0), Value(2.0)), (1.0, 2.0))


def _subclass():
    return Named(2.5, "w")


@every_copy
@pytest.mark.parametrize("make", [_leaf, _result, _user_op, _user_op_with_local_grads, _subclass])
def test_a_copy_is_a_leaf_with_data_grad_and_attributes(make, duplicate):
    v = make()
    v.grad, v.label, v.history = -1.5, "v", [1, 2]
    twin = duplicate(v)
    assert twin is not v
    assert isinstance(twin, type(v)) if make is _subclass else type(twin) is Value
    assert (twin.data, twin.grad, twin.label, twin.history) == (2.5, -1.5, "v", [1, 2])
    assert (twin._children, twin._prev, twin._op, twin._local_grads) == ((), set(), "", ())
    assert getattr(twin, "name", None) == getattr(v, "name", None)
    (twin * 2.0).backward()
    assert (twin.grad, v.grad) == (0.5, -1.5)


@every_copy
def test_nonfinite_and_signed_zero_data_survive(duplicate):
    for x in (math.nan, math.inf, -math.inf, -0.0, 5e-324):
        assert duplicate(Value(x)).data.hex() == x.hex()


def test_deepcopy_and_pickle_keep_shared_values_shared():
    v = Value(2.0)
    for duplicate in (copy.deepcopy, COPIES["pickle"]):
        a, b = duplicate([v, v])
        assert a is b
        assert a is not v


def test_deepcopy_is_deep_and_copy_is_not():
    v = Value(2.0)
    v.history = []
    assert copy.copy(v).history is v.history
    assert copy.deepcopy(v).history is not v.history


@pytest.mark.parametrize("duplicate", [COPIES["pickle"], copy.deepcopy])
def test_modules_are_copied_without_their_graphs(duplicate):
    random.seed(1)
    model = nn.MLP(2, [3, 1])
    model.step = 7
    out = model([1.0, -1.0])
    out.backward()
    twin = duplicate(model)
    assert repr(twin) == repr(model)
    assert twin.step == 7
    assert twin.state_dict() == model.state_dict()
    assert [p.grad for p in twin.parameters()] == [p.grad for p in model.parameters()]
    assert not {*twin.parameters()} & {*model.parameters()}
    assert twin([1.0, -1.0]).data == out.data


@pytest.mark.parametrize("duplicate", [COPIES["pickle"], copy.deepcopy])
def test_a_module_of_computed_values_is_copied_without_the_graph(duplicate):
    neuron = nn.Neuron(2)
    for _ in range(10_000):
        neuron.b = neuron.b * 1.0
    twin = duplicate(neuron)
    assert twin.b._children == ()
    assert len(pickle.dumps(neuron)) < 1000


@every_copy
def test_the_end_of_a_long_chain_is_copied_without_recursion(duplicate):
    v = Value(1.0)
    for _ in range(100_000):
        v = v + 1.0
    assert duplicate(v).data == 100_001.0
    assert len(pickle.dumps(v)) < 500


def test_unpickling_in_another_process():
    v = Value(2.5)
    v.label = "v"
    source = "import pickle, sys; v = pickle.load(sys.stdin.buffer); print(v, v.label)"
    done = subprocess.run([sys.executable, "-c", source], input=pickle.dumps(v), capture_output=True, check=True)
    assert done.stdout.decode().strip() == "Value(data=2.5, grad=0.0) v"

"""Module.state_dict and load_state_dict."""

from __future__ import annotations

import numpy as np
import pytest

from micrograd import Value, nn, nn_tanh


class Block(nn.Module):
    """Parameters in every container at once, among attributes that are none."""

    def __init__(self):
        self.scale = Value(2.0)
        self.name = "block"
        self.width = 3
        self.table = [[Value(1.0), Value(2.0)], [Value(3.0), (Value(4.0),)]]
        self.heads = {"q": nn.Neuron(1), "k": [Value(5.0)], 7: Value(6.0)}
        self.inner = nn.Layer(1, 2)
        self.empty = []
        self.text = ["a", None, 2.0]


BLOCK_NAMES = [
    "scale",
    "table.0.0",
    "table.0.1",
    "table.1.0",
    "table.1.1.0",
    "heads.q.w.0",
    "heads.q.b",
    "heads.k.0",
    "heads.7",
    "inner.neurons.0.w.0",
    "inner.neurons.0.b",
    "inner.neurons.1.w.0",
    "inner.neurons.1.b",
]


def test_parameters_of_a_module_of_the_users():
    block = Block()
    named = list(block.named_parameters())
    assert [name for name, _ in named] == BLOCK_NAMES
    assert block.parameters() == [p for _, p in named]
    assert block.parameters()[4] is block.table[1][1][0]
    sum(block.parameters()).backward()
    assert {p.grad for p in block.parameters()} == {1.0}
    block.zero_grad()
    assert {p.grad for p in block.parameters()} == {0.0}


@pytest.mark.parametrize("module", [nn, nn_tanh])
def test_state_dict_keys_follow_parameters(module):
    model = module.MLP(2, [2, 1])
    state = model.state_dict()
    assert list(state) == [
        "layers.0.neurons.0.w.0",
        "layers.0.neurons.0.w.1",
        "layers.0.neurons.0.b",
        "layers.0.neurons.1.w.0",
        "layers.0.neurons.1.w.1",
        "layers.0.neurons.1.b",
        "layers.1.neurons.0.w.0",
        "layers.1.neurons.0.w.1",
        "layers.1.neurons.0.b",
    ]
    assert list(state.values()) == [p.data for p in model.parameters()]
    assert {type(x) for x in state.values()} == {float}


@pytest.mark.parametrize(
    "make", [Block, lambda: nn.MLP(3, [4, 1]), lambda: nn_tanh.MLP(3, [4, 1]), lambda: nn.Neuron(2)]
)
def test_state_dict_round_trip(make):
    source, target = make(), make()
    for i, p in enumerate(source.parameters()):
        p.data = i / 7
    parameters = target.parameters()
    assert target.load_state_dict(source.state_dict()) == ([], [])
    assert target.state_dict() == source.state_dict()
    assert target.parameters() == parameters


def test_a_state_dict_is_a_snapshot():
    neuron = nn.Neuron(1)
    state = neuron.state_dict()
    before = dict(state)
    neuron.b.data = 5.0
    assert state == before
    state["b"] = 9.0
    assert neuron.b.data == 5.0


def test_load_state_dict_takes_numbers_of_any_type_and_keeps_grads():
    neuron = nn.Neuron(2)
    neuron.b.grad = 3.0
    neuron.load_state_dict({"w.0": 1, "w.1": np.float32(0.5), "b": True})
    assert [p.data for p in neuron.parameters()] == [1.0, 0.5, 1.0]
    assert neuron.b.grad == 3.0


def test_load_state_dict_that_is_not_strict_reports_what_it_passed_over():
    neuron = nn.Neuron(2)
    w1 = neuron.w[1].data
    keys = neuron.load_state_dict({"b": 7.0, "w.0": 1.0, "w.2": 9.0}, strict=False)
    assert (keys.missing_keys, keys.unexpected_keys) == (["w.1"], ["w.2"])
    assert keys == (["w.1"], ["w.2"])
    assert [p.data for p in neuron.parameters()] == [1.0, w1, 7.0]


@pytest.mark.parametrize(
    ("change", "strict", "named"),
    [
        ({"b": None}, True, ["keys that hold no number", "'b'", "NoneType"]),
        ({"b": "1.0"}, False, ["keys that hold no number", "'b'", "str"]),
        ({"b": [1.0]}, True, ["'b'", "list"]),
        ({"b": Value(1.0)}, True, ["'b'", "Value"]),
        ({"b": 10**400}, True, ["'b'", "too large"]),
        ({"w.2": 1.0, "bias": 2.0}, True, ["unexpected keys", "'w.2'", "'bias'"]),
        ({"b": ..., "w.1": ...}, True, ["missing keys", "'b'", "'w.1'"]),
        ({"b": ..., "c": 1.0, "w.1": "x"}, True, ["missing keys: 'b'", "unexpected keys: 'c'", "'w.1'"]),
    ],
)
def test_load_state_dict_names_every_problem_and_changes_nothing(change, strict, named):
    neuron = nn.Neuron(2)
    before = neuron.state_dict()
    state = {"w.0": 5.0, "w.1": 6.0, "b": 7.0, **change}
    with pytest.raises(RuntimeError) as caught:
        neuron.load_state_dict({name: x for name, x in state.items() if x is not ...}, strict=strict)
    for text in ["ReLUNeuron(2)", *named]:
        assert text in str(caught.value)
    assert neuron.state_dict() == before


@pytest.mark.parametrize("state", [None, [("b", 1.0)], 5, "w.0"])
def test_load_state_dict_takes_a_mapping(state):
    with pytest.raises(TypeError, match=f"not '{type(state).__name__}'"):
        nn.Neuron(1).load_state_dict(state)

"""What networks take as inputs: lists, generators, numbers, Values, NumPy."""

from __future__ import annotations

import random

import numpy as np
import pytest

from micrograd import Value, nn, nn_tanh


def test_inputs_of_any_kind(engine):
    random.seed(3)
    model = engine.nn.MLP(3, [4, 2])
    row = [1.0, -2.0, 0.5]
    expected = [v.data for v in model(row)]
    inputs = [
        tuple(row),
        np.array(row),
        np.array([row, row])[0],
        np.array(row, dtype=np.float32),
        [engine.Value(x) for x in row],
        [engine.Value(1.0), -2, 0.5],
        np.array([engine.Value(x) for x in row]),
    ]
    for x in inputs:
        assert [v.data for v in model(x)] == expected


def test_inputs_that_are_values_get_grads(engine):
    random.seed(3)
    neuron = engine.nn.Neuron(2, nonlin=False)
    x = [engine.Value(1.0), engine.Value(-2.0)]
    neuron(x).backward()
    assert [v.grad for v in x] == [w.data for w in neuron.w]
    assert [w.grad for w in neuron.w] == [1.0, -2.0]
    assert neuron.b.grad == 1.0


@pytest.mark.parametrize("module", [nn, nn_tanh])
def test_generators_and_lone_numbers_as_inputs(module):
    wide, narrow = module.MLP(3, [4, 1]), module.MLP(1, [2, 1])
    assert wide(x for x in (1.0, 2.0, 3.0)).data == wide([1.0, 2.0, 3.0]).data
    assert wide(map(float, range(3))).data == wide([0.0, 1.0, 2.0]).data
    assert narrow(0.5).data == narrow(Value(0.5)).data == narrow([0.5]).data == narrow(np.float64(0.5)).data
    for part in (
        module.Layer(2, 1),
        module.Neuron(2),
        module.Layer(2, 1, nonlin=False),
        module.Neuron(2, nonlin=False),
    ):
        assert part(iter([1.0, 2.0])).data == part([1.0, 2.0]).data
    assert module.Neuron(2, nonlin=False)(iter([1.0, 2.0])).data != 0.0


@pytest.mark.parametrize("module", [nn, nn_tanh])
def test_an_mlp_with_layers_of_one(module):
    model = module.MLP(2, [1, 1])
    out = model([1.0, -2.0])
    assert isinstance(out, Value)
    assert len(model.parameters()) == 5
    (first,), (second,) = (layer.neurons for layer in model.layers)
    assert out.data == second([first([1.0, -2.0])]).data


def test_inputs_from_an_iterator():
    class Own(nn.Layer):
        def __call__(self, x):
            return super().__call__(x)

    model = nn.MLP(2, [2, 1])
    model.layers[0] = Own(2, 2)
    for module in (nn.MLP(2, [2, 1]), model, nn_tanh.Layer(2, 1), nn.Neuron(2)):
        for x in ([1.0, 2.0], [1.0, Value(2.0)]):
            assert module(iter(x)).data == module(x).data

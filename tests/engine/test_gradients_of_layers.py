"""`micrograd.grad` through some outputs of a layer, and through outputs that users changed."""

from __future__ import annotations

import pytest

import micrograd
from micrograd import Value, nn


@pytest.fixture
def layer():
    made = nn.Layer(2, 3, nonlin=False)
    for i, parameter in enumerate(made.parameters()):
        parameter.data = 0.5 + 0.25 * i
    return made


def weights_of(layer):
    return [[w.data for w in neuron.w] for neuron in layer.neurons]


def test_outputs_with_another_between_them(layer):
    x = [Value(0.5), Value(-2.0)]
    first, _, last = layer(x)
    w = weights_of(layer)
    assert micrograd.grad(first + last, x) == [w[0][0] + w[2][0], w[0][1] + w[2][1]]


def test_an_output_with_a_backward_of_its_own(layer):
    """What it does not propagate is missing, as in `backward()`; the other outputs pass on theirs."""
    x = [Value(0.5), Value(-2.0)]
    first, second, _ = layer(x)
    first._backward = lambda: None
    assert micrograd.grad(first * 2.0 + second, x) == weights_of(layer)[1]
    with pytest.raises(RuntimeError, match="no gradients with create_graph=True"):
        micrograd.grad(first * 2.0 + second, x, create_graph=True)

"""Weights, activations and methods that are replaced: the next call of a network uses them."""

from __future__ import annotations

import math
import random

import pytest

from micrograd import Value, nn


def test_what_is_replaced_is_seen_by_the_next_call():
    random.seed(5)
    model = nn.MLP(2, [2, 1])
    x = [1.0, 2.0]
    before = model(x).data
    neuron = model.layers[1].neurons[0]
    neuron.b = Value(10.0)
    assert model(x).data == before + 10.0
    neuron.w[0], neuron.w[1] = Value(0.0), Value(0.0)
    assert model(x).data == 10.0
    neuron.w = [Value(1.0), Value(1.0)]
    neuron.nonlin = True
    neuron.b.data = -1e9
    assert model(x).data == 0.0
    assert neuron.b in model.parameters()


@pytest.mark.parametrize("at", range(5))
def test_one_weight_alone_is_replaced(at):
    layer = nn.Layer(5, 1, nonlin=False)
    neuron = layer.neurons[0]
    x = [1.0, 10.0, 100.0, 1000.0, 10000.0]
    for w in neuron.w:
        w.data = 1.0
    assert layer(x).data == 11111.0
    old, neuron.w[at] = neuron.w[at], Value(3.0)
    y = layer(x)
    y.backward()
    assert y.data == 11111.0 + 2.0 * x[at]
    assert (old.grad, neuron.w[at].grad) == (0.0, x[at])


def test_a_part_is_replaced_by_one_of_the_same_number():
    neuron = nn.Layer(2, 1, nonlin=False).neurons[0]
    old = neuron.parameters()
    neuron([1.0, 2.0])
    neuron.b = Value(neuron.b.data)
    neuron([1.0, 2.0])
    neuron.w = [Value(w.data) for w in neuron.w]
    neuron([1.0, 2.0]).backward()
    assert [p.grad for p in old] == [0.0] * 3
    assert [p.grad for p in neuron.parameters()] == [1.0, 2.0, 1.0]


def test_weights_whose_end_calls_the_network():
    class Last(Value):
        def __del__(self):
            if calls:
                calls.pop()()

    def other_weights():
        neuron.w[:] = [leaf * 3.0, leaf * 4.0]
        model(x)

    random.seed(1)
    model, x, leaf, calls = nn.MLP(2, [2, 1]), [1.0, 2.0], Value(0.5), []
    neuron = model.layers[0].neurons[0]
    neuron.w = [Last(0.1), Value(0.2)]
    model(x)
    calls.append(other_weights)
    neuron.w[0] = Value(0.3)
    model(x)
    assert not calls
    for n in model.layers[0].neurons:
        n.nonlin = False
    model(x).backward()
    assert leaf.grad == pytest.approx((3.0 * 1.0 + 4.0 * 2.0) * model.layers[1].neurons[0].w[0].data)


def test_methods_replaced_in_a_class_are_seen_by_the_next_call():
    class Sine(nn.Neuron):
        activation = "sin"

    random.seed(5)
    layer = nn.Layer(1, 1)
    layer.neurons[0] = neuron = Sine(1)
    total = neuron.w[0].data * 2.0
    assert layer([2.0]).data == math.sin(total)
    Sine.activation = "cos"
    assert layer([2.0]).data == math.cos(total)
    Sine.__call__ = lambda self, x: Value(7.0)
    assert layer([2.0]).data == 7.0
    Sine.parameters = lambda self: []
    assert layer.parameters() == []
    del Sine.__call__, Sine.parameters
    assert layer([2.0]).data == math.cos(total)
    assert len(layer.parameters()) == 2


def test_an_activation_belongs_to_the_class():
    random.seed(5)
    layer = nn.Layer(2, 2)
    before = [out.data for out in layer([1.0, 2.0])]
    layer.neurons[0].activation = "sin"  # of no effect, whether the neuron is called or its layer
    assert [out.data for out in layer([1.0, 2.0])] == [n([1.0, 2.0]).data for n in layer.neurons] == before


def test_fields_that_a_class_computes_are_asked_for():
    class Tied(nn.Neuron):
        w = property(lambda self: [self.shared] * 2, lambda self, w: setattr(self, "shared", w[0]))

    class Pair(nn.Layer):
        neurons = property(lambda self: [self.first, self.first], lambda self, neurons: None)

    random.seed(5)
    neuron = Tied(2, nonlin=False)
    layer = Pair(2, 1)
    layer.first = neuron
    model = nn.MLP(2, [1])
    model.layers = [layer]
    w, b = neuron.shared, neuron.b
    b.data = 0.5
    assert [out.data for out in model([1.0, 2.0])] == [0.5 + w.data + w.data * 2.0] * 2
    assert layer.parameters() == model.parameters() == [w, b]


def test_parameters_of_neurons_of_several_classes():
    class Other(nn.Neuron):
        pass

    class Unlike(nn.Neuron):
        def parameters(self):
            return [self.b]

    layer = nn.Layer(2, 3, nonlin=False)
    layer.neurons[1:] = first, second = Other(2), Unlike(2)
    plain = layer.neurons[0]
    assert layer.parameters() == [*plain.w, plain.b, *first.w, first.b, second.b]
    first.w = tuple(first.w)
    assert nn.Module.zero_grad(layer) is None
    assert layer.parameters() == [*plain.w, plain.b, *first.w, first.b, second.b]
    layer.neurons = ()
    assert layer.parameters() == []

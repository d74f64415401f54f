"""Errors in the middle of a network: in an activation, in a derivative, between layers that do not fit."""

from __future__ import annotations

import math
import random
import sys

import pytest

import micrograd
from helpers import FAIL_IN_TURN, complaint
from micrograd import Value, nn


def test_an_activation_that_raises_leaves_nothing_behind():
    class Log(nn.Neuron):
        activation = "log"

    layer = nn.Layer(1, 3)
    layer.neurons = [Log(1) for _ in range(3)]
    for n, b in zip(layer.neurons, (1.0, 1.0, -1.0)):
        n.w[0].data, n.b.data = 0.0, b
    with pytest.raises(ValueError, match=complaint(math.log, -1.0)):
        layer([1.0])
    layer.neurons[2].b.data = 2.0
    assert layer([1.0])[2].data == math.log(2.0)


@pytest.mark.parametrize("x", [800.0, Value(800.0)], ids=["a number", "a Value"])
def test_an_activation_that_raises_in_no_grad(x):
    layer = nn.Layer(1, 2, activation="exp")
    for neuron in layer.neurons:
        neuron.w[0].data = 1.0
    with micrograd.no_grad(), pytest.raises(OverflowError):
        layer([x])
    assert layer([0.0])[1].data == 1.0


def test_an_activation_that_raises_in_the_middle_of_a_network():
    class Log(nn.Neuron):
        activation = "log"

    random.seed(5)
    model = nn.MLP(2, [3, 2, 1])
    model.layers[0].neurons = [Log(2, nonlin=False) for _ in range(3)]
    model.layers[1].neurons = [Log(3) for _ in range(2)]
    model.layers[2].neurons = [Log(2, nonlin=False)]
    for p in model.parameters():
        p.data = 1.0
    last = model.layers[1].neurons[1].b
    inputs = [Value(1.0), Value(2.0)]
    assert model(inputs).data == pytest.approx(1.0 + 2.0 * math.log(13.0))  # 4 each, log(1 + 3 * 4) each
    last.data = -1e3
    references = [sys.getrefcount(v) for v in (*inputs, *model.parameters())]
    with pytest.raises(ValueError, match=complaint(math.log, 1.0 + 3 * 4.0 - 1001.0)):
        model(inputs)
    assert [sys.getrefcount(v) for v in (*inputs, *model.parameters())] == references
    last.data = 1.0
    assert model(inputs).data == pytest.approx(1.0 + 2.0 * math.log(13.0))


def test_networks_of_layers_that_do_not_fit():
    class Other(nn.Neuron):
        pass

    random.seed(5)
    model = nn.MLP(2, [3, 2])
    hidden = model.layers[0]([1.0, 2.0])
    model.layers[1].neurons = neurons = [Other(3, nonlin=False), Other(3)]
    assert [out.data for out in model([1.0, 2.0])] == [n(hidden).data for n in neurons]
    neurons[1] = Other(4)
    with pytest.raises(ValueError, match=r"ReLUNeuron\(4\) takes 4 inputs, not 3"):
        model([1.0, 2.0])
    model.layers[1].neurons = []
    assert model([1.0, 2.0]) == []
    model.layers = []
    assert model([1.0, 2.0]) == [1.0, 2.0]


def test_a_derivative_that_raises_keeps_the_grads_so_far():
    class Root(nn.Neuron):
        activation = "sqrt"

    layer = nn.Layer(1, 2)
    layer.neurons = [Root(1), Root(1)]
    for n, b in zip(layer.neurons, (0.0, 4.0)):
        n.w[0].data, n.b.data = 0.0, b
    first, second = layer([Value(1.0)])
    with pytest.raises(ZeroDivisionError):
        (first + second).backward()
    assert (layer.neurons[0].b.grad, layer.neurons[1].b.grad) == (0.0, 0.25)
    second.zero_grad()
    second.backward()
    assert layer.neurons[1].b.grad == 0.25


@pytest.mark.parametrize("biases", [(0.0, 4.0), (4.0, 0.0)])
def test_a_derivative_that_raises_in_a_hidden_layer(biases):
    class Root(nn.Neuron):
        activation = "sqrt"

    found = []
    for calls in (lambda model, x: model(x), lambda model, x: model.layers[1](model.layers[0](x))):
        random.seed(5)
        model = nn.MLP(1, [2, 1])
        model.layers[0].neurons = [Root(1), Root(1)]
        model.layers[1].neurons = [Root(2, nonlin=False)]
        for n, b in zip(model.layers[0].neurons, biases):
            n.w[0].data, n.b.data = 0.0, b
        out = calls(model, [3.0])
        grads = []
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                out.backward()
            grads.append([p.grad for p in model.parameters()])
        other = model([2.0])
        del out
        with pytest.raises(ZeroDivisionError):
            other.backward()
        grads.append([p.grad for p in model.parameters()])
        found.append(grads)
    assert found[0] == found[1]


@pytest.mark.parametrize("where", ["hidden", "output"])
@pytest.mark.parametrize(
    "use", ["outs[0]._children, outs[1]._children", "root.zero_grad()", "suppressed(root.backward)"]
)
def test_the_collector_does_not_run_in_the_middle_of_a_pass(check, where, use):
    """Before CPython 3.12 it may run when an exception is made, which happens at once where another is being handled;
    and it may run any Python code."""
    check(
        f"""
        from micrograd import nn

        class Root(nn.Neuron):
            activation = "sqrt"

        class Layer(nn.Layer):
            _neuron = Root

        class Network(nn.MLP):
            _layer = Layer
            _linear_output = {where == "hidden"}

        def suppressed(function):
            try:
                function()
            except ZeroDivisionError:
                pass

        def collected(phase, info):
            if phase == "start" and armed:
                armed.clear()
                {use}

        armed = []
        gc.callbacks.append(collected)
        for allocations in range(20):
            model = Network(2, [3, 2])
            for p in model.parameters():
                p.data = 1.0
            for p in model.layers[{int(where == "output")}].neurons[0].parameters():
                p.data = 0.0
            outs = model([1.0, 2.0])
            root = outs[0] + outs[1]
            backward = root.backward
            try:
                raise KeyError
            except KeyError:
                gc.collect()
                armed.append(True)
                gc.set_threshold(allocations + 1, 10**5, 10**5)
                try:
                    backward()
                    raise AssertionError
                except ZeroDivisionError as error:
                    assert isinstance(error.__context__, KeyError)
                gc.set_threshold(10**6)
            armed.clear()
            assert gc.isenabled()
            assert root.grad == 1.0 or root.grad == 0.0
        """
    )


@pytest.mark.parametrize("network", ["nn.Layer(1, 3, activation='log')", "nn.MLP(1, [3, 3], activation='log')"])
def test_slots_of_outputs_that_are_not_made_are_given_back(check, network):
    """A slab without nodes is used from its first slot again."""
    check(
        f"""
        from micrograd import nn
        x, model = Value(1.0), {network}
        for p in model.parameters():
            p.data = -1.0
        first = id(x * 1.0)
        for i in range(2000):
            for argument in (1.0, x):
                try:
                    model([argument])
                except ValueError:
                    continue
                raise AssertionError
        assert id(x * 1.0) == first
        """
    )


def test_a_network_that_memory_ran_out_for_gives_up_its_weights(check):
    """Its layers are too large for the pieces of memory that are kept: each allocation may fail."""
    pytest.importorskip("_testcapi")
    check(
        FAIL_IN_TURN
        + """
import weakref
from micrograd import nn

model = nn.MLP(2, [400, 1])
held = []
for p in model.layers[0].parameters():
    p.mark = Sentinel()
    held.append(weakref.ref(p.mark))
for x in [1.0, 2.0], [Value(1.0), Value(2.0)]:
    assert fail_in_turn(lambda: model(x)) > 2
del p, model
gc.collect()
assert not any(mark() for mark in held)
still_works()
"""
    )

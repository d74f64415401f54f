"""Derivatives that raise in the middle of a pass: what is left behind, and that the next pass is right."""

from __future__ import annotations

import pytest

import micrograd
from micrograd import Value, functional, nn


class Sub(Value):
    """Its graphs are walked in depth-first order."""


def layer_at(x):
    """A layer of square roots, whose derivative raises at 0, with an output sqrt(x) and others."""
    layer = nn.Layer(1, 3, activation="sqrt")
    for neuron in layer.neurons:
        neuron.w[0].data = neuron.b.data = 1.0
    layer.neurons[1].b.data = 0.0
    return layer([x])


# A node that raises where x is 0, and others that the pass comes to before and after it.
GRAPHS = {
    "an op": lambda x: (x**0.5 + x) * 2.0,
    "a layer": lambda x: layer_at(x)[1] + x * 2.0,
    "outputs of a layer": lambda x: layer_at(x)[2] * 2.0 + layer_at(x)[1] + x,
}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
@pytest.mark.parametrize("kind", [Value, Sub])
@pytest.mark.parametrize("retain", [True, False])
def test_grads_so_far_are_kept(graph, kind, retain):
    x = kind(0.0)
    y = graph(x)
    y.zero_grad()
    with pytest.raises(ZeroDivisionError):
        y.backward(retain_grads=retain)
    assert y.grad == (1.0 if retain else 0.0)
    nodes = [y, *y._children]
    assert retain or not any(node.grad for node in nodes if node._children)
    x = kind(4.0)
    z = graph(x)
    z.backward(retain_grads=retain)
    (expected,) = micrograd.grad(graph(w := Value(4.0)), [w])
    assert x.grad == expected


@pytest.mark.parametrize("retain", [True, False])
@pytest.mark.parametrize("between", [0, 3000], ids=["in a slab", "in several slabs"])
def test_the_same_graph_again(between, retain):
    """Nodes that the pass was still to come to, since they are older than the one that raises, keep no marks, and no
    grads where the pass retains none."""

    def graph(at):
        x = Value(3.0)
        older = [x * 2.0, 2.0 - x, x.exp(), functional.sum([x, x]), *layer([x]), network([x, x])]
        _between = [x + 1.0 for _ in range(between)]
        return x, sum(older, at**0.5), older

    layer, network = nn.Layer(1, 2, nonlin=False), nn.MLP(2, [2, 1])
    at = Value(0.0)
    x, y, older = graph(at)
    with pytest.raises(ZeroDivisionError):
        y.backward(retain_grads=retain)
    assert [v.grad for v in older] == [float(retain)] * len(older)
    at.data = 4.0
    y.zero_grad()
    y.backward(retain_grads=retain)
    expected, z, _ = graph(Value(4.0))
    z.backward()
    assert (x.grad, at.grad) == (expected.grad, 0.25)


@pytest.mark.parametrize("kind", [Value, Sub])
@pytest.mark.parametrize(
    "graph",
    [lambda h: h / Value(1e-200), lambda h: sum(layer_at(h)), lambda h: sum(layer_at(h * 1.0)[:2]) + layer_at(h)[2]],
    ids=["an op", "a layer", "a part of a layer"],
)
def test_what_gained_before_the_error_in_the_same_step(graph, kind):
    """The parent has no mark yet. A pass that retains no grads leaves it none."""
    x = kind(0.0)
    h = x * 1.0
    y = graph(h)
    with pytest.raises((OverflowError, ZeroDivisionError)):
        y.backward(retain_grads=False)
    assert (y.grad, h.grad) == (0.0, 0.0)


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_gradients_apart_from_grads(graph):
    x = Value(0.0)
    y = graph(x)
    with pytest.raises(ZeroDivisionError):
        micrograd.grad(y, [x])
    assert (x.grad, y.grad) == (0.0, 0.0)


def test_the_step_of_one_node():
    x = Value(0.0)
    y = x**0.5
    y.grad = 1.0
    with pytest.raises(ZeroDivisionError):
        y._backward()
    assert x.grad == 0.0


def test_a_further_pass_at_a_layer():
    """The reference's nodes of a neuron have adjoints of their own from the second pass on."""
    x = Value(4.0)
    y = layer_at(x)[1]
    y.backward()
    y.data = 0.0
    with pytest.raises(ZeroDivisionError):
        y.backward()
    assert x.grad == 0.25
    y.data = 2.0
    y.zero_grad()
    y.backward()
    assert x.grad == 0.25


def test_a_pass_at_a_layer_whose_first_pass_raised():
    """It is the first one still: it adds what it would without the one that raised."""
    layer_at(Value(4.0))[1].backward()  # its memory is used again
    x = Value(0.0)
    y = layer_at(x)[1]
    with pytest.raises(ZeroDivisionError):
        y.backward()
    y.data = 2.0
    y.backward()
    assert (x.grad, y.grad) == (0.25, 1.0)


# What makes passes go in depth-first order ends with it: the next one goes in the order of creation again.
PASSES = {
    "an error in a walk": "raises(lambda: zero.sqrt().backward())",
    "an error in a walk that retains no grads": "raises(lambda: zero.sqrt().backward(retain_grads=False))",
    "an error in a depth-first pass": "raises(lambda: Kind(0.0).sqrt().backward())",
    "an error in a gradient": "raises(lambda: micrograd.grad(zero.sqrt(), zero))",
    "an error in a gradient that is a Value": "raises(lambda: micrograd.grad(zero.sqrt(), zero, True))",
    "an error in a user's function": "late = zero * 1; late._backward = lambda: 1 / 0; raises(late.backward); del late",
    "a node that became irregular": "late = Value(1.0); late._backward = print; assert order() == 1.0; del late",
    "a leaf of a subclass that became irregular": "late = Kind(1.0); late._backward = print; del late",
    "an output whose parents were seen": "late = layer([1.0]); late._prev; assert order() == 1.0; del late",
}


@pytest.mark.parametrize("source", PASSES.values(), ids=PASSES)
def test_the_next_pass_goes_in_the_order_of_creation(check, source):
    check(f"""
import micrograd
from micrograd import nn

class Kind(Value):
    pass

def raises(call):
    try:
        call()
    except ZeroDivisionError:
        return
    raise AssertionError

def order():
    x = Value(1.0)
    a, b, c = x * 1e16, x * 1.0, x * -1e16
    (b + (a + c)).backward()
    return x.grad  # in the order of creation c, b, a: 0.0; depth first c, a, b: 1.0

zero, layer = Value(0.0), nn.Layer(1, 1)
assert order() == 0.0
{source}
assert order() == 0.0
""")

"""The graph that `_prev` shows: its nodes are the reference's, and so are their grads, whenever it is read."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from helpers import traced_graph


def _polynomial(e):
    x, y = e.Value(1.5), e.Value(-0.5)
    h = x * y + x**2
    return (h + y) * h


def _with_constants(e):
    x = e.Value(1.5)
    return (3 * x + 0.5).relu() * x + x * 0.5 + 1


def _shared(e):
    x = e.Value(1.5)
    for _ in range(8):
        x = x * x + x * 0.25
    return x


def _neuron(e):
    random.seed(1337)
    return e.nn.Neuron(3)([1.0, -2.0, 0.5])


def _network(e):
    random.seed(1337)
    return e.nn.MLP(2, [4, 4, 1])([1.0, -2.0])


def _network_of_values(e):
    random.seed(1337)
    return sum(e.nn.MLP(2, [3, 2])([e.Value(1.0), e.Value(-2.0)])) ** 2


GRAPHS = [_polynomial, _with_constants, _shared, _neuron, _network, _network_of_values]


@pytest.mark.parametrize("graph", GRAPHS)
def test_both_engines_draw_the_same_graph(ours, reference, graph):
    traces = [traced_graph(graph(e)) for e in (ours, reference)]
    summaries = [
        (
            len(nodes),
            len(edges),
            Counter((v._op, round(v.data, 10)) for v in nodes),
            Counter((a._op, round(a.data, 10), b._op, round(b.data, 10)) for a, b in edges),
        )
        for nodes, edges in traces
    ]
    assert summaries[0] == summaries[1]


@pytest.mark.parametrize("graph", GRAPHS)
def test_drawing_twice_gives_the_same_nodes(engine, graph):
    root = graph(engine)
    assert traced_graph(root) == traced_graph(root)


def _side_by_side(a, b) -> list[tuple]:
    """Pairs of corresponding nodes, parents matched by what they were computed from."""
    keys, pairs = {}, {}

    def key(v):
        if v not in keys:
            keys[v] = (v._op, float(v.data), sorted(map(key, v._prev)))
        return keys[v]

    def walk(a, b):
        assert key(a) == key(b)
        if (a, b) not in pairs:
            pairs[a, b] = True
            for pair in zip(sorted(a._prev, key=key), sorted(b._prev, key=key)):
                walk(*pair)

    walk(a, b)
    return list(pairs)


def _grads(pairs) -> list[list[float]]:
    return [[float(v.grad) for v in side] for side in zip(*pairs)]


@pytest.mark.parametrize("look_first", [True, False], ids=["drawn before", "drawn after"])
@pytest.mark.parametrize("graph", GRAPHS)
def test_after_backward_every_node_has_the_reference_grad(ours, reference, graph, look_first):
    roots = [graph(e) for e in (ours, reference)]
    if look_first:
        _side_by_side(*roots)
    for root in roots:
        root.backward()
    mine, theirs = _grads(_side_by_side(*roots))
    assert mine == pytest.approx(theirs, rel=1e-12, abs=1e-14)


def test_constants_get_grads(engine):
    x = engine.Value(3.0)
    y = x * 2.0
    z = y + 5.0
    z.backward()
    assert {v.data: v.grad for v in (z._prev | y._prev)} == {6.0: 1.0, 5.0: 1.0, 3.0: 2.0, 2.0: 3.0}


def test_constants_have_no_grad_before_backward(engine):
    x = engine.Value(3.0)
    y = x * 2.0
    assert {v.grad for v in y._prev} == {0.0}


def test_constants_looked_at_early_accumulate_over_backward_passes(engine):
    x = engine.Value(3.0)
    y = x * 2.0
    (constant,) = y._prev - {x}
    z = y * y
    z.backward()
    z.backward()
    assert (x.grad, constant.grad) == (72.0, 108.0)


def test_constants_looked_at_early_keep_the_grad_of_the_data_at_backward_time(engine):
    x = engine.Value(3.0)
    y = x * 2.0
    (constant,) = y._prev - {x}
    y.backward()
    x.data -= 1.0
    assert constant.grad == 3.0


def test_constants_get_grads_from_a_step_by_hand(engine):
    x = engine.Value(3.0)
    y = x * 2.0
    y.grad = 1.0
    y._backward()
    (constant,) = y._prev - {x}
    assert constant.grad == 3.0

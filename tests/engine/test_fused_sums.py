"""A fused sum (`functional.dot`) against the same sum written out: data, grads and graph."""

from __future__ import annotations

import random

import pytest

from helpers import graph_of, numbers_of
from micrograd import Value, functional

KINDS = {
    "values": lambda rng: [Value(rng.uniform(-1, 1)) for _ in range(5)],
    "numbers": lambda rng: [rng.uniform(-1, 1) for _ in range(5)],
    "mixed": lambda rng: [Value(0.5), 2, Value(-1.0), 0.25, True],
}


BIASES = {"bias": lambda: Value(0.3), "number": lambda: 0.3, "none": lambda: None}


def pair(kind, bias):
    """A fused sum and the same sum written out, each over Values of its own."""
    made = []
    for fused in (True, False):
        rng = random.Random(7)
        ws = [Value(rng.uniform(-1, 1)) for _ in range(5)]
        xs, b = KINDS[kind](rng), BIASES[bias]()
        written_out = sum((w * x for w, x in zip(ws, xs)), 0.0 if b is None else b)
        total = functional.dot(ws, xs, b) if fused else written_out
        leaves = [v for v in (*ws, *xs, b) if isinstance(v, Value)]
        made.append((total, leaves))
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("passes", [0, 1, 2, 3])
def test_a_fused_sum_cannot_be_told_from_one_written_out(kind, bias, passes):
    (fused, fused_leaves), (plain, plain_leaves) = pair(kind, bias)
    roots = [(total * total).tanh() for total in (fused, plain)]
    for _ in range(passes):
        for root in roots:
            root.backward()
    assert fused.data == plain.data
    assert [v.grad for v in fused_leaves] == pytest.approx([v.grad for v in plain_leaves], rel=1e-14)
    seen, expected = graph_of(fused), graph_of(plain)
    assert numbers_of(seen)[2::3] == numbers_of(expected)[2::3]
    if passes < 2:  # a number's grad is known of the last pass only
        assert numbers_of(seen) == pytest.approx(numbers_of(expected), rel=1e-14)


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_backward_goes_on_the_same_after_somebody_looked_into_a_fused_sum(looks):
    totals = pair("values", "bias")
    for total, _ in totals:
        root = total.tanh() * total
        for i in range(3):
            if i == looks:
                assert len(total._prev) == 2
            root.backward()
    (_, fused), (_, plain) = totals
    assert [v.grad for v in fused] == pytest.approx([v.grad for v in plain], rel=1e-14)


def test_clearing_a_graph_clears_what_is_inside_a_fused_sum():
    (fused, leaves), (_, plain_leaves) = pair("values", "bias")
    for _ in range(3):
        fused.backward()
        fused.zero_grad()
    assert {v.grad for v in leaves} == {0.0}
    assert {v.grad for v in fused._children} == {0.0}
    fused.backward()
    plain_leaves[0].grad = 0.0
    assert leaves[-1].grad == 1.0


def test_data_are_read_when_backward_runs():
    w, x = Value(2.0), Value(3.0)
    total = functional.dot([w], [x])
    x.data = 10.0
    total.backward()
    assert w.grad == 10.0


def test_fused_sums_over_irregular_nodes_take_the_general_path():
    x = Value(3.0)
    own = Value(9.0, (x,), "square")
    own._backward = lambda: setattr(x, "grad", x.grad + 2 * x.data * own.grad)
    functional.dot([Value(2.0)], [own]).backward()
    assert x.grad == 12.0

"""`micrograd.no_grad()` and compiled functions: calls in it, and functions that enter it."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

import micrograd
from helpers import assert_leaf, assert_on, doubled
from micrograd import Value, functional, nn


def test_a_function_that_is_traced_inside_is_differentiable_outside():
    w = Value(2.0)
    f = micrograd.compile(lambda x: (w * x).tanh() * w)
    with micrograd.no_grad():
        inside = f(0.5)
        total = f.sum([0.5, 1.0])
        mean = f.mean([0.5, 1.0])
        value, grads = f.value_and_grad([0.5, 1.0])
        assert not micrograd.is_grad_enabled()
    for out in (inside, total, mean):
        assert_leaf(out)
    assert value == total.data == 2 * mean.data
    outside = f.sum([0.5, 1.0])
    outside.backward()
    assert (w.grad, outside.data) == (grads[0], total.data)
    f(0.5).backward()
    assert w.grad != grads[0]


def test_results_of_several_values_and_of_ragged_batches():
    w, x = Value(2.0), Value(3.0)
    f = micrograd.compile(lambda x: [w * x, [x * x]])
    g = micrograd.compile(lambda xs: w * functional.sum(xs))
    with micrograd.no_grad():
        first, (second,) = f(x)
        assert_leaf(first)
        assert_leaf(second)
        out = g.sum([[1.0], [2.0, 3.0]])
        assert_leaf(out)
    assert (first.data, second.data, out.data) == (6.0, 9.0, 12.0)


def test_sums_have_the_bits_of_those_outside(exact):
    w = Value(0.3)
    f = micrograd.compile(lambda x: (w * x + 0.1).exp().tanh(), exact=exact)
    for i in range(50):
        x = [i / 10]
        outside = f.sum(x).data, f.mean(x).data
        with micrograd.no_grad():
            assert (f.sum(x).data, f.mean(x).data) == outside
        if exact:
            assert outside[0] == math.tanh(math.exp(w.data * x[0] + 0.1))


def test_a_gradient_that_would_raise_does_not():
    w = Value(0.0)
    f = micrograd.compile(lambda x: (w * x).sqrt())
    with micrograd.no_grad():
        for out in (f(1.0), f.sum([1.0, 2.0])):
            out.backward()
            assert_leaf(Value(out.data))


def detached_inside(x, w, model):
    """no_grad in the function, on all kinds of nodes."""
    with micrograd.no_grad():
        h = (w * x[0] + 2.0).tanh() / x[1]
        out = model([h, x[0]])
        total = functional.sum([h, out, w]) ** 2
        weights = functional.softmax([h, x[1], w])
    return (w * total + weights[0] * x[0] + weights[1] * w).tanh() * h + out


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("sizes", [[1], [4, 1]])
def test_in_a_compiled_function_results_are_detached(exact, sizes):
    random.seed(7)
    model = nn.MLP(2, sizes)
    w = Value(0.7)
    rows = np.random.default_rng(1).uniform(0.5, 2.0, (50, 2))
    f = micrograd.compile(lambda x: detached_inside(x, w, model), exact=exact)

    def grads(out, leaves):
        for leaf in leaves:
            leaf.grad = 0.0
        out.backward()
        return [out.data, *(leaf.grad for leaf in leaves)]

    x = [Value(0.8), Value(1.4)]
    leaves = [w, *x, *model.parameters()]
    eager, compiled = grads(detached_inside(x, w, model), leaves), grads(f(x), leaves)
    assert compiled == pytest.approx(eager, rel=1e-13)
    assert not any(compiled[4:])
    leaves = [w, *model.parameters()]
    total = sum((detached_inside(row, w, model) for row in rows.tolist()), Value(0.0))
    assert grads(f.sum(rows), leaves) == pytest.approx(grads(total, leaves), rel=1e-11)
    assert "detach" in f.program


def test_in_a_compiled_function_what_is_indexed_is_detached():
    table = [[Value(0.1 * i + j) for j in range(3)] for i in range(4)]

    def loss(i):
        with micrograd.no_grad():
            row = functional.embedding(i, table)
            first = functional.take(row, i)
            entropy = functional.cross_entropy(row, i)
        return functional.sum(row) * first + entropy * table[0][0]

    f = micrograd.compile(loss)
    for i in (0, 1, 2):
        out = f(i)
        assert out.data == pytest.approx(loss(i).data, rel=1e-13)
        out.backward()
    assert {leaf.grad for row in table for leaf in row} - {table[0][0].grad} == {0.0}
    assert table[0][0].grad


def test_a_mode_that_the_function_does_not_leave_ends_with_the_trace():
    @micrograd.compile
    def f(x):
        micrograd.no_grad().__enter__()
        return x * 2.0

    assert f(1.0).data == 2.0
    assert_on()
    with micrograd.no_grad():
        f([1.0][0])
        assert not micrograd.is_grad_enabled()
    assert_on()


def test_a_function_that_ignores_its_mode_raises_as_before():
    """Leaving modes of the outside in a trace is an error of the function."""

    @micrograd.compile
    def f(x):
        micrograd.no_grad().__exit__(None, None, None)
        return x

    with micrograd.no_grad():
        with pytest.raises(RuntimeError):
            f(1.0)
        assert not micrograd.is_grad_enabled()
    assert_on()


def test_a_user_op_in_a_trace_is_refused_in_the_mode_too():
    @micrograd.compile
    def f(x):
        with micrograd.no_grad():
            return doubled(x) * 2.0

    with pytest.raises(micrograd.TraceError):
        f(1.0)
    assert_on()

"""Random programs, compiled and eager: the same data, gradients and exceptions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import micrograd
from helpers import BINARY, OF_A_LIST, UNARY, bits, grads_of, in_order, op, values
from micrograd import Value, functional
from oracle import EPS

STEP = st.one_of(
    st.tuples(st.sampled_from(UNARY), st.integers(0, 99)),
    st.tuples(
        st.sampled_from([*BINARY, "__add__", "__mul__", "__add__", "__mul__"]), st.integers(0, 99), st.integers(0, 99)
    ),
    st.tuples(
        st.sampled_from(["sum", "logsumexp", "dot", "softmax"]),
        st.integers(0, 99),
        st.integers(0, 99),
        st.integers(0, 99),
    ),
    st.tuples(st.just("number"), st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0])),
    st.tuples(st.just("constant"), st.sampled_from([0.0, -0.0, 1.0, 2.0])),
)


def program(steps, leaves, intermediate):
    def function(x, y):
        pool = [*x, y, *leaves, intermediate]
        for name, *args in steps:
            picked = [pool[i % len(pool)] for i in args] if name not in ("number", "constant") else args
            if name == "number":
                pool.append(args[0] + 0 * leaves[0] if len(pool) % 2 else leaves[0] * args[0])
            elif name == "constant":
                pool.append(Value(args[0]))
            elif name in OF_A_LIST:
                pool.append(OF_A_LIST[name](picked))
            else:
                pool.append(op(name)(*picked))
        return pool

    return function


@settings(max_examples=120, deadline=None)
@given(st.lists(STEP, max_size=25), st.integers(1, 20), st.randoms(use_true_random=False))
def test_random_programs(steps, samples, draw):
    leaves = [Value(draw.choice([0.5, -1.5, 2.0, 0.0])) for _ in range(3)]
    intermediate = leaves[0] * leaves[1] + 1.0
    function = program(steps, leaves, intermediate)
    X = np.array([[draw.choice([-2.0, -0.5, 0.0, 0.25, 1.0, 3.0]) for _ in range(2)] for _ in range(samples)])
    y = np.array([draw.uniform(-2, 2) for _ in range(samples)])
    columns = [[*map(values, x)] for x in X.tolist()], [*map(Value, y.tolist())]
    try:
        expected = [function(*sample) for sample in zip(*columns)]
    except (ArithmeticError, ValueError):
        # Of several errors another one may come first: what does not depend on the arguments is computed once a call.
        with pytest.raises((ArithmeticError, ValueError)):
            micrograd.compile(function, exact=True).map(X, y)
        return
    found = micrograd.compile(function, exact=True).map(X, y)
    assert [[*map(bits, sample)] for sample in found] == [[bits(v.data) for v in sample] for sample in expected]
    assert_batches_agree(micrograd.compile(function), X, y)
    total = micrograd.compile(lambda x, y: functional.sum(function(x, y)[-3:]), exact=True).sum(X, y)
    sums = [functional.sum(sample[-3:]) for sample in expected]
    try:
        theirs = grads_of(leaves, functional.sum(sums))
    except (ArithmeticError, ValueError):
        return  # eager code needs the derivative for an argument that is a Value; a compiled function may not
    ours = grads_of(leaves, total)
    terms = np.array([grads_with_bounds(leaves, sample) for sample in sums]).sum(axis=0)
    for a, b, bound in zip(ours, theirs, terms):
        if math.isfinite(b) and math.isfinite(bound):
            assert abs(a - b) <= 64 * EPS * samples * bound + 1e-290


def assert_batches_agree(compiled, X, y):
    """In the default mode, rounding may change results much, but a sample has the same ones in any batch."""
    alone, raised = [], False
    for i in range(len(y)):
        try:
            alone.append([*map(bits, compiled.map(X[i : i + 1], y[i : i + 1])[0])])
        except (ArithmeticError, ValueError):
            raised = True
    if raised:
        with pytest.raises((ArithmeticError, ValueError), match=r"^sample"):
            compiled.map(X, y)
    else:
        assert [[*map(bits, sample)] for sample in compiled.map(X, y)] == alone


def grads_with_bounds(leaves, value):
    """For each leaf, the sum of the absolute values of the terms of its grad."""
    order = in_order(value, "_children")
    bound = dict.fromkeys(order, 0.0)
    bound[value] = 1.0
    for v in reversed(order):
        for child, local in zip(v._children, v._local_grads):
            bound[child] += abs(local) * bound[v]
    return [bound.get(leaf, 0.0) for leaf in leaves]

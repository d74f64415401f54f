"""`micrograd.compile`: what is replayed is what eager code computes, row by row to the bit, gradients to rounding."""

from __future__ import annotations

import math
import operator
import pickle
import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import micrograd
from micrograd import TraceError, Value, functional, nn
from micrograd._core import OPS
from micrograd.optim import SGD

EPS = 2.0**-52
MANY = {
    "sum": functional.sum,
    "mean": functional.mean,
    "logsumexp": functional.logsumexp,
    "dot": lambda xs: functional.dot(xs, xs[::-1], bias=xs[0]),
    "softmax": lambda xs: functional.softmax(xs)[0],
    "log_softmax": lambda xs: functional.log_softmax(xs)[-1],
    "mse_loss": lambda xs: functional.mse_loss(xs, xs[::-1]),
    "hinge_loss": lambda xs: functional.hinge_loss(xs, [1.0] * len(xs)),
    "cross_entropy": lambda xs: functional.cross_entropy(xs, len(xs) - 1),
    "linear": lambda xs: functional.linear(xs, [xs, xs[::-1]])[1],
    "relu": lambda xs: functional.relu(xs)[-1],
    "tanh": lambda xs: functional.tanh(xs)[0],
}


def bits(x):
    return "nan" if math.isnan(x) else struct.pack("d", x)


def method(name):
    return getattr(operator, name) if name.startswith("__") else operator.methodcaller(name)


def as_value(x):
    return x if isinstance(x, Value) else Value(x)


def values(x):
    """Nested lists of numbers as nested lists of Values."""
    return [values(item) for item in x] if isinstance(x, list) else Value(x)


def eager_rows(function, *arrays):
    """The function on each row, in Values as in the trace."""
    return [as_value(function(*map(values, row))) for row in zip(*(np.asarray(a, dtype=float).tolist() for a in arrays))]


def grads_of(leaves, value):
    for leaf in leaves:
        leaf.grad = 0.0
    value.zero_grad()
    value.backward()
    return [leaf.grad for leaf in leaves]


def magnitudes(leaves, rows):
    """Of each leaf, the sum over rows of |d(row)/d(leaf)|, which bounds what another order of summation may change."""
    scale = np.zeros(len(leaves))
    for row in rows:
        scale += np.abs(grads_of(leaves, row))
    return scale


def assert_agrees(function, leaves, *arrays, **options):
    """map, sum, mean and one sample against eager code."""
    compiled = micrograd.compile(function, **options)
    rows = eager_rows(function, *arrays)
    data = np.array([row.data for row in rows])
    mapped = compiled.map(*arrays)
    assert [bits(x) for x in mapped.tolist()] == [bits(x) for x in data.tolist()]
    for reduce, scale in ((compiled.sum, 1.0), (compiled.mean, 1.0 / max(len(rows), 1))):
        if not rows:
            continue
        total = reduce(*arrays)
        assert abs(total.data - scale * data.sum()) <= 4 * EPS * len(rows) * scale * np.abs(data).sum()
        theirs = scale * np.array(grads_of(leaves, functional.sum(rows)))
        ours = np.array(grads_of(leaves, total))
        tolerance = 8 * EPS * scale * magnitudes(leaves, rows) + 1e-300
        assert (np.abs(ours - theirs) <= tolerance * len(rows)).all(), (ours, theirs)
    return compiled


# ---- Ops -------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=sorted(OPS))
def op(request):
    return request.param, OPS[request.param][1]


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 31, 33, 127, 129, 300])
def test_every_op_in_every_width(op, rows):
    name, arity = op
    draw = np.random.default_rng(rows)
    w = Value(0.75)
    X = draw.uniform(0.1, 2.0, (rows, 2))
    if arity == 1:
        assert_agrees(lambda x: method(name)(w * x[0]) + method(name)(x[1] * 1.0), [w], X)
    else:
        assert_agrees(lambda x: method(name)(w + x[0], x[1] * 0.5) + method(name)(2.0, w * x[1]), [w], X)


@pytest.mark.parametrize("name", sorted(MANY))
@pytest.mark.parametrize("rows", [1, 9, 40])
def test_every_function(name, rows):
    draw = np.random.default_rng(rows)
    w = [Value(x) for x in (0.5, -1.25, 2.0)]
    X = draw.normal(size=(rows, 3))
    assert_agrees(lambda x: MANY[name]([a * b for a, b in zip(w, x)]), w, X)


def test_a_network():
    random.seed(3)
    model = nn.MLP(3, [5, 4, 1])
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(77, 3)), draw.normal(size=77)
    assert_agrees(lambda x, y: (model(x) - y) ** 2, model.parameters(), X, y)


def test_trace_error_names_the_line():
    def branching(x):
        return x if x.data > 0 else -x

    with pytest.raises(TraceError, match=r"test_compile\.py, line \d+: reading \.data"):
        micrograd.compile(branching)(1.0)

"""Random ragged batches: numbers, lists, tuples and arrays, of any depth."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

import micrograd
from both_engines import flat
from helpers import grads_of
from micrograd import Value, functional


def nested(draw, depth):
    """A number, or a list, tuple or array, of any depth up to this one."""
    kind = draw.choice(["number", "list", "tuple", "array"]) if depth else "number"
    if kind == "number":
        return draw.choice([draw.uniform(-1, 1), draw.randrange(5)])
    if kind == "array":
        return np.array([[draw.uniform(-1, 1) for _ in range(2)] for _ in range(draw.randrange(3))])
    return (list if kind == "list" else tuple)(nested(draw, depth - 1) for _ in range(draw.randrange(4)))


def lists(x):
    """The same in lists."""
    return x if isinstance(x, (int, float)) else [lists(item) for item in (x.tolist() if hasattr(x, "tolist") else x)]


@pytest.mark.parametrize("seed", range(40))
def test_random_batches(seed, exact):
    """map, sum and gradients are those of the samples, one by one."""
    draw = random.Random(seed)
    w, v = Value(0.7), Value(-0.3)

    def function(x, y):
        terms = [w * a for a in flat(x)] + [v * a.tanh() for a in flat(y)]
        return functional.sum(terms).sin() if len(terms) % 2 else functional.sum(terms)

    samples = draw.choice([1, 2, 7, 30])
    pool = [nested(draw, 3) for _ in range(3)]
    x = [draw.choice(pool) if draw.random() < 0.5 else nested(draw, draw.randrange(3)) for _ in range(samples)]
    y = [nested(draw, draw.randrange(2)) for _ in range(samples)]
    f = micrograd.compile(function, exact=exact, threads=draw.choice([1, 2]))
    alone = [f(lists(a), lists(b)) for a, b in zip(x, y)]
    traced = f.retraces
    assert [*f.map(x, y)] == [value.data for value in alone]
    assert f.retraces == traced
    total = f.sum(x, y)
    assert total.data == pytest.approx(math.fsum(value.data for value in alone), rel=1e-13, abs=1e-13)
    assert grads_of([w, v], total) == pytest.approx(grads_of([w, v], functional.sum(alone)), rel=1e-12, abs=1e-12)

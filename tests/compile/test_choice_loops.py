"""The loops over vectors of comparisons and choices, in every variant: eager code's bits, and its gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest

import micrograd
from helpers import bits
from micrograd import Value
from micrograd import functional as F
from micrograd._compile import use_variant, variants


@pytest.fixture(params=variants())
def variant(request):
    use_variant(request.param)
    yield request.param
    use_variant(variants()[0])


def test_loops_over_vectors(variant, exact):
    """Each comparison and choice, and its gradients, for vectors and what is left of them."""
    numbers = [-math.inf, -1.0, -0.0, 0.0, 1.0, math.inf, math.nan]
    pairs = np.array([(a, b) for a in numbers for b in numbers])
    u, v = Value(1.0), Value(1.0)
    for function in (
        lambda a, b: F.where(a < b, a, b),
        lambda a, b: F.where(a <= b, a, 2.0),
        lambda a, b: F.where(F.eq(a, b), 3.0, b),
        lambda a, b: F.where((a < b) & F.logical_not(F.eq(a, 0.0)) | (b > 1), a, b),
        F.maximum,
        F.minimum,
        lambda a, b: a.clamp(b, 1.0),
        lambda a, b: F.where(F.logical_and(a > b, a > 0.0), lambda: 1 / a, b),
    ):
        f = micrograd.compile(lambda a, b, function=function: function(a * u, b * v), exact=exact)
        eager = [function(Value(a) * u, Value(b) * v).data for a, b in pairs.tolist()]
        for count in (1, 3, 8, 21, len(pairs)):
            found = f.map(pairs[:count, 0], pairs[:count, 1])
            assert [*map(bits, found.tolist())] == [*map(bits, eager[:count])]
        finite = [pair for pair in pairs.tolist() if all(map(math.isfinite, pair))]
        u.grad = v.grad = 0.0
        F.sum([function(Value(a) * u, Value(b) * v) for a, b in finite]).backward()
        _, grads = f.value_and_grad(*zip(*finite))
        assert dict(zip(map(id, f.captured), grads)) == {id(w): w.grad for w in f.captured}

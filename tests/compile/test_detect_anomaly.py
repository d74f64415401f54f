"""Compiled functions in detect_anomaly: with and without captured leaves, in no_grad, and groups of ragged batches."""

from __future__ import annotations

import math

import pytest

import micrograd
from micrograd import Value, functional
from micrograd.utils import detect_anomaly

W = Value(1.0)
FUNCTIONS = {
    "captured": lambda x: x * W * 1e200,
    "no leaves": lambda x: x * 1e200,
    "a sum": lambda x: functional.sum([x * W, x]) * 1e200,
}


@pytest.mark.parametrize("call", ["sum", "mean", "map", "value_and_grad"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_first_sample_that_is_not_finite_is_named(name, call):
    f = micrograd.compile(FUNCTIONS[name])
    batches = [[1.0, 1e200], [1.0, math.nan], [1.0, math.inf, -math.inf], [1.0, -1e200, math.nan, 1e200]]
    for batch in batches:
        for mode in (micrograd.no_grad(), detect_anomaly()):
            with mode, detect_anomaly(), pytest.raises(RuntimeError) as raised:
                getattr(f, call)(batch)
            result = f.map(batch)[1]
            assert f": sample 1: a compiled function gives {result}. " in str(raised.value)
    with detect_anomaly():
        getattr(f, call)([1.0, 2.0])


@pytest.mark.parametrize("call", ["sum", "mean", "map", "value_and_grad"])
def test_each_group_of_a_ragged_batch_is_checked(call):
    f = micrograd.compile(lambda x: functional.sum(x) * W * 1e200)
    samples = [[1.0], [1.0, 2.0], [3.0], [1.0, 2.0]]
    for i in range(4):
        with detect_anomaly(), pytest.raises(RuntimeError, match=f": sample {i}: a compiled function gives inf"):
            getattr(f, call)([*samples[:i], [x * 1e200 for x in samples[i]], *samples[i + 1 :]])

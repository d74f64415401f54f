"""Calls: a batch is converted once, and methods can be called through their class."""

from __future__ import annotations

import numpy as np
import pytest

import micrograd
from micrograd import Value


class Counted:
    """An array that counts how often it is converted."""

    def __init__(self, data):
        self.data, self.read = data, 0

    def __array__(self, *args, **kwargs):
        self.read += 1
        return np.array(self.data)


@pytest.mark.parametrize("name", ["sum", "mean", "map", "value_and_grad"])
def test_a_batch_is_converted_once_even_by_the_call_that_traces(name):
    w = Value(2.0)
    call = getattr(micrograd.compile(lambda x: w * x), name)
    for _ in range(2):
        x = Counted([1.0, 3.0])
        call(x)
        assert x.read == 1


def test_every_call_of_a_method_through_its_class():
    class Line:
        def __init__(self, slope):
            self.slope = Value(slope)

        @micrograd.compile
        def loss(self, x):
            return self.slope * x

    line, other = Line(2.0), Line(5.0)
    assert Line.loss(line, 3.0).data == 6.0
    assert Line.loss.sum(line, [1.0, 2.0]).data == 6.0
    assert Line.loss.mean(other, [1.0, 2.0]).data == 7.5
    assert Line.loss.map(other, [1.0, 2.0]).tolist() == [5.0, 10.0]
    total, grads = Line.loss.value_and_grad(line, [1.0, 2.0])
    assert (total, grads.tolist()) == (6.0, [3.0])
    assert line.loss.captured == [line.slope]
    assert other.loss.captured == [other.slope]
    assert Line.loss.captured == []

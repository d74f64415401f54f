"""grad() with create_graph leaves `no_grad` while it runs, and returns to it."""

from __future__ import annotations

import pytest

import micrograd
from helpers import assert_leaf
from micrograd import Value
from micrograd.utils import detect_anomaly


def test_create_graph_gives_results_with_a_graph_as_pytorchs():
    x = Value(2.0)
    y = x**3
    with micrograd.no_grad(), micrograd.no_grad():
        first = micrograd.grad(y, x, create_graph=True)
        assert not micrograd.is_grad_enabled()
        assert_leaf(first * 2.0)
        with pytest.raises(TypeError):
            micrograd.grad(y, [x, None], create_graph=True)
        assert not micrograd.is_grad_enabled()
        assert micrograd.grad(y, x) == 12.0
    assert micrograd.is_grad_enabled()
    assert (first.data, micrograd.grad(first, x)) == (12.0, 12.0)


def test_a_pass_that_raises_ends_in_the_mode():
    x = Value(0.0)
    y = x.sqrt()
    with micrograd.no_grad():
        with pytest.raises(ZeroDivisionError):
            micrograd.grad(y, x, create_graph=True)
        assert_leaf(x * 2.0)


def test_create_graph_in_no_grad_of_a_compiled_function():
    def second(x):
        y = x**3
        with micrograd.no_grad():
            first = micrograd.grad(y, x, create_graph=True)
            cut = micrograd.grad(y, x)
        return [micrograd.grad(first, x), micrograd.grad(cut * x, x)]

    assert micrograd.compile(second).map([2.0, 3.0]).tolist() == [[12.0, 12.0], [18.0, 27.0]]


def test_an_operator_of_a_subclass_may_use_no_grad_meanwhile():
    """A slope of the pass calls it: the thread is in no mode then, until grad() returns to its own."""
    modes = []

    class Uses(Value):
        def __pow__(self, exponent):
            with micrograd.no_grad():
                modes.append(micrograd.is_grad_enabled())
            modes.append(micrograd.is_grad_enabled())
            return Value.__pow__(self, exponent)

    x = Uses(3.0)
    y = x**3
    modes.clear()
    with micrograd.no_grad(), micrograd.no_grad():
        slope = micrograd.grad(y, x, create_graph=True)
        assert modes == [False, True]
        assert slope.data == 27.0
        assert slope._prev
        assert (x * 2)._prev == set()
    assert micrograd.is_grad_enabled()
    assert x in (x * 2)._prev


def test_a_detect_anomaly_around_it_goes_on():
    x = Value(2.0)
    y = x**3
    with detect_anomaly():
        with micrograd.no_grad():
            assert micrograd.grad(y, x, create_graph=True).data == 12.0
            assert_leaf(x * 2.0)
        with pytest.raises(RuntimeError, match="is inf"):
            x * 1e308 * 10.0
    assert micrograd.grad(y, x, create_graph=True).data == 12.0

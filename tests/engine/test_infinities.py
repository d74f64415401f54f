"""Infinities, NaN, signed zeros and divisions by zero on both engines; test_rules.py has every op at such values."""

from __future__ import annotations

import math

import pytest

import micrograd
from micrograd import Value


def test_relu_of_nan_is_nan_and_sends_nothing(engine):
    x = engine.Value(math.nan)
    out = x.relu()
    out.backward()
    assert math.isnan(out.data)
    assert x.grad == 0.0


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_relu_keeps_the_sign_of_zero_and_sends_nothing(engine, zero):
    x = engine.Value(zero)
    out = x.relu()
    out.backward()
    assert math.copysign(1.0, out.data) == math.copysign(1.0, zero)
    assert x.grad == 0.0


def test_relu_times_an_infinite_grad_is_nan(engine):
    x = engine.Value(-1.0)
    (x.relu() * math.inf).backward()
    assert math.isnan(x.grad)


@pytest.mark.parametrize("op", [Value.elu, Value.leaky_relu])
@pytest.mark.parametrize(("x", "expected"), [(0.0, math.nan), (-0.0, math.nan), (1.0, 0.0), (-math.inf, -math.inf)])
def test_an_infinite_grad_at_the_parameter_of_an_activation(op, x, expected):
    """At 0 it has the derivative of the left side, 0 times the grad; where x is greater it takes no part."""
    parameter = Value(2.0)
    (op(Value(x), parameter) * math.inf).backward()
    assert str(parameter.grad) == str(expected)


def test_nan_to_the_0_is_1(engine):
    assert (engine.Value(math.nan) ** 0).data == 1.0
    assert (engine.Value(math.nan) ** 0.0).data == 1.0


def test_products_and_sums_overflow_to_infinity(engine):
    assert (engine.Value(1e308) * 10).data == math.inf
    assert (engine.Value(1e308) + 1e308).data == math.inf
    assert (engine.Value(-1e308) - 1e308).data == -math.inf


def test_powers_overflow_with_an_error(engine):
    with pytest.raises(OverflowError):
        engine.Value(1e200) ** 2


DIVISIONS_BY_ZERO = [
    lambda zero: zero**-1,
    lambda zero: zero**-0.5,
    lambda zero: 1 / zero,
    lambda zero: zero / zero,
    lambda zero: (zero + 1.0) / zero,
    lambda zero: zero / 0,
]


@pytest.mark.parametrize("f", DIVISIONS_BY_ZERO)
def test_division_by_zero_raises(engine, f):
    zero = engine.Value(0.0)
    with pytest.raises(ZeroDivisionError):
        f(zero)
    assert (zero.data, zero.grad) == (0.0, 0.0)


def test_a_power_of_zero_whose_derivative_is_a_division_by_zero(engine):
    exponent = 0.5
    x = engine.Value(0.0)
    y = x**exponent
    z = 2.0 * y
    assert y.data == 0.0
    with pytest.raises(ZeroDivisionError):
        z.backward()
    assert (z.grad, y.grad, x.grad) == (1.0, 2.0, 0.0)
    x.data = 4.0
    y.backward()
    assert x.grad == exponent * 4.0 ** (exponent - 1)


@pytest.mark.parametrize("g", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("data", [0.0, -0.0, 3.0, -2.0, math.inf, math.nan])
@pytest.mark.parametrize("zero", [0, 0.0, Value(0.0)], ids=["int", "float", "Value"])
def test_a_power_of_0_sends_nothing_to_its_base_whatever_comes_back(g, data, zero, exact):
    x = Value(data)
    (x**zero * g).backward()
    assert x.grad == 0.0
    x.grad = 0.0
    function = micrograd.compile(lambda y: x**zero * y, exact=exact)
    for samples in ([g], [g] * 9):
        function.sum(samples).backward()
        assert x.grad == 0.0

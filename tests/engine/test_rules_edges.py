"""Where ops and their derivatives raise, as Python does, and edges where they have values."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
from exact import by_oracle
from helpers import bits, op, outcome
from micrograd._core import Value

EPS = sys.float_info.epsilon
FORWARD_RAISES = [
    ("log", (0.0,), ValueError),
    ("log", (-0.0,), ValueError),
    ("log", (-1.0,), ValueError),
    ("log", (-math.inf,), ValueError),
    ("sqrt", (-1.0,), ValueError),
    ("sqrt", (-5e-324,), ValueError),
    ("sin", (math.inf,), ValueError),
    ("cos", (-math.inf,), ValueError),
    ("exp", (710.0,), OverflowError),
    ("expm1", (710.0,), OverflowError),
    ("sinh", (-711.0,), OverflowError),
    ("cosh", (1000.0,), OverflowError),
    ("log2", (0.0,), ValueError),
    ("log10", (-1.0,), ValueError),
    ("log1p", (-1.0,), ValueError),
    ("log1p", (-1.5,), ValueError),
    ("tan", (math.inf,), ValueError),
    ("asin", (1.0 + 2 * EPS,), ValueError),
    ("acos", (-2.0,), ValueError),
    ("acos", (math.inf,), ValueError),
    ("__pow__", (1e200, 2.0), OverflowError),
    ("__pow__", (0.0, -1.0), ZeroDivisionError),
    ("__pow__", (-0.0, -0.5), ZeroDivisionError),
    ("__pow__", (-8.0, 0.5), ValueError),
    ("__truediv__", (1.0, 0.0), ZeroDivisionError),
    ("__truediv__", (math.nan, -0.0), ZeroDivisionError),
    ("__truediv__", (1.0, 5e-324), OverflowError),
]
BACKWARD_RAISES = [
    ("sqrt", (0.0,), ZeroDivisionError),
    ("sqrt", (-0.0,), ZeroDivisionError),
    ("cbrt", (-0.0,), ZeroDivisionError),
    ("asin", (-1.0,), ZeroDivisionError),
    ("acos", (1.0,), ZeroDivisionError),
    ("atan2", (0.0, -0.0), ZeroDivisionError),
    ("__pow__", (0.0, 0.5), ZeroDivisionError),
    ("__pow__", (5e-324, -1e-3), OverflowError),
    ("__truediv__", (1.0, 1e-200), OverflowError),
]
NO_RAISE = [
    ("exp", (math.inf,), math.inf, [math.inf]),
    ("exp", (-math.inf,), 0.0, [0.0]),
    ("exp", (-746.0,), 0.0, [0.0]),
    ("log", (math.inf,), math.inf, [0.0]),
    ("log", (5e-324,), math.log(5e-324), [math.inf]),
    ("sqrt", (math.inf,), math.inf, [0.0]),
    ("sqrt", (-0.0,), -0.0, None),
    ("relu", (-0.0,), -0.0, [0.0]),
    ("relu", (math.nan,), math.nan, [0.0]),
    ("abs", (-0.0,), 0.0, [0.0]),
    ("__pow__", (math.nan, 0.0), 1.0, [0.0, math.nan]),
    ("__pow__", (0.0, 0.0), 1.0, [0.0, 0.0]),
    ("__pow__", (5e-324, 0.0), 1.0, [0.0, math.log(5e-324)]),
    ("__pow__", (0.0, 2.0), 0.0, [0.0, 0.0]),
    ("__pow__", (-2.0, 3.0), -8.0, [12.0, math.nan]),
    ("__mul__", (1e308, 10.0), math.inf, [10.0, 1e308]),
    ("sigmoid", (-1e308,), 0.0, [0.0]),
    ("softplus", (1e308,), 1e308, [1.0]),
    ("softplus", (-math.inf,), 0.0, [0.0]),
    ("gelu", (-math.inf,), -0.0, [0.0]),
    ("gelu", (math.inf,), math.inf, [1.0]),
    ("gelu_tanh", (-math.inf,), -0.0, [0.0]),
    ("gelu_tanh", (1e200,), 1e200, [1.0]),
    ("silu", (-math.inf,), -0.0, [0.0]),
    ("silu", (math.inf,), math.inf, [1.0]),
    ("mish", (-math.inf,), -0.0, [0.0]),
    ("mish", (math.inf,), math.inf, [1.0]),
    ("softsign", (math.inf,), 1.0, [0.0]),
    ("softsign", (-math.inf,), -1.0, [0.0]),
    ("erf", (-math.inf,), -1.0, [0.0]),
    ("expm1", (-math.inf,), -1.0, [0.0]),
    ("cbrt", (-0.0,), -0.0, None),
    ("log1p", (-0.0,), -0.0, [1.0]),
    ("atan", (math.inf,), math.pi / 2, [0.0]),
    ("atan2", (0.0, -1.0), math.pi, [-1.0, 0.0]),
    ("atan2", (-0.0, -1.0), -math.pi, [-1.0, 0.0]),
    ("atan2", (math.inf, 1.0), math.pi / 2, [0.0, 0.0]),
    ("atan2", (1e200, 1e200), math.pi / 4, [5e-201, -5e-201]),
    ("elu", (-math.inf, 2.0), -2.0, [0.0, -1.0]),
    ("elu", (0.0, 3.0), 0.0, [3.0, 0.0]),
    ("elu", (710.0, 3.0), 710.0, [1.0, 0.0]),
    ("leaky_relu", (0.0, 0.25), 0.0, [0.25, 0.0]),
    ("leaky_relu", (-math.inf, 0.25), -math.inf, [0.25, -math.inf]),
    ("leaky_relu", (math.nan, 0.25), math.nan, [0.25, math.nan]),
]


@pytest.mark.parametrize(("name", "args", "error"), FORWARD_RAISES)
def test_forward_raises(name, args, error):
    with pytest.raises(error) as python:
        by_oracle(oracle, name)(*args)
    with pytest.raises(error) as raised:
        op(name)(*map(Value, args))
    assert raised.type is python.type is error
    if args[1:] != (0.5,):
        assert str(raised.value) == str(python.value)


def test_math_is_not_held_by_ops_that_it_raises_for():
    before = sys.getrefcount(math)
    for _ in range(100):
        outcome(Value(-1.0).log)
    assert sys.getrefcount(math) < before + 100


@pytest.mark.parametrize(("name", "args", "error"), BACKWARD_RAISES)
def test_backward_raises(name, args, error):
    leaves = [Value(x) for x in args]
    out = op(name)(*leaves)
    above = out * 2.0
    with pytest.raises(error):
        above.backward()
    assert (above.grad, out.grad) == (1.0, 2.0)
    above.zero_grad()
    assert out.grad == leaves[0].grad == 0.0


@pytest.mark.parametrize(("name", "args", "data", "grads"), NO_RAISE)
def test_edges_pass(name, args, data, grads):
    leaves = [Value(x) for x in args]
    out = op(name)(*leaves)
    assert bits(out.data) == bits(data)
    if grads:
        out.backward()
        assert [bits(leaf.grad) for leaf in leaves] == [bits(g) for g in grads]


@pytest.mark.parametrize("number", [False, True])
@pytest.mark.parametrize("base", [-2.0, -0.5, -5e-324, -math.inf, math.nan])
def test_the_gradient_of_the_exponent_is_nan_for_a_negative_base(base, number):
    w = Value(2.0)
    ((base if number else Value(base)) ** w).backward()
    assert math.isnan(w.grad)


@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("number", [False, True])
def test_the_gradient_of_the_exponent_is_0_at_base_0(zero, number):
    w = Value(3.0)
    ((zero if number else Value(zero)) ** w).backward()
    assert w.grad == 0.0


@pytest.mark.parametrize("adjoint", [math.inf, math.nan])
def test_the_gradient_of_the_exponent_at_base_0_is_0_times_the_adjoint(adjoint):
    exponent = Value(2.0)
    (Value(0.0) ** exponent * adjoint).backward()
    assert math.isnan(exponent.grad)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_square_is_pythons_to_the_bit(x):
    try:
        expected = x**2.0
    except OverflowError:
        with pytest.raises(OverflowError):
            Value(x) ** 2
    else:
        assert (Value(x) ** 2).data == expected


@given(st.floats(allow_nan=False, allow_infinity=False).filter(bool))
def test_an_inverse_is_pythons_to_the_bit(x):
    try:
        expected = x**-1.0
    except OverflowError:
        with pytest.raises(OverflowError):
            Value(x) ** -1
    else:
        assert (Value(x) ** -1).data == expected
        assert (Value(3.0) / Value(x)).data == 3.0 * expected

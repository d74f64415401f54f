"""NumPy scalars and arrays as operands, on either side."""

from __future__ import annotations

import math
import operator
import re

import numpy as np
import pytest

from helpers import partials
from micrograd import Value
from micrograd.utils import detect_anomaly


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("f", [operator.add, operator.mul, operator.sub, operator.truediv])
def test_numpy_scalars_on_the_right(engine, f, kind):
    v = engine.Value(3.0)
    out = f(v, kind(2.0))
    out.backward()
    assert isinstance(out, engine.Value)
    assert out.data == f(3.0, 2.0)
    assert v.grad == {operator.add: 1.0, operator.mul: 2.0, operator.sub: 1.0, operator.truediv: 0.5}[f]


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, np.bool_])
def test_numpy_integers_on_the_right(engine, kind):
    v = engine.Value(3.0)
    out = v * kind(1)
    out.backward()
    assert (out.data, v.grad) == (3.0, 1.0)


def test_numpy_float64_exponents(engine):
    assert (engine.Value(3.0) ** np.float64(2.0)).data == 9.0


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, np.longdouble, np.int64, np.int8, np.uint32])
@pytest.mark.parametrize("f", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow])
def test_numpy_scalars_on_either_side_give_a_value(f, kind):
    for out, data in ((f(Value(3.0), kind(2)), f(3.0, 2.0)), (f(kind(2), Value(3.0)), f(2.0, 3.0))):
        assert type(out) is Value
        assert out.data == pytest.approx(data)


@pytest.mark.parametrize("f", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_arrays_give_object_arrays_of_values(f):
    array = np.array([1.0, 2.0, 4.0])
    v = Value(3.0)
    for out, data in ((f(array, v), f(array, 3.0)), (f(v, array), f(3.0, array))):
        assert (type(out), out.dtype, out.shape) == (np.ndarray, np.dtype(object), (3,))
        assert all(type(o) is Value for o in out)
        assert [o.data for o in out] == pytest.approx(data)


def test_arrays_of_values_compute_and_differentiate():
    w = np.array([[Value(1.0), Value(2.0)], [Value(3.0), Value(4.0)]])
    x = np.array([10.0, 20.0])
    out = (w @ x).sum() * np.float64(0.5)
    out.backward()
    assert out.data == 80.0
    assert [v.grad for v in w.ravel()] == [5.0, 10.0, 5.0, 10.0]


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sin", "cos", "sqrt", "abs"])
def test_numpy_functions_call_the_method_of_their_name(name):
    v = Value(0.5)
    for out in (getattr(np, name)(v), getattr(np, name)(np.array([v]))[0]):
        v.grad = 0.0
        out.backward()
        assert out.data == pytest.approx(getattr(np, name)(0.5))
        assert v.grad == pytest.approx(partials(name, 0.5)[0])


NUMPY_NAMES = {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}
SAME_NAMES = [
    "exp",
    "log",
    "tanh",
    "sin",
    "cos",
    "sqrt",
    "expm1",
    "log1p",
    "log2",
    "log10",
    "cbrt",
    "tan",
    "sinh",
    "cosh",
]


@pytest.mark.parametrize("name", [*SAME_NAMES, *NUMPY_NAMES])
def test_numpy_functions_of_arrays_of_values(name):
    x = [0.25, 0.75]
    values = np.array([[Value(item)] for item in x])
    out = getattr(np, name)(values)
    assert out.shape == (2, 1)
    out.sum().backward()
    assert [o.data for o in out.ravel()] == pytest.approx(getattr(np, name)(x).tolist())
    slopes = [partials(NUMPY_NAMES.get(name, name), item)[0] for item in x]
    assert [v.grad for v in values.ravel()] == pytest.approx(slopes)


def test_numpy_functions_that_have_no_method():
    x = np.array([Value(-2.0), Value(4.0)])
    assert [v.data for v in np.reciprocal(x)] == [-0.5, 0.25]
    assert [v.data for v in np.square(x)] == [4.0, 16.0]
    assert list(np.positive(x)) == list(np.conjugate(x)) == list(+x) == list(x.conj()) == list(x)


def test_arctan2_of_arrays_of_values():
    y, x = np.array([Value(1.0), Value(-2.0)]), np.array([-1.0, 3.0])
    out = np.arctan2(y, x)
    out.sum().backward()
    assert [o.data for o in out] == np.arctan2([1.0, -2.0], x).tolist()
    assert [v.grad for v in y] == pytest.approx([partials("atan2", *pair)[0] for pair in [(1.0, -1.0), (-2.0, 3.0)]])


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("name", ["std", "var"])
def test_spread_of_arrays_of_values(name, ddof):
    """Data, and gradients against central differences."""
    x = np.array([[1.0, 2.0, 4.5], [-3.0, 0.5, 7.0]])
    spread = lambda x, axis=None: getattr(np, name)(x, axis=axis, ddof=ddof)  # noqa: E731
    values = np.array([[Value(item) for item in row] for row in x])
    assert [o.data for o in spread(values, 1)] == pytest.approx(spread(x, 1).tolist())
    out = spread(values)
    out.backward()
    assert out.data == pytest.approx(spread(x))
    for at in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[at] = 1e-5
        assert values[at].grad == pytest.approx((spread(x + step) - spread(x - step)) / 2e-5, rel=1e-6, abs=1e-8)


def test_no_array_ufunc():
    # The class has None there, which NumPy finds fast; a subclass may define the method.
    assert not hasattr(Value, "__array_ufunc__")
    assert not hasattr(Value(1.0), "__array_ufunc__")
    with pytest.raises(AttributeError, match="__array_ufunc__"):
        _ = Value.__array_ufunc__
    stubborn = type("Stubborn", (Value,), {"__array_ufunc__": None})
    with pytest.raises(TypeError, match="does not support ufuncs"):
        np.exp(stubborn(1.0))
    assert (np.float64(2.0) * stubborn(3.0)).data == 6.0


@pytest.mark.parametrize("function", [np.var, np.std, np.mean, np.sum], ids=lambda function: function.__name__)
def test_the_line_of_an_anomaly_is_the_users_not_numpys(function):
    values = np.array([Value(math.inf), Value(1.0)])
    with detect_anomaly(), pytest.raises(RuntimeError, match=rf"^{re.escape(__file__)}, line \d+: "):
        function(values)

"""Activations and other methods beside the table's rules, which test_rules.py has: accuracy in the tails, parameters of
ops, methods composed of others."""

from __future__ import annotations

import math
import pickle
import random

import mpmath
import pytest

import micrograd
from micrograd import Value

# The function, its derivative, where both are normal numbers, and a zero of the derivative: near it an error can only
# be compared with 1.
SMOOTH = {
    "gelu": (lambda x: x * mpmath.ncdf(x), lambda x: mpmath.ncdf(x) + x * mpmath.npdf(x), -37.4, -0.7517915),
    "silu": (
        lambda x: x / (1 + mpmath.exp(-x)),
        lambda x: (1 + x / (1 + mpmath.exp(x))) / (1 + mpmath.exp(-x)),
        -40.0,
        -1.2784645,
    ),
    "mish": (
        lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
        lambda x: (
            mpmath.tanh(mpmath.log1p(mpmath.exp(x)))
            + x * mpmath.sech(mpmath.log1p(mpmath.exp(x))) ** 2 / (1 + mpmath.exp(-x))
        ),
        -40.0,
        -1.1924312,
    ),
    "erf": (mpmath.erf, lambda x: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x), -26.5, None),
    "softsign": (lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2, -40.0, None),
}


def with_slope(function, x):
    leaf = Value(x)
    out = function(leaf)
    out.backward()
    return out.data, leaf.grad


@pytest.mark.parametrize("name", SMOOTH)
def test_errors_are_a_few_units_in_the_last_place_in_the_tails_too(name):
    true, slope, low, zero = SMOOTH[name]
    draw = random.Random(5)
    xs = [draw.uniform(low, -low) for _ in range(1500)] + [
        draw.choice([-1, 1]) * 2 ** draw.uniform(-60, 3) for _ in "x" * 500
    ]
    with mpmath.workdps(50):
        for x in xs:
            data, grad = with_slope(getattr(Value, name), x)
            expected, steep = true(mpmath.mpf(x)), slope(mpmath.mpf(x))
            assert abs(data - expected) <= 5 * math.ulp(float(expected)), x
            near_zero = zero is not None and abs(x - zero) < 1.0
            assert abs(grad - steep) <= (2**-51 if near_zero else 8 * math.ulp(float(steep))), x


def test_gelu_has_values_far_below_zero():
    """1 + erf(-10 / sqrt(2)) is 0."""
    data, grad = with_slope(Value.gelu, -10.0)
    assert data == pytest.approx(-7.619853024160526e-23, rel=1e-15)
    assert grad == pytest.approx(-7.617609366022065e-22, rel=1e-15)


def test_gelu_takes_the_names_of_approximations():
    x = Value(0.5)
    assert x.gelu().data == x.gelu("none").data == x.gelu(approximate="none").data
    assert x.gelu("tanh").data == x.gelu(approximate="tanh").data == x.gelu_tanh().data != x.gelu().data
    assert (x.gelu()._op, x.gelu("tanh")._op) == ("gelu", "gelu_tanh")
    for wrong in ("erf", None, True, 1):
        with pytest.raises(ValueError, match="approximate must be 'none' or 'tanh', not "):
            x.gelu(wrong)


@pytest.mark.parametrize(
    ("name", "keyword", "default"), [("leaky_relu", "negative_slope", 0.01), ("elu", "alpha", 1.0)]
)
def test_parameters_of_an_op(name, keyword, default):
    """A number stands in `_children`, as the 2 of `x * 2` does; a Value gets a gradient."""
    method = getattr(Value, name)
    x = Value(-2.0)
    assert method(x).data == method(x, default).data == method(x, **{keyword: default}).data
    out = method(x, 0.25)
    assert out._op == name
    assert [child.data for child in out._children] == [-2.0, 0.25]
    assert method(x, 1).data == method(x, 1.0).data
    alpha = Value(0.25)
    out = method(x, alpha)
    out.backward()
    assert alpha.grad == (-2.0 if name == "leaky_relu" else math.expm1(-2.0))
    assert out._children == (x, alpha)
    for wrong in ("a", None, [1.0], 1j):
        with pytest.raises(TypeError, match=rf"unsupported operand type\(s\) for {name}: 'Value' and "):
            method(x, wrong)


def test_atan2_refuses_what_is_no_number():
    with pytest.raises(TypeError, match="unsupported operand type"):
        Value(1.0).atan2("x")


@pytest.mark.parametrize("x", [-math.inf, -745.0, -3.0, -0.0, 0.0, 1e-9, 2.0, 710.0])
def test_selu_is_pytorchs(x):
    torch = pytest.importorskip("torch")
    theirs = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    out = torch.nn.functional.selu(theirs)
    out.backward()
    data, grad = with_slope(Value.selu, x)
    assert data == pytest.approx(out.item(), rel=4e-16, abs=0)
    assert grad == pytest.approx(theirs.grad.item(), rel=4e-16, abs=0)


def test_composed_methods_have_few_nodes():
    x = Value(0.5)
    selu = x.selu()
    assert selu._op == "*"
    assert selu._children[0]._op == "elu"
    inverse = x.reciprocal()
    assert (inverse.data, inverse._op, inverse._children) == (2.0, "**-1", (x,))
    with pytest.raises(ZeroDivisionError):
        Value(0.0).reciprocal()


def test_plus_and_conjugate_are_the_value_itself():
    class Sub(Value):
        pass

    for v in (Value(2.0), Sub(2.0), Value(2.0) * 3):
        assert +v is v
        assert v.conjugate() is v


def test_methods_with_numpys_names_are_those_with_pytorchs():
    for theirs, ours in {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2"}.items():
        assert getattr(Value, theirs) is getattr(Value, ours)


def test_compiled_functions_of_them_are_pickled():
    w = Value(0.5)

    def function(x):
        return (w * x).gelu() + x.leaky_relu(0.2) + x.elu() + x.atan2(w) + (+x).selu() + x.gelu(approximate="tanh")

    f = micrograd.compile(function, exact=True)
    xs = [-3.0, -0.5, 0.0, 0.5, 4.0]
    expected = [function(Value(x)).data for x in xs]
    assert f.map(xs).tolist() == expected
    assert pickle.loads(pickle.dumps(f)).map(xs).tolist() == expected

"""Functions that are defined on one side of a choice alone, at special values, against PyTorch, which is given the side
that is taken: eager gradients as floats and as Values, compiled ones of a sample and of each sample of a batch."""

from __future__ import annotations

import math

import pytest

import micrograd
from both_engines import Torch
from micrograd import Value, functional, grad

INF, NAN = math.inf, math.nan
POINTS = [-INF, -1e308, -800.0, -2.0, -1.0, -0.5, -1e-100, -0.0, 0.0, 1e-300, 1e-100, 0.5, 1.0, 2.0, 699.0, 700.0]
POINTS += [710.0, 800.0, 1e200, 1e308, INF, NAN, 5e-324, 1e-310]
TRAPS = {
    "root": lambda F, x: F.where(x > 0, lambda: x**0.5, 0.0),
    "inverse": lambda F, x: F.where(x > 0, lambda: 1 / x, x),
    "inverse of what is not 0": lambda F, x: F.where(F.logical_not(F.eq(x, 0.0)), lambda: 1 / x, x),
    "exp": lambda F, x: F.where(x < 700, lambda: x.exp(), INF),
    "log": lambda F, x: F.where(x > 0, lambda: x.log(), -1.0),
    "entropy": lambda F, x: F.where(x > 1e-300, lambda: x * x.log(), 0.0),
    "nested": lambda F, x: F.where(
        x > 0, lambda: F.where(x > 1, lambda: (x - 1).log(), lambda: (1 - x).sqrt()), lambda: -x
    ),
    "a circle between hyperbolas": lambda F, x: F.where(
        x < 1, lambda: F.where(x > -1, lambda: (1 - x * x) ** 0.5, lambda: 1 / x), lambda: 1 / x
    ),
    "acos": lambda F, x: F.where(F.logical_and(x > -1, x < 1), lambda: x.acos(), 0.0),
    "asin": lambda F, x: F.where(abs(x) < 1, lambda: x.asin(), lambda: x * 0.5),
    "atan2": lambda F, x: F.where(
        F.logical_and(abs(x) > 1e-50, abs(x) < 1e50), lambda: F.atan2(x, x * 2), lambda: x.detach()
    ),
    "clamp": lambda F, x: F.clamp(x, -1.0, 1.0) * 2.0 + F.clamp(x, min=-0.5) + F.clamp(x, max=0.5),
    "maximum": lambda F, x: F.maximum(x, 1.0) + F.maximum(-1.0, x),
    "maximum of NaN": lambda F, x: F.maximum(x, NAN) * 2.0 + F.minimum(NAN, x),
    "minimum of itself": lambda F, x: F.minimum(x, x) + F.minimum(x, x * 0.5),
    "relu6": lambda F, x: F.minimum(F.maximum(x, 0.0), 6.0),
    "log of 1 + exp": lambda F, x: F.where(x > 20, x, lambda: (1 + F.where(x < -700, 0.0, lambda: x.exp())).log()),
    "a log of both signs": lambda F, x: F.where(
        x >= 1, lambda: x.log(), lambda: F.where(x <= -1, lambda: -(-x).log(), 0.0)
    ),
    "powers of the absolute value": lambda F, x: F.where(x < 0, lambda: (-x) ** 0.75, lambda: (x + 1) ** -0.5),
    "what is a number": lambda F, x: F.where(F.eq(x, x), lambda: x.atan(), 0.0),
    "a root of what is at least": lambda F, x: F.clamp(x, 0.25, 1e300).sqrt() + F.maximum(x, 0.25) ** 0.5,
    "the smallest logarithm": lambda F, x: F.where(x > 0, lambda: x.log(), lambda: x * 0.75),
    "the smallest entropy": lambda F, x: F.where(x > 0, lambda: x * x.log(), 0.0),
    "an angle of the smallest": lambda F, x: F.where(F.eq(x, 0.0), 1.0, lambda: F.atan2(x, 1.0) + F.atan2(1.0, x)),
}


def ours(function, *args):
    """Numbers; None where Python raises."""
    try:
        return function(*args)
    except (ArithmeticError, ValueError):
        return None


def by_backward(function, point):
    x = Value(point)
    y = function(x)
    out = 1.0 * y  # a node of its own: the side may be x itself, or a number
    out.backward()
    return [y.data, x.grad]


def by_grad(function, point, create_graph):
    x = Value(point)
    y = function(x)
    found = grad(y, x, create_graph=create_graph, allow_unused=True)
    return [y.data, found.data if isinstance(found, Value) else found or 0.0]


def slope_and_value(function):
    def both(x):
        y = function(x)
        slope = grad(y, x, allow_unused=True)
        return [y + 0.0, 0.0 if slope is None else slope + 0.0]

    return both


def same(a, b):
    return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-300) or (math.isnan(a) and math.isnan(b))


@pytest.mark.parametrize("name", TRAPS)
def test_traps(name, exact):
    engine = Torch()
    function = lambda x: TRAPS[name](functional, x)  # noqa: E731
    compiled = micrograd.compile(function, exact=exact)
    fine = []
    for point in POINTS:
        t = engine.value(point)
        y = 1.0 * TRAPS[name](engine.F, t)
        slope = engine.torch.autograd.grad(y, t, allow_unused=True)[0] if y.requires_grad else None
        expected = [y.item(), 0.0 if slope is None else slope.item()]
        results = {
            "backward": ours(by_backward, function, point),
            "grad": ours(by_grad, function, point, False),
            "grad as a Value": ours(by_grad, function, point, True),
            "compiled": ours(by_backward, compiled, point),
        }
        for how, found in results.items():
            assert (found is None) == (results["backward"] is None), (point, how)
            assert found is None or all(map(same, found, expected)), (point, how, found, expected)
        if results["backward"] is None:  # what is taken overflows, or is not defined
            assert not all(map(math.isfinite, expected)), point
        else:
            fine.append((point, expected))
    assert len(fine) > 13
    columns = [point for point, _ in fine]
    for (point, (value, slope)), found, (again, derivative) in zip(
        fine, compiled.map(columns), micrograd.compile(slope_and_value(function), exact=exact).map(columns)
    ):
        assert same(found, value), point
        assert same(again, value), point
        assert same(derivative, slope), point


def second_in_torch(torch, y, t):
    """The second derivative, 0 where there is none."""
    for _ in range(2):
        y = torch.autograd.grad(y, t, create_graph=True, allow_unused=True)[0] if y.requires_grad else None
        if y is None:
            return 0.0
    return y.item()


def second(function):
    def derivative(x):
        y = function(x)
        for _ in range(2):
            y = grad(y, x, create_graph=True, allow_unused=True)
            if y is None:
                return Value(0.0)
        return y + 0.0

    return derivative


@pytest.mark.parametrize("name", TRAPS)
def test_second_derivatives_at_traps(name, exact):
    engine = Torch()
    function = lambda x: TRAPS[name](functional, x)  # noqa: E731
    fine = []
    for point in [*POINTS, 1e-200, -1e-200]:
        t = engine.value(point)
        expected = second_in_torch(engine.torch, 1.0 * TRAPS[name](engine.F, t), t)
        try:
            found = second(function)(Value(point)).data
        except (ArithmeticError, ValueError):  # a power raises where the derivative, or a term of it, is infinite
            assert not math.isfinite(expected), point
            continue
        fine.append((point, found))
        if not math.isnan(expected):
            assert math.isclose(found, expected, rel_tol=1e-10, abs_tol=1e-15), (point, expected)
    rows = micrograd.compile(second(function), exact=exact).map([point for point, _ in fine])
    for (point, found), again in zip(fine, rows.tolist()):
        assert same(again, found) or math.isclose(again, found, abs_tol=1e-15), point


@pytest.mark.parametrize("exact", [False, True], ids=["default", "exact"])
@pytest.mark.parametrize("name", ["silu", "mish", "gelu", "gelu_tanh", "elu", "leaky_relu"])
def test_slopes_of_activations_at_special_values(name, exact):
    """Computed in the program from others' results, of which one is 0 and another infinite."""

    def slope(x):
        return grad(getattr(x, name)(), x, create_graph=True)

    f = micrograd.compile(slope, exact=exact)
    expected = pytest.approx([slope(Value(x)).data for x in POINTS], rel=1e-12, abs=1e-300, nan_ok=True)
    assert f.map(POINTS).tolist() == expected
    assert [f(x).data for x in POINTS] == expected

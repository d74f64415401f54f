"""exp, log, tanh, sigmoid, softplus and what else the default mode computes on vectors: near the true value, monotone,
and the same bits in any lane."""

from __future__ import annotations

import functools
import itertools
import math

import mpmath
import numpy as np
import pytest

import micrograd
from helpers import SPECIAL, complaint, op
from micrograd import Value, functional
from micrograd._compile import use_variant, variants
from micrograd._core import OPS

INF, NAN = math.inf, math.nan
LN2 = math.log(2)
FUNCTIONS = {
    "exp": micrograd.compile(lambda x: x.exp()),
    "log": micrograd.compile(lambda x: x.log()),
    "tanh": micrograd.compile(lambda x: x.tanh()),
    "sigmoid": micrograd.compile(lambda x: x.sigmoid()),
    "softplus": micrograd.compile(lambda x: x.softplus()),
}
TRUE = {
    "exp": mpmath.exp,
    "log": mpmath.log,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
}
ULPS = {"exp": 1.0, "log": 1.0, "tanh": 1.0, "sigmoid": 1.0, "softplus": 1.25}
# Where the results are finite and not constant.
RANGES = {
    "exp": (-745.2, 709.78),
    "log": (0.0, 1.7e308),
    "tanh": (-22.0, 22.0),
    "sigmoid": (-745.2, 40.0),
    "softplus": (-745.2, 45.0),
}
# Where tests/ulps.py finds the largest errors.
WORST = {
    "exp": ["-0x1.62639e09762a4p+9", "-0x1.62719b5a2e1c2p+9"],
    "log": ["0x1.65f17db88e158p-1", "0x1.66bb91a00efdap-1", "0x1.17face58c9e9cp+0"],
    "tanh": ["0x1.660e2e1068c80p-3", "-0x1.5688ca52dd0d0p-3", "0x1.28ab7f5c1ed5fp+4"],
    "sigmoid": ["-0x1.62639e09762a4p+9", "-0x1.ff874b399a456p+0"],
    "softplus": ["-0x1.250c11ad250b0p+5", "-0x1.5af1a90e6b568p+0"],
}


@pytest.fixture(params=variants())
def variant(request):
    use_variant(request.param)
    yield request.param
    use_variant(variants()[0])


@pytest.fixture(params=FUNCTIONS)
def name(request):
    return request.param


@functools.cache
def points(name):
    """Over the range, of all magnitudes, dense where the function bends, and the worst known."""
    draw = np.random.default_rng(7)
    low, high = RANGES[name]
    magnitudes = draw.uniform(1.0, 2.0, 5000) * 2.0 ** draw.integers(-1074, 1023, 5000)
    found = [magnitudes, -magnitudes, draw.uniform(max(low, -800.0), min(high, 800.0), 5000), draw.uniform(-2, 2, 5000)]
    found += [draw.choice([-1.0, 1.0], 3000) * 2.0 ** draw.uniform(-60, 3, 3000), 1.0 + draw.uniform(-1, 1, 3000) ** 9]
    found += [draw.integers(1, 2**52, 1000) * 5e-324, draw.uniform(-745.2, -700.0, 1000)]
    x = np.concatenate([*found, [float.fromhex(text) for text in WORST[name]]])
    return x[(x > low) & (x < high)]


def exactly(true, xs):
    """The true values, each as a double and what is missing."""
    with mpmath.workprec(160):
        results = [true(mpmath.mpf(x)) for x in xs.tolist()]
        nearest = np.array([float(r) for r in results])
        return nearest, np.array([float(r - n) for r, n in zip(results, nearest.tolist())])


@functools.cache
def true_values(name):
    return exactly(TRUE[name], points(name))


def ulps(found, true):
    nearest, rest = true
    return np.abs((found - nearest) - rest) / np.spacing(np.abs(nearest))


def test_the_error_is_small(name, variant):
    errors = ulps(FUNCTIONS[name].map(points(name)), true_values(name))
    assert len(errors) > 10_000
    at = errors.argmax()
    assert errors[at] <= ULPS[name], (points(name)[at], errors[at])


def test_special_values(name, variant):
    f = FUNCTIONS[name]
    expected = {
        "exp": [(NAN, NAN), (INF, INF), (-INF, 0.0), (0.0, 1.0), (-0.0, 1.0), (-746.0, 0.0), (-1e308, 0.0)],
        "log": [(NAN, NAN), (INF, INF), (1.0, 0.0)],
        "tanh": [(NAN, NAN), (INF, 1.0), (-INF, -1.0), (0.0, 0.0), (-0.0, -0.0), (1e300, 1.0), (-20.0, -1.0)],
        "sigmoid": [(NAN, NAN), (INF, 1.0), (-INF, 0.0), (0.0, 0.5), (-0.0, 0.5), (-1e308, 0.0), (50.0, 1.0)],
        "softplus": [(NAN, NAN), (INF, INF), (-INF, 0.0), (0.0, LN2), (1e308, 1e308), (-1e308, 0.0)],
    }[name]
    xs = np.array([x for x, _ in expected])
    rs = np.array([r for _, r in expected])
    for found in (f.map(xs), np.array([f(x).data for x in xs])):
        np.testing.assert_array_equal(found, rs)
        np.testing.assert_array_equal(np.signbit(found[rs == rs]), np.signbit(rs[rs == rs]))


@pytest.mark.parametrize("x", [5e-324, 1e-310, 2.2250738585072014e-308, 1e-200, 1e-20, 1e-10, 2.0**-28])
def test_tanh_of_small_numbers_is_the_number(variant, x):
    assert FUNCTIONS["tanh"].map([x, -x]).tolist() == [x, -x]


def seams(name):
    """Where formulas or exponents change."""
    if name == "log":
        centres = [2.0**k * c for k in range(-1022, 1023, 31) for c in (1.0, math.sqrt(0.5), math.sqrt(2.0))]
        return np.array([1.0, math.sqrt(0.5), math.sqrt(2.0), 2.2250738585072014e-308, *centres])
    halves = (np.arange(-60, 60) + 0.5) * LN2
    whole = np.arange(-1074, 1023, 17) + 0.5
    few = [0.0, 5e-324, 20.0, 40.0, math.log(math.sqrt(2.0) - 1.0), -708.4, -745.13]
    centres = np.concatenate([halves, halves / 2.0, whole * LN2, few])
    low, high = RANGES[name]
    return centres[(centres > low) & (centres < high)]


def neighbours(centres, count):
    """Rows of that many doubles that follow one another."""
    x = centres
    for _ in range(count // 2):
        x = np.nextafter(x, -INF)
    rows = [x]
    for _ in range(count - 1):
        rows.append(np.nextafter(rows[-1], INF))
    return np.array(rows).T.copy()


def test_functions_are_monotone(name, variant):
    for centres, count in ((seams(name), 64), (points(name)[::4], 8)):
        x = neighbours(centres, count)
        low, high = RANGES[name]
        x = x[(x > low).all(axis=1) & (x < high).all(axis=1)]
        r = FUNCTIONS[name].map(x.ravel()).reshape(x.shape)
        falls = (np.diff(r, axis=1) < 0.0).any(axis=1)
        assert not falls.any(), x[falls][:3]
    x = np.sort(points(name))
    assert (np.diff(FUNCTIONS[name].map(x)) >= 0.0).all()


@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 64, 100])
def test_a_number_has_the_same_bits_in_any_lane(name, variant, width):
    f = FUNCTIONS[name]
    x = points(name)[:: len(points(name)) // 300][:300]
    expected = f.map(x)
    for start in range(0, 200, 29):
        part = slice(start, start + width)
        np.testing.assert_array_equal(f.map(x[part]), expected[part])
    if width == 1:
        np.testing.assert_array_equal([f(value).data for value in x.tolist()], expected)


# ---- Roots, quotients, powers, logsumexp -----------------------------------------------------------------------------

POWERS = {1.0: 0.5, 2.0: 0.5, 3.0: 1.5, -1.0: 0.5, -2.0: 1.5, 0.5: 0.5, -0.5: 1.5}


@pytest.mark.parametrize("exponent", POWERS)
def test_powers(variant, exponent):
    draw = np.random.default_rng(3)
    x = draw.uniform(1.0, 2.0, 3000) * 2.0 ** draw.integers(-300, 300, 3000)
    true = exactly(lambda x: x**exponent, x)
    f = micrograd.compile(lambda x: x**exponent)
    assert ulps(f.map(x), true).max() <= POWERS[exponent] + 1e-6
    # Next to other exponents, and as one sample, a number has the same bits.
    g = micrograd.compile(lambda x, y: x**y)
    mixed = np.where(np.arange(len(x)) % 3 == 0, exponent, 1.75)
    np.testing.assert_array_equal(g.map(x, mixed)[::3], f.map(x)[::3])
    assert [f(value).data for value in x[:20].tolist()] == f.map(x)[:20].tolist()
    for place in (0, 7, 16, 23):
        mixed = np.where(np.arange(24) == place, 1.75, exponent)
        expected = np.where(np.arange(24) == place, g(x[place], 1.75).data, f.map(x[:24]))
        np.testing.assert_array_equal(g.map(x[:24], mixed), expected)


@pytest.mark.parametrize("exponent", [*POWERS, 0.0, 1.75])
@pytest.mark.parametrize("x", [0.0, -0.0, INF, -INF, NAN, -2.0, 1e-200, 1e200, 5e-324, 1.7e308])
def test_powers_of_special_values(exponent, x):
    f = micrograd.compile(lambda x: x**exponent)
    try:
        expected = (Value(x) ** exponent).data
    except (ArithmeticError, ValueError) as error:
        with pytest.raises(type(error), match=complaint(lambda: Value(x) ** exponent)):
            f(x)
        with pytest.raises(type(error), match="sample 2: " + complaint(lambda: Value(x) ** exponent)):
            f.map([1.0, 4.0, x])
    else:
        for found in (f(x).data, f.map([1.0, 4.0, x])[2]):
            assert found == pytest.approx(expected, rel=4e-16, nan_ok=True)
            assert math.copysign(1.0, found) == math.copysign(1.0, expected) or math.isnan(found)


def test_roots_and_quotients_are_those_of_eager_code(variant):
    x, y = np.random.default_rng(5).lognormal(size=(2, 100))
    root, ratio = micrograd.compile(lambda x: x.sqrt()), micrograd.compile(lambda x, y: x / y)
    np.testing.assert_array_equal(root.map(x), np.sqrt(x))
    np.testing.assert_array_equal(ratio.map(x, y), x * (1.0 / y))


@pytest.mark.parametrize("count", [1, 2, 5, 70])
def test_logsumexp(variant, count):
    f = micrograd.compile(lambda x: functional.logsumexp(x))
    X = np.random.default_rng(count).normal(scale=20.0, size=(50, count))
    X[0], X[1] = 0.0, 700.0
    X[2, 0] = 300.0
    found = f.map(X)
    with mpmath.workprec(120):
        true = np.array([float(mpmath.log(mpmath.fsum(mpmath.exp(x) for x in row))) for row in X.tolist()])
    assert (np.abs(found - true) <= 2 * np.spacing(np.abs(X).max(axis=1))).all()
    np.testing.assert_array_equal([f(row).data for row in X.tolist()], found)
    np.testing.assert_array_equal(f.map(X[:3]), found[:3])
    for special in (INF, -INF, NAN):
        X[3] = special
        np.testing.assert_array_equal(f.map(X)[:4], [*found[:3], functional.logsumexp(X[3].tolist()).data])


@pytest.mark.parametrize("count", [1, 3, 9])
def test_softmax(variant, count):
    """Of exponentials, whose largest argument is subtracted first."""
    f = micrograd.compile(lambda x: functional.softmax(x))
    X = np.random.default_rng(count).normal(scale=200.0, size=(50, count))
    expected = np.array([[p.data for p in functional.softmax([Value(x) for x in row])] for row in X.tolist()])
    np.testing.assert_allclose(f.map(X), expected, rtol=1e-14, atol=1e-300)
    np.testing.assert_array_equal([[p.data for p in f(row)] for row in X.tolist()], f.map(X))


# ---- Errors ----------------------------------------------------------------------------------------------------------

RAISING = [("exp", 710.0), ("exp", 1e308), ("log", 0.0), ("log", -0.0), ("log", -1.0), ("log", -INF)]


@pytest.mark.parametrize(("method", "x"), RAISING)
def test_errors_are_those_of_eager_code(variant, method, x):
    f = FUNCTIONS[method]
    kind = OverflowError if method == "exp" else ValueError
    text = complaint(getattr(Value(x), method))
    with pytest.raises(kind, match=text):
        f(x)
    for sample, samples in ((0, 1), (2, 3), (8, 9), (150, 300)):
        X = np.ones(samples)
        X[sample] = x
        with pytest.raises(kind, match=f"sample {sample}: {text}"):
            f.map(X)


@pytest.mark.parametrize("op_name", sorted(name for name in OPS if OPS[name][1]))
def test_special_values_are_near_those_of_eager_code(variant, op_name):
    f, points = micrograd.compile(op(op_name)), list(itertools.product(SPECIAL, repeat=OPS[op_name][1]))
    good, results = [], []
    for point in points:
        try:
            results.append(op(op_name)(*map(Value, point)).data)
            good.append(point)
        except (ArithmeticError, ValueError) as error:
            with pytest.raises(type(error), match=complaint(lambda p=point: op(op_name)(*map(Value, p)))):
                f(*point)
    found = f.map(*np.array(good).T)
    np.testing.assert_allclose(found, results, rtol=5e-16, atol=5e-324)
    np.testing.assert_array_equal([f(*point).data for point in good], found)


def test_padding_never_raises(variant):
    """Lanes behind the last sample, which are 0, are computed too."""
    w = Value(2.0)
    f = micrograd.compile(lambda x: (w / x).log() + x**-0.5 + (w * x**-2).sqrt())
    for samples in (1, 3, 9, 77):
        X = np.full(samples, 0.5)
        total, (slope,) = f.value_and_grad(X)
        assert total == pytest.approx(samples * (math.log(4.0) + 0.5**-0.5 + 8.0**0.5))
        assert slope == pytest.approx(samples * (0.5 + 0.5 * 4.0 / 8.0**0.5))


def test_numbers_that_are_not_finite_leave_the_others_alone(variant):
    for method, special in (("exp", [INF, NAN, -INF]), ("log", [INF, NAN, INF])):
        x = np.random.default_rng(1).uniform(0.1, 5.0, 40)
        expected = FUNCTIONS[method].map(x)
        x[3:6] = special
        found = FUNCTIONS[method].map(x)
        np.testing.assert_array_equal(np.delete(found, [3, 4, 5]), np.delete(expected, [3, 4, 5]))
        assert found[3] == INF
        assert math.isnan(found[4])


# ---- Gradients -------------------------------------------------------------------------------------------------------

DIFFERENTIATED = {
    **{method: lambda w, x, method=method: getattr(w * x, method)() for method in [*FUNCTIONS, "sqrt"]},
    **{f"pow {p}": lambda w, x, p=p: (w * x) ** p for p in [*POWERS, 1.75]},
    "div": lambda w, x: (w + x) / (w * x),
    "pow of two": lambda w, x: (w * x) ** (w + x),
    "logsumexp": lambda w, x: functional.logsumexp([w * x, w + x, x * 0.5]),
    "twice": lambda w, x: (lambda y: y.tanh() * y.exp() + y.log() / y.sqrt() + y.sigmoid() * y.softplus())(w * x),
}


@pytest.mark.parametrize("case", DIFFERENTIATED)
@pytest.mark.parametrize("samples", [1, 3, 8, 100])
def test_gradients_are_near_those_of_eager_code(variant, case, samples):
    w = Value(0.75)
    function = DIFFERENTIATED[case]
    x = np.random.default_rng(samples).uniform(0.1, 5.0, samples)
    grads = []
    for value in x.tolist():
        w.grad = 0.0
        (function(w, Value(value)) * value).backward()
        grads.append(w.grad)
    f = micrograd.compile(lambda x: function(w, x) * x)  # each sample has another grad
    assert f.value_and_grad(x)[1][0] == pytest.approx(sum(grads), rel=1e-13, abs=1e-13)
    w.grad = 0.0
    f(x[0]).backward()
    assert w.grad == pytest.approx(grads[0], rel=1e-13)


@pytest.mark.parametrize("case", ["sqrt", "pow 0.5"])
def test_a_value_without_a_derivative_raises(variant, case):
    w = Value(1.0)
    f = micrograd.compile(lambda x: DIFFERENTIATED[case](w, x))
    x = np.ones(100)
    x[70] = 0.0
    total = f.sum(x)
    with pytest.raises(ZeroDivisionError):
        total.backward()

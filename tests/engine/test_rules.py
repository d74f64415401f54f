"""Every row of the op table: forward against Python, derivatives against PyTorch, mpmath and central differences.
The rows are read from the table; what a library has under another name stands in IN_MPMATH and IN_TORCH."""

from __future__ import annotations

import functools
import itertools
import math
import random
import sys

import mpmath
import pytest

import oracle
from exact import by_oracle, in_mpmath
from helpers import BINARY, SPECIAL, UNARY, bits, op, outcome
from micrograd._core import OPS, Value

EPS = sys.float_info.epsilon
ORDINARY = [0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 7.25, 19.0, 1e-3, 1e-9, 40.0, 300.0]
ORDINARY += [-x for x in ORDINARY]
ENOUGH = 90  # gradients that each comparison must reach; log and sqrt, defined at half of the points, have some 110

# Ops that PyTorch has under another name, or with other arguments; None for one that it lacks.
IN_TORCH = {
    # Linear above its threshold, at 20 if not told.
    "softplus": lambda torch: functools.partial(torch.nn.functional.softplus, threshold=40),
    "gelu_tanh": lambda torch: functools.partial(torch.nn.functional.gelu, approximate="tanh"),
    "leaky_relu": lambda torch: torch.prelu,
    "elu": lambda torch: lambda x, alpha: torch.where(x > 0, x, alpha * torch.expm1(x)),
    "cbrt": None,
}
# Roundings, in multiples of EPS, of exp's argument here; and in PyTorch of 1 - sigmoid(x), which it multiplies by x,
# and of 1 + expm1(x), by alpha.
ROUNDED = {"gelu_tanh": lambda x: abs(1.6 * x + 0.0714 * x**3)}
ROUNDED_IN_TORCH = {"silu": abs, "elu": lambda _x, alpha: abs(alpha), "gelu_tanh": lambda x: abs(x) ** 3}
# Where an op or its derivative is infinite: one of the two raises.
POLES = {"log1p": [-1.0], "asin": [-1.0, 1.0], "acos": [-1.0, 1.0]}


def in_torch(name):
    torch = pytest.importorskip("torch")
    if name in IN_TORCH:
        return IN_TORCH[name](torch) if IN_TORCH[name] else pytest.skip(f"PyTorch has no {name}")
    found = [home for home in (torch.Tensor, torch, torch.nn.functional) if hasattr(home, name)]
    assert found, f"PyTorch has no {name}: IN_TORCH says what it has instead, or None"
    return getattr(found[0], name)


def gradients(name, args):
    """The result and the gradient of each argument; raises what the engine raises."""
    leaves = [Value(x) for x in args]
    out = op(name)(*leaves)
    out.backward()
    return out.data, [leaf.grad for leaf in leaves]


def points(values, arity, seed):
    """The values, or their pairs, and 200 random ones."""
    draw = random.Random(seed)
    drawn = [draw.choice([1, -1]) * math.exp(draw.uniform(-7, 4)) for _ in range(200 * arity)]
    return [*itertools.product(values, repeat=arity), *zip(*[iter(drawn)] * arity)]


def close(name, args, ours, exact, unsure=8.0):
    """8 roundings of the result, or of the 1 that tanh and sigmoid subtract from; for a power also of the exponent."""
    if name == "__pow__":
        unsure += max(abs(args[1]), 1.0) * abs(math.log(abs(args[0])))
    return ours == exact or abs(ours - exact) <= unsure * EPS * max(abs(exact), 1.0)


@pytest.fixture(params=sorted(OPS.items()), ids=lambda row: row[0].strip("_"))
def row(request):
    name, (_symbol, arity) = request.param
    return name, arity


def test_the_oracle_has_every_row():
    assert [name for name in OPS if not hasattr(oracle.Value, name)] == []


# ---- Forward ---------------------------------------------------------------------------------------------------------


def test_forward_is_pythons_to_the_bit(row):
    name, arity = row
    for args in points(ORDINARY + SPECIAL, arity, 1):
        ours, error = outcome(lambda args=args: op(name)(*map(Value, args)).data)
        theirs, expected = outcome(by_oracle(oracle, name), *args)
        assert error == expected, args
        assert error or bits(ours) == bits(theirs), (args, ours, theirs)


@pytest.mark.parametrize("name", BINARY)
def test_forward_of_numbers_is_that_of_values(name):
    for args in points(ORDINARY + SPECIAL, 2, 2):
        a, b = args
        both, error = outcome(lambda args=args: op(name)(*map(Value, args)))
        for operands in [(Value(a), b), (a, Value(b))] if name.startswith("__") else [(Value(a), b)]:
            one, error_one = outcome(op(name), *operands)
            assert error_one == error, args
            assert error or bits(one.data) == bits(both.data), args


@pytest.mark.usefixtures("rounds_once")
def test_division_and_tanh_keep_the_roundings_of_pow():
    """In 50,000 draws pow(x, -1) and 1 / x differ some 40 times, and 1 - pow(t, 2) and 1 - t * t some 10 times."""
    draw = random.Random(3)
    for _ in range(50_000):
        a, b = draw.uniform(-2, 2), draw.uniform(0.5, 2)
        x, y = Value(a), Value(b)
        out = x / y
        assert out.data == a * b**-1
        out.backward()
        assert x.grad == b**-1
        x = Value(20 * a)
        x.tanh().backward()
        assert x.grad == 1 - math.tanh(20 * a) ** 2


# ---- Derivatives -----------------------------------------------------------------------------------------------------


def test_gradients_are_mpmaths(row):
    name, arity = row
    exact = in_mpmath(name)
    compared = 0
    for args in points(ORDINARY, arity, 4):
        result, error = outcome(gradients, name, args)
        with mpmath.workdps(40):
            value = exact(*map(mpmath.mpf, args))
            if error:
                pole = args[0] in POLES.get(name, [])
                assert error is OverflowError or pole or not isinstance(value, mpmath.mpf), args
                continue
            data, grads = result
            unsure = 4 + ROUNDED[name](*args) if name in ROUNDED else 4
            assert abs(data - value) <= unsure * EPS * max(abs(value), sys.float_info.min / EPS), (args, data)
            for i, ours in enumerate(grads):
                if math.isnan(ours):
                    assert (name, i) == ("__pow__", 1), args
                    assert args[0] < 0
                    continue
                order = tuple(int(j == i) for j in range(arity))
                slope = mpmath.diff(exact, args, order) if arity > 1 else mpmath.diff(exact, args[0])
                if not (math.isinf(ours) and abs(slope) > sys.float_info.max):
                    assert close(name, args, ours, slope), (args, i, slope)
                    compared += 1
    assert compared >= ENOUGH


def difference(name, args, i, step):
    """The central difference by the argument i."""
    ends = [tuple(x + sign * step * (i == j) for j, x in enumerate(args)) for sign in (1, -1)]
    up, down = (op(name)(*map(Value, end)).data for end in ends)
    return (up - down) / (ends[0][i] - ends[1][i])


def test_gradients_are_central_differences(row):
    """The error is about a third of what a step of twice the length changes."""
    name, arity = row
    compared = 0
    for args in points(ORDINARY, arity, 5):
        result, error = outcome(gradients, name, args)
        if error or not all(map(math.isfinite, result[1])):
            continue
        for i, ours in enumerate(result[1]):
            step = EPS ** (1 / 3) * abs(args[i])
            (near, error), (far, error_far) = (outcome(difference, name, args, i, k * step) for k in (1, 2))
            if error or error_far:
                continue
            noise = EPS * abs(result[0]) / step
            bend = max(1.0, abs(args[0]), abs(args[-1]), math.log(abs(args[0])) ** 2) ** 3
            bound = 8 * noise + 1e-9 * bend * max(abs(ours), abs(result[0]), 1.0) + abs(near - far)
            assert abs(ours - near) <= bound, (args, i)
            compared += 1
    assert compared >= ENOUGH


def test_gradients_are_pytorchs(row):
    torch = pytest.importorskip("torch")
    name, arity = row
    theirs = in_torch(name)
    compared = 0
    for args in points(ORDINARY, arity, 6):
        result, error = outcome(gradients, name, args)
        tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in args]
        out = theirs(*tensors)
        out.backward()
        if error:
            theirs_too = [out.item(), *(tensor.grad.item() for tensor in tensors)]
            assert error is OverflowError or not all(map(math.isfinite, theirs_too)), args
            continue
        unsure = 8.0 + ROUNDED_IN_TORCH[name](*args) if name in ROUNDED_IN_TORCH else 8.0
        assert close(name, args, result[0], out.item(), unsure), (args, result[0], out.item())
        for ours, tensor in zip(result[1], tensors):
            exact = tensor.grad.item()
            assert math.isnan(ours) == math.isnan(exact), args
            assert math.isnan(ours) or close(name, args, ours, exact, unsure), (args, ours, exact)
            compared += 1
    assert compared >= ENOUGH


# ---- Edges -----------------------------------------------------------------------------------------------------------


def test_special_values_are_the_oracles(row):
    """Data, gradients and exceptions at infinities, NaN, zeros and the ends of the range, as Python has them."""
    name, arity = row
    for args in itertools.product(SPECIAL, repeat=arity):
        leaves, twins = [Value(x) for x in args], [oracle.Value(x) for x in args]
        (out, error), (twin, expected) = outcome(op(name), *leaves), outcome(op(name), *twins)
        assert error == expected, args
        if error:
            continue
        assert bits(out.data) == bits(twin.data), args
        errors = twin.backward()
        _, error = outcome(out.backward)
        assert error in errors if errors else error is None, args
        for leaf, twin_leaf in zip(leaves, twins):
            assert errors or bits(leaf.grad) == bits(twin_leaf.grad), (args, leaf.grad, twin_leaf.grad)


# PyTorch has 1 and 0. The reference's relu multiplies by (out > 0).
AT_NAN = {"relu": 0.0, "abs": math.nan}
# Where PyTorch's formulas are inf * 0 or inf / inf: the limits of the gradient at -inf and inf.
LIMITS = {
    **dict.fromkeys(["gelu", "gelu_tanh", "silu", "mish"], (0.0, 1.0)),
    "softsign": (0.0, 0.0),
}


@pytest.mark.parametrize("name", UNARY)
def test_special_values_are_pytorchs(name):
    """Of one argument; with two, PyTorch has rules of its own. Where Python raises, PyTorch has inf or NaN."""
    torch = pytest.importorskip("torch")
    for x in SPECIAL:
        result, error = outcome(gradients, name, (x,))
        tensor = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        out = in_torch(name)(tensor)
        out.backward()
        theirs = AT_NAN.get(name, tensor.grad.item()) if math.isnan(x) else tensor.grad.item()
        if error:
            assert not math.isfinite(out.item()) or not math.isfinite(theirs), x
            continue
        ours = result[1][0]
        if name in LIMITS and math.isnan(theirs) and not math.isnan(x):
            theirs = LIMITS[name][x > 0]
        assert math.isnan(ours) == math.isnan(theirs), x
        assert math.isnan(ours) or close(name, (x,), ours, theirs), (x, ours, theirs)

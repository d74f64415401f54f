"""Derivatives as Values: each op's expression against its partial in C and against PyTorch's second derivative, and
random programs against PyTorch's double backward."""

from __future__ import annotations

import functools
import itertools
import math
import random

import mpmath
import pytest

from helpers import NARROW, OF_A_LIST, SPECIAL, bits, op, outcome
from micrograd import Value, functional, grad
from micrograd._core import OPS, op_columns, op_names, op_partial, op_value

ORDINARY = [0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 7.25, 19.0, 1e-3, 1e-9, 40.0]
ORDINARY += [-x for x in ORDINARY] + [0.0, -0.0]
VARIADIC = ["sum", "logsumexp", "max", "_take", "_entropy_normalizer"]
IN_TAILS = {"gelu": 1e-15, "gelu_tanh": 1e-24}  # where 1 + erf(x) cancels, and exp rounds its argument
LISTS = [[0.5], [0.25, -1.5], [3.0, 3.0, -2.0], [1e-3, 40.0, -40.0], [0.0, 0.0]]


def arity(name):
    return len(op_columns(name)["reads"])


def expressions(name, args):
    """The result, and the derivatives by each argument as Values."""
    leaves = [Value(x) for x in args]
    out = op_value(name, *leaves)
    return out, leaves, grad(out, leaves, create_graph=True)


# ---- Each op's expression is its partial -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in op_names() if name not in VARIADIC])
def test_expressions_are_the_partials(name):
    """At ordinary points within some roundings. At a power's edges and at infinities it may raise where C does not, or
    give what C raises for: there the two need not agree."""
    compared = 0
    for args in itertools.product(ORDINARY, repeat=arity(name)):
        if outcome(op_value, name, *map(Value, args))[1]:
            continue
        r = op_value(name, *map(Value, args)).data
        for side in range(len(args)):
            leaves = [Value(x) for x in args]
            partial, error = outcome(op_partial, name, side, *args, *([0.0] if len(args) == 1 else []), r, 1.0)
            found, raised = outcome(grad, op_value(name, *leaves), leaves[side], True)
            assert error == raised, args
            if error:
                continue
            assert math.isnan(found.data) == math.isnan(partial), (args, side)
            if not math.isnan(partial):
                assert found.data == pytest.approx(partial, rel=1e-14, abs=IN_TAILS.get(name, 1e-300)), (args, side)
                compared += 1
    assert compared >= (10 if name in NARROW else 11)


@pytest.mark.parametrize("name", [name for name in op_names() if arity(name) == 2 and name not in VARIADIC])
@pytest.mark.parametrize("side", [0, 1])
def test_expressions_where_the_other_operand_is_a_number(name, side):
    if side and not name.startswith("__"):
        pytest.skip("a number has no such method")
    for args in itertools.product(ORDINARY, repeat=2):
        leaves, mixed = [Value(x) for x in args], [Value(x) if i == side else x for i, x in enumerate(args)]
        (both, error), (one, error_one) = outcome(op_value, name, *leaves), outcome(op_value, name, *mixed)
        assert error == error_one
        if error:
            continue
        expected, error = outcome(grad, both, leaves[side], True)
        found, raised = outcome(grad, one, mixed[side], True)
        assert error == raised, args
        assert error or found.data == pytest.approx(expected.data, rel=1e-14, abs=1e-300, nan_ok=True), args


@pytest.mark.parametrize("name", VARIADIC)
def test_expressions_of_variadic_ops_are_the_partials(name):
    for data in LISTS:
        for index in range(len(data)) if op_columns(name)["shape"] == "indexed" else [None]:
            leaves = [Value(x) for x in data]
            out = op_value(name, *leaves, *([] if index is None else [Value(index)]))
            found = [g.data for g in grad(out, leaves, create_graph=True)]
            partials = [op_partial(name, 0, x, float(i == index), out.data, 1.0) for i, x in enumerate(data)]
            assert found == pytest.approx(partials, rel=1e-14)


@pytest.mark.parametrize("name", [name for name in op_names() if name not in VARIADIC])
def test_at_infinities_and_nan_only_pythons_errors(name):
    for args in itertools.product(SPECIAL, repeat=arity(name)):
        leaves = [Value(x) for x in args]
        out, error = outcome(op_value, name, *leaves)
        if error is None:
            first, error = outcome(grad, out, leaves, True)
            if error is None:
                outcome(grad, functional.sum(first), leaves, True, True)


# (op, side): where the two differ. A power sends nothing at the exponent 0 but where adjoints are Values; others are at
# products that overflow in one order only, slopes that are not finite, negative losses, and an infinite adjoint at 0.
UNLIKE = {
    ("__truediv__", 1): lambda a, b: not 1e-150 < abs(a) < 1e150 or not abs(b) < 1e150,
    ("__pow__", 0): lambda a, b: b == 0.0,
    ("__pow__", 1): lambda a, b: a == 0.0,
    ("leaky_relu", 1): lambda a, b: a == 0.0,
    ("elu", 1): lambda a, b: a == 0.0,
    ("_cross_entropy", 1): lambda a, b: b - a > 700.0,
}
EXTREME = [0.0, -0.0, 5e-324, 1e-310, -1e-200, 0.5, -0.5, 1.0, 2.0, -40.0, 1e160, -1e160, 1e308]
EXTREME += [math.inf, -math.inf, math.nan]


@pytest.mark.parametrize("name", [name for name in op_names() if name not in VARIADIC])
def test_extreme_adjoints_and_arguments_give_what_floats_give(name):
    """The smallest numbers too, and infinite adjoints: a maximum sends nothing to the lesser, not 0 times infinity."""
    close = functools.partial(pytest.approx, rel=1e-12, abs=1e-300, nan_ok=True)
    for args in itertools.product(EXTREME, repeat=arity(name)):
        leaves = [Value(x) for x in args]
        out, error = outcome(op_value, name, *leaves)
        for adjoint in (1.0, -2.5, 1e-310, math.inf, math.nan) if error is None else ():
            for side, leaf in enumerate(leaves):
                if (name, side) in UNLIKE and UNLIKE[name, side](*args):
                    continue
                expected, error = outcome(grad, out * adjoint, leaf)
                found, raised = outcome(grad, out * adjoint, leaf, True)
                assert error == raised, (args, side, adjoint)
                assert error or found.data == close(expected), (args, side, adjoint)


# ---- Second derivatives ----------------------------------------------------------------------------------------------

IN_TORCH = {
    "softplus": lambda torch: lambda x: torch.nn.functional.softplus(x, threshold=40),
    "elu": lambda torch: (
        lambda x, alpha: torch.where(x > 0.0, x, alpha * torch.where(x < 0.0, torch.expm1(x.clamp(max=0.0)), x))
    ),
    "leaky_relu": lambda torch: lambda x, slope: torch.where(x > 0.0, x, slope * x),
    "gelu_tanh": lambda torch: lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "cbrt": lambda torch: lambda x: x.sign() * x.abs() ** (1.0 / 3.0),
}
# What second derivatives are sums of, where that may cancel.
TERMS = {"atan2": lambda x, y: 1.0 / (x * x + y * y)}


def torch_op(torch, name):
    if name in IN_TORCH:
        return IN_TORCH[name](torch)
    for home in (torch.Tensor, torch, torch.nn.functional):
        if hasattr(home, name):
            return getattr(home, name)
    return pytest.skip(f"PyTorch has no {name}")


def theirs_by_exponent_first(tensors, torch):
    """The mixed derivative of a power, which is 1 / base at exponent 0. PyTorch has 0 in the other order."""
    first = torch.autograd.grad(tensors[0] ** tensors[1], tensors[1], create_graph=True)[0]
    return torch.autograd.grad(first, tensors[0])[0].item()


@pytest.mark.parametrize("name", sorted(OPS))
def test_second_derivatives_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    compared = 0
    for args in itertools.product(ORDINARY, repeat=arity(name)):
        tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in args]
        firsts = torch.autograd.grad(torch_op(torch, name)(*tensors), tensors, create_graph=True)
        try:
            _, leaves, ours = expressions(name, args)
        except (ArithmeticError, ValueError):
            continue
        for i, (first, tensor_first) in enumerate(zip(ours, firsts)):
            if math.isnan(first.data):
                continue
            theirs = [None] * len(tensors)
            if tensor_first.requires_grad:
                theirs = torch.autograd.grad(tensor_first, tensors, allow_unused=True, retain_graph=True)
            for j, (leaf, second) in enumerate(zip(leaves, theirs)):
                found, error = outcome(grad, first, leaf, False, True)
                exact = 0.0 if second is None else second.item()
                if name == "__pow__" and args[1] == 0.0 and (i, j) == (0, 1):
                    exact = theirs_by_exponent_first(tensors, torch) if args[0] >= 0.0 else math.nan
                if error or not math.isfinite(exact):  # where Python raises, PyTorch has inf or NaN, or its own rule
                    assert error is None or not math.isfinite(exact) or 0.0 in args, (args, i, j)
                    continue
                bound = 1e-12 * max(1.0, TERMS[name](*args) if name in TERMS else 1.0)
                assert (found or 0.0) == pytest.approx(exact, rel=1e-11, abs=bound), (args, i, j)
                compared += 1
    assert compared >= (10 if name in NARROW else 11)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("base", [0.0, -0.0, -1.5, 2.0])
def test_powers_of_numbers_at_0(exponent, base):
    x = Value(base)
    y, factor = x**exponent, 1.0
    for order in range(5):
        assert y.data == pytest.approx(factor * base ** (exponent - order) if exponent >= order else 0.0), order
        factor *= exponent - order
        y = grad(y, x, create_graph=True, allow_unused=True) or Value(0.0)


def test_relu_and_abs_have_no_second_derivative():
    for x in (Value(-2.0), Value(0.0), Value(2.0)):
        for y in (x.relu(), x.abs()):
            first = grad(y * y, x, create_graph=True)
            assert first.data == (2 * x.data if y.data else 0.0)
            assert grad(grad(y, x, create_graph=True), x) == 0.0


@pytest.mark.parametrize("name", ["elu", "selu", "leaky_relu", "softsign"])
def test_activations_have_pytorchs_second_derivative_at_0(name):
    torch = pytest.importorskip("torch")
    for point in (0.0, -0.0, -1e-9, 1e-9):
        x, theirs = Value(point), torch.tensor(point, dtype=torch.float64, requires_grad=True)
        first = torch.autograd.grad(getattr(torch.nn.functional, name)(theirs), theirs, create_graph=True)[0]
        ours = grad(getattr(functional, name)(x), x, create_graph=True)
        assert ours.data == pytest.approx(first.item(), rel=1e-15)
        assert grad(ours, x) == pytest.approx(torch.autograd.grad(first, theirs)[0].item(), rel=1e-8, abs=1e-15)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "exp", "sin"])
def test_derivatives_up_to_the_fifth_are_mpmaths(name):
    exact = {"sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)), "softplus": lambda x: mpmath.log(1 + mpmath.exp(x))}
    function = exact.get(name) or getattr(mpmath, name)
    for point in (-1.25, 0.0, 0.5):
        x = Value(point)
        y = op(name)(x)
        for order in range(6):
            with mpmath.workdps(60):
                assert y.data == pytest.approx(float(mpmath.diff(function, point, order)), rel=1e-11, abs=1e-13), order
            y = grad(y, x, create_graph=True)


def test_saturation():
    for point in (25.0, -25.0, 400.0):
        x = Value(point)
        first = grad(x.tanh(), x, create_graph=True)
        assert first.data == 0.0
        assert grad(first, x) == 0.0
        assert math.isfinite(grad(grad(x.sigmoid(), x, create_graph=True), x))


# ---- Functions of lists: Hessians ------------------------------------------------------------------------------------


def hessian(function, data):
    leaves = [Value(x) for x in data]
    firsts = grad(function(leaves), leaves, create_graph=True, allow_unused=True)
    rows = [[0.0] * len(leaves) if g is None else grad(g, leaves, allow_unused=True) for g in firsts]
    return [[x or 0.0 for x in row] for row in rows]


TORCH_LISTS = {
    "sum": lambda torch, x: x.sum(),
    "mean": lambda torch, x: x.mean(),
    "logsumexp": lambda torch, x: torch.logsumexp(x, 0),
    "dot": lambda torch, x: torch.dot(x, x.flip(0)) + x[0],
    "softmax": lambda torch, x: torch.softmax(x, 0)[0],
    "log_softmax": lambda torch, x: torch.log_softmax(x, 0)[-1],
    "mse_loss": lambda torch, x: torch.nn.functional.mse_loss(x, x.flip(0)),
    "cross_entropy": lambda torch, x: torch.nn.functional.cross_entropy(x[None], torch.tensor([len(x) - 1])),
    "rms_norm": lambda torch, x: torch.nn.functional.rms_norm(x, x.shape, x.flip(0))[-1],
    "layer_norm": lambda torch, x: torch.nn.functional.layer_norm(x, x.shape, x.flip(0), x)[0],
}


@pytest.mark.parametrize("name", TORCH_LISTS)
@pytest.mark.parametrize("data", [[0.3, -1.2, 0.7], [2.0, 2.0], [1e-3, 5.0, -7.0, 0.5]])
def test_hessians_of_functional_are_pytorchs(name, data):
    torch = pytest.importorskip("torch")
    if name == "rms_norm" and not hasattr(torch.nn.functional, "rms_norm"):
        pytest.skip("an older PyTorch")
    exact = torch.autograd.functional.hessian(
        lambda x: TORCH_LISTS[name](torch, x), torch.tensor(data, dtype=torch.float64)
    )
    for ours, theirs in zip(hessian(OF_A_LIST[name], data), exact.tolist()):
        assert ours == pytest.approx(theirs, rel=1e-10, abs=1e-11)


def test_a_cross_entropy_that_is_nearly_0_keeps_its_digits():
    data = [40.0, 0.0, -1.0]
    leaves = [Value(x) for x in data]
    loss = functional.cross_entropy(leaves, 0)
    first = grad(loss, leaves, create_graph=True)
    with mpmath.workdps(60):
        total = mpmath.fsum(mpmath.exp(x) for x in data)
        p = [mpmath.exp(x) / total for x in data]
        exact = [float(pi - (i == 0)) for i, pi in enumerate(p)]
        second = [float(-p[0] * p[1]), float(p[1] * (1 - p[1]))]
    assert [g.data for g in first] == pytest.approx(exact, rel=1e-12)
    assert grad(first[1], leaves)[:2] == pytest.approx(second, rel=1e-10)
    assert grad(first[0], leaves[1]) == pytest.approx(second[0], rel=1e-10)


# ---- Random programs -------------------------------------------------------------------------------------------------

TORCH_ALIKE = ["tanh", "sigmoid", "softplus", "sin", "cos", "relu", "abs"]


def program(draw, leaves, length, engine):
    """A random program on the leaves of an engine; the same for each engine if `draw` has the same seed."""
    pool = list(leaves)
    for _ in range(length):
        kind, picked = draw.choice(["unary", "unary", "binary", "list", "list"]), draw.choices(pool, k=3)
        if kind == "unary":
            pool.append(engine.unary(draw.choice(TORCH_ALIKE), picked[0]))
        elif kind == "list":
            pool.append(engine.of_list(draw.choice(["sum", "logsumexp", "dot", "softmax", "cross_entropy"]), picked))
        else:
            pool.append(engine.binary(draw.randrange(8), *picked[:2], draw.choice([2, 3, -1.5, 0.5])))
    return engine.total([engine.unary("tanh", x) for x in pool[-5:]])


class Arithmetic:
    def binary(self, i, a, b, k):
        positive = b * b + 0.5
        return [a + b, a - k * b, a * b, a / positive, positive**k, k - a, positive ** (a * 0.1), 1.5 / positive][i]


class Ours(Arithmetic):
    def unary(self, name, x):
        return op(name)(x)

    def of_list(self, name, xs):
        return OF_A_LIST[name](xs)

    def total(self, xs):
        return functional.sum(xs)


class Torchs(Arithmetic):
    def __init__(self, torch):
        self.torch = torch

    def unary(self, name, x):
        return torch_op(self.torch, name)(x)

    def of_list(self, name, xs):
        return TORCH_LISTS[name](self.torch, self.torch.stack(xs))

    def total(self, xs):
        return self.torch.stack(xs).sum()


@pytest.mark.parametrize("seed", range(80))
def test_random_programs_are_pytorchs(seed):
    """Gradients, Hessians, and the gradient of a sum of the Hessian's entries: third derivatives."""
    torch = pytest.importorskip("torch")
    draw = random.Random(seed)
    data = [draw.uniform(-1.5, 1.5) for _ in range(3)]
    length, state = draw.randint(3, 12), draw.getstate()
    leaves = [Value(x) for x in data]
    tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in data]
    ours = program(draw, leaves, length, Ours())
    draw.setstate(state)
    theirs = program(draw, tensors, length, Torchs(torch))
    assert ours.data == pytest.approx(theirs.item(), rel=1e-9, abs=1e-11)
    for _ in range(3):
        mine = grad(ours, leaves, create_graph=True, allow_unused=True)
        exact = (
            torch.autograd.grad(theirs, tensors, create_graph=True, allow_unused=True)
            if theirs.requires_grad
            else [None] * 3
        )
        for a, b in zip(mine, exact):
            scale = max(1.0, abs(b.item())) if b is not None else 1.0
            assert (a.data if a else 0.0) == pytest.approx(b.item() if b is not None else 0.0, abs=1e-8 * scale)
        kept = [(i + 1.0, a, b) for i, (a, b) in enumerate(zip(mine, exact)) if a is not None and b is not None]
        if not kept:
            break
        ours = functional.sum([a * weight for weight, a, _ in kept])
        theirs = sum(b * weight for weight, _, b in kept)


def test_bits_do_not_change_from_run_to_run():
    def found():
        draw = random.Random(7)
        leaves = [Value(x) for x in (0.3, -0.8, 1.1)]
        loss = program(draw, leaves, 12, Ours())
        firsts = grad(loss, leaves, create_graph=True)
        return [bits(g.data) for g in firsts] + [bits(x) for g in firsts for x in grad(g, leaves)]

    assert found() == found()

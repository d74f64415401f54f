"""`micrograd.functional` at infinities, overflow, zeros and NaN, eager and compiled, against PyTorch."""

from __future__ import annotations

import itertools
import math

import pytest

import micrograd
from helpers import combine, weights_for
from micrograd import Value, functional

INF, NAN = math.inf, math.nan


EDGES = [-INF, -1e308, -700.0, -1.0, -0.0, 0.0, 1.0, 700.0, 1e308, INF, NAN]


TARGETS = [[0.0, 0.0, 0.0], [1e308, -1.0, INF], [-INF, INF, 0.0], [1.0, -1.0, 1.0], [0.0, 0.5, 0.5]]


def in_order(torch, ws, xs, bias=0.0):
    """A sum of products in the order in which `dot` adds them."""
    total = bias + 0 * xs[:, 0].detach().nan_to_num(0.0, 0.0, 0.0)
    for i in range(xs.shape[1]):
        total = total + ws[i] * xs[:, i]
    return total


def relu_in_torch(torch, xs):
    """At NaN the gradient is the reference's, 0; PyTorch has 1."""
    return torch.where(xs.isnan(), xs.detach(), xs.relu())


def edge_functions():
    """By name: a function of values, and the same in PyTorch over the rows of a table."""
    found = {
        "softmax": (functional.softmax, lambda t, x: t.softmax(x, 1)),
        "log_softmax": (functional.log_softmax, lambda t, x: t.log_softmax(x, 1)),
        "logsumexp": (functional.logsumexp, lambda t, x: t.logsumexp(x, 1)),
        "sum": (functional.sum, lambda t, x: in_order(t, [1.0] * 3, x)),
        "mean": (functional.mean, lambda t, x: in_order(t, [1.0] * 3, x) * (1.0 / x.shape[1])),
        "relu": (functional.relu, relu_in_torch),
        "tanh": (functional.tanh, lambda t, x: t.tanh(x)),
        "dot of itself": (lambda xs: functional.dot(xs, xs), lambda t, x: in_order(t, x.T, x)),
        "linear": (
            lambda xs: functional.linear(xs, [xs, xs[::-1]], [1.0, xs[0]]),
            lambda t, x: t.stack([in_order(t, x.T, x, 1.0), in_order(t, x.flip(1).T, x, x[:, 0])], 1),
        ),
    }
    found["rms_norm"] = (functional.rms_norm, lambda t, x: t.nn.functional.rms_norm(x, x.shape[1:]))
    found["layer_norm"] = (functional.layer_norm, lambda t, x: t.nn.functional.layer_norm(x, x.shape[1:]))
    found["scaled_dot_product_attention"] = (
        lambda xs: functional.scaled_dot_product_attention([1.0], [[x] for x in xs], [[2.0, 1.0]] * len(xs), scale=1.0),
        lambda t, x: t.nn.functional.scaled_dot_product_attention(
            t.ones(len(x), 1, 1, dtype=t.float64),
            x[:, :, None],
            t.tensor([[2.0, 1.0]] * x.shape[1], dtype=t.float64).expand(len(x), -1, -1),
            scale=1.0,
        )[:, 0],
    )
    for label in range(3):
        found[f"cross_entropy, {label}"] = (
            lambda xs, label=label: functional.cross_entropy(xs, label),
            lambda t, x, label=label: t.nn.functional.cross_entropy(x, t.full((len(x),), label), reduction="none"),
        )
    for shares in itertools.product([0.0, 0.5, 1.0], repeat=3):
        found[f"cross_entropy, {shares}"] = (
            lambda xs, shares=shares: functional.cross_entropy(xs, shares[: len(xs)]),
            lambda t, x, shares=shares: t.nn.functional.cross_entropy(
                x, t.tensor([shares[: x.shape[1]]] * len(x), dtype=t.float64), reduction="none"
            ),
        )
    for targets in TARGETS:
        found[f"mse_loss, {targets}"] = (
            lambda xs, ts=targets: functional.mse_loss(xs, ts[: len(xs)]),
            lambda t, x, ts=targets: (x - t.tensor(ts[: x.shape[1]], dtype=t.float64)).square().mean(1),
        )
        found[f"hinge_loss, {targets}"] = (
            lambda xs, ts=targets: functional.hinge_loss(xs, ts[: len(xs)]),
            lambda t, x, ts=targets: relu_in_torch(t, 1 - t.tensor(ts[: x.shape[1]], dtype=t.float64) * x).mean(1),
        )
        found[f"dot, {targets}"] = (
            lambda xs, ts=targets: functional.dot(xs, ts[: len(xs)], bias=-1e308),
            lambda t, x, ts=targets: in_order(t, ts, x, -1e308),
        )
    return found


EDGE_FUNCTIONS = edge_functions()


def squares_overflow(row):
    return any(abs(x) == 1e308 for x in row)


# Rows where PyTorch has other results, as DIFFERENCES.md says.
DIFFERENT = {
    "rms_norm": squares_overflow,
    "layer_norm": squares_overflow,
    "scaled_dot_product_attention": lambda row: set(row) == {-INF},
}


def nowhere(x):
    return False


# Functions of one number, and where PyTorch has other results, as DIFFERENCES.md says.
RAISING = ["acos", "asin", "cos", "cosh", "exp", "expm1", "log", "log10", "log1p", "log2", "reciprocal", "sin", "sinh"]
RAISING += ["sqrt", "tan"]
OF_ONE = dict.fromkeys(["atan", "erf", "leaky_relu", "sigmoid", "tanh", *RAISING], nowhere)
OF_ONE.update(dict.fromkeys(["abs", "elu", "relu", "selu"], math.isnan))
OF_ONE.update(dict.fromkeys(["gelu", "mish", "silu", "softsign"], math.isinf))
OF_ONE["gelu_tanh"] = lambda x: abs(x) >= 1e308


def edge_rows(name):
    """All mixtures of one, two and three of the values; only those with a logit for the label."""
    fewest = 1 + int(name[-1]) if name[-1].isdigit() else 1
    return [list(map(list, itertools.product(EDGES, repeat=n))) for n in range(fewest, 4)]


def data_and_grads(function, row):
    """The data of each output and the grad of each input, in one list; outputs have unequal weights."""
    xs = [Value(x) for x in row]
    out = function(xs)
    (combine(out) if isinstance(out, list) else out).backward()
    return [*(y.data for y in (out if isinstance(out, list) else [out])), *(x.grad for x in xs)]


def near(found, expected):
    """Compares one by one, infinities and NaN included."""
    return len(found) == len(expected) and all(
        a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= 1e-12 * max(1.0, abs(b))
        for a, b in zip(found, expected)
    )


@pytest.mark.parametrize("name", EDGE_FUNCTIONS)
def test_edges_agree_with_pytorch(name):
    torch = pytest.importorskip("torch")
    mine, theirs = EDGE_FUNCTIONS[name]
    for rows in edge_rows(name):
        xs = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
        out = theirs(torch, xs)
        table = out if out.dim() == 2 else out[:, None]
        scale = torch.tensor(weights_for(table.shape[1]) if out.dim() == 2 else [1.0], dtype=torch.float64)
        (table * scale).sum().backward()
        for row, expected in zip(rows, torch.cat([table, xs.grad], 1).tolist()):
            if not (name in DIFFERENT and DIFFERENT[name](row)):
                found = data_and_grads(mine, row)
                assert near(found, expected), (row, found, expected)


def test_edges_of_functions_of_one_number_agree_with_pytorch():
    """Where Python raises, PyTorch has NaN or an infinity."""
    torch = pytest.importorskip("torch")
    raised = set()
    for name, x in itertools.product(OF_ONE, [*EDGES, -20.0, -9.0, 20.0, 1e8]):
        options = {"approximate": "tanh"} if name == "gelu_tanh" else {}
        mine, home = name.partition("_tanh")[0], torch.nn.functional
        theirs = getattr(home, mine) if hasattr(home, mine) else getattr(torch, mine)
        value, tensor = Value(x), torch.tensor(x, dtype=torch.float64, requires_grad=True)
        out = theirs(tensor, **options)
        out.backward()
        expected = [out.item(), tensor.grad.item()]
        try:
            y = getattr(functional, mine)(value, **options)
            y.backward()
        except (ArithmeticError, ValueError):
            assert not all(map(math.isfinite, expected)), (name, x)
            raised.add(name)
        else:
            assert OF_ONE[name](x) or near([y.data, value.grad], expected), (name, x, y.data, value.grad, expected)
    assert raised == {*RAISING}


def test_edges_of_atan2_agree_with_pytorch():
    torch = pytest.importorskip("torch")
    for point in itertools.product([*EDGES, 1e-200, -0.5], repeat=2):
        values, tensors = map(Value, point), [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in point]
        y, x = values
        angle, out = functional.atan2(y, x), torch.atan2(*tensors)
        out.backward()
        if point[0] == point[1] == 0.0:
            with pytest.raises(ZeroDivisionError):
                angle.backward()
            continue
        angle.backward()
        found, expected = [angle.data, y.grad, x.grad], [out.item(), *(t.grad.item() for t in tensors)]
        if {INF} & {*map(abs, point)}:
            expected[1:] = [0.0, 0.0] if any(map(math.isfinite, point)) else found[1:]
        elif {1e308, 1e-200} & {*map(abs, point)}:  # whose squares overflow or underflow
            expected[1:] = found[1:]
        assert near(found, expected), (point, found, expected)


# Not `linear`: its outputs have products in common, which a program computes once, and inf - inf is not 0 * inf.
@pytest.mark.parametrize("name", [name for name in EDGE_FUNCTIONS if name != "linear"])
def test_edges_are_the_same_in_a_compiled_function(name):
    def function(xs):
        out = EDGE_FUNCTIONS[name][0](xs)
        return combine(out) if isinstance(out, list) else out

    compiled = micrograd.compile(function)
    for rows in edge_rows(name):
        for row in rows[:: max(1, len(rows) // 121)]:
            found, expected = data_and_grads(compiled, row), data_and_grads(function, row)
            assert near(found, expected), (row, found, expected)


@pytest.mark.parametrize(
    ("logits", "target", "loss", "gradients"),
    [
        ([-INF, 0.0], 0, INF, [-1.0, 1.0]),
        ([-INF, 0.0], 1, 0.0, [0.0, 0.0]),
        ([-INF, -INF, 3.0], 2, 0.0, [0.0, 0.0, 0.0]),
        ([-INF, 1.0, 1.0], 0, INF, [-1.0, 0.5, 0.5]),
        ([-INF, 1.0, 1.0], 2, math.log(2.0), [0.0, 0.5, -0.5]),
        ([1e308, -1e308], 1, INF, [1.0, -1.0]),
        ([1e308, -1e308], 0, 0.0, [0.0, 0.0]),
        ([1e308, 1e308], 0, math.log(2.0), [-0.5, 0.5]),
        ([-1e308, 1e308, -INF], 2, INF, [0.0, 1.0, -1.0]),
        ([5.0], 0, 0.0, [0.0]),
        ([-INF, -INF], 0, NAN, [NAN, NAN]),
        ([INF, 0.0], 0, NAN, [NAN, NAN]),
        ([INF, 0.0], 1, NAN, [NAN, NAN]),
        ([NAN, 0.0], 1, NAN, [NAN, NAN]),
        ([-INF, 0.0], [1.0, 0.0], INF, [-1.0, 1.0]),
        ([-INF, 0.0], [0.5, 0.5], INF, [-0.5, 0.5]),
        ([-INF, 0.0], [0.0, 1.0], NAN, [0.0, 0.0]),  # 0 * inf
        ([1e308, -1e308], [0.0, 1.0], INF, [1.0, -1.0]),
    ],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_cross_entropy_of_infinite_logits(logits, target, loss, gradients, compiled):
    def function(xs):
        return functional.cross_entropy(xs, target)

    found = data_and_grads(micrograd.compile(function) if compiled else function, logits)
    assert near(found, [loss, *gradients]), found


@pytest.mark.parametrize(
    "function",
    [
        lambda xs: functional.cross_entropy(xs, 1),
        lambda xs: functional.cross_entropy(xs, [0.25, 0.75, 0.0]),
        lambda xs: combine(functional.softmax(xs)),
        lambda xs: combine(functional.log_softmax(xs)),
        functional.logsumexp,
    ],
)
def test_compiled_functions_of_captured_logits_follow_their_data(function):
    """Which logit is the highest changes between the calls."""
    logits = [Value(1.0), Value(2.0), Value(-1.0)]
    compiled = micrograd.compile(lambda: function(logits))
    for data in ([1.0, 2.0, -1.0], [1e5, -50.0, 3.0], [0.0, 500.0, 1.0], [-1e5, -1e5, -2e5]):
        for p, p.data in zip(logits, data):
            p.grad = 0.0
        loss = compiled()
        loss.backward()
        found = [loss.data, *(p.grad for p in logits)]
        assert near(found, data_and_grads(function, data))

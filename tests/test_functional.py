"""`micrograd.functional`: gradients against PyTorch, lengths, edges; and fused sums, invisible in a graph."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import micrograd
from micrograd import Value, functional

LOGITS = [
    [0.5],
    [0.0, 1.0, -2.0],
    [1000.0, 999.0, -1000.0],
    [-1e5, 1e-8, 1e5],
    [3.0, 3.0, 3.0, 3.0],
    [40.0, 0.0, 0.0],
]
LISTS = ["relu", "tanh", "softmax", "log_softmax"]
SCALARS = ["sum", "mean", "logsumexp"]


def weights_for(n):
    return [0.3 * (i + 1) * (-1) ** i for i in range(n)]


def combine(values):
    """One number out of a list, so that every output has a gradient of its own."""
    return functional.dot(values, weights_for(len(values)))


def grads(function, data):
    xs = [Value(x) for x in data]
    out = function(xs)
    out.backward()
    return out.data, [x.grad for x in xs]


def torch_grads(function, data):
    torch = pytest.importorskip("torch")
    xs = torch.tensor(data, dtype=torch.float64, requires_grad=True)
    out = function(torch, xs)
    out.backward()
    return out.item(), xs.grad.tolist()


def assert_close(mine, theirs):
    assert mine[0] == pytest.approx(theirs[0], rel=1e-12, abs=1e-13)
    assert mine[1] == pytest.approx(theirs[1], rel=1e-11, abs=1e-13)


@pytest.mark.parametrize("data", LOGITS, ids=str)
@pytest.mark.parametrize("name", LISTS)
def test_lists_agree_with_pytorch(name, data):
    def theirs(torch, xs):
        out = getattr(torch, name)(xs, *([0] if "softmax" in name else []))
        return (out * torch.tensor(weights_for(len(data)), dtype=torch.float64)).sum()

    assert_close(grads(lambda xs: combine(getattr(functional, name)(xs)), data), torch_grads(theirs, data))


@pytest.mark.parametrize("data", LOGITS, ids=str)
@pytest.mark.parametrize("name", SCALARS)
def test_scalars_agree_with_pytorch(name, data):
    def theirs(torch, xs):
        return getattr(torch, name)(xs, *([0] if name == "logsumexp" else []))

    assert_close(grads(getattr(functional, name), data), torch_grads(theirs, data))


@pytest.mark.parametrize("data", LOGITS, ids=str)
def test_cross_entropy_agrees_with_pytorch(data):
    for target in range(len(data)):
        mine = grads(lambda xs, target=target: functional.cross_entropy(xs, target), data)
        theirs = torch_grads(
            lambda torch, xs, target=target: torch.nn.functional.cross_entropy(xs, torch.tensor(target)), data
        )
        assert_close(mine, theirs)


def test_cross_entropy_of_probabilities_agrees_with_pytorch():
    data, shares = [0.5, -1.0, 2.0], [0.2, 0.5, 0.3]
    mine = grads(lambda xs: functional.cross_entropy(xs, shares), data)
    theirs = torch_grads(
        lambda torch, xs: torch.nn.functional.cross_entropy(xs, torch.tensor(shares, dtype=torch.float64)), data
    )
    assert_close(mine, theirs)


def test_cross_entropy_keeps_a_loss_that_rounds_away_beside_its_logits():
    loss = functional.cross_entropy([Value(1000.0), Value(960.0)], 0)
    assert loss.data == math.log1p(math.exp(-40.0))


@pytest.mark.parametrize("others", [1, 2, 26])
def test_gradients_of_a_small_loss_are_exact(others):
    """The target's share less 1 would round to 0."""
    data, (target, *rest) = grads(lambda xs: functional.cross_entropy(xs, 0), [1000.0] + [960.0] * others)
    assert data == pytest.approx(others * math.exp(-40.0), rel=1e-15)
    assert target == pytest.approx(-others * math.exp(-40.0), rel=1e-15)
    assert rest == [pytest.approx(math.exp(-40.0), rel=1e-15)] * others


@pytest.mark.parametrize("target", [-1, 3, np.int64(3), np.array(-1), 10**30, -(10**30)], ids=repr)
def test_cross_entropy_refuses_a_target_that_is_not_there(target):
    with pytest.raises(IndexError, match=f"target {target} of 3 logits"):
        functional.cross_entropy([1.0, 2.0, 3.0], target)


class Label:
    """What is an integer to `operator.index`, and might be taken for a list."""

    ndim = 0

    def __index__(self):
        return 1

    def __repr__(self):
        return "Label()"

    def __iter__(self):
        raise TypeError("iteration over a 0-d array")


@pytest.mark.parametrize(
    "target", [1, True, np.int64(1), np.uint8(1), np.array(1), np.array(1, np.int8), Label()], ids=repr
)
def test_whatever_is_an_index_is_a_label(target):
    logits = [0.5, -1.0, 2.0]
    assert functional.cross_entropy(logits, target).data == functional.cross_entropy(logits, 1).data
    compiled = micrograd.compile(lambda x: functional.cross_entropy(x, target))
    assert compiled(logits).data == functional.cross_entropy(logits, 1).data


def test_tensors_without_dimensions_are_labels():
    torch = pytest.importorskip("torch")
    logits = torch.tensor([0.5, -1.0, 2.0])
    for target in (torch.tensor(1), torch.tensor(True), torch.tensor([2, 1])[1]):
        assert functional.cross_entropy(logits, target).data == functional.cross_entropy(logits, 1).data
    with pytest.raises(TypeError):
        functional.cross_entropy(logits, torch.tensor(1.0))
    with pytest.raises(ValueError, match="1 probabilities for 3 logits"):
        functional.cross_entropy(logits, torch.tensor([1]))


@pytest.mark.parametrize("target", [1.0, np.float64(1.0), np.array(1.0), None, Value(1.0), 1j, np.array("1")], ids=repr)
def test_what_is_no_index_is_no_label(target):
    with pytest.raises(TypeError):
        functional.cross_entropy([1.0, 2.0], target)


@pytest.mark.parametrize("target", [[0.25, 0.75], (0.25, 0.75), np.array([0.25, 0.75]), {0.25: 1, 0.75: 2}], ids=repr)
def test_what_has_dimensions_is_probabilities(target):
    expected = functional.cross_entropy([1.0, 3.0], 0) * 0.25 + functional.cross_entropy([1.0, 3.0], 1) * 0.75
    assert functional.cross_entropy([1.0, 3.0], target).data == pytest.approx(expected.data, rel=1e-15)
    with pytest.raises(ValueError, match="1 probabilities for 2 logits"):
        functional.cross_entropy([1.0, 3.0], np.array([1]))


def test_mse_loss_agrees_with_pytorch():
    data, targets = [1.0, -2.0, 0.5], [0.5, 0.5, 0.5]
    mine = grads(lambda xs: functional.mse_loss(xs, targets), data)
    theirs = torch_grads(
        lambda torch, xs: torch.nn.functional.mse_loss(xs, torch.tensor(targets, dtype=torch.float64)), data
    )
    assert_close(mine, theirs)


def test_mse_loss_has_gradients_to_targets_that_are_values():
    target = Value(3.0)
    functional.mse_loss([Value(1.0)], [target]).backward()
    assert target.grad == 4.0


def test_hinge_loss_is_the_notebook_s():
    scores, targets = [0.5, -2.0, 0.1, 3.0], [1, 1, -1, -1]
    plain = [Value(s) for s in scores]
    expected = sum((1 + -t * s).relu() for s, t in zip(plain, targets)) * (1.0 / 4)
    expected.backward()
    data, grad = grads(lambda xs: functional.hinge_loss(xs, targets), scores)
    assert (data, grad) == (expected.data, [s.grad for s in plain])


@pytest.mark.parametrize("function", ["mean", "logsumexp", "softmax", "log_softmax"])
def test_nothing_has_no_average_and_no_distribution(function):
    with pytest.raises(ValueError, match="of no values"):
        getattr(functional, function)([])


def test_the_sum_of_nothing_is_zero():
    assert functional.sum([]).data == 0.0
    assert functional.dot([], []).data == 0.0


@pytest.mark.parametrize(
    ("function", "arguments", "lengths"),
    [
        (functional.dot, ([1.0, 2.0], [1.0]), ("2", "1")),
        (functional.linear, ([1.0], [[1.0, 2.0]]), ("2", "1")),
        (functional.linear, ([1.0], [[1.0]], [1.0, 2.0]), ("2", "1")),
        (functional.mse_loss, ([1.0, 2.0], [1.0]), ("2", "1")),
        (functional.hinge_loss, ([1.0], [1.0, 2.0]), ("1", "2")),
        (functional.cross_entropy, ([1.0], [0.5, 0.5]), ("2", "1")),
    ],
)
def test_lengths_that_differ_are_named(function, arguments, lengths):
    with pytest.raises(ValueError, match=f"{lengths[0]} .* for {lengths[1]} "):
        function(*arguments)


@pytest.mark.parametrize("function", ["sum", "softmax", "relu"])
def test_what_is_no_number_is_named(function):
    with pytest.raises(TypeError, match="'str'"):
        getattr(functional, function)([Value(1.0), "a"])


@pytest.mark.parametrize("rows", [[[1.0, 2.0], [3.0, 4.0]], [[Value(1.0), Value(2.0)], [Value(3.0), 4.0]]], ids=str)
def test_linear_takes_values_and_numbers_alike(rows):
    x = [Value(1.0), Value(-1.0)]
    assert [y.data for y in functional.linear(x, rows, [Value(0.5), 0.25])] == [-0.5, -0.75]


@pytest.mark.parametrize("bias", [[1.0, None], np.ma.masked_array([1.0, 2.0], [False, True])], ids=["None", "masked"])
def test_linear_refuses_a_bias_that_is_not_there(bias):
    for rows in ([[Value(1.0)], [Value(2.0)]], [[1.0], [2.0]]):
        with pytest.raises(TypeError, match="a bias must be a real number, not 'NoneType'"):
            functional.linear([1.0], rows, bias)


# ---- Infinities, overflow, zeros and NaN -----------------------------------------------------------------------------

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


def edge_rows(name):
    """All mixtures of one, two and three of the values; only those with a logit for the label."""
    fewest = 1 + int(name[-1]) if name[-1].isdigit() else 1
    return [list(map(list, itertools.product(EDGES, repeat=n))) for n in range(fewest, 4)]


def data_and_grads(function, row):
    """Of each output, in one list, and of each input where the outputs count unequally."""
    xs = [Value(x) for x in row]
    out = function(xs)
    (combine(out) if isinstance(out, list) else out).backward()
    return [*(y.data for y in (out if isinstance(out, list) else [out])), *(x.grad for x in xs)]


def near(found, expected):
    """One by one, infinities and NaN included."""
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
            found = data_and_grads(mine, row)
            assert near(found, expected), (row, found, expected)


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
    """The highest logit is another one at another call."""
    logits = [Value(1.0), Value(2.0), Value(-1.0)]
    compiled = micrograd.compile(lambda: function(logits))
    for data in ([1.0, 2.0, -1.0], [1e5, -50.0, 3.0], [0.0, 500.0, 1.0], [-1e5, -1e5, -2e5]):
        for p, p.data in zip(logits, data):
            p.grad = 0.0
        loss = compiled()
        loss.backward()
        found = [loss.data, *(p.grad for p in logits)]
        assert near(found, data_and_grads(function, data))

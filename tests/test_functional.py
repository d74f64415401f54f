"""`micrograd.functional`: gradients against PyTorch, lengths, edges; and fused sums, invisible in a graph."""

from __future__ import annotations

import math
import random

import pytest

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


@pytest.mark.parametrize("target", [-1, 3])
def test_cross_entropy_refuses_a_target_that_is_not_there(target):
    with pytest.raises(IndexError, match=f"target {target} of 3 logits"):
        functional.cross_entropy([1.0, 2.0, 3.0], target)


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


# -- fused sums in a graph

KINDS = {
    "values": lambda rng: [Value(rng.uniform(-1, 1)) for _ in range(5)],
    "numbers": lambda rng: [rng.uniform(-1, 1) for _ in range(5)],
    "mixed": lambda rng: [Value(0.5), 2, Value(-1.0), 0.25, True],
}
BIASES = {"bias": lambda: Value(0.3), "number": lambda: 0.3, "none": lambda: None}


def pair(kind, bias):
    """A fused sum over parameters, and the same written out, each over Values of its own."""
    made = []
    for fused in (True, False):
        rng = random.Random(7)
        ws = [Value(rng.uniform(-1, 1)) for _ in range(5)]
        xs, b = KINDS[kind](rng), BIASES[bias]()
        written_out = sum((w * x for w, x in zip(ws, xs)), 0.0 if b is None else b)
        total = functional.dot(ws, xs, b) if fused else written_out
        leaves = [v for v in (*ws, *xs, b) if isinstance(v, Value)]
        made.append((total, leaves))
    return made


def walk(value):
    """The graph as nested tuples, as `_prev` and its kin show it."""
    return (value.data, value.grad, value._op, tuple(map(walk, value._children)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("passes", [0, 1, 2, 3])
def test_a_fused_sum_cannot_be_told_from_one_written_out(kind, bias, passes):
    (fused, fused_leaves), (plain, plain_leaves) = pair(kind, bias)
    roots = [(total * total).tanh() for total in (fused, plain)]
    for _ in range(passes):
        for root in roots:
            root.backward()
    assert fused.data == plain.data
    assert [v.grad for v in fused_leaves] == pytest.approx([v.grad for v in plain_leaves], rel=1e-14)
    seen, expected = walk(fused), walk(plain)
    assert flat(seen)[2::3] == flat(expected)[2::3]
    if passes < 2:  # a number's grad is known of the last pass only
        assert flat(seen) == pytest.approx(flat(expected), rel=1e-14)


def flat(tree):
    data, grad, op, children = tree
    return [data, grad, len(op), *(x for child in children for x in flat(child))]


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_backward_goes_on_the_same_after_somebody_looked_into_a_fused_sum(looks):
    totals = pair("values", "bias")
    for total, _ in totals:
        root = total.tanh() * total
        for i in range(3):
            if i == looks:
                assert len(total._prev) == 2
            root.backward()
    (_, fused), (_, plain) = totals
    assert [v.grad for v in fused] == pytest.approx([v.grad for v in plain], rel=1e-14)


def test_clearing_a_graph_clears_what_is_inside_a_fused_sum():
    (fused, leaves), (_, plain_leaves) = pair("values", "bias")
    for _ in range(3):
        fused.backward()
        fused.zero_grad()
    assert {v.grad for v in leaves} == {0.0}
    assert {v.grad for v in fused._children} == {0.0}
    fused.backward()
    plain_leaves[0].grad = 0.0
    assert leaves[-1].grad == 1.0


def test_data_are_read_when_backward_runs():
    w, x = Value(2.0), Value(3.0)
    total = functional.dot([w], [x])
    x.data = 10.0
    total.backward()
    assert w.grad == 10.0


@pytest.mark.parametrize("rows", [[[1.0, 2.0], [3.0, 4.0]], [[Value(1.0), Value(2.0)], [Value(3.0), 4.0]]], ids=str)
def test_linear_takes_values_and_numbers_alike(rows):
    x = [Value(1.0), Value(-1.0)]
    assert [y.data for y in functional.linear(x, rows, [Value(0.5), 0.25])] == [-0.5, -0.75]


def test_fused_sums_over_irregular_nodes_take_the_general_path():
    x = Value(3.0)
    own = Value(9.0, (x,), "square")
    own._backward = lambda: setattr(x, "grad", x.grad + 2 * x.data * own.grad)
    functional.dot([Value(2.0)], [own]).backward()
    assert x.grad == 12.0

"""`micrograd.functional`: results and gradients against PyTorch, lengths, labels, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

import micrograd
from helpers import Label, agrees, combine, weights_for
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


@pytest.mark.parametrize(
    "target", [1, True, np.int64(1), np.uint8(1), np.array(1), np.array(1, np.int8), Label()], ids=repr
)
def test_whatever_is_an_index_is_a_label(target, exact):
    logits = [0.5, -1.0, 2.0]
    assert functional.cross_entropy(logits, target).data == functional.cross_entropy(logits, 1).data
    compiled = micrograd.compile(lambda x: functional.cross_entropy(x, target), exact=exact)
    assert agrees(compiled(logits).data, functional.cross_entropy(logits, 1).data, exact)


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


def test_a_sum_begins_at_zero():
    """0.0 + -0.0 is 0.0, as of Python's sum."""
    for function in (functional.sum, functional.mean, lambda xs: functional.dot([1.0], xs)):
        for f in (function, micrograd.compile(function), micrograd.compile(function, exact=True)):
            assert str(f([-0.0]).data) == str(f([Value(-0.0)]).data) == "0.0"


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

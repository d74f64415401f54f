"""utils.gradcheck: what it accepts, what it finds, and that it leaves no trace."""

from __future__ import annotations

import contextlib
import math
import re

import pytest

from helpers import OF_A_LIST, UNARY, lecture_tanh, op, values
from micrograd import Value, is_grad_enabled, nn, no_grad
from micrograd import functional as F
from micrograd.utils import gradcheck


def square(x, factor=2.0):
    return Value(x.data**2, (x,), local_grads=(factor * x.data,))


def sixfold(x, gain):
    """6 * x, whose `_backward` adds a gain of its own."""
    out = Value(6.0 * x.data, (x,))

    def _backward():
        x.grad += gain(out)

    out._backward = _backward
    return out


def product(x, y, assign=False, right=1.0):
    out = Value(x.data * y.data, (x, y), "*")

    def _backward():
        x.grad += y.data * out.grad
        if assign:
            y.grad = x.data * out.grad
        else:
            y.grad += right * x.data * out.grad

    out._backward = _backward
    return out


RIGHT = [
    (square, [Value(3.0)]),
    (product, [Value(3.0), Value(-2.0)]),
    (lecture_tanh, Value(0.3)),
    (lambda x: [square(x), 2 * x, x], [Value(0.5)]),
    (lambda xs, k, y: F.dot(xs, xs[::-1]) * k * y, (values([1.0, 2.0, -3.0]), 0.5, Value(2.0))),
    (F.softmax, [values([0.1, 0.5, -1.0])]),
    (lambda table: [x * y for row in table for x in row for y in row], [values([[1.0, 2.0], [3.0, 4.0]])]),
    (lambda x: x.data**2 * 0.0, [Value(3.0)]),
    (lambda x, y: x * x, [Value(3.0), Value(4.0)]),
    (lambda x, y: (x, (y, [x * y])), [Value(3.0), Value(4.0)]),
    (nn.MLP(2, [4, 2], activation="tanh"), [values([0.5, -0.25])]),
    (lambda x: 1e8 * x * x, [Value(1e3)]),
]


@pytest.mark.parametrize(("function", "inputs"), RIGHT)
def test_gradients_that_are_right(function, inputs):
    assert gradcheck(function, inputs) is True


@pytest.mark.parametrize("name", UNARY)
def test_every_unary_op(name):
    assert gradcheck(op(name), [Value(0.4)])


@pytest.mark.parametrize("name", OF_A_LIST)
def test_functions_of_lists(name):
    assert gradcheck(OF_A_LIST[name], [values([0.3, 1.2, -0.7])])


def test_a_subclass_with_an_operator_of_its_own():
    class Odd(Value):
        def __mul__(self, other):
            return product(self, other)

    assert gradcheck(lambda x, y: x * y, [Odd(2.0), Value(3.0)])


WRONG = [
    (
        lambda x: square(x, 3.0),
        [Value(3.0)],
        "the derivative of the output by inputs[0] is 9 by backward() and 6 by differences",
    ),
    (lambda x: [x, square(x, 2.1)], [Value(3.0)], "the derivative of outputs[1] by inputs[0] is 6.3"),
    (lambda x, y: product(x, y, right=-1.0), (Value(3.0), Value(2.0)), "by inputs[1] is -3 by backward() and 3 by"),
    (lambda xs: square(xs[1], 0.0), [values([1.0, 2.0])], "by inputs[0][1] is 0 by backward() and 4 by"),
    (
        lambda x: math.exp(x.data),
        [Value(0.0)],
        "the derivative of the output by inputs[0] is 0 by backward() and 1 by",
    ),
    (lambda x: Value(x.data), [Value(0.0)], "is 0 by backward() and 1 by"),
    (lambda x: x * x.data, [Value(2.0)], "is 2 by backward() and 4 by"),
    (
        lambda x, y: product(x, y, assign=True),
        [Value(3.0), Value(2.0)],
        "backward() of the output must add 3 to the grad of inputs[1], and made 3 of 6",
    ),
    (
        lambda x, y: product(x, y, assign=True),
        [Value(0.0), Value(2.0)],
        "backward() of the output must add 0 to the grad of inputs[1], and made 0 of 2",
    ),
    (lambda x: square(x, math.nan), [Value(3.0)], "is nan by backward()"),
    (
        lambda x: [x, sixfold(x, lambda out: 6.0)],
        [Value(3.0)],
        "backward() of outputs[1] must multiply by its grad: with a grad of 2, the derivative by inputs[0] is 6, not",
    ),
    (lambda x: sixfold(x, lambda out: 6.0 * out.grad**2), [Value(3.0)], "by inputs[0] is 24, not 12"),
]


@pytest.mark.parametrize(("function", "inputs", "text"), WRONG)
def test_gradients_that_are_wrong(function, inputs, text):
    with pytest.raises(RuntimeError, match=re.escape(text)):
        gradcheck(function, inputs)
    assert gradcheck(function, inputs, raise_exception=False) is False


def test_tolerances_are_pytorchs():
    def off(x):
        return square(x, 2.02)

    assert not gradcheck(off, Value(3.0), raise_exception=False)
    assert gradcheck(off, Value(3.0), rtol=0.02)
    assert gradcheck(off, Value(3.0), atol=0.07)
    assert not gradcheck(off, Value(3.0), atol=0.05, rtol=0.0, raise_exception=False)
    torch = pytest.importorskip("torch")

    class Off(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            return 2.02 * ctx.saved_tensors[0] * grad

    x = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    for options in ({}, {"rtol": 0.02}, {"atol": 0.07}, {"atol": 0.05, "rtol": 0.0}, {"eps": 1e-3, "rtol": 0.011}):
        theirs = torch.autograd.gradcheck(Off.apply, (x,), **options, raise_exception=False)
        assert gradcheck(off, Value(3.0), **options, raise_exception=False) is theirs


@pytest.mark.parametrize(
    "function",
    [
        product,
        lambda x, y: product(x, y, assign=True),
        lambda x, y: 1 / (x - x) * y,  # raises at once
        lambda x, y: (3.0 - x).sqrt() * y,  # at x + eps
        lambda x, y: (x - 3.0).sqrt() * y,  # at x - eps
        lambda x, y: x * (y - 2.0).sqrt(),
        lambda x, y: x**0.5 * (y - 2.0 + 1e-7) ** 0.5,
    ],
)
def test_nothing_is_left_behind(function):
    w = Value(0.5)
    hidden = w * 2
    inputs = [Value(3.0), w * 4]
    touched = [w, hidden, *inputs]
    for i, x in enumerate(touched):
        x.grad = float(i + 1)
    with contextlib.suppress(ZeroDivisionError, ValueError):
        gradcheck(lambda x, y: function(x, y) * hidden, inputs, raise_exception=False)
    assert [x.data for x in touched] == [0.5, 1.0, 3.0, 2.0]
    assert [x.grad for x in touched] == [1.0, 2.0, 3.0, 4.0]


def test_the_kink_of_relu_is_between_its_slopes():
    """Central differences give 0.5 there, as in PyTorch."""
    assert not gradcheck(Value.relu, Value(0.0), raise_exception=False)
    assert gradcheck(Value.relu, Value(1e-3))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: gradcheck(square, []), ValueError, "gradcheck needs at least one Value among the inputs"),
        (lambda: gradcheck(square, [3.0]), ValueError, "gradcheck needs at least one Value among the inputs"),
        (lambda: gradcheck(square, Value(1.0), eps=0.0), ValueError, "eps must be positive, not 0.0"),
        (lambda: gradcheck(square, Value(1.0), eps="x"), TypeError, "eps must be a real number, not 'str'"),
        (lambda: gradcheck(lambda x: "x", Value(1.0)), TypeError, "the output must be a real number, not 'str'"),
        (lambda: gradcheck(lambda x: [x, None], Value(1.0)), TypeError, "outputs[1] must be a real number, not"),
        (lambda: gradcheck(lambda x: [x] * (1 + (x.data > 1)), Value(1.0)), ValueError, "gave 1 outputs, then 2"),
    ],
)
def test_refusals(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()


def test_a_number_of_outputs_that_changes_late_is_refused():
    calls = []

    def function(x):
        calls.append(x)
        return [x] * (1 + (len(calls) > 3))  # after one call for the count, and two for the difference

    with pytest.raises(ValueError, match="the function gave 1 outputs, then 2"):
        gradcheck(function, Value(1.0))
    assert len(calls) == 4


def test_errors_of_ops_pass_through():
    with pytest.raises(ValueError, match="math domain error|positive input"):  # noqa: RUF043, two versions of Python
        gradcheck(Value.log, Value(0.0))


def test_inputs_that_the_function_does_not_use_keep_their_grads():
    x, unused, listed = Value(2.0), Value(3.0), [Value(4.0)]
    unused.grad = listed[0].grad = 5.0
    assert gradcheck(lambda x, unused, listed: x * x, [x, unused, listed])
    assert [v.grad for v in (x, unused, *listed)] == [0.0, 5.0, 5.0]
    assert [v.data for v in (x, unused, *listed)] == [2.0, 3.0, 4.0]


def test_in_no_grad_it_is_the_same():
    with no_grad():
        assert gradcheck(lambda x: x * x, Value(2.0))
        assert not is_grad_enabled()


def test_an_output_that_is_an_input_keeps_its_grad():
    x, y = values([2.0, 3.0])
    x.grad, y.grad = 5.0, 7.0
    assert gradcheck(lambda x, y: [x, x * y, y], [x, y])
    assert (x.grad, y.grad) == (5.0, 7.0)

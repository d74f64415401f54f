"""`_op`, `_children` and `_local_grads` of every row of the op table."""

from __future__ import annotations

import math

import pytest

from helpers import BINARY, OPERATORS, op, partials
from micrograd import Value, grad
from micrograd._core import OPS

A, B = Value(3.0), Value(-2.0)


POINTS = {1: (0.75,), 2: (0.75, 1.5)}


@pytest.mark.parametrize("name", OPS)
def test_op_children_and_local_grads_of_every_op(name):
    symbol, arity = OPS[name]
    values = [Value(x) for x in POINTS[arity]]
    out = op(name)(*values)
    assert out._op == symbol
    assert out._children == tuple(values)
    assert out._local_grads == pytest.approx(partials(name, *POINTS[arity]))
    out.backward()
    assert tuple(v.grad for v in values) == out._local_grads


@pytest.mark.parametrize("name", BINARY)
def test_op_children_and_local_grads_with_a_number_on_the_right(name):
    a, b = POINTS[2]
    out = op(name)(Value(a), b)
    shown = 1 if name == "__pow__" else 2
    assert out._local_grads == pytest.approx(partials(name, a, b)[:shown])
    assert [v.data for v in out._children] == [a, b][:shown]


@pytest.mark.parametrize("name", OPERATORS)
def test_op_children_and_local_grads_with_a_number_on_the_left(name):
    a, b = POINTS[2]
    out = op(name)(a, Value(b))
    order = -1 if name in ("__add__", "__mul__") else 1  # 2 * v is v * 2, as in the reference
    assert out._local_grads == pytest.approx(partials(name, a, b)[::order])
    assert [v.data for v in out._children] == [a, b][::order]


def test_children_keep_duplicates_and_prev_does_not():
    v = A + A
    assert v._children == (A, A)
    assert v._prev == {A}
    assert (A * A)._local_grads == (3.0, 3.0)


def test_constants_looked_at_late_have_the_grad_that_the_last_pass_would_send_now():
    x = Value(3.0)
    y = x * 2.0
    z = y * y
    z.backward()
    z.backward()
    x.data -= 1.0
    (constant,) = y._prev - {x}
    assert constant.grad == x.data * y.grad


def test_constants_looked_at_after_zero_grad_have_no_grad():
    """Whatever the other operand is by then."""
    x = Value(3.0)
    y = x * 2.0
    y.backward()
    y.zero_grad()
    x.data = math.inf
    (constant,) = y._prev - {x}
    assert constant.grad == 0.0


@pytest.mark.parametrize("late", [False, True], ids=["before the pass", "after the pass"])
def test_a_number_where_its_own_gradient_does_not_exist(late):
    """Nothing asks for the gradient of a number, so looking at it raises nothing: it is NaN."""
    exponent = Value(0.5)
    y = 0.0**exponent
    base = None if late else y._children[0]
    y.backward()
    base = base or y._children[0]
    assert (base.data, exponent.grad) == (0.0, 0.0)
    assert math.isnan(base.grad)
    assert grad(y, exponent) == 0.0


@pytest.mark.parametrize(
    ("make", "at"),
    [
        (lambda x: x.sqrt(), 0.0),
        (lambda x: x**-2, 0.0),
        (lambda x: Value(2.0) / x, 0.0),
        (lambda x: 2.0 / x, 1e-200),
        (lambda x: Value(2.0) / x, 1e-200),
    ],
    ids=["of one", "of a power", "of both", "of the right alone, a number on the left", "of the right alone"],
)
def test_local_grads_that_do_not_exist_raise(make, at):
    x = Value(4.0)
    y = make(x)
    kept = y._local_grads
    x.data, y.data = at, 0.0
    with pytest.raises((ZeroDivisionError, OverflowError)):
        _ = y._local_grads
    x.data, y.data = 4.0, make(Value(4.0)).data
    assert y._local_grads == kept

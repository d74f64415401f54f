"""`micrograd.grad` of ops of a user's own: Python code, local gradients, replaced functions."""

from __future__ import annotations

import pytest

from helpers import lecture_tanh
from micrograd import MLP, Value, grad


def test_python_code_is_called_and_grads_are_put_back():
    x, w = Value(0.3), Value(-1.5)
    h = x * w
    h.grad = 5.0
    y = lecture_tanh(h)
    z = y * y + h
    z.grad = 2.0
    ours = grad(z, [x, w, h, y])
    assert (h.grad, y.grad, z.grad, x.grad) == (5.0, 0.0, 2.0, 0.0)
    h.grad = 0.0
    z.backward()
    assert ours == [x.grad, w.grad, h.grad, y.grad]


def test_python_code_may_use_a_parent_twice_and_raise():
    x = Value(3.0)
    x.grad = 10.0
    y = Value(9.0, (x, x), "square")

    def twice():
        x.grad += x.data * y.grad
        x.grad += x.data * y.grad

    y._backward = twice
    assert grad(y * 2.0, x) == 12.0
    assert (x.grad, y.grad) == (10.0, 0.0)

    def failing():
        x.grad += 1.0
        raise KeyError("here")

    y._backward = failing
    with pytest.raises(KeyError, match="here"):
        grad(y * 2.0, x)
    assert (x.grad, y.grad) == (10.0, 0.0)


def test_a_replaced_backward_of_an_affine_node():
    model = MLP(2, [3, 1])
    out = model([0.5, -0.25])
    step = out._backward
    out._backward = lambda: step()
    ours = grad(out, model.parameters())
    out.backward()
    assert ours == [p.grad for p in model.parameters()]


def test_local_grads():
    a, b = Value(2.0), Value(3.0)
    c = Value(6.0, (a, b), (3.0, 2.0))
    assert grad(c * 2.0, [a, b]) == [6.0, 4.0]


def test_ops_without_expressions_are_named():
    x = Value(0.5)
    for y, name in [(lecture_tanh(x), "tanh"), (Value(1.0, (x,), (2.0,)), "without a name")]:
        assert grad(y * y, y, create_graph=True).data == 2 * y.data
        with pytest.raises(RuntimeError, match=f"{name}.*has no gradients with create_graph=True"):
            grad(y * y, x, create_graph=True)

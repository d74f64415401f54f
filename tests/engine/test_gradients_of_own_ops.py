"""`micrograd.grad` of ops of a user's own: Python code, local gradients, replaced functions."""

from __future__ import annotations

import _thread
import functools
import math
import signal

import pytest

from helpers import lecture_tanh
from micrograd import MLP, Value, grad, nn


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


def test_a_backward_assigned_to_an_affine_node_that_nothing_has_looked_at():
    for model in (nn.Neuron(2, nonlin=False), nn.Neuron(2)):
        model.w[0].data, model.w[1].data, model.b.data = 0.5, 0.25, 2.0
        out = model([0.5, -0.25])

        def rule(out=out):
            for child in out._children:
                child.grad += 3.0 * out.grad

        out._backward = rule
        assert grad(out * 2.0, model.parameters()) == [3.0, -1.5, 6.0]


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


def test_gradients_as_values_may_have_own_ops_for_factors():
    """They are inputs, weights and bias of affine nodes then, which are walked in depth-first order."""
    t = math.tanh(0.5)
    for order in (lambda a, b: a * b, lambda a, b: b * a):
        c, x, u, v = Value(0.5), Value(2.0), Value(3.0), Value(-5.0)
        w = lecture_tanh(c)
        slope = grad(order(w, x * u + order(x, v)), x, create_graph=True)
        assert grad(slope, [c, u, v]) == pytest.approx([-2.0 * (1 - t * t), t, t])
        slope.backward()
        assert [c.grad, u.grad, v.grad] == pytest.approx([-2.0 * (1 - t * t), t, t])
        slope = grad(order(x, w) + x * 2.0 + x, x, create_graph=True)
        assert grad(slope, c) == pytest.approx(1 - t * t)


def test_any_factor_of_a_gradient_as_a_value_may_be_an_own_op(check):
    """In a process of its own, where no Value is alive for which all passes are sorted."""
    check(
        """
        import gc
        from micrograd import grad
        for at in range(6):
            x, c = Value(2.0), Value(0.5)
            factors = [Value(1.0 + i) for i in range(6)]
            factors[at] = user_op(c)
            a, b, d, e, f, g = factors
            slope = grad(x * a * b + x * d * e + x * f * g, x, create_graph=True)
            slope.backward()
            assert c.grad == 1.0 + (at ^ 1)
            del factors, a, b, d, e, f, g, slope
            gc.collect()
        """
    )


def test_a_rule_cannot_make_a_value_of_the_graph_anew():
    x = Value(2.0)
    h = x * 3.0
    y = Value(6.0, (h,), "op")
    y._backward = lambda: h.__init__(1.0, (x,), local_grads=(5.0,))
    with pytest.raises(RuntimeError, match="cannot call __init__ of a Value again"):
        grad(y, x)
    assert (h.data, h._children[0] is x) == (6.0, True)


@pytest.mark.parametrize(
    "differentiate", [lambda y, x: grad(y, x), lambda y, x: y.backward()], ids=["grad", "backward"]
)
def test_a_signal_handler_runs_in_the_middle_of_the_pass(differentiate):
    """A function in C sends it, so that Python runs no handler before the engine does."""
    x, later = Value(1.0), []
    y = Value(1.0, (x,), "op")
    y._backward = functools.partial(later.append, "reached")
    for _ in range(100_000):
        y = y * 1.0
    y = Value(1.0, (y,), "op")
    y._backward = _thread.interrupt_main

    def handle(*_):
        raise LookupError("of the handler")

    before = signal.signal(signal.SIGINT, handle)
    try:
        with pytest.raises(LookupError, match="of the handler"):
            differentiate(y, x)
    finally:
        signal.signal(signal.SIGINT, before)
    assert later == []


def test_a_gradient_without_terms_is_0():
    x = Value(2.0)
    assert str(grad(x**0, x)) == str(grad(x**0, x, create_graph=True).data) == "0.0"

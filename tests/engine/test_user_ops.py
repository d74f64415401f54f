"""Ops written in Python: `_backward` assigned to a Value, and local_grads given to the constructor."""

from __future__ import annotations

import gc
import math

import pytest

from helpers import lecture_tanh
from micrograd import Value, functional, grad


def microgpt_tanh(self):
    t = math.tanh(self.data)
    return Value(t, (self,), (1 - t**2,))


USER_TANHS = [lecture_tanh, microgpt_tanh]


@pytest.mark.parametrize("tanh", USER_TANHS)
def test_a_tanh_of_the_users_mixes_with_builtin_ops(tanh):
    def neuron(f):
        x, w, b = Value(0.5), Value(-1.5), Value(0.25)
        n = f(x * w + b)
        out = (n * x + n**2) * f(n)
        out.backward()
        return [out.data, x.grad, w.grad, b.grad]

    assert neuron(tanh) == pytest.approx(neuron(Value.tanh), rel=1e-12)


@pytest.mark.parametrize("tanh", USER_TANHS)
def test_a_chain_of_user_ops_accumulates_like_builtin_ones(tanh):
    def twice(f):
        x = Value(0.5)
        h = x
        for _ in range(30):
            h = f(h) + f(h * 0.5) * x
        h.backward()
        h.backward()
        return x.grad

    assert twice(tanh) == pytest.approx(twice(Value.tanh), rel=1e-11)


def test_local_grads_of_a_user_op():
    a, b = Value(3.0), Value(-2.0)
    product = Value(a.data * b.data, (a, b), (b.data, a.data))
    assert product._local_grads == (-2.0, 3.0)
    (product * 2.0).backward()
    assert (a.grad, b.grad) == (-4.0, 6.0)
    a.data = 100.0
    assert product._local_grads == (-2.0, 3.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: Value(1.0, (x,), (2.0,)),
        lambda x: Value(1.0, (x,), [2.0]),
        lambda x: Value(1.0, (x,), local_grads=(2.0,)),
        lambda x: Value(1.0, children=[x], local_grads=[2.0]),
    ],
)
def test_an_op_with_local_grads_is_a_node_as_others(make):
    """Of Value itself, not of a subclass whose instances the collector tracks."""
    x = Value(1.0)
    y = make(x)
    assert type(y) is Value
    assert not gc.is_tracked(y)
    y.backward()
    assert x.grad == 2.0


def test_local_grads_of_a_duplicated_child_add_up():
    a = Value(3.0)
    Value(9.0, (a, a), (3.0, 3.0)).backward()
    assert a.grad == 6.0


def test_a_user_op_of_many_children():
    xs = [Value(float(i)) for i in range(1000)]
    Value(sum(x.data for x in xs), xs, [1.0] * len(xs)).backward()
    assert {x.grad for x in xs} == {1.0}


def test_a_local_gradient_of_0_is_multiplied_like_any_other():
    x, y = Value(2.0), Value(3.0)
    root = Value(6.0, (x, y), (0.0, 2.0)) * math.inf
    assert grad(root, [x, y]) == pytest.approx([math.nan, math.inf], nan_ok=True)
    root.backward()
    assert [x.grad, y.grad] == pytest.approx([math.nan, math.inf], nan_ok=True)


@pytest.mark.parametrize("combine", ["sum", "logsumexp", "mean"])
@pytest.mark.parametrize("tanh", USER_TANHS)
def test_user_ops_among_the_arguments_of_an_op_of_many(tanh, combine):
    def gradient(f):
        x = Value(0.5)
        getattr(functional, combine)([x, f(x), x * 2.0]).backward()
        return x.grad

    assert gradient(tanh) == pytest.approx(gradient(Value.tanh), rel=1e-12)


def test_a_user_op_without_a_rule_sends_nothing():
    x = Value(2.0)
    out = Value(4.0, (x,), "square")
    (out * 3.0).backward()
    assert (out.grad, x.grad) == (3.0, 0.0)
    assert out._local_grads == ()


@pytest.mark.parametrize("make", [lambda x: Value(9.0, (x,), "square"), lambda x: x * x, lambda _: Value(9.0)])
def test_a_rule_assigned_after_descendants_exist(make):
    x = Value(3.0)
    out = make(x)
    y = (out * 2.0).relu()
    z = y + y * out
    out._backward = lambda: setattr(x, "grad", x.grad + 6.0 * out.grad)
    z.backward()
    assert (out.grad, x.grad) == (38.0, 6.0 * 38.0)


def test_a_user_op_reached_twice_runs_once_after_its_grad_is_complete():
    x = Value(2.0)
    seen = []
    out = Value(4.0, (x,), "square")
    out._backward = lambda: seen.append(out.grad)
    (out * 3.0 + out * out + out).backward()
    assert seen == [12.0]


def test_the_order_of_user_rules_is_topological():
    x = Value(1.0)
    seen, nodes = [], [x]
    for i in range(50):
        out = Value(1.0, (nodes[-1], nodes[i // 2]), "f")
        out._backward = lambda i=i, out=out: (seen.append(i), [setattr(c, "grad", out.grad) for c in out._children])
        nodes.append(out)
    nodes[-1].backward()
    assert seen == list(range(49, -1, -1))


def test_a_rule_may_run_backward_of_another_graph():
    x = Value(3.0)
    out = Value(9.0, (x,), "square")

    def _backward():
        inner = Value(x.data)
        (inner * inner).backward()
        x.grad += inner.grad * out.grad

    out._backward = _backward
    (out * 2.0 + x).backward()
    assert x.grad == 13.0


def test_a_rule_may_run_backward_of_a_graph_with_rules():
    def checkpoint(f, x):
        out = Value(f(Value(x.data)).data, (x,), "checkpoint")

        def _backward():
            again = Value(x.data)
            y = f(again)
            y.backward()
            x.grad += again.grad * out.grad

        out._backward = _backward
        return out

    x, direct = Value(0.5), Value(0.5)
    y = checkpoint(lambda v: checkpoint(lambda u: u * u, v) * v, x * 2.0)
    y.backward()
    ((direct * 2.0) ** 3).backward()
    assert x.grad == pytest.approx(direct.grad)


def test_a_rule_may_run_backward_of_what_it_is_part_of():
    x = Value(3.0)
    h = x * 2.0
    out = Value(6.0, (h,), "identity")

    def _backward():
        h.backward()
        h.grad += out.grad

    out._backward = _backward
    out.backward()
    assert x.grad == 2.0 + 2.0 * 2.0


def test_a_rule_may_build_and_drop_nodes():
    x = Value(3.0)
    out = Value(9.0, (x,), "square")

    def _backward():
        for _ in range(5000):
            junk = x * x + out
        x.grad += junk.data * out.grad

    out._backward = _backward
    (out + x).backward()
    assert x.grad == 19.0


def test_an_exception_in_a_rule_propagates_and_the_engine_goes_on():
    x = Value(3.0)
    out = Value(9.0, (x,), "square")
    y = out * 2.0

    def _backward():
        raise LookupError("no rule")

    out._backward = _backward
    for _ in range(2):
        with pytest.raises(LookupError, match="no rule"):
            y.backward()
    assert (y.grad, x.grad) == (1.0, 0.0)
    (x * x).backward()
    assert x.grad == 6.0
    x.grad = out.grad = 0.0
    out._backward = lambda: setattr(x, "grad", x.grad + 6.0 * out.grad)
    y.backward()
    assert x.grad == 12.0


@pytest.mark.parametrize("make", [lambda x: x, lambda x: x * 3.0], ids=["of a leaf", "of a result"])
def test_a_function_that_was_deleted_is_not_called(make):
    x, calls = Value(2.0), []
    y = make(x)
    y._backward = lambda: calls.append(1)
    (y * 2.0).backward()
    del y._backward
    (y * 2.0).backward()
    assert calls == [1]
    assert y._backward == y._propagate
    del y._backward  # of none
    assert y.grad == 4.0

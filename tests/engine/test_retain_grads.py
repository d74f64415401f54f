"""`backward(retain_grads=False)`: leaves alone have grads afterwards, and accumulate them as PyTorch's do."""

from __future__ import annotations

import inspect
import math
import random
import threading

import numpy as np
import pytest

import micrograd
from helpers import NARROW, UNARY, bits, op, posix
from micrograd import Value, functional, nn
from micrograd.viz import trace


def inner(root):
    """The nodes of its graph that are no leaves."""
    return [node for node in trace(root)[0] if node._prev]


def assert_clear(root):
    assert {bits(node.grad) for node in inner(root)} <= {bits(0.0)}


def assert_passes_add_up(make, leaves, stale=0):
    """After passes that retain no grads, leaves have a multiple of the gradient, whatever passes came before."""
    for leaf in leaves:
        leaf.grad = 0.0
    fresh = make()
    fresh.backward()
    once = [leaf.grad for leaf in leaves]
    assert any(once)
    root = make()
    for _ in range(stale):
        root.backward()
    for leaf in leaves:
        leaf.grad = 0.0
    for times in (1, 2, 3):
        root.backward(retain_grads=False)
        assert [leaf.grad for leaf in leaves] == pytest.approx([times * g for g in once], rel=1e-14, abs=1e-300)
    assert_clear(root)
    for leaf in leaves:
        leaf.grad = 0.0


@pytest.mark.parametrize("stale", [0, 1, 2])
@pytest.mark.parametrize("name", UNARY)
def test_of_one_op(name, stale):
    x, scale = Value(0.7), 0.3 if name in NARROW else 1.0
    assert_passes_add_up(lambda: op(name)((op(name)(x * 0.9) + 1.1) * scale) * x, [x], stale)


@pytest.mark.parametrize("stale", [0, 1, 2])
def test_two_passes_give_twice_the_gradient(stale):
    x, z = Value(1.5), Value(-0.5)

    def make():
        h = 2 * x - z
        y = h * h + h
        return (y / h) ** 2 * z + functional.sum([h, y, x]) - functional.logsumexp([y, z, 3.0 - y])

    assert_passes_add_up(make, [x, z], stale)


def test_the_default_accumulates_in_all_nodes():
    x = Value(3.0)
    h = 2 * x
    y = h * h + h
    grads = []
    for _ in range(3):
        y.backward()
        grads.append(x.grad)
    assert grads == [26.0, 102.0, 252.0]
    assert h.grad
    x.grad = 0.0
    y.backward(retain_grads=True)
    assert x.grad


def test_it_is_pytorchs():
    torch = pytest.importorskip("torch")
    x, w = Value(0.3), Value(-1.2)
    tx, tw = torch.tensor(0.3, dtype=torch.float64, requires_grad=True), torch.tensor(-1.2, dtype=torch.float64)
    h, th = (x * w).tanh(), (tx * tw.requires_grad_()).tanh()
    y, ty = h * h + h * x, th * th + th * tx
    for _ in range(3):
        y.backward(retain_grads=False)
        ty.backward(retain_graph=True)
        assert (x.grad, w.grad) == pytest.approx((tx.grad.item(), tw.grad.item()), rel=1e-14)
        assert h.grad == y.grad == 0.0


def test_a_grad_that_was_assigned_to_an_inner_node_does_not_count():
    x = Value(2.0)
    h = x * 3.0
    y = h * h
    h.grad = y.grad = math.nan
    y.backward(retain_grads=False)
    assert (x.grad, h.grad, y.grad) == (36.0, 0.0, 0.0)


def test_other_graphs_keep_their_grads():
    x = Value(2.0)
    h = x * 3.0
    y, z = h * h, h.exp()
    z.backward()
    kept = z.grad
    y.backward(retain_grads=False)
    assert (z.grad, h.grad) == (kept, 0.0)


def test_a_root_that_is_a_leaf_accumulates():
    """In PyTorch too; the default sets its grad to 1, as the reference does."""
    x = Value(2.0)
    x.grad = 5.0
    x.backward(retain_grads=False)
    x.backward(retain_grads=False)
    assert x.grad == 7.0
    x.backward()
    assert x.grad == 1.0


def test_retain_grads_is_a_keyword():
    with pytest.raises(TypeError):
        Value(1.0).backward(False)
    assert inspect.signature(Value.backward).parameters["retain_grads"].default is True


# ---- Layers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stale", [0, 1, 2])
@pytest.mark.parametrize("sizes", [[1], [3], [4, 2], [5, 4, 3]])
@pytest.mark.parametrize("home", [nn, micrograd])
def test_of_networks(home, sizes, stale):
    random.seed(len(sizes))
    model = home.MLP(3, sizes)
    x = [Value(0.4), Value(-0.3), Value(0.9)]

    def make():
        out = model([x[0] * 1.5, x[1], x[2]])
        outs = out if isinstance(out, list) else [out]
        return functional.mse_loss(outs[::-1], [0.5] * len(outs)) + outs[0] * outs[-1]

    assert_passes_add_up(make, [*model.parameters(), *x], stale)


@pytest.mark.parametrize("stale", [0, 1, 2])
def test_weights_that_are_results(stale):
    w = [Value(0.1 * i) for i in range(1, 5)]

    def make():
        tied = [v * v for v in w]
        return functional.dot(tied, functional.linear(w, [tied, w, tied[::-1], w[::-1]], [tied[0], w[1], 0.0, tied[2]]))

    assert_passes_add_up(make, w, stale)


def test_outputs_of_a_network_that_are_used_apart():
    """One of two outputs is in the graph; the other keeps its grads, and those of its products and sums."""
    random.seed(3)
    model = nn.MLP(2, [3, 2])
    first, second = model([1.0, -0.5])
    for _ in range(2):
        second.backward()
    grad = second.grad
    model.zero_grad()
    first.backward(retain_grads=False)
    once = [p.grad for p in model.parameters()]
    first.backward(retain_grads=False)
    assert [p.grad for p in model.parameters()] == [2 * g for g in once]
    assert second.grad == grad
    assert_clear(first)


def test_outputs_that_are_not_adjacent():
    random.seed(4)
    model = nn.MLP(2, [3, 4])
    a, _, c, d = model([1.0, -0.5])
    assert_passes_add_up(lambda: a * d + (c * a).tanh(), model.parameters())


def test_the_grads_that_materialized_nodes_show():
    """Nodes of products, sums and numbers that are made after the pass have no grads either."""
    random.seed(5)
    model = nn.MLP(2, [3, 1])
    out = model([1.0, -0.5]) * 3.0
    out.backward(retain_grads=False)
    assert_clear(out)
    assert {n.grad for n in trace(out)[0] if not n._prev and n.data == 3.0} == {0.0}


# ---- Irregular graphs ------------------------------------------------------------------------------------------------


def doubled(x):
    out = Value(2 * x.data, (x,), "doubled")

    def step():
        x.grad += 2 * out.grad

    out._backward = step
    return out


class Weight(Value):
    pass


@pytest.mark.parametrize("stale", [0, 1, 2])
@pytest.mark.parametrize(
    "make_op", [doubled, lambda x: Value(2 * x.data, (x,), (2.0,)), lambda x: Weight(x.data, (x,), (1.0,))]
)
def test_ops_of_a_users_own(make_op, stale):
    x = Value(0.3)
    assert_passes_add_up(lambda: (make_op(x * 1.1) * make_op(make_op(x)) + x).tanh(), [x], stale)


@pytest.mark.parametrize("stale", [0, 1, 2])
@pytest.mark.parametrize(
    "make_op",
    [functional.sum, functional.logsumexp, lambda xs: Value(2.0, tuple(xs), [1.0 + x.data for x in xs])],
    ids=["sum", "logsumexp", "a user's"],
)
def test_ops_of_many_parents(make_op, stale):
    leaves = [Value(0.1 * i) for i in range(6)]
    assert_passes_add_up(lambda: make_op([x * (1.0 + x) for x in leaves]), leaves, stale)


@pytest.mark.parametrize("stale", [0, 1, 2])
def test_nodes_that_were_materialized(stale):
    random.seed(6)
    model = nn.MLP(2, [3, 1])

    def make():
        out = model([1.0, -0.5])
        list(trace(out))
        return out * out

    assert_passes_add_up(make, model.parameters(), stale)


def test_a_function_of_a_leaf_is_called_and_its_grad_stays():
    x = Value(3.0)
    seen = []
    x._backward = lambda: seen.append(x.grad)
    h = x * 2.0
    h.backward(retain_grads=False)
    (h * 1.0).backward(retain_grads=False)
    x.backward(retain_grads=False)
    assert (seen, x.grad, h.grad) == ([2.0, 4.0, 5.0], 5.0, 0.0)


def test_results_of_compiled_functions():
    w, x = Value(0.5), Value(1.5)
    f = micrograd.compile(lambda x: (w * x).tanh())
    assert_passes_add_up(lambda: f.sum(np.linspace(-1, 2, 9)) ** 2 + w * w, [w])
    assert_passes_add_up(lambda: f(x) * f(x * 2.0), [w, x], 1)


# ---- Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda x: x, doubled])
def test_an_error_leaves_grads_of_leaves_alone(wrap):
    """Leaves keep what they have got; no other node that the pass came to has a grad."""
    zero, x = Value(0.0), Value(2.0)
    left = x * 3.0
    bad = wrap(zero * 1.0) ** 0.5
    right = x.exp()
    y = left * right + bad * left
    with pytest.raises(ZeroDivisionError):
        y.backward(retain_grads=False)
    assert_clear(y)
    assert zero.grad == 0.0
    assert math.isfinite(x.grad)
    (x * x).backward(retain_grads=False)  # usable afterwards


def test_an_error_in_a_layer_leaves_grads_of_leaves_alone():
    weights, bias = [[Value(0.0)], [Value(1.0)]], [Value(0.0), Value(1.0)]
    hidden = functional.linear([Value(1.0)], weights, bias)
    y = functional.sum([hidden[0].sqrt(), hidden[1]])
    with pytest.raises(ZeroDivisionError):
        y.backward(retain_grads=False)
    assert_clear(y)


def test_an_error_of_a_users_function_leaves_grads_of_leaves_alone():
    x = Value(2.0)
    h = x * 2.0
    bad = Value(1.0, (h,), "bad")

    def step():
        h.grad += 1.0
        raise KeyError("bad")

    bad._backward = step
    y = bad * h
    with pytest.raises(KeyError):
        y.backward(retain_grads=False)
    assert_clear(y)
    del bad._backward


def test_a_deep_graph_over_many_slabs():
    x = Value(1.0)
    y = x
    for _ in range(200_000):
        y = y + x * 1e-6
    for times in (1, 2):
        y.backward(retain_grads=False)
        assert x.grad == pytest.approx(times * 1.2, rel=1e-9)
    z = y
    while z._op == "+":
        assert z.grad == 0.0
        z = z._children[0]
    assert z is x


@posix
def test_a_pass_goes_on_after_a_signal_handler_materialized_nodes(check):
    """Marked nodes keep what they have gained; what the rest had before does not count."""
    check(
        """
import random
from micrograd import nn
random.seed(1)
model = nn.MLP(2, [3, 2])
x = Value(0.5)
def build():
    low = model([x * 2.0, x])
    y = low[0] * low[1]
    for _ in range(300_000):
        y = y + x * 1e-7
    return low, y
low, y = build()
leaves = [x, *model.parameters()]
y.backward()
expected = [p.grad for p in leaves]
y.backward()  # stale grads
seen = []
def handler(*_):
    seen.append(low[0]._children)
signal.signal(signal.SIGALRM, handler)
for _ in range(50):
    for p in leaves:
        p.grad = 0.0
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    y.backward(retain_grads=False)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert all(abs(p.grad - e) <= 1e-12 * abs(e) for p, e in zip(leaves, expected))
    low, y = build()
    y.backward()
assert seen
"""
    )


def test_threads_do_not_disturb_each_other():
    wrong = []

    def work(seed):
        x = Value(seed)
        for _ in range(300):
            h = x * 2.0
            y = h * h + h
            y.backward(retain_grads=seed % 2 == 0)
            if x.grad != 8 * seed + 2:
                wrong.append(x.grad)
            x.grad = 0.0

    threads = [threading.Thread(target=work, args=(float(i),)) for i in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong

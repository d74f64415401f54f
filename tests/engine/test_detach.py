"""`Value.detach()`: in eager code a leaf, in a compiled function an op that passes nothing on."""

from __future__ import annotations

import math
import random
import threading

import numpy as np
import pytest

import micrograd
from helpers import bits
from micrograd import Value, functional, nn


def test_it_is_a_new_leaf_with_the_same_data():
    x = Value(3.0, label="x")
    y = (x * x).detach()
    assert (type(y), y.data, y.grad, y._prev, y._op, y.label) == (Value, 9.0, 0.0, set(), "", "")
    y.data = 1.0
    (y * x).backward()
    assert (x.data, x.grad, y.grad) == (3.0, 1.0, 3.0)
    assert x.detach() is not x


def test_of_a_subclass_it_is_a_plain_value():
    class Weight(Value):
        pass

    assert type(Weight(2.0).detach()) is Value


@pytest.mark.parametrize("g", [math.inf, -math.inf, math.nan])
def test_an_infinite_gradient_is_not_passed_on(g):
    x = Value(2.0)
    (x.detach() * g + x).backward()
    assert x.grad == 1.0


def mixed(x, w, b):
    """Detached arguments, captured leaves and results beside ones that are not."""
    h = (w * x[0] + b.detach() * x[1]).tanh()
    return h * x[0].detach() + (h * w).detach() * b - functional.sum([h.detach(), x[1] * 2, w.detach()]).detach() * h


def gradients(make):
    """The data of make(x, w, b), and the grads of the x, w and b."""
    leaves = [Value(v) for v in (0.3, -0.8, 1.7, 0.4)]
    out = make(leaves[:2], *leaves[2:])
    out.backward()
    return [out.data, *(leaf.grad for leaf in leaves)]


def test_gradients_are_pytorchs():
    torch = pytest.importorskip("torch")
    x0, x1, w, b = leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.3, -0.8, 1.7, 0.4)]
    h = (w * x0 + b.detach() * x1).tanh()
    out = h * x0.detach() + (h * w).detach() * b - (h.detach() + x1 * 2 + w.detach()).detach() * h
    out.backward()
    theirs = [out.item(), *(0.0 if leaf.grad is None else leaf.grad.item() for leaf in leaves)]
    assert gradients(mixed) == pytest.approx(theirs, rel=1e-14)


# ---- In compiled functions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [False, True])
def test_a_compiled_sample_has_eager_codes_gradients(exact):
    def compiled(x, w, b):
        return micrograd.compile(lambda x: mixed(x, w, b), exact=exact)(x)

    assert gradients(compiled) == pytest.approx(gradients(mixed), rel=1e-14)


@pytest.mark.parametrize("samples", [1, 5, 64, 1000])
@pytest.mark.parametrize("exact", [False, True])
def test_a_compiled_batch_has_eager_codes_gradients(exact, samples):
    w, b = Value(1.7), Value(0.4)
    rows = np.random.default_rng(samples).uniform(-2, 2, (samples, 2))
    f = micrograd.compile(lambda x: mixed(x, w, b), exact=exact)
    for _ in range(2):  # data of leaves may change between calls
        sum((mixed(row, w, b) for row in [list(map(Value, r)) for r in rows.tolist()]), Value(0.0)).backward()
        eager = w.grad, b.grad
        w.grad = b.grad = 0.0
        f.sum(rows).backward()
        assert (w.grad, b.grad) == pytest.approx(eager, rel=1e-11, abs=1e-12)
        value, grads = f.value_and_grad(rows)
        assert dict(zip(map(id, f.captured), grads)) == {id(w): w.grad, id(b): b.grad}
        assert f.map(rows).sum() == pytest.approx(value, rel=1e-12)
        w.grad = b.grad = 0.0
        w.data, b.data = -0.6, 1.1


def test_it_is_an_op_of_the_trace():
    w = Value(2.0)
    f = micrograd.compile(lambda x: x.detach() * w.detach())
    ops = []

    @micrograd.compile
    def seen(x):
        ops.append(x.detach()._op)
        return x.detach()

    assert (f(3.0).data, f(4.0).data, seen(5.0).data) == (6.0, 8.0, 5.0)
    assert "detach(w0)" in f.program
    assert ops == ["detach"]
    w.data = 5.0
    assert f(3.0).data == 15.0
    assert f.captured == [w]


@pytest.mark.parametrize("g", [math.inf, math.nan])
def test_what_is_only_detached_is_no_parent_of_a_compiled_result(g):
    """Its gradient, 0, would be NaN times infinity."""
    w, v, x, y = Value(2.0), Value(3.0), Value(4.0), Value(5.0)
    f = micrograd.compile(lambda x, y: w.detach() * x + v * y.detach())
    (f(x, y) * g).backward()
    assert [w.grad, y.grad] == [0.0, 0.0]
    assert [bits(v.grad), bits(x.grad)] == [bits(5.0 * g), bits(2.0 * g)]
    v.grad = 0.0
    for batch in (np.ones(3), [1.0]):
        (f.sum(batch, batch) * g).backward()
    (micrograd.compile(lambda x: w.detach() * functional.sum(x) + v).sum([[1.0], [1.0, 2.0]]) * g).backward()
    assert w.grad == 0.0
    assert bits(v.grad) == bits(g)
    only = f.sum(np.ones(3), np.ones(3))
    assert only._prev == {v}
    assert micrograd.compile(lambda x: w.detach() * x).sum(np.ones(3))._prev == set()


def test_an_argument_without_use_is_no_parent_of_a_compiled_result():
    x, y = Value(1.0), Value(2.0)
    out = micrograd.compile(lambda x, y: x * 2.0)(x, y)
    (out * math.inf).backward()
    assert (out._prev, y.grad) == ({x}, 0.0)


def test_an_infinite_gradient_is_not_passed_on_in_a_compiled_function():
    w = Value(2.0)
    f = micrograd.compile(lambda x: w.detach() * x * math.inf + w)
    f(1.0).backward()
    f.sum([1.0, 2.0, 3.0]).backward()
    assert w.grad == 4.0


def test_a_frozen_network_under_a_trained_one():
    """A target network, as in Q-learning: compiled gradients go to the other one alone."""
    random.seed(1)
    model, target = nn.MLP(3, [4, 1]), nn.MLP(3, [4, 1])
    rows = np.random.default_rng(0).uniform(-1, 1, (40, 3))

    def loss(x):
        return (model(x) - target(x).detach() * 0.9) ** 2

    f = micrograd.compile(loss)
    f.mean(rows).backward()
    compiled = [p.grad for p in model.parameters()]
    assert {p.grad for p in target.parameters()} == {0.0}
    model.zero_grad()
    (sum((loss(row) for row in rows.tolist()), Value(0.0)) * (1 / 40)).backward()
    assert compiled == pytest.approx([p.grad for p in model.parameters()], rel=1e-11, abs=1e-14)
    assert any(compiled)


def test_a_pickled_program_detaches():
    import pickle

    w = Value(2.0)
    f = micrograd.compile(lambda x: w * x + w.detach() * x * x)
    f(1.0)
    copied = pickle.loads(pickle.dumps(f))
    out = copied(3.0)
    out.backward()
    assert (out.data, copied.captured[0].grad) == (24.0, 3.0)


def test_another_threads_trace_changes_nothing():
    x, inside, leave = Value(3.0), threading.Event(), threading.Event()

    def slow(y):
        inside.set()
        assert leave.wait(60)
        return y * 2.0

    thread = threading.Thread(target=lambda: micrograd.compile(slow)(1.0))
    thread.start()
    try:
        assert inside.wait(60)
        cut = (x * x).detach()
    finally:
        leave.set()
        thread.join()
    assert (cut.data, cut._op, cut._prev) == (9.0, "", set())

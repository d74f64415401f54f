"""Pickles and copies of compiled functions."""

from __future__ import annotations

import _thread
import copy
import pickle
import sys

import numpy as np
import pytest

import micrograd
from micrograd import TraceError, Value, nn


def test_pickles_carry_programs_and_captured_leaves():
    w = Value(2.0)
    f = micrograd.compile(lambda x, y, kind="a": (w * x - y) ** 2 if kind == "a" else w * x, threads=2)
    X, y = np.arange(5.0), np.ones(5)
    expected = f.value_and_grad(X, y)
    f(1.0, 2.0, kind="b")
    copied, leaf = pickle.loads(pickle.dumps((f, w)))
    assert copied.captured[0] is leaf
    assert leaf is not w
    total, grads = copied.value_and_grad(X, y)
    assert (total, grads.tolist()) == (expected[0], expected[1].tolist())
    assert copied(3.0, 0.0, kind="b").data == 6.0
    assert copied.program == f.program
    leaf.data = 3.0
    assert copied(1.0, 1.0).data == 4.0
    assert copied.__name__ == "<lambda>"
    assert copied.retraces == f.retraces == 1
    with pytest.raises(TraceError, match="came without its function"):
        copied([1.0], 2.0)
    again = pickle.loads(pickle.dumps(copied))
    assert again(1.0, 1.0).data == 4.0


@pytest.mark.parametrize("options", [{"threads": 3}, {"exact": True}, {"exact": False}, {"static_argnames": "kind"}])
def test_pickles_and_copies_keep_the_options(options, monkeypatch):
    w = Value(0.1)
    f = micrograd.compile(lambda x, kind="a": (w * x * 0.3).exp() if kind == "a" else w * x, **options)
    X = np.linspace(-1.0, 1.0, 200_000)  # enough to be worth three threads
    started, start = [], _thread.start_new_thread
    monkeypatch.setattr(_thread, "start_new_thread", lambda *args: started.append(args) or start(*args))
    expected = f.map(X)
    f(1.0, kind="b")
    again = pickle.loads(pickle.dumps(f))
    for other in (f, again, copy.copy(f), copy.deepcopy(f), copy.deepcopy(again), pickle.loads(pickle.dumps(again))):
        started.clear()
        assert other.map(X).tobytes() == expected.tobytes()
        if sys.platform != "emscripten":  # it has no threads
            assert len(started) == options.get("threads", 1) - 1
        assert repr(other) == repr(f)


def test_outputs_keep_their_order():
    f = micrograd.compile(lambda x: (lambda a, b: [b, a, [b, x, a]])(x * 2.0, x * 3.0))
    assert [y.data for y in f(1.0)[:2]] == [3.0, 2.0]
    for other in (pickle.loads(pickle.dumps(f)), copy.deepcopy(f)):
        first, second, rest = other(1.0)
        assert [y.data for y in (first, second, *rest)] == [3.0, 2.0, 3.0, 1.0, 2.0]


def test_a_function_that_was_never_called_does_not_pickle_but_is_copied():
    w = Value(2.0)
    f = micrograd.compile(lambda x: w * x, threads=2)
    with pytest.raises(TypeError, match=r"cannot pickle <compiled .*, 0 programs>: .* Call it first"):
        pickle.dumps(f)
    for copied in (copy.copy(f), copy.deepcopy(f)):
        assert copied(3.0).data == 6.0
        assert copied.captured == [w]
    assert f.program == ""
    model = nn.Neuron(1)
    copied, compiled = copy.deepcopy((model, micrograd.compile(model)))
    copied.w[0].data = 7.0
    assert compiled([1.0]).data == 7.0


def test_a_copy_shares_leaves_and_a_deep_copy_has_its_own():
    w = Value(2.0)
    f = micrograd.compile(lambda x: w * sum(x))
    f([1.0])
    near = copy.copy(f)
    assert near([1.0, 2.0]).data == 6.0
    assert (near.retraces, f.retraces, near.captured) == (1, 0, [w])
    w = Value(3.0)  # the function refers to another leaf, which is the copy's alone
    assert near([1.0, 2.0, 3.0]).data == 18.0
    assert (near.captured[1:], len(f.captured)) == ([w], 1)
    w = f.captured[0]
    far, leaf = copy.deepcopy((f, w))
    leaf.data = 5.0
    assert (far([1.0]).data, f([1.0]).data, far.captured == [leaf]) == (5.0, 2.0, True)
    assert far.program == f.program


class OwnCopy(Value):
    """A leaf with a `__deepcopy__` of its own."""

    def __deepcopy__(self, memo):
        return self.copied


def test_a_deep_copy_copies_leaves_by_their_own_deepcopy():
    a, b, c = OwnCopy(2.0), OwnCopy(3.0), Value(10.0)
    f = micrograd.compile(lambda x: a * x + b)
    f(1.0)
    a.copied = b.copied = c
    copied = copy.deepcopy(f)
    assert copied(2.0).data == 30.0
    assert copied.captured == [c]
    total, grads = copied.value_and_grad([1.0, 2.0])
    assert (total, grads.tolist()) == (50.0, [5.0])
    copied.sum([1.0, 2.0]).backward()
    assert c.grad == 5.0
    a.copied = c * 2  # a result may stand for a leaf: its parents get the gradients
    copied = copy.deepcopy(f)
    assert copied(2.0).data == 50.0
    for other in (None, 3.0, "c", [c]):
        b.copied = other
        with pytest.raises(ValueError, match="captured leaves are Values"):
            copy.deepcopy(f)

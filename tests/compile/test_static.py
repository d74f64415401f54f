"""Static arguments by name, `static_argnames`, and calls without arrays."""

from __future__ import annotations

import copy
import functools
import math
import pickle
import sys
from decimal import Decimal

import numpy as np
import pytest

import micrograd
from helpers import complaint
from micrograd import TraceError, Value


def power(x, n, scale=1.0):
    """x**n times scale, by a loop over range(n)."""
    assert type(n) is int
    return functools.reduce(lambda r, _: r * x, range(n), scale)


def test_what_is_passed_under_a_static_name_stays_what_it_is():
    f = micrograd.compile(power, static_argnames=("n",))
    assert [f(2.0, 3).data, f(2.0, n=3).data, f(n=3, x=2.0).data, f(2.0, 3, 5.0).data] == [8.0, 8.0, 8.0, 40.0]
    assert f.retraces == 2  # x by name, and scale by position: other structures
    assert f.map([1.0, 2.0], 2).tolist() == f.map([1.0, 2.0], n=2).tolist() == [1.0, 4.0]
    assert f.sum([1.0, 2.0], 2, [3.0, 4.0]).data == f.sum([1.0, 2.0], scale=[3.0, 4.0], n=2).data == 19.0
    assert f.mean([1.0, 3.0], 2).data == 5.0
    assert f.retraces == 5
    x = Value(3.0)
    f(x, 2).backward()
    assert x.grad == 6.0
    assert "power(number, n=3)" in f.program


def test_each_call_is_repeated_without_a_trace():
    """Also where a function has been called without its static arguments before."""
    traces = []
    f = micrograd.compile(lambda x, n=1, y=0.0: traces.append(n) or x * n + y, static_argnames="n")
    calls = [
        (lambda: f(2.0).data, 2.0), (lambda: f(2.0, 5).data, 10.0), (lambda: f(2.0, 5, 1.0).data, 11.0),
        (lambda: f.sum([2.0]).data, 2.0), (lambda: f.sum([2.0], 5).data, 10.0),
        (lambda: f.sum([2.0], 5, [1.0]).data, 11.0), (lambda: f.mean([2.0], 6).data, 12.0),
        (lambda: f.map([2.0], 6).tolist(), [12.0]),
    ]  # fmt: skip
    for _ in range(3):
        assert [call() for call, _ in calls] == [expected for _, expected in calls]
    assert traces == [1, 5, 5, 6]


def test_static_arguments_of_every_kind_of_parameter():
    def f(a, n, /, x, *rest, m, **others):
        assert (type(n), type(m), others) == (int, tuple, {"k": "text"})
        return a * n + x * m[0] + sum(rest) * m[1]

    compiled = micrograd.compile(f, static_argnames=["m", "n", "k"])
    for _ in range(2):
        assert compiled(1.0, 2, 3.0, 4.0, 5.0, m=(6, 7), k="text").data == 2 + 18 + 63
        assert compiled.map([1.0], 2, [3.0], [4.0], [5.0], m=(6, 7), k="text").tolist() == [83.0]
        assert compiled(1.0, 2, x=3.0, m=(6, 7), k="text").data == 20.0
    assert compiled.retraces == 1
    first = micrograd.compile(lambda n, x: x * len(n), static_argnames="n")
    assert first((1, 2), 3.0).data == first(x=3.0, n=(1, 2)).data == first(n="ab", x=3.0).data == 6.0
    partial = micrograd.compile(functools.partial(power, n=2), static_argnames="n")
    assert (partial(3.0).data, partial(3.0, n=3).data) == (9.0, 27.0)


def test_names_are_those_of_parameters():
    with pytest.raises(ValueError, match="static_argnames has 'heads', but the parameters are 'x', 'n', 'scale'"):
        micrograd.compile(power, static_argnames=("n", "heads"))
    with pytest.raises(ValueError, match=r"'rest', but the parameters are 'x'$"):
        micrograd.compile(lambda x, *rest: x, static_argnames="rest")
    for names, kind in ((3, "int"), (["n", None], "NoneType"), (b"n", "int")):
        with pytest.raises(TypeError, match=f"static_argnames takes a str or an iterable of str, not '{kind}'"):
            micrograd.compile(power, static_argnames=names)
    assert micrograd.compile(lambda x, **k: x * k["n"], static_argnames="n")(2.0, n=3).data == 6.0
    assert micrograd.compile(static_argnames=iter(["n"]))(power)(2.0, 2).data == 4.0
    with pytest.raises(AssertionError):
        micrograd.compile(power, static_argnames=[])(2.0, 2)


class Unsigned:
    """A callable of which inspect knows no signature."""

    __signature__ = "none"

    def __call__(self, x, *, heads):
        return x * len(range(heads))


def test_a_function_without_a_signature_takes_any_name():
    f = micrograd.compile(Unsigned(), static_argnames=("heads", "other"))
    assert f(2.0, heads=3).data == 6.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True), (1, 1.0), (0.0, -0.0), (np.float32(0.0), np.float32(-0.0)), (0j, complex(0.0, -0.0)),
        (Decimal("1.0"), Decimal("1.00")), ((1, 0.0), (1, -0.0)), ((1,), (True,)), (frozenset([1]), frozenset([True])),
    ],
    ids=repr,
)  # fmt: skip
def test_equal_arguments_that_differ_are_traced_each(one, other):
    shown = []
    f = micrograd.compile(
        lambda x, k: x * float(len(shown) if shown.append(repr(k)) is None else 0), static_argnames="k"
    )
    for call in (f, lambda x, k: f.sum([x], k), lambda x, k: f.sum([x], k=k)):
        assert [call(1.0, k).data for k in (one, other, one, other)] == [1.0, 2.0, 1.0, 2.0]
    assert shown == [repr(one), repr(other)]


class Table(dict):
    """A dict that is hashable."""

    __hash__ = object.__hash__


def test_unhashable_arguments_and_values_are_refused_by_name():
    f = micrograd.compile(lambda x, k: x, static_argnames="k")
    for call in (lambda k: f(1.0, k), lambda k: f(1.0, k=k), lambda k: f.sum([1.0], k), lambda k: f.map([1.0], k=k)):
        for k, kind in (([1], "list"), (np.ones(2), "ndarray"), (((), []), "tuple"), ({}, "dict")):
            with pytest.raises(TypeError, match=f"argument 'k' is static and must be hashable, which '{kind}' is not"):
                call(k)
        for k in (Value(1.0), (1, Value(1.0)), [Value(1.0)], Table(a=[Value(1.0)]), Table({Value(1.0): 1})):
            with pytest.raises(TypeError, match="argument 'k' is static and must not contain Values"):
                call(k)
    with pytest.raises(TypeError, match="argument 'k' is passed by position and by name"):
        f(1.0, 2, k=2)
    assert f.program == ""
    with pytest.raises(TypeError, match="argument 'k' is static and must not contain Values"):
        micrograd.compile(lambda x: f(x, x))(1.0)


def test_messages_count_static_arguments_among_those_by_position():
    f = micrograd.compile(lambda n, x, m, y: x * n + y * m, static_argnames=("n", "m"))
    with pytest.raises(TypeError, match="argument 3 must be a real number, not 'str'"):
        f(1, 2.0, 3, "text")
    with pytest.raises(ValueError, match=r"argument 1 of shape \(1,\), argument 3 of shape \(2,\)$"):
        f.sum(1, [1.0], 2, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"argument 1 of shape \(1,\), argument 'y' of shape \(2,\)$"):
        f.map(1, [1.0], m=2, y=[1.0, 2.0])


def test_an_empty_tuple_by_name_is_static_and_an_empty_list_is_not():
    for k, kind in (((), tuple), ([], list)):
        shown = []
        assert micrograd.compile(lambda x, k: shown.append(k) or x)(1.0, k=k).data == 1.0  # noqa: B023
        assert [(type(k), len(k)) for k in shown] == [(kind, 0)]
    f = micrograd.compile(lambda x, k: x)
    f(1.0, k=())
    assert "k=()" in f.program
    f = micrograd.compile(lambda x, k: x)
    f(1.0, k=[])
    assert "k=()" not in f.program


def test_a_numeric_keyword_that_is_not_named_stays_an_argument():
    f = micrograd.compile(lambda x, k, m=1: x * k * len(range(m)), static_argnames="m")
    assert [f(1.0, k=k, m=2).data for k in (2, 3)] == [4.0, 6.0]
    assert f.retraces == 0


def test_in_the_trace_of_another():
    f = micrograd.compile(power, static_argnames="n")
    outer = micrograd.compile(lambda x, m: f(x, m) + f(x, n=2, scale=x), static_argnames="m")
    assert outer.map([1.0, 2.0], 3).tolist() == [2.0, 16.0]


class Scaled:
    def __init__(self, w):
        self.w = Value(w)

    @micrograd.compile(static_argnames=("self", "n"))
    def loss(self, n, x=1.0):
        return self.w * power(x, n)

    @staticmethod
    def plain(n, x):
        return power(x, n)

    if sys.version_info >= (3, 10):  # before, a staticmethod cannot be called
        plain = micrograd.compile(plain, static_argnames="n")


def test_methods():
    a, b = Scaled(2.0), Scaled(3.0)
    for _ in range(2):
        assert (a.loss(2, 3.0).data, b.loss(2, x=3.0).data, a.loss(n=3, x=2.0).data) == (18.0, 27.0, 16.0)
        assert Scaled.loss(a, 2, 3.0).data == Scaled.loss(a, n=2, x=3.0).data == 18.0
        assert a.loss.sum(2, [1.0, 2.0]).data == Scaled.loss.sum(a, 2, [1.0, 2.0]).data == 10.0
        if sys.version_info >= (3, 10):
            assert Scaled.plain(2, 3.0).data == a.plain(2, 3.0).data == 9.0
        assert a.loss.value_and_grad(3)[0] == Scaled.loss.value_and_grad(a, 3)[0] == 2.0
    copied = copy.deepcopy(a)
    copied.w.data = 5.0
    assert (copied.loss(2, 3.0).data, copied.loss.captured) == (45.0, [copied.w])
    again = pickle.loads(pickle.dumps(a.loss))
    assert (again(2, 3.0).data, again.sum(2, [1.0, 2.0]).data) == (18.0, 10.0)


def test_static_names_travel_with_copies_and_pickles():
    w = Value(2.0)
    f = micrograd.compile(lambda x, n: w * power(x, n), static_argnames="n")
    assert copy.copy(f)(3.0, 2).data == copy.deepcopy(f)(3.0, 2).data == f(3.0, 2).data == 18.0
    for copied in (copy.copy(f), copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
        assert [copied(3.0, 2).data, copied(3.0, n=2).data, copied.sum([1.0, 2.0], 2).data] == [18.0, 18.0, 10.0]
        assert copied.retraces == 0
    with pytest.raises(TraceError, match="came without its function"):
        pickle.loads(pickle.dumps(f))(3.0, 3)
    state = f.__getstate__()
    for static in (None, {"n": -1}, {"n": True}, {1: 1}, [("n", 1)]):
        with pytest.raises(ValueError, match="static parameters are names with their positions"):
            object.__new__(type(f)).__setstate__({**state, "_static": static})
    old = object.__new__(type(f))
    old.__setstate__({name: part for name, part in state.items() if name != "_static"})
    assert old.program == f.program
    with pytest.raises(TraceError, match="came without its function"):  # no name is static there
        old(3.0, 2)


def test_without_arrays_a_batch_is_one_sample():
    w = Value(3.0)
    f = micrograd.compile(lambda n=1, m=2: w * w * n + m, static_argnames=("n", "m"), threads=2)
    for _ in range(2):
        assert [f().data, f(n=2).data, f(2).data, f(2, 0).data] == [11.0, 20.0, 20.0, 18.0]
        assert [f.sum().data, f.sum(n=2).data, f.mean().data, f.mean(2).data] == [11.0, 20.0, 11.0, 20.0]
        assert [f.map().tolist(), f.map(n=2).tolist()] == [[11.0], [20.0]]
        total, grads = f.value_and_grad(n=2)
        assert (total, grads.tolist()) == (20.0, [12.0])
        w.zero_grad()
        f.mean(5).backward()
        assert w.grad == 30.0
    assert f.value_and_grad()[0] == 11.0
    assert f.retraces == 3
    assert pickle.loads(pickle.dumps(f)).value_and_grad(2)[1].tolist() == [12.0]


def test_without_arrays_and_static_names():
    w = Value(3.0)
    f = micrograd.compile(lambda: [w, w * w])
    for _ in range(2):
        assert [v.data for v in f()] == [3.0, 9.0]
        assert f.map().tolist() == [[3.0, 9.0]]
        with pytest.raises(TypeError, match="returns a list"):
            f.value_and_grad()
        with pytest.raises(TypeError, match="returns a list"):
            f.sum()
    log = micrograd.compile(lambda kind="log": getattr(w, kind)())
    w.data = -1.0
    for _ in range(2):
        with pytest.raises(ValueError, match=complaint(math.log, -1.0)):
            log()
        with pytest.raises(ValueError, match=complaint(math.log, -1.0)):
            log.value_and_grad()
    w.data = 1.0
    assert log().data == log.sum().data == 0.0

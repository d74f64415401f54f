"""What makes a compiled function trace again, and what is read at every call."""

from __future__ import annotations

import copy
import itertools
import math
import pickle

import numpy as np
import pytest

import micrograd
from helpers import agrees
from micrograd import Value


def test_retraces_on_structure_only():
    f = micrograd.compile(lambda x, kind="a": sum(x) if kind == "a" else x[0])
    for n in (1, 2, 100):
        f.map(np.ones((n, 3)))
    f([1.0, 2.0, 3.0])
    f([4, 5, Value(6)])
    assert f.retraces == 0
    f.map(np.ones((5, 2)))
    assert f.retraces == 1
    assert f([1.0, 2.0], kind="b").data == 1.0
    assert f([1.0, 2.0], kind="b").data == 1.0
    assert f.retraces == 2


def test_keyword_arguments_that_are_numbers_are_arguments():
    f = micrograd.compile(lambda x, scale=1.0, shift=0.0: x * scale + shift)
    assert [f(3.0, scale=s, shift=1).data for s in (2.0, 4.0)] == [7.0, 13.0]
    assert f.retraces == 0
    assert f.map([1.0, 2.0], scale=[3.0, 4.0]).tolist() == [3.0, 8.0]
    assert f.map([1.0, 2.0], shift=[3.0, 4.0]).tolist() == [4.0, 6.0]
    assert (f.sum([3.0], scale=[5.0]).data, f.sum([3.0], shift=[5.0]).data) == (15.0, 8.0)
    x = Value(2.0)
    f(3.0, scale=x).backward()
    assert x.grad == 3.0


@pytest.mark.parametrize("static", [(), ("a",), ("b", "a")])
def test_keyword_arguments_in_any_order_are_one_structure(static):
    f = micrograd.compile(lambda x, a, b, c: x * a + b * 10.0 + c * 100.0, static_argnames=static)
    for names in itertools.permutations("xabc"):
        given = {"x": 2.0, "a": 3.0, "b": 5.0, "c": 7.0}
        assert f(**{name: given[name] for name in names}).data == 756.0
        assert f.sum(**{name: given[name] if name in static else [given[name]] for name in names}).data == 756.0
    assert f.retraces == 0


def test_truth_values_are_static():
    f = micrograd.compile(lambda x, flag: x if flag else -x)
    assert [f(1.0, flag=flag).data for flag in (True, False, "yes", None)] == [1.0, -1.0, 1.0, -1.0]
    g = micrograd.compile(lambda x, flags: x if flags[0] is True else -x)
    for flags, sign in (((True, False), 1.0), ((False, True), -1.0), ((True, 1.0), 1.0), ((1.0, True), -1.0)):
        assert g(2.0, flags=flags).data == g.sum([2.0], flags=flags).data == 2.0 * sign


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", 1), ("a", True)),
        (("a", 0), ("a", 0.0)),
        (("a", 0.0), ("a", -0.0)),
        (("a", ("b", (0.0,))), ("a", ("b", (-0.0,)))),
        (frozenset(["a", 1]), frozenset(["a", True])),
        (frozenset(["a", (0.0,)]), frozenset(["a", (-0.0,)])),
        ("b", type("Name", (str,), {"__repr__": lambda _: "Name"})("b")),
    ],
    ids=range(7),
)
def test_static_arguments_that_are_equal_may_differ(one, other):
    f = micrograd.compile(lambda x, *, k: x * float(len(shown) if shown.append(repr(k)) is None else 0))
    for call in (f, lambda x, k: f.sum([x], k=k)):
        shown = []
        got = [call(1.0, k=k).data for k in (one, other, one, other)]
        assert got == [1.0, 2.0, 1.0, 2.0]
        if shown:
            assert shown == [repr(one), repr(other)]
    again = pickle.loads(pickle.dumps(f)) if type(other).__name__ != "Name" else copy.deepcopy(f)
    assert [again(1.0, k=k).data for k in (one, other)] == [1.0, 2.0]
    assert f.retraces == 1


def test_static_arguments_have_to_be_hashable():
    f = micrograd.compile(lambda x, table: x)
    for call in (lambda table: f(1.0, table=table), lambda table: f.sum([1.0], table=table)):
        with pytest.raises(TypeError, match=r"argument 'table' is static.* must be hashable, which 'dict' is not"):
            call({})


def test_parameters_are_read_at_every_call():
    w = Value(1.0)
    inner = w * 5  # captured as the graph behind it
    f = micrograd.compile(lambda x: inner * x)
    assert f(2.0).data == 10.0
    w.data = 3.0
    assert f(2.0).data == 30.0
    assert f.map([2.0]).tolist() == [30.0]
    f.sum([2.0]).backward()
    assert (w.grad, f.captured) == (10.0, [w])


def test_a_value_made_in_the_function_is_a_number():
    kept = Value(4.0)
    f = micrograd.compile(lambda x: Value(2.0) * x + Value(3.0) * Value(5.0) + kept)
    assert f(1.0).data == 21.0
    assert f.captured == [kept]
    assert "folded: 1 ops" in f.program


def test_a_value_that_is_kept_outside_is_captured():
    made = []

    def f(x):
        made.append(Value(2.0))
        return made[-1] * x

    compiled = micrograd.compile(f)
    assert compiled(3.0).data == 6.0
    made[0].data = 5.0
    assert compiled(3.0).data == 15.0


def test_a_compiled_function_in_another_is_traced_with_it():
    square = micrograd.compile(lambda x: x * x)
    f = micrograd.compile(lambda x: square(x) + square(2.0))
    assert f.map([1.0, 3.0]).tolist() == [5.0, 13.0]


def test_equal_numbers_for_a_compiled_function_in_another_are_values_of_their_own():
    slope = micrograd.compile(lambda x, y: micrograd.grad(x * x * y, x))
    f = micrograd.compile(lambda x: slope(3.0, 3.0) * x)
    assert f(1.0).data == slope(3.0, 3.0).data == 18.0


def test_a_compiled_function_in_another_takes_and_returns_values(exact):
    """Numbers and arrays become Values and lists of them, numbers that are returned Values."""
    w = Value(2.0)
    square = micrograd.compile(lambda x: (x * x).tanh())
    outer = micrograd.compile(lambda xs, k=1.0: [xs[0] * xs[1] + xs[1].relu(), (1.0, k.exp())])

    @micrograd.compile(exact=exact)
    def f(x):
        product, (one, power) = outer(np.array([3.0, 2.0]), k=0.0)
        return square(3.0).exp() * x * w + product + one.exp() + power

    assert agrees(f(1.5).data, math.exp(math.tanh(9.0)) * 1.5 * 2.0 + 8.0 + math.e + 1.0, exact)
    assert f.captured == [w]

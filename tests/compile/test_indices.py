"""Values as indices and integers: TypeError in eager code, a TraceError that says what to do in a trace."""

from __future__ import annotations

import contextlib
import operator
import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import micrograd
from micrograd import TraceError, Value

USES = [
    lambda x: [1.0, 2.0][x],
    lambda x: (1.0, 2.0)[-x * 1],
    lambda x: [x, 2.0][x:],
    lambda x: "ab"[x],
    lambda x: [0.0].__setitem__(x, 1.0),
    lambda x: sum([x for _ in range(x)]),
    lambda x: list(enumerate([1.0], x)),
    operator.index,
    int,
    chr,
    lambda x: np.zeros(x),
    lambda x: np.zeros(3)[:x],
    lambda x: np.zeros(3)[x],
    lambda x: np.zeros((3, 3))[0, x],
    lambda x: np.take(np.zeros(3), x),
]


@pytest.mark.parametrize("use", USES, ids=range(len(USES)))
def test_a_value_is_no_index(use):
    w, here = Value(1.0), re.escape(Path(__file__).name)

    @micrograd.compile
    def argument(x):
        use(x)
        return x

    for f in (argument, micrograd.compile(lambda x: use(w) and x), micrograd.compile(lambda x: use(w * 2.0) and x)):
        with pytest.raises(TraceError, match=rf"{here}, line \d+: using a Value as an index.* static_argnames"):
            f(1.0)
    with pytest.raises((TypeError, IndexError)) as eager:
        use(w)
    assert "compiled" not in str(eager.value)
    assert not isinstance(eager.value, TraceError)


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda x: x, None),
        (lambda x: range(x), TraceError),
        (lambda x: x.data, TraceError),
        (lambda x: x / 0.0, ZeroDivisionError),
        (lambda x: {}[x], KeyError),
        (lambda x: sys.exit(), SystemExit),
    ],
    ids=["nothing", "an index", "data", "an op", "Python code", "the end"],
)
def test_messages_of_eager_code_are_python_s_after_a_trace(function, error):
    v = Value(1.0)
    with pytest.raises(error) if error else contextlib.nullcontext():
        micrograd.compile(function)(1.0)
    for use, message in (
        (lambda: [1.0][v], "list indices must be integers or slices, not Value"),
        (lambda: range(v), "'Value' object cannot be interpreted as an integer"),
        (lambda: float(v), "not 'Value'"),
        (lambda: Value(v), "Value.data must be a real number, not 'Value'"),
    ):
        with pytest.raises(TypeError, match=re.escape(message)):
            use()


def test_what_asks_for_an_index_and_goes_on_without_is_traced():
    powers = micrograd.compile(lambda x: list(np.array([2.0, 3.0]) ** x) + list(np.array([2, 3]) ** x))
    assert powers.map([2.0, 3.0]).tolist() == [[4.0, 9.0, 4.0, 9.0], [8.0, 27.0, 8.0, 27.0]]

    def index(x):
        try:
            return [1.0, 2.0][x]
        except TraceError:
            return x * 2

    assert micrograd.compile(index).map([1.0, 3.0]).tolist() == [2.0, 6.0]


def test_other_errors_stay_what_they_are():
    def f(x):
        np.array([2.0]) ** x
        return [x][3]

    with pytest.raises(IndexError, match="list index out of range"):
        micrograd.compile(f)(1.0)
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):  # a number, whose data may be read
        micrograd.compile(lambda x: x * [1.0, 2.0][Value(1.0)])(1.0)


def test_there_is_no_method_in_a_trace_either():
    seen = []
    f = micrograd.compile(
        lambda x: seen.append([hasattr(x, name) for name in ("__index__", "__float__", "__int__")]) or x
    )
    f(1.0)
    assert seen == [[False] * 3]


def test_other_threads_are_in_no_trace():
    errors = []

    def convert():
        for use in (range, float, lambda v: [1.0][v]):
            try:
                use(Value(1.0))
            except TypeError as error:
                errors.append(type(error))

    def f(x):
        thread = threading.Thread(target=convert)
        thread.start()
        thread.join()
        return x

    micrograd.compile(f)(1.0)
    assert errors == [TypeError] * 3


def test_a_trace_that_ends_leaves_those_of_other_threads_alone():
    inside, leave, errors = threading.Event(), threading.Event(), []

    def slow(x):
        inside.set()
        assert leave.wait(60)
        with contextlib.suppress(TypeError):
            float(x)
        for use in (range, lambda v: [1.0][v]):
            try:
                use(x)
            except RuntimeError as error:
                errors.append(type(error))
        return x

    def trace():
        with contextlib.suppress(TraceError):
            micrograd.compile(slow)(1.0)

    thread = threading.Thread(target=trace)
    thread.start()
    try:
        assert inside.wait(60)
        assert micrograd.compile(lambda x: x * 2.0)(1.0).data == 2.0
    finally:
        leave.set()
        thread.join()
    assert errors == [TraceError] * 2


def test_a_subclass_made_in_a_trace_is_as_others():
    made = []
    f = micrograd.compile(lambda x: made.append(type("Made", (Value,), {})) or x)
    f(1.0)
    v = made[0](1.0)
    for use in (range, float, lambda v: [1.0][v]):
        with pytest.raises(TypeError):
            use(v)
    with pytest.raises(TypeError, match="must be a real number, not 'Made'"):
        Value(v)
    assert (v * 2.0).data == 2.0


def test_methods_that_a_program_has_attached_stay():
    Value.__index__ = lambda self: 1
    try:
        f = micrograd.compile(lambda x: x * [1.0, 3.0][x])
        assert f(2.0).data == 6.0
        assert [1.0, 3.0][Value(7.0)] == 3.0
    finally:
        del Value.__index__
    with pytest.raises(TypeError, match="list indices must be integers"):
        [1.0][Value(1.0)]
    Value.__float__ = lambda self: 5.0
    try:
        assert micrograd.compile(lambda x: x * float(x))(2.0).data == 10.0
        assert float(Value(7.0)) == 5.0
    finally:
        del Value.__float__

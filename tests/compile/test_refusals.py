"""Code that would make a constant of data that may change raises TraceError, which must not be caught."""

from __future__ import annotations

import copy
import math
import operator
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import micrograd
from helpers import complaint
from micrograd import TraceError, Value, functional, nn, optim, utils

HERE = re.escape(Path(__file__).name)


def _assign(x):
    x.data = 1.0
    return x


def _assign_grad(x):
    x.grad = 1.0
    return x


READS = [
    ("reading .data", lambda x: Value(x.data)),
    ("reading .data", lambda x: x if (x * 2).tanh().data > 0 else -x),
    ("reading .data", lambda x: x if functional.sum([x, 2.0]).data > 0 else -x),
    ("reading .data", lambda x: x if functional.linear([x], [[Value(2.0)]], [1.0])[0].data > 0 else -x),
    ("reading .data", lambda x: x if nn.Layer(1, 2)([x])[0].data > 0 else -x),
    ("reading .data", lambda x: nn.Neuron(1).load_state_dict({"w.0": x.data})),
    ("assigning .data", _assign),
    ("reading .grad", lambda x: Value(x.grad)),
    ("assigning .grad", _assign_grad),
    ("the truth", lambda x: x if x else -x),
    ("the truth", lambda x: x if not x else -x),
    ("the truth", lambda x: any([x])),
    ("comparing", lambda x: x if x == 1.0 else -x),
    ("comparing", lambda x: x if x != 1.0 else -x),
    ("comparing", lambda x: x if x != x * 1 else -x),
    ("comparing", lambda x: x if x == Value(1.0) else -x),
    ("comparing", lambda x: x if Value(1.0) == x else -x),
    ("the truth of a comparison", lambda x: x if x < 1.0 else -x),
    ("the truth of a comparison", lambda x: x if x <= 1 else -x),
    ("the truth of a comparison", lambda x: x if x > Value(1.0) else -x),
    ("the truth of a comparison", lambda x: max(x, Value(1.0))),
    ("the truth of a comparison", lambda x: sorted([x, Value(2.0)])[0]),
    ("comparing", lambda x: x if x == np.float64(1.0) else -x),
    ("backward()", lambda x: (x * x).backward()),
    ("zero_grad()", lambda x: (x * x).zero_grad()),
    ("reading ._local_grads", lambda x: x * (x * x)._local_grads[0]),
    ("calling ._backward", lambda x: (x * x)._backward()),
    ("copying or pickling", lambda x: copy.copy(x)),
    ("copying or pickling", lambda x: copy.deepcopy([x])[0]),
    ("copying or pickling", lambda x: pickle.dumps(x)),
    ("an optimizer's step()", lambda x: optim.SGD([Value(1.0)]).step() or x),
    ("reading .grad", lambda x: utils.clip_grad_norm_(x, 1.0)),
    ("assigning .grad", lambda x: utils.clip_grad_value_([x], 1.0)),
]


def assert_refused(what, function, compiled, *args):
    with pytest.raises(TraceError) as raised:
        compiled(*args)
    assert any(f"{what}{of} a Value" in str(raised.value) for of in ("", " of", " at"))
    assert re.search(f"{HERE}, line", str(raised.value))
    first = function.__code__.co_firstlineno
    assert any(f"line {n}:" in str(raised.value) for n in (first, first + 1))
    assert "relu()" in str(raised.value)


@pytest.mark.parametrize(("what", "function"), READS, ids=range(len(READS)))
def test_data_of_arguments_must_not_be_read(what, function):
    assert_refused(what, function, micrograd.compile(lambda x: function(x)), 1.0)


def _outside(kind):
    """A Value whose data may differ at the next call."""
    w = Value(1.0)
    return {
        "a leaf": lambda: w,
        "a result": lambda: w * 3,
        "of a subclass": lambda: type("P", (Value,), {})(1.0),
        "of a neuron": lambda: nn.Neuron(1)([w]),
        "of a network": lambda: nn.MLP(1, [2, 1])([w]),
        "of a sum": lambda: functional.sum([w, w]),
        "of a user's op": lambda: Value(1.0, (w,), (2.0,)),
    }[kind]()


@pytest.mark.parametrize("kind", ["a leaf", "a result", "of a subclass", "of a neuron", "of a network", "of a sum"])
@pytest.mark.parametrize(("what", "function"), READS, ids=range(len(READS)))
def test_data_from_outside_must_not_be_read(what, function, kind):
    """The trace would keep a number read from a parameter, or a branch on it: later calls would be silently wrong."""
    w = _outside(kind)
    data = w.data
    assert_refused(what, function, micrograd.compile(lambda x: function(w) or x), 1.0)
    assert_refused(what, function, micrograd.compile(lambda x: function(w * 2 + Value(1.0)) or x), 1.0)
    assert (w.data, w.grad) == (data, 0.0)
    assert w == w  # no trace is left under way
    assert w


def test_a_branch_on_a_parameter_is_refused():
    w = Value(1.0)
    f = micrograd.compile(lambda x: x if (w * 3).data > 0 else -x)
    for _ in range(2):
        with pytest.raises(TraceError, match="comes from outside"):
            f(1.0)
        w.data = -5.0


class _Exp(nn.Neuron):
    activation = "exp"


_EXP = _Exp(1)
_EXP.w[0].data = 1.0


CAUGHT = [
    ("log", lambda w: w.log(), -1.0, 2.0),
    ("log of a result", lambda w: (w * 3 + 1).log(), -1.0, 2.0),
    ("sqrt", lambda w: w.sqrt(), -1.0, 2.0),
    ("exp", lambda w: w.exp(), 1000.0, 1.0),
    ("1 / w", lambda w: 1 / w, 0.0, 2.0),
    ("w / w", lambda w: w / w, 0.0, 2.0),
    ("w**-1", lambda w: w**-1, 0.0, 2.0),
    ("w**0.5", lambda w: w**0.5, -1.0, 2.0),
    ("2.0**w", lambda w: 2.0**w, 5000.0, 2.0),
    ("w**w", lambda w: w**w, -0.5, 2.0),
    ("an argument by w", lambda w, x=1.0: x / w, 0.0, 2.0),
    ("a neuron", lambda w: _EXP([w * 1000.0]), 1.0, 0.5),
    ("reading data", lambda w: Value(w.data), 1.0, None),
    ("truth", lambda w: w or w, 1.0, None),
]


@pytest.mark.parametrize(("function", "first", "then"), [case[1:] for case in CAUGHT], ids=[case[0] for case in CAUGHT])
def test_an_error_of_one_call_is_not_caught(function, first, then):
    """The trace would keep the except branch, also for calls that raise nothing: the op stays in it, and is computed at
    each call. What cannot stay in it is refused."""
    w = Value(first)

    def f(x):
        try:
            return function(w, x) if function.__defaults__ else function(w) * x
        except (ArithmeticError, ValueError, TraceError):
            return -x

    compiled = micrograd.compile(f)
    for _ in range(2):
        if then is None:
            with pytest.raises(TraceError, match=rf"{HERE}, line .* the trace would use the result of this call"):
                compiled(1.0)
        else:
            with pytest.raises((ArithmeticError, ValueError)) as raised:
                compiled(1.0)
            with pytest.raises(raised.type, match=re.escape(str(raised.value))):
                function(w)
    assert micrograd.compile(lambda x: x * w)(2.0).data == 2.0 * first  # nothing of the trace is left
    if then is not None:
        w.data = then
        assert compiled(1.0).data == f(Value(1.0)).data


@pytest.mark.parametrize("conversion", [float, int, math.exp, operator.index, range])
def test_after_a_trace_conversions_say_what_python_says(conversion):
    class Other:
        pass

    micrograd.compile(lambda x: x * 2.0)(1.0)
    with pytest.raises(TypeError, match=complaint(conversion, Other()).replace("Other", "Value")):
        conversion(Value(1.0))

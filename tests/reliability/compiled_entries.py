"""Entries of compiled functions; see entries.py."""

from __future__ import annotations

import copy
import pickle
import random
import sys

import numpy as np

import micrograd
from micrograd import Value, functional, nn
from micrograd.compiler import Compiled, TraceError
from reliability.error_entries import text_of_error

F = functional
X = np.linspace(-1.0, 1.0, 40).reshape(20, 2)
Y = np.linspace(0.0, 1.0, 20)
RAGGED = [[0.5], [1.0, 2.0], [3.0], [1.0, -2.0, 3.0]]


def add(x):
    """A function that pickles."""
    return F.sum([v * v for v in x])


class Box:
    """A method that is compiled."""

    def __init__(self):
        self.w = Value(2.0)

    @micrograd.compile
    def times(self, x):
        return self.w * x


def _calls(loss, model, **options):
    """Every kind of call of a function that is compiled anew."""
    f = micrograd.compile(loss, **options)
    one = f([0.5, -0.5], 1.0)
    one.backward()
    total = f.sum(X, Y)
    total.backward()
    model.zero_grad()
    return [one.data, total.data, f.mean(X, Y).data, *f.map(X, Y)[:3], f.value_and_grad(X, Y)[0], len(f.captured)]


def _known(f, model, threads=1):
    """A function that was traced before."""
    for p in model.parameters():
        p.grad = 0.0
    out = f([0.5, -0.5], 1.0)
    out.backward()
    f.mean(X, Y).backward()
    value, grads = f.value_and_grad(X, Y)
    return [out.data, value, *grads[:2], *[p.grad for p in model.parameters()], *f.map(X, Y)[:2]]


def _chosen(x):
    return F.where(x > 0.5, lambda: x.log(), F.where((x < 0.0) & (x > -2.0), -x, x * x))


def _indexed(i, x):
    table = [[Value(1.0), Value(2.0)], [Value(3.0), Value(4.0)]]
    row = F.embedding(i, table)
    return F.take([x, x * x], i) + row[0] * row[1]


def _slope_of_choices(x):
    y = x * x
    return micrograd.grad(F.where(x > 0.0, y, 1.0) + F.where(x > 1.0, y.exp(), F.where(x < 3.0, y, x)), x)


def _without_numpy(f, x):
    numpy = sys.modules["numpy"]
    sys.modules["numpy"] = None
    try:
        return f.sum(x)
    finally:
        sys.modules["numpy"] = numpy


def _index(x):
    try:
        return [1.0][x]
    except TraceError:  # NumPy goes on after it, too
        return [2.0][x]


def of_compile():
    random.seed(2)
    model = nn.MLP(2, [3, 1])
    w = Value(0.5)

    def loss(x, y):
        return (model(x) - y) ** 2 + (x[0] * w).exp()

    def powers(x, heads=2):
        return x**heads

    yield "compile", lambda: _calls(loss, model)
    yield "compile exact", lambda: _calls(loss, model, exact=True)
    yield "compile threads", lambda: _calls(loss, model, threads=2)
    for options in ({}, {"exact": True}, {"threads": 2}):
        f = micrograd.compile(loss, **options)
        f.mean(X, Y)
        yield f"compiled {options}", lambda f=f: _known(f, model)
        sums = micrograd.compile(add, **options)
        sums.sum(X)
        yield f"compiled {options} pickle", lambda f=sums: [pickle.loads(pickle.dumps(f)).sum(X).data]
    known = micrograd.compile(add)
    known.map(X)
    yield "compiled copy", lambda: [copy.copy(known).sum(X).data, copy.deepcopy(known).sum(X).data, len(repr(known))]
    yield "compiled program", lambda: [len(known.program), known.retraces, isinstance(known, Compiled)]
    yield "compile ragged", lambda: micrograd.compile(add).map(RAGGED)
    ragged = micrograd.compile(add)
    ragged.map(RAGGED)
    yield "compiled ragged", lambda: [ragged.mean(RAGGED).data, ragged.value_and_grad(RAGGED)[0], *ragged.map(RAGGED)]
    yield "compile static", lambda: [micrograd.compile(powers, static_argnames="heads").sum([1.0, 2.0], heads=3).data]
    yield "compile where", lambda: micrograd.compile(_chosen).map([0.7, 0.2, -1.0, -3.0])
    yield "compile indexes", lambda: micrograd.compile(_indexed).map([0, 1], [0.5, 2.0])
    yield "compile grad of choices", lambda: [micrograd.compile(_slope_of_choices).sum([0.5, 2.0, -1.0]).data]
    net = nn.MLP(2, [3, 3, 1])
    yield "compile grad of a network", lambda: [micrograd.compile(_slope(net)).sum(X, Y).data]
    yield "compile grad of a sum", lambda: [micrograd.compile(_slope_of_sum).sum([0.5, 2.0]).data]
    yield "compile no_grad inside", lambda: [micrograd.compile(_frozen(net)).sum(X).data]
    wide, many = nn.MLP(20, [60, 60, 1]), np.ones((600, 20))
    shared = micrograd.compile(wide, threads=2)
    yield "compiled, threads that are started", lambda: [shared.sum(many).data]
    yield (
        "compile grad",
        lambda: [
            micrograd.compile(lambda x: micrograd.grad((x * x).tanh(), x, create_graph=True)).sum([0.5, 1.0]).data
        ],
    )
    yield "compile several outputs", lambda: micrograd.compile(lambda x: [x * w, x.exp()]).map([0.5, 1.0])
    yield "compile method", lambda: [Box().times(2.0).data, Box().times.sum([1.0, 2.0]).data]
    yield "compiled no_grad", lambda: _in_no_grad(known)
    yield "compile Values", lambda: _of_values(known)
    yield from _error_entries(w, known)


def _slope(net):
    return lambda x, y: F.sum([d * d for d in micrograd.grad(net(x), x)]) * y


def _slope_of_sum(x):
    return micrograd.grad(F.sum([Value(v) * (Value(v + 1.0) * x).tanh() for v in (0.5, 0.6, 0.7, 0.8, 0.9)]), x)


def _frozen(net):
    @micrograd.no_grad()
    def outputs(x):
        return net.layers[0](x)

    return lambda x: F.sum(outputs(x)) * x[0]


def _in_no_grad(f):
    with micrograd.no_grad():
        return [f([1.0, 2.0]).data, f.sum(X).data]


def _of_values(f):
    x = [Value(1.0), Value(2.0)]
    f(x).backward()
    return [v.grad for v in x]


def _error_entries(w, known):
    overflows = micrograd.compile(lambda x: (x * 1e6).exp())
    roots = micrograd.compile(lambda x: (x * w) ** 0.5)
    cases = {
        "in a trace": (TraceError, lambda: micrograd.compile(lambda x: x if x.data else -x)(1.0)),
        "truth in a trace": (TraceError, lambda: micrograd.compile(lambda x: x if x > 0 else -x)(1.0)),
        "of the function": (LookupError, lambda: micrograd.compile(_raising)(1.0)),
        "no Value": (TypeError, lambda: micrograd.compile(lambda x: "abc")(1.0)),
        "of a sample": (OverflowError, lambda: overflows.map([0.0, 1.0])),
        "in backward": (ZeroDivisionError, lambda: roots.value_and_grad([1.0, 0.0])),
        "ragged": (TypeError, lambda: known.map([[1.0], ["a"]])),
        "lengths": (ValueError, lambda: micrograd.compile(lambda x, y: x * y).map([1.0, 2.0], [1.0])),
        "an index": (IndexError, lambda: micrograd.compile(_indexed).map([0, 5], [0.5, 2.0])),
        "an index in a trace": (TraceError, lambda: micrograd.compile(_index)(1.0)),
        "lists without NumPy": (TypeError, lambda: _without_numpy(known, [[1.0, 2.0], [3.0, "a"]])),
        "of its options": (ValueError, lambda: micrograd.compile(add, threads=-1)),
        "a wrong pickle": (ValueError, lambda: micrograd.compile(add).__setstate__({"a": 1})),
    }
    for name, (kind, function) in cases.items():  # where memory is out, NumPy makes another array of [[1.0], ["a"]]
        yield f"error: compile, {name}", lambda kind=kind, function=function: [text_of_error(kind, function) > ""]


def _raising(x):
    raise LookupError("of the user's")

"""Entries that raise; see entries.py. Each catches the error that it expects, and no MemoryError in its place."""

from __future__ import annotations

import operator
import sys

import micrograd
from micrograd import Value, functional, interop, nn, nn_tanh, optim, utils
from micrograd.optim import lr_scheduler

F = functional


def text_of_error(kind, function):
    try:
        function()
    except kind as error:
        text = str(error)
        if not text and sys.version_info < (3, 11):
            raise MemoryError("where PyErr_Format() cannot make a message, it sets an error without one") from error
        return text
    raise AssertionError(f"{function} raises no {kind.__name__}")


def _raising(x):
    out = Value(1.0, (x,), "op")

    def step():
        raise LookupError("of the user's")

    out._backward = step
    return out * 2.0


class _Refusing(type(Value)):
    _backward = property(operator.itemgetter("no class has items"))


class _Refused(Value, metaclass=_Refusing):
    pass


def of_errors():
    x = Value(0.6)
    model, layer, roots = nn.MLP(2, [2, 1]), nn.Layer(2, 2), nn.Layer(1, 2, activation="sqrt")
    roots.neurons[0].w[0].data, roots.neurons[1].w[0].data = 1.0, -1.0
    deep = nn_tanh.MLP(1, [2, 1], activation="sqrt")
    for p in deep.parameters():
        p.data = 1.0
    deep.layers[1].neurons[0].b.data = -9.0
    zero = Value(0.0)
    cases = {
        "Value('abc')": (TypeError, lambda: Value("abc")),
        "Value(None)": (TypeError, lambda: Value(None)),
        "Value(10**400)": (OverflowError, lambda: Value(10**400)),
        "Value(lengths)": (ValueError, lambda: Value(1.0, (x, x), (1.0,))),
        "Value(children)": (TypeError, lambda: Value(1.0, (x, "a"), "op")),
        "data = 'abc'": (TypeError, lambda: setattr(x, "data", "abc")),
        "no attribute": (AttributeError, lambda: x.absent),
        "Value * str": (TypeError, lambda: x * "a"),
        "str - Value": (TypeError, lambda: "a" - x),
        "log of -1": (ValueError, lambda: Value(-1.0).log()),
        "exp of 1000": (OverflowError, lambda: Value(1000.0).exp()),
        "division by 0": (ZeroDivisionError, lambda: x / zero),
        "power": (OverflowError, lambda: Value(1e200) ** 2),
        "root of -8": (ValueError, lambda: Value(-8.0) ** 0.5),
        "backward of 0**0.5": (ZeroDivisionError, lambda: (zero**0.5).backward()),
        "backward of sqrt of 0": (ZeroDivisionError, lambda: zero.sqrt().backward()),
        "a user's _backward": (LookupError, lambda: _raising(x).backward()),
        "grad unused": (RuntimeError, lambda: micrograd.grad(x * x, [Value(1.0)])),
        "inputs of a network": (ValueError, lambda: model([1.0])),
        "inputs of a layer": (TypeError, lambda: layer([1.0, "a"])),
        "an activation of a layer": (ValueError, lambda: roots([1.0])),
        "an activation of a layer, in no_grad": (ValueError, lambda: micrograd.no_grad(roots)([1.0])),
        "an activation of a network": (ValueError, lambda: deep([1.0])),
        "a metaclass": (TypeError, lambda: _Refused(1.0)),
        "load_state_dict": (RuntimeError, lambda: model.load_state_dict({"absent": 1.0})),
        "lengths of lists": (ValueError, lambda: F.mse_loss([x], [x, x])),
        "an index": (IndexError, lambda: F.take([x], 5)),
        "a label": (IndexError, lambda: F.cross_entropy([x, x], 7)),
        "an optimizer's options": (ValueError, lambda: optim.SGD([x], lr=-1.0)),
        "an optimizer's params": (TypeError, lambda: optim.Adam(["a"])),
        "a scheduler's": (TypeError, lambda: lr_scheduler.StepLR(None, 2)),
        "an anomaly": (RuntimeError, lambda: _anomalous()),
        "a wrong pickle": (TypeError, lambda: Value.__setstate__(Value(1.0), "abc")),
        "an absent file": (OSError, lambda: interop.load_safetensors("/nowhere/at.all")),
    }
    for name, (kind, function) in cases.items():
        yield f"error: {name}", lambda kind=kind, function=function: [len(text_of_error(kind, function))]


def _anomalous():
    with utils.detect_anomaly():
        return Value(1e308) * 10.0

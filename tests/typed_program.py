"""A program for the type checkers: each operator with a Value on either side of Values, ints, floats and NumPy scalars,
and the rest of what is public. `make lint` checks it with mypy, allowing no Any, and pyright; test_types.py runs it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np

import micrograd
from micrograd import MLP, Layer, Neuron, Value, engine, mlp, nn, viz
from micrograd import functional as F
from micrograd.optim import SGD, Adam, AdamW, Optimizer
from micrograd.utils import clip_grad_norm_, clip_grad_value_


def values(*xs: Value) -> None:
    assert {type(x) for x in xs} == {Value}


def floats(*xs: float) -> None:
    assert {type(x) for x in xs} == {float}


def operators() -> None:
    v, i, f = Value(2.0), 3, 0.5
    f64, f32, i64 = np.float64(0.5), np.float32(0.5), np.int64(3)
    values(v + v, v - v, v * v, v / v, v**v)
    values(v + i, v - i, v * i, v / i, v**i)
    values(v + f, v - f, v * f, v / f, v**f)
    values(v + f64, v - f64, v * f64, v / f64, v**f64)
    values(v + f32, v - f32, v * f32, v / f32, v**f32)
    values(v + i64, v - i64, v * i64, v / i64, v**i64)
    values(i + v, i - v, i * v, i / v, i**v)
    values(f + v, f - v, f * v, f / v, f**v)
    values(f64 + v, f64 - v, f64 * v, f64 / v, f64**v)
    values(f32 + v, f32 - v, f32 * v, f32 / v, f32**v)
    values(i64 + v, i64 - v, i64 * v, i64 / v, i64**v)
    values(-v, abs(v), v + True, v * Fraction(1, 3), sum([v, v], Value(0)))
    v += v
    v -= i
    v *= f
    v /= f64
    v **= i64
    values(v)


def methods() -> None:
    v = Value(0.5, label="v")
    values(v.relu(), v.tanh(), v.exp(), v.log(), v.sigmoid(), v.sqrt(), v.sin(), v.cos(), v.abs(), v.softplus())
    v.data = 1
    v.grad = np.float64(0.0)
    v.backward()
    v.zero_grad()
    floats(v.data, v.grad)
    y = Value(1, (v,), "op", label="y")
    step: Callable[[], object] = y._backward
    y._backward = step
    z = engine.Value(1, children=(v, y), local_grads=[1, 2.0])
    parents: set[Value] = z._prev
    children: tuple[Value, ...] = z._children
    floats(*z._local_grads)
    texts: tuple[str, str] = (z._op, z.label)
    assert parents == set(children)
    assert texts == ("", "")


def networks() -> None:
    random.seed(0)
    x: list[Value | float] = [Value(1.0), 2, 0.5]
    values(Neuron(3)(x), nn.Neuron(3, nonlin=False)([1, 2.0, Value(3)]))
    for module in (Neuron(3), Layer(3, 2), MLP(3, [4, 1]), nn.Layer(3, 2, nonlin=False), mlp.MLP(2, (1,))):
        parameters: list[Value] = module.parameters()
        named: Iterator[tuple[str, Value]] = module.named_parameters()
        state: dict[str, float] = module.state_dict()
        missing: list[str] = module.load_state_dict(state, strict=False).missing_keys
        assert len(list(named)) == len(parameters)
        assert not missing
        module.zero_grad()
        kind: nn.Module = module
        assert repr(kind)


def functions() -> None:
    v = Value(2.0)
    x: list[Value | float] = [Value(1.0), 2.0, 3]
    values(F.dot(x, x), F.dot(x, [1, 2, 3], bias=v), F.sum(x), F.mean(x), F.logsumexp(x))
    values(*F.linear(x, [x, x]), *F.relu(x), *F.tanh(x), *F.softmax(x), *F.log_softmax(x))
    values(*F.rms_norm(x), *F.rms_norm(x, [1, v, 2.0], eps=1e-5), *F.layer_norm(x, x, [1, 2, 3], 1e-6))
    values(*F.scaled_dot_product_attention(x, [x, [1, 2, 3]], [[v], [4]], scale=0.5))
    values(*F.embedding(1, [x, x]), F.take(x, np.int64(1)))
    values(F.cross_entropy(x, 1), F.mse_loss(x, [1, 2, 4]), F.hinge_loss(x, [1, -1, 1]))


def optimizers() -> None:
    parameters = [Value(1.0), Value(2.0)]
    optimizers: list[Optimizer] = [
        SGD(parameters, lr=0.1, momentum=0.9, nesterov=True),
        Adam(parameters, betas=(0.9, 0.99), amsgrad=True),
        AdamW([{"params": parameters, "lr": 0.1}], weight_decay=0.1),
    ]
    for optimizer in optimizers:
        optimizer.zero_grad()
        F.sum(p * p for p in parameters).backward()
        floats(clip_grad_norm_(parameters, 1.0))
        clip_grad_value_(parameters[0], 0.5)
        optimizer.step()
        loss: float = optimizer.step(lambda: 1.5)
        optimizer.load_state_dict(optimizer.state_dict())  # type: ignore[misc]  # a dict of anything, as in PyTorch
        floats(loss)


def graphs() -> None:
    v = Value(2.0)
    nodes, edges = viz.trace(v * v)
    values(*nodes)
    ends: set[tuple[Value, Value]] = edges
    assert ends
    assert micrograd.nn.MLP is nn.MLP


def version() -> str:
    return micrograd.__version__

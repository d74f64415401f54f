"""Gradients in compiled functions go through choices: what is not chosen is not differentiated either."""

from __future__ import annotations

import math
import random

import pytest

import micrograd
from helpers import agrees
from micrograd import Value
from micrograd import functional as F

W = [Value(-1.0), Value(0.5), Value(2.0)]
POINTS = [-3.0, -1.0, -0.25, 0.5, 1.5, 2.0, 3.0]
FUNCTIONS = {
    "sqrt": lambda x: F.where(x > 0, lambda: (x * W[2]).sqrt(), lambda: x * x * W[2]),
    "log": lambda x: F.where(x > 1, lambda: x.log() * W[0], lambda: (2 - x).log() / W[1]),
    "nested": lambda x: F.where(
        x > 0,
        lambda: F.where(x.log() > 0, lambda: x.log() ** 1.5, lambda: (-x.log()) ** 1.5),
        lambda: 1 / (x - 1),
    ),
    "two choices": lambda x: F.where(x > 0, lambda: x.log() * x, 0.0) + F.where(x < -0.5, 1.0, lambda: x**3),
    "used by both sides": lambda x: (lambda y: F.where(x > 0, lambda: y.exp() * W[1], lambda: y.sin() / W[2]) * y)(
        (x * W[1]).tanh()
    ),
    "greater": lambda x: F.maximum(x * W[1], x * x) * F.minimum(x, W[2]) + x.clamp(-2, 2) ** 3,
    "a layer": lambda x: F.where(
        x > 0, lambda: F.sum([y.tanh() for y in F.linear([x.sqrt(), x], [[W[0], W[1]], [W[2], 0.5]])]), x
    ),
}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_through_choices(name, order, exact):
    def derivative(x):
        y = FUNCTIONS[name](x)
        for _ in range(order):
            y = micrograd.grad(y, x, create_graph=True, allow_unused=True)
            y = y if isinstance(y, Value) else Value(y or 0.0)
        return y + 0.0 * x

    def run(f, v):
        for w in W:
            w.grad = 0.0
        x = Value(v)
        y = f(x)
        y.backward()
        return [y.data, x.grad, *(w.grad for w in W)]

    compiled = micrograd.compile(derivative, exact=exact)
    for v in POINTS:
        for a, b in zip(run(compiled, v), run(derivative, v)):
            assert agrees(a, b, exact=False) or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9), (v, a, b)
    assert compiled.map(POINTS).tolist() == [compiled(v).data for v in POINTS]


def test_random_choices_are_differentiated():
    """Chains of nested choices, of which each side is defined where it is taken alone."""
    for seed in range(40):

        def function(x, seed=seed):
            draw = random.Random(seed)
            y = x * W[1]
            for _ in range(4):
                bound, z = draw.uniform(-1, 1), y
                a = draw.choice([lambda z=z, b=bound: (z - b).sqrt() * W[2], lambda z=z, b=bound: (z - b).log() - z])
                b = draw.choice([lambda z=z, b=bound: (b + 1 - z).sqrt(), lambda z=z, b=bound: z / (z - b - 1)])
                y = F.where(z > bound, a, b) * 0.5
            return y

        def slope(x, function=function):
            return micrograd.grad(function(x), x, create_graph=True)

        compiled = micrograd.compile(slope)
        for v in (-1.5, -0.3, 0.7, 2.5):
            assert math.isclose(compiled(v).data, slope(Value(v)).data, rel_tol=1e-9, abs_tol=1e-9), (seed, v)

"""The README's loop unchanged: MLP(3, [4, 4, 1]) in tanh, four samples, squared errors, `p.data -= 0.1 * p.grad`.

"The loop's own Python" is the same loop with a model and a loss that compute nothing, and 41 parameters that only store
numbers.
"""

from __future__ import annotations

import random

import numpy as np

from benchmarks import contestants
from benchmarks.harness import Contestant, Result, compare, entry
from benchmarks.networks import Problem, array_entries

NAME = "readme_loop"
SAMPLES = [[-2, 3, -1], [3, -1, 0.5], [0.5, 1, 1], [1, 1, -1]]
TARGETS = [1, -1, -1, 1]


def problem() -> Problem:
    random.seed(1337)
    weights = [p.data for p in contestants.ours().tanh.MLP(3, [4, 4, 1]).parameters()]
    X, y = np.array(SAMPLES, dtype=float), np.array(TARGETS, dtype=float)
    return Problem([3, 4, 4, 1], weights, X, y, hinge=False, rate=lambda step: 0.1)


def model_of(engine):
    """The network in the given engine, with the same parameters in each."""
    random.seed(1337)
    model = engine.tanh.MLP(3, [4, 4, 1])
    for p, data in zip(model.parameters(), problem().weights):
        p.data = data
    return model


def loop(model):
    """The README's loop over any `model`."""

    def step():
        predictions = [model(sample) for sample in SAMPLES]
        loss = sum((p - t) ** 2 for p, t in zip(predictions, TARGETS))
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= 0.1 * p.grad
        return loss

    return step


class Idle:
    """A Value that computes nothing: each operator returns its left operand."""

    __slots__ = ("data", "grad")

    def __init__(self):
        self.data = self.grad = 0.0

    def itself(self, other=None):
        return self

    __add__ = __radd__ = __sub__ = __pow__ = backward = itself


class IdleModel:
    """A network of 41 parameters that computes nothing."""

    def __init__(self):
        self.values = [Idle() for _ in range(41)]
        self.out = Idle()

    def __call__(self, x):
        return self.out

    def parameters(self):
        return self.values

    def zero_grad(self):
        for p in self.values:
            p.grad = 0.0


def measure(rounds: int, quick: bool) -> Result:
    ours, reference = contestants.ours(), contestants.reference()
    entries = [
        entry("ours", ours, lambda: loop(model_of(ours))),
        entry("reference", reference, lambda: loop(model_of(reference))),
        entry("reference, collector off", reference, lambda: loop(model_of(reference)), collector=False),
        *array_entries(problem(), entry),
        ("the loop's own Python", Contestant("the loop's own Python", loop(IdleModel()), check=list)),
    ]
    return compare(NAME, "README loop, unchanged", entries, rounds)

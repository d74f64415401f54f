"""Two moons as in karpathy's notebook, unchanged: MLP(2, [16, 16, 1]) in ReLU, 100 points, hinge loss + L2, SGD.

FLOOR is the time of the notebook's own Python and NumPy: the same cell with a network and Values that compute nothing.
"""

from __future__ import annotations

import itertools
import random
from types import SimpleNamespace

import numpy as np

from benchmarks import contestants
from benchmarks.cases.readme_loop import Idle, IdleModel
from benchmarks.harness import Contestant, Result, compare, entry
from benchmarks.networks import Problem, array_entries

NAME = "moons"
FLOOR = "the notebook's own Python and NumPy"


def points() -> tuple[np.ndarray, np.ndarray]:
    """Points like those of scikit-learn's make_moons(100, noise=0.1), and labels of -1 and 1."""
    rng, t = np.random.default_rng(1337), np.linspace(0, np.pi, 50)
    outer, inner = np.column_stack([np.cos(t), np.sin(t)]), np.column_stack([1 - np.cos(t), 0.5 - np.sin(t)])
    return np.vstack([outer, inner]) + rng.normal(0, 0.1, (100, 2)), np.repeat([-1, 1], 50)


def rate(step: int) -> float:
    return 1.0 - 0.9 * min(step, 100) / 100


def weights() -> list[float]:
    random.seed(1337)
    return [p.data for p in contestants.ours().nn.MLP(2, [16, 16, 1]).parameters()]


def notebook(engine):
    """The notebook's cell, unchanged."""
    Value = engine.Value
    X, y = points()
    random.seed(1337)
    model = engine.nn.MLP(2, [16, 16, 1])
    steps = itertools.count()

    def loss():
        inputs = [list(map(Value, xrow)) for xrow in X]
        scores = list(map(model, inputs))
        losses = [(1 + -yi * scorei).relu() for yi, scorei in zip(y, scores)]
        data_loss = sum(losses) * (1.0 / len(losses))
        alpha = 1e-4
        reg_loss = alpha * sum(p * p for p in model.parameters())
        total_loss = data_loss + reg_loss
        accuracy = [(yi > 0) == (scorei.data > 0) for yi, scorei in zip(y, scores)]
        return total_loss, sum(accuracy) / len(accuracy)

    def step():
        total_loss, _ = loss()
        model.zero_grad()
        total_loss.backward()
        learning_rate = rate(next(steps))
        for p in model.parameters():
            p.data -= learning_rate * p.grad
        return total_loss

    return step


class IdleValue(Idle):
    """An Idle with the operators of this cell."""

    __slots__ = ()
    __array_priority__ = 1.0  # so that `number * value` of a NumPy number calls __rmul__

    def __init__(self, data=0.0):
        self.data = self.grad = 0.0

    __mul__ = __rmul__ = relu = Idle.itself


class IdleNetwork(IdleModel):
    """A network of 337 parameters that computes nothing."""

    def __init__(self, nin, nouts):
        self.values = [IdleValue() for _ in range(337)]
        self.out = IdleValue()


def measure(rounds: int, quick: bool) -> Result:
    ours, reference = contestants.ours(), contestants.reference()
    X, y = points()
    problem = Problem([2, 16, 16, 1], weights(), X, y.astype(float), hinge=True, rate=rate)
    entries = [
        entry("ours", ours, lambda: notebook(ours)),
        entry("reference", reference, lambda: notebook(reference)),
        entry("reference, collector off", reference, lambda: notebook(reference), collector=False),
        *array_entries(problem, entry),
        (
            FLOOR,
            Contestant(FLOOR, notebook(SimpleNamespace(Value=IdleValue, nn=SimpleNamespace(MLP=IdleNetwork))), list),
        ),
    ]
    return compare(NAME, "two moons, the notebook unchanged", entries, rounds)

"""Two moons through `micrograd.compile`: one sample's loss in scalar code, the full batch in one call, and SGD."""

from __future__ import annotations

import itertools
import random

from benchmarks import contestants
from benchmarks.cases.moons import notebook, points, rate, weights
from benchmarks.harness import Result, compare, entry
from benchmarks.networks import Problem, array_entries, c_of_known_sizes

NAME = "moons_compiled"


def compiled(engine, micrograd):
    """The notebook's training step. The penalty is part of the sample's loss, and is computed once per call."""
    X, y = points()
    y = y.astype(float)
    random.seed(1337)
    model = engine.nn.MLP(2, [16, 16, 1])
    optimizer = micrograd.optim.SGD(model.parameters(), lr=1.0)
    steps = itertools.count()

    @micrograd.compile
    def loss(x, y):
        return (1 - y * model(x)).relu() + 1e-4 * sum(p * p for p in model.parameters())

    def step():
        total = loss.mean(X, y)
        optimizer.zero_grad()
        total.backward()
        optimizer.param_groups[0]["lr"] = rate(next(steps))
        optimizer.step()
        return total

    return step


def measure(rounds: int, quick: bool) -> Result:
    ours, c = contestants.ours(), contestants.c_library()
    micrograd = contestants.ours_module("compiler") and contestants.ours_package()
    X, y = points()
    problem = Problem([2, 16, 16, 1], weights(), X, y.astype(float), hinge=True, rate=rate)
    entries = [
        entry("ours", micrograd, lambda: compiled(ours, micrograd)),
        entry("ours, the notebook unchanged", ours, lambda: notebook(ours)),
        *array_entries(problem, entry),
        entry("C by hand, sizes known", c, lambda: c_of_known_sizes(problem)),
    ]
    return compare(NAME, "two moons, compiled", entries, rounds)

"""How much longer the first call of a compiled function takes than the second: it traces, and builds the program."""

from __future__ import annotations

import random

import numpy as np

from benchmarks import contestants
from benchmarks.harness import Result, Row, clock, row

NAME = "tracing"


def first_call(micrograd, sizes: list[int]) -> float:
    """Milliseconds that the first call takes longer than the second."""
    random.seed(1337)
    model = micrograd.nn.MLP(sizes[0], sizes[1:])
    X, y = np.ones((8, sizes[0])), np.ones(8)
    f = micrograd.compile(lambda x, y: (1 - y * model(x)).relu())
    start = clock()
    f.mean(X, y)
    middle = clock()
    f.mean(X, y)
    return 1e3 * ((middle - start) - (clock() - middle))


def measure(rounds: int, quick: bool) -> Result:
    micrograd = contestants.ours_module("compiler") and contestants.ours_package()
    networks = {"moons: trace and build": [2, 16, 16, 1], "64, 64, 64, 1: trace and build": [64, 64, 64, 1]}
    rows = [
        row(name, [first_call(micrograd, sizes) for _ in range(rounds)]) if micrograd else Row(name, None)
        for name, sizes in networks.items()
    ]
    return Result(NAME, "first call of a compiled function", rows, unit="ms")

"""The moons' network over 100,000 rows on two threads. The clock is the wall's, for once, since that is what threads
are for; on a machine that is busy with other things the second thread has no processor to run on."""

from __future__ import annotations

import random
import time

import numpy as np

from benchmarks import contestants
from benchmarks.harness import Result, Row, row

NAME = "threads"


def measure(rounds: int, quick: bool) -> Result:
    micrograd = contestants.ours_module("compiler") and contestants.ours_package()
    if not micrograd:
        return Result(NAME, "100,000 rows on two threads", [Row("one thread", None)])
    random.seed(1337)
    model = micrograd.nn.MLP(2, [16, 16, 1])
    draw = np.random.default_rng(0)
    rows = 10_000 if quick else 100_000
    X, y = draw.normal(size=(rows, 2)), np.sign(draw.normal(size=rows))

    def loss(x, y):
        return (1 - y * model(x)).relu()

    one, two = micrograd.compile(loss), micrograd.compile(loss, threads=2)
    assert one.value_and_grad(X, y)[1].tolist() == two.value_and_grad(X, y)[1].tolist()
    ratios = []
    for _ in range(5 * rounds):
        start = time.perf_counter()
        one.mean(X, y)
        middle = time.perf_counter()
        two.mean(X, y)
        ratios.append((middle - start) / (time.perf_counter() - middle))
    return Result(NAME, "100,000 rows on two threads", [Row("ours", 1.0, 1.0, 1.0), row("one thread", ratios)])

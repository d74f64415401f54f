"""The moons' network over 100,000 samples on two threads.

Timed by the wall clock, since threads do not save processor time. On a busy machine the second thread may have no
processor to run on, so the table also has an upper bound: how much more work two processes do than one.
"""

from __future__ import annotations

import multiprocessing
import random
import time

import numpy as np

from benchmarks import contestants
from benchmarks.harness import Result, Row, row

NAME = "threads"
TITLE = "100,000 samples on two threads"
BOUND = "two processes (upper bound)"


def seconds(step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def repeat(step, running) -> None:
    while True:
        step()
        running.set()


def two_processes(step) -> float:
    """How many times as fast two processes do the work of two steps as one process does."""
    context = multiprocessing.get_context("fork")
    running = context.Event()
    alone = seconds(step)
    other = context.Process(target=repeat, args=(step, running), daemon=True)
    other.start()
    running.wait()
    together = seconds(step)
    other.terminate()
    other.join()
    return 2.0 * alone / together


def measure(rounds: int, quick: bool) -> Result:
    micrograd = contestants.ours_module("compiler") and contestants.ours_package()
    if not micrograd:
        return Result(NAME, TITLE, [Row("one thread", None)])
    random.seed(1337)
    model = micrograd.nn.MLP(2, [16, 16, 1])
    draw = np.random.default_rng(0)
    samples = 10_000 if quick else 100_000
    X, y = draw.normal(size=(samples, 2)), np.sign(draw.normal(size=samples))

    def loss(x, y):
        return (1 - y * model(x)).relu()

    one, two = micrograd.compile(loss), micrograd.compile(loss, threads=2)
    assert one.value_and_grad(X, y)[1].tolist() == two.value_and_grad(X, y)[1].tolist()
    ratios, bounds = [], []
    for _ in range(5 * rounds):
        ratios.append(seconds(lambda: one.mean(X, y)) / seconds(lambda: two.mean(X, y)))
        bounds.append(two_processes(lambda: one.mean(X, y)))
    rows = [Row("ours", 1.0, 1.0, 1.0), row("one thread", ratios), row(BOUND, bounds)]
    return Result(NAME, TITLE, rows)

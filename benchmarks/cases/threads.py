"""The moons' network over 100,000 samples on two threads, and over 1,000,000 on sixteen if there are as many
processors.

Timed by the wall clock, since threads do not save processor time. On a busy machine the second thread may have no
processor to run on, so the table also has an upper bound: how much more work two processes do than one.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time

import numpy as np

from benchmarks import contestants
from benchmarks.harness import Result, Row, row

NAME = "threads"
TITLE = "100,000 samples on two threads"
MANY = "one thread, over 16 threads"  # over 1,000,000 samples
BOUND = "two processes (upper bound)"


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
        return Result(NAME, TITLE, [Row("one thread", None), Row(MANY, None)])
    random.seed(1337)
    model = micrograd.nn.MLP(2, [16, 16, 1])

    def loss(x, y):
        return (1 - y * model(x)).relu()

    def data(samples: int):
        draw = np.random.default_rng(0)
        return draw.normal(size=(samples, 2)), np.sign(draw.normal(size=samples))

    X, y = data(10_000 if quick else 100_000)
    one, two = micrograd.compile(loss), micrograd.compile(loss, threads=2)
    assert one.value_and_grad(X, y)[1].tolist() == two.value_and_grad(X, y)[1].tolist()
    ratios, bounds = [], []
    for _ in range(5 * rounds):
        ratios.append(seconds(lambda: one.mean(X, y)) / seconds(lambda: two.mean(X, y)))
        bounds.append(two_processes(lambda: one.mean(X, y)))
    rows = [Row("ours", 1.0, 1.0, 1.0), row("one thread", ratios), row(BOUND, bounds)]

    if processors() < 16:
        note = f"16 threads: not measured, since this machine has {processors()} processors"
        return Result(NAME, TITLE, [*rows, Row(MANY, None)], notes=[note])
    X, y = data(10_000 if quick else 1_000_000)
    many = micrograd.compile(loss, threads=16)
    assert one.value_and_grad(X, y)[1].tolist() == many.value_and_grad(X, y)[1].tolist()
    ratios = [seconds(lambda: one.mean(X, y)) / seconds(lambda: many.mean(X, y)) for _ in range(5 * rounds)]
    return Result(NAME, TITLE, [*rows, row(MANY, ratios)])

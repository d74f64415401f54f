"""backward() alone, from 10^3 to 10^7 nodes: the same chain of `x * a + b` in this engine and on XAD's tape.

With a = 1 every gradient is 1, so that none is denormal however long the chain is. Grads are cleared before each pass
and this is not timed: the figure is that of a first pass over a graph. Short passes, which are hardly ever interrupted,
are timed by the wall clock, which takes less time to read.
"""

from __future__ import annotations

import itertools
import statistics
import time

from benchmarks import contestants
from benchmarks.harness import Result, Row, clock, row

NAME = "backward"
STEP = 1e-9
SHORT = 10**5


def clock_for(nodes: int):
    return time.perf_counter if nodes < SHORT else clock


def ours_pass(nodes: int):
    """A function that times one pass, and one that returns a gradient, to check the pass."""
    Value = contestants.ours().Value
    a, b = Value(1.0), Value(STEP)
    root, now = Value(0.5), clock_for(nodes)
    for _ in range(nodes // 2):
        root = root * a + b

    def once():
        root.zero_grad()
        backward = root.backward
        start = now()
        backward()
        return now() - start

    return once, lambda: b.grad


def xad_pass(nodes: int):
    xad = contestants.xad()
    tape = xad.Tape()
    tape.activate()
    a, b, root = xad.Real(1.0), xad.Real(STEP), xad.Real(0.5)
    tape.registerInputs([a, b, root])
    tape.newRecording()
    for _ in range(nodes // 2):
        root = root * a + b
    tape.registerOutput(root)
    now = clock_for(nodes)
    tape.deactivate()

    def once():
        tape.activate()
        tape.clearDerivatives()
        root.derivative = 1.0
        compute = tape.computeAdjoints
        start = now()
        compute()
        seconds = now() - start
        tape.deactivate()
        return seconds

    def gradient():
        tape.activate()
        found = b.derivative
        tape.deactivate()
        return found

    return once, gradient


def measure(rounds: int, quick: bool) -> Result:
    sizes = [10**k for k in range(3, 6 if quick else 8)]
    makers = {"ours": ours_pass} | ({"XAD": xad_pass} if contestants.xad() else {})
    passes = {(name, n): make(n) for n in sizes for name, make in makers.items()}
    # A turn repeats short passes; its figure is their median.
    times = {key: [] for key in passes}
    for _, ((name, n), (once, gradient)) in itertools.product(range(rounds + 1), passes.items()):
        taken = [once() for _ in range(max(1, min(200, 10**6 // n)))]
        if gradient() != n // 2:
            raise AssertionError(f"{name}: d root / d b is {gradient()} over {n} nodes, not {n // 2}")
        times[name, n].append(statistics.median(taken) / n)
    times = {key: values[1:] for key, values in times.items()}  # without the first round, which has page faults

    rows = []
    for n in sizes:
        label, mine = f"XAD, 10^{len(str(n)) - 1} nodes", times["ours", n]
        other = times.get(("XAD", n))
        rows.append(row(label, [x / o for x, o in zip(other, mine)]) if other else Row(label, None))
    large = [n for n in sizes if n >= 10**4]
    middle = {n: statistics.median(times["ours", n]) for n in sizes}
    rows.append(Row("worst over best, 10^4 and up", max(middle[n] for n in large) / min(middle[n] for n in large)))
    best = min(middle.values())
    by_size = ", ".join(f"10^{len(str(n)) - 1}: {middle[n] / best:.2f}" for n in sizes)
    return Result(NAME, "backward alone", rows, notes=[f"our time a node over the best of ours: {by_size}"])

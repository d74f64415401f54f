"""Times the contestants of a case: they take turns in one process, and every figure is a ratio within a round.

pyperf's runner runs one benchmark after the other, each in processes of its own. On a shared machine the load changes
between them, and the ratio with it. So the turns are interleaved here, and pyperf only describes the machine.

The clock is the processor time of this process. Wall-clock time includes interruptions by other processes, which hit
long turns more often than short ones, so that a slow contestant would seem slower than it is.
"""

from __future__ import annotations

import contextlib
import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

clock = time.process_time
TURN = 0.05  # seconds that a turn lasts at least
STEPS_CHECKED = 3  # steps of training whose losses have to agree


@dataclass
class Contestant:
    """A program that does the work of a case: `step` does one unit of it and returns the loss."""

    name: str
    step: Callable[[], object]
    check: Callable[[], list[float]] | None = None  # numbers that all contestants of the case have to agree on
    collector: bool = True  # whether the garbage collector is enabled in its turns
    slow: bool = False  # a step takes seconds: a turn is one step, without one before it

    def numbers(self) -> list[float]:
        """What `check` gives. Without it, losses of consecutive steps: from the second on they depend on gradients."""
        return self.check() if self.check else [number(self.step()) for _ in range(STEPS_CHECKED)]


@dataclass
class Row:
    """A row of a case's table: a figure in the case's unit with its quartiles, or None if the contestant is absent."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    rounds: list[float] = field(default_factory=list)  # the figure of each round


@dataclass
class Result:
    """The result of a case: its table."""

    case: str
    title: str
    rows: list[Row]
    unit: str = "x ours"  # of the rows' values; the chart draws only results in "x ours"
    base: str = "ours"  # the row that has ratio 1
    notes: list[str] = field(default_factory=list)  # lines printed below the table

    def value(self, name: str) -> float | None:
        return next((row.value for row in self.rows if row.name == name), None)


def number(loss: object) -> float:
    """A loss as a float, from a float, a Value or a tensor."""
    return float(loss) if isinstance(loss, float) else float(loss.data)


def verify(contestants: list[Contestant], tolerance: float = 1e-6) -> None:
    """Raise AssertionError if a contestant's numbers differ from the first contestant's."""
    expected = contestants[0].numbers()
    for contestant in contestants[1:]:
        found = contestant.numbers()
        for a, b in zip(expected, found):
            if not math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance):
                raise AssertionError(f"{contestant.name} computes {found}, {contestants[0].name} {expected}")


@contextlib.contextmanager
def _collector(enabled: bool):
    """Collect, so that a turn does not release another contestant's garbage; disable the collector if asked to."""
    gc.collect()
    if not enabled:
        gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _turn(contestant: Contestant, steps: int) -> float:
    with _collector(contestant.collector):
        # One step that is not timed: it fills the caches and leaves its garbage to the next, as in a training loop.
        step = contestant.step
        if not contestant.slow:
            step()
        start = clock()
        for _ in range(steps):
            step()
        return (clock() - start) / steps


def take_turns(contestants: list[Contestant], rounds: int, turn: float = TURN) -> dict[str, list[float]]:
    """Seconds per step of each contestant, a figure for each round. The turns are interleaved: A B C A B C …"""
    steps = {}
    for c in contestants:
        steps[c.name] = 1 if c.slow else max(2, min(100_000, round(turn / _turn(c, 2))))
    times = {c.name: [] for c in contestants}
    for _ in range(rounds):
        for c in contestants:
            times[c.name].append(_turn(c, steps[c.name]))
    return times


def row(name: str, ratios: list[float]) -> Row:
    """A row with the median and quartiles of the figures of all rounds."""
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return Row(name, middle, low, high, ratios)


def compare(case: str, title: str, entries: list[tuple[str, object]], rounds: int) -> Result:
    """Time `entries`, pairs of a name and a Contestant or None. The rows are ratios to the first that is present."""
    present = [c for _, c in entries if c is not None]
    base = present[0].name
    verify(present)
    times = take_turns(present, rounds, TURN if rounds > 3 else TURN / 5)
    rows = []
    for name, contestant in entries:
        if contestant is None:
            rows.append(Row(name, None))
        else:
            rows.append(row(name, [t / b for t, b in zip(times[name], times[base])]))
    return Result(case, title, rows, base=base)


def compare_parts(case: str, title: str, parts: list[tuple[str, list[tuple[str, object]]]], rounds: int) -> Result:
    """One table of several comparisons, pairs of a label and entries; the label follows the names of its rows. The
    ratios of each part are to its own first entry that is present, the same contestant in all parts.
    """
    rows = []
    for label, entries in parts:
        result = compare(case, title, entries, rounds)
        rows += [replace(found, name=f"{found.name}, {label}") for found in result.rows if found.name != result.base]
    return Result(case, title, [Row(result.base, 1.0, 1.0, 1.0), *rows], base=result.base)


def entry(name: str, needed: object, make: Callable[[], Callable[[], object]], **options: object) -> tuple:
    """An entry for `compare`: `make()` returns the contestant's step, or a pair of step and check. It is not called if
    `needed`, the library that it needs, is None.
    """
    if needed is None:
        return name, None
    made = make()
    step, check = made if isinstance(made, tuple) else (made, None)
    return name, Contestant(name, step, check, **options)


def training(optimizer, loss_of):
    """A step of training with an optimizer object; the step returns the loss."""

    def step():
        loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step

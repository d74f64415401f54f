"""How a case is timed: contestants take turns in one process, and every number is a ratio taken within a round.

pyperf's own runner gives each benchmark processes of its own, one benchmark after the other, which on a shared machine
compares two moments as much as two programs. So the turns are taken here, and pyperf describes the machine.

The clock is the processor time of this process: where others want the processor too, a long turn is interrupted and a
short one may not be, and by the clock on the wall the slower contestant would look slower still.
"""

from __future__ import annotations

import contextlib
import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

clock = time.process_time
TURN = 0.05  # seconds a contestant's turn should last at least
STEPS_CHECKED = 3


@dataclass
class Contestant:
    """`step` does one unit of work and gives its loss; `check` gives numbers all contestants have to agree on."""

    name: str
    step: Callable[[], object]
    check: Callable[[], list[float]] | None = None
    collector: bool = True

    def numbers(self) -> list[float]:
        # Losses of consecutive steps of training: from the second on they agree only where the gradients do.
        return self.check() if self.check else [number(self.step()) for _ in range(STEPS_CHECKED)]


@dataclass
class Row:
    """One line of a case's table: a ratio (or bytes, or ms, as the case says) with its quartiles; None where absent."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    rounds: list[float] = field(default_factory=list)  # what each round gave


@dataclass
class Result:
    """What a case found. `unit` says what the rows' values are; the chart draws those of "x ours"."""

    case: str
    title: str
    rows: list[Row]
    unit: str = "x ours"
    base: str = "ours"
    notes: list[str] = field(default_factory=list)

    def value(self, name: str) -> float | None:
        return next((row.value for row in self.rows if row.name == name), None)


def number(loss: object) -> float:
    """A loss as a float: numbers are, Values and tensors have `data`."""
    return float(loss) if isinstance(loss, float) else float(loss.data)


def verify(contestants: list[Contestant], tolerance: float = 1e-6) -> None:
    """Raise where contestants do not compute the same numbers; the first is who the others are held to."""
    expected = contestants[0].numbers()
    for contestant in contestants[1:]:
        found = contestant.numbers()
        for a, b in zip(expected, found):
            if not math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance):
                raise AssertionError(f"{contestant.name} computes {found}, {contestants[0].name} {expected}")


@contextlib.contextmanager
def _collector(enabled: bool):
    """The heap clean before a turn, so that nobody pays for another contestant's garbage."""
    gc.collect()
    if not enabled:
        gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _turn(contestant: Contestant, steps: int) -> float:
    with _collector(contestant.collector):
        # A step off the clock: caches are warm, and the collector is in the state a loop keeps it in, with the garbage
        # of the step before to see to.
        step = contestant.step
        step()
        start = clock()
        for _ in range(steps):
            step()
        return (clock() - start) / steps


def take_turns(contestants: list[Contestant], rounds: int, turn: float = TURN) -> dict[str, list[float]]:
    """Seconds a step, one figure a round, A B C A B C …"""
    steps = {}
    for c in contestants:
        once = _turn(c, 2)
        steps[c.name] = max(2, min(100_000, round(turn / once)))
    times = {c.name: [] for c in contestants}
    for _ in range(rounds):
        for c in contestants:
            times[c.name].append(_turn(c, steps[c.name]))
    return times


def row(name: str, ratios: list[float]) -> Row:
    """Median and quartiles of one ratio a round."""
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return Row(name, middle, low, high, ratios)


def compare(case: str, title: str, entries: list[tuple[str, object]], rounds: int) -> Result:
    """Time `entries`, pairs of a name and a Contestant or None, and give each time over that of the first present."""
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


def entry(name: str, needed: object, make: Callable[[], Callable[[], object]], **options: object) -> tuple:
    """An entry for `compare`: `make()` builds the contestant's step, called only where what it needs is there.

    `make` may also give a pair of step and check.
    """
    if needed is None:
        return name, None
    made = make()
    step, check = made if isinstance(made, tuple) else (made, None)
    return name, Contestant(name, step, check, **options)


def training(optimizer, loss_of):
    """A step of training with an optimizer object, which gives the loss."""

    def step():
        loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step

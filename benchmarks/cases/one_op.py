"""One op in a loop: a node is made and released at once. benchmarks/instructions.py counts the instructions of this."""

from __future__ import annotations

import timeit

import numpy as np

from benchmarks import contestants
from benchmarks.harness import Contestant, Result, Row, number, row, take_turns, verify

NAME = "one_op"
OPS = ("a + b", "a * 2.0", "a.tanh()", "np.float64(2.0) * a")
UNROLLED, LOOPS = 50, 20


def contestant(name: str, Value: type, op: str) -> Contestant:
    """A loop with the op 50 times in its body, so that the loop itself takes a small part of the time."""
    names = {"a": Value(0.5), "b": Value(0.25), "np": np, "two": np.float64(2.0)}
    statement = op.replace("np.float64(2.0)", "two")
    # timeit disables the collector by default, which programs do not.
    timer = timeit.Timer("\n".join([statement] * UNROLLED), "import gc; gc.enable()", globals=names)
    return Contestant(name, lambda: timer.timeit(LOOPS), check=lambda: [number(eval(statement, names))])


def measure(rounds: int, quick: bool) -> Result:
    engines = [("ours", contestants.ours()), ("reference", contestants.reference())]
    rows = []
    for op in OPS:
        present = [contestant(name, engine.Value, op) for name, engine in engines if engine is not None]
        verify(present)
        times = take_turns(present, rounds)
        if "reference" in times:
            rows.append(row(f"reference: {op}", [t / o for t, o in zip(times["reference"], times["ours"])]))
        else:
            rows.append(Row(f"reference: {op}", None))
    return Result(NAME, "one op in a loop", rows)

"""Counts the instructions of an op by callgrind: `python -m benchmarks.instructions`. Skipped without valgrind.

Each program runs twice, with a longer and a shorter loop. The difference of the counts, divided by the difference of
the lengths, is the cost of one iteration, without start-up; the cost of an empty loop's iteration is subtracted. Counts
are exact, so they show changes of a few instructions, which times do not; they do not show the effect of caches.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import contestants
from benchmarks.cases.one_op import OPS

SHORT, LONG = 2_000, 12_000
PROGRAM = """
import sys
sys.path.insert(0, {path!r})
from benchmarks import contestants
Value = contestants.{engine}().Value
{setup}
def loop(count, a, b, two=0.0):
    for _ in range(count):
        {op}
loop(1000, Value(0.5), Value(0.25), {two})
loop({count}, Value(0.5), Value(0.25), {two})
"""


def instructions(engine: str, op: str, loops: int) -> int:
    scalar = "two" in op
    setup, two = ("import numpy as np", "np.float64(2.0)") if scalar else ("", "0.0")
    program = PROGRAM.format(path=str(contestants.ROOT), engine=engine, op=op, count=loops, setup=setup, two=two)
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={Path(folder) / 'out'}"]
        # With a fixed hash seed dicts have the same collisions in each run.
        done = subprocess.run(
            [*command, sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1))


def per_iteration(engine: str, op: str) -> float:
    return (instructions(engine, op, LONG) - instructions(engine, op, SHORT)) / (LONG - SHORT)


def main() -> None:
    if shutil.which("valgrind") is None:
        print("skipped: valgrind is not installed")
        return
    engines = ["ours", *(["reference"] if contestants.reference() else [])]
    empty = per_iteration("ours", "pass")
    print(f"| instructions for an op | {' | '.join(engines)} |", f"|---|{'--:|' * len(engines)}", sep="\n")
    for op in OPS:
        counts = [per_iteration(engine, op.replace("np.float64(2.0)", "two")) - empty for engine in engines]
        print(f"| {op} | {' | '.join(f'{c:,.0f}' for c in counts)} |", flush=True)


if __name__ == "__main__":
    main()

"""Instructions an op takes, counted by callgrind: `python -m benchmarks.instructions`. Skipped without valgrind.

Each program runs twice, with a longer and a shorter loop; the difference over the difference of the loops is the cost
of one turn, free of start-up and of noise. From it an empty loop's turn is taken away. Counts are exact, so they show
a change of a few instructions, which time does not; but they say nothing of caches.
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


def count(engine: str, op: str, loops: int) -> int:
    scalar = "two" in op
    setup, two = ("import numpy as np", "np.float64(2.0)") if scalar else ("", "0.0")
    program = PROGRAM.format(path=str(contestants.ROOT), engine=engine, op=op, count=loops, setup=setup, two=two)
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={Path(folder) / 'out'}"]
        # A fixed hash seed: else dicts of one run collide otherwise than those of the next.
        done = subprocess.run(
            [*command, sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1))


def each(engine: str, op: str) -> float:
    return (count(engine, op, LONG) - count(engine, op, SHORT)) / (LONG - SHORT)


def main() -> None:
    if shutil.which("valgrind") is None:
        print("skipped: valgrind is not installed")
        return
    engines = ["ours", *(["reference"] if contestants.reference() else [])]
    empty = each("ours", "pass")
    print(f"| instructions an op | {' | '.join(engines)} |", f"|---|{'--:|' * len(engines)}", sep="\n")
    for op in OPS:
        counts = [each(engine, op.replace("np.float64(2.0)", "two")) - empty for engine in engines]
        print(f"| {op} | {' | '.join(f'{c:,.0f}' for c in counts)} |", flush=True)


if __name__ == "__main__":
    main()

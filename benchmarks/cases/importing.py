"""Import time in new processes, ours and the reference in turns, and whether NumPy was imported too.

In milliseconds: an import happens once in a process, so the difference matters and not the ratio.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks import contestants
from benchmarks.harness import Result, Row, row

NAME = "importing"
IMPORTS = {
    "micrograd": "import micrograd",  # of the reference, an empty file
    "Value": "from micrograd.engine import Value",
    "Value and nn": "import micrograd.engine, micrograd.nn",
}
PROGRAM = """
import sys, time
sys.path.insert(0, {path!r})
start = time.process_time()
{statement}
print((time.process_time() - start) * 1000, int("numpy" in sys.modules))
"""


def fresh(path: Path, statement: str) -> tuple[float, bool]:
    """Milliseconds that the statement takes in a new process, and whether it imports NumPy."""
    program = PROGRAM.format(path=str(path), statement=statement)
    # Users import cached byte code, so it is cached here too, even if the environment disables that.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(contestants.CACHE / "pycache")
    command = [sys.executable, "-c", program]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    milliseconds, numpy = out.split()
    return float(milliseconds), numpy == "1"


def measure(rounds: int, quick: bool) -> Result:
    import micrograd

    paths = {"ours": Path(micrograd.__file__).parent.parent}
    if contestants.reference() is not None:
        paths["reference"] = contestants.original.HOME
    times, numpy = {}, {}
    for turn in range(rounds * 2 + 1):
        for what, statement in IMPORTS.items():
            for name, path in paths.items():
                taken, loaded = fresh(path, statement)
                numpy[name] = numpy.get(name, False) or loaded
                if turn:  # not the first, which writes the byte code
                    times.setdefault((name, what), []).append(taken)

    rows = []
    for what in IMPORTS:
        for name in ("ours", "reference"):
            found = times.get((name, what))
            rows.append(row(f"{name}: {what}", found) if found else Row(f"{name}: {what}", None))
        both = [times.get((name, what)) for name in ("ours", "reference")]
        label = f"ours - reference: {what}"
        if all(both):
            rows.append(row(label, [o - r for o, r in zip(*both)]))
        else:
            rows.append(Row(label, None))
    rows.append(Row("NumPy loaded by ours (1 = yes)", float(numpy["ours"])))
    return Result(NAME, "import", rows, unit="ms")

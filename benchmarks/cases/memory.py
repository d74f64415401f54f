"""Bytes per node: the growth of the resident set divided by the number of nodes made, in new processes. Linux only."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

from benchmarks import contestants
from benchmarks.harness import Result, Row

NAME = "memory"
EAGER = """
v = Value(0.5)
start = resident()
for _ in range({count}):
    v = v + 1.0
print((resident() - start) / {count})
"""
# With 1,000 inputs per neuron, the sum's own node and its place in the list hardly count.
AFFINE = """
layer, x = nn.Layer(1000, {count} // 1000, nonlin=False), {inputs}
first = layer(x)
start = resident()
kept = [layer(x) for _ in range({repeats})]
print((resident() - start) / ({count} * {repeats}))
"""
PROGRAM = """
import sys, resource
sys.path.insert(0, {path!r})
from micrograd import engine, nn
Value = engine.Value
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
"""


def bytes_each(path: Path, body: str, **values: object) -> float:
    program = PROGRAM.format(path=str(path)) + body.format(**values)
    return float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)


def measure(rounds: int, quick: bool) -> Result:
    import micrograd

    title = "memory"
    if not Path("/proc/self/statm").exists():
        return Result(NAME, title, [], unit="bytes", notes=["absent: no /proc/self/statm on this system"])
    ours = Path(micrograd.__file__).parent.parent
    count = 10**6 if quick else 10**7
    affine = {"count": 20_000, "repeats": 10 if quick else 100}
    rows = [
        Row("ours, an eager node", bytes_each(ours, EAGER, count=count)),
        Row("ours, an input of an affine node", bytes_each(ours, AFFINE, inputs="[Value(1.0)] * 1000", **affine)),
        Row("ours, a plain number into an affine node", bytes_each(ours, AFFINE, inputs="[1.0] * 1000", **affine)),
    ]
    eager = None
    if contestants.reference() is not None:
        eager = bytes_each(contestants.original.HOME, EAGER, count=count // 50)
    rows.append(Row("reference, an eager node with its constant", eager))
    assert all(math.isfinite(r.value) for r in rows if r.value is not None)
    return Result(NAME, title, rows, unit="bytes")

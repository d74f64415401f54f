"""What a choice costs in a compiled function: twelve by one comparison, against three additions in place of each, for
20,000 samples.
"""

from __future__ import annotations

import numpy as np

from benchmarks import contestants
from benchmarks.harness import Contestant, Result, compare

NAME = "choices"
SAMPLES, COUNT = 20_000, 12


def measure(rounds: int, quick: bool) -> Result:
    micrograd = contestants.ours_module("compiler") and contestants.ours_package()
    title = f"{COUNT} choices by functional.where"
    if not micrograd:
        return compare(NAME, title, [("ours", None), ("three additions for each", None)], rounds)
    draw = np.random.default_rng(0)
    x, *ys = draw.normal(size=(1 + COUNT, SAMPLES))
    columns = np.stack(ys, axis=1)

    @micrograd.compile
    def choices(x, ys):
        condition = x < ys[0]
        for y in ys:
            x = micrograd.functional.where(condition, y, x)
        return x

    @micrograd.compile
    def additions(x, ys):
        total = x
        for y in ys:
            total = total + y - x + 1.0
        return total

    def checked(function, by_numpy):
        """A contestant that agrees with NumPy: the greatest difference is 0."""
        return Contestant(
            "ours" if function is choices else "three additions for each",
            lambda: function.map(x, columns),
            lambda: [float(np.max(np.abs(function.map(x, columns) - by_numpy)))],
        )

    total = x
    for y in ys:
        total = total + y - x + 1.0
    entries = [checked(choices, np.where(x < ys[0], ys[-1], x)), checked(additions, total)]
    return compare(NAME, title, [(c.name, c) for c in entries], rounds)

"""The README's loop through `micrograd.compile` and `optim.SGD`.

With four samples in the batch, most of a step's time is the overhead of calls.
"""

from __future__ import annotations

from benchmarks import contestants
from benchmarks.cases.readme_loop import loop, model_of, problem
from benchmarks.harness import Contestant, Result, compare, entry, row, take_turns, training
from benchmarks.networks import array_entries, c_by_hand

NAME = "readme_compiled"
STEPS_A_CALL = 100  # in C, since a call through ctypes takes longer than a step


def compiled(engine, micrograd):
    import numpy as np

    model, data = model_of(engine), problem()
    X, y = np.array(data.X, dtype=float), np.array(data.y, dtype=float)
    optimizer = micrograd.optim.SGD(model.parameters(), lr=0.1)

    @micrograd.compile
    def loss(x, y):
        return (model(x) - y) ** 2

    return training(optimizer, lambda: loss.sum(X, y))


def measure(rounds: int, quick: bool) -> Result:
    ours = contestants.ours()
    micrograd = contestants.ours_module("compiler") and contestants.ours_package()
    entries = [
        entry("ours", micrograd, lambda: compiled(ours, micrograd)),
        entry("ours, plain loop", ours, lambda: loop(model_of(ours))),
        *array_entries(problem(), entry),
    ]
    result = compare(NAME, "README loop, compiled", entries, rounds)
    if micrograd and contestants.c_library():
        pair = [
            Contestant("ours", compiled(ours, micrograd)),
            Contestant("C", c_by_hand(problem(), STEPS_A_CALL)),
        ]
        times = take_turns(pair, rounds)
        ratios = [c / STEPS_A_CALL / mine for c, mine in zip(times["C"], times["ours"])]
        result.rows.append(row("C by hand, steps in a loop of C", ratios))
    return result

"""`micrograd.grad` over the README's network and its four samples: gradients as floats, and as Values with
`create_graph=True`, against a plain `backward()`. Each pass is over a graph of its own, whose making is not timed.
"""

from __future__ import annotations

import statistics
import time

from benchmarks import contestants
from benchmarks.cases.readme_loop import model_of, problem
from benchmarks.harness import Result, Row, row

NAME = "gradients"
PASSES = 1_000  # in a turn, whose figure is their median
GRAD, VALUES = "ours, grad()", "ours, grad(create_graph=True)"


def measure(rounds: int, quick: bool) -> Result:
    micrograd, ours = contestants.ours_package(), contestants.ours()
    model, data = model_of(ours), problem()
    parameters = model.parameters()

    def loss():
        errors = [(model(x) - y) ** 2 for x, y in zip(data.X.tolist(), data.y.tolist())]
        return sum(errors, ours.Value(0.0))

    passes = {
        "backward": lambda root: root.backward(),
        GRAD: lambda root: micrograd.grad(root, parameters),
        VALUES: lambda root: micrograd.grad(root, parameters, create_graph=True),
    }
    times = {name: [] for name in passes}
    for _ in range(rounds):
        for name, run in passes.items():
            taken = []
            for _ in range(PASSES // 10 if quick else PASSES):
                root = loss()
                start = time.perf_counter()
                result = run(root)
                taken.append(time.perf_counter() - start)
                del result
            times[name].append(statistics.median(taken))
    rows = [row(name, [t / b for t, b in zip(times[name], times["backward"])]) for name in (GRAD, VALUES)]
    rows.insert(0, Row("ours", 1.0, 1.0, 1.0))
    return Result(NAME, "gradients of the README network, against backward()", rows)

"""One training step, three ways: in this process, on joblib's loky workers, and on a Dask cluster of two processes.

Each worker gets the compiled function with its parameters, and a part of the samples; it sends back the part's loss and
gradient, which are added up here. The losses are the same, step by step. Needs joblib, dask and distributed.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

import micrograd
from micrograd import Value
from micrograd.compiler import Compiled
from micrograd.nn import MLP
from micrograd.optim import SGD

STEPS, SAMPLES, WORKERS = 20, 4000, 2

Array = NDArray[np.float64]
Part = tuple[Array, Array]
Found = tuple[float, Array]
Run = Callable[[Compiled, list[Part]], list[Found]]


def work(function: Compiled, X: Array, y: Array) -> Found:
    """What a worker does: the sum over its samples, and the gradient."""
    return function.value_and_grad(X, y)


def in_this_process(function: Compiled, parts: list[Part]) -> list[Found]:
    return [work(function, *part) for part in parts]


def on_joblib(function: Compiled, parts: list[Part]) -> list[Found]:
    found = Parallel(n_jobs=WORKERS, backend="loky")(delayed(work)(function, *part) for part in parts)
    return cast("list[Found]", found)


def on_dask(client: Any) -> Run:
    def run(function: Compiled, parts: list[Part]) -> list[Found]:
        futures = [client.submit(work, function, *part, pure=False) for part in parts]
        found: list[Found] = client.gather(futures)
        return found

    return run


def train(run: Run) -> list[float]:
    """The losses of training on two rings, where `run` maps a function and parts of a batch to what workers send."""
    random.seed(1)
    draw = np.random.default_rng(1)
    X = draw.normal(size=(SAMPLES, 2))
    y = np.where((X**2).sum(axis=1) > 1.4, 1.0, -1.0)
    model = MLP(2, [16, 16, 1])
    optimizer = SGD(model.parameters(), lr=0.1)

    @micrograd.compile
    def loss(x: Sequence[Value], y: Value) -> Value:
        margin: Value = (1 - y * model(x)).relu()
        return margin

    loss(X[0], y[0])  # traced here: the workers get the program
    parts = list(zip(np.array_split(X, WORKERS), np.array_split(y, WORKERS)))
    losses: list[float] = []
    for _ in range(STEPS):
        found = run(loss, parts)
        losses.append(sum(total for total, _ in found) / SAMPLES)
        gradient = np.sum([grads for _, grads in found], axis=0) / SAMPLES
        for parameter, grad in zip(loss.captured, gradient.tolist()):
            parameter.grad = grad
        optimizer.step()
    return losses


def main() -> None:
    from dask.distributed import Client, LocalCluster

    here = train(in_this_process)
    on_workers = train(on_joblib)
    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,  # type: ignore[no-untyped-call]
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        on_cluster = train(on_dask(client))
    for step, losses in enumerate(zip(here, on_workers, on_cluster)):
        print(f"step {step:2d}  here {losses[0]:.12f}  joblib {losses[1]:.12f}  Dask {losses[2]:.12f}")
    assert here == on_workers == on_cluster
    print("the same losses, to the bit")


if __name__ == "__main__":
    main()

"""Data-parallel training: in this process, on joblib's loky workers, and on a Dask cluster of two processes.

Each worker gets the compiled function with its parameters, and a part of the samples. It returns the part's loss and
gradient, which are added here. All three give the same losses. Needs the extra `parallel`: joblib, dask, distributed.
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
Part = tuple[Array, Array]  # samples and labels
LossAndGrad = tuple[float, Array]
Run = Callable[[Compiled, list[Part]], list[LossAndGrad]]


def work(function: Compiled, X: Array, y: Array) -> LossAndGrad:
    """What a worker computes: the sum of the losses of its samples, and the gradient of the sum."""
    return function.value_and_grad(X, y)


def in_this_process(function: Compiled, parts: list[Part]) -> list[LossAndGrad]:
    return [work(function, *part) for part in parts]


def on_joblib(function: Compiled, parts: list[Part]) -> list[LossAndGrad]:
    results = Parallel(n_jobs=WORKERS, backend="loky")(delayed(work)(function, *part) for part in parts)
    return cast("list[LossAndGrad]", results)


def on_dask(client: Any) -> Run:
    def run(function: Compiled, parts: list[Part]) -> list[LossAndGrad]:
        futures = [client.submit(work, function, *part, pure=False) for part in parts]
        results: list[LossAndGrad] = client.gather(futures)
        return results

    return run


def train(run: Run) -> list[float]:
    """Train on two rings and return the losses. `run` has workers compute the loss and gradient of each part."""
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

    loss(X[0], y[0])  # traces it, so that the workers get its program
    parts = list(zip(np.array_split(X, WORKERS), np.array_split(y, WORKERS)))
    losses: list[float] = []
    for _ in range(STEPS):
        results = run(loss, parts)
        losses.append(sum(total for total, _ in results) / SAMPLES)
        gradient = np.sum([grads for _, grads in results], axis=0) / SAMPLES
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

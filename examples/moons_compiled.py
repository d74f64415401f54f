"""The two moons of moons.py through `micrograd.compile`: the loss is written for one sample and computed for the batch.

Prints loss and accuracy as it trains, and the time of a step. Needs the extra `viz`, which has scikit-learn.
"""

import random
import time
from collections.abc import Sequence

import numpy as np
from sklearn.datasets import make_moons

import micrograd
from micrograd import Value, functional
from micrograd.nn import MLP
from micrograd.optim import SGD

STEPS = 100


def main() -> None:
    np.random.seed(1337)
    random.seed(1337)
    X, moon = make_moons(n_samples=100, noise=0.1)
    y = np.where(moon == 1, 1.0, -1.0)
    model = MLP(2, [16, 16, 1])
    optimizer = SGD(model.parameters(), lr=1.0)

    @micrograd.compile
    def score(x: Sequence[Value]) -> Value:
        out: Value = model(x)
        return out

    @micrograd.compile
    def loss(x: Sequence[Value], y: Value) -> Value:
        # The SVM's max-margin loss, plus an L2 penalty on every parameter, which is computed once per call.
        margin: Value = (1 + -y * model(x)).relu()
        return margin + 1e-4 * functional.sum(p * p for p in model.parameters())

    print(f"{len(model.parameters())} parameters")
    started = time.perf_counter()
    for step in range(STEPS):
        total = loss.mean(X, y)
        optimizer.zero_grad()
        total.backward()
        optimizer.param_groups[0]["lr"] = 1.0 - 0.9 * step / STEPS
        optimizer.step()
        if step % 10 == 0 or step == STEPS - 1:
            accuracy = np.mean((score.map(X) > 0) == (y > 0))
            print(f"step {step:3d}  loss {total.data:.6f}  accuracy after it {accuracy:.0%}")
    print(f"{1e6 * (time.perf_counter() - started) / STEPS:.0f} µs per step, tracing included")
    print(loss.program)


if __name__ == "__main__":
    main()

"""Classify two interleaving half-moons with karpathy/micrograd's network, loss and learning-rate schedule.

Prints loss and accuracy as it trains and draws the decision boundary to moons.png. Needs the extra `viz`.
"""

from __future__ import annotations

import random
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from micrograd.engine import Value
from micrograd.nn import MLP
from micrograd.viz import plot_decision_boundary

STEPS = 100


def evaluate(model: MLP, X: Any, y: Any) -> tuple[Value, float]:
    """The loss over the samples X (n, 2) with labels y (n,) of -1 and 1, and the share that is classified correctly."""
    scores = [model(list(map(Value, sample))) for sample in X]
    # The SVM's max-margin loss, plus an L2 penalty on every parameter.
    losses = [(1 + -yi * score).relu() for yi, score in zip(y, scores)]
    loss = sum(losses, Value(0.0)) * (1.0 / len(losses)) + 1e-4 * sum(p * p for p in model.parameters())
    correct = sum((yi > 0) == (score.data > 0) for yi, score in zip(y, scores))
    return loss, correct / len(scores)


def main() -> None:
    np.random.seed(1337)
    random.seed(1337)
    X, y = make_moons(n_samples=100, noise=0.1)
    y = 2 * np.asarray(y) - 1
    model = MLP(2, [16, 16, 1])
    print(f"{len(model.parameters())} parameters")
    accuracy = 0.0
    for step in range(STEPS):
        loss, accuracy = evaluate(model, X, y)
        model.zero_grad()
        loss.backward()
        rate = 1.0 - 0.9 * step / STEPS
        for p in model.parameters():
            p.data -= rate * p.grad
        if step % 10 == 0 or step == STEPS - 1:
            print(f"step {step:3d}  loss {loss.data:.6f}  accuracy {accuracy:.0%}")
    _, axes = plt.subplots(figsize=(8, 4.8), layout="constrained")
    plot_decision_boundary(model, X, y, axes)
    axes.set_title(f"Two moons: the sign of MLP(2, [16, 16, 1]) after {STEPS} steps, accuracy {accuracy:.0%}")
    plt.savefig("moons.png", dpi=120)
    print("decision boundary drawn to moons.png")


if __name__ == "__main__":
    main()

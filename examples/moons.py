"""Classify two interleaving half-moons with karpathy/micrograd's network, loss and learning-rate schedule.

Prints loss and accuracy as it trains and draws the decision boundary to moons.png. Needs the extra `viz`.
"""

import random

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from micrograd.engine import Value
from micrograd.nn import MLP

STEPS = 100


def evaluate(model, X, y):
    """The loss over all rows of X (n, 2) with labels y (n,) of -1 and 1, and the share of rows classified rightly."""
    scores = [model(list(map(Value, row))) for row in X]
    # The SVM's max-margin loss, plus an L2 penalty on every parameter.
    losses = [(1 + -yi * score).relu() for yi, score in zip(y, scores)]
    loss = sum(losses) * (1.0 / len(losses)) + 1e-4 * sum(p * p for p in model.parameters())
    right = sum((yi > 0) == (score.data > 0) for yi, score in zip(y, scores))
    return loss, right / len(scores)


def draw(model, X, y, path):
    """Shade the plane by the sign of the model's score, over the samples."""
    margin, points = 0.5, 120
    xs = np.linspace(X[:, 0].min() - margin, X[:, 0].max() + margin, points)
    ys = np.linspace(X[:, 1].min() - margin, X[:, 1].max() + margin, points)
    scores = np.array([[model([a, b]).data for a in xs] for b in ys])
    figure, axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
    axes.contourf(xs, ys, scores, levels=[-np.inf, 0, np.inf], colors=["#c6dbef", "#fdd0a2"])
    axes.contour(xs, ys, scores, levels=[0], colors="#555555", linewidths=1)
    for label, colour in ((-1, "#2171b5"), (1, "#d94801")):
        axes.scatter(*X[y == label].T, s=28, c=colour, edgecolors="white", linewidths=0.6, label=f"y = {label:+d}")
    axes.set(xlabel="x[0]", ylabel="x[1]", title="Two moons: the sign of MLP(2, [16, 16, 1])", aspect="equal")
    axes.legend(loc="upper right", frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main():
    np.random.seed(1337)
    random.seed(1337)
    X, y = make_moons(n_samples=100, noise=0.1)
    y = y * 2 - 1
    model = MLP(2, [16, 16, 1])
    print(f"{len(model.parameters())} parameters")
    for step in range(STEPS):
        loss, accuracy = evaluate(model, X, y)
        model.zero_grad()
        loss.backward()
        rate = 1.0 - 0.9 * step / STEPS
        for p in model.parameters():
            p.data -= rate * p.grad
        if step % 10 == 0 or step == STEPS - 1:
            print(f"step {step:3d}  loss {loss.data:.6f}  accuracy {accuracy:.0%}")
    draw(model, X, y, "moons.png")
    print("decision boundary drawn to moons.png")


if __name__ == "__main__":
    main()

"""Whole training runs with known results: karpathy's demo notebook, and the program of the README.
What single steps compute is in tests/engine and tests/nn."""

from __future__ import annotations

import random

import numpy as np
import pytest

from micrograd import MLP, Value

NOTEBOOK_LOSSES = [0.8958441028683222, 1.7235905336972022, 0.7429006313851131, 0.7705641260584198, 0.3692793385976538]


def make_moons():
    """scikit-learn's make_moons(n_samples=100, noise=0.1), draw for draw, with labels of -1 and 1."""
    angle = np.linspace(0, np.pi, 50)
    upper, lower = (np.cos(angle), np.sin(angle)), (1 - np.cos(angle), 0.5 - np.sin(angle))
    rows = np.arange(100)
    np.random.shuffle(rows)
    X, y = np.hstack([upper, lower]).T[rows], np.repeat([-1, 1], 50)[rows]
    return X + np.random.normal(scale=0.1, size=X.shape), y


def test_the_demo_notebook_of_karpathy(ours):
    np.random.seed(1337)
    random.seed(1337)
    X, y = make_moons()
    model = ours.nn.MLP(2, [16, 16, 1])
    assert len(model.parameters()) == 337

    def loss():
        inputs = [list(map(ours.Value, xrow)) for xrow in X]
        scores = list(map(model, inputs))
        losses = [(1 + -yi * scorei).relu() for yi, scorei in zip(y, scores)]
        data_loss = sum(losses) * (1.0 / len(losses))
        alpha = 1e-4
        reg_loss = alpha * sum(p * p for p in model.parameters())
        accuracy = [(yi > 0) == (scorei.data > 0) for yi, scorei in zip(y, scores)]
        return data_loss + reg_loss, sum(accuracy) / len(accuracy)

    history = []
    for k in range(100):
        total_loss, acc = loss()
        model.zero_grad()
        total_loss.backward()
        learning_rate = 1.0 - 0.9 * k / 100
        for p in model.parameters():
            p.data -= learning_rate * p.grad
        history.append((total_loss.data, acc))
    assert [data for data, _ in history[:5]] == pytest.approx(NOTEBOOK_LOSSES, abs=1e-6)
    assert history[0][1] == 0.5
    assert history[99][1] == 1.0
    assert history[99][0] < 0.02


@pytest.mark.parametrize("seed", range(5))
def test_the_program_of_the_readme_learns_its_targets(seed):
    random.seed(seed)
    model = MLP(3, [4, 4, 1])
    xs = [[-2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
    ys = [1.0, -1.0, -1.0, 1.0]
    for _ in range(1000):
        loss = sum((model(x) - y) ** 2 for x, y in zip(xs, ys))
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= 0.1 * p.grad
    assert isinstance(loss, Value)
    assert loss.data < 0.01
    assert [model(x).data for x in xs] == pytest.approx(ys, abs=0.1)

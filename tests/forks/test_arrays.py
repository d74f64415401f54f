"""Programs that keep Values in arrays of NumPy, as many forks do. The oracle is the same program on floats: its result,
and central differences of it. What chooses by the data (np.max, np.sort, np.where) is differentiated away from ties."""

from __future__ import annotations

import math

import numpy as np
import pytest

from micrograd import Value

DRAW = np.random.default_rng(7)
X = DRAW.normal(size=(6, 2))
Y = DRAW.normal(size=6)
LABELS = np.array([0, 2, 1, 1, 0, 2])


def standardized_ridge(p):
    features = X * p[:2] + p[2]
    z = (features - features.mean(axis=0)) / features.std(axis=0)
    return np.mean((z @ p[3:5] - Y) ** 2) + 0.1 * np.sum(p**2)


def softmax_and_one_hot(p):
    logits = X @ p[:6].reshape(2, 3) + p[6:9]
    logits = logits - np.max(logits, axis=1, keepdims=True)
    odds = np.exp(logits)
    chances = odds / odds.sum(axis=1, keepdims=True)
    return -np.mean(np.sum(np.eye(3)[LABELS] * np.log(chances), axis=1))


def two_layers_of_relu(p):
    hidden = np.maximum(X @ p[:6].reshape(2, 3) + p[6:9], 0)
    return np.square(hidden @ p[9:12] - Y).mean()


def leaky_layer_by_where(p):
    z = X @ p[:6].reshape(2, 3)
    hidden = np.where(z > 0, z, p[6] * z)
    return np.sum(np.abs(hidden.sum(axis=1) - Y))


def clusters_by_the_nearest_center(p):
    away = X[:, None, :] - p[:6].reshape(1, 3, 2)
    return np.min(np.sum(away**2, axis=2), axis=1).sum()


def distances_by_norm(p):
    centers = p[:4].reshape(2, 2)
    spread = np.linalg.norm(centers[0] - centers[1])
    return np.linalg.norm(X - centers[0], axis=1).sum() / spread + np.trace(np.outer(p[:3], p[3:6]))


def polynomial_with_huber(p):
    errors = np.polyval(p[:4], X[:, 0]) - Y
    size = np.abs(errors)
    return np.where(size <= 0.5, 0.5 * errors**2, 0.5 * (size - 0.25)).sum()


def series_with_a_filter(p):
    smooth = np.convolve(Y, p[:3], mode="valid")
    return np.sum(np.diff(smooth) ** 2) + np.ptp(smooth)


def risk_of_a_portfolio(p):
    weights = np.exp(p[:2]) / np.exp(p[:2]).sum()
    gains = X @ weights
    return gains.mean() / np.sqrt(weights @ np.cov(X.T) @ weights) + np.var(gains, ddof=1)


def greatest_drawdown(p):
    wealth = np.cumprod(1 + 0.1 * np.tanh(X @ p[:2]))
    return np.max(1 - wealth / np.maximum.accumulate(wealth))


def area_by_trapezoids(p):
    t = np.linspace(0.0, 1.0, 9)
    y = np.sin(p[0] * t) * np.exp(-(p[1] ** 2) * t) + np.arctan(p[2] * t)
    return np.sum((y[1:] + y[:-1]) / 2 * np.diff(t))


def attention_by_einsum(p):
    q, k, v = (np.einsum("ti,i->t", X, p[i : i + 2]) for i in (0, 2, 4))
    scores = np.exp(np.outer(q, k)) * np.tri(6)
    return np.square((scores / scores.sum(axis=1, keepdims=True)) @ v - Y).sum()


def statistics_of_ranks(p):
    z = np.sort(X @ p[:2])
    return z[1:-1].mean() + np.median(z) + z[np.argsort(-z)[0]] + np.percentile(z, 30)


def great_circles(p):
    a, b = np.radians(40.0) + 0.1 * p[:3], 0.1 * p[3:6]
    h = np.sin((a - 0.5) / 2) ** 2 + np.cos(a) * np.cos(0.5) * np.sin(b / 2) ** 2
    return (2 * np.arcsin(np.sqrt(h))).sum() + np.arctan2(a, b).sum()


def ratios_clipped(p):
    ratio = np.exp(X @ p[:2] * 0.2)
    return np.minimum(ratio * Y, np.clip(ratio, 0.9, 1.1) * Y).mean()


def function_of_one_number(p):
    def smooth_step(x):
        if x <= 0:
            return 0.0 * x
        return x * x * (3 - 2 * x) if x < 1 else 1.0 + 0.0 * x

    return np.sum(np.vectorize(smooth_step, otypes=[object])(X @ p[:2] + 0.5) * Y)


class Vector(np.ndarray):
    """An array of the user's own class, whose np.sum() is an array without dimensions."""

    def __new__(cls, items):
        return np.asarray(items, dtype=object).view(cls)

    def norm(self):
        return sum(self * self) ** 0.5

    def spread(self):
        return sum((x - sum(self) / len(self)) ** 2 for x in self) / len(self)

    def cosine(self, other):
        return np.dot(self, other) / (self.norm() * other.norm())


def cosines_of_vectors(p):
    return Vector(list(p[:3])).cosine(Vector(list(p[3:6]))) + Vector(p).spread()


def power_iteration(p):
    matrix = p[:9].reshape(3, 3) + p[:9].reshape(3, 3).T
    v = np.ones(3)
    for _ in range(4):
        v = matrix @ v
        v = v / np.sqrt(np.dot(v, v))
    return v @ matrix @ v + np.kron(p[:2], p[2:4]).sum() + np.linalg.matrix_power(matrix, 3)[0, 1]


def spins_with_hyperbolic_functions(p):
    field = X @ p[:2]
    return np.log(2 * np.cosh(field)).sum() - np.sinh(p[2]) * np.prod(np.tanh(p[3:6])) + np.log1p(p**2).sum()


PROGRAMS = [
    area_by_trapezoids,
    attention_by_einsum,
    clusters_by_the_nearest_center,
    cosines_of_vectors,
    distances_by_norm,
    function_of_one_number,
    great_circles,
    greatest_drawdown,
    leaky_layer_by_where,
    polynomial_with_huber,
    power_iteration,
    ratios_clipped,
    risk_of_a_portfolio,
    series_with_a_filter,
    softmax_and_one_hot,
    spins_with_hyperbolic_functions,
    standardized_ridge,
    statistics_of_ranks,
    two_layers_of_relu,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_arrays(program):
    at = np.random.default_rng(11).uniform(0.2, 1.2, 12) * np.tile([1, -1, 1], 4)
    values = np.array([Value(x) for x in at])
    out = program(values)
    out.backward()
    assert out.data == pytest.approx(float(program(at)), rel=1e-12)
    slopes = [(program(at + step) - program(at - step)) / 2e-5 for step in 1e-5 * np.eye(12)]
    assert any(slopes)
    assert [v.grad for v in values] == pytest.approx([float(s) for s in slopes], rel=1e-6, abs=1e-8)


def test_predictions_by_argmax():
    """Training in arrays, accuracy by np.argmax, and floats out again."""
    weight = np.array([[Value(0.1 * (i + 1) * (-1) ** j) for j in range(3)] for i in range(2)])
    bias = np.array([Value(0.0) for _ in range(3)])
    points = np.array([[math.cos(2.1 * k), math.sin(2.1 * k)] for k in LABELS])
    for _ in range(30):
        scores = points @ weight + bias
        loss = np.log(np.exp(scores).sum(axis=1)).sum() - scores[np.arange(6), LABELS].sum()
        for p in [*weight.ravel(), *bias]:
            p.grad = 0.0
        loss.backward()
        for p in [*weight.ravel(), *bias]:
            p.data -= 0.1 * p.grad
    assert np.argmax(points @ weight + bias, axis=1).tolist() == LABELS.tolist()
    numbers = np.vectorize(Value.item)(scores)
    assert numbers.dtype == np.float64
    assert np.array_equal(np.argsort(numbers, axis=1), np.argsort(scores, axis=1))
    assert sorted(scores[0]) == [scores[0][i] for i in np.argsort(numbers[0])]

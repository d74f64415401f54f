"""Sums of products of two factors that vary, of all shapes: outputs and gradients in every variant and both modes."""

from __future__ import annotations

import numpy as np
import pytest

import micrograd
from micrograd import Value, functional
from micrograd._compile import use_variant, variants

SIZE = 24  # arguments


@pytest.fixture
def every_variant():
    """The names of the variants; afterwards the first one is in use again."""
    yield variants()
    use_variant(variants()[0])


def dot(a, b):
    return sum((x * y for x, y in zip(a[1:], b[1:])), a[0] * b[0])


def scores(x, terms):
    """A vector with each of some rows."""
    query, keys = x[:terms], [x[i : i + terms] for i in range(terms, SIZE - terms, terms)]
    return [dot(query, key) for key in keys]


def columns(x, terms):
    """A vector with each column of a matrix."""
    weights, rows = x[:terms], [x[i : i + 3] for i in range(terms, min(terms + 3 * terms, SIZE - 2), 3)]
    return [dot(weights, column) for column in zip(*rows)]


def squares(x, terms):
    return [dot(x[i : i + terms], x[i : i + terms]) for i in range(0, SIZE - terms, terms)]


def shifted(x, terms):
    """Products of neighbours: a factor of one term is the other factor of the next."""
    return [dot(x[i : i + terms], x[i + 1 : i + 1 + terms]) for i in range(0, SIZE - terms - 1, terms)]


def one_factor(x, terms):
    """The same factor in all terms."""
    return [dot([x[0]] * terms, x[i : i + terms]) for i in range(1, SIZE - terms, terms)]


def one_square(x, terms):
    """The same square in all terms."""
    return [functional.dot([a] * terms, [a] * terms) for a in x[::terms]]


def a_factor_each(x, terms):
    """Sums with the same factors, each with another one for all of its terms."""
    return [functional.dot([a] * terms, x[1::2][:terms]) for a in x[::2]]


def mirrored(x, terms):
    return [dot(x[i : i + terms], x[i : i + terms][::-1]) for i in range(0, SIZE - terms, terms)]


def scattered(x, terms):
    """Terms that are not equally far apart."""
    places = np.random.default_rng(terms).permutation(SIZE)[: 2 * min(terms, SIZE // 2)]
    half = len(places) // 2
    return [dot([x[i] for i in places[:half]], [x[(i + k) % SIZE] for i in places[half:]]) for k in range(3)]


def biased(x, terms):
    """Sums that begin with something else."""
    return [functional.dot(x[:terms], x[i : i + terms]) + x[i] * x[0] for i in range(0, SIZE - terms, 3)]


def outputs_of(kind, terms, mixed, factors, x):
    hidden = [(v * a).tanh() for v, a in zip(factors, x)]
    half = [h if i % 2 else a for i, (h, a) in enumerate(zip(hidden, x))]  # every other one needs no grad
    found = kind(hidden, terms)
    later = [y.tanh() * h for y, h in zip(found, hidden[::terms])]  # some grads are there before those of the sums
    return found + later + (kind(half, terms) + kind([h * h for h in hidden], terms) if mixed else [])


@pytest.mark.parametrize(
    "kind",
    [scores, columns, squares, shifted, one_factor, one_square, a_factor_each, mirrored, scattered, biased],
    ids=lambda kind: kind.__name__,
)
@pytest.mark.parametrize("terms", [1, 2, 3, 4, 5, 8, 9, 11])
@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.usefixtures("rounds_once")
def test_sums_of_products(kind, terms, mixed, every_variant):
    draw = np.random.default_rng(terms)
    factors = [Value(v) for v in draw.normal(size=SIZE)]
    X = draw.normal(size=(11, SIZE))
    eager = [[functional.sum([y]) for y in outputs_of(kind, terms, mixed, factors, x.tolist())] for x in X]
    C = draw.normal(size=len(eager[0]))
    functional.sum([functional.dot(C.tolist(), row) for row in eager]).backward()
    expected = np.array([[y.data for y in row] for row in eager])
    for exact in (True, False):
        f = micrograd.compile(lambda x: outputs_of(kind, terms, mixed, factors, x), exact=exact)
        loss = micrograd.compile(
            lambda x: functional.dot(C.tolist(), outputs_of(kind, terms, mixed, factors, x)), exact=exact
        )
        for variant in every_variant:
            use_variant(variant)
            found = f.map(X).reshape(expected.shape)
            np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)
            if exact:
                assert found.tobytes() == expected.tobytes()
            for i in range(len(X)):
                assert f.map(X[i : i + 1]).tobytes() == found[i].tobytes()
            batch = loss.value_and_grad(X)[1]
            alone = sum(loss.value_and_grad(X[i : i + 1])[1] for i in range(len(X)))
            grads = [leaf.grad for leaf in loss.captured]
            np.testing.assert_allclose(batch, grads, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(alone, grads, rtol=1e-12, atol=1e-12)

"""Layers of compiled functions, of all shapes: outputs and gradients of weights in every variant and both modes."""

from __future__ import annotations

import numpy as np
import pytest

import micrograd
from micrograd import Value, functional
from micrograd._compile import use_variant, variants
from oracle import EPS

SAMPLES = 300  # two chunks; the last block of each is not full
BATCHES = [1, 2, 7, 8, 9, 24, 37]


class Problem:
    """A layer on elementwise products, and a sum of its outputs weighted by arguments."""

    def __init__(self, inputs, outputs):
        draw = np.random.default_rng(inputs * 1000 + outputs)
        self.W, self.b = draw.normal(size=(outputs, inputs)), draw.normal(size=outputs)
        self.v = draw.normal(size=inputs)
        self.X, self.C = draw.normal(size=(SAMPLES, inputs)), draw.normal(size=(SAMPLES, outputs))
        self.weights = [[Value(w) for w in row] for row in self.W]
        self.biases, self.factors = [Value(b) for b in self.b], [Value(v) for v in self.v]
        self.outputs = {exact: micrograd.compile(self._outputs, exact=exact) for exact in (True, False)}
        self.loss = {exact: micrograd.compile(self._loss, exact=exact) for exact in (True, False)}

    def _outputs(self, x):
        hidden = [v * a for v, a in zip(self.factors, x)]
        return functional.linear(hidden, self.weights, self.biases)

    def _loss(self, x, c):
        return functional.dot(c, self._outputs(x))

    def map(self, samples, exact):
        return self.outputs[exact].map(self.X[:samples]).reshape(samples, -1)

    def grads(self, exact):
        leaves = [*(w for row in self.weights for w in row), *self.biases, *self.factors]
        for leaf in leaves:
            leaf.grad = 0.0
        self.loss[exact].sum(self.X, self.C).backward()
        grads = np.array([leaf.grad for leaf in leaves])
        return grads[: self.W.size].reshape(self.W.shape), grads[self.W.size : -self.v.size], grads[-self.v.size :]


def in_order(terms):
    """The sum along the first axis, term after term."""
    total = terms[0].copy()
    for term in terms[1:]:
        total += term
    return total


def check(problem, exact):
    H, W = problem.X * problem.v, problem.W
    products = H.T[:, :, None] * W.T[:, None, :]  # inputs x samples x outputs
    expected = in_order([np.broadcast_to(problem.b, products.shape[1:]), *products])
    error = 2 * EPS * len(products) * (np.abs(products).sum(axis=0) + np.abs(problem.b))
    outputs = problem.map(SAMPLES, exact)
    if exact:
        assert outputs.tobytes() == expected.tobytes()
    assert (np.abs(outputs - expected) <= error).all()
    for samples in BATCHES:
        assert problem.map(samples, exact).tobytes() == outputs[:samples].tobytes(), samples
    dW, db, dv = problem.grads(exact)
    terms = problem.C[:, :, None] * H[:, None, :]  # samples x outputs x inputs
    chunks = [in_order([np.zeros_like(W), *part]) for part in (terms[:256], terms[256:])]
    expected = in_order([np.zeros_like(W), *chunks])
    if exact:
        assert dW.tobytes() == expected.tobytes()
    assert (np.abs(dW - expected) <= 2 * EPS * SAMPLES * np.abs(terms).sum(axis=0)).all()
    assert (np.abs(db - problem.C.sum(axis=0)) <= 2 * EPS * SAMPLES * np.abs(problem.C).sum(axis=0)).all()
    terms = problem.X[:, None, :] * problem.C[:, :, None] * W  # samples x outputs x inputs
    size = 2 * EPS * (SAMPLES + len(W)) * np.abs(terms).sum(axis=(0, 1))
    assert (np.abs(dv - terms.sum(axis=(0, 1))) <= size).all()


@pytest.fixture
def every_variant():
    """The names of the variants; afterwards the first one is in use again."""
    yield variants()
    use_variant(variants()[0])


@pytest.mark.parametrize("inputs", range(1, 21))
def test_small_layers(inputs, every_variant):
    for outputs in range(1, 21):
        problem = Problem(inputs, outputs)
        for variant in every_variant:
            use_variant(variant)
            check(problem, exact=True)
            check(problem, exact=False)


@pytest.mark.parametrize(("inputs", "outputs"), [(150, 130), (33, 257), (70, 3), (5, 300)])
def test_large_layers(inputs, outputs, every_variant):
    problem = Problem(inputs, outputs)
    for variant in every_variant:
        use_variant(variant)
        check(problem, exact=True)
        check(problem, exact=False)

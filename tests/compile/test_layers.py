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
@pytest.mark.usefixtures("rounds_once")
def test_small_layers(inputs, every_variant):
    for outputs in range(1, 21):
        problem = Problem(inputs, outputs)
        for variant in every_variant:
            use_variant(variant)
            check(problem, exact=True)
            check(problem, exact=False)


@pytest.mark.parametrize(("inputs", "outputs"), [(150, 130), (33, 257), (70, 3), (5, 300)])
@pytest.mark.usefixtures("rounds_once")
def test_large_layers(inputs, outputs, every_variant):
    problem = Problem(inputs, outputs)
    for variant in every_variant:
        use_variant(variant)
        check(problem, exact=True)
        check(problem, exact=False)


# ---- Calls of one layer ----------------------------------------------------------------------------


def windows(kind, calls, inputs):
    """For each call the indices of its inputs."""
    step = 1 if kind == "overlapping" else inputs
    found = np.arange(calls)[:, None] * step + np.arange(inputs)
    if kind == "scattered":
        found = np.random.default_rng(calls).permutation(found.ravel()).reshape(found.shape)
    if kind == "repeated":
        found[:, -1] = found[:, 0]
    return found


def run_calls(where, outputs, biases, samples, exact):
    """A layer on some of an array of products: its outputs for a batch, and the grads of their weighted sum. Returns
    these numbers, what they should be, and how large the sums are of which they consist."""
    calls, inputs = where.shape
    draw = np.random.default_rng(calls * 1000 + inputs * 30 + outputs)
    W, v = draw.normal(size=(outputs, inputs)), draw.normal(size=where.max() + 1)
    X, C = draw.normal(size=(samples, len(v))), draw.normal(size=(samples, calls, outputs))
    weights, factors = [[Value(w) for w in row] for row in W], [Value(x) for x in v]
    added = np.arange(calls * outputs).reshape(calls, outputs) % len(v)  # arguments that are biases of a call

    def call(x):
        hidden = [a * b for a, b in zip(factors, x)]
        terms = [[x[i] for i in row] if biases else None for row in added.tolist()]
        return [functional.linear([hidden[j] for j in row], weights, b) for row, b in zip(where, terms)]

    def loss(x, c):
        return functional.sum([functional.dot(a, b) for a, b in zip(call(x), c)])

    found = micrograd.compile(call, exact=exact).map(X).reshape(samples, calls, outputs)
    micrograd.compile(loss, exact=exact).sum(X, C).backward()
    grads = np.array([leaf.grad for row in weights for leaf in row] + [leaf.grad for leaf in factors])
    terms = (X * v)[:, where][:, :, None, :] * W  # samples x calls x outputs x inputs
    dW = C[..., None] * (X * v)[:, where][:, :, None, :]
    dx = np.zeros((2, *X.shape))
    for k, j in np.ndindex(*where.shape):
        change = C[:, k] * W[:, j] * X[:, where[k, j], None]
        dx[:, :, where[k, j]] += change.sum(axis=1), np.abs(change).sum(axis=1)
    expected = terms.sum(axis=-1) + (X[:, added] if biases else 0.0)
    sizes = np.abs(terms).sum(axis=-1) + np.abs(X[:, added])
    dW_sizes = np.abs(dW).sum(axis=(0, 1)).ravel()
    expected_grads = np.concatenate([dW.sum(axis=(0, 1)).ravel(), dx[0].sum(axis=0)])
    return found, grads, expected, expected_grads, sizes, np.concatenate([dW_sizes, dx[1].sum(axis=0)])


@pytest.mark.parametrize("kind", ["apart", "overlapping", "scattered", "repeated"])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (2, 3), (3, 2), (5, 9), (8, 16), (11, 27), (20, 5)])
def test_calls_of_a_layer(kind, inputs, outputs, every_variant):
    for calls in (1, 2, 3, 8, 9, 21):
        where = windows(kind, calls, inputs)
        for variant in every_variant:
            use_variant(variant)
            for exact, biases in ((True, False), (False, True), (False, False)):
                alone = run_calls(where, outputs, biases, 1, exact)
                batch = run_calls(where, outputs, biases, 9, exact)
                for found, grads, expected, expected_grads, sizes, grad_sizes in (alone, batch):
                    assert (np.abs(found - expected) <= 2 * EPS * (inputs + 1) * sizes).all()
                    terms = 9 * calls * outputs
                    assert (np.abs(grads - expected_grads) <= 2 * EPS * terms * grad_sizes).all()


@pytest.mark.parametrize("exact", [True, False])
def test_calls_of_a_layer_have_the_same_bits_alone(exact, every_variant):
    where = windows("apart", 9, 11)
    draw = np.random.default_rng(0)
    X = draw.normal(size=(9, where.size))
    weights = [[Value(w) for w in row] for row in draw.normal(size=(13, 11))]
    f = micrograd.compile(lambda x: [functional.linear([x[j] for j in row], weights) for row in where], exact=exact)
    for variant in every_variant:
        use_variant(variant)
        batch = f.map(X)
        for i in range(len(X)):
            assert f.map(X[i : i + 1]).tobytes() == batch[i : i + 1].tobytes()
            if exact:
                eager = [functional.linear([X[i, j] for j in row], weights) for row in where]
                assert [y.data for row in eager for y in row] == batch[i].ravel().tolist()


@pytest.mark.parametrize("calls", [2, 11])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (2, 3), (3, 9), (5, 6), (6, 5)])
def test_gradients_of_batches_are_those_of_their_samples(inputs, outputs, calls, exact, every_variant):
    """Of any number of samples: lanes without one add nothing, though inputs and outputs are not 0 there."""
    draw = np.random.default_rng(inputs)
    weights = [[Value(w) for w in row] for row in draw.normal(size=(outputs, inputs))]
    biases = [Value(b) for b in draw.normal(size=outputs)]

    def loss(x):
        hidden = [[k - a if k % 2 else a + 0.5 * k for a in x] for k in range(calls)]
        return functional.sum([y * y for inputs in hidden for y in functional.linear(inputs, weights, biases)])

    f = micrograd.compile(loss, exact=exact)
    X = draw.normal(size=(17, inputs))
    f(X[0])
    eager = np.cumsum([micrograd.grad(loss([*map(Value, x)]), f.captured) for x in X.tolist()], axis=0)
    for variant in every_variant:
        use_variant(variant)
        alone = np.cumsum([f.value_and_grad(X[i : i + 1])[1] for i in range(len(X))], axis=0)
        np.testing.assert_allclose(alone, eager, rtol=1e-11, atol=1e-11)
        for samples in range(1, 18):
            np.testing.assert_allclose(f.value_and_grad(X[:samples])[1], eager[samples - 1], rtol=1e-11, atol=1e-11)


SUMS_OF_ZEROS = {
    "of one number": lambda w, x: functional.sum([x[0]]),
    "of three numbers": lambda w, x: functional.sum(x[:3]),
    "of two": lambda w, x: w[0] * x[0] + w[1] * x[1],
    "of two inputs each": lambda w, x: x[0] * x[1] + x[2] * x[3],
    "of two leaves each": lambda w, x: (w[0] * w[1] + w[2] * w[3]) * x[0],
    "of many": lambda w, x: w[0] * x[0] + w[1] * x[1] + w[2] * x[2] + w[3] * x[3],
    "added to a product": lambda w, x: x[0] * x[1] + w[0] * x[2] + w[1] * x[3],
    "with a bias": lambda w, x: (w[0] + w[1] * x[1]) + w[2] * x[2],
    "subtracted": lambda w, x: w[0] * x[0] - w[1] * x[1],
}


@pytest.mark.parametrize("name", SUMS_OF_ZEROS)
def test_zeros_keep_their_sign(name, exact, every_variant):
    """0.0 + -0.0 is 0.0, so a sum without a bias does not begin at 0.0."""
    function = SUMS_OF_ZEROS[name]
    draw = np.random.default_rng(5)
    samples = draw.choice([0.0, -0.0, 1.0, -1.0], size=(200, 4))
    samples[:8] = draw.choice([1.0, -1.0], size=(8, 4)) * 0.0
    weights = [Value(x) for x in draw.choice([1.0, -1.0, -0.0], size=4)]
    f = micrograd.compile(lambda x: function(weights, x), exact=exact)
    for weight in (*weights, None):
        expected = [function(weights, [Value(x) for x in sample]).data for sample in samples.tolist()]
        for variant in every_variant:
            use_variant(variant)
            assert list(map(str, f.map(samples))) == list(map(str, expected))
        assert [str(f(sample).data) for sample in samples[:20].tolist()] == list(map(str, expected[:20]))
        if weight is not None:
            weight.data = -weight.data


# ---- Rows that share weights, as those of a convolution --------------------------------------------


@pytest.mark.parametrize("inputs", [2, 3, 5, 8, 9])
@pytest.mark.parametrize("step", [0, 1, 2, 3])
@pytest.mark.parametrize("biases", [True, False])
def test_rows_that_overlap(inputs, step, biases, exact):
    """Row i begins `step` weights after the one before it."""
    draw = np.random.default_rng(inputs)
    outputs = 7
    W = [Value(x) for x in draw.normal(size=inputs + (outputs - 1) * step)]
    b = [Value(x) for x in draw.normal(size=outputs)] if biases else None
    rows = [W[i * step : i * step + inputs] for i in range(outputs)]
    leaves = [*W, *(b or ())]
    X, C = draw.normal(size=(11, inputs)), draw.normal(size=outputs).tolist()

    def loss(x):
        hidden = functional.linear([v * v for v in x], rows, b)
        return functional.dot(C, [h.tanh() for h in hidden])

    f = micrograd.compile(loss, exact=exact)
    for samples in (1, 2, 11):
        total = functional.sum([loss([Value(x) for x in sample]) for sample in X[:samples].tolist()])
        for leaf in leaves:
            leaf.grad = 0.0
        total.backward()
        expected = [leaf.grad for leaf in leaves]
        for leaf in leaves:
            leaf.grad = 0.0
        f.sum(X[:samples]).backward()
        np.testing.assert_allclose([leaf.grad for leaf in leaves], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("samples", [1, 3])
def test_layers_of_the_same_weights_in_other_shapes(samples, exact):
    """Two rows of three weights, and three of two; the biases are arguments."""
    w = [Value(0.1 * i - 0.3) for i in range(6)]

    def f(x, b):
        wide = functional.linear(x[:3], [w[:3], w[3:]], b[:2])
        high = functional.linear(x[3:], [w[:2], w[2:4], w[4:]], b[2:])
        return functional.sum([y.tanh() * y for y in wide + high])

    X, B = np.random.default_rng(samples).normal(size=(2, samples, 5))
    compiled = micrograd.compile(f, exact=exact)
    eager = functional.sum([f([*map(Value, x)], [*map(Value, b)]) for x, b in zip(X.tolist(), B.tolist())])
    assert compiled.sum(X, B).data == pytest.approx(eager.data, rel=1e-13)
    np.testing.assert_allclose(micrograd.grad(compiled.sum(X, B), w), micrograd.grad(eager, w), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize(
    "sums",
    [
        lambda w: functional.linear([a.exp() for a in w[6:]], [w[:2], w[2:4]], [w[4], w[5].exp()]),
        lambda w: [functional.dot([a.exp() for a in w[6:]], [w[i], w[4]], bias=w[5]) for i in range(4)],
    ],
    ids=["biases", "weights"],
)
def test_sums_of_captured_leaves_and_of_what_is_computed_of_them(sums, samples, exact):
    w = [Value(0.1 * i - 0.3) for i in range(8)]

    def f(x):
        outputs = sums(w)
        return functional.sum([y.tanh() * y for y in outputs]) * x

    x = np.linspace(-1.0, 2.0, samples).tolist()
    total = micrograd.compile(f, exact=exact).sum(x)
    eager = functional.sum([f(Value(a)) for a in x])
    assert total.data == pytest.approx(eager.data, rel=1e-13)
    np.testing.assert_allclose(micrograd.grad(total, w), micrograd.grad(eager, w), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("samples", [1, 3, 600])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_a_layer_of_captured_inputs_and_of_each_samples(samples, tied, biased, exact):
    """Once a call, and once a sample: the gradients of its weights are sums of both."""
    v = [Value(x) for x in (0.5, -0.25, 0.75)]
    pool = [Value(0.1 * i - 0.3) for i in range(7 if tied else 9)]
    W = [[pool[(3 * i + (5 if tied else 1) * j) % len(pool)] for j in range(3)] for i in range(3)]
    biases = pool[4:1:-1] if biased else None
    leaves = list(dict.fromkeys([*v, *(w for row in W for w in row), *(biases or ())]))

    def f(x):
        once = functional.linear([a * 2.0 for a in v], W, biases)
        each = functional.linear([a * x for a in v], W, biases)
        return functional.sum([a.tanh() for a in once]) * x + functional.sum([a.tanh() for a in each])

    x = np.linspace(-1.0, 2.0, samples).tolist()
    expected = micrograd.grad(functional.sum([f(Value(a)) for a in x]), leaves)
    found = micrograd.grad(micrograd.compile(f, exact=exact).sum(x), leaves)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)

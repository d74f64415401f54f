"""`rms_norm`, `layer_norm`, `scaled_dot_product_attention`: data and gradients against PyTorch and mpmath; refusals."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

import micrograd
from helpers import combine, weights_for
from micrograd import Value, functional

EPSILON = 2.220446049250313e-16

ROWS = [
    [3.0],
    [0.0],
    [0.0, -0.0, 0.0],
    [0.1, 0.1, 0.1, 0.1],
    [1.0, -2.0, 0.5, 4.0],
    [1e-200, 2e-200, -3e-200],
    [1e-8, -2e-8, 1e-9],
    [1e6, 1e6 + 1.0, 1e6 + 3.0, 1e6 - 2.0],
    [1e150, -1e150, 3e149],
    [random.Random(1).gauss(0.0, 1.0) for _ in range(33)],
]


def outputs_and_grads(function, *lists):
    """The data of the outputs of a function of lists of Values, and the grads of its inputs."""
    inputs = [[Value(x) for x in xs] for xs in lists]
    outputs = function(*inputs)
    combine(outputs).backward()
    return [y.data for y in outputs], *([x.grad for x in xs] for xs in inputs)


def in_torch(function, *lists):
    torch = pytest.importorskip("torch")
    inputs = [torch.tensor(xs, dtype=torch.float64, requires_grad=True) for xs in lists]
    outputs = function(torch.nn.functional, *inputs)
    (outputs * torch.tensor(weights_for(len(outputs)), dtype=torch.float64)).sum().backward()
    return outputs.tolist(), *(xs.grad.tolist() for xs in inputs)


def in_mpmath(function, *lists):
    """The same with 60 digits; the gradients by difference quotients."""
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(60):
        inputs = [[mpmath.mpf(x) for x in xs] for xs in lists]
        step = mpmath.mpf(10) ** -30

        def loss():
            return mpmath.fdot(function(mpmath, *inputs), weights_for(len(outputs)))

        outputs = function(mpmath, *inputs)
        grads = []
        for xs in inputs:
            grads.append([])
            for i, x in enumerate(xs):
                size = step * max(abs(x), 1e-9)
                xs[i] = x + size
                above = loss()
                xs[i] = x - size
                grads[-1].append(float((above - loss()) / (2 * size)))
                xs[i] = x
        return [float(y) for y in outputs], *grads


def assert_near(found, expected, floor):
    """Relative 1e-12; where terms cancel, 1e-12 of `floor`, the greatest term."""
    for ours, theirs in zip(found, expected):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            assert abs(a - b) <= 1e-12 * max(abs(b), floor), (found, expected)


def floor_of(xs, eps, centered=False):
    """The size of the terms that may cancel in an output or a gradient: 1 / √(mean square + eps) times the weights, and
    the rounding of inputs far from 0 relative to their differences."""
    center = math.fsum(xs) / len(xs) if centered else 0.0
    spread = math.sqrt(math.fsum((x - center) ** 2 for x in xs) / len(xs) + eps)
    return 4.0 * len(xs) * max(1.0, 1.0 / spread) * max(1.0, max(map(abs, xs)) / spread)


def exact_rms_norm(eps):
    return lambda m, xs, ws: [w * x / m.sqrt(m.fdot(xs, xs) / len(xs) + eps) for w, x in zip(ws, xs)]


def exact_layer_norm(eps):
    def function(m, xs, ws, bs):
        center = m.fsum(xs) / len(xs)
        errors = [x - center for x in xs]
        scale = 1 / m.sqrt(m.fdot(errors, errors) / len(xs) + eps)
        return [w * e * scale + b for w, e, b in zip(ws, errors, bs)]

    return function


@pytest.mark.parametrize("eps", [None, 1e-5, 0.5])
@pytest.mark.parametrize("xs", ROWS, ids=str)
def test_rms_norm(xs, eps):
    weights = [0.5 - 0.25 * i for i in range(len(xs))]
    found = outputs_and_grads(lambda x, w: functional.rms_norm(x, w, eps), xs, weights)
    floor = floor_of(xs, eps or EPSILON)
    assert_near(found, in_mpmath(exact_rms_norm(eps or EPSILON), xs, weights), floor)
    assert_near(found, in_torch(lambda f, x, w: f.rms_norm(x, x.shape, w, eps), xs, weights), floor)
    found = outputs_and_grads(lambda x: functional.rms_norm(x, eps=eps), xs)
    assert_near(found, in_torch(lambda f, x: f.rms_norm(x, x.shape, eps=eps), xs), floor)


@pytest.mark.parametrize("eps", [1e-5, 0.5])
@pytest.mark.parametrize("xs", ROWS, ids=str)
def test_layer_norm(xs, eps):
    weights, biases = [0.5 - 0.25 * i for i in range(len(xs))], [0.125 * i - 1.0 for i in range(len(xs))]
    found = outputs_and_grads(lambda x, w, b: functional.layer_norm(x, w, b, eps), xs, weights, biases)
    floor = floor_of(xs, eps, centered=True)
    assert_near(found, in_mpmath(exact_layer_norm(eps), xs, weights, biases), floor)
    assert_near(found, in_torch(lambda f, x, w, b: f.layer_norm(x, x.shape, w, b, eps), xs, weights, biases), floor)


def test_layer_norm_without_weights_or_biases():
    xs, ys = [1.0, -2.0, 0.5, 4.0], [0.5, -1.0, 2.0, 0.25]
    assert_near(outputs_and_grads(functional.layer_norm, xs), in_torch(lambda f, x: f.layer_norm(x, x.shape), xs), 1.0)
    for name in ("weight", "bias"):
        found = outputs_and_grads(lambda x, y, name=name: functional.layer_norm(x, **{name: y}), xs, ys)
        expected = in_torch(lambda f, x, y, name=name: f.layer_norm(x, x.shape, **{name: y}), xs, ys)
        assert_near(found, expected, 1.0)


# ---- Attention -------------------------------------------------------------------------------------------------------

ATTENTION = {  # queries, keys, values
    "one number": ([2.0], [[3.0]], [[5.0]]),
    "one key": ([1.0, 2.0], [[3.0, -1.0]], [[5.0, 6.0, 7.0]]),
    "zeros": ([0.0, 0.0], [[0.0, 0.0], [0.0, 0.0]], [[0.0], [0.0]]),
    "equal keys": ([1.0, -2.0], [[0.5, 0.25]] * 3, [[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]]),
    "distinct": ([1.0, -0.5, 2.0], [[0.5, 1.0, 0.0], [-1.0, 0.3, 0.7]], [[1.0, 2.0], [-3.0, 0.5]]),
    "huge scores": ([1e150, -1e150], [[1e150, 0.0], [0.0, 1e150], [1.0, 2.0]], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    "huge values": ([1.0, 2.0], [[0.5, 1.0], [0.75, 1.0]], [[1.5e308], [1.7e308]]),
}


def attend(function, query, key, value):
    """Data and grads, those of the rows of key and value in one list each, of `function(query, keys, values)`."""
    rows, columns, width = len(key), len(key[0]), len(value[0])

    def split(query, key, value):
        keys = [key[i * columns : (i + 1) * columns] for i in range(rows)]
        return function(query, keys, [value[i * width : (i + 1) * width] for i in range(rows)])

    return split, query, [k for row in key for k in row], [v for row in value for v in row]


def exact_attention(scale):
    def function(m, query, key, value):
        columns = len(query)
        rows = len(key) // columns
        width = len(value) // rows
        factor = 1 / m.sqrt(columns) if scale is None else scale
        scores = [factor * m.fdot(query, key[i * columns : (i + 1) * columns]) for i in range(rows)]
        greatest = max(scores)
        shares = [m.exp(s - greatest) for s in scores]
        total = m.fsum(shares)
        return [m.fdot(shares, value[i::width]) / total for i in range(width)]

    return function


@pytest.mark.parametrize("scale", [None, 0.125, -2.0, 0.0])
@pytest.mark.parametrize("name", ATTENTION)
def test_attention(name, scale):
    query, key, value = ATTENTION[name]
    lists = attend(lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, scale=scale), query, key, value)
    found = outputs_and_grads(*lists)
    floor = 8.0 * max(1.0, *(abs(x) for row in (query, *key) for x in row)) * max(abs(v) for row in value for v in row)
    floor *= 1.0 if scale is None else max(1.0, abs(scale))
    if "huge" in name:  # the gradients are 0, or overflow
        assert_near(found[:1], in_mpmath(exact_attention(scale), *lists[1:])[:1], 1.0)
        return
    assert_near(found, in_mpmath(exact_attention(scale), *lists[1:]), floor)

    def theirs(f, q, k, v):
        k, v = k.reshape(len(key), -1), v.reshape(len(key), -1)
        return f.scaled_dot_product_attention(q[None], k, v, scale=scale)[0]

    assert_near(found, in_torch(theirs, *lists[1:]), floor)


def test_attention_takes_a_value_for_a_scale():
    scale = Value(0.5)
    (y,) = functional.scaled_dot_product_attention([1.0], [[1.0], [3.0]], [[0.0], [1.0]], scale)
    y.backward()
    assert y.data == pytest.approx(1.0 / (1.0 + math.exp(-1.0)), rel=1e-15)
    assert scale.grad == pytest.approx(2.0 * y.data * (1.0 - y.data), rel=1e-14)


# ---- All three -------------------------------------------------------------------------------------------------------


def attention_of(xs):
    return functional.scaled_dot_product_attention(
        xs,
        [xs[::-1], xs],
        [
            xs,
            xs[::-1],
        ],
        scale=0.5,
    )


FUNCTIONS = {
    "rms_norm": functional.rms_norm,
    "rms_norm, weights": lambda xs: functional.rms_norm(xs, xs[::-1], 0.1),
    "layer_norm": functional.layer_norm,
    "layer_norm, weights": lambda xs: functional.layer_norm(xs, xs[::-1], xs),
    "scaled_dot_product_attention": attention_of,
}


def plain_norm(xs, eps, weights, biases=None):
    scale = (plain_dot(xs, xs) * (1.0 / len(xs)) + eps) ** -0.5
    scaled = [x * scale for x in xs]
    if weights is not None:
        scaled = [y * w for y, w in zip(scaled, weights)]
    return scaled if biases is None else [y + b for y, b in zip(scaled, biases)]


def plain_layer_norm(xs, weights=None, biases=None):
    average = functional.sum(xs) * (1.0 / len(xs))
    return plain_norm([x - average for x in xs], 1e-5, weights, biases)


def plain_attention(xs):
    query, rows = [x * 0.5 for x in xs], [xs[::-1], xs]
    scores = [plain_dot(row, query) for row in rows]
    shares = functional.softmax(scores)
    return [plain_dot([row[i] for row in rows[::-1]], shares) for i in range(len(xs))]


def plain_dot(ws, xs):
    total = 0.0
    for w, x in zip(ws, xs):
        total = total + w * x
    return total


PLAIN = {
    "rms_norm": lambda xs: plain_norm(xs, EPSILON, None),
    "rms_norm, weights": lambda xs: plain_norm(xs, 0.1, xs[::-1]),
    "layer_norm": plain_layer_norm,
    "layer_norm, weights": lambda xs: plain_layer_norm(xs, xs[::-1], xs),
    "scaled_dot_product_attention": plain_attention,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_several_passes_are_those_of_the_ops_written_out(name):
    """The grads of intermediate results accumulate, as in the reference, from one pass to the next."""
    fused, plain = ([Value(x) for x in (0.5, -1.25, 2.0)] for _ in range(2))
    ours, theirs = combine(FUNCTIONS[name](fused)), combine(PLAIN[name](plain))
    assert ours.data == theirs.data
    for _ in range(3):
        ours.backward()
        theirs.backward()
        assert [x.grad for x in fused] == pytest.approx([x.grad for x in plain], rel=1e-11)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_functions_give_the_same_numbers(name):
    function = FUNCTIONS[name]
    compiled = micrograd.compile(lambda xs: function(xs))
    exact = micrograd.compile(lambda xs: function(xs), exact=True)
    samples = np.random.default_rng(0).normal(size=(9, 3))
    expected = [[y.data for y in function([Value(x) for x in sample])] for sample in samples.tolist()]
    assert np.asarray(exact.map(samples)).tolist() == expected
    assert np.asarray(compiled.map(samples)) == pytest.approx(np.array(expected), rel=1e-12, abs=1e-14)
    for sample in samples.tolist():
        ours, theirs = ([Value(x) for x in sample] for _ in range(2))
        combine(compiled(ours)).backward()
        combine(function(theirs)).backward()
        assert [x.grad for x in ours] == pytest.approx([x.grad for x in theirs], rel=1e-11, abs=1e-13)


@pytest.mark.parametrize("xs", [[1e200, -1e200], [1e307, 1e307, 1.0], [1e160, 2.0]], ids=str)
def test_norms_whose_squares_overflow_are_zero(xs):
    """As PyTorch's rms_norm; its layer_norm is NaN there."""
    for norm in (functional.rms_norm, functional.layer_norm):
        outputs, _ = outputs_and_grads(norm, xs)
        assert outputs == [0.0] * len(xs)


@pytest.mark.parametrize(
    "kind",
    [
        list,
        tuple,
        lambda xs: np.array(xs),
        lambda xs: np.array(xs, dtype=np.int32),
        lambda xs: (x for x in xs),
        lambda xs: [Value(xs[0]), *xs[1:]],
        lambda xs: [*xs[:-1], Value(xs[-1])],
        lambda xs: np.array([Value(x) for x in xs]),
    ],
    ids=["list", "tuple", "array", "ints", "generator", "first a Value", "last a Value", "array of Values"],
)
def test_numbers_arrays_and_values_are_inputs_alike(kind):
    xs, rows = [3, -1, 2], [[1, 2, 3], [0, 4, -1]]

    def results(kind):
        return [
            functional.rms_norm(kind(xs), kind(xs)),
            functional.layer_norm(kind(xs), kind(xs), kind(xs)),
            functional.scaled_dot_product_attention(kind(xs), [kind(r) for r in rows], [kind(r) for r in rows]),
        ]

    for ours, theirs in zip(results(kind), results(lambda xs: [Value(x) for x in xs])):
        assert all(isinstance(y, Value) for y in ours)
        assert [y.data for y in ours] == [y.data for y in theirs]


def test_a_table_of_keys_may_be_an_array():
    rows = np.array([[1.0, 2.0], [0.0, 4.0]])
    found = functional.scaled_dot_product_attention([1.0, 2.0], rows, rows)
    expected = functional.scaled_dot_product_attention([1.0, 2.0], rows.tolist(), rows.tolist())
    assert [y.data for y in found] == [y.data for y in expected]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("rms_norm", ([],), "rms_norm of no values"),
        ("layer_norm", ([],), "layer_norm of no values"),
        ("rms_norm", ([1.0, 2.0], [1.0]), "1 weights for 2 inputs"),
        ("layer_norm", ([1.0], [1.0, 2.0]), "2 weights for 1 inputs"),
        ("layer_norm", ([1.0, 2.0], None, []), "0 biases for 2 inputs"),
        ("scaled_dot_product_attention", ([], [[]], [[1.0]]), "attention: a query of no numbers"),
        ("scaled_dot_product_attention", ([1.0], [], []), "attention of no keys"),
        ("scaled_dot_product_attention", ([1.0], [[1.0]], [[]]), "attention: a row of value of no numbers"),
        ("scaled_dot_product_attention", ([1.0], [[1.0]], []), "0 rows of value for 1 rows of key"),
        ("scaled_dot_product_attention", ([1.0], [[1.0], [1.0, 2.0]], [[1.0]] * 2), "2 numbers in key\\[1\\] for 1 "),
        ("scaled_dot_product_attention", ([1.0], [[1.0]] * 2, [[1.0], []]), "0 numbers in value\\[1\\] for 1 numbers "),
    ],
)
def test_lengths_that_do_not_fit_are_named(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(functional, name)(*arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "what"),
    [
        ("rms_norm", (["a"],), "an input"),
        ("rms_norm", ([1.0], ["a"]), "a weight"),
        ("layer_norm", ([1.0], None, ["a"]), "a bias"),
        ("scaled_dot_product_attention", (["a"], [[1.0]], [[1.0]]), "an item of query"),
        ("scaled_dot_product_attention", ([1.0], [["a"]], [[1.0]]), "an item of key"),
        ("scaled_dot_product_attention", ([1.0], [[1.0]], [["a"]]), "an item of value"),
    ],
)
def test_what_is_no_number_is_named(name, arguments, what):
    with pytest.raises(TypeError, match=f"{what} must be a real number, not 'str'"):
        getattr(functional, name)(*arguments)


def test_a_mean_square_of_zero_has_no_inverse():
    for function, xs in ((functional.rms_norm, [0.0, 0.0]), (functional.layer_norm, [2.0, 2.0])):
        with pytest.raises(ZeroDivisionError):
            function(xs, eps=0.0)

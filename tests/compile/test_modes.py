"""The two modes of compiled functions: `exact=True` for eager code's bits, and what the default promises."""

from __future__ import annotations

import copy
import math
import pickle
import random

import numpy as np
import pytest

import micrograd
from helpers import NARROW, OF_A_LIST, agrees, bits, complaint, grads_of, op
from micrograd import Value, functional, nn, nn_tanh
from micrograd._compile import use_variant, variants
from micrograd._core import OPS


@pytest.fixture(params=variants())
def variant(request):
    """Runs a test with each of the compiled loops that this machine can run."""
    use_variant(request.param)
    yield request.param
    use_variant(variants()[0])


def tanh_network(sizes=(8, 5, 1)):
    random.seed(sizes[0])
    return nn_tanh.MLP(3, list(sizes))


# ---- The keyword -----------------------------------------------------------------------------------------------------


def modes(f):
    """The modes of a function's programs."""
    return {traced.exact for traced in f._programs.values()}


def test_the_mode_is_that_of_every_program_and_is_shown():
    model = tanh_network()
    for exact, shown in ((False, ""), (True, ", exact")):
        f = micrograd.compile(model, exact=exact)
        decorated = micrograd.compile(exact=exact)(lambda x: x[0] * 2.0)
        for g in (f, decorated):
            g([0.1, 0.2, 0.3])
            g.sum(np.ones((4, 3)))
            assert modes(g) == {exact}
            assert repr(g).endswith(f", 1 programs{shown}>")
        decorated.map([[1.0], [1.0, 2.0]])
        assert modes(decorated) == {exact}
    assert modes(micrograd.compile(model)) == set()


def test_copies_pickles_and_methods_keep_the_mode(exact):
    class Unit:
        def __init__(self):
            self.w = Value(0.3)

        @micrograd.compile(exact=exact)
        def out(self, x):
            return (self.w * x).tanh()

    unit = Unit()
    w = Value(0.3)
    f = micrograd.compile(lambda x: (w * x).tanh(), exact=exact)
    untouched = copy.deepcopy(f)
    expected = f(0.7).data
    assert unit.out(0.7).data == expected
    copies = [copy.copy(f), copy.deepcopy(f), pickle.loads(pickle.dumps(f)), pickle.loads(pickle.dumps(unit.out))]
    copies += [untouched, copy.copy(untouched), copy.deepcopy(unit).out, unit.out]
    for g in copies:
        assert bits(g(0.7).data) == bits(expected)
        assert modes(g) == {exact}
        assert ("exact" in repr(g)) == exact


def test_pickles_without_a_mode_are_exact():
    f = micrograd.compile(lambda x: x.tanh())
    f(0.5)
    state = {name: part for name, part in f.__getstate__().items() if name != "_exact"}
    old = object.__new__(type(f))
    old.__setstate__(state)
    assert modes(old) == {True}
    assert old(0.7).data == math.tanh(0.7)


def test_in_the_trace_of_another_the_others_mode_counts(exact):
    model = tanh_network()
    inner = micrograd.compile(model, exact=not exact)
    outer = micrograd.compile(lambda x: inner(x) * 1.0, exact=exact)
    alone = micrograd.compile(lambda x: model(x) * 1.0, exact=exact)
    X = np.random.default_rng(0).normal(size=(9, 3))
    assert outer.map(X).tolist() == alone.map(X).tolist()
    assert modes(outer) == {exact}


# ---- What the modes promise ------------------------------------------------------------------------------------------


WEIGHTS = [Value(x) for x in (0.4, -1.3, 0.9)]


def attention(x):
    keys = [[w * xi for xi in x] for w in WEIGHTS]
    return functional.sum(functional.scaled_dot_product_attention(x, keys, [x, x[::-1], x]))


def chain(x):
    """An RNN of a few steps."""
    h = [Value(0.0), Value(0.0)]
    for xi in [*x, *x]:
        h = [(w * hi + v * hj + xi).tanh() for w, v, hi, hj in zip(WEIGHTS, WEIGHTS[1:], h, h[::-1])]
    return functional.dot(h, WEIGHTS[:2])


FUNCTIONS = {
    "tanh network": tanh_network(),
    "wide tanh network": tanh_network((40, 17, 1)),
    "relu network": nn.MLP(3, [16, 9, 1]),
    "linear": lambda x: functional.dot(x, WEIGHTS, bias=0.5),
    "norm": lambda x: functional.dot(functional.layer_norm(x, WEIGHTS), functional.rms_norm(x)),
    "attention": attention,
    "entropy": lambda x: functional.cross_entropy(functional.linear(x, [WEIGHTS, WEIGHTS[::-1], x]), [0.2, 0.3, 0.5]),
    "chain": chain,
    "of leaves": lambda x: functional.softmax([w.tanh() for w in WEIGHTS])[0] * x[0],
    **{name: lambda x, f=f: f([w * xi for w, xi in zip(WEIGHTS, x)]) for name, f in OF_A_LIST.items()},
    **{
        name: lambda x, name=name, shift=0.0 if name in NARROW else 2.0: op(name)(
            *[x[i] * x[i] * w + shift for i, w in zip(range(OPS[name][1]), WEIGHTS[::2])]
        )
        for name in OPS
        if not name.startswith("__r")
    },
}


def outputs(x):
    return np.array([item.data for item in x] if isinstance(x, list) else [x.data])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_of_a_sample_do_not_depend_on_its_batch(name, exact, variant):
    """Alone, and in batches of 3, 64 and 1000, at several places and under several numbers of threads."""
    function = FUNCTIONS[name]
    draw = np.random.default_rng(1)
    X = draw.uniform(-1.0, 1.0, size=(1000, 3))
    f = micrograd.compile(function, exact=exact)
    whole = f.map(X)
    assert micrograd.compile(function, exact=exact, threads=2).map(X).tobytes() == whole.tobytes()
    for size in (1, 3, 64):
        for first in (0, 7, 1000 - size):
            assert f.map(X[first : first + size]).tobytes() == whole[first : first + size].tobytes(), (size, first)
    order = draw.permutation(1000)
    assert f.map(X[order]).tobytes() == whole[order].tobytes()
    for i in (0, 500, 999):
        assert outputs(f(X[i].tolist())).tobytes() == np.ascontiguousarray(whole[i]).tobytes()
        assert outputs(f([*map(Value, X[i])])).tobytes() == np.ascontiguousarray(whole[i]).tobytes()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_are_those_of_eager_code(name, exact, variant):
    """To the bit, or in the default mode close."""
    function = FUNCTIONS[name]
    X = np.random.default_rng(2).uniform(-1.0, 1.0, size=(20, 3))
    f = micrograd.compile(function, exact=exact)
    for x, found in zip(X.tolist(), f.map(X)):
        expected = outputs(function([*map(Value, x)]))
        assert all(agrees(a, b, exact) for a, b in zip(np.atleast_1d(found).tolist(), expected.tolist()))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_are_those_of_eager_code(name, exact):
    function = FUNCTIONS[name]
    compiled = micrograd.compile(function, exact=exact)
    x = [Value(a) for a in (0.3, -0.8, 0.5)]
    leaves = [*x, *WEIGHTS]
    for ours, theirs in zip(*(y if isinstance(y, list) else [y] for y in (compiled(x), function(x)))):
        assert grads_of(leaves, ours) == pytest.approx(grads_of(leaves, theirs), rel=1e-11, abs=1e-13)


@pytest.mark.parametrize("samples", [1, 255, 1000, 20_000])
def test_sums_and_gradients_do_not_depend_on_the_number_of_threads(samples, exact):
    model = tanh_network((16, 1))
    X = np.random.default_rng(0).normal(size=(samples, 3))
    found = set()
    for threads in (1, 2, 5):
        f = micrograd.compile(lambda x: model(x).exp().log(), threads=threads, exact=exact)
        total, grads = f.value_and_grad(X)
        found.add((total, grads.tobytes(), f.mean(X).data, f.map(X).tobytes()))
    assert len(found) == 1


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("name", "bad", "error"), [
    ("exp", 710.0, OverflowError), ("log", -1.0, ValueError), ("log", 0.0, ValueError), ("sqrt", -1.0, ValueError),
    ("sin", math.inf, ValueError),
])  # fmt: skip
def test_errors_are_those_of_eager_code_with_the_same_sample(name, bad, error, threads, exact):
    w = Value(1.0)
    f = micrograd.compile(lambda x: op(name)(w * x) + 1.0, threads=threads, exact=exact)
    text = complaint(getattr(math, name), bad)
    for samples, sample in ((1, 0), (3, 1), (100, 99), (5000, 3000)):
        x = np.ones(samples)
        x[sample:] = bad
        for call in (f.map, f.sum, f.value_and_grad):
            with pytest.raises(error, match=f"^sample {sample}: {text}"):
                call(x)
    with pytest.raises(error, match=f"^{text}"):
        f(bad)

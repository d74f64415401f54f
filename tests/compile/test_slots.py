"""Values and grads in slots: operands that stand apart, results written over operands, grads that are added up."""

from __future__ import annotations

import operator

import numpy as np
import pytest

import micrograd
from helpers import agrees
from micrograd import Value, functional

SIZES = [0, 1, 7, 8, 9, 31, 33, 127, 129, 300]


@pytest.mark.parametrize("step", [-1, 0, 1, 2, 3])
@pytest.mark.parametrize("name", ["__sub__", "__truediv__", "atan2", "elu", "exp"])
def test_many_ops_of_one_kind_on_operands_that_stand_apart(name, step, exact):
    """Of one sample, more than are computed at once; each second operand is `step` further than the one before."""
    count = 211  # a prime: every step goes through all of them

    def f(x):
        return [getattr(a, name)(*[] if name == "exp" else [x[i * step % count]]) for i, a in enumerate(x)]

    x = np.random.default_rng(3).uniform(0.5, 1.5, size=(3, count))
    compiled = micrograd.compile(f, exact=exact)
    for sample in x.tolist():
        expected = [y.data for y in f([Value(a) for a in sample])]
        assert all(agrees(a.data, b, exact) for a, b in zip(compiled(sample), expected))
        assert all(agrees(a, b, exact) for a, b in zip(compiled.map([sample])[0].tolist(), expected))

    def loss(x):  # the products have sent their gradients before those of the ops are added
        return functional.dot(f(x), x)

    ours, theirs = [*map(Value, x[0])], [*map(Value, x[0])]
    micrograd.compile(loss, exact=exact)(ours).backward()
    loss(theirs).backward()
    np.testing.assert_allclose([a.grad for a in ours], [a.grad for a in theirs], rtol=1e-12)


@pytest.mark.parametrize("samples", [1, 9])
@pytest.mark.parametrize("count", [1, 2, 3, 64, 65, 130])
@pytest.mark.parametrize("combine", [operator.mul, operator.sub, operator.truediv, lambda a, b: b * a])
def test_a_factor_of_many_ops_that_has_a_gradient_already(combine, count, samples, exact):
    w = Value(0.75)

    def f(x):
        factor = (w * x[0]).tanh()
        return functional.sum([combine(factor, a).tanh() for a in x]) * factor

    X = np.random.default_rng(count).uniform(0.5, 1.5, size=(samples, count))
    expected = sum(micrograd.grad(f([*map(Value, x)]), w) for x in X.tolist())
    assert micrograd.compile(f, exact=exact).value_and_grad(X)[1] == pytest.approx([expected], rel=1e-12)


@pytest.mark.parametrize("samples", range(1, 18))
def test_gradients_of_leaves_are_sums_over_the_samples_alone(samples, exact):
    """In lanes without a sample the leaves are as everywhere."""
    w = [Value(0.5 * i + 0.5) for i in range(5)]
    f = micrograd.compile(lambda x: functional.sum([(v - a).relu() for v, a in zip(w, x)]), exact=exact)
    X = np.random.default_rng(samples).normal(size=(samples, 5))
    expected = ([v.data for v in w] > X).sum(axis=0)
    assert micrograd.grad(f.sum(X), w) == expected.tolist()


@pytest.mark.parametrize("place", range(4))
def test_arguments_that_are_returned_stay_as_they_are(place, exact):
    """Though nothing else reads them after the first op."""

    def f(x):
        y = (x[0] - x[1]).tanh() * x[2] + x[3]
        outputs = [y.sin().exp(), y.tanh().cos(), y * y]
        outputs.insert(place, x[place])
        return outputs

    X = np.random.default_rng(0).normal(size=(20, 4))
    found = micrograd.compile(f, exact=exact).map(X)
    assert found[:, place].tolist() == X[:, place].tolist()
    expected = [[y.data for y in f([*map(Value, x)])] for x in X.tolist()]
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("shift", [-3, -2, -1, 1, 2, 3])
@pytest.mark.parametrize("combine", [operator.sub, operator.mul, lambda a, b: functional.where(a > b, a, b * 2)])
def test_results_written_over_operands_that_others_read(combine, shift, exact):
    """y[i] of x[i] and x[i + shift]: y may take the slots of x, but no y that of an x which is read for another."""
    w = [Value(0.5 + 0.1 * i) for i in range(6)]

    def neighbours(x):
        hidden = [(v * a).exp() for v, a in zip(w, x)]
        for _ in range(2):
            hidden = [combine(h, hidden[(i + shift) % len(hidden)]) for i, h in enumerate(hidden)]
            hidden = [h.sigmoid() + 1.0 for h in hidden]
        return hidden

    X = np.random.default_rng(1).normal(size=(20, 6))
    eager = [neighbours([Value(x) for x in sample]) for sample in X.tolist()]
    expected = [[y.data for y in row] for row in eager]
    np.testing.assert_allclose(micrograd.compile(neighbours, exact=exact).map(X), expected, rtol=1e-13)
    factors = [1.0, -2.0, 3.0, -4.0, 5.0, -6.0]
    functional.sum([functional.dot(factors, row) for row in eager]).backward()
    f = micrograd.compile(lambda x: functional.dot(factors, neighbours(x)), exact=exact)
    for found in (f.value_and_grad(X)[1], sum(f.value_and_grad(sample[None])[1] for sample in X)):
        np.testing.assert_allclose(found, [v.grad for v in f.captured], rtol=1e-10)


@pytest.mark.parametrize("count", [2, 63, 64, 65, 130])
@pytest.mark.parametrize("reduce", [functional.logsumexp, functional.sum, functional.softmax, functional.log_softmax])
def test_gradients_of_many_operands_of_which_some_have_others(reduce, count, exact):
    """Grads are added to those that are there already, and written where there are none."""
    w = [Value(0.01 * i) for i in range(count)]
    again = sorted({0, count // 2, count - 1})

    def function(x):
        hidden = [(v * a).tanh() for v, a in zip(w, x)]
        found = reduce(hidden)
        found = functional.dot(found, [float(i % 5) for i in range(count)]) if isinstance(found, list) else found
        return found + functional.sum([hidden[i] * found for i in again])  # their grads are there first

    X = np.random.default_rng(count).normal(size=(9, count))
    f = micrograd.compile(function, exact=exact)
    for samples in (1, 9):
        for v in w:
            v.grad = 0.0
        functional.sum([function([Value(x) for x in sample]) for sample in X[:samples].tolist()]).backward()
        np.testing.assert_allclose(f.value_and_grad(X[:samples])[1], [v.grad for v in f.captured], rtol=1e-10)


@pytest.mark.parametrize("again", [[0], [1], [1, 2]])
@pytest.mark.parametrize("name", ["sub", "where"])
def test_grads_of_what_is_the_same_for_all_samples_are_added_up(name, again, exact):
    """All results of a group that is computed once a call are operands of another group, and some of a later one."""
    w = Value(0.4)
    groups = {
        "sub": lambda a, x: (a - x).sin(),
        "where": lambda a, x: functional.where(x > 0.0, lambda: a.sqrt(), x),
    }

    def function(x):
        shared = [w + 0.1, w + 1.0, w + 2.0]
        first = functional.sum([groups[name](a, x) for a in shared])
        return functional.sum([first / shared[i] for i in again])

    X = np.random.default_rng(5).normal(size=9)
    functional.sum([function(Value(x)) for x in X.tolist()]).backward()
    for samples in (X, np.repeat(X, 30)):
        found = micrograd.compile(function, exact=exact).value_and_grad(samples)[1]
        assert found.tolist() == pytest.approx([w.grad * len(samples) / len(X)], rel=1e-10)

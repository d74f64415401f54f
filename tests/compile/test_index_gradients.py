"""Gradients of what an argument selects: from values in slots, in every mode, and of changed programs."""

from __future__ import annotations

import math

import numpy as np
import pytest

import micrograd
from helpers import agrees
from micrograd import Value, functional
from micrograd._compile import Batch, Program, Traced, check_program


def scores(x, i, j, w):
    """Outputs that select from arguments, from what is computed from them, and from captured leaves; some repeat."""
    items = [x[0] * w[0], x[1], w[1], x[0], x[1], x[2].tanh()]
    return [
        functional.take(items, i) * w[1],
        functional.cross_entropy(items, i),
        functional.cross_entropy(x, j) + functional.take(items, i),
    ]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("i", range(6))
def test_outputs_of_one_sample_of_values_have_eager_gradients(i, exact):
    w = [Value(0.5), Value(-0.75)]
    f = micrograd.compile(lambda x, i, j: scores(x, i, j, w), exact=exact)
    found = []
    for function in (f, lambda x, i, j: scores(x, i, j, w)):
        for weights in ([1.0, 2.0, -0.5], [0.0, 1.0, 0.0]):
            x = [Value(0.25), Value(-1.5), Value(0.75)]
            outputs = function(x, i, i % 3)
            functional.dot(weights, outputs).backward()
            found.append([v.data for v in outputs] + [v.grad for v in [*x, *w]])
            for v in w:
                v.grad = 0.0
    for ours, theirs in zip(found[:2], found[2:]):
        assert all(agrees(a, b, exact) for a, b in zip(ours[:3], theirs[:3]))
        assert ours[3:] == pytest.approx(theirs[3:], rel=1e-12, abs=1e-15)
    for traced in f._programs.values():
        check_program(traced.program)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("samples", [1, 2, 7, 64, 65, 200])
def test_batches_have_eager_gradients(samples, exact):
    """Blocks of less lanes, and of more, than one step handles at once."""
    w = [Value(0.5), Value(-0.75)]
    f = micrograd.compile(lambda x, i, j: functional.sum(scores(x, i, j, w)), exact=exact)
    draw = np.random.default_rng(samples)
    x, i, j = draw.normal(size=(samples, 3)), draw.integers(0, 6, samples), draw.integers(0, 3, samples)
    total, grads = f.value_and_grad(x, i, j)
    losses = [functional.sum(scores([*map(Value, x)], i, j, w)) for x, i, j in zip(x.tolist(), i.tolist(), j.tolist())]
    expected = functional.sum(losses)
    expected.backward()
    assert total == pytest.approx(expected.data, rel=1e-12)
    assert grads.tolist() == pytest.approx([v.grad for v in f.captured], rel=1e-11, abs=1e-13)
    alone = micrograd.compile(lambda x, i, j: functional.sum(scores(x, i, j, w)), exact=exact)
    assert f.map(x, i, j).tolist() == [alone(*sample).data for sample in zip(x.tolist(), i.tolist(), j.tolist())]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("samples", [1, 3])
def test_a_target_among_many_logits(samples, exact):
    """More than one step handles at once, of one sample too."""
    table = [Value(x) for x in np.random.default_rng(1).normal(size=200).tolist()]
    f = micrograd.compile(lambda i: functional.cross_entropy([v * 2.0 for v in table], i), exact=exact)
    for target in (3, 63, 64, 67, 130, 199):
        _, grads = f.value_and_grad([target] * samples)
        expected = micrograd.grad(functional.cross_entropy([v * 2.0 for v in table], target), table)
        assert grads.tolist() == pytest.approx([samples * g for g in expected], rel=1e-11, abs=1e-15)
        loss = f(target)
        assert micrograd.grad(loss, table) == pytest.approx(expected, rel=1e-11, abs=1e-15)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("op", ["_take", "_entropy_normalizer"])
def test_a_changed_pickle_may_have_a_constant_index(op, exact):
    """What it selects from is then invariant too, and computed once a call."""
    w = [Value(1.0), Value(2.0)]
    f = micrograd.compile(lambda x, i: functional.take([*w, w[0]], i) * x)
    f(1.0, 0)
    trace = next(iter(f._programs.values())).program.trace
    unpickle, (instructions, outputs, captured, *counts) = trace.__reduce_ex__(2)
    for index in range(4):
        changed = list(instructions)
        at = next(k for k, (name, _) in enumerate(changed) if name == "_take")
        changed[changed[at][1][-1]] = (240, (float(index),))
        changed[at] = (op, changed[at][1])
        program = Program(unpickle(changed, outputs, captured, *counts))
        check_program(program)
        traced, batch = Traced(program, None, exact=exact), Batch((np.full(3, 2.0), np.zeros(3)))
        if index == 3:
            with pytest.raises(IndexError, match=r"^(index|target) 3 of 3 (items|logits)$"):
                traced.reduce(batch, False, 1)
            continue
        items = [*w, w[0]]
        total = traced.reduce(batch, False, 1)
        expected = items[index] if op == "_take" else functional.logsumexp(items)
        assert total.data == pytest.approx(6.0 * expected.data, rel=1e-13)
        for v in w:
            v.grad = 0.0
        total.backward()
        share = [
            float(k == index) if op == "_take" else (k != index) * math.exp(v.data - expected.data)
            for k, v in enumerate(items)
        ]
        assert [v.grad for v in w] == pytest.approx([6.0 * (share[0] + share[2]), 6.0 * share[1]], rel=1e-13)


@pytest.mark.parametrize("exact", [True, False])
def test_indices_that_are_values_get_no_gradient(exact):
    w = [Value(0.5), Value(-0.75)]
    f = micrograd.compile(lambda x, i, j: scores(x, i, j, w), exact=exact)
    x, i, j = [Value(0.25), -1.5, Value(0.75)], Value(3.0), Value(2.0)
    outputs = f(x, i, j)
    assert all(
        agrees(a.data, b.data, exact) for a, b in zip(outputs, scores([*map(Value, (0.25, -1.5, 0.75))], 3, 2, w))
    )
    functional.sum(outputs).backward()
    assert (i.grad, j.grad) == (0.0, 0.0)
    assert all(parent is not i and parent is not j for y in outputs for parent in y._children)  # not 0 times inf either
    assert x[0].grad != 0.0
    assert x[2].grad != 0.0


def test_of_several_outputs_the_first_error_is_raised():
    w = Value(2.0)
    f = micrograd.compile(
        lambda x, i, j: [functional.take([x, w], i), (x * w).log(), functional.cross_entropy([x, w], j)]
    )
    for x, i, j, kind, message in [
        (-1.0, 2, 2, IndexError, "index 2 of 2 items"),
        (-1.0, 1, 2, ValueError, "math domain error|positive input"),
        (1.0, 1, 2, IndexError, "target 2 of 2 logits"),
        (1.0, 0.5, 2, TypeError, "an index must be an integer, not 0.5"),
    ]:
        for argument in (x, Value(x)):
            with pytest.raises(kind, match=message):
                f(argument, i, j)

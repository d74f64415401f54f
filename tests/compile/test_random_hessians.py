"""Random programs with choices, ties and the ops of one number: data, gradients and Hessians by arguments and by
parameters against PyTorch, which is given the sides that are taken; eager, and compiled for a batch."""

from __future__ import annotations

import operator
import random

import pytest

import micrograd
from both_engines import Eager, Torch
from micrograd import grad

SMOOTH = ["tanh", "sigmoid", "sin", "cos", "exp", "abs", "relu", "erf", "atan", "expm1", "sinh", "cosh"]
ACTIVATIONS = ["gelu", "silu", "mish", "softsign", "elu", "selu", "leaky_relu"]
ABOVE_0 = ["log", "sqrt", "log2", "log10", "log1p", "reciprocal"]
LISTS = ["sum", "mean", "logsumexp"]
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge]
GRID = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]


def steps_of(draw, leaves):
    """Ops and the numbers of their operands, mostly recent ones."""
    steps = []
    for count in range(leaves, leaves + draw.randint(4, 14)):
        picked = [
            draw.randrange(count) if draw.random() < 0.4 else count - draw.randint(1, min(4, count)) for _ in "abcd"
        ]
        kind = draw.choice(["smooth", "activation", "above 0", "binary", "extreme", "clamp", "list", "where", "where"])
        names = {"smooth": SMOOTH, "activation": ACTIVATIONS, "above 0": ABOVE_0, "list": LISTS, "where": COMPARISONS}
        name = draw.choice(names.get(kind, ["maximum", "minimum"] if kind == "extreme" else range(7)))
        steps.append((kind, name, picked, draw.choice(["alone", "and", "or", "not"])))
    return steps


def condition(e, compare, logic, a, b, c):
    first = compare(a, b)
    if logic == "not":
        return e.F.logical_not(first)
    return first if logic == "alone" else getattr(e.F, f"logical_{logic}")(first, e.F.logical_not(e.F.eq(b, c)))


def program(e, steps, leaves):
    """Values are computed when they are first needed, so that eager code and PyTorch compute the sides taken alone."""
    known = dict(enumerate(leaves))

    def node(i):
        if i not in known:
            kind, name, picked, logic = steps[i - len(leaves)]
            known[i] = step(kind, name, picked, logic)
        return known[i]

    def step(kind, name, picked, logic):
        a, b = node(picked[0]), node(picked[1])
        if kind == "smooth":
            return getattr(e.F, name)(a) if name in ("erf", "atan", "expm1") else getattr(a.tanh() * 2, name)()
        if kind == "activation":
            return getattr(e.F, name)(a)
        if kind == "above 0":
            return e.F.where(a > 0.25, lambda: getattr(a, name)(), lambda: node(picked[2]))
        if kind == "extreme":
            return getattr(e.F, name)(a, b)
        if kind == "clamp":
            return e.F.clamp(a, -1.0, 0.5)
        if kind == "list":
            return getattr(e.F, name)([a, b, a * b])
        if kind == "where":
            chosen = condition(e, name, logic, a, b, node(leaves_count))
            return e.F.where(chosen, lambda: node(picked[2]), lambda: node(picked[3]))
        positive = b * b + 0.5
        return [a + b, a - b, a * b, a / positive, positive**1.5, 2.0 ** b.tanh(), positive ** a.tanh()][name]

    leaves_count = len(leaves) - 1
    return node(len(leaves) + len(steps) - 1).tanh()


def hessian_in_torch(torch, y, leaves):
    def by_leaves(output, create_graph):
        if not output.requires_grad:
            return [output.new_zeros(())] * len(leaves)
        found = torch.autograd.grad(output, leaves, create_graph=create_graph, retain_graph=True, allow_unused=True)
        return [output.new_zeros(()) if g is None else g for g in found]

    first = by_leaves(y, True)
    return [y.item(), *(g.item() for g in first), *(h.item() for g in first for h in by_leaves(g, False))]


def hessian(y, leaves, zero):
    """The data, the gradient and the rows of the Hessian as Values."""
    first = [zero if g is None else g for g in grad(y, leaves, create_graph=True, allow_unused=True)]
    rows = [grad(g, leaves, create_graph=True, allow_unused=True) for g in first]
    return [y, *first, *(zero if h is None else h for row in rows for h in row)]


@pytest.mark.parametrize("seed", range(60))
def test_hessians_are_pytorchs(seed):
    engine, eager, draw = Torch(), Eager(), random.Random(seed)
    data = [draw.choice(GRID) if draw.random() < 0.5 else draw.uniform(-2, 2) for _ in range(2)]
    samples = [[draw.choice(GRID) if draw.random() < 0.5 else draw.uniform(-2, 2) for _ in range(2)] for _ in range(6)]
    steps, params = steps_of(draw, 4), eager.values(data)

    def everything(a, b):
        leaves = [a, b, *params]
        return hessian(program(eager, steps, leaves), leaves, 0.0 * a.detach())

    expected = []
    for sample in samples:
        leaves = engine.values([*sample, *data])
        expected.append(hessian_in_torch(engine.torch, program(engine, steps, leaves), leaves))
        scale = max(1.0, *map(abs, expected[-1]))
        found = [v.data for v in everything(*eager.values(sample))]
        assert found == pytest.approx(expected[-1], rel=1e-9, abs=1e-10 * scale), sample
    for exact in (False, True):
        batch = micrograd.compile(everything, exact=exact).map(*map(list, zip(*samples)))
        for sample, row, theirs in zip(samples, batch.tolist(), expected):
            scale = max(1.0, *map(abs, theirs))
            assert row == pytest.approx(theirs, rel=1e-9, abs=1e-10 * scale), (sample, exact)

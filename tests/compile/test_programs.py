"""The compiled program: its rules, its listing, and `micrograd.compiler.Compiled.program`."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

import micrograd
from helpers import BINARY, UNARY, agrees, op
from micrograd import Value, functional, nn, nn_tanh
from micrograd._compile import check_program
from micrograd._core import op_columns
from micrograd.compiler import Compiled

# ---- Rules -----------------------------------------------------------------------------------------------------------


def test_a_program_that_breaks_a_rule_says_which():
    f = micrograd.compile(lambda x: Value(2.0) * x[0] + x[1])
    f([1.0, 2.0])
    (traced,) = f._programs.values()
    load, (made, *rest) = traced.program.trace.__reduce__()
    for changed, message in [
        ((made, [len(made)], *rest[1:]), "outputs are instructions"),
        ((made, rest[0], [1.0], *rest[2:]), "captured leaves are Values"),
        ((made, *rest[:2], -1, *rest[3:]), "at least 0"),
        ((made, *rest[:2], 1, *rest[3:]), "instruction 1 is one of the captured leaves or arguments"),
        (([*made, ("tanh", (0, 1))], *rest), f"instruction {len(made)} has the operands of its op"),
        (
            ([*made, ("tanh", (len(made),))], *rest),
            f"instruction {len(made)} reads earlier ones",
        ),
        (([*made, ("fly", (0,))], *rest), f"instruction {len(made)} is an op"),
        (([*made, (99, (0,))], *rest), f"instruction {len(made)} is of an op in the table"),
        (([*made, ("max", ())], *rest), f"instruction {len(made)} has the operands of its op"),
        (([*made, (243, (0, 0))], *rest), f"instruction {len(made)} is a bias and pairs of factors"),
        (([*made, (240, (1,))], *rest), f"instruction {len(made)} is a float"),
        ((made, *rest[:-1]), "seven fields"),
    ]:
        with pytest.raises(ValueError, match=message):
            load(*changed)
    assert load(made, *rest).outputs == traced.program.trace.outputs
    state = f.__getstate__()
    for key in [
        ((None,), (), ()),
        (((list, 3),), (), ()),
        ((), (("x", (list, 1)),), ()),
        (),
        "x",
        ((None, "x"), (), ()),
    ]:
        with pytest.raises(ValueError, match=r"structure of arguments|number of arguments|not the tree"):
            Compiled.__new__(Compiled).__setstate__({**state, "_programs": {key: traced}})
    for name, wrong in [("_threads", 0), ("_threads", "2"), ("_programs", []), ("_programs", {((), (), ()): f})]:
        with pytest.raises(ValueError, match="a compiled function"):
            Compiled.__new__(Compiled).__setstate__({**state, name: wrong})


def test_every_program_keeps_to_the_rules():
    model, w = micrograd.MLP(3, [4, 5, 2]), Value(2.0)
    functions = [
        lambda x: functional.softmax(model(x)),
        lambda x: functional.cross_entropy(model(x), [0.5, 0.5]) + functional.sum([p * p for p in model.parameters()]),
        lambda x: [w, 3.0, x[0], x[0] * w, functional.dot([], [], x[0]), functional.sum([])],
        lambda x: [x[0] * x[0] + x[1] * x[0] + w * x[0] + w * w, x[0] + x[0], functional.logsumexp([x[0], w, w])],
        lambda x: functional.linear(x, [[w, w, w], [x[0], x[1], 1.0]], [x[0], w]),
        lambda x: x[0] * x[2] + x[1] * x[1] + x[2] * x[0],  # slots in equal steps
        lambda x: x[0] * x[2] + x[1] * x[0] + x[2] * x[2],  # in no order
    ]
    for function in functions:
        f = micrograd.compile(function)
        f([1.0, 2.0, 3.0])
        (traced,) = f._programs.values()
        check_program(traced.program)


# ---- Slots -----------------------------------------------------------------------------------------------------------


def slots(function, *args, **static):
    """Of the program for these arguments, with gradients."""
    compiled = micrograd.compile(function, static_argnames=tuple(static))
    compiled.map(*[np.empty((0, *np.shape(arg))) for arg in args], **static)
    (traced,) = compiled._programs.values()
    return traced.program.counts(gradients=True)[1]


def added_slots(function, n=64):
    """How many slots a link more of a chain takes, for each of n chains."""
    return (slots(function, [1.0] * n, chain=5) - slots(function, [1.0] * n, chain=3)) / (2 * n)


@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_what_no_partial_reads_has_no_slot_in_the_backward_pass(name):
    """A link is a product with a weight, which reads what the link before gave, and the op, which reads its operands if
    its partials do."""
    w = Value(0.5)
    reads = set().union(*op_columns(name)["reads"])

    def ops(x, chain):
        for _ in range(chain):
            x = [op(name)(v * w) if name in UNARY else op(name)(v * w, w) for v in x]
        return functional.sum(x)

    assert added_slots(ops) == 1 + ("a" in reads)


@pytest.mark.parametrize(("reduce", "kept"), [(functional.sum, 0), (functional.logsumexp, 2)])
def test_an_op_of_many_arguments_keeps_those_that_it_reads(reduce, kept):
    """A link is two products with a weight, which read what the link before gave, and the op."""
    w = Value(0.5)

    def ops(x, chain):
        for _ in range(chain):
            x = [reduce([v * w, v * 0.25]) for v in x]
        return functional.sum(x)

    assert added_slots(ops) == 1 + kept


@pytest.mark.parametrize("module", [nn, nn_tanh])
def test_a_network_keeps_the_inputs_of_its_layers(module):
    """64 of each, and up to two layers' grads; the activations are computed in place."""
    model = module.MLP(64, [64, 64, 64, 64, 1])
    deeper = module.MLP(64, [64, 64, 64, 64, 64, 64, 1])

    def count(model):
        return slots(lambda x, y: (model(x) - y) ** 2, [1.0] * 64, 0.0)

    assert count(model) <= 64 * 7 + 8
    assert count(deeper) - count(model) == 2 * 64


def test_a_layer_of_numbers_does_not_keep_its_inputs():
    """Links of a layer of numbers and tanh, whose results are kept: the inputs' grads do not depend on the inputs."""
    w, weights = Value(0.5), np.random.default_rng(0).normal(size=(64, 64)).tolist()

    def layers(x, chain):
        x = [v * w for v in x]
        for _ in range(chain):
            x = [(v + 1.0).tanh() for v in functional.linear(x, weights)]
        return functional.sum(x)

    assert added_slots(layers) == 1


# ---- The listing -----------------------------------------------------------------------------------------------------


def test_the_listing_tells_what_was_done():
    model = nn.MLP(2, [4, 1])

    def loss(x, y):
        return (1 - y * model(x)).relu() + 1e-4 * functional.sum([p * p for p in model.parameters()])

    f = micrograd.compile(loss)
    assert f.program == ""
    assert repr(f.program) == "<no program: not called yet>"
    f.mean(np.ones((3, 2)), np.ones(3))
    text = f.program
    assert repr(text) == str(text) == text == pickle.loads(pickle.dumps(text))
    for part in (
        "loss(2 numbers, number)",
        "17 captured leaves",
        "1 layers",
        "once a call:",
        "each sample:",
        "returns: r",
    ):
        assert part in text, part
    assert repr(f) == "<compiled test_the_listing_tells_what_was_done.<locals>.loss, 1 programs>"


def test_the_listing_of_a_network_is_one_layer_after_another():
    f = micrograd.compile(nn_tanh.MLP(1, [2, 3, 1]))
    f([1.0])
    assert f.program.splitlines()[7:] == [
        "  each sample:",
        "    r0, r1 = layer of 1 inputs, 2 outputs: w1 + w0 x0, w3 + w2 x0",
        "    r2, r3 = tanh(r0), tanh(r1)",
        "    r4 … r6 = layer of 2 inputs, 3 outputs: w6 + w4 r2 + w5 r3 … w12 + w10 r2 + w11 r3",
        "    r7 … r9 = tanh(r4) … tanh(r6)",
        "    r10 = w16 + w13 r7 + … + w15 r9",
        "    r11 = tanh(r10)",
        "  returns: r11",
    ]


def test_the_listing_counts_what_was_folded_and_dropped(exact):
    w = Value(2.0)

    def f(x, unused):
        total = w * x[0]
        for xi in x[1:]:
            total = total + w * xi
        twice = (w * x[0]).exp() + (w * x[0]).exp()
        return total * (Value(2.0) * 3) + twice

    compiled = micrograd.compile(f, exact=exact)
    assert agrees(compiled([1.0, 2.0, 3.0], 4.0).data, 12.0 * 6.0 + 2 * math.exp(2.0), exact)
    text = compiled.program
    assert "dropped: 3 ops met before, 1 arguments unused" in text
    assert "folded: 1 ops" in text

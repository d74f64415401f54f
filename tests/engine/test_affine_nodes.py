"""An affine node (`functional.dot`) against the same sum op by op: data, grads and graph."""

from __future__ import annotations

import random

import pytest

from helpers import graph_of, numbers_of, path_of_tests
from micrograd import Value, functional
from reliability import counts

KINDS = {
    "values": lambda rng: [Value(rng.uniform(-1, 1)) for _ in range(5)],
    "numbers": lambda rng: [rng.uniform(-1, 1) for _ in range(5)],
    "mixed": lambda rng: [Value(0.5), 2, Value(-1.0), 0.25, True],
}


BIASES = {"bias": lambda: Value(0.3), "number": lambda: 0.3, "none": lambda: None}


def pair(kind, bias):
    """An affine node and the same sum op by op, each over Values of its own."""
    made = []
    for affine in (True, False):
        rng = random.Random(7)
        ws = [Value(rng.uniform(-1, 1)) for _ in range(5)]
        xs, b = KINDS[kind](rng), BIASES[bias]()
        op_by_op = sum((w * x for w, x in zip(ws, xs)), 0.0 if b is None else b)
        total = functional.dot(ws, xs, b) if affine else op_by_op
        leaves = [v for v in (*ws, *xs, b) if isinstance(v, Value)]
        made.append((total, leaves))
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("passes", [0, 1, 2, 3])
def test_an_affine_node_has_the_data_grads_and_graph_of_single_ops(kind, bias, passes):
    (affine, affine_leaves), (plain, plain_leaves) = pair(kind, bias)
    roots = [(total * total).tanh() for total in (affine, plain)]
    for _ in range(passes):
        for root in roots:
            root.backward()
    assert affine.data == plain.data
    assert [v.grad for v in affine_leaves] == pytest.approx([v.grad for v in plain_leaves], rel=1e-14)
    seen, expected = graph_of(affine), graph_of(plain)
    assert numbers_of(seen)[2::3] == numbers_of(expected)[2::3]
    if passes < 2:  # a number's grad is known of the last pass only
        assert numbers_of(seen) == pytest.approx(numbers_of(expected), rel=1e-14)


@pytest.mark.parametrize("passes_before", [0, 1, 2])
def test_further_passes_are_the_same_after_an_affine_node_was_materialized(passes_before):
    totals = pair("values", "bias")
    for total, _ in totals:
        root = total.tanh() * total
        for i in range(3):
            if i == passes_before:
                assert len(total._prev) == 2
            root.backward()
    (_, affine), (_, plain) = totals
    assert [v.grad for v in affine] == pytest.approx([v.grad for v in plain], rel=1e-14)


def test_clearing_a_graph_clears_the_adjoints_of_an_affine_node():
    (affine, leaves), (_, plain_leaves) = pair("values", "bias")
    for _ in range(3):
        affine.backward()
        affine.zero_grad()
    assert {v.grad for v in leaves} == {0.0}
    assert {v.grad for v in affine._children} == {0.0}
    affine.backward()
    plain_leaves[0].grad = 0.0
    assert leaves[-1].grad == 1.0


def test_data_are_read_when_backward_runs():
    w, x = Value(2.0), Value(3.0)
    total = functional.dot([w], [x])
    x.data = 10.0
    total.backward()
    assert w.grad == 10.0


def test_affine_nodes_over_irregular_nodes_take_the_general_path():
    x = Value(3.0)
    own = Value(9.0, (x,), "square")
    own._backward = lambda: setattr(x, "grad", x.grad + 2 * x.data * own.grad)
    functional.dot([Value(2.0)], [own]).backward()
    assert x.grad == 12.0


@counts.able
@pytest.mark.parametrize("weights", ["leaves", "results"])
@pytest.mark.parametrize("inputs", ["[Value(0.5), Value(-1.0)]", "[0.5, -1.0]"])
def test_an_output_of_a_layer_is_one_node(check, inputs, weights):
    """Hidden layers' too, and after passes: products and sums have no nodes unless someone looks at them."""
    check(
        f"""
        from micrograd import functional, nn
        from reliability.counts import live_nodes
        layers, model, x = nn.Layer(2, 2), nn.MLP(2, [4, 3, 2]), {inputs}
        for neuron in [n for layer in model.layers for n in layer.neurons] if {weights == "results"} else []:
            neuron.w = [w * 1.0 for w in neuron.w]
        before = live_nodes()
        outs = [functional.dot(layers.neurons[0].w, x, layers.neurons[0].b), *layers(x), *model(x)]
        assert live_nodes() - before == 1 + 2 + 4 + 3 + 2
        root = functional.sum(outs)
        for _ in range(2):
            root.backward()
        assert live_nodes() - before == 1 + 2 + 4 + 3 + 2 + 1
        """,
        **path_of_tests(),
    )


def test_a_sum_begins_at_0():
    """So a first product of -0.0 is added to 0.0, in the data and in the nodes that Python code sees."""
    y = functional.dot([Value(-1.0), Value(1.0)], [Value(0.0), Value(-0.0)])
    first, _ = y._children
    assert (first._op, str(first.data), str(y.data)) == ("+", "0.0", "0.0")
    assert [str(v.data) for v in first._children] == ["-0.0", "0.0"]

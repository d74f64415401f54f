"""Networks, whose inner layers are hidden, against the same sums written out: data, grads, graph, and what is freed."""

from __future__ import annotations

import contextlib
import gc
import random
import sys

import pytest

import micrograd
from helpers import doubled, graph_of, numbers_of
from micrograd import Value, functional, nn, nn_tanh


def written_out(model, x):
    """What the network computes, op by op."""
    for layer in model.layers:
        outs = []
        for n in layer.neurons:
            total = sum((w * xi for w, xi in zip(n.w, x)), n.b)
            outs.append(getattr(total, n.activation)() if n.nonlin else total)
        x = outs
    return x[0] if len(x) == 1 else x


def networks(dialect, nin, nouts, values):
    """Two equal networks and samples."""
    made = []
    for _ in range(2):
        random.seed(3)
        model = dialect.MLP(nin, nouts)
        x = [random.uniform(-1, 1) for _ in range(nin)]
        made.append((model, list(map(Value, x)) if values else x))
    return made


@pytest.mark.parametrize("dialect", [nn, nn_tanh], ids=["relu", "tanh"])
@pytest.mark.parametrize("values", [False, True], ids=["numbers", "values"])
@pytest.mark.parametrize("passes", [0, 1, 2, 3])
def test_a_network_cannot_be_told_from_one_written_out(dialect, values, passes):
    (model, x), (plain_model, plain_x) = networks(dialect, 3, [4, 2, 1], values)
    hidden, plain = model(x), written_out(plain_model, plain_x)
    assert hidden.data == plain.data
    for _ in range(passes):
        hidden.backward()
        plain.backward()
    grads, expected = ([p.grad for p in m.parameters()] for m in (model, plain_model))
    assert grads == pytest.approx(expected, rel=1e-13)
    if values:
        assert [v.grad for v in x] == pytest.approx([v.grad for v in plain_x], rel=1e-13)
    seen, shown = graph_of(hidden), graph_of(plain)
    assert numbers_of(seen)[2::3] == numbers_of(shown)[2::3]
    if values or passes < 2:  # a number's grad is known of the last pass only
        assert numbers_of(seen) == pytest.approx(numbers_of(shown), rel=1e-12)


@pytest.mark.parametrize("width", [127, 128, 129, 300])
@pytest.mark.parametrize("values", [False, True], ids=["numbers", "values"])
def test_sums_longer_than_what_is_read_at_a_time(width, values):
    (model, x), (plain_model, plain_x) = networks(nn_tanh, width, [3, 1], values)
    hidden, plain = model(x), written_out(plain_model, plain_x)
    assert hidden.data == plain.data
    hidden.backward()
    plain.backward()
    grads, expected = ([p.grad for p in m.parameters()] for m in (model, plain_model))
    assert grads == pytest.approx(expected, rel=1e-12)
    if values:
        assert [v.grad for v in x] == pytest.approx([v.grad for v in plain_x], rel=1e-12)


def test_a_layer_wider_than_a_slab_of_nodes():
    (model, x), (plain_model, plain_x) = networks(nn_tanh, 2, [1500, 1], True)
    hidden, plain = model(x), written_out(plain_model, plain_x)
    for root in (hidden, plain):
        root.backward()
    assert [v.grad for v in x] == pytest.approx([v.grad for v in plain_x], rel=1e-10)


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 60))])
def test_a_network_cannot_be_told_whatever_is_done_with_it(seed):
    """Hidden layers are materialized when read: before, between or after passes from some of the outputs."""
    rng = random.Random(seed)
    values, shape = rng.random() < 0.5, [rng.choice([1, 2, 3, 16]) for _ in range(rng.choice([2, 3, 4]))]
    pairs = networks(rng.choice([nn, nn_tanh]), 2, [*shape, 3], values)
    sides = [(model, x, model(x) if i == 0 else written_out(model, x)) for i, (model, x) in enumerate(pairs)]
    for _ in range(5):
        action, which, some = rng.choice("balzug"), rng.randrange(3), rng.sample(range(3), 2)
        found = []
        for model, x, outs in sides:
            if action == "b":
                outs[which].backward()
            elif action == "a":
                sum(outs[i] * i for i in some).backward()
            elif action == "l":
                found.append(numbers_of(graph_of(outs[which]))[::3])  # a number's grad may not be known
            elif action == "z":
                outs[which].zero_grad()
                model.zero_grad()
            elif action == "u":  # a node that was not materialized so far, in a graph of its own
                (outs[which]._children[0] * 2 + outs[0]).backward()
            else:
                gc.collect()
            leaves = model.parameters() + (x if values else [])
            found.append([v.grad for v in leaves])
        assert found[: len(found) // 2] == [pytest.approx(f, rel=1e-10, abs=1e-13) for f in found[len(found) // 2 :]]


def test_a_network_that_goes_leaves_no_references():
    model, x = networks(nn_tanh, 3, [4, 4, 2], True)[0]
    held = [*x, *model.parameters()]
    model(x)  # the neurons make their tuples of weights
    references = list(map(sys.getrefcount, held))
    for use in (lambda outs: None, lambda outs: sum(outs).backward(), lambda outs: outs[0]._children):
        use(model(x))
        kept = model(x)[1]
        use([kept])
        assert all(now > before for now, before in zip(map(sys.getrefcount, x), references))
        del kept
        assert list(map(sys.getrefcount, held)) == references


def test_outputs_that_take_no_part_add_no_grads():
    random.seed(1)
    layer = nn.Layer(2, 4, nonlin=False)
    x = [Value(2.0), Value(3.0)]
    outs = layer(x)
    (outs[0] + outs[2]).backward()
    assert [n.w[0].grad for n in layer.neurons] == [2.0, 0.0, 2.0, 0.0]
    assert x[0].grad == layer.neurons[0].w[0].data + layer.neurons[2].w[0].data


def test_a_neuron_of_a_layer_outlives_the_others():
    random.seed(1)
    layer = nn_tanh.Layer(2, 3)
    x = [Value(2.0), Value(3.0)]
    kept = layer(x)[1]
    del layer.neurons[0]
    gc.collect()
    kept.backward()
    assert layer.neurons[0].w[1].grad == pytest.approx(3.0 * (1 - kept.data**2))
    assert kept._op == "tanh"
    (total,) = kept._children
    assert total._op == "+"


@pytest.mark.parametrize("where", ["weight", "bias"])
def test_weights_that_are_results_pass_their_grads_on(where):
    neuron, source = nn.Neuron(2, nonlin=False), Value(0.5)
    if where == "weight":
        neuron.w[1] = source * 3
    else:
        neuron.b = source * 3
    layer = nn.Layer(2, 1, nonlin=False)
    layer.neurons[0] = neuron
    for call in (neuron, layer, layer):  # the last finds the tuple of the one before
        out = call([1.0, 4.0])
        out.zero_grad()
        out.backward()
        assert source.grad == (12.0 if where == "weight" else 3.0)


def test_a_hidden_neuron_without_a_bias():
    """Its sum begins at 0.0, a leaf with a grad as others have."""
    model = nn.MLP(1, [1, 1])
    neuron = model.layers[0].neurons[0]
    neuron.nonlin, neuron.b = False, None
    y = model([2.0])
    y.backward()
    (product,) = (v for v in y._children if v._op == "*")
    (hidden,) = (v for v in product._children if v._op)
    (zero,) = (v for v in hidden._children if not v._op)
    assert (str(zero.data), hidden._op) == ("0.0", "+")
    assert zero.grad == hidden.grad == model.layers[1].neurons[0].w[0].data


@pytest.mark.parametrize("at", range(21))
def test_any_parameter_may_be_a_result_of_a_users_op(at):
    """Wherever it is, the network's outputs are walked in depth-first order."""
    random.seed(at)
    model, x = nn.MLP(2, [2, 2, 2, 1], activation="tanh"), [Value(0.5), Value(-0.25)]
    places = [(n.w, i) for layer in model.layers for n in layer.neurons for i in range(2)]
    places += [(n, "b") for layer in model.layers for n in layer.neurons]
    model(x).backward()
    holder, place = places[at]
    own = holder[place] if isinstance(holder, list) else holder.b
    expected = [2.0 * own.grad, x[0].grad, x[1].grad]
    source, x = Value(own.data / 2.0), [Value(0.5), Value(-0.25)]
    if isinstance(holder, list):
        holder[place] = doubled(source)
    else:
        holder.b = doubled(source)
    model(x).backward()
    assert [v.grad for v in (source, *x)] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("neurons", [1022, 1023, 1024, 1025])
@pytest.mark.parametrize("outer", [[1], [3], [5, 1]], ids=str)
def test_networks_about_as_large_as_a_slab(neurons, outer):
    """The slots of all hidden layers and of the outputs are in one slab, of 1,023 slots, or hidden layers are nodes."""
    (model, x), (plain_model, _) = networks(nn, 1, [neurons - sum(outer), *outer], False)
    hidden, plain = ([y] if isinstance(y, Value) else y for y in (model(x), written_out(plain_model, x)))
    assert [y.data for y in hidden] == [y.data for y in plain]
    for outputs in (hidden, plain):
        functional.sum(outputs).backward()
    for p, q in zip(model.parameters(), plain_model.parameters()):
        assert p.grad == pytest.approx(q.grad, rel=1e-9, abs=1e-12)


class Other(nn.Neuron):
    pass


def layer_of(rows, biases, activation=None, last=nn.Neuron):
    layer = nn.Layer(2, len(rows), activation=activation)
    layer.neurons[-1] = last(2)
    for neuron, w, b in zip(layer.neurons, rows, biases):
        neuron.w, neuron.b = w, b
    return layer


GIVEN_UP = {
    "in no_grad": lambda rows, biases: micrograd.no_grad(functional.linear)([1.0, 2.0], rows, biases),
    "a layer in no_grad": lambda rows, biases: micrograd.no_grad(layer_of(rows, biases))([1.0, 2.0]),
    "inputs of both kinds": lambda rows, biases: functional.linear([1.0, Value(2.0)], rows, biases),
    "a bias that is none": lambda rows, biases: functional.linear([1.0, 2.0], rows, [*biases[:-1], None]),
    "an activation that raises": lambda rows, biases: layer_of(rows, biases, "log")([-1.0, -2.0]),
    "a neuron of another class": lambda rows, biases: layer_of(rows, biases, last=Other)([1.0, 2.0]),
    "a row that is no list": lambda rows, biases: functional.linear([1.0, 2.0], [*rows[:-1], tuple(rows[-1])], biases),
    "a weight that is a number": lambda rows, biases: functional.linear([1.0, 2.0], [*rows[:-1], [1.0, 2.0]], biases),
}


@pytest.mark.parametrize("work", GIVEN_UP)
def test_layers_without_nodes_give_up_their_weights(work):
    rows, biases = [[Value(1.0), Value(2.0)] for _ in range(3)], [Value(3.0) for _ in range(3)]
    leaves = [*biases, *(w for row in rows for w in row)]
    for _ in range(2):
        gc.collect()
        before = [sys.getrefcount(leaf) for leaf in leaves]
        with contextlib.suppress(TypeError, ValueError):
            GIVEN_UP[work](rows, biases)
        gc.collect()
        assert [sys.getrefcount(leaf) for leaf in leaves] == before


@pytest.mark.parametrize("inputs", [lambda x, y: [x, y, 3.0], lambda x, y: [3.0, x, y], lambda x, y: [x, 3.0, y]])
def test_inputs_of_both_kinds_are_given_up(inputs):
    x, y = Value(1.0), Value(2.0)
    model = nn.MLP(3, [2, 1])
    before = sys.getrefcount(x), sys.getrefcount(y)
    for _ in range(2):
        model(inputs(x, y))
        assert (sys.getrefcount(x), sys.getrefcount(y)) == before


@pytest.mark.parametrize(
    "work",
    [
        lambda x: functional.dot([x], [x]),
        lambda x: micrograd.grad(x * x * 2.0 + x * 3.0 * x, x, create_graph=True),
        lambda x: micrograd.no_grad(functional.dot)([x], [2.0]),
    ],
    ids=["a sum", "a gradient", "in no_grad"],
)
def test_sums_without_a_bias_keep_no_reference_to_none(work):
    """And give up none that they do not have."""
    x = Value(2.0)
    for _ in range(2):
        before = sys.getrefcount(None)
        for _ in range(1000):
            work(x)
    assert abs(sys.getrefcount(None) - before) < 100


def test_a_layer_of_more_than_a_slab_whose_last_activation_raises_gives_up_its_weights():
    layer = nn.Layer(1, 1100, activation="sqrt")
    for w in layer.parameters():
        w.data = 1.0
    layer.neurons[-1].b.data = -9.0
    for at in (0, 1022, 1023, 1024, 1099):
        weight = layer.neurons[at].w[0]
        with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
            layer([1.0])
        layer.neurons[at].w = [Value(1.0)]
        with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
            layer([1.0])
        assert sys.getrefcount(weight) == 2


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_hidden_neurons_before_one_whose_derivative_raises(passes):
    """They propagate, in each pass, what their nodes would."""
    found = []
    for look in (False, True):
        model = nn_tanh.MLP(1, [3, 2], activation="sqrt")
        for p in model.parameters():
            p.data = 1.0
        model.layers[0].neurons[0].b.data = -2.0
        outputs = model([2.0])
        if look:
            numbers_of(graph_of(outputs[0]))
        for k in range(passes):
            with pytest.raises(ZeroDivisionError):
                outputs[k % 2].backward()
        found.append([p.grad for p in model.parameters()])
    assert found[0] == pytest.approx(found[1], rel=1e-12)

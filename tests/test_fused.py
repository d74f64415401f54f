"""Fused sums, invisible in a graph: of `functional.dot`, and of the neurons of a network, which share their sample."""

import gc
import math
import random
import sys

import pytest
from oracle import complaint

from micrograd import Value, functional, mlp, nn

KINDS = {
    "values": lambda rng: [Value(rng.uniform(-1, 1)) for _ in range(5)],
    "numbers": lambda rng: [rng.uniform(-1, 1) for _ in range(5)],
    "mixed": lambda rng: [Value(0.5), 2, Value(-1.0), 0.25, True],
}
BIASES = {"bias": lambda: Value(0.3), "number": lambda: 0.3, "none": lambda: None}


def pair(kind, bias):
    """A fused sum over parameters, and the same written out, each over Values of its own."""
    made = []
    for fused in (True, False):
        rng = random.Random(7)
        ws = [Value(rng.uniform(-1, 1)) for _ in range(5)]
        xs, b = KINDS[kind](rng), BIASES[bias]()
        written_out = sum((w * x for w, x in zip(ws, xs)), 0.0 if b is None else b)
        total = functional.dot(ws, xs, b) if fused else written_out
        leaves = [v for v in (*ws, *xs, b) if isinstance(v, Value)]
        made.append((total, leaves))
    return made


def walk(value):
    """The graph as nested tuples, as `_prev` and its kin show it."""
    return (value.data, value.grad, value._op, tuple(map(walk, value._children)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("passes", [0, 1, 2, 3])
def test_a_fused_sum_cannot_be_told_from_one_written_out(kind, bias, passes):
    (fused, fused_leaves), (plain, plain_leaves) = pair(kind, bias)
    roots = [(total * total).tanh() for total in (fused, plain)]
    for _ in range(passes):
        for root in roots:
            root.backward()
    assert fused.data == plain.data
    assert [v.grad for v in fused_leaves] == pytest.approx([v.grad for v in plain_leaves], rel=1e-14)
    seen, expected = walk(fused), walk(plain)
    assert flat(seen)[2::3] == flat(expected)[2::3]
    if passes < 2:  # a number's grad is known of the last pass only
        assert flat(seen) == pytest.approx(flat(expected), rel=1e-14)


def flat(tree):
    data, grad, op, children = tree
    return [data, grad, len(op), *(x for child in children for x in flat(child))]


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_backward_goes_on_the_same_after_somebody_looked_into_a_fused_sum(looks):
    totals = pair("values", "bias")
    for total, _ in totals:
        root = total.tanh() * total
        for i in range(3):
            if i == looks:
                assert len(total._prev) == 2
            root.backward()
    (_, fused), (_, plain) = totals
    assert [v.grad for v in fused] == pytest.approx([v.grad for v in plain], rel=1e-14)


def test_clearing_a_graph_clears_what_is_inside_a_fused_sum():
    (fused, leaves), (_, plain_leaves) = pair("values", "bias")
    for _ in range(3):
        fused.backward()
        fused.zero_grad()
    assert {v.grad for v in leaves} == {0.0}
    assert {v.grad for v in fused._children} == {0.0}
    fused.backward()
    plain_leaves[0].grad = 0.0
    assert leaves[-1].grad == 1.0


def test_data_are_read_when_backward_runs():
    w, x = Value(2.0), Value(3.0)
    total = functional.dot([w], [x])
    x.data = 10.0
    total.backward()
    assert w.grad == 10.0


def test_fused_sums_over_irregular_nodes_take_the_general_path():
    x = Value(3.0)
    own = Value(9.0, (x,), "square")
    own._backward = lambda: setattr(x, "grad", x.grad + 2 * x.data * own.grad)
    functional.dot([Value(2.0)], [own]).backward()
    assert x.grad == 12.0


# -- networks: a node a neuron, rows and samples shared


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


@pytest.mark.parametrize("dialect", [nn, mlp], ids=["relu", "tanh"])
@pytest.mark.parametrize("values", [False, True], ids=["numbers", "values"])
@pytest.mark.parametrize("passes", [0, 1, 2, 3])
def test_a_network_cannot_be_told_from_one_written_out(dialect, values, passes):
    (fused_model, fused_x), (plain_model, plain_x) = networks(dialect, 3, [4, 2, 1], values)
    fused, plain = fused_model(fused_x), written_out(plain_model, plain_x)
    assert fused.data == plain.data
    for _ in range(passes):
        fused.backward()
        plain.backward()
    grads, expected = ([p.grad for p in m.parameters()] for m in (fused_model, plain_model))
    assert grads == pytest.approx(expected, rel=1e-13)
    if values:
        assert [v.grad for v in fused_x] == pytest.approx([v.grad for v in plain_x], rel=1e-13)
    seen, shown = walk(fused), walk(plain)
    assert flat(seen)[2::3] == flat(shown)[2::3]
    if values or passes < 2:  # a number's grad is known of the last pass only
        assert flat(seen) == pytest.approx(flat(shown), rel=1e-12)


@pytest.mark.parametrize("width", [127, 128, 129, 300])
@pytest.mark.parametrize("values", [False, True], ids=["numbers", "values"])
def test_sums_longer_than_what_is_read_at_a_time(width, values):
    (fused_model, fused_x), (plain_model, plain_x) = networks(mlp, width, [3, 1], values)
    fused, plain = fused_model(fused_x), written_out(plain_model, plain_x)
    assert fused.data == plain.data
    fused.backward()
    plain.backward()
    grads, expected = ([p.grad for p in m.parameters()] for m in (fused_model, plain_model))
    assert grads == pytest.approx(expected, rel=1e-12)
    if values:
        assert [v.grad for v in fused_x] == pytest.approx([v.grad for v in plain_x], rel=1e-12)


def test_a_layer_wider_than_a_slab_of_nodes():
    (fused_model, fused_x), (plain_model, plain_x) = networks(mlp, 2, [1500, 1], True)
    fused, plain = fused_model(fused_x), written_out(plain_model, plain_x)
    for root in (fused, plain):
        root.backward()
    assert [v.grad for v in fused_x] == pytest.approx([v.grad for v in plain_x], rel=1e-10)


@pytest.mark.parametrize("seed", range(60))
def test_a_network_cannot_be_told_whatever_is_done_with_it(seed):
    """Hidden layers get their nodes when somebody looks: before, between or after passes from some of the outputs."""
    rng = random.Random(seed)
    values, shape = rng.random() < 0.5, [rng.choice([1, 2, 3, 16]) for _ in range(rng.choice([2, 3, 4]))]
    pairs = networks(rng.choice([nn, mlp]), 2, [*shape, 3], values)
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
                found.append(flat(walk(outs[which]))[::3])  # a number's grad may not be known
            elif action == "z":
                outs[which].zero_grad()
                model.zero_grad()
            elif action == "u":  # one that nobody saw so far, in a graph of its own
                (outs[which]._children[0] * 2 + outs[0]).backward()
            else:
                gc.collect()
            leaves = model.parameters() + (x if values else [])
            found.append([v.grad for v in leaves])
        assert found[: len(found) // 2] == [pytest.approx(f, rel=1e-10, abs=1e-13) for f in found[len(found) // 2 :]]


def test_a_network_that_goes_leaves_nothing_behind():
    model, x = networks(mlp, 3, [4, 4, 2], True)[0]
    held = [*x, *model.parameters()]
    model(x)  # rows are made
    references = list(map(sys.getrefcount, held))
    for use in (lambda outs: None, lambda outs: sum(outs).backward(), lambda outs: outs[0]._children):
        use(model(x))
        kept = model(x)[1]
        use([kept])
        assert all(now > before for now, before in zip(map(sys.getrefcount, x), references))
        del kept
        assert list(map(sys.getrefcount, held)) == references


def test_outputs_that_take_no_part_send_nothing():
    random.seed(1)
    layer = nn.Layer(2, 4, nonlin=False)
    x = [Value(2.0), Value(3.0)]
    outs = layer(x)
    (outs[0] + outs[2]).backward()
    assert [n.w[0].grad for n in layer.neurons] == [2.0, 0.0, 2.0, 0.0]
    assert x[0].grad == layer.neurons[0].w[0].data + layer.neurons[2].w[0].data


def test_a_neuron_of_a_layer_outlives_the_others():
    random.seed(1)
    layer = mlp.Layer(2, 3)
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
    for call in (neuron, layer, layer):  # the last finds the row of the one before
        out = call([1.0, 4.0])
        out.zero_grad()
        out.backward()
        assert source.grad == (12.0 if where == "weight" else 3.0)


def test_what_is_replaced_is_seen_by_the_next_call():
    random.seed(5)
    model = nn.MLP(2, [2, 1])
    x = [1.0, 2.0]
    before = model(x).data
    neuron = model.layers[1].neurons[0]
    neuron.b = Value(10.0)
    assert model(x).data == before + 10.0
    neuron.w[0], neuron.w[1] = Value(0.0), Value(0.0)
    assert model(x).data == 10.0
    neuron.w = [Value(1.0), Value(1.0)]
    neuron.nonlin = True
    neuron.b.data = -1e9
    assert model(x).data == 0.0
    assert neuron.b in model.parameters()


def test_weights_whose_end_calls_the_network():
    class Last(Value):
        def __del__(self):
            if calls:
                calls.pop()()

    def other_weights():
        neuron.w[:] = [leaf * 3.0, leaf * 4.0]
        model(x)

    random.seed(1)
    model, x, leaf, calls = nn.MLP(2, [2, 1]), [1.0, 2.0], Value(0.5), []
    neuron = model.layers[0].neurons[0]
    neuron.w = [Last(0.1), Value(0.2)]
    model(x)
    calls.append(other_weights)
    neuron.w[0] = Value(0.3)
    model(x)
    assert not calls
    for n in model.layers[0].neurons:
        n.nonlin = False
    model(x).backward()
    assert leaf.grad == pytest.approx((3.0 * 1.0 + 4.0 * 2.0) * model.layers[1].neurons[0].w[0].data)


def test_methods_replaced_in_a_class_are_seen_by_the_next_call():
    class Sine(nn.Neuron):
        activation = "sin"

    random.seed(5)
    layer = nn.Layer(1, 1)
    layer.neurons[0] = neuron = Sine(1)
    total = neuron.w[0].data * 2.0
    assert layer([2.0]).data == math.sin(total)
    Sine.activation = "cos"
    assert layer([2.0]).data == math.cos(total)
    Sine.__call__ = lambda self, x: Value(7.0)
    assert layer([2.0]).data == 7.0
    Sine.parameters = lambda self: []
    assert layer.parameters() == []
    del Sine.__call__, Sine.parameters
    assert layer([2.0]).data == math.cos(total)
    assert len(layer.parameters()) == 2


def test_an_activation_belongs_to_the_class():
    random.seed(5)
    layer = nn.Layer(2, 2)
    before = [out.data for out in layer([1.0, 2.0])]
    layer.neurons[0].activation = "sin"  # of no effect, whether the neuron is called or its layer
    assert [out.data for out in layer([1.0, 2.0])] == [n([1.0, 2.0]).data for n in layer.neurons] == before


def test_fields_that_a_class_computes_are_asked_for():
    class Tied(nn.Neuron):
        w = property(lambda self: [self.shared] * 2, lambda self, w: setattr(self, "shared", w[0]))

    class Pair(nn.Layer):
        neurons = property(lambda self: [self.first, self.first], lambda self, neurons: None)

    random.seed(5)
    neuron = Tied(2, nonlin=False)
    layer = Pair(2, 1)
    layer.first = neuron
    model = nn.MLP(2, [1])
    model.layers = [layer]
    w, b = neuron.shared, neuron.b
    b.data = 0.5
    assert [out.data for out in model([1.0, 2.0])] == [0.5 + w.data + w.data * 2.0] * 2
    assert layer.parameters() == model.parameters() == [w, b]


def test_parameters_of_neurons_of_several_classes():
    class Other(nn.Neuron):
        pass

    class Unlike(nn.Neuron):
        def parameters(self):
            return [self.b]

    layer = nn.Layer(2, 3, nonlin=False)
    layer.neurons[1:] = first, second = Other(2), Unlike(2)
    plain = layer.neurons[0]
    assert layer.parameters() == [*plain.w, plain.b, *first.w, first.b, second.b]
    first.w = tuple(first.w)
    assert nn.Module.zero_grad(layer) is None
    assert layer.parameters() == [*plain.w, plain.b, *first.w, first.b, second.b]
    layer.neurons = ()
    assert layer.parameters() == []


def test_an_activation_that_raises_leaves_nothing_behind():
    class Log(nn.Neuron):
        activation = "log"

    layer = nn.Layer(1, 3)
    layer.neurons = [Log(1) for _ in range(3)]
    for n, b in zip(layer.neurons, (1.0, 1.0, -1.0)):
        n.w[0].data, n.b.data = 0.0, b
    with pytest.raises(ValueError, match=complaint(math.log, -1.0)):
        layer([1.0])
    layer.neurons[2].b.data = 2.0
    assert layer([1.0])[2].data == math.log(2.0)


def test_an_activation_that_raises_in_the_middle_of_a_network():
    class Log(nn.Neuron):
        activation = "log"

    random.seed(5)
    model = nn.MLP(2, [3, 2, 1])
    model.layers[0].neurons = [Log(2, nonlin=False) for _ in range(3)]
    model.layers[1].neurons = [Log(3) for _ in range(2)]
    model.layers[2].neurons = [Log(2, nonlin=False)]
    for p in model.parameters():
        p.data = 1.0
    last = model.layers[1].neurons[1].b
    inputs = [Value(1.0), Value(2.0)]
    assert model(inputs).data == pytest.approx(1.0 + 2.0 * math.log(13.0))  # 4 each, log(1 + 3 * 4) each
    last.data = -1e3
    references = [sys.getrefcount(v) for v in (*inputs, *model.parameters())]
    with pytest.raises(ValueError, match=complaint(math.log, 1.0 + 3 * 4.0 - 1001.0)):
        model(inputs)
    assert [sys.getrefcount(v) for v in (*inputs, *model.parameters())] == references
    last.data = 1.0
    assert model(inputs).data == pytest.approx(1.0 + 2.0 * math.log(13.0))


def test_networks_of_layers_that_do_not_fit():
    class Other(nn.Neuron):
        pass

    random.seed(5)
    model = nn.MLP(2, [3, 2])
    hidden = model.layers[0]([1.0, 2.0])
    model.layers[1].neurons = neurons = [Other(3, nonlin=False), Other(3)]
    assert [out.data for out in model([1.0, 2.0])] == [n(hidden).data for n in neurons]
    neurons[1] = Other(4)
    with pytest.raises(ValueError, match=r"ReLUNeuron\(4\) takes 4 inputs, not 3"):
        model([1.0, 2.0])
    model.layers[1].neurons = []
    assert model([1.0, 2.0]) == []
    model.layers = []
    assert model([1.0, 2.0]) == [1.0, 2.0]


def test_a_derivative_that_raises_keeps_the_grads_so_far():
    class Root(nn.Neuron):
        activation = "sqrt"

    layer = nn.Layer(1, 2)
    layer.neurons = [Root(1), Root(1)]
    for n, b in zip(layer.neurons, (0.0, 4.0)):
        n.w[0].data, n.b.data = 0.0, b
    first, second = layer([Value(1.0)])
    with pytest.raises(ZeroDivisionError):
        (first + second).backward()
    assert (layer.neurons[0].b.grad, layer.neurons[1].b.grad) == (0.0, 0.25)
    second.zero_grad()
    second.backward()
    assert layer.neurons[1].b.grad == 0.25


@pytest.mark.parametrize("biases", [(0.0, 4.0), (4.0, 0.0)])
def test_a_derivative_that_raises_in_a_hidden_layer(biases):
    class Root(nn.Neuron):
        activation = "sqrt"

    found = []
    for calls in (lambda model, x: model(x), lambda model, x: model.layers[1](model.layers[0](x))):
        random.seed(5)
        model = nn.MLP(1, [2, 1])
        model.layers[0].neurons = [Root(1), Root(1)]
        model.layers[1].neurons = [Root(2, nonlin=False)]
        for n, b in zip(model.layers[0].neurons, biases):
            n.w[0].data, n.b.data = 0.0, b
        out = calls(model, [3.0])
        grads = []
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                out.backward()
            grads.append([p.grad for p in model.parameters()])
        other = model([2.0])
        del out
        with pytest.raises(ZeroDivisionError):
            other.backward()
        grads.append([p.grad for p in model.parameters()])
        found.append(grads)
    assert found[0] == found[1]

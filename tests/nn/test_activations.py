"""`activation` of neurons, layers and networks: what they compute, in C and by their definitions, and how they look."""

from __future__ import annotations

import copy
import itertools
import pickle
import random
import re

import pytest

import micrograd
from helpers import Slotted, agrees, values
from micrograd import Value, nn, nn_tanh
from micrograd._core import OPS

NAMES = ["relu", "tanh", "sigmoid", "softplus", "leaky_relu", "elu", "selu", "gelu"]
X = [0.5, -1.25]


def swish(x):
    return x * x.sigmoid()


class Slope(nn.Module):
    """A relu whose slope below 0 is learned."""

    def __init__(self):
        self.slope = Value(0.25)

    def __call__(self, x):
        return x.relu() - self.slope * (-x).relu()


def named_by(activation):
    return activation if isinstance(activation, str) else getattr(activation, "__name__", type(activation).__name__)


def chosen(activation):
    return activation if callable(activation) else lambda x: getattr(x, activation)()


def op_by_op(model, x, activation):
    """A network's outputs by operators alone; the last layer is linear."""
    for layer in model.layers:
        sums = [sum((w * xi for w, xi in zip(n.w, x)), n.b) for n in layer.neurons]
        x = sums if layer is model.layers[-1] else [activation(s) for s in sums]
    return x


def grads_of_outputs(model, outputs):
    model.zero_grad()
    sum((i + 1) * y for i, y in enumerate(outputs)).backward()
    return [p.grad for p in model.parameters()]


@pytest.mark.parametrize("activation", [*NAMES, swish, Value.tanh, Slope()], ids=named_by)
def test_hidden_layers_have_it_and_the_last_is_linear(activation):
    random.seed(5)
    model = nn.MLP(2, [4, 3, 2], activation=activation)
    ours, expected = model(X), op_by_op(model, X, chosen(activation))
    assert [y.data for y in ours] == pytest.approx([y.data for y in expected], rel=1e-14)
    assert grads_of_outputs(model, ours) == pytest.approx(grads_of_outputs(model, expected), rel=1e-12, abs=1e-15)
    # The definitions in Python have the same bits as the methods in C.
    again = X
    for layer in model.layers:
        again = [neuron(again) for neuron in layer.neurons]
    assert [y.data for y in again] == [y.data for y in ours]


def test_the_default_is_the_classs_and_draws_the_same_numbers():
    networks = []
    for options in {}, {"activation": "relu"}, {"activation": "tanh"}, {"activation": swish}:
        random.seed(1337)
        networks.append(nn.MLP(2, [3, 1], **options))
    assert all(network.state_dict() == networks[0].state_dict() for network in networks)
    assert pickle.dumps(networks[1]) == pickle.dumps(networks[0])
    assert networks[1].layers[0].neurons[0].nonlin is True


@pytest.mark.parametrize(
    ("made", "printed"),
    [
        (lambda: nn.Neuron(2, activation="tanh"), "TanhNeuron(2)"),
        (lambda: nn.Neuron(2, activation="relu"), "ReLUNeuron(2)"),
        (lambda: nn.Neuron(2, activation="sigmoid"), "SigmoidNeuron(2)"),
        (lambda: nn.Neuron(2, activation="leaky_relu"), "LeakyReLUNeuron(2)"),
        (lambda: nn.Neuron(2, activation="silu"), "SiLUNeuron(2)"),
        (lambda: nn.Neuron(2, nonlin=False, activation="tanh"), "LinearNeuron(2)"),
        (lambda: nn.Neuron(2, activation=swish), "Neuron(2, activation=swish)"),
        (lambda: nn.Layer(2, 1, activation="tanh"), "Layer of [TanhNeuron(2)]"),
        (lambda: nn.MLP(1, [1, 1], "tanh"), "MLP of [Layer of [TanhNeuron(1)], Layer of [LinearNeuron(1)]]"),
        (lambda: nn_tanh.Neuron(2, activation="relu"), "ReLUNeuron(2)"),
        (lambda: nn_tanh.Neuron(2, activation="tanh"), "TanhNeuron(2)"),
        (lambda: nn_tanh.MLP(1, [1, 1], "relu"), "MLP of [Layer of [ReLUNeuron(1)], Layer of [ReLUNeuron(1)]]"),
    ],
)
def test_reprs(made, printed):
    assert repr(made()) == printed


@pytest.mark.parametrize("make", [nn.MLP, nn_tanh.MLP])
@pytest.mark.parametrize(
    ("activation", "error", "text"),
    [
        ("swish", ValueError, "activation must be a callable or one of abs, "),
        ("swish", ValueError, ", not 'swish'"),
        ("Tanh", ValueError, ", not 'Tanh'"),
        ("__neg__", ValueError, ", not '__neg__'"),
        ("__add__", ValueError, ", not '__add__'"),
        ("backward", ValueError, ", not 'backward'"),
        ("", ValueError, ", not ''"),
        (3, TypeError, "activation must be a name or callable, not 'int'"),
        (False, TypeError, "activation must be a name or callable, not 'bool'"),
        (["relu"], TypeError, "activation must be a name or callable, not 'list'"),
    ],
)
def test_what_is_no_activation_is_refused_and_no_number_is_drawn(make, activation, error, text):
    state = random.getstate()
    for call in (
        lambda: make(2, [1], activation=activation),
        lambda: nn.Neuron(2, nonlin=False, activation=activation),
        lambda: nn.Layer(2, 2, activation=activation),
    ):
        with pytest.raises(error, match=re.escape(text)):
            call()
    assert random.getstate() == state


def test_every_method_that_needs_no_argument_is_an_activation():
    unary = [name for name, (_, arity) in OPS.items() if arity == 1 and not name.startswith("_")]
    for name in (*unary, "elu", "leaky_relu", "reciprocal", "selu"):
        layer = nn.Layer(1, 1, activation=name)
        layer.neurons[0].w[0].data = 0.5
        expected = getattr(Value(0.25), name)()
        assert [(y.data, y._op) for y in (layer([0.5]), layer.neurons[0]([0.5]))] == [(expected.data, expected._op)] * 2


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("activation", [*NAMES, swish, Slope()], ids=named_by)
def test_pickles_and_copies(activation, protocol):
    model = nn.MLP(2, [3, 1], activation=activation)
    for duplicate in (copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x, protocol))):
        twin = duplicate(model)
        assert twin(X).data == model(X).data
        assert twin.state_dict() == model.state_dict()
        assert [len(layer.neurons) for layer in twin.layers] == [3, 1]


def test_a_callable_that_cannot_be_pickled():
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(nn.MLP(2, [3, 1], activation=lambda x: x))


def test_an_activation_that_is_a_module_has_its_parameters_in_the_network():
    slope = Slope()
    model = nn.MLP(2, [2, 2, 1], activation=slope)
    assert sum(p is slope.slope for p in model.parameters()) == 1
    named = dict(model.named_parameters())
    assert list(named.values()) == model.parameters()
    assert named["layers.0.neurons.0.activation.slope"] is slope.slope
    assert model.state_dict()["layers.1.neurons.1.activation.slope"] == 0.25
    assert model.layers[0].neurons[0].parameters()[-1] is slope.slope
    model.layers[0].neurons[0].b = None
    assert model.layers[0].neurons[0].parameters() == [*model.layers[0].neurons[0].w, slope.slope]
    assert model.layers[-1].parameters() == [*model.layers[-1].neurons[0].w, model.layers[-1].neurons[0].b]


@pytest.mark.parametrize("kinds", list(itertools.permutations(["tanh", "sigmoid", swish, True, False], 3)))
def test_neurons_of_a_layer_may_differ(kinds):
    model = nn.MLP(2, [3, 1])
    neurons = model.layers[0].neurons
    for neuron, kind in zip(neurons, kinds):
        neuron.nonlin = kind
    functions = [{True: chosen("relu"), False: lambda x: x, swish: swish}.get(kind) or chosen(kind) for kind in kinds]
    hidden = [f(sum((w * x for w, x in zip(n.w, X)), n.b)) for n, f in zip(neurons, functions)]
    assert [y.data for y in model.layers[0](X)] == [y.data for y in hidden]
    assert model(X).data == model.layers[1](hidden).data


def test_a_replaced_method_is_called(monkeypatch):
    model = nn.MLP(2, [3, 1], activation="tanh")
    plain = [y.data for y in model.layers[0](X)]
    with monkeypatch.context() as patch:
        original = Value.tanh
        patch.setattr(Value, "tanh", lambda self: 2 * original(self))
        assert [y.data for y in model.layers[0](X)] == [2 * y for y in plain]
        assert model(X).data == model.layers[1]([2 * y for y in plain]).data
    assert [y.data for y in model.layers[0](X)] == plain


def test_a_callable_that_fails_or_changes_the_layer():
    layer = nn.Layer(2, 3, activation=swish)

    def change(x):
        layer.neurons.clear()
        return x

    for neuron in layer.neurons:
        neuron.nonlin = change
    assert len(layer(X)) == 3
    layer = nn.Layer(2, 2, activation=lambda x: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        layer(X)


def test_subclasses_with_constructors_of_their_own():
    class Old(nn.Layer):
        def __init__(self, nin, nout, nonlin):
            super().__init__(nin, nout, nonlin=nonlin)

    class Network(nn.MLP):
        _layer = Old

    assert isinstance(Network(2, [1, 1])(X), Value)
    assert repr(Slotted(1, 1, activation="relu")) == "Layer of [ReLUNeuron(1)]"

    class Sine(nn.Neuron):
        activation = "sin"
        _title = "Sine"

    assert repr(Sine(1)) == repr(Sine(1, activation="sin")) == "SineNeuron(1)"
    assert repr(Sine(1, activation="relu")) == "ReLUNeuron(1)"


@pytest.mark.parametrize("activation", [*NAMES, swish, Slope()], ids=named_by)
def test_compiled(activation, exact):
    model = nn.MLP(2, [3, 1], activation=activation)
    compiled = micrograd.compile(model.__call__, exact=exact)
    for x in (X, [-0.1, 2.0]):
        assert agrees(compiled(x).data, model(x).data, exact)
    model.zero_grad()
    compiled(X).backward()
    ours = [p.grad for p in model.parameters()]
    model.zero_grad()
    model(values(X)).backward()
    assert ours == pytest.approx([p.grad for p in model.parameters()], rel=1e-12)


@pytest.mark.parametrize("name", ["elu", "leaky_relu", "reciprocal", "selu", "tanh"])
def test_a_class_may_name_a_method_that_is_no_op_of_one_argument(name):
    class Own(nn.Neuron):
        activation = name

    class OwnLayer(nn.Layer):
        _neuron = Own

    layer = OwnLayer(1, 2)
    for neuron, output in zip(layer.neurons, layer([-0.75])):
        expected = getattr(Value(neuron.w[0].data * -0.75), name)().data
        assert neuron([-0.75]).data == output.data == expected

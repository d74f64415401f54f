"""Networks from and to PyTorch: equal outputs and gradients, what cannot be converted, and PyTorch's absence."""

from __future__ import annotations

import random
import re

import pytest

from micrograd import Value, nn, nn_tanh
from micrograd.interop import MODULES, from_torch, to_torch

torch = pytest.importorskip("torch")

SAMPLES = [[0.5, -1.25, 2.0], [-0.75, 0.0, 0.3], [3.0, 1.5, -0.1]]


def without_bias(model):
    for layer in model.layers:
        for neuron in layer.neurons:
            neuron.b = None
    return model


def with_activations(model, *activations):
    for layer, activation in zip(model.layers, activations):
        for neuron in layer.neurons:
            neuron.nonlin = activation
    return model


NETWORKS = {
    "relu": lambda: nn.MLP(3, [4, 4, 2]),
    "tanh": lambda: nn.MLP(3, [4, 1], activation="tanh"),
    **{
        name: (lambda name=name: nn.MLP(3, [4, 2], activation=name)) for name in MODULES if name not in ("relu", "tanh")
    },
    "tanh to the last": lambda: nn_tanh.MLP(3, [4, 4, 1]),
    "relu to the last": lambda: nn_tanh.MLP(3, [4, 2], activation="relu"),
    "one layer": lambda: nn.MLP(3, [2]),
    "one tanh layer": lambda: nn_tanh.MLP(3, [2]),
    "linear between": lambda: with_activations(nn.MLP(3, [4, 3, 1]), False, "tanh", False),
    "each another": lambda: with_activations(nn.MLP(3, [4, 3, 2]), "sigmoid", True, "tanh"),
    "without biases": lambda: without_bias(nn.MLP(3, [4, 2], activation="tanh")),
}
each = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def made(make):
    random.seed(11)
    model = make()
    for p in model.parameters():
        p.data = random.gauss(0, 1)
    return model


def outputs(model, x):
    ys = model(x)
    return ys if isinstance(ys, list) else [ys]


def assert_equal(model, module):
    """Outputs, and gradients of a function of the outputs of all samples, by parameters and inputs."""
    xs = [[Value(x) for x in sample] for sample in SAMPLES]
    ours = [outputs(model, x) for x in xs]
    tensor = torch.tensor(SAMPLES, dtype=torch.float64, requires_grad=True)
    theirs = module(tensor)
    assert [[y.data for y in row] for row in ours] == [
        pytest.approx(row, rel=1e-12, abs=1e-14) for row in theirs.tolist()
    ]
    model.zero_grad()
    sum((i + 1) * y * y for i, row in enumerate(ours) for y in row).backward()
    module.zero_grad()
    (theirs * theirs * torch.arange(1, 1 + len(SAMPLES), dtype=torch.float64)[:, None]).sum().backward()
    assert [[x.grad for x in sample] for sample in xs] == [
        pytest.approx(row, rel=1e-12, abs=1e-13) for row in tensor.grad.tolist()
    ]
    linears = [part for part in module.modules() if isinstance(part, torch.nn.Linear)]
    assert len(linears) == len(model.layers)
    for layer, linear in zip(model.layers, linears):
        assert [[w.grad for w in n.w] for n in layer.neurons] == [
            pytest.approx(row, rel=1e-12, abs=1e-13) for row in linear.weight.grad.tolist()
        ]
        if linear.bias is not None:
            expected = pytest.approx(linear.bias.grad.tolist(), rel=1e-12, abs=1e-13)
            assert [n.b.grad for n in layer.neurons] == expected


@each
def test_outputs_and_gradients_are_equal_both_ways(make):
    model = made(make)
    module = to_torch(model)
    assert {p.dtype for p in module.parameters()} == {torch.float64}
    assert all(p.requires_grad for p in module.parameters())
    assert_equal(model, module)
    again = from_torch(module)
    assert repr(again) == repr(model)
    assert again.state_dict() == model.state_dict()
    assert_equal(again, module)
    assert not {*map(id, again.parameters())} & {*map(id, model.parameters())}


def test_the_modules_that_come_out():
    assert [type(part).__name__ for part in to_torch(NETWORKS["linear between"]())] == [
        *("Linear", "Identity", "Linear", "Tanh", "Linear")
    ]
    linear = with_activations(nn.MLP(2, [2, 2, 2, 1]), False, False, False)
    assert [type(part).__name__ for part in to_torch(linear)] == ["Linear", "Identity"] * 3 + ["Linear"]
    assert [type(part).__name__ for part in to_torch(nn_tanh.MLP(2, [2, 1]))] == ["Linear", "Tanh", "Linear", "Tanh"]
    layer = nn.Layer(3, 2, activation="tanh")
    assert to_torch(layer)(torch.tensor(SAMPLES[0], dtype=torch.float64)).tolist() == pytest.approx(
        [y.data for y in layer(SAMPLES[0])], rel=1e-14
    )


def test_the_classes_that_come_out():
    assert type(from_torch(to_torch(nn_tanh.MLP(3, [4, 1])))) is nn_tanh.MLP
    assert type(from_torch(to_torch(nn.MLP(3, [4, 1])))) is nn.MLP
    assert from_torch(to_torch(nn.MLP(3, [4, 1]))).layers[0].neurons[0].nonlin is True
    bare = torch.nn.Linear(3, 1, dtype=torch.float64)
    assert repr(from_torch(bare)) == "MLP of [Layer of [LinearNeuron(3)]]"
    assert_equal(from_torch(bare), bare)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_other_dtypes_nested_sequentials_and_identities(dtype):
    inner = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Identity(), torch.nn.Tanh())
    module = torch.nn.Sequential(inner, torch.nn.Linear(4, 2, bias=False), torch.nn.Identity()).to(dtype)
    assert_equal(from_torch(module), module.double())


def test_no_random_numbers_are_drawn():
    state, theirs = random.getstate(), torch.get_rng_state()
    from_torch(to_torch(made(NETWORKS["tanh"])))
    random.seed(11)
    made(NETWORKS["tanh"])
    now = random.getstate()
    to_torch(from_torch(to_torch(made(NETWORKS["tanh"]))))
    assert random.getstate() == now
    assert torch.equal(torch.get_rng_state(), theirs)
    random.setstate(state)


# ---- Refusals --------------------------------------------------------------------------------------------------------


class Own(nn.Layer):
    def __call__(self, x):
        return super().__call__(x)


class OwnNeuron(nn.Neuron):
    def __call__(self, x):
        return super().__call__(x)


class OwnNetwork(nn.MLP):
    def __call__(self, x):
        return super().__call__(x)


def changed(change):
    model = nn.MLP(2, [3, 2, 1])
    change(model.layers)
    return model


def swish(x):
    return x * x.sigmoid()


@pytest.mark.parametrize(
    ("model", "error", "text"),
    [
        (nn.Neuron(2), TypeError, "a model must be an MLP or a Layer, not 'Neuron'"),
        (3, TypeError, "a model must be an MLP or a Layer, not 'int'"),
        (OwnNetwork(2, [1]), TypeError, "the model's class 'OwnNetwork' has a __call__ of its own"),
        (changed(lambda ls: ls.__setitem__(1, Own(3, 2))), TypeError, "layers[1] is a 'Own'"),
        (changed(lambda ls: ls.__setitem__(1, swish)), TypeError, "layers[1] is a 'function'"),
        (changed(lambda ls: ls[2].neurons.append(OwnNeuron(2))), TypeError, "layers[2] has a 'OwnNeuron'"),
        (changed(lambda ls: ls[0].neurons.append(nn.Neuron(5))), ValueError, "layers[0] has neurons of [2, 5] inputs"),
        (changed(lambda ls: ls[0].neurons.clear()), ValueError, "layers[0] has neurons of no inputs"),
        (changed(lambda ls: ls[0].neurons.pop()), ValueError, "layers[1] has 3 inputs, and layers[0] has 2 outputs"),
        (
            changed(lambda ls: setattr(ls[1].neurons[0], "nonlin", "tanh")),
            ValueError,
            "layers[1] has neurons of different activations: relu, tanh",
        ),
        (changed(lambda ls: setattr(ls[1].neurons[0], "nonlin", False)), ValueError, "activations: linear, relu"),
        (
            changed(lambda ls: setattr(ls[0].neurons[-1], "b", None)),
            ValueError,
            "layers[0] has neurons with and without",
        ),
        (
            changed(lambda ls: setattr(ls[1].neurons[0], "b", None)),
            ValueError,
            "layers[1] has neurons with and without",
        ),
        (nn.MLP(2, [2, 1], activation=swish), TypeError, "layers[0] has the activation <function swish"),
        (
            nn.MLP(2, [2, 1], activation="sin"),
            ValueError,
            "layers[0] has the activation 'sin': only relu, sigmoid, tanh",
        ),
        (changed(lambda ls: ls[1].neurons[0].w.__setitem__(0, "x")), TypeError, "a weight of layers[1] must be a real"),
    ],
)
def test_models_that_cannot_be_converted(model, error, text):
    with pytest.raises(error, match=re.escape(text)):
        to_torch(model)


def linear(inputs, outputs):
    made = torch.nn.Linear(inputs, max(outputs, 1), device="meta")
    made.weight = torch.nn.Parameter(made.weight[:outputs])
    made.out_features = outputs
    return made


TWICE = torch.nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("module", "error", "text"),
    [
        (3, TypeError, "a int cannot be converted"),
        (
            [linear(2, 2), torch.nn.Dropout()],
            TypeError,
            "module '1', a Dropout, cannot be converted: only Linear, Identity, ReLU",
        ),
        ([torch.nn.Sequential(torch.nn.Flatten())], TypeError, "module '0.0', a Flatten, cannot be converted"),
        ([linear(2, 2), torch.nn.Softplus()], TypeError, "module '1', a Softplus,"),
        ([linear(2, 2), torch.nn.ELU(2.0)], TypeError, "module '1', a ELU, cannot be converted"),
        (
            [linear(2, 2), torch.nn.LeakyReLU(0.2)],
            TypeError,
            "module '1', a LeakyReLU, cannot be converted: only Linear, Identity, ReLU, Sigmoid, Tanh, "
            "LeakyReLU(negative_slope=0.01), ELU(alpha=1.0), SELU, GELU(approximate='none'), GELU(approximate='tanh')",
        ),
        ([torch.nn.Tanh(), linear(2, 2)], ValueError, "module '0', a Tanh, does not follow a Linear"),
        ([linear(2, 2), torch.nn.Tanh(), torch.nn.ReLU()], ValueError, "module '2', a ReLU, does not follow a Linear"),
        ([linear(2, 3), linear(4, 1)], ValueError, "module '1', a Linear, has 4 inputs, and '0' has 3 outputs"),
        ([TWICE, torch.nn.Tanh(), TWICE], ValueError, "module '2', a Linear, is there twice"),
        ([torch.nn.Identity()], ValueError, "there is no Linear in the Sequential"),
        ([linear(2, 0)], ValueError, "module '0', a Linear, has 2 inputs and 0 outputs"),
        (
            [torch.nn.Linear(2, 1, dtype=torch.complex128)],
            TypeError,
            "'0', a Linear, has parameters of torch.complex128",
        ),
    ],
)
def test_modules_that_cannot_be_converted(module, error, text):
    with pytest.raises(error, match=re.escape(text)):
        from_torch(torch.nn.Sequential(*module) if isinstance(module, list) else module)

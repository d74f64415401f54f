"""Neuron, Layer and MLP in both dialects: weights, outputs, reprs and parameters, ReLU's against the reference."""

from __future__ import annotations

import random

import pytest

from micrograd import nn, nn_tanh

SHAPES = [(1, [1]), (2, [16, 16, 1]), (3, [4, 4, 1]), (3, [2]), (4, [3, 2])]


shapes = pytest.mark.parametrize(("nin", "nouts"), SHAPES, ids=str)


def _as_list(out) -> list:
    return out if isinstance(out, list) else [out]


@shapes
def test_a_seed_gives_the_reference_weights_reprs_and_outputs(ours, reference, nin, nouts):
    results, grads = [], []
    for e in (ours, reference):
        random.seed(1337)
        model = e.nn.MLP(nin, nouts)
        x = [random.uniform(-2, 2) for _ in range(nin)]
        out = model(x)
        sum(_as_list(out)).backward()
        results.append(
            {
                "reprs": [repr(m) for layer in model.layers for m in (model, layer, *layer.neurons)],
                "weights": [float(p.data).hex() for p in model.parameters()],
                "outputs": [float(o.data).hex() for o in _as_list(out)],
                "is a list": type(out) is list,
                "next draw": random.random(),
            }
        )
        grads.append([float(p.grad) for p in model.parameters()])
    assert results[0] == results[1]
    assert grads[0] == pytest.approx(grads[1], rel=1e-12, abs=1e-14)


def test_reprs(engine):
    assert repr(engine.nn.Neuron(2)) == "ReLUNeuron(2)"
    assert repr(engine.nn.Neuron(2, nonlin=False)) == "LinearNeuron(2)"
    assert repr(engine.nn.Layer(2, 2)) == "Layer of [ReLUNeuron(2), ReLUNeuron(2)]"
    assert repr(engine.nn.MLP(2, [2, 1])) == (
        "MLP of [Layer of [ReLUNeuron(2), ReLUNeuron(2)], Layer of [LinearNeuron(2)]]"
    )


def test_parameters_come_neuron_by_neuron_weights_before_bias(engine):
    model = engine.nn.MLP(2, [2, 1])
    expected = [p for layer in model.layers for n in layer.neurons for p in (*n.w, n.b)]
    assert model.parameters() == expected
    assert len(expected) == 9
    assert model.layers[0].parameters() == expected[:6]
    assert model.layers[0].neurons[1].parameters() == expected[3:6]


def test_parameters_is_a_list_that_can_be_changed(engine):
    neuron = engine.nn.Neuron(2)
    neuron.parameters().clear()
    assert len(neuron.parameters()) == 3


def test_biases_start_at_0_and_weights_in_minus_1_to_1(engine):
    layer = engine.nn.Layer(5, 20)
    assert {n.b.data for n in layer.neurons} == {0.0}
    assert all(-1 <= w.data <= 1 for n in layer.neurons for w in n.w)


@pytest.mark.parametrize("nonlin", [True, False])
def test_nonlin_of_a_neuron(engine, nonlin):
    neuron = engine.nn.Neuron(2, nonlin)
    for w, data in zip(neuron.w, (1.0, -2.0)):
        w.data = data
    neuron.b.data = 0.5
    assert neuron.nonlin is nonlin
    assert neuron([1.0, 3.0]).data == (0.0 if nonlin else -4.5)
    assert neuron([5.0, 1.0]).data == 3.5
    assert neuron([1.0, 3.0])._op == ("ReLU" if nonlin else "+")


def test_a_layer_passes_keywords_to_its_neurons(engine):
    assert [n.nonlin for n in engine.nn.Layer(2, 3, nonlin=False).neurons] == [False] * 3
    assert [n.nonlin for n in engine.nn.Layer(2, 3).neurons] == [True] * 3


def test_the_last_layer_of_an_mlp_is_linear(engine):
    model = engine.nn.MLP(2, [3, 3, 2])
    assert [[n.nonlin for n in layer.neurons] for layer in model.layers] == [[True] * 3, [True] * 3, [False] * 2]


def test_a_layer_of_one_gives_a_value_and_of_more_a_list(engine):
    one, three = engine.nn.Layer(2, 1), engine.nn.Layer(2, 3)
    assert isinstance(one([1.0, 2.0]), engine.Value)
    assert isinstance(three([1.0, 2.0]), list)
    assert [type(v) for v in three([1.0, 2.0])] == [engine.Value] * 3


def test_zero_grad_of_a_module(engine):
    model = engine.nn.MLP(2, [2, 1])
    hidden = model.layers[0]([1.0, 2.0])
    (sum(hidden) * 2 + model([1.0, 2.0])).backward()
    assert any(p.grad for p in model.parameters())
    grads = [h.grad for h in hidden]
    assert model.zero_grad() is None
    assert [p.grad for p in model.parameters()] == [0.0] * 9
    assert [h.grad for h in hidden] == grads


def test_a_module_without_parameters(engine):
    class Empty(engine.nn.Module):
        pass

    assert list(Empty().parameters()) == []
    assert Empty().zero_grad() is None


def test_a_module_with_a_parameters_method_of_its_own(engine):
    class Line(engine.nn.Module):
        def __init__(self):
            self.a, self.b, self.frozen = engine.Value(2.0), engine.Value(1.0), engine.Value(0.0)

        def __call__(self, x):
            return self.a * x + self.b + self.frozen

        def parameters(self):
            return [self.a, self.b]

    line = Line()
    line(3.0).backward()
    assert (line.a.grad, line.b.grad, line.frozen.grad) == (3.0, 1.0, 1.0)
    line.zero_grad()
    assert (line.a.grad, line.b.grad, line.frozen.grad) == (0.0, 0.0, 1.0)


def test_subclasses_of_the_networks(engine):
    class Doubled(engine.nn.Neuron):
        def __call__(self, x):
            return super().__call__(x) * 2

    random.seed(1)
    plain = engine.nn.Neuron(2, nonlin=False)
    random.seed(1)
    doubled = Doubled(2, nonlin=False)
    assert doubled([1.0, 2.0]).data == 2 * plain([1.0, 2.0]).data


def test_a_neuron_replaced_in_a_layer_is_called(engine):
    class Constant(engine.nn.Neuron):
        def __call__(self, x):
            return engine.Value(7.0) + 0 * x[0]

    layer = engine.nn.Layer(2, 2)
    layer.neurons[1] = Constant(2)
    assert layer([1.0, 2.0])[1].data == 7.0


def test_the_tanh_dialect_draws_each_bias_after_its_weights():
    random.seed(1337)
    model = nn_tanh.MLP(2, [3, 1])
    random.seed(1337)
    assert [p.data for p in model.parameters()] == [random.uniform(-1, 1) for _ in range(3 * 3 + 4)]
    assert model.parameters() == [p for layer in model.layers for n in layer.neurons for p in (*n.w, n.b)]


def test_the_tanh_dialect_has_tanh_in_every_layer():
    model = nn_tanh.MLP(2, [2, 1])
    assert repr(model) == "MLP of [Layer of [TanhNeuron(2), TanhNeuron(2)], Layer of [TanhNeuron(2)]]"
    out = model([100.0, 200.0])
    assert out._op == "tanh"
    assert -1 <= out.data <= 1
    assert {h._op for h in model.layers[0]([1.0, 2.0])} == {"tanh"}
    assert repr(nn_tanh.Neuron(2, nonlin=False)) == "LinearNeuron(2)"
    assert repr(nn_tanh.Layer(1, 1)) == "Layer of [TanhNeuron(1)]"


def test_a_neuron_with_another_activation():
    class Sigmoid(nn.Neuron):
        activation = "sigmoid"

    neuron = Sigmoid(2)
    neuron.load_state_dict({"w.0": 1.0, "w.1": 2.0, "b": -3.0})
    out = neuron([1.0, 1.0])
    assert (nn.Neuron.activation, nn_tanh.Neuron.activation) == ("relu", "tanh")
    assert (out._op, out.data) == ("sigmoid", 0.5)
    assert Sigmoid(2, nonlin=False)([1.0, 1.0])._op == "+"

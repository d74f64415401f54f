"""Networks: karpathy's dialect against the reference, the tanh dialect, and what Module adds.
Training runs are in test_notebook.py."""

from __future__ import annotations

import copy
import pickle
import random
import re
import sys

import numpy as np
import pytest
from oracle import complaint

import micrograd
from micrograd import Value, functional, mlp, nn, optim
from micrograd.utils import clip_grad_norm_

SHAPES = [(1, [1]), (2, [16, 16, 1]), (3, [4, 4, 1]), (3, [2]), (4, [3, 2])]
shapes = pytest.mark.parametrize(("nin", "nouts"), SHAPES, ids=str)


def _as_list(out) -> list:
    return out if isinstance(out, list) else [out]


# -- the same on both engines


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


def test_inputs_of_any_kind(engine):
    random.seed(3)
    model = engine.nn.MLP(3, [4, 2])
    row = [1.0, -2.0, 0.5]
    expected = [v.data for v in model(row)]
    inputs = [
        tuple(row),
        np.array(row),
        np.array([row, row])[0],
        np.array(row, dtype=np.float32),
        [engine.Value(x) for x in row],
        [engine.Value(1.0), -2, 0.5],
        np.array([engine.Value(x) for x in row]),
    ]
    for x in inputs:
        assert [v.data for v in model(x)] == expected


def test_inputs_that_are_values_get_grads(engine):
    random.seed(3)
    neuron = engine.nn.Neuron(2, nonlin=False)
    x = [engine.Value(1.0), engine.Value(-2.0)]
    neuron(x).backward()
    assert [v.grad for v in x] == [w.data for w in neuron.w]
    assert [w.grad for w in neuron.w] == [1.0, -2.0]
    assert neuron.b.grad == 1.0


# -- this engine's own


@pytest.mark.parametrize("module", [nn, mlp])
def test_generators_and_lone_numbers_as_inputs(module):
    wide, narrow = module.MLP(3, [4, 1]), module.MLP(1, [2, 1])
    assert wide(x for x in (1.0, 2.0, 3.0)).data == wide([1.0, 2.0, 3.0]).data
    assert wide(map(float, range(3))).data == wide([0.0, 1.0, 2.0]).data
    assert narrow(0.5).data == narrow(Value(0.5)).data == narrow([0.5]).data == narrow(np.float64(0.5)).data
    for part in (
        module.Layer(2, 1),
        module.Neuron(2),
        module.Layer(2, 1, nonlin=False),
        module.Neuron(2, nonlin=False),
    ):
        assert part(iter([1.0, 2.0])).data == part([1.0, 2.0]).data
    assert module.Neuron(2, nonlin=False)(iter([1.0, 2.0])).data != 0.0


@pytest.mark.parametrize("module", [nn, mlp])
def test_an_mlp_with_layers_of_one(module):
    model = module.MLP(2, [1, 1])
    out = model([1.0, -2.0])
    assert isinstance(out, Value)
    assert len(model.parameters()) == 5
    (first,), (second,) = (layer.neurons for layer in model.layers)
    assert out.data == second([first([1.0, -2.0])]).data


def test_the_tanh_dialect_draws_each_bias_after_its_weights():
    random.seed(1337)
    model = mlp.MLP(2, [3, 1])
    random.seed(1337)
    assert [p.data for p in model.parameters()] == [random.uniform(-1, 1) for _ in range(3 * 3 + 4)]
    assert model.parameters() == [p for layer in model.layers for n in layer.neurons for p in (*n.w, n.b)]


def test_the_tanh_dialect_has_tanh_in_every_layer():
    model = mlp.MLP(2, [2, 1])
    assert repr(model) == "MLP of [Layer of [TanhNeuron(2), TanhNeuron(2)], Layer of [TanhNeuron(2)]]"
    out = model([100.0, 200.0])
    assert out._op == "tanh"
    assert -1 <= out.data <= 1
    assert {h._op for h in model.layers[0]([1.0, 2.0])} == {"tanh"}
    assert repr(mlp.Neuron(2, nonlin=False)) == "LinearNeuron(2)"
    assert repr(mlp.Layer(1, 1)) == "Layer of [TanhNeuron(1)]"


def test_a_neuron_with_another_activation():
    class Sigmoid(nn.Neuron):
        activation = "sigmoid"

    neuron = Sigmoid(2)
    neuron.load_state_dict({"w.0": 1.0, "w.1": 2.0, "b": -3.0})
    out = neuron([1.0, 1.0])
    assert (nn.Neuron.activation, mlp.Neuron.activation) == ("relu", "tanh")
    assert (out._op, out.data) == ("sigmoid", 0.5)
    assert Sigmoid(2, nonlin=False)([1.0, 1.0])._op == "+"


@pytest.mark.parametrize("module", [nn, mlp])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: m.Neuron(0), "a neuron's number of inputs must be at least 1, not 0"),
        (lambda m: m.Neuron(-3), "a neuron's number of inputs must be at least 1, not -3"),
        (lambda m: m.Layer(0, 2), "a layer's number of inputs must be at least 1, not 0"),
        (lambda m: m.Layer(2, 0), "a layer's number of outputs must be at least 1, not 0"),
        (lambda m: m.MLP(0, [1]), "an MLP's number of inputs must be at least 1, not 0"),
        (lambda m: m.MLP(2, [4, 0, 1]), "the width of an MLP's layer 1 must be at least 1, not 0"),
        (lambda m: m.MLP(2, []), "an MLP needs at least one layer, but nouts is []"),
        (lambda m: m.Neuron(2)([1.0]), "Neuron(2) takes 2 inputs, not 1"),
        (lambda m: m.Neuron(2)(1.0), "Neuron(2) takes 2 inputs, not 1"),
        (lambda m: m.Layer(2, 1)([1.0, 2.0, 3.0]), "takes 2 inputs, not 3"),
        (lambda m: m.MLP(3, [4, 1])([1.0, 2.0]), "takes 3 inputs, not 2"),
        (lambda m: m.MLP(3, [4, 1])([]), "takes 3 inputs, not 0"),
        (lambda m: m.MLP(3, [4, 1])(np.zeros(5)), "takes 3 inputs, not 5"),
        (lambda m: m.MLP(3, [4, 1])(x for x in ()), "takes 3 inputs, not 0"),
    ],
)
def test_wrong_sizes_are_named(module, make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make(module)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Neuron(2.5),
        lambda: nn.Neuron("2"),
        lambda: nn.Layer(2, None),
        lambda: nn.MLP(2, 3),
        lambda: nn.MLP(2, [2.0]),
        lambda: nn.Layer(2, 2, depth=3),
        lambda: nn.Neuron(2)(["a", "b"]),
        lambda: nn.Neuron(2)([None, 1.0]),
        lambda: nn.Neuron(2)([[1.0], [2.0]]),
    ],
)
def test_wrong_types(make):
    with pytest.raises(TypeError):
        make()


def test_sizes_of_numpy_and_other_sequences():
    random.seed(5)
    expected = repr(nn.MLP(2, [3, 1]))
    assert repr(nn.MLP(np.int64(2), np.array([3, 1]))) == repr(nn.MLP(2, (3, 1))) == expected
    assert repr(nn.MLP(2, iter([3, 1]))) == expected
    assert repr(nn.MLP(np.array(2), [np.array(3), True])) == expected
    with pytest.raises(TypeError):
        nn.Layer(2, np.array(3.0))


def test_sizes_that_are_tensors():
    torch = pytest.importorskip("torch")
    assert repr(nn.MLP(torch.tensor(2), torch.tensor([3, 1]))) == repr(nn.MLP(2, [3, 1]))
    assert repr(nn.Neuron(torch.tensor(2))) == "ReLUNeuron(2)"


# -- parameters by name


class Block(nn.Module):
    """Parameters in every container at once, among attributes that are none."""

    def __init__(self):
        self.scale = Value(2.0)
        self.name = "block"
        self.width = 3
        self.table = [[Value(1.0), Value(2.0)], [Value(3.0), (Value(4.0),)]]
        self.heads = {"q": nn.Neuron(1), "k": [Value(5.0)], 7: Value(6.0)}
        self.inner = nn.Layer(1, 2)
        self.empty = []
        self.text = ["a", None, 2.0]


BLOCK_NAMES = [
    "scale",
    "table.0.0",
    "table.0.1",
    "table.1.0",
    "table.1.1.0",
    "heads.q.w.0",
    "heads.q.b",
    "heads.k.0",
    "heads.7",
    "inner.neurons.0.w.0",
    "inner.neurons.0.b",
    "inner.neurons.1.w.0",
    "inner.neurons.1.b",
]


def test_parameters_of_a_module_of_the_users():
    block = Block()
    named = list(block.named_parameters())
    assert [name for name, _ in named] == BLOCK_NAMES
    assert block.parameters() == [p for _, p in named]
    assert block.parameters()[4] is block.table[1][1][0]
    sum(block.parameters()).backward()
    assert {p.grad for p in block.parameters()} == {1.0}
    block.zero_grad()
    assert {p.grad for p in block.parameters()} == {0.0}


@pytest.mark.parametrize("module", [nn, mlp])
def test_state_dict_keys_follow_parameters(module):
    model = module.MLP(2, [2, 1])
    state = model.state_dict()
    assert list(state) == [
        "layers.0.neurons.0.w.0",
        "layers.0.neurons.0.w.1",
        "layers.0.neurons.0.b",
        "layers.0.neurons.1.w.0",
        "layers.0.neurons.1.w.1",
        "layers.0.neurons.1.b",
        "layers.1.neurons.0.w.0",
        "layers.1.neurons.0.w.1",
        "layers.1.neurons.0.b",
    ]
    assert list(state.values()) == [p.data for p in model.parameters()]
    assert {type(x) for x in state.values()} == {float}


@pytest.mark.parametrize("make", [Block, lambda: nn.MLP(3, [4, 1]), lambda: mlp.MLP(3, [4, 1]), lambda: nn.Neuron(2)])
def test_state_dict_round_trip(make):
    source, target = make(), make()
    for i, p in enumerate(source.parameters()):
        p.data = i / 7
    parameters = target.parameters()
    assert target.load_state_dict(source.state_dict()) == ([], [])
    assert target.state_dict() == source.state_dict()
    assert target.parameters() == parameters


def test_a_state_dict_is_a_snapshot():
    neuron = nn.Neuron(1)
    state = neuron.state_dict()
    before = dict(state)
    neuron.b.data = 5.0
    assert state == before
    state["b"] = 9.0
    assert neuron.b.data == 5.0


def test_load_state_dict_takes_numbers_of_any_type_and_keeps_grads():
    neuron = nn.Neuron(2)
    neuron.b.grad = 3.0
    neuron.load_state_dict({"w.0": 1, "w.1": np.float32(0.5), "b": True})
    assert [p.data for p in neuron.parameters()] == [1.0, 0.5, 1.0]
    assert neuron.b.grad == 3.0


def test_load_state_dict_that_is_not_strict_reports_what_it_passed_over():
    neuron = nn.Neuron(2)
    w1 = neuron.w[1].data
    keys = neuron.load_state_dict({"b": 7.0, "w.0": 1.0, "w.2": 9.0}, strict=False)
    assert (keys.missing_keys, keys.unexpected_keys) == (["w.1"], ["w.2"])
    assert keys == (["w.1"], ["w.2"])
    assert [p.data for p in neuron.parameters()] == [1.0, w1, 7.0]


@pytest.mark.parametrize(
    ("change", "strict", "named"),
    [
        ({"b": None}, True, ["keys that hold no number", "'b'", "NoneType"]),
        ({"b": "1.0"}, False, ["keys that hold no number", "'b'", "str"]),
        ({"b": [1.0]}, True, ["'b'", "list"]),
        ({"b": Value(1.0)}, True, ["'b'", "Value"]),
        ({"b": 10**400}, True, ["'b'", "too large"]),
        ({"w.2": 1.0, "bias": 2.0}, True, ["unexpected keys", "'w.2'", "'bias'"]),
        ({"b": ..., "w.1": ...}, True, ["missing keys", "'b'", "'w.1'"]),
        ({"b": ..., "c": 1.0, "w.1": "x"}, True, ["missing keys: 'b'", "unexpected keys: 'c'", "'w.1'"]),
    ],
)
def test_load_state_dict_names_every_problem_and_changes_nothing(change, strict, named):
    neuron = nn.Neuron(2)
    before = neuron.state_dict()
    state = {"w.0": 5.0, "w.1": 6.0, "b": 7.0, **change}
    with pytest.raises(RuntimeError) as caught:
        neuron.load_state_dict({name: x for name, x in state.items() if x is not ...}, strict=strict)
    for text in ["ReLUNeuron(2)", *named]:
        assert text in str(caught.value)
    assert neuron.state_dict() == before


@pytest.mark.parametrize("state", [None, [("b", 1.0)], 5, "w.0"])
def test_load_state_dict_takes_a_mapping(state):
    with pytest.raises(TypeError, match=f"not '{type(state).__name__}'"):
        nn.Neuron(1).load_state_dict(state)


# -- the fields of C, and what may run while they are read


class Slotted(mlp.Layer):
    __slots__ = ("extra",)


class Counted(mlp.Neuron):
    def __getstate__(self):
        return {"kept": [w.data for w in self.w]}

    def __setstate__(self, state):
        self.w, self.b, self.nonlin = [Value(x) for x in state["kept"]], Value(0.0), True


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_states_of_subclasses(protocol):
    layer = Slotted(2, 3)
    layer.extra, layer.more = "slot", "dict"
    neuron = Counted(2)
    for duplicate in (copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x, protocol))):
        twin = duplicate(layer)
        assert (twin.extra, twin.more) == ("slot", "dict")
        assert [out.data for out in twin([1.0, 2.0])] == [out.data for out in layer([1.0, 2.0])]
        other = duplicate(neuron)
        assert (other.b.data, [w.data for w in other.w]) == (0.0, [w.data for w in neuron.w])


class SlottedNetwork(nn.MLP):
    __slots__ = ("extra",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("make", [lambda: nn.MLP(2, [2, 1]), lambda: SlottedNetwork(2, [1])], ids=["MLP", "subclass"])
def test_networks_are_pickled_by_every_protocol(make, protocol):
    model = make()
    model.parent, model.extra = model, "kept"
    twin = pickle.loads(pickle.dumps(model, protocol))
    assert twin.parent is twin
    assert twin.extra == "kept"
    assert twin.state_dict() == model.state_dict()


def test_inputs_from_an_iterator():
    class Own(nn.Layer):
        def __call__(self, x):
            return super().__call__(x)

    model = nn.MLP(2, [2, 1])
    model.layers[0] = Own(2, 2)
    for module in (nn.MLP(2, [2, 1]), model, mlp.Layer(2, 1), nn.Neuron(2)):
        for x in ([1.0, 2.0], [1.0, Value(2.0)]):
            assert module(iter(x)).data == module(x).data


def test_python_code_that_changes_a_layer_while_it_is_computed():
    class Answer:
        def __init__(self, answer, meanwhile):
            self.answer, self.meanwhile = answer, meanwhile

        def __bool__(self):
            self.meanwhile()
            return self.answer

        __float__ = __bool__

    layer = nn.Layer(2, 2)
    layer.neurons[0].nonlin = Answer(True, lambda: layer.neurons.__setitem__(0, None))
    assert len(layer([1.0, 2.0])) == 2
    x = [Answer("no", lambda: x.clear()), 1.0]
    with pytest.raises(TypeError, match=complaint(float, Answer("no", lambda: None))):
        nn.Layer(2, 2)(x)
    biases = [Value(1.0), Value(2.0)]
    assert functional.linear([Answer(1.0, biases.clear)], [[Value(1.0)], [Value(2.0)]], biases) == []


def test_a_metaclass_that_computes_meanwhile():
    plain = nn.Layer(2, 2)

    class Nosy(type):
        def __getattribute__(cls, name):
            if name == "activation":
                plain([1.0, 2.0])
            return super().__getattribute__(name)

    class Mine(nn.Neuron, metaclass=Nosy):
        def __call__(self, x):
            return "mine"

    layer = nn.Layer(2, 2)
    layer.neurons = [Mine(2), Mine(2)]
    assert layer([1.0, 2.0]) == ["mine", "mine"]


def test_a_class_that_answers_for_its_fields():
    class Single(nn.Layer):
        def __getattribute__(self, name):
            found = super().__getattribute__(name)
            return found[:1] if name == "neurons" else found

    model = nn.MLP(2, [2])
    model.layers = [Single(2, 2)]
    assert isinstance(model([1.0, 2.0]), Value)
    assert len(model.parameters()) == 3


# -- parameters that are shared, computed, or reached in circles


def in_torch(module, torch):
    """The like of a Module in PyTorch: Values as parameters, lists as lists, shared where they are."""
    made = {}

    def convert(item):
        if id(item) in made:
            return made[id(item)]
        if isinstance(item, Value):
            made[id(item)] = torch.nn.Parameter(torch.tensor(item.data, dtype=torch.float64))
            return made[id(item)]
        if isinstance(item, list):
            kind = torch.nn.ParameterList if all(isinstance(x, Value) for x in item) else torch.nn.ModuleList
            made[id(item)] = kind([convert(x) for x in item])
            return made[id(item)]
        twin = made[id(item)] = torch.nn.Module()
        for name, x in vars(item).items():
            setattr(twin, name, convert(x))
        return twin

    return convert(module)


class Plain(nn.Module):
    def __init__(self, **members):
        vars(self).update(members)


def tied():
    encoder = [Value(3.0), Value(4.0)]
    return Plain(first=Plain(enc=encoder, dec=encoder), second=[Plain(w=encoder[1]), Plain(enc=encoder)])


def test_shared_parameters_are_listed_once_and_keep_every_name():
    torch = pytest.importorskip("torch")
    model = tied()
    twin = in_torch(model, torch)
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in twin.named_parameters()]
    state = {name: x.item() for name, x in twin.state_dict().items()}
    assert model.state_dict() == state
    state["first.dec.0"], state["second.1.enc.1"], state["first.enc.1"] = 7.0, 8.0, 9.0
    twin.load_state_dict({name: torch.tensor(x) for name, x in state.items()})
    model.load_state_dict(state)
    assert [p.data for p in model.parameters()] == [p.item() for p in twin.parameters()]


def test_shared_parameters():
    model = tied()
    first, second = model.first.enc
    assert list(model.named_parameters()) == [("first.enc.0", first), ("first.enc.1", second)]
    assert model.parameters() == [first, second]
    state = model.state_dict()
    assert state == {
        **dict.fromkeys(["first.enc.0", "first.dec.0", "second.1.enc.0"], 3.0),
        **dict.fromkeys(["first.enc.1", "first.dec.1", "second.0.w", "second.1.enc.1"], 4.0),
    }
    assert model.load_state_dict(state) == ([], [])
    del state["second.0.w"]
    with pytest.raises(RuntimeError, match=r"missing keys: 'second\.0\.w'"):
        model.load_state_dict(state)
    model.load_state_dict({**state, "second.0.w": 5.0})  # of names that disagree the last counts, as in PyTorch
    assert second.data == 4.0
    model.load_state_dict({**state, "second.0.w": 4.0, "second.1.enc.1": 6.0})
    assert second.data == 6.0


def test_shared_parameters_take_one_step():
    model = tied()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    (model.first.enc[0] * 2.0 + model.first.dec[0]).backward()
    optimizer.step()
    assert [p.data for p in model.parameters()] == [0.0, 4.0]
    assert len(optim.Adam(model.parameters()).param_groups[0]["params"]) == 2
    assert clip_grad_norm_(model.parameters(), 1.0) == 3.0


@pytest.mark.parametrize("module", [nn, mlp])
def test_networks_with_shared_parts(module):
    random.seed(1)
    neuron, layer, model = module.Neuron(2), module.Layer(2, 2), module.MLP(2, [2, 2, 2])
    first, second = neuron.w
    neuron.b = first
    assert neuron.parameters() == [p for _, p in neuron.named_parameters()] == [first, second]
    assert list(neuron.state_dict()) == ["w.0", "w.1", "b"]
    layer.neurons = [layer.neurons[0], neuron, layer.neurons[0], neuron]
    expected = [*layer.neurons[0].w, layer.neurons[0].b, first, second]
    assert layer.parameters() == [p for _, p in layer.named_parameters()] == expected
    assert len(layer.state_dict()) == 12
    model.layers[1] = model.layers[2]
    model.layers[0].neurons[1].w[1] = model.layers[2].neurons[0].w[0]
    parameters = model.parameters()
    assert parameters == [p for _, p in model.named_parameters()]
    assert [id(p) for p in parameters] == list(dict.fromkeys(id(p) for p in every_parameter(model)))
    assert (len(parameters), len(model.state_dict())) == (11, 18)
    assert len(module.MLP(2, [2, 2]).parameters()) == 12  # no mark was left behind
    assert model.parameters() == parameters
    sum(model([1.0, 2.0])).backward()
    model.zero_grad()
    assert {p.grad for p in parameters} == {0.0}


def every_parameter(model):
    return [p for layer in model.layers for n in layer.neurons for p in (*n.w, n.b)]


def test_parameters_in_any_order_of_addresses():
    draw = random.Random(0)
    for _ in range(20):
        model = nn.MLP(3, [4, 4, 2])
        values = every_parameter(model)
        draw.shuffle(values)
        picked = iter(values)
        for neuron in (n for layer in model.layers for n in layer.neurons):
            neuron.w[:] = [next(picked) for _ in neuron.w]
            neuron.b = next(picked)
        assert model.parameters() == values
        counts = [sys.getrefcount(p) for p in values]
        model.layers[0].neurons[0].b = model.layers[2].neurons[1].b
        assert model.parameters() == list(dict.fromkeys(every_parameter(model)))
        model.layers[0].neurons[0].b = values[3]
        assert [sys.getrefcount(p) for p in values] == counts


class Kept(Value):
    """Parameters of a subclass, some with a backward of their own."""


def noting(value):
    value._backward = lambda: None
    return value


RESULTS = {
    "an op": lambda v: v * 2.0,
    "a number's op": lambda v: 2.0 - v,
    "a neuron": lambda v: nn.Neuron(2)([v, 1.0]),
    "a hidden neuron": lambda v: mlp.MLP(2, [3, 3, 1])([v, 1.0])._children[0],
    "a fused sum": lambda v: functional.dot([v, v], [1.0, 2.0]),
    "functional": lambda v: functional.cross_entropy([v, 1.0], 0),
    "functional of nothing": lambda v: functional.sum([]),
    "children": lambda v: Value(1.0, (v,)),
    "local gradients": lambda v: Value(1.0, (v,), (2.0,)),
    "a subclass's op": lambda v: Kept(1.0, (v,)),
    "an op with a backward of its own": lambda v: noting(v * 2.0),
    "a compiled function": lambda v: micrograd.compile(lambda x: v * x)(2.0),
    "a compiled sum": lambda v: micrograd.compile(lambda x: v * x).sum([2.0]),
}
LEAVES = {
    "a Value": lambda: Value(1.0),
    "a subclass": lambda: Kept(1.0),
    "a leaf with a backward of its own": lambda: noting(Value(1.0)),
    "a leaf made with no children": lambda: Value(1.0, (), (), label="leaf"),
    "a copy of a result": lambda: copy.deepcopy(Value(1.0) * 2.0),
}


@pytest.mark.parametrize("result", RESULTS)
def test_results_are_no_parameters(result):
    value = Value(3.0)
    out = RESULTS[result](value)
    model = Plain(w=value, out=out, outs=[out, out], named={"a": out})
    assert model.parameters() == [value]
    assert model.state_dict() == {"w": 3.0}
    assert model.load_state_dict({"w": 4.0}) == ([], [])
    assert model.load_state_dict({"w": 4.0, "out": 1.0}, strict=False) == ([], ["out"])
    out.grad = value.grad = 5.0
    model.zero_grad()
    assert (out.grad, value.grad) == (5.0, 0.0)
    network = nn.MLP(2, [2, 1])
    network.layers[0].neurons[0].w[1] = out
    assert network.parameters() == [p for _, p in network.named_parameters()]
    assert out not in network.parameters()
    assert len(network.parameters()) == 8
    neuron = network.layers[0].neurons[0]
    assert neuron.parameters() == [neuron.w[0], neuron.b]


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_are_parameters(leaf):
    value = LEAVES[leaf]()
    network = nn.MLP(2, [2, 1])
    network.layers[0].neurons[0].w[1] = value
    model = Plain(w=value, network=network)
    assert model.parameters()[0] is value
    assert network.parameters()[1] is value
    assert (len(model.parameters()), len(network.parameters()), len(model.state_dict())) == (9, 9, 10)


def test_a_module_that_keeps_what_it_computed():
    class Model(nn.Module):
        def __init__(self):
            self.layer = nn.Layer(2, 1)

        def __call__(self, x):
            self.x, self.out = x, self.layer(x)
            return self.out

    model = Model()
    names = list(model.state_dict())
    model([1.0, 2.0]).backward()
    assert list(model.state_dict()) == names
    compiled = micrograd.compile(model)
    compiled([1.0, 2.0]).backward()  # what is kept from the trace are no parameters either
    assert list(model.state_dict()) == names
    assert model.parameters() == compiled.captured


class Circle(nn.Module):
    def __init__(self):
        self.w = Value(1.0)
        self.child = Plain(w=Value(2.0), parent=self)
        self.all = [self, self.child]
        self.all.append(self.all)
        self.table = {"self": self, "v": Value(3.0)}
        self.table["table"] = self.table
        self.layer = nn.Layer(1, 1)
        self.layer.owner = self
        self.twin = self.child


def test_circles_are_walked_once():
    model = Circle()
    names = ["w", "child.w", "table.v", "layer.neurons.0.w.0", "layer.neurons.0.b"]
    assert [name for name, _ in model.named_parameters()] == names
    assert list(model.state_dict()) == names
    assert len(model.parameters()) == 5
    assert model.load_state_dict(dict.fromkeys(names, 4.0)) == ([], [])
    assert {p.data for p in model.parameters()} == {4.0}
    assert sorted(name for name, _ in model.child.named_parameters()) == sorted(
        ["w", "parent.w", "parent.table.v", "parent.layer.neurons.0.w.0", "parent.layer.neurons.0.b"]
    )
    model.zero_grad()
    assert copy.deepcopy(model).state_dict() == model.state_dict()


def test_what_is_shared_in_a_circle_keeps_every_name():
    shared = [Value(1.0)]
    model = Plain(a=shared, b=[shared], c=Plain(inner=shared))
    model.me = model.b.append(model) or model
    assert list(model.state_dict()) == ["a.0", "b.0.0", "c.inner.0"]
    loop = Plain(w=Value(2.0))
    loop.me = loop
    assert list(Plain(a=[loop, shared], b=[loop, shared]).state_dict()) == ["a.0.w", "a.1.0", "b.1.0"]


class WithSlots(nn.Module):
    __slots__ = ("__hidden", "b", "w")

    def __init__(self):
        self.w, self.__hidden = [Value(1.0)], Value(2.0)
        self.c = Value(3.0)


def test_slots_are_attributes():
    module = WithSlots()
    names = ["_WithSlots__hidden", "w.0", "c"]
    assert [name for name, _ in module.named_parameters()] == names
    assert list(Plain(inner=module).state_dict()) == [f"inner.{name}" for name in names]
    assert [p.data for p in module.parameters()] == [2.0, 1.0, 3.0]
    layer = Slotted(1, 1)
    layer.extra = Value(5.0)
    assert list(layer.state_dict()) == ["neurons.0.w.0", "neurons.0.b", "extra"]


class Sequential(nn.Module, list):
    pass


class Table(nn.Module, dict):
    pass


def test_a_module_that_is_a_list_or_a_dict():
    first, second = nn.Neuron(1), nn.Neuron(1)
    for module, names in (
        (Sequential([first, second]), ["scale", "0.w.0", "0.b", "1.w.0", "1.b"]),
        (Table(a=first, b=second), ["scale", "a.w.0", "a.b", "b.w.0", "b.b"]),
    ):
        module.scale = Value(1.0)
        assert list(module.state_dict()) == names
        assert len(module.parameters()) == 5
        assert list(Plain(inner=module).state_dict()) == [f"inner.{name}" for name in names]


def test_attributes_set_while_the_parameters_are_gone_through():
    module = Plain(a=Value(1.0), table={"b": Value(2.0)})
    for name, p in module.named_parameters():
        setattr(module, f"old {name}", p.data)
        module.table[f"old {name}"] = p.data
    assert vars(module)["old table.b"] == 2.0


class OneName(nn.Module):
    def named_parameters(self):
        yield "w", Value(1.0)
        yield "w", Value(2.0)


def test_names_of_a_class_of_ones_own_that_are_not_unique():
    module = OneName()
    for refused in (module.state_dict, lambda: module.load_state_dict({"w": 1.0})):
        with pytest.raises(ValueError, match=r"two parameters of .*OneName.* are named 'w'"):
            refused()


def test_modules_that_all_know_each_other():
    modules = [Plain(w=Value(float(i))) for i in range(30)]
    for module in modules:
        module.peers = list(modules)
    assert sorted(p.data for p in modules[7].parameters()) == list(map(float, range(30)))
    assert sorted(modules[7].state_dict().values()) == list(map(float, range(30)))


def test_lists_of_nothing_that_share_their_parts():
    item = []
    for _ in range(60):
        item = [item, item]
    model = Plain(item=item, w=Value(1.0))
    assert (len(model.parameters()), model.state_dict()) == (1, {"w": 1.0})


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}, lambda x: Plain(next=x)])
def test_deep_nesting(wrap):
    item = value = Value(1.0)
    for _ in range(20_000):
        item = wrap(item)
    model = Plain(item=item)
    assert model.parameters() == [value]
    ((name, _),) = model.named_parameters()
    assert name.count(".") == 20_000
    assert model.load_state_dict({name: 2.0}) == ([], [])
    assert value.data == 2.0
    for _ in range(20_000):  # Python's own deallocation of some of these is recursive
        item = item.next if isinstance(item, Plain) else next(iter(item.values() if isinstance(item, dict) else item))


def test_two_parameters_of_one_name_are_refused():
    model = Plain(heads={1: Value(1.0), "1": Value(2.0)})
    assert len(model.parameters()) == 2
    for use in (model.state_dict, lambda: model.load_state_dict({"heads.1": 3.0})):
        with pytest.raises(ValueError, match=r"two parameters .* are named 'heads\.1'"):
            use()
    assert [p.data for p in model.parameters()] == [1.0, 2.0]


def test_a_module_with_names_of_its_own():
    class Named(nn.Module):
        def __init__(self):
            self.a = Value(1.0)

        def named_parameters(self):
            yield "mine", self.a

    assert list(Named().state_dict()) == ["mine"]
    model = Plain(inner=Named(), w=Value(2.0))
    assert model.state_dict() == {"inner.mine": 1.0, "w": 2.0}
    assert model.parameters() == [model.inner.a, model.w]
    assert [p.data for p in Named().parameters()] == [1.0]

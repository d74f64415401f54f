"""What Module.parameters() and named_parameters() find: shared, nested, circular; leaves and results."""

from __future__ import annotations

import copy
import random
import sys

import pytest

import micrograd
from helpers import Slotted
from micrograd import Value, functional, nn, nn_tanh, optim, utils
from micrograd.utils import clip_grad_norm_


def in_torch(module, torch):
    """The same Module in PyTorch: Values are Parameters, lists are ModuleLists, and what is shared stays shared."""
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


@pytest.mark.parametrize("module", [nn, nn_tanh])
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


def test_shared_parts_of_subclasses():
    class Own(nn.Neuron):
        def parameters(self):
            return [*self.w, self.b]

    class OwnLayer(nn.Layer):
        _neuron = Own

    layer = OwnLayer(1, 2)
    layer.neurons[1].b = layer.neurons[0].b
    first, second = layer.neurons
    assert layer.parameters() == [*first.w, first.b, *second.w]


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
    "a hidden neuron": lambda v: nn_tanh.MLP(2, [3, 3, 1])([v, 1.0])._children[0],
    "an affine node": lambda v: functional.dot([v, v], [1.0, 2.0]),
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
    neuron.w[1] = value
    assert network.parameters() == every_parameter(network)  # no mark was left behind


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


def test_neurons_in_a_tuple():
    model = nn.MLP(2, [2, 1])
    expected = model.parameters()
    model.layers[0].neurons = tuple(model.layers[0].neurons)
    assert model.parameters() == expected
    assert model.layers[0].parameters() == expected[:6]


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


class Fresh(dict):
    """Its items are in lists that it makes anew."""

    def items(self):
        return [(name, [item]) for name, item in super().items()]


def test_lists_that_are_made_as_the_parameters_are_gone_through():
    """A list that is freed gives its address, by which what comes again is known, to the next one."""
    model = Plain(**{f"m{i}": Fresh(w=Value(float(i))) for i in range(100)})
    expected = {f"m{i}.w.0": float(i) for i in range(100)}
    assert {name: p.data for name, p in model.named_parameters()} == expected
    assert model.state_dict() == expected
    assert len(model.parameters()) == 100
    assert utils.summary(model).endswith(" 100")


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


@pytest.mark.slow
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


def test_an_argument_of_a_trace_is_no_parameter():
    neuron, seen = nn.Neuron(1), []

    @micrograd.compile
    def f(w):
        neuron.w = [w]
        seen.extend((neuron.parameters(), nn.Neuron.parameters(neuron), [p for _, p in neuron.named_parameters()]))
        return neuron([2.0])

    assert f(3.0).data == 6.0
    assert seen == [[neuron.b]] * 3


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

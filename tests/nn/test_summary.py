"""utils.summary: rows, shapes, totals."""

from __future__ import annotations

import textwrap

import pytest

from helpers import values
from micrograd import MLP, Value, nn
from micrograd.utils import summary


def swish(x):
    return x * x.sigmoid()


class Model(nn.Module):
    def __init__(self):
        self.embedding = values([[0.0] * 4] * 27)
        self.body = nn.MLP(4, [8, 8, 4], activation=swish)
        self.body.layers[1].neurons[0].nonlin = "tanh"
        self.scale = Value(1.0)
        self.blocks = [{"query": values([[0.0] * 3] * 2)}, nn.Neuron(1200)]
        self.ragged = values([[1.0], [1.0, 2.0]])
        self.me = self
        self.tied = self.embedding
        self.row = self.embedding[0] + values([1.0])
        self.computed = self.scale * 2
        self.names = ["a", 1.0, []]
        self.loop = []
        self.loop.append(self.loop)


def test_a_network():
    assert summary(MLP(3, [4, 4, 1])) == textwrap.dedent(
        """\
        MLP                            parameters
        -----------------------------------------
        layers.0  Layer  3 -> 4  tanh          16
        layers.1  Layer  4 -> 4  tanh          20
        layers.2  Layer  4 -> 1  tanh           5
        -----------------------------------------
        total                                  41"""
    )


def test_all_kinds_of_members():
    model = Model()
    assert summary(model) == textwrap.dedent(
        """\
        Model                                           parameters
        ----------------------------------------------------------
        embedding       list    (27, 4)                        108
        body.layers.0   Layer   4 -> 8     swish                40
        body.layers.1   Layer   8 -> 8     tanh, swish          72
        body.layers.2   Layer   8 -> 4     linear               36
        scale           Value   ()                               1
        blocks.0.query  list    (2, 3)                           6
        blocks.1        Neuron  1200 -> 1  relu              1,201
        ragged.0        list    (1)                              1
        ragged.1        list    (2)                              2
        row             list    (5)                              1
        ----------------------------------------------------------
        total                                                1,468"""
    )
    assert len(model.parameters()) == 1468


def test_small_ones():
    assert summary(nn.Neuron(2, nonlin=False)).splitlines()[2] == "Neuron  2 -> 1  linear           3"
    assert summary(nn.Layer(2, 3)).splitlines()[0].split() == ["Layer", "parameters"]
    assert summary(nn.Module()).splitlines()[-1].split() == ["total", "0"]
    layer = nn.Layer(2, 2)
    layer.neurons = layer.neurons[:1] * 2
    assert summary(layer).splitlines()[-1].split() == ["total", "3"]
    shared, model = Value(1.0), nn.Module()
    model.one, model.two, model.three = [shared], [shared, Value(2.0)], shared
    assert summary(model).splitlines()[-1].split() == ["total", "2"]
    layer.neurons = []
    assert summary(layer).splitlines()[-1].split() == ["total", "0"]


@pytest.mark.parametrize(("depth", "row"), [(8, "w list"), (9, "w.0 list"), (10, "w.0.0 list")])
def test_eight_dimensions_are_one_shape(depth, row):
    model = nn.Module()
    model.w = Value(1.0)
    for _ in range(depth):
        model.w = [model.w]
    assert " ".join(f"{row} ({', '.join('1' * 8)})".split()) in " ".join(summary(model).split())


def test_names_are_those_of_named_parameters():
    class Own(nn.Module):
        def __init__(self):
            self.w = Value(1.0)

        def named_parameters(self):
            yield "weight", self.w

    class Outer(nn.Module):
        def __init__(self):
            self.own = Own()

    assert summary(Outer()).splitlines()[2].split() == ["own.weight", "Value", "()", "1"]


@pytest.mark.parametrize("model", [3, [nn.Neuron(1)], Value(1.0), None])
def test_what_is_no_module(model):
    with pytest.raises(TypeError, match=f"a model must be a Module, not '{type(model).__name__}'"):
        summary(model)

"""nn.init: bounds and deviations as PyTorch's formulas have them, shapes, generators, refusals."""

from __future__ import annotations

import math
import random
import re
import statistics

import pytest

from helpers import values
from micrograd import Value, nn, nn_tanh
from micrograd.nn import init

NONLINEARITIES = ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu", "conv2d", "conv_transpose3d"]
DRAWN = [
    (init.xavier_uniform_, {}),
    (init.xavier_uniform_, {"gain": 5 / 3}),
    (init.xavier_normal_, {}),
    (init.xavier_normal_, {"gain": 0.5}),
    *(
        (function, options)
        for function in (init.kaiming_uniform_, init.kaiming_normal_)
        for options in (
            {},
            {"a": math.sqrt(5)},
            {"mode": "fan_out", "nonlinearity": "relu"},
            {"nonlinearity": "tanh"},
            {"a": 0.3, "mode": "fan_out"},
        )
    ),
]
each = pytest.mark.parametrize(("function", "options"), DRAWN, ids=[f"{f.__name__} {o}" for f, o in DRAWN])


class Recorder(random.Random):
    """Keeps the arguments of what is drawn."""

    def __init__(self):
        super().__init__(0)
        self.drawn = []

    def uniform(self, a, b):
        self.drawn.append(("uniform_", a, b))
        return super().uniform(a, b)

    def gauss(self, mu=0.0, sigma=1.0):
        self.drawn.append(("normal_", mu, sigma))
        return super().gauss(mu, sigma)


def rows_of(outputs, inputs):
    return values([[0.0] * inputs for _ in range(outputs)])


def data_of(weight):
    return [x.data for x in init._values(weight)]


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_gains_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert init.calculate_gain(name, 0.2) == torch.nn.init.calculate_gain(name, 0.2)


@each
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (2, 7)], ids=str)
def test_what_is_drawn_is_what_pytorch_draws(function, options, shape, monkeypatch):
    torch = pytest.importorskip("torch")
    recorder, theirs = Recorder(), []
    function(rows_of(*shape), **options, generator=recorder)
    for name in "uniform_", "normal_":
        monkeypatch.setattr(torch.Tensor, name, lambda t, a, b, generator=None, name=name: theirs.append((name, a, b)))
    getattr(torch.nn.init, function.__name__)(torch.empty(shape), **options)
    [(name, a, b)] = theirs
    assert len(recorder.drawn) == shape[0] * shape[1]
    assert {call[0] for call in recorder.drawn} == {name}
    assert [call[1:] for call in set(recorder.drawn)] == [pytest.approx((a, b), rel=1e-14)]


@each
def test_spread_of_many_weights(function, options):
    """Against the formulas: a variance of gain² 2 / (in + out), or of gain² / fan."""
    outputs, inputs = 60, 120
    data = data_of(function(rows_of(outputs, inputs), **options, generator=3))
    if "xavier" in function.__name__:
        variance = options.get("gain", 1.0) ** 2 * 2 / (inputs + outputs)
    else:
        gain = init.calculate_gain(options.get("nonlinearity", "leaky_relu"), options.get("a", 0))
        variance = gain**2 / (outputs if options.get("mode") == "fan_out" else inputs)
    assert statistics.fmean(data) == pytest.approx(0.0, abs=4 * math.sqrt(variance / len(data)))
    assert statistics.pvariance(data) == pytest.approx(variance, rel=0.06)
    if "uniform" in function.__name__:
        assert 0.99 * math.sqrt(3 * variance) < max(map(abs, data)) <= math.sqrt(3 * variance)
    else:
        assert max(map(abs, data)) > 2.5 * math.sqrt(variance)


def test_uniform_and_normal():
    data = data_of(init.uniform_(rows_of(50, 50), -2.0, 4.0, generator=1))
    assert -2.0 <= min(data) < -1.95
    assert 3.95 < max(data) <= 4.0
    assert statistics.fmean(data_of(init.uniform_(rows_of(50, 50), generator=1))) == pytest.approx(0.5, abs=0.02)
    data = data_of(init.normal_(rows_of(50, 50), 3.0, 0.5, generator=1))
    assert (statistics.fmean(data), statistics.pstdev(data)) == pytest.approx((3.0, 0.5), abs=0.03)


@pytest.mark.parametrize("make", [nn.MLP, nn_tanh.MLP])
def test_each_layer_of_a_network_by_its_own_size_and_no_bias(make):
    recorder = Recorder()
    model = make(2, [8, 4, 1])
    biases = [n.b.data for layer in model.layers for n in layer.neurons]
    assert init.xavier_uniform_(model, generator=recorder) is model
    bounds = [math.sqrt(6 / (i + o)) for i, o in [(2, 8), (8, 4), (4, 1)] for _ in range(i * o)]
    assert [b for _, _, b in recorder.drawn] == pytest.approx(bounds)
    assert [n.b.data for layer in model.layers for n in layer.neurons] == biases
    again = random.Random(0)
    assert data_of(model) == [again.uniform(a, b) for _, a, b in recorder.drawn]


def test_shapes_that_a_weight_may_have():
    layer = nn.Layer(3, 2)
    rows = [n.w for n in layer.neurons]
    expected = data_of(init.kaiming_normal_(rows_of(2, 3), generator=7))
    for weight in (layer, rows, tuple(map(tuple, rows)), layer.neurons):
        init.zeros_(weight)
        assert data_of(rows) == [0.0] * 6
        assert init.kaiming_normal_(weight, generator=7) is weight
        assert data_of(rows) == expected
    assert data_of(init.ones_(layer.neurons[1])) == [1.0] * 3
    assert data_of(rows) == expected[:3] + [1.0] * 3
    biases = [n.b for n in layer.neurons]
    assert data_of(init.constant_(biases, 0.5)) == [0.5, 0.5]
    assert init.normal_(Value(0.0), mean=2.0, std=0.0).data == 2.0
    assert data_of(init.uniform_([rows_of(1, 2), [Value(0.0)]], 5, 5)) == [5.0] * 3


def test_generators():
    random.seed(4)
    first = data_of(init.uniform_(rows_of(2, 2)))
    random.seed(4)
    assert data_of(init.uniform_(rows_of(2, 2))) == first
    assert data_of(init.uniform_(rows_of(2, 2), generator=random.Random(4))) == first
    state = random.getstate()
    assert data_of(init.uniform_(rows_of(2, 2), generator=4)) == first
    assert random.getstate() == state
    draw = random.Random(4)
    assert data_of(init.uniform_(rows_of(1, 2), generator=draw)) + data_of(
        init.uniform_(rows_of(1, 2), generator=draw)
    ) == pytest.approx(first)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda w: init.xavier_uniform_(3), TypeError, "a weight must be a neuron, a layer, an MLP or a list"),
        (lambda w: init.zeros_(nn.Module()), TypeError, "not 'Module'"),
        (lambda w: init.xavier_normal_([[w[0][0], 1.0]]), TypeError, "not 'float'"),
        (lambda w: init.xavier_uniform_(w[0]), ValueError, "fan-in and fan-out are those of a list of rows of Values"),
        (lambda w: init.kaiming_normal_(w[0][0]), ValueError, "fan-in and fan-out are those of a list of rows"),
        (lambda w: init.kaiming_uniform_([w, w]), ValueError, "those of two dimensions"),
        (lambda w: init.kaiming_uniform_([w[0], w[1][:1]]), ValueError, "of one length of at least 1, not of [1, 2]"),
        (lambda w: init.xavier_uniform_([[], []]), ValueError, "of one length of at least 1, not of [0]"),
        (lambda w: init.xavier_uniform_([]), ValueError, "of one length of at least 1, not of []"),
        (lambda w: init.xavier_uniform_(w, gain="x"), TypeError, "gain must be a real number, not 'str'"),
        (lambda w: init.kaiming_uniform_(w, mode="fan"), ValueError, "mode must be 'fan_in' or 'fan_out', not 'fan'"),
        (lambda w: init.kaiming_normal_(w, nonlinearity="swish"), ValueError, "nonlinearity must be one of conv1d, "),
        (lambda w: init.calculate_gain("leaky_relu", "x"), TypeError, "the slope of leaky_relu must be a real number"),
        (lambda w: init.uniform_(w, 2.0, 1.0), ValueError, "a must be at most b, not 2.0 with b = 1.0"),
        (lambda w: init.uniform_(w, math.nan), ValueError, "a must be at most b, not nan with b = 1.0"),
        (lambda w: init.normal_(w, std=-1.0), ValueError, "std must be at least 0, not -1.0"),
        (lambda w: init.constant_(w, None), TypeError, "val must be a real number, not 'NoneType'"),
        (lambda w: init.uniform_(w, generator="x"), TypeError, "random.Random or a seed, an int, not 'str'"),
        (lambda w: init.normal_(w, generator=1.5), TypeError, "random.Random or a seed, an int, not 'float'"),
    ],
)
def test_refusals_change_nothing(call, error, text):
    weight = rows_of(2, 2)
    with pytest.raises(error, match=re.escape(text)):
        call(weight)
    assert data_of(weight) == [0.0] * 4


def test_the_module_is_reached_as_in_pytorch(isolated):
    assert nn.init is init
    source = "from micrograd import nn; print(nn.init.__name__, hasattr(nn, 'initialise'))"
    assert isolated(source) == "micrograd.nn.init False\n"


@pytest.mark.parametrize("name", ["uniform_", "normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_"])
@pytest.mark.parametrize("generator", [1, random.Random(1)], ids=["a seed", "a generator"])
def test_the_global_generator_is_left_alone(name, generator):
    layer = nn.Layer(2, 3)
    before = random.getstate()
    getattr(init, name)(layer, generator=generator)
    assert random.getstate() == before

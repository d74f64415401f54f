"""Functions of one number in `micrograd.functional`: of a Value, a number or a list, against PyTorch's."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

import micrograd
from micrograd import Value, functional

ACTIVATIONS = ["elu", "gelu", "leaky_relu", "mish", "relu", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh"]
FUNCTIONS = ["abs", "atan", "cbrt", "cos", "cosh", "erf", "exp", "expm1", "log", "log10", "log1p", "log2", "reciprocal"]
FUNCTIONS += ["sin", "sinh", "sqrt", "tan"]
NARROW = ["acos", "asin"]
KEYWORDS = [
    ("gelu", {"approximate": "tanh"}),
    ("gelu", {"approximate": "none"}),
    ("elu", {"alpha": 0.25}),
    ("leaky_relu", {"negative_slope": 0.5}),
    ("softplus", {"beta": 2.0}),
]


def points(name):
    if name in NARROW:
        return [-0.75, 0.0, 0.5]
    return [0.25, 1.0, 3.5] if name.startswith("log") or name in FUNCTIONS else [-2.5, 0.0, 0.75, 4.0]


def in_torch(torch, name):
    return next(getattr(home, name) for home in (torch.nn.functional, torch) if hasattr(home, name))


@pytest.mark.parametrize(
    ("name", "keywords"), [*((name, {}) for name in ACTIVATIONS + FUNCTIONS + NARROW if name != "cbrt"), *KEYWORDS]
)
def test_functions_are_pytorchs(name, keywords):
    torch = pytest.importorskip("torch")
    data = points(name)
    xs, theirs = [Value(x) for x in data], torch.tensor(data, dtype=torch.float64, requires_grad=True)
    ys, out = getattr(functional, name)(xs, **keywords), in_torch(torch, name)(theirs, **keywords)
    assert [y.data for y in ys] == pytest.approx(out.tolist(), rel=1e-15, abs=1e-15)
    functional.sum(ys).backward()
    out.sum().backward()
    assert [x.grad for x in xs] == pytest.approx(theirs.grad.tolist(), rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS + FUNCTIONS + NARROW)
def test_a_value_or_a_number_gives_a_value_and_a_list_a_list(name):
    f, x = getattr(functional, name), 0.5
    expected = getattr(Value(x), name)().data
    for single in (x, Value(x), np.float64(x), np.array(x)):
        y = f(single)
        assert isinstance(y, Value)
        assert y.data == expected
    for several in ([x, x], (Value(x), x), np.array([x, x]), np.array([Value(x), Value(x)]), iter([x, x])):
        ys = f(several)
        assert isinstance(ys, list)
        assert [y.data for y in ys] == [expected, expected]
    assert f([]) == []
    for wrong in ("a", None, [None], {"a": 1}):
        with pytest.raises(TypeError, match="an input must be a real number, not "):
            f(wrong)


@pytest.mark.parametrize("name", ACTIVATIONS + FUNCTIONS + NARROW)
def test_signatures_say_what_may_be_given(name):
    f = getattr(functional, name)
    xs, *_ = inspect.signature(f).parameters.values()
    assert (f.__name__, f.__module__.rpartition(".")[0], xs.name) == (name, "micrograd.functional", "xs")
    assert xs.annotation == "Scalar | Iterable[Scalar]"


def test_atan2_of_pairs():
    ys, xs = [Value(1.0), Value(-2.0)], [-1.0, Value(3.0)]
    assert [angle.data for angle in functional.atan2(ys, xs)] == [math.atan2(1.0, -1.0), math.atan2(-2.0, 3.0)]
    for y, x in ((ys[0], -1.0), (1.0, Value(-1.0)), (1.0, -1.0), (np.float64(1.0), np.array(-1.0))):
        angle = functional.atan2(y, x)
        assert isinstance(angle, Value)
        assert angle.data == math.atan2(1.0, -1.0)
    for y, x in (([1.0], -1.0), (1.0, [-1.0])):  # one list of one
        (angle,) = functional.atan2(y, x)
        assert angle.data == math.atan2(1.0, -1.0)
    for y, x in ((ys, [1.0]), (ys, 1.0), (1.0, ys)):
        with pytest.raises(ValueError, match=f"{len(ys) if y is ys else 1} ys for"):
            functional.atan2(y, x)


def test_parameters_that_are_values_are_learned():
    xs, slope, beta = [Value(-2.0), Value(3.0), Value(-0.5)], Value(0.25), Value(2.0)
    functional.sum(functional.leaky_relu(xs, slope)).backward()
    assert slope.grad == -2.5
    assert [x.grad for x in xs] == [0.25, 1.0, 0.25]
    functional.softplus(0.5, beta).backward()
    assert beta.grad == pytest.approx(0.5 / (1 + math.exp(-1.0)) / 2 - math.log(1 + math.exp(1.0)) / 4)
    one = Value(1.0)  # no number, for which softplus() needs no product
    functional.softplus(0.5, one).backward()
    assert one.grad == pytest.approx(0.5 / (1 + math.exp(-0.5)) - math.log(1 + math.exp(0.5)))


def test_errors_name_what_was_given():
    with pytest.raises(ValueError, match="approximate must be 'none' or 'tanh', not 'erf'"):
        functional.gelu([1.0], approximate="erf")
    with pytest.raises(ValueError, match="math domain error|expected"):  # noqa: RUF043, two versions of Python
        functional.asin([0.5, 2.0])
    with pytest.raises(ZeroDivisionError):
        functional.softplus(1.0, beta=0.0)
    with pytest.raises(TypeError, match="slope"):
        functional.relu([1.0], slope=2.0)


def test_compiled_networks_of_them_train_as_eager_ones():
    weights = [[Value(0.5 * i - 0.75 * j) for j in range(2)] for i in range(3)]

    def loss(x, y):
        hidden = functional.gelu(functional.linear(x, weights))
        return functional.mse_loss([functional.sum(functional.silu(hidden)) + functional.erf(hidden[0])], [y])

    X, y = np.random.default_rng(3).normal(size=(20, 2)), np.linspace(-1.0, 1.0, 20)
    total, grads = micrograd.compile(lambda x, y: loss(x, y)).value_and_grad(X, y)
    eager = functional.sum([loss([*map(Value, row)], target) for row, target in zip(X.tolist(), y.tolist())])
    eager.backward()
    assert total == pytest.approx(eager.data, rel=1e-13)
    assert [*grads] == pytest.approx([w.grad for row in weights for w in row], rel=1e-12)

"""`functional.jacobian`, `hessian` and `hvp` against PyTorch's, eager and compiled."""

from __future__ import annotations

import random

import numpy as np
import pytest

import micrograd
from micrograd import MLP, Value, functional, nn
from micrograd._core import OPS
from micrograd.functional import hessian, hvp, jacobian

POINT = [0.3, -0.7, 1.1]
VECTOR = [1.0, -2.0, 0.5]


def network():
    random.seed(5)
    return MLP(3, [4, 2])


def scalar(x):
    return functional.logsumexp([x[0] * x[1], x[2].tanh(), x[1] ** 3]) / (x[0] ** 2 + 1.0)


def torch_scalar(torch, x):
    return torch.logsumexp(torch.stack([x[0] * x[1], x[2].tanh(), x[1] ** 3]), 0) / (x[0] ** 2 + 1.0)


def torch_network(torch, model):
    layers = [
        (
            torch.tensor([[w.data for w in n.w] for n in layer.neurons], dtype=torch.float64),
            torch.tensor([n.b.data for n in layer.neurons], dtype=torch.float64),
        )
        for layer in model.layers
    ]

    def call(x):
        for W, b in layers:
            x = torch.tanh(W @ x + b)
        return x

    return call


def test_jacobian_is_pytorchs():
    torch = pytest.importorskip("torch")
    model = network()
    exact = torch.autograd.functional.jacobian(torch_network(torch, model), torch.tensor(POINT, dtype=torch.float64))
    ours = jacobian(model, POINT)
    assert np.array(ours) == pytest.approx(exact.numpy(), rel=1e-12)
    assert all(type(x) is float for row in ours for x in row)
    assert jacobian(lambda x: model(x)[1], POINT) == ours[1]
    assert jacobian(lambda x: 3.0, POINT) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("create_graph", [False, True])
def test_no_grad_does_not_change_them(create_graph):
    """As in PyTorch. Without a graph, each derivative would be 0."""

    def work():
        found = [jacobian(network(), POINT, create_graph), hessian(scalar, POINT, create_graph)]
        return [*found, *hvp(scalar, POINT, VECTOR, create_graph)]

    def numbers(result):
        return [*map(numbers, result)] if isinstance(result, list) else getattr(result, "data", result)

    with micrograd.no_grad():
        with micrograd.no_grad():
            ours = work()
            with pytest.raises(ZeroDivisionError):
                jacobian(lambda x: 1 / 0, POINT)
        assert not micrograd.is_grad_enabled()
    assert micrograd.is_grad_enabled()
    assert numbers(ours) == numbers(work())
    assert not create_graph or (ours[0][0][0]._prev and ours[2]._prev)  # PyTorch's have a graph, too


def test_no_gradient_goes_through_what_a_trace_computes_in_no_grad():
    @micrograd.compile
    def f(x):
        with micrograd.no_grad():
            slope = jacobian(lambda v: v[0] ** 2, [x])[0]
        return slope * x

    x = Value(3.0)
    y = f(x)
    y.backward()
    assert (y.data, x.grad) == (18.0, 6.0)


def test_hessian_and_hvp_are_pytorchs():
    torch = pytest.importorskip("torch")
    point, vector = (torch.tensor(x, dtype=torch.float64) for x in (POINT, VECTOR))
    exact = torch.autograd.functional.hessian(lambda x: torch_scalar(torch, x), point)
    assert np.array(hessian(scalar, POINT)) == pytest.approx(exact.numpy(), rel=1e-11, abs=1e-13)
    value, product = torch.autograd.functional.hvp(lambda x: torch_scalar(torch, x), point, vector)
    ours, ours_product = hvp(scalar, POINT, VECTOR)
    assert ours == pytest.approx(value.item())
    assert ours_product == pytest.approx(product.tolist(), rel=1e-11)
    assert type(ours) is float


def test_inputs_are_numbers_or_values_and_keep_their_grads():
    leaves = [Value(x) for x in POINT]
    assert hessian(scalar, leaves) == hessian(scalar, np.array(POINT)) == hessian(scalar, tuple(POINT))
    assert jacobian(lambda x: x, POINT) == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert [x.grad for x in leaves] == [0.0] * 3


def test_create_graph_gives_values_of_the_inputs_graph():
    leaves = [Value(x) for x in POINT]
    rows = hessian(scalar, leaves, create_graph=True)
    third = micrograd.grad(rows[0][1], leaves)
    step = 1e-5
    ends = [hessian(scalar, [POINT[0] + sign * step, *POINT[1:]])[0][1] for sign in (1, -1)]
    assert third[0] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-7)
    value, product = hvp(scalar, leaves, VECTOR, create_graph=True)
    assert isinstance(value, Value)
    assert all(isinstance(x, Value) for x in product)
    entries = [x for row in jacobian(lambda x: [x[0], 2.0], leaves, create_graph=True) for x in row]
    assert [type(x) for x in entries] == [Value] * 6
    assert len(set(entries)) == 6  # each zero is a Value of its own


def test_what_does_not_depend_on_the_inputs_has_derivative_0():
    w = Value(2.0)
    assert jacobian(lambda x: [w * w, 3.0, x[0]], [1.0, 1.0]) == [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]
    assert hessian(lambda x: w * x[0], [1.0, 1.0]) == [[0.0, 0.0], [0.0, 0.0]]
    assert hvp(lambda x: w, [1.0], [1.0]) == (2.0, [0.0])
    assert w.grad == 0.0


@pytest.mark.parametrize("exact", [False, True])
def test_in_compiled_functions(exact):
    @micrograd.compile(exact=exact)
    def rows(x):
        value, product = hvp(scalar, x, VECTOR)
        return [*[entry for row in hessian(scalar, x) for entry in row], value, *product]

    X = np.random.default_rng(0).uniform(-1.0, 1.0, (20, 3))
    found = rows.map(X)
    for x, row in zip(X.tolist(), found):
        value, product = hvp(scalar, x, VECTOR)
        assert row[:9].reshape(3, 3) == pytest.approx(np.array(hessian(scalar, x)), rel=1e-11, abs=1e-13)
        assert row[9:].tolist() == pytest.approx([value, *product], rel=1e-11, abs=1e-13)


def test_errors():
    with pytest.raises(ValueError, match="2 numbers in v for 3 inputs"):
        hvp(scalar, POINT, [1.0, 2.0])
    with pytest.raises(TypeError, match="must return one Value, not 'list'"):
        hessian(lambda x: x, POINT)
    with pytest.raises(TypeError, match="must return one Value, not 'float'"):
        hvp(lambda x: 1.0, POINT, VECTOR)
    with pytest.raises(TypeError, match="an output must be a real number"):
        jacobian(lambda x: ["a"], POINT)
    with pytest.raises(TypeError, match="an input must be a real number"):
        hessian(scalar, ["a"])


@pytest.mark.parametrize("name", [name for name, (_, arity) in OPS.items() if arity == 1 and not name.startswith("_")])
def test_second_derivatives_through_activations_of_layers(name):
    """Against the same network with a callable, whose neurons are a node for the sum and one for the activation."""
    draw = random.Random(3)
    numbers = [draw.uniform(0.1, 0.4) for _ in range(13)]

    def derivatives(model, x, wanted):
        for p, data in zip(model.parameters(), numbers):
            p.data = data
        by = micrograd.grad(model(x), wanted, create_graph=True)
        functional.dot(by, by).backward()
        return [*(g.data for g in by), *(v.grad for v in (*wanted, *model.parameters()))]

    for by_inputs in (False, True):
        found = []
        for model in (nn.MLP(2, [3, 1], activation=a) for a in (name, lambda x: getattr(x, name)())):
            x = [Value(0.5), Value(0.75)] if by_inputs else [0.5, 0.75]
            found.append(derivatives(model, x, x if by_inputs else model.parameters()[:2]))
        assert found[0] == pytest.approx(found[1], rel=1e-12)


@pytest.mark.parametrize("name", ["jacobian", "hessian", "hvp"])
def test_the_function_is_called_with_leaves_of_its_own(name):
    """With create_graph it gets the inputs themselves."""
    given, x = [], Value(2.0)
    inputs = [x, x * 3.0]

    def f(values):
        given[:] = values
        return values[0] * values[1]

    arguments = (f, inputs, [1.0, 1.0]) if name == "hvp" else (f, inputs)
    getattr(functional, name)(*arguments)
    assert [(v.data, v._children) for v in given] == [(2.0, ()), (6.0, ())]
    assert x not in given
    getattr(functional, name)(*arguments, create_graph=True)
    assert given == inputs

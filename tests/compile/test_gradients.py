"""`micrograd.grad` in compiled functions: derivatives that are part of a program, and gradients through them."""

from __future__ import annotations

import math
import random
import runpy

import numpy as np
import pytest

import micrograd
from helpers import ROOT, bits, grads_of, op, values
from micrograd import MLP, Value, functional, grad

MODES = pytest.mark.parametrize("exact", [False, True])
UNARY = ["tanh", "sigmoid", "softplus", "sin", "cos", "relu", "abs", "exp"]


def model_of(*sizes, seed=3):
    random.seed(seed)
    return MLP(sizes[0], list(sizes[1:]))


def wave(model):
    def residual(x):
        y = model([x])
        slope = grad(y, x, create_graph=True)
        return (grad(slope, x, create_graph=True) + y) ** 2

    return residual


@MODES
@pytest.mark.parametrize("sizes", [(1, 8, 1), (1, 5, 7, 1), (1, 1)])
@pytest.mark.parametrize("samples", [1, 3, 300])
def test_second_derivatives_of_a_network(exact, sizes, samples):
    """The loss and the gradients of the weights are eager code's, in exact mode the loss to the bit."""
    model = model_of(*sizes)
    residual, X = wave(model), np.linspace(-2.0, 2.0, samples)
    expected = functional.mean([residual(Value(x)) for x in X])
    compiled = micrograd.compile(residual, exact=exact)
    found = compiled.mean(X)
    assert found.data == pytest.approx(expected.data, rel=1e-12)
    theirs = grads_of(model.parameters(), expected)
    assert grads_of(model.parameters(), found) == pytest.approx(theirs, rel=1e-9, abs=1e-13)
    for x in X[:3]:
        eager, one = residual(Value(x)), compiled(x)
        assert bits(eager.data) == bits(one.data) if exact else one.data == pytest.approx(eager.data, rel=1e-11)
        assert grads_of(model.parameters(), one) == pytest.approx(
            grads_of(model.parameters(), eager), rel=1e-9, abs=1e-13
        )


def test_second_derivatives_of_a_network_are_pytorchs():
    torch = pytest.importorskip("torch")
    model, X = model_of(1, 6, 4, 1), np.linspace(-1.5, 1.5, 33)
    loss = micrograd.compile(wave(model)).mean(X)
    x = torch.tensor(X[:, None], requires_grad=True)
    parameters = [[torch.tensor(p.data, dtype=torch.float64, requires_grad=True) for p in n.parameters()]
                  for layer in model.layers for n in layer.neurons]  # fmt: skip
    rows, y = iter(parameters), x
    for layer in model.layers:
        neurons = [next(rows) for _ in layer.neurons]
        y = torch.tanh(torch.stack([y @ torch.stack(p[:-1]) + p[-1] for p in neurons], 1))
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
    theirs = ((bend + y) ** 2).mean()
    theirs.backward()
    assert loss.data == pytest.approx(theirs.item(), rel=1e-12)
    exact = [p.grad.item() for row in parameters for p in row]
    assert grads_of(model.parameters(), loss) == pytest.approx(exact, rel=1e-9, abs=1e-12)


def program(draw, leaves, length):
    pool = list(leaves)
    for _ in range(length):
        a, b, c = draw.choices(pool, k=3)
        kind = draw.randrange(9)
        positive = b * b + 0.5
        pool.append(
            op(draw.choice(UNARY))(a * 0.5) if kind < 3
            else [a * b, a - 2.0 * b, a / positive, positive**1.5, positive ** (a * 0.1)][kind - 3] if kind < 8
            else [functional.logsumexp([a, b, c]), functional.dot([a, b], [c, 2.0 * a], bias=b),
                  functional.softmax([a, b, c])[0], functional.cross_entropy([a, b, c], 1)][draw.randrange(4)]
        )  # fmt: skip
    return functional.sum([x.tanh() for x in pool[-4:]])


@MODES
@pytest.mark.parametrize("seed", range(40))
def test_random_programs(exact, seed):
    """Gradients and mixed second derivatives by arguments and by captured leaves; then gradients through them."""
    draw = random.Random(seed)
    w = [Value(draw.uniform(-1.2, 1.2)) for _ in range(2)]
    length, state = draw.randint(3, 10), draw.getstate()

    def function(x):
        draw.setstate(state)
        leaves = [*x, *w]
        out = program(draw, leaves, length)
        first = grad(out, leaves, create_graph=True, allow_unused=True)
        slopes = [g for g in first if g is not None]
        second = [g for s in slopes for g in grad(s, leaves, create_graph=True, allow_unused=True) if g is not None]
        return [out, *slopes, *second]

    X = np.array([[draw.uniform(-1.0, 1.0) for _ in range(2)] for _ in range(9)])
    found = micrograd.compile(function, exact=exact).map(X)
    expected = [function(values(x)) for x in X.tolist()]
    for ours, theirs in zip(found, expected):
        if exact:
            assert [*map(bits, ours)] == [bits(v.data) for v in theirs]
        assert ours.tolist() == pytest.approx([v.data for v in theirs], rel=1e-8, abs=1e-10)
    total = micrograd.compile(lambda x: functional.sum(function(x)), exact=exact).sum(X)
    theirs = grads_of(w, functional.sum([v for row in expected for v in row]))
    assert grads_of(w, total) == pytest.approx(theirs, rel=1e-7, abs=1e-9)


@MODES
def test_an_index_among_the_arguments(exact):
    """Derivatives of cross entropies and of rows of a table, by an index that is known at each call."""
    table = [[Value(0.1 * i - 0.05 * j * i) for j in range(3)] for i in range(4)]

    def function(i, target):
        row = functional.embedding(i, table)
        loss = functional.cross_entropy(row, target) + functional.take(row, target) ** 2
        first = grad(loss, row, create_graph=True)
        second = [x for g in first for x in grad(g, row, create_graph=True)]
        return [loss, *first, *second]

    compiled = micrograd.compile(function, exact=exact)
    cases = [(i, t) for i in range(4) for t in range(3)]
    found = compiled.map(*map(list, zip(*cases)))
    for ours, (i, target) in zip(found, cases):
        eager = [v.data for v in function(i, target)]
        assert ours.tolist() == pytest.approx(eager, rel=1e-11, abs=1e-13)


def test_results_are_values_in_a_trace():
    seen = []

    @micrograd.compile
    def function(x):
        w = Value(3.0)
        seen.append(type(grad(x * x * w, x)))
        seen.append(type(grad(w * w, w)))
        return grad(x * x * w, x) + grad(w * w, w)

    assert function(2.0).data == 18.0
    assert seen == [Value, Value]


def test_no_derivative_reads_data_in_a_trace():
    """Each derivative by cases is decided for each sample."""
    compiled = micrograd.compile(lambda x: [grad(x.relu(), x), grad(x.abs(), x), grad(x**2 * x.abs(), x)])
    X = np.array([-2.0, -0.0, 0.0, 3.0])
    assert compiled.map(X).tolist() == [[0.0, -1.0, -12.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 27.0]]


def test_powers_at_0():
    w = Value(0.0)
    compiled = micrograd.compile(lambda x: [grad(x**w, x), grad(x**w, w), *grad(x**2.0, [x])])
    assert compiled.map([0.0, 2.0]).tolist() == [[0.0, 0.0, 0.0], [0.0, math.log(2.0), 4.0]]


def test_unused_inputs_and_leaked_values():
    w, kept = Value(1.0), []
    with pytest.raises(RuntimeError, match="not computed from the input"):
        micrograd.compile(lambda x: grad(x * x, w))(1.0)

    @micrograd.compile
    def function(x):
        assert grad(x * x, w, allow_unused=True) is None
        kept.append(x * x)
        return x

    function(1.0)
    with pytest.raises(micrograd.TraceError):
        grad(kept[0], w, allow_unused=True)


def test_a_compiled_result_cannot_be_differentiated_twice():
    """The gradients of a batch are numbers; first ones are there."""
    w = Value(2.0)
    total = micrograd.compile(lambda x: (w * x) ** 2).sum([1.0, 3.0])
    assert grad(total, w) == 40.0
    with pytest.raises(RuntimeError, match="create_graph"):
        grad(total, w, create_graph=True)


def test_the_example_learns_a_sine(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    main = runpy.run_path(str(ROOT / "examples" / "pinn.py"))["main"]
    main(["--steps", "1500", "--points", "60", "--plot", str(tmp_path / "pinn.png")])
    printed = capsys.readouterr()
    error = float(printed.out.rpartition("sin(x): ")[2])
    assert error < 0.02
    assert printed.err == ""
    assert (tmp_path / "pinn.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(SystemExit):
        main(["--steps", "0"])

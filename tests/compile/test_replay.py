"""Compiled functions compute what eager code computes: data to the bit with exact=True, the rest to rounding."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

import micrograd
from helpers import NARROW, OF_A_LIST, SPECIAL, agrees, bits, grads_of, op, values
from micrograd import Value, functional, nn
from micrograd._compile import use_variant, variants
from micrograd._core import OPS
from micrograd.optim import SGD
from oracle import EPS

SIZES = [0, 1, 7, 8, 9, 31, 33, 127, 129, 300]


def eager_samples(function, *arrays):
    """The function on each sample, in Values as in the trace."""
    results = [function(*map(values, sample)) for sample in zip(*(np.asarray(a, dtype=float).tolist() for a in arrays))]
    return [r if isinstance(r, Value) else Value(r) for r in results]


def assert_agrees(function, leaves, *arrays):
    """map, sum, mean and one sample have the results of eager code, in both modes."""
    samples = eager_samples(function, *arrays)
    assert_results(micrograd.compile(function, exact=True), True, samples, leaves, *arrays)
    return assert_results(micrograd.compile(function), False, samples, leaves, *arrays)


def assert_results(compiled, exact, samples, leaves, *arrays):
    data = np.array([sample.data for sample in samples])
    found = compiled.map(*arrays).tolist()
    assert all(agrees(ours, theirs, exact) for ours, theirs in zip(found, data.tolist())), (found, data)
    for reduce, scale in ((compiled.sum, 1.0), (compiled.mean, 1.0 / max(len(samples), 1))) if samples else ():
        total = reduce(*arrays)
        assert abs(total.data - scale * data.sum()) <= 16 * EPS * len(samples) * scale * np.abs(data).sum()
        theirs = scale * np.array(grads_of(leaves, functional.sum(samples)))
        ours = np.array(grads_of(leaves, total))
        # Another order of summation changes the result by at most this multiple of the sum of |terms|.
        terms = np.array([np.abs(grads_of(leaves, sample)) for sample in samples]).sum(axis=0)
        assert (np.abs(ours - theirs) <= 32 * EPS * scale * len(samples) * terms).all(), (ours, theirs)
    for i, sample, expected in zip(range(3), zip(*(np.asarray(a).tolist() for a in arrays)), samples):
        one = compiled(*sample)
        assert bits(one.data) == bits(found[i])  # a sample's outputs do not depend on its batch
        assert grads_of(leaves, one) == pytest.approx(grads_of(leaves, expected), rel=1e-12, abs=1e-300)
    return compiled


# ---- Ops in every width ----------------------------------------------------------------------------------------------


@pytest.fixture(params=sorted(OPS))
def case(request):
    """An op's name, and how many arguments it takes."""
    return request.param, OPS[request.param][1]


@pytest.fixture(params=variants())
def variant(request):
    """Runs a test with each of the compiled loops that this machine can run."""
    use_variant(request.param)
    yield request.param
    use_variant(variants()[0])


def test_the_baseline_variant_runs_everywhere():
    assert variants()[-1] == "baseline"
    with pytest.raises(ValueError, match="no variant 'abacus'"):
        use_variant("abacus")


@pytest.mark.parametrize("samples", SIZES)
def test_every_op_in_every_width(case, variant, samples):
    name, arity = case
    X = np.random.default_rng(samples).uniform(0.1, 0.9 if name in NARROW else 2.0, (samples, 2))
    w = Value(0.75)
    if arity == 1:
        assert_agrees(lambda x: op(name)(w * x[0]) + op(name)(x[1] * 1.0), [w], X)
    elif name.startswith("__"):
        assert_agrees(lambda x: op(name)(w + x[0], x[1] * 0.5) + op(name)(2.0, w * x[1]), [w], X)
    else:  # a method, which a number does not have
        assert_agrees(lambda x: op(name)(w + x[0], x[1] * 0.5) + op(name)(w * x[1], 2.0), [w], X)


@pytest.mark.parametrize("name", sorted(OF_A_LIST))
@pytest.mark.parametrize("samples", [1, 9, 40])
def test_every_function(name, samples):
    w = [Value(x) for x in (0.5, -1.25, 2.0)]
    X = np.random.default_rng(samples).normal(size=(samples, 3))
    assert_agrees(lambda x: OF_A_LIST[name]([a * b for a, b in zip(w, x)]), w, X)


def data_or_error(function, *args):
    try:
        return function(*args).data
    except (ArithmeticError, ValueError) as error:
        return type(error), str(error)


def same(ours, theirs, exact):
    return ours == theirs if isinstance(theirs, tuple) else agrees(ours, theirs, exact)


@pytest.mark.parametrize("exact", [True, False])
def test_special_values_are_those_of_eager_code(case, exact):
    """Data, and exceptions with the number of the sample."""
    name, arity = case
    points = list(itertools.product(SPECIAL, repeat=arity))
    compiled = micrograd.compile(op(name), exact=exact)
    expected = [data_or_error(op(name), *map(Value, point)) for point in points]
    for point, theirs in zip(points, expected):
        assert same(data_or_error(compiled, *point), theirs, exact), point
    failing = [i for i, found in enumerate(expected) if isinstance(found, tuple)]
    if failing:
        kind, text = expected[failing[0]]
        with pytest.raises(kind) as raised:
            compiled.map(*np.array(points).T)
        assert str(raised.value) == f"sample {failing[0]}: {text}"
    good = [point for i, point in enumerate(points) if i not in failing]
    expected = [x for x in expected if not isinstance(x, tuple)]
    for ours, theirs, point in zip(compiled.map(*np.array(good).T), expected, good):
        assert agrees(ours, theirs, exact), point


# ---- Networks --------------------------------------------------------------------------------------------------------


def test_networks(variant):
    random.seed(3)
    draw = np.random.default_rng(0)
    for sizes in ([5, 4, 1], [1], [9, 3, 17, 1]):
        model = nn.MLP(3, sizes)
        X, y = draw.normal(size=(77, 3)), draw.normal(size=77)
        compiled = assert_agrees(lambda x, y, model=model: (model(x) - y) ** 2, model.parameters(), X, y)
        assert compiled.captured == model.parameters()


def test_a_network_that_is_called_twice():
    """Neurons keep their tuples of weights between calls; the same leaves are found in both calls."""
    model = nn.MLP(2, [4, 1])
    X = np.random.default_rng(0).normal(size=(20, 4))
    compiled = assert_agrees(lambda x: model(x[:2]) * model(x[2:]), model.parameters(), X)
    assert compiled.captured == model.parameters()


def test_weights_that_depend_on_the_arguments():
    model, w = nn.MLP(1, [3]), Value(0.5)
    kept = [neuron.w[0] for neuron in model.layers[0].neurons]

    def hyper(x):
        for neuron, value in zip(model.layers[0].neurons, kept):
            neuron.w[0] = value * x
        return functional.sum(model([w * x]))

    assert_agrees(hyper, [*kept, w], np.linspace(-1, 1, 11))


def test_gradients_are_pytorchs():
    torch = pytest.importorskip("torch")
    random.seed(1)
    model = micrograd.MLP(3, [8, 2])
    X, y = np.random.default_rng(1).normal(size=(50, 3)), np.eye(2)[[i % 2 for i in range(50)]]
    loss = micrograd.compile(lambda x, y: functional.cross_entropy(model(x), y)).mean(X, y)
    loss.backward()
    theirs, x = [], torch.tensor(X)
    for layer in model.layers:
        W = torch.tensor([[w.data for w in n.w] for n in layer.neurons], dtype=torch.float64, requires_grad=True)
        b = torch.tensor([n.b.data for n in layer.neurons], dtype=torch.float64, requires_grad=True)
        theirs.append((W, b))
        x = torch.tanh(x @ W.T + b)
    expected = torch.nn.functional.cross_entropy(x, torch.tensor(y))
    expected.backward()
    assert loss.data == pytest.approx(expected.item(), rel=1e-13)
    grads = [g for W, b in theirs for row, bias in zip(W.grad, b.grad) for g in [*row.tolist(), bias.item()]]
    assert [p.grad for p in model.parameters()] == pytest.approx(grads, rel=1e-11, abs=1e-15)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "tanh", "exp of softmax", "products"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_gradients_of_each_of_several_outputs(name, count):
    """The gradients of one output must not overwrite data that the next output's backward reads."""
    function = {
        "softmax": functional.softmax,
        "log_softmax": functional.log_softmax,
        "tanh": lambda xs: [(w * x).tanh() for w, x in zip(weights, xs)],
        "exp of softmax": lambda xs: [p.exp() * w for w, p in zip(weights, functional.softmax(xs))],
        "products": lambda xs: [x * xs[0] * (w * xs[-1]).exp() for w, x in zip(weights, xs)],
    }[name]
    draw = random.Random(count)
    weights = [Value(draw.uniform(-1, 1)) for _ in range(count)]
    xs = [Value(draw.uniform(-1, 1)) for _ in range(count)]
    leaves = [*xs, *weights]
    found, expected = micrograd.compile(function, exact=True)(xs), function(xs)
    for ours, theirs, fast in zip(found, expected, micrograd.compile(function)(xs)):
        assert bits(ours.data) == bits(theirs.data)
        assert agrees(fast.data, theirs.data, False)
        assert grads_of(leaves, fast) == pytest.approx(grads_of(leaves, theirs), rel=1e-13, abs=1e-15)
        assert grads_of(leaves, ours) == pytest.approx(grads_of(leaves, theirs), rel=1e-13, abs=1e-16)
    assert len(found) == len(expected) == count


def test_the_gradients_of_an_output_do_not_depend_on_the_others():
    """What only other outputs need may raise, or have an infinite derivative, and 0 times that is NaN."""
    w = Value(0.0)

    def function(x):
        huge = (w + 1e200) * 1e200
        return [x.sqrt(), x * 2.0 + w, w.sqrt() * x, (x + 1e200) * (x * huge), functional.dot([w, w], [huge, x])]

    x = Value(0.0)
    compiled = micrograd.compile(function)
    for i in range(5):
        found = []
        for outputs in (compiled(x), function(x)):
            try:
                found.append(grads_of([x, w], outputs[i]))
            except (ArithmeticError, ValueError) as error:
                found.append([type(error)])
        assert list(map(str, found[0])) == list(map(str, found[1])), i


def test_several_outputs_raise_what_the_code_raises_first():
    def function(x, y):
        late = y.log()
        return [x.sqrt() + late, x.exp()]

    for point in ((-1.0, -1.0), (-1.0, 1.0), (1e3, 1.0), (1e3, -1.0)):
        raised = []
        for call in (micrograd.compile(function), function):
            with pytest.raises((ArithmeticError, ValueError)) as error:
                call(*map(Value, point))
            raised.append(error.value)
        assert type(raised[0]) is type(raised[1])
        if point != (-1.0, -1.0):  # both the root and the logarithm raise there, each a ValueError
            assert str(raised[0]) == str(raised[1])


def test_gradients_are_central_differences():
    w = [Value(0.3), Value(-0.7)]
    X = np.linspace(-1, 1, 20)
    f = micrograd.compile(lambda x: ((w[0] * x + w[1]).tanh() * w[1].exp()).sin())
    f.sum(X).backward()
    for p in w:
        middle, step = p.data, 1e-6
        ends = []
        for p.data in (middle + step, middle - step):
            ends.append(f.map(X).sum())
        p.data = middle
        assert p.grad == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-7)


def test_training_is_that_of_eager_code():
    """Parameters are read at every call: two hundred steps without a retrace."""
    losses = []
    X, y = np.random.default_rng(0).normal(size=(30, 2)), np.sign(np.random.default_rng(1).normal(size=30))
    for compiled in (True, False):
        random.seed(7)
        model = nn.MLP(2, [6, 1])

        def loss(x, y, model=model):
            return (1 - y * model(x)).relu() + 1e-3 * sum(p * p for p in model.parameters())

        f = micrograd.compile(loss)
        optimizer = SGD(model.parameters(), lr=0.05)
        for _ in range(200):
            total = f.mean(X, y) if compiled else functional.mean(eager_samples(loss, X, y))
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            losses.append(total.data)
        assert f.retraces == 0
    assert losses[:200] == pytest.approx(losses[200:], rel=1e-9)


def test_the_result_composes_with_eager_code():
    w = Value(2.0)
    total = micrograd.compile(lambda x: w * x).sum([1.0, 2.0]) * 3 + 0.5 * w * w
    total.backward()
    assert (total.data, w.grad) == (20.0, 11.0)

"""`micrograd.compile`: what is replayed is what eager code computes, row by row to the bit, gradients to rounding."""

from __future__ import annotations

import itertools
import math
import random
import struct

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import micrograd
from micrograd import Value, functional, nn
from micrograd._compile import use_variant, variants
from micrograd._core import OPS
from micrograd.optim import SGD

EPS = 2.0**-52
ROWS = [0, 1, 7, 8, 9, 31, 33, 127, 129, 300]
MANY = {
    "sum": functional.sum,
    "mean": functional.mean,
    "logsumexp": functional.logsumexp,
    "dot": lambda xs: functional.dot(xs, xs[::-1], bias=xs[0]),
    "softmax": lambda xs: functional.softmax(xs)[0],
    "log_softmax": lambda xs: functional.log_softmax(xs)[-1],
    "mse_loss": lambda xs: functional.mse_loss(xs, xs[::-1]),
    "hinge_loss": lambda xs: functional.hinge_loss(xs, [1.0] * len(xs)),
    "cross_entropy": lambda xs: functional.cross_entropy(xs, len(xs) - 1),
    "linear": lambda xs: functional.linear(xs, [xs, xs[::-1]])[1],
    "relu": lambda xs: functional.relu(xs)[-1],
    "tanh": lambda xs: functional.tanh(xs)[0],
}


def bits(x):
    return "nan" if math.isnan(x) else struct.pack("d", x)


def values(x):
    """Nested lists of numbers as nested lists of Values."""
    return [values(item) for item in x] if isinstance(x, list) else Value(x)


def eager_rows(function, *arrays):
    """The function on each row, in Values as in the trace."""
    results = [function(*map(values, row)) for row in zip(*(np.asarray(a, dtype=float).tolist() for a in arrays))]
    return [r if isinstance(r, Value) else Value(r) for r in results]


def grads_of(leaves, value):
    for leaf in leaves:
        leaf.grad = 0.0
    value.zero_grad()
    value.backward()
    return [leaf.grad for leaf in leaves]


def assert_agrees(function, leaves, *arrays, **options):
    """map, sum, mean and one sample against eager code."""
    compiled = micrograd.compile(function, **options)
    rows = eager_rows(function, *arrays)
    data = np.array([row.data for row in rows])
    assert [bits(x) for x in compiled.map(*arrays).tolist()] == [bits(x) for x in data.tolist()]
    for reduce, scale in ((compiled.sum, 1.0), (compiled.mean, 1.0 / max(len(rows), 1))) if rows else ():
        total = reduce(*arrays)
        assert abs(total.data - scale * data.sum()) <= 4 * EPS * len(rows) * scale * np.abs(data).sum()
        theirs = scale * np.array(grads_of(leaves, functional.sum(rows)))
        ours = np.array(grads_of(leaves, total))
        # What another order of summation may change is bounded by the sum of what the rows contribute.
        terms = np.array([np.abs(grads_of(leaves, row)) for row in rows]).sum(axis=0)
        assert (np.abs(ours - theirs) <= 8 * EPS * scale * len(rows) * terms).all(), (ours, theirs)
    for row, expected in zip(zip(*(np.asarray(a).tolist() for a in arrays)), rows[:3]):
        one = compiled(*row)
        assert bits(one.data) == bits(expected.data)
        assert grads_of(leaves, one) == pytest.approx(grads_of(leaves, expected), rel=1e-12, abs=1e-300)
    return compiled


# ---- Ops in every width ----------------------------------------------------------------------------------------------


@pytest.fixture(params=sorted(OPS))
def op(request):
    return request.param, OPS[request.param][1]


@pytest.fixture(params=variants())
def variant(request):
    """Runs a test with each of the compiled loops that this machine can run."""
    use_variant(request.param)
    yield request.param
    use_variant(variants()[0])


def test_there_is_a_variant_for_every_machine():
    assert variants()[-1] == "baseline"
    with pytest.raises(ValueError, match="no variant 'abacus'"):
        use_variant("abacus")


@pytest.mark.parametrize("rows", ROWS)
def test_every_op_in_every_width(op, variant, rows):
    name, arity = op
    X = np.random.default_rng(rows).uniform(0.1, 2.0, (rows, 2))
    w = Value(0.75)
    if arity == 1:
        assert_agrees(lambda x: oracle.op(name)(w * x[0]) + oracle.op(name)(x[1] * 1.0), [w], X)
    elif name.startswith("__"):
        assert_agrees(lambda x: oracle.op(name)(w + x[0], x[1] * 0.5) + oracle.op(name)(2.0, w * x[1]), [w], X)
    else:  # a method, which a number has not
        assert_agrees(lambda x: oracle.op(name)(w + x[0], x[1] * 0.5) + oracle.op(name)(w * x[1], 2.0), [w], X)


@pytest.mark.parametrize("name", sorted(MANY))
@pytest.mark.parametrize("rows", [1, 9, 40])
def test_every_function(name, rows):
    w = [Value(x) for x in (0.5, -1.25, 2.0)]
    X = np.random.default_rng(rows).normal(size=(rows, 3))
    assert_agrees(lambda x: MANY[name]([a * b for a, b in zip(w, x)]), w, X)


SPECIAL = [
    0.0,
    -0.0,
    math.inf,
    -math.inf,
    math.nan,
    5e-324,
    -1.0,
    1.0,
    0.5,
    2.0,
    -3.0,
    709.0,
    710.0,
    -746.0,
    1e200,
    -1e308,
]


def outcome(function, *args):
    try:
        return bits(function(*args).data)
    except (ArithmeticError, ValueError) as error:
        return type(error), str(error)


def test_special_values_are_those_of_eager_code(op):
    """Data and exceptions; these with the number of the row."""
    name, arity = op
    points = list(itertools.product(SPECIAL, repeat=arity))
    compiled = micrograd.compile(oracle.op(name))
    expected = [outcome(oracle.op(name), *map(Value, point)) for point in points]
    assert [outcome(compiled, *point) for point in points] == expected
    failing = [i for i, found in enumerate(expected) if isinstance(found, tuple)]
    if failing:
        kind, text = expected[failing[0]]
        with pytest.raises(kind) as raised:
            compiled.map(*np.array(points).T)
        assert str(raised.value) == f"sample {failing[0]}: {text}"
    good = [point for i, point in enumerate(points) if i not in failing]
    assert [bits(x) for x in compiled.map(*np.array(good).T)] == [x for x in expected if not isinstance(x, tuple)]


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
    """Its neurons keep their rows of weights between calls: sharing them says nothing of who else holds them."""
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
    """Grads of one output may not stand where data stand that are read for the next."""
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
    found, expected = micrograd.compile(function)(xs), function(xs)
    for ours, theirs in zip(found, expected):
        assert bits(ours.data) == bits(theirs.data)
        assert grads_of(leaves, ours) == pytest.approx(grads_of(leaves, theirs), rel=1e-13, abs=1e-16)
    assert len(found) == len(expected) == count


def test_an_output_is_not_touched_by_the_others():
    """What they alone need may raise, or have an infinite derivative that 0 would be multiplied by."""
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
            total = f.mean(X, y) if compiled else functional.mean(eager_rows(loss, X, y))
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


# ---- Random programs -------------------------------------------------------------------------------------------------

UNARY = [name for name, (_, arity) in OPS.items() if arity == 1]
BINARY = [name for name, (_, arity) in OPS.items() if arity == 2]
STEP = st.one_of(
    st.tuples(st.sampled_from(UNARY), st.integers(0, 99)),
    st.tuples(
        st.sampled_from([*BINARY, "__add__", "__mul__", "__add__", "__mul__"]), st.integers(0, 99), st.integers(0, 99)
    ),
    st.tuples(
        st.sampled_from(["sum", "logsumexp", "dot", "softmax"]),
        st.integers(0, 99),
        st.integers(0, 99),
        st.integers(0, 99),
    ),
    st.tuples(st.just("number"), st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0])),
    st.tuples(st.just("constant"), st.sampled_from([0.0, -0.0, 1.0, 2.0])),
)


def program(steps, leaves, intermediate):
    def function(x, y):
        pool = [*x, y, *leaves, intermediate]
        for name, *args in steps:
            picked = [pool[i % len(pool)] for i in args] if name not in ("number", "constant") else args
            if name == "number":
                pool.append(args[0] + 0 * leaves[0] if len(pool) % 2 else leaves[0] * args[0])
            elif name == "constant":
                pool.append(Value(args[0]))
            elif name in MANY:
                pool.append(MANY[name](picked))
            else:
                pool.append(oracle.op(name)(*picked))
        return pool

    return function


@settings(max_examples=120, deadline=None)
@given(st.lists(STEP, max_size=25), st.integers(1, 20), st.randoms(use_true_random=False))
def test_random_programs(steps, rows, draw):
    leaves = [Value(draw.choice([0.5, -1.5, 2.0, 0.0])) for _ in range(3)]
    intermediate = leaves[0] * leaves[1] + 1.0
    function = program(steps, leaves, intermediate)
    X = np.array([[draw.choice([-2.0, -0.5, 0.0, 0.25, 1.0, 3.0]) for _ in range(2)] for _ in range(rows)])
    y = np.array([draw.uniform(-2, 2) for _ in range(rows)])
    rows_of = [[*map(values, x)] for x in X.tolist()], [*map(Value, y.tolist())]
    try:
        expected = [function(*row) for row in zip(*rows_of)]
    except (ArithmeticError, ValueError):
        # Of several errors another one may come first: what does not depend on the arguments is computed once a call.
        with pytest.raises((ArithmeticError, ValueError)):
            micrograd.compile(function).map(X, y)
        return
    found = micrograd.compile(function).map(X, y)
    assert [[*map(bits, row)] for row in found] == [[bits(v.data) for v in row] for row in expected]
    total = micrograd.compile(lambda x, y: functional.sum(function(x, y)[-3:])).sum(X, y)
    sums = [functional.sum(row[-3:]) for row in expected]
    try:
        theirs = grads_of(leaves, functional.sum(sums))
    except (ArithmeticError, ValueError):
        return  # what arguments that are Values have no derivative of, numbers may not need one of
    ours = grads_of(leaves, total)
    terms = np.array([grads_with_bounds(leaves, row) for row in sums]).sum(axis=0)
    for a, b, bound in zip(ours, theirs, terms):
        if math.isfinite(b) and math.isfinite(bound):
            assert abs(a - b) <= 64 * EPS * rows * bound + 1e-290


def grads_with_bounds(leaves, value):
    """Of each leaf a bound on the terms that its grad is the sum of: grads with every term by its absolute value."""
    order, seen = [], set()

    def visit(v):
        if v not in seen:
            seen.add(v)
            for child in v._children:
                visit(child)
            order.append(v)

    visit(value)
    bound = dict.fromkeys(order, 0.0)
    bound[value] = 1.0
    for v in reversed(order):
        for child, local in zip(v._children, v._local_grads):
            bound[child] += abs(local) * bound[v]
    return [bound.get(leaf, 0.0) for leaf in leaves]

"""What karpathy/micrograd and this engine both do: every test runs once on each.
Where the two differ on purpose is in test_dialects.py; errors are in test_errors.py."""

from __future__ import annotations

import gc
import math
import operator
import random
import weakref
from collections import Counter

import numpy as np
import pytest

OPERATIONS = {
    "value+value": (lambda a, b: a + b, 1.5, [1.0, 1.0]),
    "value*value": (lambda a, b: a * b, -7.0, [-2.0, 3.5]),
    "value-value": (lambda a, b: a - b, 5.5, [1.0, -1.0]),
    "value/value": (lambda a, b: a / b, -1.75, [-0.5, -0.875]),
    "value+number": (lambda a, _: a + 2, 5.5, [1.0, 0.0]),
    "number+value": (lambda a, _: 2 + a, 5.5, [1.0, 0.0]),
    "value-number": (lambda a, _: a - 2, 1.5, [1.0, 0.0]),
    "number-value": (lambda a, _: 2 - a, -1.5, [-1.0, 0.0]),
    "value*number": (lambda a, _: a * 2, 7.0, [2.0, 0.0]),
    "number*value": (lambda a, _: 2 * a, 7.0, [2.0, 0.0]),
    "value/number": (lambda a, _: a / 2, 1.75, [0.5, 0.0]),
    "number/value": (lambda _, b: 2 / b, -1.0, [0.0, -0.5]),
    "-value": (lambda a, _: -a, -3.5, [-1.0, 0.0]),
    "value**2": (lambda a, _: a**2, 12.25, [7.0, 0.0]),
    "value**2.0": (lambda a, _: a**2.0, 12.25, [7.0, 0.0]),
    "value**-1": (lambda _, b: b**-1, -0.5, [0.0, -0.25]),
    "value**0": (lambda a, _: a**0, 1.0, [0.0, 0.0]),
    "relu of positive": (lambda a, _: a.relu(), 3.5, [1.0, 0.0]),
    "relu of negative": (lambda _, b: b.relu(), 0.0, [0.0, 0.0]),
    "one value twice": (lambda a, _: a * a + a, 15.75, [8.0, 0.0]),
}


@pytest.mark.parametrize(("f", "data", "grads"), OPERATIONS.values(), ids=OPERATIONS)
def test_operation_gives_data_and_gradients(engine, f, data, grads):
    a, b = engine.Value(3.5), engine.Value(-2.0)
    out = f(a, b)
    out.backward()
    assert isinstance(out, engine.Value)
    assert out.data == data
    assert [a.grad, b.grad] == grads


def test_the_readme_of_karpathy(engine):
    a, b = engine.Value(-4.0), engine.Value(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    g.backward()
    assert (g.data, a.grad, b.grad) == pytest.approx((24.70408163265306, 138.83381924198252, 645.5772594752186))


def test_forward_is_the_same_to_the_bit_on_both_engines(ours, reference):
    rng = random.Random(7)
    for _ in range(300):
        x, y = rng.uniform(-3, 3), rng.uniform(-3, 3)
        mine, theirs = (
            [v.data.hex() for v in (a - b, a / b, x / b, a / y, a**2, b**3, abs(x) / b**2, (a * b + x).relu() - y)]
            for a, b in ((e.Value(x), e.Value(y)) for e in (ours, reference))
        )
        assert mine == theirs


# -- what a node shows of itself


@pytest.mark.parametrize(
    ("f", "op", "parents"),
    [
        (lambda a, b: a + b, "+", "ab"),
        (lambda a, b: a * b, "*", "ab"),
        (lambda a, _: a + a, "+", "a"),
        (lambda a, _: a * a, "*", "a"),
        (lambda a, _: a.relu(), "ReLU", "a"),
        (lambda a, _: a**2, "**2", "a"),
        (lambda a, _: a**2.0, "**2.0", "a"),
        (lambda a, _: a**-1, "**-1", "a"),
        (lambda a, _: a**0.5, "**0.5", "a"),
        (lambda a, _: a, "", ""),
    ],
)
def test_op_and_parents(engine, f, op, parents):
    a, b = engine.Value(3.5), engine.Value(-2.0)
    out = f(a, b)
    assert out._op == op
    assert isinstance(out._prev, set)
    assert out._prev == {{"a": a, "b": b}[name] for name in parents}


@pytest.mark.parametrize(("f", "op"), [(lambda a: a * 2.5, "*"), (lambda a: 2.5 + a, "+")])
def test_a_constant_is_a_parent_of_its_own(engine, f, op):
    a = engine.Value(3.5)
    out = f(a)
    (constant,) = out._prev - {a}
    assert out._op == op
    assert (constant.data, constant._op, constant._prev) == (2.5, "", set())
    assert out._prev == out._prev == {a, constant}


def test_a_constant_that_is_changed_counts_in_backward(engine):
    a = engine.Value(3.0)
    out = a * 2.0
    (constant,) = out._prev - {a}
    constant.data = 7.0
    out.backward()
    assert (a.grad, constant.grad) == (7.0, 3.0)


def test_repr_of_floats(engine):
    x = engine.Value(2.0)
    (x * 3.0).backward()
    assert repr(x) == str(x) == "Value(data=2.0, grad=3.0)"


def test_equality_and_hash_are_identity(engine):
    a, b = engine.Value(2.0), engine.Value(2.0)
    assert a == a
    assert a != b
    assert a != 2.0
    assert len({a, b, a}) == 2
    assert {a: "a"}[a] == "a"
    assert a in [b, a]
    assert [b, a].index(a) == 1


@pytest.mark.parametrize("refused", [operator.lt, operator.le, operator.gt, operator.ge])
def test_values_have_no_order(engine, refused):
    with pytest.raises(TypeError):
        refused(engine.Value(1.0), engine.Value(2.0))
    with pytest.raises(TypeError):
        refused(engine.Value(1.0), 2.0)


@pytest.mark.parametrize("refused", [float, int, complex, math.exp, round, len, iter, list, operator.index])
def test_values_are_no_plain_numbers_and_no_sequences(engine, refused):
    with pytest.raises(TypeError):
        refused(engine.Value(1.0))


@pytest.mark.parametrize("refused", [operator.mod, operator.floordiv, operator.matmul, divmod, operator.and_])
def test_other_operators_are_refused(engine, refused):
    with pytest.raises(TypeError):
        refused(engine.Value(1.0), engine.Value(2.0))


@pytest.mark.parametrize("data", [0.0, 1.0, -0.0, math.nan])
def test_truth_is_true(engine, data):
    assert engine.Value(data)


@pytest.mark.parametrize("method", ["__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__"])
def test_operator_methods_can_be_called_by_name(engine, method):
    expected = {
        "__add__": 10.0, "__radd__": 10.0, "__sub__": 6.0, "__rsub__": -6.0,
        "__mul__": 16.0, "__rmul__": 16.0, "__truediv__": 4.0,
    }  # fmt: skip
    assert getattr(engine.Value(8.0), method)(2.0).data == expected[method]


@pytest.mark.parametrize("f", [operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow])
def test_augmented_assignment_makes_a_new_node(engine, f):
    x = engine.Value(3.0)
    y = f(x, 2)
    assert y is not x
    assert x.data == 3.0


def test_sum_starts_from_the_number_0(engine):
    xs = [engine.Value(float(i)) for i in range(5)]
    total = sum(xs)
    total.backward()
    assert total.data == 10.0
    assert [x.grad for x in xs] == [1.0] * 5


# -- backward


def test_every_backward_accumulates_stale_intermediates_included(engine):
    x = engine.Value(2.0)
    h = 3 * x
    y = h * h + h
    seen = []
    for _ in range(3):
        y.backward()
        seen.append((x.grad, h.grad, y.grad))
    assert [s[0] for s in seen] == [39.0, 153.0, 378.0]
    assert [s[1] for s in seen] == [13.0, 38.0, 75.0]
    assert [s[2] for s in seen] == [1.0, 1.0, 1.0]


def test_backward_of_two_roots_shares_what_is_below(engine):
    x = engine.Value(2.0)
    h = x * x
    y, z = h * 3.0, h * 5.0
    y.backward()
    assert (x.grad, h.grad) == (12.0, 3.0)
    z.backward()
    assert (x.grad, h.grad) == (12.0 + 4 * 8.0, 8.0)


def test_backward_of_an_intermediate_leaves_its_descendants_alone(engine):
    x = engine.Value(2.0)
    h = x * x
    y = h * 3.0
    h.backward()
    assert (x.grad, h.grad, y.grad) == (4.0, 1.0, 0.0)


def test_backward_of_a_leaf_sets_its_grad_to_1(engine):
    x = engine.Value(2.0)
    x.grad = 5.0
    x.backward()
    assert x.grad == 1.0


def test_backward_returns_none(engine):
    assert (engine.Value(2.0) * 3).backward() is None


def test_a_grad_that_was_set_is_added_to(engine):
    x = engine.Value(2.0)
    h = x * x
    h.grad = 10.0
    (h * 3.0).backward()
    assert (h.grad, x.grad) == (13.0, 52.0)


def test_operands_are_read_when_backward_runs(engine):
    x, y = engine.Value(2.0), engine.Value(3.0)
    product, power = x * y, x**3
    x.data = 10.0
    assert product.data == 6.0
    product.backward()
    assert (x.grad, y.grad) == (3.0, 10.0)
    power.backward()
    assert x.grad == 303.0


def test_relu_reads_its_own_output_when_backward_runs(engine):
    x = engine.Value(2.0)
    out = x.relu()
    out.data = -1.0
    out.backward()
    assert x.grad == 0.0
    x.data, out.data = -5.0, 1.0
    out.backward()
    assert x.grad == 1.0


def test_old_and_new_nodes_in_one_graph(engine):
    old = engine.Value(2.0)
    squares = [old**2 for _ in range(2000)]
    young = engine.Value(3.0)
    out = young * squares[0] + squares[1999] * squares[0]
    out.backward()
    assert (young.grad, squares[0].grad, squares[1999].grad, old.grad) == (4.0, 7.0, 4.0, 44.0)


def _in_order(root) -> list:
    done, order = set(), []

    def visit(v):
        if v not in done:
            done.add(v)
            for child in v._prev:
                visit(child)
            order.append(v)

    visit(root)
    return order[::-1]


def _program(Value):
    a, b = Value(3.0), Value(-2.0)
    c = a * b + 2.5
    d = (c * c + a * 0.5).relu()
    return a, b, (d * b + c) ** 2 + 3.0 * a


def test_backward_by_hand_is_backward(engine):
    (a, b, root), (a2, b2, root2) = _program(engine.Value), _program(engine.Value)
    root.backward()
    root2.grad = 1.0
    for v in _in_order(root2):
        v._backward()
    assert (a2.grad, b2.grad) == (a.grad, b.grad)
    assert Counter(v.grad for v in _in_order(root2)) == Counter(v.grad for v in _in_order(root))


def test_one_step_by_hand_adds_to_the_parents_alone(engine):
    a, b = engine.Value(3.0), engine.Value(-2.0)
    c = a * b
    d = c * c
    d.grad = 2.0
    d._backward()
    d._backward()
    assert (c.grad, a.grad, b.grad) == (-48.0, 0.0, 0.0)


def test_the_backward_of_a_leaf_does_nothing(engine):
    x = engine.Value(2.0)
    x.grad = 3.0
    assert x._backward() is None
    assert x.grad == 3.0


def test_an_assigned_backward_replaces_the_step(engine):
    x = engine.Value(2.0)
    h = x * x
    h._backward = lambda: None
    y = h * 3.0
    y.backward()
    assert (h.grad, x.grad) == (3.0, 0.0)


def test_an_assigned_backward_may_wrap_the_old_one(engine):
    x = engine.Value(2.0)
    h = x * x
    step, seen = h._backward, []

    def clipped():
        seen.append(h.grad)
        h.grad = min(h.grad, 1.0)
        step()

    h._backward = clipped
    (h * 3.0).backward()
    assert seen == [3.0]
    assert (h.grad, x.grad) == (1.0, 4.0)


def test_a_hook_on_a_leaf_runs_after_its_grad_is_complete(engine):
    x = engine.Value(2.0)
    seen = []
    x._backward = lambda: seen.append(x.grad)
    (x * x + x).backward()
    assert seen == [5.0]


def test_backward_may_be_assigned_to_a_root_after_use(engine):
    x = engine.Value(2.0)
    y = x * 3.0
    y.backward()
    y._backward = lambda: setattr(x, "grad", -1.0)
    y.backward()
    assert x.grad == -1.0


class Canary:
    """Something whose death can be watched."""


@pytest.mark.parametrize("make", [lambda x: x * x, lambda x: x * 2.0, lambda x: x.relu(), lambda _: None])
def test_a_closure_that_holds_its_own_node_is_collected(engine, make):
    def hook():
        x = engine.Value(2.0)
        h = make(x) or x
        h.canary = Canary()
        h._backward = lambda: setattr(x, "grad", x.grad + h.grad)
        return weakref.ref(h.canary)

    alive = hook()
    gc.collect()
    assert alive() is None


def test_attributes_of_any_name(engine):
    x = engine.Value(2.0)
    x.label, x.m, x.history = "x", 0.5, []
    x.history.append(x.m)
    assert (x.label, x.m, x.history) == ("x", 0.5, [0.5])
    assert vars(x)["m"] == 0.5
    del x.m
    assert not hasattr(x, "m")
    with pytest.raises(AttributeError, match="m"):
        _ = x.m


def test_attributes_of_intermediates_survive_backward(engine):
    x = engine.Value(2.0)
    h = x * x
    h.label = "h"
    y = h + 1
    y.backward()
    assert {v.label for v in y._prev if hasattr(v, "label") and v.label} == {"h"}


def test_an_op_can_be_renamed(engine):
    out = engine.Value(2.0) * 3.0
    out._op = "triple"
    assert out._op == "triple"


def test_subclasses(engine):
    class Parameter(engine.Value):
        def __init__(self, data, name):
            super().__init__(data)
            self.name = name

        def square(self):
            return self * self

    p = Parameter(3.0, "w")
    y = 2 * p.square() + p
    y.backward()
    assert isinstance(p, engine.Value)
    assert (p.name, p.grad, y.data) == ("w", 13.0, 21.0)
    assert p in (p * 1.0)._prev


def test_a_subclass_may_override_an_operator(engine):
    class Saturating(engine.Value):
        def __mul__(self, other):
            return Saturating(min((super().__mul__(other)).data, 10.0))

    assert (Saturating(6.0) * 7).data == 10.0
    assert (Saturating(2.0) * 3).data == 6.0


# -- edges of float arithmetic


def test_relu_of_nan_is_nan_and_sends_nothing(engine):
    x = engine.Value(math.nan)
    out = x.relu()
    out.backward()
    assert math.isnan(out.data)
    assert x.grad == 0.0


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_relu_keeps_the_sign_of_zero_and_sends_nothing(engine, zero):
    x = engine.Value(zero)
    out = x.relu()
    out.backward()
    assert math.copysign(1.0, out.data) == math.copysign(1.0, zero)
    assert x.grad == 0.0


def test_relu_times_an_infinite_grad_is_nan(engine):
    x = engine.Value(-1.0)
    (x.relu() * math.inf).backward()
    assert math.isnan(x.grad)


def test_nan_to_the_0_is_1(engine):
    assert (engine.Value(math.nan) ** 0).data == 1.0
    assert (engine.Value(math.nan) ** 0.0).data == 1.0


def test_products_and_sums_overflow_to_infinity(engine):
    assert (engine.Value(1e308) * 10).data == math.inf
    assert (engine.Value(1e308) + 1e308).data == math.inf
    assert (engine.Value(-1e308) - 1e308).data == -math.inf


def test_powers_overflow_with_an_error(engine):
    with pytest.raises(OverflowError):
        engine.Value(1e200) ** 2


DIVISIONS_BY_ZERO = [
    lambda zero: zero**-1,
    lambda zero: zero**-0.5,
    lambda zero: 1 / zero,
    lambda zero: zero / zero,
    lambda zero: (zero + 1.0) / zero,
    lambda zero: zero / 0,
]


@pytest.mark.parametrize("f", DIVISIONS_BY_ZERO)
def test_division_by_zero_raises(engine, f):
    zero = engine.Value(0.0)
    with pytest.raises(ZeroDivisionError):
        f(zero)
    assert (zero.data, zero.grad) == (0.0, 0.0)


def test_a_power_of_zero_whose_derivative_is_a_division_by_zero(engine):
    exponent = 0.5
    x = engine.Value(0.0)
    y = x**exponent
    z = 2.0 * y
    assert y.data == 0.0
    with pytest.raises(ZeroDivisionError):
        z.backward()
    assert (z.grad, y.grad, x.grad) == (1.0, 2.0, 0.0)
    x.data = 4.0
    y.backward()
    assert x.grad == exponent * 4.0 ** (exponent - 1)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("f", [operator.add, operator.mul, operator.sub, operator.truediv])
def test_numpy_scalars_on_the_right(engine, f, kind):
    v = engine.Value(3.0)
    out = f(v, kind(2.0))
    out.backward()
    assert isinstance(out, engine.Value)
    assert out.data == f(3.0, 2.0)
    assert v.grad == {operator.add: 1.0, operator.mul: 2.0, operator.sub: 1.0, operator.truediv: 0.5}[f]


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, np.bool_])
def test_numpy_integers_on_the_right(engine, kind):
    v = engine.Value(3.0)
    out = v * kind(1)
    out.backward()
    assert (out.data, v.grad) == (3.0, 1.0)


def test_numpy_float64_exponents(engine):
    assert (engine.Value(3.0) ** np.float64(2.0)).data == 9.0


@pytest.mark.parametrize("bits", [0, 1, 15, 16, 30, 31, 53, 54, 63, 1000])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("f", [operator.add, operator.sub, operator.mul], ids=lambda f: f.__name__)
def test_ints_of_any_length_on_either_side(engine, f, sign, bits):
    n, a = sign * (2**bits - 1), engine.Value(1.5)
    assert [f(a, n).data, f(n, a).data] == [f(1.5, float(n)), f(float(n), 1.5)]


@pytest.mark.parametrize("number", [True, 3, 3.0, np.float64(3.0)])
def test_data_from_other_numbers(engine, number):
    assert engine.Value(number).data == number
    assert (engine.Value(number) * 2).data == number * 2


# -- drawing and walking the graph


def _trace(root):
    """Nodes and edges, as `trace_graph.ipynb` of karpathy/micrograd collects them."""
    nodes, edges = set(), set()

    def build(v):
        if v not in nodes:
            nodes.add(v)
            for child in v._prev:
                edges.add((child, v))
                build(child)

    build(root)
    return nodes, edges


def _polynomial(e):
    x, y = e.Value(1.5), e.Value(-0.5)
    h = x * y + x**2
    return (h + y) * h


def _with_constants(e):
    x = e.Value(1.5)
    return (3 * x + 0.5).relu() * x + x * 0.5 + 1


def _shared(e):
    x = e.Value(1.5)
    for _ in range(8):
        x = x * x + x * 0.25
    return x


def _neuron(e):
    random.seed(1337)
    return e.nn.Neuron(3)([1.0, -2.0, 0.5])


def _network(e):
    random.seed(1337)
    return e.nn.MLP(2, [4, 4, 1])([1.0, -2.0])


def _network_of_values(e):
    random.seed(1337)
    return sum(e.nn.MLP(2, [3, 2])([e.Value(1.0), e.Value(-2.0)])) ** 2


GRAPHS = [_polynomial, _with_constants, _shared, _neuron, _network, _network_of_values]


@pytest.mark.parametrize("graph", GRAPHS)
def test_both_engines_draw_the_same_graph(ours, reference, graph):
    traces = [_trace(graph(e)) for e in (ours, reference)]
    summaries = [
        (
            len(nodes),
            len(edges),
            Counter((v._op, round(v.data, 10)) for v in nodes),
            Counter((a._op, round(a.data, 10), b._op, round(b.data, 10)) for a, b in edges),
        )
        for nodes, edges in traces
    ]
    assert summaries[0] == summaries[1]


@pytest.mark.parametrize("graph", GRAPHS)
def test_drawing_twice_gives_the_same_nodes(engine, graph):
    root = graph(engine)
    assert _trace(root) == _trace(root)


def _side_by_side(a, b) -> list[tuple]:
    """Pairs of corresponding nodes, parents matched by what they were computed from."""
    keys, pairs = {}, {}

    def key(v):
        if v not in keys:
            keys[v] = (v._op, float(v.data), sorted(map(key, v._prev)))
        return keys[v]

    def walk(a, b):
        assert key(a) == key(b)
        if (a, b) not in pairs:
            pairs[a, b] = True
            for pair in zip(sorted(a._prev, key=key), sorted(b._prev, key=key)):
                walk(*pair)

    walk(a, b)
    return list(pairs)


def _grads(pairs) -> list[list[float]]:
    return [[float(v.grad) for v in side] for side in zip(*pairs)]


@pytest.mark.parametrize("look_first", [True, False], ids=["drawn before", "drawn after"])
@pytest.mark.parametrize("graph", GRAPHS)
def test_after_backward_every_node_has_the_reference_grad(ours, reference, graph, look_first):
    roots = [graph(e) for e in (ours, reference)]
    if look_first:
        _side_by_side(*roots)
    for root in roots:
        root.backward()
    mine, theirs = _grads(_side_by_side(*roots))
    assert mine == pytest.approx(theirs, rel=1e-12, abs=1e-14)


def test_constants_get_grads(engine):
    x = engine.Value(3.0)
    y = x * 2.0
    z = y + 5.0
    z.backward()
    assert {v.data: v.grad for v in (z._prev | y._prev)} == {6.0: 1.0, 5.0: 1.0, 3.0: 2.0, 2.0: 3.0}


def test_constants_have_no_grad_before_backward(engine):
    x = engine.Value(3.0)
    y = x * 2.0
    assert {v.grad for v in y._prev} == {0.0}


def test_constants_looked_at_early_accumulate_over_backward_passes(engine):
    x = engine.Value(3.0)
    y = x * 2.0
    (constant,) = y._prev - {x}
    z = y * y
    z.backward()
    z.backward()
    assert (x.grad, constant.grad) == (72.0, 108.0)


def test_constants_looked_at_early_keep_the_grad_of_the_data_at_backward_time(engine):
    x = engine.Value(3.0)
    y = x * 2.0
    (constant,) = y._prev - {x}
    y.backward()
    x.data -= 1.0
    assert constant.grad == 3.0


def test_constants_get_grads_from_a_step_by_hand(engine):
    x = engine.Value(3.0)
    y = x * 2.0
    y.grad = 1.0
    y._backward()
    (constant,) = y._prev - {x}
    assert constant.grad == 3.0

"""Operators and methods of Value on both engines: data, gradients, what the result shows, and what a Value refuses."""

from __future__ import annotations

import math
import operator
import random
from fractions import Fraction

import numpy as np
import pytest

from micrograd import Value

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


@pytest.mark.usefixtures("rounds_once")
def test_forward_is_the_same_to_the_bit_on_both_engines(ours, reference):
    rng = random.Random(7)
    for _ in range(300):
        x, y = rng.uniform(-3, 3), rng.uniform(-3, 3)
        mine, theirs = (
            [v.data.hex() for v in (a - b, a / b, x / b, a / y, a**2, b**3, abs(x) / b**2, (a * b + x).relu() - y)]
            for a, b in ((e.Value(x), e.Value(y)) for e in (ours, reference))
        )
        assert mine == theirs


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


A, B = Value(3.0), Value(-2.0)


def test_differences_and_quotients_are_single_nodes():
    assert [v._op for v in (A - B, -A, A / B, A - 1, 1 - A, A / 2, 2 / A)] == ["-", "neg", "/", "-", "-", "/", "/"]
    assert (A - B)._prev == (A / B)._prev == {A, B}
    assert (-A)._prev == {A}


def test_data_and_grad_are_floats_throughout():
    x = Value(2)
    y = (x * 3 - 7).relu() + x**2
    y.backward()
    for v in (x, y, *y._children):
        assert isinstance(v.data, float)
        assert isinstance(v.grad, float)
    assert repr(Value(2)) == "Value(data=2.0, grad=0.0)"
    assert repr(Value(0) * -1) == "Value(data=-0.0, grad=0.0)"


@pytest.mark.parametrize(
    ("f", "data", "grads", "op"),
    [
        (lambda v, _: 2**v, 8.0, (8.0 * math.log(2), 0.0), "**"),
        (lambda v, w: v**w, 9.0, (6.0, 9.0 * math.log(3)), "**"),
        (lambda v, _: v**v, 27.0, (27.0 * (1 + math.log(3)), 0.0), "**"),
        (lambda v, _: v ** np.int64(2), 9.0, (6.0, 0.0), "**2"),
        (lambda v, _: v ** np.float64(2), 9.0, (6.0, 0.0), "**2.0"),
        (lambda v, _: v ** np.float32(0.5), 3**0.5, (0.5 * 3**-0.5, 0.0), "**0.5"),
        (lambda v, _: v ** Fraction(2), 9.0, (6.0, 0.0), "**2.0"),
        (lambda v, _: np.float64(2) ** v, 8.0, (8.0 * math.log(2), 0.0), "**"),
    ],
)
def test_exponents_of_any_kind(f, data, grads, op):
    v, w = Value(3.0), Value(2.0)
    out = f(v, w)
    out.backward()
    assert out._op == op
    assert out.data == pytest.approx(data)
    assert (v.grad, w.grad) == pytest.approx(grads)


def test_the_exponent_of_a_negative_base_has_no_gradient():
    v, w = Value(-3.0), Value(2.0)
    (v**w).backward()
    assert v.grad == -6.0
    assert math.isnan(w.grad)

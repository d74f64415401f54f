"""Comparisons of Values in eager code are those of their data; maximum, minimum, clamp and where against PyTorch."""

from __future__ import annotations

import math
import operator
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from helpers import bits
from micrograd import Value, functional
from micrograd.functional import clamp, eq, logical_and, logical_not, logical_or, maximum, minimum, where

COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge]
NUMBERS = [0.0, -0.0, 1.0, -1.5, 2.0, 2.0**53, math.inf, -math.inf, math.nan]
OTHERS = [True, 3, 2**53 + 1, 10**400, Fraction(1, 3), Decimal("0.1"), np.float32(0.1), np.int8(-1), np.array(1.0)]


@pytest.mark.parametrize("compare", COMPARISONS)
def test_values_compare_as_their_data(compare):
    for a in NUMBERS:
        for b in NUMBERS:
            assert compare(Value(a), Value(b)) is compare(a, b)
            assert compare(Value(a), b) is compare(a, b)
            assert compare(a, Value(b)) is compare(a, b)
        for b in OTHERS if a == a else ():
            assert compare(Value(a), b) is bool(compare(a, b)), (a, b)
            assert bool(compare(b, Value(a))) is bool(compare(b, a)), (b, a)


def test_comparisons_of_subclasses_and_results():
    class Named(Value):
        pass

    a, b = Named(1.0), Value(2.0)
    assert a < b
    assert a * 3.0 > b
    assert not a >= b


def test_equality_stays_that_of_objects():
    a, b = Value(1.0), Value(1.0)
    assert a != b
    assert a == a
    assert a != 1.0
    assert len({a, b}) == 2
    assert eq(a, b)
    assert eq(a, 1)
    assert eq(2.0, Value(2.0))
    assert not eq(Value(math.nan), Value(math.nan))


def test_sorting_and_numpy_over_objects():
    data = [3.0, -1.0, 2.0, -1.0]
    values = [Value(x) for x in data]
    assert [v.data for v in sorted(values)] == sorted(data)
    assert sorted(values)[0] is values[1]
    assert max(values) is values[0]
    assert min(values) is values[1]
    assert max(values[0], 5.0) == 5.0
    array = np.array(values)
    others = np.array([Value(x) for x in (0.0, 0.0, 5.0, 0.0)])
    assert [v.data for v in np.maximum(array, others)] == [3.0, 0.0, 5.0, 0.0]
    assert np.maximum(array, others)[0] is values[0]
    assert [v.data for v in np.minimum(array, others)] == [0.0, -1.0, 2.0, -1.0]
    assert np.max(array) is values[0]
    assert np.min(array) is values[1]
    assert np.argmax(array) == 0
    assert np.argmin(array) == 1
    assert [float(getattr(v, "data", v)) for v in np.clip(array, -0.5, 2.5)] == [2.5, -0.5, 2.0, -0.5]
    assert [v.data for v in np.sort(array)] == sorted(data)
    assert np.argsort(array, kind="stable").tolist() == [1, 3, 2, 0]
    assert (array > 0.0).tolist() == [True, False, True, False]
    assert (values[2] < np.array([1.0, 3.0])).tolist() == [False, True]


@pytest.mark.parametrize(
    ("ours", "name"),
    [(maximum, "maximum"), (minimum, "minimum")],
    ids=["maximum", "minimum"],
)
def test_the_greater_and_the_lesser_are_those_of_torch(ours, name):
    torch = pytest.importorskip("torch")
    for a in NUMBERS:
        for b in NUMBERS:
            x, y = Value(a), Value(b)
            p, q = (torch.tensor(t, dtype=torch.float64, requires_grad=True) for t in (a, b))
            r, s = ours(x, y), getattr(torch, name)(p, q)
            r.backward()
            s.backward()
            assert r.data == s.item() or (math.isnan(s.item()) and math.isnan(r.data))
            assert (x.grad, y.grad) == (p.grad.item(), q.grad.item()), (a, b)
            if a == a and b == b:
                assert ours(a, Value(b)).data == ours(Value(a), b).data == r.data
                assert ours(a, b).data == r.data


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (None, 1.0), (-1.0, None), (2.0, 1.0), (1.0, 1.0)])
def test_clamp_is_that_of_torch(bounds):
    torch = pytest.importorskip("torch")
    for a in NUMBERS:
        x, p = Value(a), torch.tensor(a, dtype=torch.float64, requires_grad=True)
        r, s = x.clamp(*bounds), torch.clamp(p, *bounds)
        r.backward()
        s.backward()
        assert bits(r.data) == bits(s.item())
        assert x.grad == p.grad.item(), (a, bounds)
        assert bits(clamp(a, *bounds).data) == bits(s.item())


def test_clamp_to_values_is_that_of_torch():
    torch = pytest.importorskip("torch")
    for a in NUMBERS[:-1]:
        for low, high in ((-1.0, 1.0), (2.0, 1.0), (0.0, 3.0)):
            ours = [Value(t) for t in (a, low, high)]
            theirs = [torch.tensor(t, dtype=torch.float64, requires_grad=True) for t in (a, low, high)]
            ours[0].clamp(ours[1], max=ours[2]).backward()
            torch.clamp(theirs[0], theirs[1], max=theirs[2]).backward()
            assert [v.grad for v in ours] == [t.grad.item() for t in theirs], (a, low, high)


def test_clamp_needs_a_bound():
    with pytest.raises(TypeError, match="needs min or max"):
        Value(1.0).clamp()
    with pytest.raises(TypeError, match=r"clamp: 'Value' and 'str'"):
        Value(1.0).clamp("0")
    with pytest.raises(TypeError, match=r"maximum: 'str' and 'Value'"):
        maximum("0", Value(1.0))


@pytest.mark.parametrize(
    "call",
    [
        lambda: maximum([Value(1.0)], [2.0]),
        lambda: minimum(1.0, [2.0]),
        lambda: clamp([Value(1.0)], 0.0),
        lambda: eq([1.0], Value(1.0)),
        lambda: where(True, [1.0], 0.0),
        lambda: where(False, 0.0, lambda: [1.0]),
    ],
)
def test_lists_are_refused_by_what_takes_none(call):
    with pytest.raises(TypeError, match=r"^(an input|what .*where chooses) must be a real number, not 'list'$"):
        call()


def test_where_of_an_array_of_conditions_names_numpys():
    with pytest.raises(TypeError, match=r"must be a bool.*np\.where takes arrays.*functional\.logical_not"):
        where(np.array([Value(1.0)]) > 0.0, 1.0, 2.0)


def test_where_calls_the_function_that_is_chosen():
    x, called = Value(-4.0), []
    assert where(x > 0, lambda: called.append(1) or x.sqrt(), 7).data == 7.0
    assert where(x < 0, x, lambda: called.append(1)) is x
    assert called == []
    y = where(np.bool_(True), lambda: x * x, x)
    y.backward()
    assert x.grad == -8.0


@pytest.mark.parametrize(
    "condition", [-2, 1, 1.0, None, Value(1.0), "yes", [True], np.array(True), np.array([True]), np.int64(1)]
)
def test_a_condition_is_a_bool(condition):
    with pytest.raises(TypeError, match=r"must be a bool.*logical_not"):
        where(condition, 1.0, 2.0)
    for function in (logical_not, lambda x: logical_and(True, x), lambda x: logical_or(x, False)):
        with pytest.raises(TypeError, match=r"must be a bool.*logical_not"):
            function(condition)


def test_logic_of_bools():
    for a in (True, False, np.bool_(True), np.bool_(False)):
        assert logical_not(a) is (not a)
        for b in (True, False):
            assert logical_and(a, b) is (bool(a) and b)
            assert logical_or(a, b) is (bool(a) or b)


def test_what_where_chooses_is_a_value_or_a_number():
    with pytest.raises(TypeError):
        where(True, "a", 1.0)
    assert isinstance(functional.where(False, 1.0, 2), Value)

"""What counts as a number and what is made of it: by the constructor, data, grad and operators; and format()."""

from __future__ import annotations

import math
import operator
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction

import numpy as np
import pytest

from micrograd import Value, nn


class Indexed:
    def __index__(self):
        return 3


class Floating(Indexed):
    def __float__(self):
        return 2.5


class Long(Floating):
    def __len__(self):
        return 1


def own_item() -> np.ndarray:
    array = np.empty((), object)
    array[()] = array
    return array


NUMBERS = [
    True, 3, 2.5, Fraction(5, 2), Decimal("2.5"), Indexed(), Floating(), np.float64(2.5), np.float32(2.5),
    np.float16(2.5), np.longdouble(2.5), np.int8(-3), np.uint64(3), np.bool_(True), np.array(2.5), np.array(3),
    np.array(True), np.array(2.5, np.float32), np.array(np.longdouble(2.5)), np.array(Fraction(5, 2), object),
    np.ma.masked_array(2.5, mask=False),
]  # fmt: skip


NO_NUMBERS = [
    None, "2.5", b"2.5", [2.5], (2.5,), {}, 1j, Long(), np.complex64(1 + 2j), np.complex128(1), np.clongdouble(1),
    np.array(1j), np.array(1j, object), np.str_("2.5"), np.array("2.5"), np.array("2.5", object), np.array(None),
    np.timedelta64(5, "s"), np.array(np.timedelta64(5, "s")), np.datetime64("2020-01-01"), np.void(b"1"),
    np.array([2.5]), np.array([]), np.array([[2.5]]), np.ma.masked, np.ma.masked_array(2.5, mask=True), own_item(),
]  # fmt: skip


OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]


def named(x: object) -> str:
    return f"{type(x).__name__}-{getattr(x, 'dtype', '')}"


@pytest.mark.parametrize("x", NUMBERS, ids=named)
def test_numbers_are_read_everywhere(x):
    number = x.item() if isinstance(x, np.ndarray) else float(x)
    v = Value(x)
    assert v.data == number
    assert type(v.data) is float
    v.data, v.grad = x, x
    assert v.data == v.grad == number
    assert Value(1.0, (v,), (x,))._local_grads == (number,)


@pytest.mark.parametrize("f", OPERATORS)
@pytest.mark.parametrize("x", NUMBERS, ids=named)
def test_numbers_are_operands_on_either_side(x, f):
    number = float(Value(x).data)
    assert f(Value(2.0), x).data == f(Value(2.0), number).data
    if type(x) is not np.ma.MaskedArray:  # its own operators ask a Value for its dimensions
        out = f(x, Value(2.0))
        assert isinstance(out, Value)
        assert out.data == f(number, Value(2.0)).data


@pytest.mark.parametrize("x", NO_NUMBERS, ids=named)
def test_what_is_no_number_is_refused(x):
    v = Value(1.0)
    for attempt in (
        lambda: Value(x),
        lambda: setattr(v, "data", x),
        lambda: setattr(v, "grad", x),
        lambda: Value(1.0, (v,), (x,)),
    ):
        with pytest.raises(TypeError, match=f"must be a real number, not {type(x).__name__!r}"):
            attempt()
    assert (v.data, v.grad) == (1.0, 0.0)


@pytest.mark.parametrize("f", OPERATORS)
@pytest.mark.parametrize("x", [x for x in NO_NUMBERS if not isinstance(x, (np.ndarray, np.generic))], ids=named)
def test_what_is_no_number_is_no_operand(x, f):
    with pytest.raises(TypeError):
        f(Value(1.0), x)
    with pytest.raises(TypeError):
        f(x, Value(1.0))


@pytest.mark.parametrize("x", [np.complex64(1 + 2j), np.clongdouble(1), np.array(1j), np.array("2.5")], ids=named)
def test_complex_numbers_and_text_of_numpy_are_no_operands(x):
    for f in OPERATORS:
        with pytest.raises(TypeError):
            f(Value(1.0), x)
        with pytest.raises(TypeError):
            f(x, Value(1.0))


def test_tensors_without_dimensions_are_numbers():
    torch = pytest.importorskip("torch")
    for x, number in [(torch.tensor(2.0), 2.0), (torch.tensor(3), 3.0), (torch.tensor(2.0, requires_grad=True), 2.0)]:
        assert Value(x).data == number
        for f in OPERATORS:
            assert f(Value(4.0), x).data == f(Value(4.0), number).data
            assert f(x, Value(4.0)).data == f(number, Value(4.0)).data
    for x in (torch.tensor(1j), torch.tensor([2.0]), torch.ones(2, 2)):
        with pytest.raises(TypeError, match="must be a real number, not 'Tensor'"):
            Value(x)
    model = nn.MLP(2, [2, 1])
    rows = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)
    for row in rows:
        assert model(row).data == model(list(row)).data == model(row.tolist()).data


def test_what_a_conversion_raises_is_passed_on():
    class Broken:
        def __float__(self):
            raise KeyError("mine")

    v = Value(1.0)
    for attempt in (
        lambda: Value(Broken()),
        lambda: v + Broken(),
        lambda: Broken() * v,
        lambda: nn.Neuron(1)([Broken()]),
    ):
        with pytest.raises(KeyError, match="mine"):
            attempt()


def test_the_exponent_shows_as_it_was_written():
    v = Value(2.0)
    shown = [(v**x)._op for x in (2, 2.0, np.int64(2), np.array(2), np.array(2.5), np.float32(2.5), Floating(), True)]
    assert shown == ["**2", "**2.0", "**2", "**2", "**2.5", "**2.5", "**2.5", "**1"]


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


class Float(float):
    pass


@pytest.mark.parametrize(
    "number",
    [2, 2.0, Float(2), np.float64(2), np.float32(2), np.float16(2), np.int64(2), np.uint8(2), Fraction(2), Decimal(2)],
    ids=lambda number: type(number).__name__,
)
def test_numbers_of_any_type_become_floats(number):
    v = Value(number)
    v.grad = number
    assert (type(v.data), v.data, type(v.grad), v.grad) == (float, 2.0, float, 2.0)
    for out in (v + number, number + v, v * number, number * v):
        assert (type(out), type(out.data), out.data) == (Value, float, 4.0)


@pytest.mark.parametrize(("number", "data"), [(True, 1.0), (np.bool_(True), 1.0), (False, 0.0), (2**70, 2.0**70)])
def test_bools_and_large_ints_become_floats(number, data):
    assert Value(number).data == data
    assert (Value(3.0) * number).data == 3.0 * data


# ---- x**0 is constant ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [0.0, -0.0, 1e-320, -3.0, 2.0, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("zero", [0, 0.0, -0.0])
def test_the_derivative_of_a_power_of_zero_is_zero(x, zero):
    a, b, exponent = Value(x), Value(x), Value(zero)
    y = 3.0 * a**zero + 2.0 * b**exponent
    y.backward()
    assert (y.data, a.grad, b.grad) == (5.0, 0.0, 0.0)
    assert (a**zero)._local_grads == (0.0,)


def test_a_polynomial_at_zero():
    x, cs = Value(0.0), [Value(1.0), Value(2.0), Value(3.0)]
    sum(c * x**i for i, c in enumerate(cs)).backward()
    assert (x.grad, [c.grad for c in cs]) == (2.0, [1.0, 0.0, 0.0])


def test_powers_of_zero_are_pytorchs():
    torch = pytest.importorskip("torch")
    for x in (0.0, -2.0, 1e-320, math.inf, math.nan):
        for e in (0.0, -0.0):
            a, b = Value(x), Value(e)
            (a**b).backward()
            p, q = (torch.tensor(t, dtype=torch.float64, requires_grad=True) for t in (x, e))
            (p**q).backward()
            assert a.grad == p.grad.item()
            assert b.grad == q.grad.item() or (math.isnan(b.grad) and not x >= 0)


# ---- Text ------------------------------------------------------------------------------------------------------------


def test_format_formats_data():
    v = Value(1234.5678)
    assert f"{v:.3f}" == "1234.568"
    assert f"{v:>12,.1f}|{v:e}" == "     1,234.6|1.234568e+03"
    assert f"{v}" == format(v, "") == f"{v}" == repr(v)
    with pytest.raises(ValueError, match="format"):
        format(v, "d")
    for spec in (None, 3, b"", [], object()):  # which format() refuses before
        with pytest.raises(TypeError, match="must be str"):
            v.__format__(spec)

    class Named(Value):
        def __repr__(self):
            return "named"

    assert f"{Named(2.0)} {Named(2.0):.1f}" == "named 2.0"


def test_what_would_drop_the_graph_is_refused():
    v = Value(1.0)
    for attempt in (lambda: float(v), lambda: int(v), lambda: "%.3f" % v, lambda: math.exp(v)):  # noqa: UP031
        with pytest.raises(TypeError):
            attempt()
    assert v.item() == 1.0
    assert type(Value(2).item()) is float


@pytest.mark.parametrize("kind", [type("Integer", (int,), {}), IntEnum("Minus", {"ONE": -1}), np.int64, np.int8])
def test_minus_one_of_any_integer_type(kind):
    v, one = Value(2.0), kind(-1)
    assert (Value(one).data, (v * one).data, (one * v).data, (one - v).data, (v**one).data) == (-1, -2, -2, -3, 0.5)
    assert (v**one)._op == "**-1"

"""What raises what: the type, a message that names the offender, and an engine that goes on with nothing lost.
What raises on both engines alike is in test_infinities.py; errors of networks are in nn/test_layer_errors.py."""

from __future__ import annotations

import copy
import importlib
import math
import operator
import pkgutil
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import micrograd
from helpers import complaint
from micrograd import Value


@pytest.fixture
def v():
    """A result with data and grad; after the test both must be unchanged, and the engine must still work."""
    value = Value(3.0) * 1.0
    value.grad, value.label = 0.25, "v"
    yield value
    assert (value.data, value.grad, value.label, value._op) == (3.0, 0.25, "v", "*")
    x = Value(2.0)
    y = (x * x + 1.0).relu() * x
    y.backward()
    assert (y.data, x.grad) == (10.0, 13.0)


class Unfloatable:
    def __float__(self):
        raise LookupError("no float today")


class NotAFloat:
    def __float__(self):
        return "3"


NOT_NUMBERS = {
    "str": "abc",
    "bytes": b"1",
    "NoneType": None,
    "list": [1],
    "tuple": (1.0,),
    "dict": {},
    "set": {1},
    "complex": 1j,
    "Indexed": type("Indexed", (complex,), {"__index__": lambda self: 1})(1j),
    "ndarray": np.array([1.0]),
    "object": object(),
    "function": lambda: 1.0,
    "Value": Value(2.0),
    "complex128": np.complex128(1j),
}
not_numbers = pytest.mark.parametrize(("kind", "thing"), NOT_NUMBERS.items(), ids=NOT_NUMBERS)


# -- what is no number


@not_numbers
def test_data_that_is_no_number(kind, thing):
    with pytest.raises(TypeError, match=rf"Value\.data must be a real number, not '{kind}'"):
        Value(thing)
    with pytest.raises(TypeError, match=rf"not '{kind}'"):
        Value(data=thing, label="v")
    with pytest.raises(TypeError, match=rf"not '{kind}'"):
        Value(thing, (Value(1.0),), "f")


@pytest.mark.parametrize("name", ["data", "grad"])
@not_numbers
def test_assigning_what_is_no_number(v, name, kind, thing):
    with pytest.raises(TypeError, match=rf"Value\.{name} must be a real number, not '{kind}'"):
        setattr(v, name, thing)


@not_numbers
def test_local_grads_that_are_no_numbers(v, kind, thing):
    with pytest.raises(TypeError, match=f"a local gradient must be a real number, not '{kind}'"):
        Value(1.0, (v, v), (1.0, thing))


@pytest.mark.parametrize("kind", sorted(set(NOT_NUMBERS) - {"Value", "ndarray", "complex128"}))
@pytest.mark.parametrize("f", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow])
def test_operands_that_are_no_numbers(v, f, kind):
    thing = NOT_NUMBERS[kind]
    symbol = {"add": r"\+", "sub": "-", "mul": r"\*", "truediv": "/", "pow": r"\*\*"}[f.__name__]
    for operands in ((v, thing), (thing, v)):
        with pytest.raises(TypeError, match=rf"{symbol}.*: '.*\b(Value|{kind})' and '.*\b(Value|{kind})'"):
            f(*operands)


@pytest.mark.parametrize("use", [Value, lambda x: Value(3.0) * x, lambda x: x + Value(3.0), lambda x: Value(2.0) ** x])
def test_an_error_of_a_number_type_propagates(v, use):
    with pytest.raises(LookupError, match="no float today"):
        use(Unfloatable())
    with pytest.raises(TypeError, match=r"NotAFloat\.__float__"):
        use(NotAFloat())
    assert v.data == 3.0


@pytest.mark.parametrize("name", ["data", "grad"])
def test_an_error_of_a_number_type_propagates_from_assignment(v, name):
    with pytest.raises(LookupError, match="no float today"):
        setattr(v, name, Unfloatable())


@pytest.mark.parametrize("name", ["data", "grad"])
def test_data_and_grad_cannot_be_deleted(v, name):
    with pytest.raises((AttributeError, TypeError)):
        delattr(v, name)


@pytest.mark.parametrize("name", ["_children", "_prev", "_local_grads"])
def test_the_graph_cannot_be_assigned(v, name):
    with pytest.raises(AttributeError, match=name):
        setattr(v, name, ())


@pytest.mark.parametrize("name", ["nothing", "_nothing"])
def test_attributes_that_are_not_there(v, name):
    with pytest.raises(AttributeError, match=name):
        getattr(v, name)
    with pytest.raises(AttributeError, match=name):
        delattr(v, name)


@pytest.mark.parametrize("exponent", [2, Value(2.0)])
def test_a_power_takes_no_modulus(v, exponent):
    with pytest.raises(TypeError, match="unsupported operand"):
        pow(v, exponent, 5)


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
@pytest.mark.parametrize("other", ["2", None, 2j, [2.0], np.complex128(2)], ids=lambda other: type(other).__name__)
def test_comparisons_name_the_value(v, compare, other):
    with pytest.raises(TypeError, match=r"not supported between instances of 'Value' and '"):
        compare(v, other)


@pytest.mark.parametrize("refused", [float, int, len, iter, round, operator.index, operator.invert])
def test_conversions_name_the_value(v, refused):
    with pytest.raises(TypeError, match="Value"):
        refused(v)


@pytest.mark.parametrize("method", ["backward", "zero_grad", "relu", "tanh", "exp", "log", "abs"])
def test_methods_take_no_arguments(v, method):
    with pytest.raises(TypeError, match=rf"{method}\(\) takes .*argument"):
        getattr(v, method)(1)


# -- numbers out of range


OUT_OF_DOMAIN = {
    "0.0**-1": (lambda: Value(0.0) ** -1, ZeroDivisionError),
    "(-0.0)**-1": (lambda: Value(-0.0) ** -1, ZeroDivisionError),
    "1/0": (lambda: 1 / Value(0), ZeroDivisionError),
    "v/0": (lambda: Value(1.0) / 0, ZeroDivisionError),
    "v/v": (lambda: Value(1.0) / Value(0.0), ZeroDivisionError),
    "0**Value(-1)": (lambda: 0 ** Value(-1), ZeroDivisionError),
    "1e200**2": (lambda: Value(1e200) ** 2, OverflowError),
    "10.0**Value(400)": (lambda: 10.0 ** Value(400), OverflowError),
    "3**10**10": (lambda: Value(3) ** 10**10, OverflowError),
    "v**10**400": (lambda: Value(3) ** 10**400, OverflowError),
    "v*10**400": (lambda: Value(3) * 10**400, OverflowError),
    "10**400-v": (lambda: 10**400 - Value(3), OverflowError),
    "Value(10**400)": (lambda: Value(10**400), OverflowError),
    "Value(Fraction)": (lambda: Value(Fraction(10**400)), OverflowError),
    "exp(1000)": (lambda: Value(1000).exp(), OverflowError),
    "exp(710)": (lambda: Value(710).exp(), OverflowError),
    "(-8.0)**0.5": (lambda: Value(-8.0) ** 0.5, ValueError),
    "(-8.0)**(1/3)": (lambda: Value(-8.0) ** (1 / 3), ValueError),
    "(-8.0)**Value(0.5)": (lambda: Value(-8.0) ** Value(0.5), ValueError),
    "log(-1)": (lambda: Value(-1).log(), ValueError),
    "log(0)": (lambda: Value(0).log(), ValueError),
    "log(-inf)": (lambda: Value(-np.inf).log(), ValueError),
    "sqrt(-1)": (lambda: Value(-1).sqrt(), ValueError),
    "sin(inf)": (lambda: Value(np.inf).sin(), ValueError),
    "cos(inf)": (lambda: Value(np.inf).cos(), ValueError),
}


@pytest.mark.parametrize(("f", "error"), OUT_OF_DOMAIN.values(), ids=OUT_OF_DOMAIN)
def test_out_of_domain(v, f, error):
    for _ in range(3):
        with pytest.raises(error) as caught:
            f()
        assert type(caught.value) is error
    assert v.data == 3.0


def test_a_negative_base_and_its_exponent_are_named():
    with pytest.raises(ValueError, match=r"-8\.0.*0\.5"):
        Value(-8.0) ** 0.5


def test_operands_of_a_failed_op_are_unchanged():
    a, b = Value(1.0), Value(0.0)
    a.grad, b.grad = 5.0, 6.0
    with pytest.raises(ZeroDivisionError):
        a / b
    with pytest.raises(ValueError, match=complaint(math.log, 0.0)):
        b.log()
    assert (a.data, a.grad, b.data, b.grad) == (1.0, 5.0, 0.0, 6.0)


UNDIFFERENTIABLE = {
    "0.0**0.5": (0.0, lambda x: x**0.5, ZeroDivisionError),
    "sqrt(0)": (0.0, lambda x: x.sqrt(), ZeroDivisionError),
    "1e-300**-1": (1e-300, lambda x: x**-1, OverflowError),
}


@pytest.mark.parametrize(("data", "f", "error"), UNDIFFERENTIABLE.values(), ids=UNDIFFERENTIABLE)
def test_backward_raises_where_a_derivative_does_not_exist(v, data, f, error):
    x, other = Value(data), Value(2.0)
    y = f(x)
    root = y * 1.0 + other * 3.0
    for grad in (1.0, 3.0):
        with pytest.raises(error):
            root.backward()
        assert (root.grad, y.grad, x.data, x.grad) == (1.0, grad, data, 0.0)
    with pytest.raises(error):
        _ = y._local_grads
    x.data = y.data = 1.0
    other.grad = 0.0
    root.zero_grad()
    root.backward()
    assert other.grad == 3.0
    assert v.grad == 0.25


def test_after_an_error_in_backward_a_large_graph_is_not_left_marked():
    x, bad = Value(0.5), Value(0.0)
    chain = x
    for _ in range(20_000):
        chain = chain * 1.0 + 0.0
    root = chain + bad**0.5
    with pytest.raises(ZeroDivisionError):
        root.backward()
    root.zero_grad()
    bad.data = 1.0
    root.backward()
    assert (x.grad, bad.grad) == (1.0, 0.5)


# -- misuse of the constructor


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (Value, TypeError, "argument"),
        (lambda: Value(1, (), "", "", ()), TypeError, "argument"),
        (lambda: Value(1, foo=2), TypeError, "foo"),
        (lambda: Value(1, data=2), TypeError, "data"),
        (lambda: Value(1, 2), TypeError, "'int'"),
        (lambda: Value(1, (1,)), TypeError, "a parent must be a Value, not 'int'"),
        (lambda: Value(1, (Value(1), None)), TypeError, "a parent must be a Value, not 'NoneType'"),
        (lambda: Value(1, children=["a"]), TypeError, "a parent must be a Value, not 'str'"),
        (lambda: Value(1, "ab"), TypeError, "a parent must be a Value, not 'str'"),
        (lambda: Value(1, (2.0,), (1.0,)), TypeError, "a parent must be a Value, not 'float'"),
        (lambda: Value(1, (Value(1),), (1.0, 2.0)), ValueError, "1 parents, but 2 local gradients"),
        (lambda: Value(1, (Value(1), Value(2)), [1.0]), ValueError, "2 parents, but 1 local gradients"),
        (lambda: Value(1, (), (1.0,)), ValueError, "0 parents, but 1 local gradients"),
        (lambda: Value(1, local_grads=[1.0]), ValueError, "0 parents, but 1 local gradients"),
        (lambda: Value(1, (Value(1),), local_grads=7), TypeError, "'int'"),
    ],
)
def test_misuse_of_the_constructor(v, make, error, message):
    for _ in range(3):
        with pytest.raises(error, match=message):
            make()
    assert v.data == 3.0


def test_a_failed_init_leaves_a_usable_value():
    x = Value(2.0)
    y = x * 3.0
    for args in (("abc",), (1.0, (2,)), (1.0, (x,), ("a",)), (1.0, (x,), (1.0, 2.0))):
        with pytest.raises((TypeError, ValueError)):
            y.__init__(*args)
    y.backward()
    assert y.grad == 1.0
    (x * 3.0).backward()
    assert x.grad >= 3.0


class Strict(Value):
    def __init__(self, data):
        if data < 0:
            raise ValueError(f"{data} is negative")
        super().__init__(data)


def test_an_error_in_a_subclass_init_propagates(v):
    with pytest.raises(ValueError, match="-1 is negative"):
        Strict(-1)
    assert (Strict(2) * v).data == 6.0


def test_deepcopy_of_an_attribute_that_cannot_be_copied(v):
    x = Value(1.0)
    x.stream = (i for i in range(3))
    with pytest.raises(TypeError, match="generator"):
        copy.deepcopy(x)
    assert (x * v).data == 3.0


@pytest.mark.parametrize("number", [Decimal("NaN"), float("nan"), np.float32("nan")])
def test_nan_is_a_number_and_no_error(number):
    x = Value(1.0)
    (Value(number) * x).backward()
    assert x.grad != x.grad


COMPILED = [f"micrograd.{found.name}" for found in pkgutil.iter_modules(micrograd.__path__) if found.name[0] == "_"]


@pytest.mark.parametrize("home", [name for name in COMPILED if not name.endswith("__main__")])
def test_methods_are_called_with_instances_of_their_class(home):
    """C code reads the fields of `self`; in an object of another type they would be arbitrary memory."""
    kinds = [kind for kind in vars(importlib.import_module(home)).values() if isinstance(kind, type)]
    methods = [
        (kind, name)
        for kind in kinds
        if kind.__module__ == home and not kind.__flags__ & (1 << 9)
        for name, member in vars(kind).items()
        if callable(member) and name != "__new__"
    ]
    if home == "micrograd._core":
        methods += [(Value, name) for name, member in vars(Value).items() if callable(member) and name != "__new__"]
        assert len(methods) > 30
    for kind, name in methods:
        for stranger in (3.0, None, object(), "text", [], print):
            with pytest.raises(TypeError):
                getattr(kind, name)(stranger)

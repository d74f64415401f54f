"""Arguments that lie, raise, change while they are read, or are of a kind that is not expected. Each call of a factory
in KINDS makes a new one."""

from __future__ import annotations

import array
import collections
import ctypes
import decimal
import fractions
import itertools
import sys
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

import micrograd
from micrograd import Value, nn

KINDS: dict[str, Callable[[], Any]] = {}


class Boom(Exception):  # noqa: N818
    """What hostile objects raise."""


def boom(*_args: Any, **_kwargs: Any) -> Any:
    raise Boom("on purpose")


# ---- Arrays ----------------------------------------------------------------------------------------------------------

DTYPES = [
    "?",
    "i1",
    "i2",
    "i4",
    "i8",
    "u1",
    "u2",
    "u4",
    "u8",
    "f2",
    "f4",
    "f8",
    "g",
    "F",
    "D",
    "S3",
    "U3",
    "O",
    "M8[s]",
    "m8[s]",
    "V8",
    ">f8",
    ">i4",
    "<f4,<i2",
]
for dtype in DTYPES:
    KINDS[f"array of {dtype}"] = lambda dtype=dtype: np.zeros(3, dtype)
    KINDS[f"matrix of {dtype}"] = lambda dtype=dtype: np.zeros((3, 2), dtype)
    KINDS[f"array of {dtype} without dimensions"] = lambda dtype=dtype: np.zeros((), dtype)
    KINDS[f"scalar of {dtype}"] = lambda dtype=dtype: np.zeros(1, dtype)[0]


def read_only() -> Any:
    a = np.ones(2)
    a.flags.writeable = False
    return a


def unaligned() -> Any:
    return np.zeros(17, "u1")[1:].view("f8")


class Array(np.ndarray):
    """An array whose items and shape are other ones each time."""

    def __getitem__(self, index: Any) -> Any:
        return self

    def __len__(self) -> int:
        return 2**40

    def tolist(self) -> Any:
        return self

    def __array_finalize__(self, other: Any) -> None:
        pass


class Shapeless:
    """Says it is an array and has none of it."""

    ndim, shape, dtype, size = -1, (-3, 2**62), "f8", 2**70

    def __array__(self, *_args: Any, **_kwargs: Any) -> Any:
        return [1.0, 2.0]


class Interface:
    """An array interface whose address is no memory."""

    __array_interface__: ClassVar[Any] = {"shape": (2,), "typestr": "<f8", "version": 3, "data": "nowhere"}


KINDS.update(
    {
        "array, every other": lambda: np.arange(4.0)[::2],
        "array, reversed": lambda: np.arange(2.0)[::-1],
        "array, broadcast": lambda: np.broadcast_to(np.float64(1.0), (2,)),
        "array, Fortran's order": lambda: np.asfortranarray(np.ones((3, 2))),
        "array, read-only": read_only,
        "array, unaligned": unaligned,
        "array, masked": lambda: np.ma.masked_array([1.0, 2.0], [True, False]),
        "array, masked 0-d": lambda: np.ma.masked,
        "array, empty": lambda: np.empty((0,)),
        "array, empty and wide": lambda: np.empty((0, sys.maxsize // 2**20)),
        "array of 32 dimensions": lambda: np.ones((1,) * 32),
        "array of three dimensions": lambda: np.ones((2, 2, 2)),
        "array of Values": lambda: np.array([Value(1.0), Value(2.0)]),
        "array of nan and inf": lambda: np.array([np.nan, np.inf]),
        "array of a lying class": lambda: np.ones(2).view(Array),
        "array by a lying __array__": Shapeless,
        "array by a raising __array__": lambda: made(__array__=boom),
        "array by a bad interface": Interface,
        "record": lambda: np.zeros(2, [("a", "f8"), ("b", "O")]).view(np.recarray)[0],
        "np.matrix": lambda: np.arange(4.0).reshape(2, 2).view(np.matrix),
        "memoryview": lambda: memoryview(np.ones(2)),
        "memoryview, strided": lambda: memoryview(np.arange(4.0))[::-2],
        "memoryview, released": lambda: released(),
        "memoryview of bytes": lambda: memoryview(b"ab"),
        "array.array": lambda: array.array("d", [1.0, 2.0]),
        "array.array of integers": lambda: array.array("b", [1, 2]),
        "ctypes array": lambda: (ctypes.c_double * 2)(1.0, 2.0),
        "ctypes pointer": lambda: ctypes.POINTER(ctypes.c_double)(),
        "bytearray": lambda: bytearray(b"ab"),
    }
)


def released() -> memoryview:
    """Not of an array: iter() of CPython reads the format afterwards, which is freed with NumPy's array."""
    view = memoryview(bytes(16)).cast("d")
    view.release()
    return view


# ---- Objects whose methods lie or raise ------------------------------------------------------------------------------


def made(*bases: type, args: tuple[Any, ...] = (), **methods: Any) -> Any:
    """An instance of a new class with these methods."""
    return types.new_class("Hostile", bases, exec_body=lambda names: names.update(methods))(*args)


def changing(change: Callable[[list[Any]], None], kind: Any = object) -> list[Any]:
    """A list that changes while its numbers are read."""
    items: list[Any] = []

    def read(_self: Any) -> float:
        change(items)
        return 1.0

    def index(_self: Any) -> int:
        change(items)
        return 1

    items.extend(made(__float__=read, __index__=index) for _ in range(3))
    return items


def raising_after_two() -> Any:
    yield 1.0
    yield Value(2.0)
    boom()


def cyclic() -> list[Any]:
    items: list[Any] = [1.0]
    items.append(items)
    return items


def deep() -> list[Any]:
    items: list[Any] = []
    for _ in range(20_000):
        items = [items]
    return items


def everything() -> Any:
    """Answers to each name with itself."""
    return made(
        __getattr__=lambda self, name: boom() if name.startswith("__") else self,
        __call__=lambda self, *_args, **_kwargs: self,
        __iter__=lambda self: iter([self, 1.0]),
        __getitem__=lambda self, _i: self,
        __len__=lambda _self: 2,
    )


def property_of(name: str) -> Any:
    return made(**{name: property(boom)})


KINDS.update(
    {
        "__len__ of 2**62": lambda: made(__len__=lambda _s: 2**62, __getitem__=lambda _s, i: [1.0][i // 10**5]),
        "__len__ of -1": lambda: made(__len__=lambda _s: -1, __iter__=lambda _s: iter([1.0, 2.0])),
        "__length_hint__ of 2**62": lambda: made(__length_hint__=lambda _s: 2**62, __iter__=lambda _s: iter([1.0])),
        "__len__ raises": lambda: made(__len__=boom, __iter__=lambda _s: iter([1.0, 2.0])),
        "__float__ raises": lambda: made(__float__=boom),
        "__float__ gives str": lambda: made(__float__=lambda _s: "1.0"),
        "__float__ gives a subclass": lambda: made(__float__=lambda _s: np.float64(1.0)),
        "__index__ of 2**70": lambda: made(__index__=lambda _s: 2**70),
        "__index__ raises": lambda: made(__index__=boom),
        "__index__ gives float": lambda: made(__index__=lambda _s: 1.0),
        "__iter__ gives itself": lambda: made(__iter__=lambda s: s),
        "__iter__ raises": lambda: made(__iter__=boom),
        "__getattribute__ raises": lambda: made(__getattribute__=boom),
        "__class__ raises": lambda: property_of("__class__"),
        "__class__ says Value": lambda: made(__class__=property(lambda _s: Value)),
        "__class__ says list": lambda: made(__class__=property(lambda _s: list)),
        "__class__ says MLP": lambda: made(__class__=property(lambda _s: nn.MLP)),
        "ndim raises": lambda: property_of("ndim"),
        "tolist raises": lambda: made(tolist=boom, ndim=1),
        "tolist gives itself": lambda: made(tolist=lambda s: s, ndim=1),
        "__eq__ and __hash__ raise": lambda: made(__eq__=boom, __hash__=boom),
        "__bool__ raises": lambda: made(__bool__=boom),
        "__repr__ and __str__ raise": lambda: made(__repr__=boom, __str__=boom),
        "__call__ raises": lambda: made(__call__=boom),
        "__add__ and others give None": lambda: made(__radd__=lambda *_: None, __rmul__=lambda *_: None),
        "says yes to all": everything,
        "float subclass, __float__ raises": lambda: made(float, args=(2.0,), __float__=boom),
        "int subclass, __index__ raises": lambda: made(int, args=(2,), __index__=boom, __int__=boom),
        "str subclass": lambda: made(str, args=("tanh",), __eq__=boom, __hash__=boom),
        "list subclass, __iter__ raises": lambda: made(list, args=([1.0, 2.0],), __iter__=boom),
        "list subclass, __len__ lies": lambda: made(list, args=([1.0, 2.0],), __len__=lambda _s: 9),
        "tuple subclass, __getitem__ raises": lambda: made(tuple, args=((1.0, 2.0),), __getitem__=boom),
        "dict subclass, items raises": lambda: made(dict, items=boom, __getitem__=boom, keys=boom),
        "list that empties while read": lambda: changing(lambda items: items.clear()),
        "list that grows while read": lambda: changing(lambda items: items.extend([1.0] * (len(items) < 2000))),
        "list that turns into Values": lambda: changing(lambda items: items.__setitem__(slice(None), [Value(1.0)])),
        "list that holds itself": cyclic,
        "list 20,000 deep": deep,
        "list of lists of other lengths": lambda: [[1.0], [1.0, 2.0], []],
        "list of wrong kinds": lambda: [1.0, None, "x"],
        "generator": lambda: (float(i) for i in range(2)),
        "generator that raises": raising_after_two,
        "generator used up": lambda: used_up(),
        "range": lambda: range(2),
        "set": lambda: {1.0, 2.0},
        "deque": lambda: collections.deque([1.0, 2.0], maxlen=2),
        "iterator": lambda: itertools.repeat(1.0, 3),
        "mappingproxy": lambda: types.MappingProxyType({"w.0": 1.0}),
        "dict": lambda: {"w.0": Value(1.0), 3: None},
        "str": lambda: "x",
        "str with a surrogate and zero": lambda: "\ud800\0",
        "bytes": lambda: b"\xff\0",
        "None": lambda: None,
        "NotImplemented": lambda: NotImplemented,
        "Ellipsis": lambda: ...,
        "object": object,
        "a class": lambda: Value,
        "a module": lambda: sys,
        "a function": lambda: boom,
        "bool": lambda: True,
        "int too large": lambda: 10**400,
        "int, negative": lambda: -(2**63),
        "complex": lambda: 1j,
        "nan": lambda: float("nan"),
        "Decimal, signaling": lambda: decimal.Decimal("sNaN"),
        "Decimal, huge": lambda: decimal.Decimal("1e999999"),
        "Fraction, huge": lambda: fractions.Fraction(10**400, 3),
    }
)


def used_up() -> Any:
    items = iter([1.0])
    next(items)
    return items


# ---- Values that are not what they should be -------------------------------------------------------------------------


def of_another_thread() -> Value:
    found: list[Value] = []
    thread = threading.Thread(target=lambda: found.append((Value(2.0) * 3.0).tanh()))
    thread.start()
    thread.join()
    return found[0]


def left_over(condition: bool = False) -> Any:
    """A Value or a condition that outlives its trace."""
    kept: list[Any] = []

    def function(x: Any) -> Any:
        kept.append(x * 2.0 if not condition else x > 1.0)
        return x * 1.0

    micrograd.compile(function)(1.0)
    return kept[0]


def with_backward(function: Any) -> Value:
    v = Value(1.0, (Value(2.0),), "mine")
    v._backward = function
    return v


def assigned(name: str, item: Any) -> nn.MLP:
    model = nn.MLP(2, [2, 1])
    setattr(model.layers[0].neurons[0], name, item)
    return model


class Loud(Value):
    """A subclass whose data cannot be read."""

    data: Any = property(boom)


KINDS.update(
    {
        "Value": lambda: Value(2.0),
        "Value of another thread": of_another_thread,
        "Value of an ended trace": left_over,
        "condition of an ended trace": lambda: left_over(condition=True),
        "Value without __init__": lambda: Value.__new__(Value),
        "Value of a subclass that raises": lambda: Loud.__new__(Loud),
        "Value whose _backward raises": lambda: with_backward(boom),
        "Value whose _backward calls backward": lambda: recursive(),
        "Value with an attribute": lambda: labelled(),
        "proxy of a Value": lambda: weakref.proxy(PROXIED),
        "list of Values": lambda: [Value(1.0), Value(-2.0)],
        "list of lists of Values": lambda: [[Value(1.0), Value(2.0)], [Value(3.0), Value(4.0)]],
        "list of traced Values": lambda: [left_over(), 1.0],
        "network": lambda: nn.MLP(2, [2, 1]),
        "network without __init__": lambda: nn.MLP.__new__(nn.MLP),
        "network, weights None": lambda: assigned("w", None),
        "network, weights of a wrong kind": lambda: assigned("w", [1.0, "x"]),
        "network, weights that change": lambda: assigned("w", changing(lambda items: items.clear())),
        "network, bias of a wrong kind": lambda: assigned("b", object()),
        "network, activation that raises": lambda: assigned("nonlin", boom),
        "network, layers that hold it": lambda: holding(),
        "optimizer": lambda: micrograd.optim.SGD([Value(1.0)], lr=0.1),
        "compiled function": lambda: micrograd.compile(lambda x: x * 2.0),
    }
)


class Proxied(Value):
    __slots__ = ("__weakref__",)


PROXIED = Proxied(3.0)


def recursive() -> Value:
    v = with_backward(boom)
    v._backward = lambda: v.backward() if v.grad < 5.0 else None
    return v


def labelled() -> Value:
    v = Value(1.0)
    v.anything = v
    return v


def holding() -> nn.MLP:
    model = nn.MLP(2, [2, 1])
    model.layers = [model]
    return model

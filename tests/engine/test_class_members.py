"""Methods and operators attached to the class, replaced in it or taken away: as for a class written in Python."""

from __future__ import annotations

import math
import operator
import random

import pytest

import micrograd
from micrograd import Value, nn
from micrograd import functional as F


@pytest.fixture(params=["ours", "reference"])
def cls(request):
    """The class; its members are put back after the test."""
    kind = Value if request.param == "ours" else request.getfixturevalue("reference").Value
    before = dict(vars(kind))
    yield kind
    for name in {*vars(kind)} - {*before}:
        delattr(kind, name)
    for name, member in before.items():
        if vars(kind)[name] is not member:
            setattr(kind, name, member)


def test_a_method_can_be_attached_and_taken_off(cls):
    cls.bent = lambda self: 0.5 * self * (1 + (0.7978845608 * (self + 0.044715 * self**3)).relu())
    x = cls(1.0)
    y = x.bent()
    y.backward()
    assert x.grad == pytest.approx(0.5 * (1 + 0.7978845608 * 1.044715) + 0.5 * 0.7978845608 * (1 + 3 * 0.044715))
    del cls.bent
    assert not hasattr(x, "bent")


def test_an_operator_can_be_replaced(cls):
    seen = []
    plain = cls.__mul__

    def counted(self, other):
        seen.append(other)
        return plain(self, other)

    cls.__mul__ = counted
    a, b = cls(2.0), cls(3.0)
    assert (a * b).data == 6.0
    assert (a * 4).data == 8.0
    assert seen == [b, 4]
    cls.__mul__ = plain
    assert (a * b).data == 6.0
    assert len(seen) == 2


def test_a_built_in_method_can_be_replaced_with_its_gradient(cls):
    def doubled(self):
        out = cls(2 * self.data, (self,), "doubled")

        def _backward():
            self.grad += 2 * out.grad

        out._backward = _backward
        return out

    cls.relu = doubled
    x = cls(-3.0)
    x.relu().backward()
    assert x.grad == 2


def test_special_methods_can_be_attached(cls):
    cls.__len__ = lambda self: 7
    cls.__lt__ = lambda self, other: self.data < other.data
    cls.__call__ = lambda self, x: self.data + x
    a, b = cls(1.0), cls(2.0)
    assert (len(a), a < b, b < a, a(1)) == (7, True, False, 2.0)
    del cls.__len__
    with pytest.raises(TypeError):
        len(a)


def test_the_constructor_can_be_replaced(cls):
    plain = cls.__init__

    def __init__(self, data, *args, **kwargs):  # noqa: N807
        plain(self, data, *args, **kwargs)
        self.note = "made"

    cls.__init__ = __init__
    assert cls(1.0).note == "made"
    cls.__init__ = plain
    assert not hasattr(cls(1.0), "note")


def test_new_can_be_replaced(check):
    """In a process of its own: CPython gives a class no way back to the slot that it had."""
    check(
        """
        seen = []

        def new(kind, *args, **named):
            seen.append((args, named))
            return object.__new__(kind)

        Value.__new__ = new
        assert [Value(3.0).data, Value(data=4).data, Value(5.0, label="x").label] == [3.0, 4.0, "x"]
        assert seen == [((3.0,), {}), ((), {"data": 4}), ((5.0,), {"label": "x"})]
        assert (Value(2.0) * 3.0).data == 6.0
        """
    )


def test_a_name_can_be_changed(cls):
    cls.__name__, cls.__qualname__ = "V", "other.V"
    assert (cls.__name__, cls.__qualname__) == ("V", "other.V")
    cls.__name__, cls.__qualname__ = "Value", "Value"


@pytest.mark.parametrize("name", ["data", "grad"])
def test_fields_can_become_properties(monkeypatch, name):
    written = []
    v = Value(1.0)
    monkeypatch.setattr(Value, name, property(lambda self: 5.0, lambda self, x: written.append(x)))
    setattr(v, name, 3.0)
    assert (getattr(v, name), written) == (5.0, [3.0])
    nn.Layer(1, 2)([1.0])  # asks for the members that were replaced
    setattr(v, name, 4.0)
    assert (getattr(v, name), written) == (5.0, [3.0, 4.0])
    monkeypatch.undo()
    setattr(v, name, 3.0)
    assert (getattr(v, name), written) == (3.0, [3.0, 4.0])


@pytest.mark.parametrize("home", [nn, micrograd], ids=["relu", "tanh"])
@pytest.mark.parametrize("name", ["relu", "tanh", "__mul__", "__add__"])
def test_networks_use_what_was_replaced(monkeypatch, home, name):
    random.seed(1)
    model = home.MLP(2, [3, 1])
    plain, x = getattr(Value, name), [0.5, -2.0]
    before, calls = model(x).data, []

    def counted(self, *others):
        calls.append(name)
        return plain(self, *others)

    monkeypatch.setattr(Value, name, counted)
    relied_on = name.startswith("__") or name == home.Neuron(1).activation
    assert model(x).data == before
    assert bool(calls) == relied_on
    if name.startswith("__"):
        calls.clear()
        assert F.dot([Value(1.0), Value(2.0)], [Value(3.0), Value(4.0)]).data == 11.0
        assert calls
    monkeypatch.undo()
    calls.clear()
    assert model(x).data == before
    assert not calls


def test_networks_fail_without_a_method_and_work_with_it_again(monkeypatch):
    model = micrograd.MLP(1, [1])
    y = model([1.0]).data
    monkeypatch.delattr(Value, "tanh")
    with pytest.raises(AttributeError, match="tanh"):
        model([1.0])
    monkeypatch.undo()
    assert model([1.0]).data == y


class Logged(Value):
    """Adds and multiplies in its own way."""

    log: list[str] = []  # noqa: RUF012

    def __mul__(self, other):
        self.log.append("mul")
        return super().__mul__(other)

    __rmul__ = __mul__


@pytest.mark.parametrize(
    ("ws", "xs"),
    [
        ([Logged(1.0)], [Value(2.0)]),
        ([Value(1.0)], [Logged(2.0)]),
        ([Value(1.0), Logged(1.0)], [Value(1.0), Value(1.0)]),
        ([Value(1.0), Value(1.0)], [Value(1.0), Logged(1.0)]),
        ([Value(1.0), Value(1.0)], [1.0, Logged(1.0)]),
        ([Logged(1.0)], [2.0]),
    ],
)
def test_sums_of_products_use_the_operators_of_a_subclass(ws, xs):
    Logged.log.clear()
    assert F.dot(ws, xs).data == 2.0
    assert Logged.log == ["mul"]


@pytest.mark.parametrize("name", ["__mul__", "__rmul__", "__add__", "__radd__"])
@pytest.mark.parametrize("at", range(3))
def test_sums_of_products_use_one_operator_of_a_subclass(name, at):
    """Of a weight, an input or the bias."""
    log = []
    kind = type("Logged", (Value,), {name: lambda *pair: log.append(name) or getattr(Value, name)(*pair)})
    w, x, b = (kind(2.0) if i == at else Value(2.0) for i in range(3))
    assert F.dot([w, w], [x, x], bias=b).data == 10.0
    found = log.copy()
    log.clear()
    assert (b + w * x + w * x).data == 10.0
    assert found == log


def test_sums_without_a_bias_use_a_reflected_operator_that_was_replaced(monkeypatch):
    """They begin with 0.0 + w x."""
    w, x, log = Value(2.0), Value(3.0), []
    assert F.dot([w], [x]).data == 6.0
    monkeypatch.setattr(Value, "__radd__", lambda self, number: log.append(number) or self * 10.0)
    assert F.dot([w], [x]).data == (0.0 + w * x).data == 60.0
    assert log == [0.0, 0.0]
    monkeypatch.undo()
    assert F.dot([w], [x]).data == 6.0


def test_a_subclass_without_operators_of_its_own_is_summed_as_a_value():
    class Plain(Value):
        pass

    w, x = Plain(2.0), Plain(3.0)
    y = F.dot([w], [x])
    y.backward()
    assert (y.data, w.grad, x.grad) == (6.0, 3.0, 2.0)


def test_a_subclass_can_be_given_members():
    class Sub(Value):
        pass

    Sub.tanh = lambda self: "mine"
    assert Sub(1.0).tanh() == "mine"
    assert Value(1.0).tanh().data == math.tanh(1.0)


def test_compiled_functions_are_traced_again(monkeypatch):
    w, f = Value(0.5), micrograd.compile(lambda x: (w * x).tanh())
    batch = [[1.0, 2.0]]
    before = f(1.0).data, f.sum(*batch).data, f.map(*batch).tolist()

    def doubled(self):
        return self * 2.0

    monkeypatch.setattr(Value, "tanh", doubled)
    assert (f(1.0).data, f.sum(*batch).data, f.map(*batch).tolist()) == (1.0, 3.0, [1.0, 2.0])
    assert f.value_and_grad(*batch)[0] == 3.0
    assert f.retraces == 0
    monkeypatch.undo()
    assert (f(1.0).data, f.sum(*batch).data, f.map(*batch).tolist()) == before
    for call, expected in ((f.mean, 1.5), (f.sum, 3.0), (lambda x: f.value_and_grad(x)[0], 3.0)):
        call(*batch)  # each is the first call after the change
        monkeypatch.setattr(Value, "tanh", doubled)
        total = call(*batch)
        assert getattr(total, "data", total) == expected
        monkeypatch.undo()
    monkeypatch.setattr(Value, "square", lambda self: self * self, raising=False)
    assert micrograd.compile(lambda x: x.square())(3.0).data == 9.0
    assert f(1.0).data == before[0]


def test_programs_of_methods_that_are_back_are_used_again(monkeypatch):
    traces = []
    f = micrograd.compile(lambda x: traces.append(1) or x.tanh())
    f(1.0)
    g = micrograd.compile(lambda x: x.tanh())
    for factor in (2.0, 3.0, 4.0):
        monkeypatch.setattr(Value, "tanh", lambda self, factor=factor: self * factor)
        assert g(3.0).data == 3.0 * factor
    monkeypatch.undo()
    assert f(1.0).data == g(1.0).data == pytest.approx(math.tanh(1.0))
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("__radd__", lambda x: 2.0 + x),
        ("__rsub__", lambda x: 2.0 - x),
        ("__rmul__", lambda x: 2.0 * x),
        ("__rtruediv__", lambda x: 2.0 / x),
        ("__rpow__", lambda x: 2.0**x),
        ("__sub__", lambda x: x - 2.0),
        ("__neg__", lambda x: -x),
        ("__abs__", abs),
        ("abs", lambda x: x.abs()),
    ],
)
def test_compiled_functions_are_traced_again_for_each_operator(name, use, monkeypatch):
    f = micrograd.compile(lambda x: use(x))
    before = f(4.0).data, f.map([4.0]).tolist(), f.sum([4.0]).data
    monkeypatch.setattr(Value, name, lambda self, *_: self * 100.0)
    assert use(Value(4.0)).data == 400.0
    assert (f(4.0).data, f.map([4.0]).tolist(), f.sum([4.0]).data) == (400.0, [400.0], 400.0)
    monkeypatch.undo()
    assert (f(4.0).data, f.map([4.0]).tolist(), f.sum([4.0]).data) == before


def test_setattr_of_a_subclass_calls_that_of_its_base(cls):
    class Noted(cls):
        def __setattr__(self, name, value):
            noted.append(name)
            super().__setattr__(name, value)

        def __delattr__(self, name):
            noted.append(f"del {name}")
            super().__delattr__(name)

    noted = []
    v = Noted(1.0)
    noted.clear()
    v.data, v.grad, v.other = 2.0, 3.0, "kept"
    assert (v.data, v.grad, v.other) == (2.0, 3.0, "kept")
    del v.other
    assert noted == ["data", "grad", "other", "del other"]
    assert not hasattr(v, "other")
    plain = cls(1.0)
    plain.__setattr__("data", 4.0)
    cls.__setattr__(plain, "other", 5)
    assert (plain.data, plain.other) == (4.0, 5)
    plain.__delattr__("other")
    assert not hasattr(plain, "other")


def test_setattr_of_the_class_can_be_replaced(cls):
    first = cls.__setattr__
    cls.__setattr__ = lambda v, name, x: object.__setattr__(v, name, 2 * x if name == "other" else x)
    v = cls(1.0)
    v.data, v.other = 4.0, 3
    assert (v.data, v.other) == (4.0, 6)
    cls.__setattr__ = first
    v.data, v.other = 4.0, 3
    assert (v.data, v.other) == (4.0, 3)


@pytest.mark.parametrize(
    "use",
    [
        lambda v: v.nothing,
        lambda v: v(),
        lambda v: v[0],
        float,
        len,
        lambda v: v < "v",
        lambda v: v % 2,
        lambda v: 2 % v,
        operator.invert,
    ],
)
def test_messages_name_the_class_as_those_of_the_reference(reference, use):
    texts = []
    for kind in (Value, reference.Value):
        with pytest.raises((TypeError, AttributeError)) as caught:
            use(kind(1.0))
        texts.append(str(caught.value))
    assert texts[0] == texts[1]

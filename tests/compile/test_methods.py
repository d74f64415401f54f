"""Compiled methods: bound to each instance, inherited, copied, pickled, called through the class."""

from __future__ import annotations

import copy
import functools
import inspect
import operator
import pickle
import sys
import weakref

import pytest

import micrograd
from micrograd import Value, nn


class Line:
    def __init__(self, slope):
        self.slope = Value(slope)

    @micrograd.compile(threads=2)
    def loss(self, x, y, kind="a"):
        """The square of the error."""
        return (self.slope * x - y) ** 2 if kind == "a" else self.slope * x

    @micrograd.compile
    def both(self, x):
        return [self.slope * x, self.loss(x, 1.0)]


class Steep(Line):
    @micrograd.compile
    def loss(self, x, y, kind="a"):
        return super().loss(x, y, kind=kind) * 10


def test_a_method_is_bound_and_each_instance_has_its_programs():
    a, b = Line(2.0), Line(3.0)
    assert (a.loss(1.0, 1.0).data, b.loss(1.0, 1.0).data) == (1.0, 4.0)
    assert (a.loss.captured, b.loss.captured) == ([a.slope], [b.slope])
    assert (a.loss.retraces, b.loss.retraces, Line.loss.retraces) == (0, 0, 0)
    assert a.loss(1.0, 1.0, kind="b").data == 2.0
    assert (a.loss.retraces, b.loss.retraces) == (1, 0)
    total = b.loss.sum([1.0, 2.0], [1.0, 1.0])
    total.backward()
    assert (total.data, b.slope.grad, a.slope.grad) == (29.0, 2 * 2 + 2 * 5 * 2, 0.0)
    assert a.loss.mean([1.0, 2.0], y=[1.0, 1.0]).data == 5.0
    assert a.loss.map([1.0, 2.0], [1.0, 1.0]).tolist() == [1.0, 9.0]
    value, grads = a.loss.value_and_grad([1.0], [1.0])
    assert (value, grads.tolist()) == (1.0, [2.0])
    assert [v.data for v in a.both(2.0)] == [4.0, 9.0]
    assert a.loss.program.startswith("loss(number, number)")
    assert Line.loss.program == ""
    assert (a.loss.__name__, a.loss.__doc__, a.loss.__self__) == ("loss", "The square of the error.", a)
    assert list(inspect.signature(a.loss).parameters) == ["x", "y", "kind"]
    assert list(inspect.signature(Line.loss).parameters) == ["self", "x", "y", "kind"]
    assert Line.loss(a, 1.0, 1.0).data == a.loss(1.0, 1.0).data


def test_methods_are_inherited_and_overridden():
    a, b = Steep(2.0), type("Other", (Line,), {})(3.0)
    assert (a.loss(1.0, 1.0).data, b.loss(1.0, 1.0).data) == (10.0, 4.0)
    assert a.loss.captured == [a.slope]
    assert a.loss.retraces == 0


def test_programs_go_with_their_instance():
    a = Line(2.0)
    leaf, kept = weakref.ref(a), Line.loss._instances
    before = len(kept)
    method = a.loss
    method.sum([1.0], [1.0]).backward()
    a.loss(1.0, Value(1.0))
    slope = a.slope
    assert len(kept) == before + 1
    del a
    assert leaf() is not None  # a bound method holds its instance, as any does
    assert method(1.0, 1.0).data == 1.0
    del method
    assert leaf() is None
    assert len(kept) == before
    assert slope.data == 2.0
    for k in range(50):  # others at the same address
        assert Line(float(k)).loss(1.0, 0.0).data == float(k) ** 2
    assert len(kept) == before


def test_instances_that_are_equal_or_have_no_hash_have_programs_of_their_own():
    class Same(Line):
        def __eq__(self, other):
            return True

        __hash__ = None

    a, b = Same(2.0), Same(3.0)
    assert (a.loss(1.0, 1.0).data, b.loss(1.0, 1.0).data) == (1.0, 4.0)


def test_copies_of_an_instance_have_programs_of_their_own():
    a = Line(2.0)
    a.loss(1.0, 1.0)
    for copied in (copy.deepcopy(a), pickle.loads(pickle.dumps(a))):
        copied.slope.data = 5.0
        assert (copied.loss(1.0, 1.0).data, a.loss(1.0, 1.0).data) == (16.0, 1.0)
        assert copied.loss.captured == [copied.slope]
    shared = copy.copy(a)
    assert shared.loss.captured == []
    assert shared.loss(1.0, 1.0).data == 1.0


def test_a_bound_method_is_copied_with_its_instance_and_pickles_its_programs():
    a = Line(2.0)
    with pytest.raises(TypeError, match="Call it first"):
        pickle.dumps(a.loss)
    a.loss(1.0, 1.0)
    loaded = pickle.loads(pickle.dumps(a.loss))
    assert loaded(3.0, 1.0).data == 25.0
    copied, method = copy.deepcopy((a, a.loss))
    copied.slope.data = 5.0
    assert (method.__self__ is copied, method(1.0, 1.0).data, method(1.0, [1.0][0], kind="b").data) == (True, 16.0, 5.0)


def test_slots_without_weak_references_are_refused():
    class Tight:
        __slots__ = ("w",)

        @micrograd.compile
        def f(self, x):
            return self.w * x

    class Loose(Tight):
        __slots__ = ("__weakref__",)

    tight, loose = Tight(), Loose()
    with pytest.raises(TypeError, match="'Tight' objects do not support: add '__weakref__'"):
        tight.f(1.0)
    loose.w = Value(2.0)
    assert loose.f(3.0).data == 6.0


def test_only_what_python_binds_is_bound():
    model = nn.Neuron(1)
    model.w[0].data = 2.0

    class Trainer:
        whole = micrograd.compile(model)
        part = micrograd.compile(functools.partial(operator.mul, 2.0))

    assert Trainer().whole is Trainer.whole
    if not hasattr(functools.partial, "__get__"):  # CPython 3.14 has made a partial a method
        assert Trainer().part(3.0).data == 6.0
    assert Trainer().whole([3.0]).data == 6.0
    trainer = Trainer()
    trainer.own = micrograd.compile(lambda x: x * 2)
    assert trainer.own(1.0).data == 2.0


def test_a_method_can_be_called_through_its_class():
    class Line:
        def __init__(self, w):
            self.w = Value(w)

        @micrograd.compile
        def at(self, x):
            return self.w * x

    class Steeper(Line):
        @micrograd.compile
        def at(self, x):
            return 2 * Line.at(self, x)

    line, steeper = Line(2.0), Steeper(3.0)
    assert Line.at(line, 5.0).data == line.at(5.0).data == 10.0
    assert Line.at.sum(line, [1.0, 2.0]).data == 6.0
    assert Line.at.mean(line, [1.0, 3.0]).data == 4.0
    assert Line.at.map(line, [1.0, 2.0]).tolist() == [2.0, 4.0]
    assert Line.at.value_and_grad(line, [1.0, 2.0])[0] == 6.0
    assert (steeper.at(1.0).data, Line.at(steeper, 1.0).data) == (6.0, 3.0)
    assert [f(model, 1.0).data for f, model in ((Line.at, line), (Steeper.at, steeper))] == [2.0, 6.0]
    assert Line.at.captured == []
    assert line.at.captured == [line.w]
    with pytest.raises(TypeError, match="'str'"):
        Line.at("line", 1.0)


def test_a_method_of_several_classes():
    @micrograd.compile
    def at(self, x):
        return self.w * x

    classes = [
        type(name, (), {"at": at, "also": at, "w": Value(w)}) for name, w in (("A", 2.0), ("B", 3.0), ("C", 5.0))
    ]
    for cls in classes:
        instance = cls()
        expected = 10.0 * cls.w.data
        assert [f(instance, 10.0).data for f in (cls.at, cls.also)] == [expected] * 2
        assert [f(10.0).data for f in (instance.at, instance.also)] == [expected] * 2
        assert cls.at.sum(instance, [4.0, 6.0]).data == expected


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="classmethod binds no other descriptor there")
def test_a_class_method():
    class Counted:
        w = Value(2.0)

        def f(cls, x):  # noqa: N805
            return cls.w * x

        g = classmethod(micrograd.compile(f))

    class Other(Counted):
        w = Value(3.0)

    assert (Counted.g(1.0).data, Other.g(1.0).data, Other().g.sum([1.0, 2.0]).data) == (2.0, 3.0, 9.0)
    assert Counted.g.captured == [Counted.w]

"""Reference cycles through `_backward`, closures and attributes are collected, and nothing else is."""

from __future__ import annotations

import contextlib
import gc
import itertools
import textwrap
import weakref

import pytest

import micrograd
from helpers import BINARY, FREE_THREADED, SPECIAL, UNARY, linux, op


class Canary:
    """An object that weak references can watch."""


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


@pytest.mark.skipif(FREE_THREADED, reason="docs/packaging.md: the collector does not free these there")
def test_a_value_behind_many_attributes_is_collected(engine):
    class Sub(engine.Value):
        pass

    x = Sub(2.0)
    x.parts = [x * 2.0, *([i] for i in range(500)), x * 3.0]
    alive = weakref.ref(x)
    del x
    gc.collect()
    assert alive() is None


@pytest.mark.slow
@linux
def test_closures_of_user_ops_are_collected(check):
    check(
        """
        def round():
            sentinel = Sentinel()
            x = Value(1.0)
            outs = [user_op(x, sentinel) for _ in range(10**5)]
            outs[0].backward()
            assert x.grad == 1.0
            return weakref.ref(sentinel)

        sizes = []
        for _ in range(4):
            alive = round()
            gc.collect()
            assert alive() is None
            sizes.append(rss())
        assert sizes[-1] - sizes[1] < 2**20, sizes
        """
    )


@linux
def test_a_chain_of_user_ops_is_collected_at_once(check):
    check(
        """
        sentinel = Sentinel()
        alive = weakref.ref(sentinel)
        y = Value(1.0)
        for _ in range(100):
            y = user_op(y, sentinel)
        del y, sentinel
        gc.collect()
        assert alive() is None
        """
    )


@linux
def test_user_ops_between_plain_ones_are_collected_at_once(check):
    check(
        """
        sentinel = Sentinel()
        alive = weakref.ref(sentinel)
        y = Value(1.0)
        for _ in range(100):
            y = user_op(y, sentinel) + 1.0
        del y, sentinel
        collections = 0
        while alive() is not None and collections < 200:
            gc.collect()
            collections += 1
        assert collections == 1, f"{collections} collections"
        """
    )


def test_a_closure_assigned_to_a_plain_node_is_collected(check):
    check(
        """
        def make():
            sentinel = Sentinel()
            x = Value(2.0)
            y = x * x
            y._backward = lambda: (y, sentinel)
            return weakref.ref(sentinel)

        alive = make()
        gc.collect()
        assert alive() is None
        assert not [o for o in gc.get_objects() if type(o).__name__ == "Attributes"]
        """
    )


HOLDERS = {
    "the built-in step": "step = y._backward; y._backward = lambda: step()",
    "a bound method": "y._backward = Holder(y).back",
    "a partial": "y._backward = functools.partial(print, y)",
    "a partial's keyword": "y._backward = functools.partial(print, end=[{'a': (y,)}])",
    "a default": "y._backward = lambda y=y: None",
    "a keyword default": "def f(*, y=y): pass\ny._backward = f",
    "an attribute of the function": "def f(): pass\nf.y = y\ny._backward = f",
    "an object that can be called": "y._backward = Holder(y)",
    "what was computed from it": "z = y * 3.0; y._backward = lambda: z",
    "another with a function": "z = y * 3.0; z._backward = lambda: y; y._backward = lambda: z",
    "a neuron's output": "y.extra = None; y = MLP(2, [2, 1])([y, y]); y.keep = sentinel; y._backward = lambda: y",
    "an attribute of a subclass": "y = Sub(1.0); y.keep = sentinel; y.out = y * 2.0",
    "what was computed from a subclass": "y = Sub(1.0); y.keep = sentinel; z = y * 2.0; y._backward = lambda: [(z,)]",
    "a network's output in an attribute": "y = Sub(1.0); y.keep = sentinel; y.me = y; y.out = MLP(1, [2, 1])([2.0])",
    "lists in an attribute": "y = Sub(1.0); y.keep = sentinel; y.out = [(y * 2.0,), {'a': y.exp()}]",
    "an attribute of a neuron's output": "y = Sub(1.0); y.keep = sentinel; y.z = Layer(1, 1)([Value(1.0)]); y.z.y = y",
    "an input that a function holds too": "y = Sub(1.0); y.keep = sentinel; y.z = user_op_of_a_neuron(y * 2.0, Sub)",
    "behind a chain of ops": "y = Sub(1.0); y.keep = sentinel; y.out = chain(y * 2.0, 90)",
    "itself as an ancestor": "y = Sub(1.0); z = Sub(2.0, (Value(1.0), y)); y.__init__(3.0, (z,)); y.keep = sentinel",
}
# What has it for a parent, in each of the places where parents are.
PARENTS = {
    "the right operand": "Value(2.0) * y",
    "the right operand, a number on the left": "2.0 - y",
    "the last of many": "functional.sum([Value(1.0), Value(2.0), y])",
    "the last of a user's op": "Value(1.0, (Value(2.0), y), (3.0, 4.0))",
    "an input of a layer": "Layer(2, 1)([Value(1.0), y])",
    "a weight": "with_parameter(Layer(2, 1), lambda neuron: neuron.w.__setitem__(1, y))",
    "a bias": "with_parameter(Layer(2, 1), lambda neuron: setattr(neuron, 'b', y))",
    "a weight of a hidden layer": "with_parameter(MLP(2, [2, 1]), lambda neuron: neuron.w.__setitem__(1, y))",
    "a bias of the lowest layer": "with_parameter(MLP(2, [2, 2, 1]), lambda neuron: setattr(neuron, 'b', y))",
    "a weight of the lowest layer, over Values": "with_parameter(MLP(2, [2, 2, 1]), lambda neuron: "
    "neuron.w.__setitem__(1, y), [Value(1.0), Value(2.0)])",
}
HOLDERS.update({name: f"y = Sub(1.0); y.keep = sentinel; y.out = {out}" for name, out in PARENTS.items()})


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_a_value_held_by_its_own_function_or_attribute_is_collected(check, hold):
    check(
        f"""
        import functools
        from micrograd import MLP, functional
        from micrograd.nn import Layer

        def with_parameter(model, put, x=(1.0, 2.0)):
            put(getattr(model, "layers", [model])[0].neurons[-1])
            return model(list(x))

        def user_op_of_a_neuron(x, Sub):
            z = Sub(3.0, (Layer(1, 1)([x]),))
            z._backward = lambda: (z, x)
            return z

        class Holder:
            def __init__(self, y):
                self.y = y

            def back(self):
                pass

            __call__ = back

        class Sub(Value):
            pass

        def make():
            sentinel = Sentinel()
            y = Value(2.0) * 1.5
            y.keep = sentinel
{textwrap.indent(hold, " " * 12)}
            return weakref.ref(sentinel)

        alive = make()
        gc.collect()
        gc.collect()
        assert alive() is None
        assert not [o for o in gc.get_objects() if type(o).__name__ == "Attributes" or type(o) is Sub]

        # A reference from elsewhere keeps it alive.
        sentinel = Sentinel()
        y = Value(2.0) * 1.5
        y.keep = sentinel
{textwrap.indent(hold, " " * 8)}
        kept, alive = y, weakref.ref(sentinel)
        del y, sentinel
        z = f = step = None
        gc.collect()
        gc.collect()
        assert alive() is not None
        assert kept.data == kept.data and vars(kept)["keep"] is alive()
        """
    )


def test_what_attributes_kept_from_elsewhere_lead_to_stays(check):
    """vars() of a user's op has its function, which refers to the parents: a reference cycle goes through them."""
    check(
        """
        class Sub(Value):
            pass

        def make():
            root = Sub(1.0)
            parent = root * 2.0
            out = Value(2.0, (parent,), "op")
            out._backward = lambda: parent
            root.out = out * 2.0
            root.note = "kept"
            return vars(out)

        attributes = make()
        gc.collect()
        [function] = filter(callable, gc.get_referents(attributes))
        assert vars(function()._children[0])["note"] == "kept"
        """
    )


def test_the_collector_looks_through_a_function_once_for_all_parents(check):
    check(
        """
        def op(values):
            out = Value(0.0, tuple(values), "op")
            out._backward = lambda: (values, out)
            return out

        gc.disable()
        gc.collect()
        seconds = []
        for count in (1000, 16000):
            out = op([Value(1.0) for _ in range(count)])
            took = []
            for _ in range(5):
                start = time.process_time()
                gc.collect()
                took.append(time.process_time() - start)
            seconds.append(min(took))
        print(seconds)
        assert seconds[1] < 0.1, seconds  # not the square of the parents' number: a second
        """
    )


def test_what_is_behind_many_parents_that_a_function_holds_too_is_collected(check):
    check(
        """
        class Sub(Value):
            pass

        def make():
            subs = [Sub(1.0) for _ in range(100)]
            parents = [sub * 2.0 for sub in subs]
            out = Value(0.0, tuple(parents), "op")
            out._backward = lambda: (parents, out)
            for sub in subs:
                sub.out = out
            out.keep = Sentinel()
            return weakref.ref(out.keep)

        alive = make()
        gc.collect()
        gc.collect()
        assert alive() is None
        """
    )


def test_an_input_that_another_output_of_its_layer_holds_stays(check):
    check(
        """
        from micrograd.nn import Layer

        class Sub(Value):
            pass

        def make():
            x = Sub(2.0)
            x.note = "kept"
            first, second = Layer(1, 2)([x])
            cycle = Sub(1.0, (first,))
            cycle.me = cycle
            return second

        second = make()
        gc.collect()
        todo = [second]
        while not any(type(v) is Sub for v in todo):
            todo = [parent for v in todo for parent in v._children]
        [x] = [v for v in todo if type(v) is Sub]
        assert (x.note, x.data) == ("kept", 2.0)
        """
    )


def test_a_class_that_holds_an_instance_is_collected(engine):
    def make():
        class Sub(engine.Value):
            pass

        Sub.kept = [Sub(1.0)]
        return weakref.ref(Sub)

    alive = make()
    gc.collect()
    assert alive() is None


def test_new_may_be_replaced_by_that_of_object(check):
    check(
        """
        class Before(Value):
            pass

        class Own(Value):
            def _backward(self):
                self.asked = True

        Value.__new__ = lambda kind, *args, **named: object.__new__(kind)

        class After(Value):
            pass

        for _ in range(5000):
            x = Value(3.0)
            for kind in (Before, After, Own):
                y = kind(2.0, (x,))
                (y * y + kind(1.0) * x).backward()
                y.zero_grad()
            del x, y
        x = Own(2.0)
        (x * 3.0).backward()
        assert x.asked and x.grad == 3.0
        out = user_op(x)
        out.backward()
        out._backward = lambda: (out, x)
        assert x.grad == 4.0
        made = Value(3.0, (x, out), (1.0, 2.0))
        made.backward()
        assert out.grad == 3.0 and x.grad == 5.0
        make, args, state = After.__reduce__(After(3.0))
        copied = make(*args)
        copied.__setstate__(state)
        (copied * 2.0).backward()
        assert (copied.data, copied.grad) == (3.0, 2.0)
        del x, out, made, copied
        gc.collect()
        still_works()
        """
    )


@pytest.mark.parametrize("enabled", [True, False])
def test_special_values_leave_the_collector_as_it_was(enabled):
    """Python's own arithmetic on the edges, and errors there, are computed without the collector."""
    values = [micrograd.Value(x) for x in SPECIAL]
    calls = [(op(name), (v,)) for name in UNARY for v in values]
    calls += [(op(name), pair) for name in BINARY for pair in itertools.product(values, values)]
    take = micrograd.compile(lambda index: micrograd.functional.take(values, index))
    calls += [(take, (index,)) for index in (1, 2.5, len(values))]
    (gc.enable if enabled else gc.disable)()
    try:
        for call, arguments in calls:
            with contextlib.suppress(ArithmeticError, ValueError, TypeError, IndexError):
                call(*arguments).backward()
            assert gc.isenabled() == enabled, (call, arguments)
    finally:
        gc.enable()

"""`micrograd.no_grad()`: a mode of a thread in which the results of ops are leaves."""

from __future__ import annotations

import contextlib
import copy
import inspect
import math
import random
import threading

import numpy as np
import pytest

import micrograd
from helpers import BINARY, OF_A_LIST, UNARY, assert_leaf, assert_on, bits, doubled, linux, op
from micrograd import Value, functional, nn
from micrograd.utils import detect_anomaly


class Weight(Value):
    pass


# ---- Results ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("kind", [Value, Weight])
def test_of_one_argument(name, kind):
    expected = op(name)(kind(0.7)).data
    with micrograd.no_grad():
        out = op(name)(kind(0.7))
    assert_leaf(out)
    assert bits(out.data) == bits(expected)


@pytest.mark.parametrize("name", BINARY)
def test_of_two_arguments(name):
    operands = [(Value(0.7), Value(1.3)), (Value(0.7), 1.3), (Weight(0.7), Value(1.3)), (Value(0.7), np.float64(1.3))]
    if name.startswith("__"):
        operands += [(0.7, Value(1.3)), (np.float64(0.7), Value(1.3)), (Value(0.7), 2), (3, Weight(1.3))]
    for a, b in operands:
        expected = op(name)(a, b).data
        with micrograd.no_grad():
            out = op(name)(a, b)
        assert_leaf(out)
        assert bits(out.data) == bits(expected)


@pytest.mark.parametrize("name", OF_A_LIST)
def test_of_functional(name):
    xs = [0.3, -0.8, 1.7]
    expected = OF_A_LIST[name](list(map(Value, xs))).data
    with micrograd.no_grad():
        out = OF_A_LIST[name](list(map(Value, xs)))
    assert_leaf(out)
    assert bits(out.data) == bits(expected)


@pytest.mark.parametrize("inputs", [[0.4, -0.3], [Value(0.4), Value(-0.3)], [Value(0.4), -0.3]])
@pytest.mark.parametrize("home", [nn, micrograd])
@pytest.mark.parametrize("sizes", [[1], [3], [4, 3, 2]])
def test_of_networks(home, sizes, inputs):
    random.seed(1)
    model = home.MLP(2, sizes)
    expected = model(inputs)
    with micrograd.no_grad():
        found = model(inputs)
    for out, other in zip(*([x] if isinstance(x, Value) else x for x in (found, expected))):
        assert_leaf(out)
        assert bits(out.data) == bits(other.data)
    assert {p.grad for p in model.parameters()} == {0.0}


def test_results_can_be_used_outside():
    x = Value(2.0)
    with micrograd.no_grad():
        h = x * 3.0
        h.backward()
        assert h.grad == 1.0
    h.grad = 0.0
    (h * x).backward()
    assert (x.grad, h.grad) == (6.0, 2.0)


def test_backward_of_an_older_graph_works_inside():
    x = Value(2.0)
    y = (x * 3.0).tanh()
    with micrograd.no_grad():
        y.backward()
        assert x.grad == pytest.approx(3 * (1 - math.tanh(6.0) ** 2))
        y.zero_grad()
        y.backward(retain_grads=False)


def test_reading_an_older_graph_makes_its_nodes_inside():
    random.seed(2)
    model = nn.MLP(2, [3, 1])
    out = model([1.0, 0.5])
    with micrograd.no_grad():
        children = out._children
        assert children[0]._children
        out.backward()
    assert any(p.grad for p in model.parameters())


@pytest.mark.parametrize(
    ("work", "error"),
    [
        (lambda: Value(0.0) ** -1, ZeroDivisionError),
        (lambda: Value(-1.0).log(), ValueError),
        (lambda: Value(1000.0).exp(), OverflowError),
        (lambda: Value(1.0) * "a", TypeError),
        (lambda: Value(1.0, ("a",)), TypeError),
        (lambda: Value(1.0, (Value(1.0),), (1.0, 2.0)), ValueError),
        (lambda: nn.MLP(2, [1])([1.0]), ValueError),
    ],
)
def test_errors_are_the_same(work, error):
    with pytest.raises(error) as outside:
        work()
    with micrograd.no_grad(), pytest.raises(error) as inside:
        work()
    assert str(inside.value) == str(outside.value)
    assert_on()


def test_nan_is_no_error():
    with micrograd.no_grad():
        assert_leaf(Value(math.inf) - Value(math.inf))
        assert math.isnan((Value(math.nan) * 2).data)


def test_an_optimizer_and_copies_work_inside():
    w = Value(1.0)
    (w * w).backward()
    with micrograd.no_grad():
        micrograd.optim.SGD([w], lr=0.1).step()
        average = w * 0.9 + 0.1
        assert copy.copy(average).data == average.data
    assert w.data == pytest.approx(0.8)


# ---- Ops of a user's own ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        doubled,
        lambda x: Value(6.0, (x,), (2.0,)),
        lambda x: Value(6.0, children=(x,), local_grads=(2.0,)),
        lambda x: Value(6.0, _prev=(x,), _op="doubled"),
        lambda x: doubled(x, Weight),
    ],
)
def test_results_of_a_users_op_are_leaves(make):
    x = Value(3.0)
    with micrograd.no_grad():
        out = make(x)
    assert (out.data, out._prev, out._op) == (6.0, set(), "")
    (out * 5.0).backward()
    assert (out.grad, x.grad) == (5.0, 0.0)


def test_a_class_with_a_backward_of_its_own():
    class Doubled(Value):
        def __init__(self, x):
            super().__init__(2 * x.data, (x,))
            self.x = x

        def _backward(self):
            self.x.grad += 2 * self.grad

    x = Value(3.0)
    with micrograd.no_grad():
        out = Doubled(x)
    (out * 5.0).backward()
    assert (out.grad, x.grad, out._prev) == (5.0, 0.0, set())
    y = Doubled(x)
    y.backward()
    assert x.grad == 2.0


def test_backward_functions_of_older_nodes_can_be_replaced_inside():
    x = Value(3.0)
    y = x * 2.0
    with micrograd.no_grad():
        y._backward = lambda: setattr(x, "grad", 7.0)
        x._backward = lambda: 1 / 0  # dropped: x is a leaf
        with pytest.raises(TypeError):
            x._backward = None
    y.backward()
    assert x.grad == 7.0


# ---- The context -----------------------------------------------------------------------------------------------------


def test_it_nests_and_ends_where_an_exception_leaves_it():
    x = Value(2.0)
    mode = micrograd.no_grad()
    with mode:
        with pytest.raises(ZeroDivisionError), micrograd.no_grad(), mode:
            _ = x / 0.0
        assert_leaf(x * x)
        assert not micrograd.is_grad_enabled()
    assert_on()


def test_users_ops_after_another_mode_has_ended():
    x = Value(2.0)
    with micrograd.no_grad():
        with detect_anomaly():
            pass
        assert_leaf(Value(4.0, (x,), local_grads=(2.0,)))
        assert_leaf(Value(4.0, (x,), "double"))


@pytest.mark.parametrize("mode", [micrograd.no_grad, detect_anomaly])
def test_slabs_that_fill_or_become_empty_in_a_mode_change_nothing(mode):
    """A slab has 1023 slots."""
    x = Value(2.0)
    graph = [x * 3.0 for _ in range(3000)]
    with mode():
        kept = [x * 3.0 for _ in range(3000)]
        assert all((not v._children) == (mode is micrograd.no_grad) for v in kept)
        del graph
        for out in (x * 3.0, x.tanh(), x * x, functional.sum([x, x])):
            assert (not out._children) == (mode is micrograd.no_grad)
        with pytest.raises(RuntimeError) if mode is detect_anomaly else contextlib.nullcontext():
            x * math.inf


def test_functions():
    @micrograd.no_grad()
    def factorial(x, n):
        """n x (n - 1) x ..."""
        assert not micrograd.is_grad_enabled()
        return factorial(x * n, n - 1) if n else x

    assert factorial.__doc__ == "n x (n - 1) x ..."
    assert list(inspect.signature(factorial).parameters) == ["x", "n"]
    out = factorial(Value(1.0), 4)
    assert_leaf(out)
    assert out.data == 24.0
    with pytest.raises(TypeError):
        factorial(Value(1.0), "a")
    assert_on()


def test_a_decorator_without_parentheses():
    @micrograd.no_grad
    def square(x):
        """x * x"""
        return x * x

    @micrograd.no_grad
    def squares(x):
        while True:
            yield x * x

    assert (square.__name__, square.__doc__) == ("square", "x * x")
    assert_leaf(square(Value(3.0)))
    assert_leaf(next(squares(Value(3.0))))
    assert_on()
    with pytest.raises(TypeError, match="no_grad decorates functions, not 'float'"):
        micrograd.no_grad(3.0)


def test_methods():
    class Model:
        def __init__(self):
            self.w = Value(2.0)

        @micrograd.no_grad()
        def predict(self, x):
            return self.w * x

    assert_leaf(Model().predict(3.0))


def test_a_generator_is_in_the_mode_while_it_runs():
    log = []

    @micrograd.no_grad()
    def numbers(x):
        try:
            while True:
                assert_leaf(x * 2.0)
                try:
                    x = (yield x * 2.0) or x
                except KeyError:
                    x = Value(0.0)
                if x.data > 100:
                    return "end"
        finally:
            log.append(micrograd.is_grad_enabled())

    def all_of():
        return (yield from numbers(Value(1.0)))

    generator = numbers(Value(1.0))
    assert next(generator).data == 2.0
    assert_on()
    assert generator.send(Value(4.0)).data == 8.0
    assert generator.throw(KeyError()).data == 0.0
    assert_on()
    generator.close()
    generator = all_of()
    next(generator)
    with pytest.raises(StopIteration) as ended:
        generator.send(Value(200.0))
    assert ended.value.value == "end"
    assert log == [False, False]
    assert_on()


@pytest.mark.parametrize("thing", [None, 3, "x"])
def test_what_is_no_function_is_refused(thing):
    with pytest.raises(TypeError, match="no_grad decorates functions"):
        micrograd.no_grad()(thing)


def test_leaving_without_entering_raises():
    with pytest.raises(RuntimeError, match="no_grad is left in another thread than it was entered in, or twice"):
        micrograd.no_grad().__exit__(None, None, None)
    mode = micrograd.no_grad()
    mode.__enter__()
    failed = []

    def leave():
        try:
            mode.__exit__(None, None, None)
        except RuntimeError as error:
            failed.append(error)

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    assert not micrograd.is_grad_enabled()
    mode.__exit__(None, None, None)
    assert len(failed) == 1
    assert_on()


# ---- Memory ----------------------------------------------------------------------------------------------------------


@linux
def test_memory_stays_flat(check):
    check(
        """
import random, micrograd
from micrograd import nn, functional
random.seed(1)
model = nn.MLP(8, [16, 16, 2])
w = Value(0.5)
x = Value(1.0)
f = micrograd.compile(lambda a: (w * a).tanh())
numbers = [0.1 * i for i in range(8)]
def work(passes):
    with micrograd.no_grad():
        for _ in repeat(None, passes):
            functional.softmax(model(numbers))
            f(0.5)
work(2_000)
before = rss()
work(100_000)
with micrograd.no_grad():
    for _ in repeat(None, 1_000_000):
        x = x * 0.5 + 1
assert x.data == 2.0 and x._prev == set()
assert rss() - before < 1 << 20, rss() - before
"""
    )


@linux
def test_results_that_are_kept_take_a_slot_each(check):
    """They do not keep the memory of what was computed between them."""
    check(
        """
import micrograd
kept = []
def work(count):
    y = Value(1.0)
    with micrograd.no_grad():
        for i in range(count):
            for _ in repeat(None, 500):
                y = y * 0.5 + 1
            kept.append(y * 1.0)
work(100)
before = rss()
work(5_000)
assert rss() - before < 3 << 20, rss() - before
"""
    )

"""Signals that are pending when a pass begins: Python runs their handlers where the engine lets it. Nothing is timed:
functions in C are called one after the other, without the interpreter's loop between, which would run the handlers."""

from __future__ import annotations

import _thread
import contextlib
import operator
import signal
from array import array
from functools import partial

import pytest

import micrograd
from helpers import doubled
from micrograd import Value, grad
from micrograd._compile import known_reduce
from micrograd._nn import as_values

LONG = 200_000  # nodes: more than a pass handles between two checks for signals


@pytest.fixture
def pending():
    """A function that calls a handler in the midst of another function; False where it was called afterwards."""
    before = signal.getsignal(signal.SIGINT)

    def run(handle, function):
        ended, seen = [], []
        signal.signal(signal.SIGINT, lambda *_: (seen.append(not ended), handle()))
        with contextlib.suppress(LookupError):
            list(map(operator.methodcaller("__call__"), [_thread.interrupt_main, function, partial(ended.append, 1)]))
        assert len(seen) == 1
        return seen[0]

    yield run
    signal.signal(signal.SIGINT, before)


def chain(x, count=LONG):
    for _ in range(count):
        x = x * 1.0
    return x


@pytest.mark.parametrize("make", [doubled, Value.tanh], ids=["sorted", "ordered"])
@pytest.mark.parametrize(
    ("work", "kept"),
    [
        (lambda x, y: y.backward, 1.0),
        (lambda x, y: partial(y.backward, retain_grads=False), 0.0),
        (lambda x, y: partial(grad, y, x), 0.0),
        (lambda x, y: y.zero_grad, 0.0),
    ],
    ids=["backward", "backward without grads", "grad", "zero_grad"],
)
def test_a_handler_that_raises_ends_the_work(pending, work, kept, make):
    """`kept`: the root's grad afterwards."""
    x, ended = Value(0.5), []
    y = chain(make(x))

    def handle():
        ended.append(x.grad)
        raise LookupError

    assert pending(handle, work(x, y))
    assert (ended, y.grad) == ([0.0], kept)
    y.zero_grad()
    y.backward()
    assert x.grad == grad(y, x) != 0.0


def test_a_handler_that_raises_ends_a_compiled_call_and_the_reading_of_a_list(pending):
    """By the functions in C that compiler.py and functional call."""
    f = micrograd.compile(lambda x: x * 2.0)
    samples = array("d", [1.0]) * 1000
    f.sum(samples)

    def handle():
        raise LookupError

    assert pending(handle, partial(known_reduce, f._batches, (samples,), {}, False, 1))
    assert pending(handle, partial(as_values, [1.0] * LONG, "a number"))


def test_a_handler_may_walk_nodes_that_the_walk_has_marked(check):
    """Both passes propagate all that the node has gained, as in the reference. In a process of its own, where no Value
    is alive for which passes are sorted: the handler would run earlier."""
    check(
        f"""
        import _thread, operator
        x, u, seen = Value(2.0), Value(1.0), []
        shared = x * 3.0
        side = shared * 2.0
        y = chain(u, {LONG}) + shared
        signal.signal(signal.SIGINT, lambda *_: (seen.append(u.grad), side.backward()))
        list(map(operator.methodcaller("__call__"), [_thread.interrupt_main, y.backward]))
        assert (seen, shared.grad, u.grad) == ([0.0], 3.0, 1.0)
        assert x.grad == 3.0 * 3.0 + 3.0 * 3.0
        """
    )


@pytest.mark.parametrize("retain", [True, False])
def test_a_handler_may_walk_another_graph(check, retain):
    """One that has nodes in the slab of nodes that the walk has marked."""
    check(
        f"""
        import _thread, operator
        x, w, u, seen = Value(2.0), Value(5.0), Value(1.0), []
        marked, other = x * 3.0, w * 2.0
        y, z = chain(u, {LONG}) + marked, chain(other, 3000)
        signal.signal(signal.SIGINT, lambda *_: (seen.append(u.grad), z.backward(retain_grads={retain})))
        list(map(operator.methodcaller("__call__"), [_thread.interrupt_main, y.backward]))
        assert (seen, x.grad, w.grad, u.grad, marked.grad) == ([0.0], 3.0, 2.0, 1.0, 1.0)
        still_works()
        """
    )


@pytest.mark.parametrize("retain", [True, False])
def test_a_pass_goes_on_after_a_handler_materialized_nodes(check, retain):
    """In depth-first order, and with the grads that the pass was asked for."""
    check(
        f"""
        import _thread, functools, operator, random
        from micrograd import nn
        random.seed(1)
        model, x, seen = nn.MLP(2, [3, 2], activation="tanh"), Value(0.5), []
        low = model([x * 2.0, x])
        middle, apart = low[0] * low[1], x.exp()
        y = chain(middle, {LONG}) + apart * 7.0
        signal.signal(signal.SIGINT, lambda *_: seen.append((middle.grad, low[0]._children)))
        work = functools.partial(y.backward, retain_grads={retain})
        list(map(operator.methodcaller("__call__"), [_thread.interrupt_main, work]))
        assert [grad for grad, _ in seen] == [0.0]
        kept = float({retain})
        assert (y.grad, middle.grad, low[0].grad, low[1].grad) == (kept, kept, kept * low[1].data, kept * low[0].data)
        found = [p.grad for p in [x, *model.parameters()]]
        x.grad = 0.0
        for p in [y, *model.parameters()]:
            p.zero_grad()
        y.backward()
        assert any(found)
        assert all(abs(p.grad - g) <= 1e-12 * abs(g) for p, g in zip([x, *model.parameters()], found))
        y.__init__(2.0)  # which raises during a walk
        """
    )


@pytest.mark.parametrize("handle", ["next(iter(()))", "seen.append(low[0]._children)"], ids=["raises", "materializes"])
def test_a_handler_in_grad_leaves_grads_as_they_were(check, handle):
    """Those of nodes too that the walk had marked."""
    check(
        f"""
        import _thread, contextlib, functools, operator
        from micrograd import grad, nn
        model, x, seen = nn.MLP(2, [3, 2]), Value(0.5), []
        low = model([x * 2.0, x])
        marked = x + low[0] * low[1]
        y = chain(Value(1.0), {LONG}) + marked
        marked.grad, low[0].grad = 5.0, 7.0
        signal.signal(signal.SIGINT, lambda *_: (seen.append(0), {handle}))
        with contextlib.suppress(StopIteration):
            list(map(operator.methodcaller("__call__"), [_thread.interrupt_main, functools.partial(grad, y, x)]))
        assert (seen[0], marked.grad, low[0].grad, x.grad) == (0, 5.0, 7.0, 0.0)
        """
    )


# A handler that runs in a sort, when what stands before the chain has been sorted.
IN_A_SORT = {
    "nodes of a neuron": ("nn.Layer(2, 1, nonlin=False)([x, x * 2.0])", "first._children"),
    "sorts": ("x * 2.0", "(x.zero_grad(), first.zero_grad(), seen.append(1.0 + first.grad))"),
}


@pytest.mark.parametrize(("first", "handle"), IN_A_SORT.values(), ids=IN_A_SORT)
def test_grads_are_cleared_though_a_handler_sorts_or_materializes(check, first, handle):
    check(
        f"""
        import _thread, operator
        from micrograd import nn
        x, seen = Value(2.0), []
        first = {first}
        y = user_op(first) + chain(Value(1.0), {LONG})
        y.backward()
        signal.signal(signal.SIGINT, lambda *_: (seen.append(y.grad), {handle}))
        list(map(operator.methodcaller("__call__"), [_thread.interrupt_main, y.zero_grad]))
        assert set(seen) == {{1.0}}
        todo = [y]
        while todo:
            v = todo.pop()
            assert v.grad == 0.0
            todo += v._children
        """
    )


@pytest.mark.parametrize("work", ["grad(side, x)", "grad(side, x, True)", "side.zero_grad()", "side.backward()"])
def test_a_walk_is_under_way_still_after_a_handler_has_gone_through_a_graph(check, work):
    """So that no node of it can get other parents, or none."""
    check(
        f"""
        import _thread, operator
        from micrograd import grad
        x, u, seen = Value(2.0), Value(1.0), []
        side, other = x * x, u * 3.0
        y = chain(u, {LONG}) + other
        def handle(*_):
            {work}
            for parents in ((x,), ()):
                try:
                    other.__init__(1.0, parents)
                except RuntimeError as error:
                    seen.append("while backward() walks graphs" in str(error))
        signal.signal(signal.SIGINT, handle)
        list(map(operator.methodcaller("__call__"), [_thread.interrupt_main, y.backward]))
        assert seen == [True, True]
        assert u.grad == 4.0
        """
    )

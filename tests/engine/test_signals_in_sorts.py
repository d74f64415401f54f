"""Signal handlers that change the graph, or raise, while it is sorted, walked for gradients apart, or cleared."""

from __future__ import annotations

import textwrap

import pytest

from helpers import posix

# `attempt` calls `begin` right before the work that the handler is to interrupt, and is repeated until that was so.
PROGRAM = """
from micrograd import grad, compile, nn

def handle(signum, frame):
    global came
    came = working
    if working:
        meanwhile()

def begin():
    global working
    working = True
    signal.setitimer(signal.ITIMER_REAL, seconds, again)

def repeat_until_interrupted(attempt):
    global working, came, seconds
    came, seconds = False, 1e-4
    for k in range(1000):
        attempt()
        signal.setitimer(signal.ITIMER_REAL, 0)
        working = False
        if came:
            return
    raise AssertionError("no signal came in time")

working, again = False, 0.0
signal.signal(signal.SIGALRM, handle)
layer = nn.Layer(1, 2, nonlin=False)
w = layer.neurons[0].w[0]
w.data = 0.5
x = Value(2.0)
"""

# A neuron's output, of which the handler makes the reference's nodes: products and sums, and what is done meanwhile.
LOOKED_AT = {
    "zero_grad of a sorted graph": """
        y = chain(user_op(out), 300_000)
        y.backward()
        begin()
        y.zero_grad()
        assert not any(node.grad for node in (y, out, *out._children, x))
    """,
    "backward of a sorted graph": """
        y = chain(user_op(out), 150_000)
        x.grad = 0.0
        begin()
        y.backward()
        assert x.grad == 8 * w.data
    """,
    "backward of a neuron": """
        unseen[:] = layer([chain(user_op(x), 150_000)])[:1]
        x.grad = 0.0
        out = unseen[0]
        begin()
        out.backward()
        assert x.grad == w.data
    """,
    "gradients apart": """
        y = chain(out, 150_000)
        begin()
        assert grad(y, [x, w]) == [8 * w.data, 8 * x.data]
    """,
    "a trace": """
        def traced(a):
            unseen[:] = [layer([a])[0] for _ in range(8)]
            y = chain(sum(unseen), 150_000)
            begin()
            return y
        assert compile(traced)(3.0).data == 8 * 3.0 * w.data + 150_000
    """,
}


@posix
@pytest.mark.slow
@pytest.mark.parametrize("work", LOOKED_AT.values(), ids=LOOKED_AT)
def test_a_handler_that_makes_nodes_of_a_neuron(check, work):
    check(
        PROGRAM
        + """
again = 2e-4

def meanwhile():  # there are a few checks in each sort, some of them after the neurons were sorted
    if unseen:
        assert len(unseen.pop()._children) == 2

def attempt():
    global unseen
    unseen = [layer([x])[0] for _ in range(8)]
    out = sum(unseen)
"""
        + textwrap.indent(textwrap.dedent(work), "    ")
        + "\nrepeat_until_interrupted(attempt)\nstill_works()\n"
    )


@posix
def test_a_handler_cannot_give_nodes_other_parents(check):
    check(
        PROGRAM
        + """
def meanwhile():
    for value in (y, chain(y, 1)):
        try:
            value.__init__(1.0, (x,))
        except RuntimeError as error:
            assert "while backward() walks graphs" in str(error)
        else:
            raise AssertionError

def attempt():
    global y
    y = chain(x, 150_000)
    x.grad = 0.0
    begin()
    y.backward()
    assert x.grad == 1.0

repeat_until_interrupted(attempt)
still_works()
"""
    )


@posix
def test_an_exception_in_a_handler_in_the_sort_for_gradients(check):
    """The order, of two nodes, was freed twice."""
    check(
        PROGRAM
        + """
def meanwhile():
    raise LookupError

def attempt():
    global working
    try:
        begin()
        grad(y, [x])
        working = False  # a signal that comes late must not raise outside of this block
    except LookupError:
        pass

y = Value(1.0, (x,) * 1_000_000, "op")
y._backward = print
repeat_until_interrupted(attempt)
still_works()
"""
    )


@posix
@pytest.mark.slow
@pytest.mark.parametrize("work", ["y.backward()", "y.backward(retain_grads=False)", "grad(y, [x])", "y.zero_grad()"])
@pytest.mark.parametrize("kind", ["x", "user_op(x)"], ids=["ordered", "sorted"])
def test_an_exception_in_a_handler_at_any_time(check, kind, work):
    """From the beginning of the work to its end."""
    check(
        PROGRAM
        + f"""
def meanwhile():
    raise LookupError

y = chain({kind}, 150_000)
start = time.perf_counter()
{work}
whole = time.perf_counter() - start
raised = 0
for seconds in (1e-4, 1e-3, *[whole * k / 8 for k in range(1, 8)]):
    try:
        begin()
        {work}
        working = False  # a signal that comes late must not raise outside of this block
    except LookupError:
        raised += 1
    working = False
    signal.setitimer(signal.ITIMER_REAL, 0)
assert raised, "no signal came in time"
y.zero_grad()
x.grad = 0.0
y.backward()
assert x.grad == 1.0
assert grad(y, [x]) == [1.0]
still_works()
"""
    )

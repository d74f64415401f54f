"""MemoryError while a graph is built or walked leaves the engine usable."""

from __future__ import annotations

import sys

import pytest

from helpers import FAIL_IN_TURN, linux

LIMIT = """
import resource

def limited(megabytes, work):
    size = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + int(megabytes * 2**20), resource.RLIM_INFINITY))
    try:
        work()
    except MemoryError:
        return True
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return False
"""


@pytest.mark.slow
@linux
@pytest.mark.parametrize(
    "work",
    [
        "lambda: chain(x, 10**7)",
        "lambda: [Value(1.0) for _ in range(10**7)]",
        "lambda: [hooked(x) for _ in range(10**7)]",
        "lambda: [Value(1.0, (x, x), (1.0, 1.0)) for _ in range(10**7)]",
    ],
)
def test_out_of_memory_while_building(check, work):
    check(
        LIMIT
        + f"""
x = Value(1.0)
for megabytes in (40, 41.3, 80):
    assert limited(megabytes, {work})
    gc.collect()
    still_works()
y = chain(x, 10**5)
y.backward()
assert x.grad == 1.0
"""
    )


@pytest.mark.slow
@linux
@pytest.mark.parametrize("method", ["backward", "zero_grad"])
def test_out_of_memory_in_a_walk(check, method):
    """The general walk keeps lists: at each size they may grow to, it fails cleanly, and the next one is right."""
    check(
        LIMIT
        + f"""
x = Value(1.0)
level = [user_op(x) for _ in range(2**16)]
while len(level) > 1:
    level = [a + b for a, b in zip(level[::2], level[1::2])]
wide = level.pop()
deep = chain(user_op(x), 3 * 10**5)
for graph, grad in (wide, 2.0**16), (deep, 1.0):
    failed = 0
    for half_megabytes in range(1, 40):
        failed += limited(half_megabytes / 2, graph.{method})
    print(failed, "of 39 failed")
    graph.zero_grad()
    graph.backward()
    assert x.grad == grad, x.grad
    still_works()
"""
    )


@pytest.mark.parametrize("mode", ["micrograd.no_grad()", "detect_anomaly()"])
def test_each_allocation_in_a_mode_may_fail(isolated, mode):
    """MemoryError leaves the thread in no mode and the engine usable."""
    pytest.importorskip("_testcapi")
    isolated(
        FAIL_IN_TURN
        + f"""
import random, micrograd
import numpy as np
from micrograd import Value, nn, functional
from micrograd.utils import detect_anomaly

random.seed(1)
model = nn.MLP(2, [3, 1])
x = Value(0.5)
f = micrograd.compile(lambda a: (x * a).tanh())
f(0.5)
batch = np.array([0.5, 1.0])
f.sum(batch)

def work():
    with {mode}:
        y = (x * 0.5 + 1).tanh() ** 2
        z = functional.softmax([y, x])[0] * Value(1.0, (x,), (2.0,)) + model([x, 1.0]) + f(0.5) + f.sum(batch)
        z.backward(retain_grads=False)

print(fail_in_turn(work), "failures")
assert micrograd.is_grad_enabled()
big = Value(1e308) * 10.0
x.grad = 0.0
y = x * x
y.backward()
assert x.grad == 1.0 and y._prev == {{x}}
"""
    )


@linux
@pytest.mark.slow
@pytest.mark.skipif(sys.maxsize > 2**32, reason="only sizes of 32 bits overflow for lists that fit into memory")
@pytest.mark.parametrize(
    ("items", "work"),
    [
        ("[v] * (2**29 - 1)", "affine([items], items)"),
        ("[[v]] * 2**27", "affine(items, [1.0])"),
        ("(v,) * (3 * 2**27)", "Value(0.0, items)"),
    ],
    ids=["inputs", "outputs", "parents"],
)
def test_sizes_of_long_lists_do_not_overflow(check, items, work):
    check(
        f"""
        from micrograd._nn import affine

        v = Value(1.0)
        items = {items}
        try:
            {work}
        except MemoryError:
            pass
        else:
            raise AssertionError("memory for a list that takes half of all addresses")
        del items
        still_works()
        """
    )


@linux
def test_backward_needs_no_memory_after_the_last_late_node_has_died(check):
    """A `_backward` that is assigned later than descendants may exist makes its node late. While one lives, backward
    goes by a depth-first order, which it makes first."""
    check(
        LIMIT
        + """
x = Value(1.0)
late = [x * 2.0, x * 3.0]
for node in late:
    node._backward = print
y = chain(x, 10**6)
assert limited(2, y.backward)
late.clear()
del node
assert not limited(2, y.backward)
"""
    )

"""What tests of several files share: comparing and calling, ops by name, points to try, and processes' preamble.
Fixtures are in conftest.py, the plain Python engine in oracle.py."""

from __future__ import annotations

import importlib.util
import math
import operator
import os
import re
import struct
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

import micrograd
import oracle
from micrograd import Value, functional, nn_tanh
from micrograd._core import OPS

ROOT = Path(__file__).resolve().parent.parent

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc and limits the address space")
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals")

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))  # a CPython that can run without the GIL

# What a build under AddressSanitizer cannot pass, and why not.
_MEMORY = "the sanitizer keeps freed memory back for a while, and what it knows of each eight bytes takes another"
NOT_SANITIZED = {
    "test_a_leaf_is_64_bytes": _MEMORY,
    "test_a_node_is_64_bytes": _MEMORY,
    "test_a_notebook_runs_and_prints_what_its_text_says": "takes minutes, and computes what other tests compute",
    "test_closures_of_user_ops_are_collected": _MEMORY,
    "test_drivers_see_faults": "the sanitizer aborts where the test expects a segmentation fault",
    "test_freed_graphs_return_their_memory": _MEMORY,
    "test_memory_is_flat_over_passes": _MEMORY,
    "test_memory_is_flat_over_training_steps": _MEMORY,
    "test_memory_stays_flat": _MEMORY,
    "test_nodes_are_freed_with_their_lines": _MEMORY,
    "test_sizes_do_not_overflow": "the sanitizer reserves more addresses than the test allows",
    "test_threads_free_their_memory_where_a_sample_raises": _MEMORY,
    "test_nothing_leaks": "the interpreter's caches grow by more than the bound with PYTHONMALLOC=malloc",
}

# What Pyodide cannot pass, and why not; conftest.py skips the tests that fail there for want of processes and threads.
NOT_IN_PYODIDE = {
    "test_deep_nesting": "it crashes as it frees a list that is nested 20,000 deep",
    "test_leaving_without_entering_raises": "without its thread it would leave no_grad on",
}

# What a free-threaded CPython 3.13 cannot pass.
_LIST = "where memory runs out in PyList_New, CPython 3.13t frees the items of a former list a second time"
NOT_ON_313T = {
    "test_a_fork_while_threads_compute": "a dict that another thread reads at a fork stays locked in the child",
    "test_a_network_that_memory_ran_out_for_gives_up_its_weights": _LIST,
    "test_closures_of_user_ops_are_collected": "the memory its allocator keeps goes up and down by megabytes",
    "test_each_allocation_in_a_mode_may_fail": _LIST,
    "test_each_allocation_may_fail": _LIST,
    "test_out_of_memory_anywhere_is_a_memory_error": _LIST,
    "test_out_of_memory_while_a_trace_is_unpickled": _LIST,
    "test_out_of_memory_while_arrays_grow": _LIST,
}

# What coverage.py's tracer, which allocates at each call, keeps from passing.
NOT_TRACED = {"test_each_allocation_in_a_mode_may_fail": "the call of `__exit__` may raise before its body runs"}


# ---- Files and processes ---------------------------------------------------------------------------------------------


def load(path: str | Path, name: str) -> ModuleType:
    """A new module of a file that is not in a package."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def path_of_tests() -> dict[str, str]:
    """The environment of a process that imports modules of this folder."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT / "tests"), os.environ.get("PYTHONPATH")]))}


# ---- Calling and comparing -------------------------------------------------------------------------------------------


def bits(x):
    """The eight bytes of a float; every NaN is equal."""
    return "nan" if math.isnan(x) else struct.pack("d", x)


def agrees(ours, theirs, exact):
    """Is a compiled result eager code's: to the bit, or in the default mode within a few units in the last place?"""
    return bits(ours) == bits(theirs) or (not exact and math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-14))


def outcome(function, *args):
    """The result and None, or None and the type of the exception."""
    try:
        return function(*args), None
    except (ArithmeticError, ValueError) as error:
        return None, type(error)


def complaint(function, *args):
    """What Python itself says of it, as a regular expression: its texts differ between versions."""
    try:
        function(*args)
    except Exception as error:
        return f"{re.escape(str(error))}$"
    raise AssertionError(f"{function} raises nothing at {args}")


def traced_graph(root):
    """Nodes and edges, as `trace_graph.ipynb` of karpathy/micrograd collects them."""
    nodes, edges = set(), set()

    def build(v):
        if v not in nodes:
            nodes.add(v)
            for child in v._prev:
                edges.add((child, v))
                build(child)

    build(root)
    return nodes, edges


def values(x):
    """Nested lists of numbers as nested lists of Values."""
    return [values(item) for item in x] if isinstance(x, list) else Value(x)


def grads_of(leaves, value):
    """The gradients of a value, whose graph may have been through other passes."""
    for leaf in leaves:
        leaf.grad = 0.0
    value.zero_grad()
    value.backward()
    return [leaf.grad for leaf in leaves]


def graph_of(value):
    """The graph as nested tuples, as `_children` shows it."""
    return (value.data, value.grad, value._op, tuple(map(graph_of, value._children)))


def in_order(value, parents):
    """The Values behind one, itself included, parents first; `parents` is the attribute that has them."""
    done, order = set(), []

    def visit(v):
        if v not in done:
            done.add(v)
            for parent in getattr(v, parents):
                visit(parent)
            order.append(v)

    visit(value)
    return order


def numbers_of(graph):
    """What graph_of() gives, as a flat list of numbers: data, grad and the length of the op's name of each node."""
    data, grad, op, children = graph
    return [data, grad, len(op), *(x for child in children for x in numbers_of(child))]


# ---- Ops, functions, modules -----------------------------------------------------------------------------------------

UNARY = sorted(name for name, (_, arity) in OPS.items() if arity == 1)
BINARY = sorted(name for name, (_, arity) in OPS.items() if arity == 2)
OPERATORS = [name for name in BINARY if name.startswith("__")]  # a number has no other ops
NARROW = {"acos", "asin"}  # ops of numbers from -1 to 1
SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, -5e-324, 2.2e-308, -2.2e-308, 1e-308, 1e308, -1e308]
SPECIAL += [1.0, -1.0, 0.5, 2.0, -3.0, 709.0, 710.0, -745.0, -746.0, 1e-200, 1e200, 1e16]


def op(name):
    """The op as a function of Values, of any engine: v + w or v.tanh()."""
    return getattr(operator, name) if name.startswith("__") else lambda v, *others: getattr(v, name)(*others)


def partials(name, *args):
    """The oracle's local gradients of an op."""
    return [term(1.0) for term in op(name)(*map(oracle.Value, args)).terms]


# One result of each of `functional`'s functions of a list.
OF_A_LIST = {
    "sum": functional.sum,
    "mean": functional.mean,
    "logsumexp": functional.logsumexp,
    "dot": lambda xs: functional.dot(xs, xs[::-1], bias=xs[0]),
    "softmax": lambda xs: functional.softmax(xs)[0],
    "log_softmax": lambda xs: functional.log_softmax(xs)[-1],
    "mse_loss": lambda xs: functional.mse_loss(xs, xs[::-1]),
    "hinge_loss": lambda xs: functional.hinge_loss(xs, [1.0] * len(xs)),
    "cross_entropy": lambda xs: functional.cross_entropy(xs, len(xs) - 1),
    "linear": lambda xs: functional.linear(xs, [xs, xs[::-1]])[1],
    "relu": lambda xs: functional.relu(xs)[-1],
    "tanh": lambda xs: functional.tanh(xs)[0],
    "gelu": lambda xs: functional.gelu(xs, approximate="tanh")[0],
    "silu": lambda xs: functional.silu(xs)[-1],
    "leaky_relu": lambda xs: functional.leaky_relu(xs, xs[0])[-1],
    "elu": lambda xs: functional.elu(xs, alpha=1.5)[0],
    "selu": lambda xs: functional.selu(xs)[0],
    "atan2": lambda xs: functional.atan2(xs, xs[::-1])[0],
    "rms_norm": lambda xs: functional.rms_norm(xs, xs[::-1])[-1],
    "layer_norm": lambda xs: functional.layer_norm(xs, xs[::-1], xs)[0],
    "scaled_dot_product_attention": lambda xs: functional.scaled_dot_product_attention(
        xs, [xs, [2.0] * len(xs)], [[xs[0]], [1.0]]
    )[0],
    "embedding": lambda xs: functional.embedding(1, [xs, xs[::-1]])[0],
    "take": lambda xs: functional.take(xs, len(xs) - 1),
}


def weights_for(n):
    return [0.3 * (i + 1) * (-1) ** i for i in range(n)]


def combine(values):
    """One number out of a list, so that every output has a gradient of its own."""
    return functional.dot(values, weights_for(len(values)))


class Label:
    """What is an integer to `operator.index`, and might be taken for a list."""

    ndim = 0

    def __index__(self):
        return 1

    def __repr__(self):
        return "Label()"

    def __iter__(self):
        raise TypeError("iteration over a 0-d array")


def lecture_tanh(self):
    """An op as the lecture writes it, in Python."""
    x = self.data
    t = (math.exp(2 * x) - 1) / (math.exp(2 * x) + 1)
    out = Value(t, (self,), "tanh")

    def _backward():
        self.grad += (1 - t**2) * out.grad

    out._backward = _backward
    return out


class Slotted(nn_tanh.Layer):
    __slots__ = ("extra",)


# ---- Optimizers: a problem with valleys ------------------------------------------------------------------------------

START = [-0.7, 0.9, 1.4, -1.1, 0.2]
CLOSE = {"rel": 1e-12, "abs": 1e-14}


def each(cases):
    """Parametrize by (optimizer, options)."""
    names = [f"{kind.__name__} {' '.join(f'{k}={v}' for k, v in options.items() if v)}" for kind, options in cases]
    return pytest.mark.parametrize(("kind", "options"), cases, ids=map(str.strip, names))


def objective(x, sin):
    """The chained Rosenbrock function with ripples."""
    total = 0.0
    for a, b in zip(x, x[1:]):
        total = total + 0.5 * (b - a * a) * (b - a * a) + 0.25 * (1 - a) * (1 - a) + 0.3 * sin(3 * a)
    return total


def descend(optimizer, params, steps, sign=1.0):
    """Steps on the objective by this engine; gives the trajectory."""
    path = []
    for _ in range(steps):
        optimizer.zero_grad()
        (sign * objective(params, Value.sin)).backward()
        optimizer.step()
        path.append([p.data for p in params])
    return path


def set_grads(params, grads) -> None:
    for p, g in zip(params, grads):
        p.grad = g


# ---- no_grad ---------------------------------------------------------------------------------------------------------


def assert_leaf(out):
    assert type(out) is Value
    assert (out._prev, out._children, out._op, out._local_grads, out.grad) == (set(), (), "", (), 0.0)


def assert_on():
    """Ops of this thread make graphs."""
    x = Value(2.0)
    y = x * x
    y.backward()
    assert (micrograd.is_grad_enabled(), y._prev, x.grad) == (True, {x}, 4.0)


def doubled(x, kind=Value):
    out = kind(2 * x.data, (x,), "doubled")

    def step():
        x.grad += 2 * out.grad

    out._backward = step
    return out


# ---- Processes -------------------------------------------------------------------------------------------------------

# What the fixture `check` puts before the source it runs.
PREAMBLE = """
import gc, os, signal, sys, threading, time, weakref
from itertools import repeat
from micrograd import Value

def rss():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def chain(x, count):
    for _ in repeat(None, count):
        x += 1.0
    return x

def user_op(x, keep=None):
    out = Value(x.data, (x,), "op")
    def step(keep=keep):
        x.grad += out.grad
    out._backward = step
    return out

# For when memory runs out: CPython 3.12.1 crashes if that happens as it makes a function, so none is made here.
def hooked(x):
    out = Value(x.data, (x,), "op")
    out._backward = print
    return out

# `where` is "main thread" or "128 KB thread".
def run_in(where, work):
    if where == "main thread":
        work()
    else:
        threading.stack_size(131072)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

class Sentinel:
    pass

def still_works():
    a, b = Value(2.0), Value(-3.0)
    c = (a * b + a**2).tanh() / b
    c.zero_grad()
    c.backward()
    t = -0.9640275800758169
    assert abs(c.data - t / -3) < 1e-15, c.data
    assert abs(a.grad - (1 - t * t) * (-3 + 4) / -3) < 1e-14, a.grad
    assert abs(b.grad - ((1 - t * t) * 2 / -3 - t / 9)) < 1e-14, b.grad
"""

# Lets each allocation of `work` fail in turn, and counts the failures. CPython up to 3.10 allocates the cache of a code
# object at its 1,024th run, and raises SystemError if that fails: here caches are filled beforehand.
FAIL_IN_TURN = """
import sys, _testcapi

def fail_in_turn(work):
    for _ in range(1100 if sys.version_info < (3, 11) else 1):
        work()
    failures = done = start = 0
    while done <= 30:
        _testcapi.set_nomemory(start, start + 1)
        try:
            work()
            done += 1
        except MemoryError:
            failures += 1
            done = 0
        finally:
            _testcapi.remove_mem_hooks()
        start += 1
    return failures
"""

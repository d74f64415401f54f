"""Traces of many ops: equal instructions are found, memory an op is bounded, signals and MemoryError leave nothing."""

from __future__ import annotations

import gc
import math
import struct
import sys
import time
import tracemalloc

import pytest

import micrograd
from helpers import FAIL_IN_TURN, posix
from micrograd import Value, functional
from micrograd._compile import Lowered, Trace, call_traced, placeholder


def traced(function, arguments=1):
    """The trace of a function of so many numbers."""
    placeholders, outputs = [placeholder() for _ in range(arguments)], []
    call_traced(function, tuple(placeholders), {}, outputs)
    return Trace(outputs, placeholders)


def keys(trace):
    """The instructions, numbers as their bits."""

    def key(op, operands):
        return op, tuple([struct.pack("d", x) if type(x) is float else x for x in operands])

    return [key(*instruction) for instruction in trace.instructions]


def chain(x, w, ops):
    """A value of so many ops, no two of which are the same."""
    for i in range(ops // 2):
        x = (x * w).tanh() if i % 2 else (x + w).exp()
    return x


# ---- Equal instructions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("different", [1, 40, 700, 30_000])
def test_equal_ops_are_one_instruction(different):
    """30,000 ops, so many of them different, in an order in which the equal ones stand far apart."""
    count, leaves = 30_000, [Value(float(i)) for i in range(different)]
    trace = traced(lambda x: [x * leaves[i * 7919 % different] for i in range(count)])
    assert trace.read == count
    assert trace.shared == count - different
    assert len(trace.captured) == different
    assert len(keys(trace)) == len(set(keys(trace))) == 1 + 2 * different
    assert len(set(trace.outputs)) == different
    instructions = trace.instructions
    for i in range(0, count, 97):
        _, (_, leaf) = instructions[trace.outputs[i]]
        assert trace.captured[instructions[leaf][1][0]] is leaves[i * 7919 % different]


def test_numbers_of_equal_bits_are_one_instruction():
    numbers = [0.0, -0.0, math.nan, -math.nan, math.inf, 5e-324, *map(float, range(1, 20_000)), 1.5, 1.5 + 2**-52]
    trace = traced(lambda x: [x * number for number in numbers * 3])
    assert trace.shared == 2 * len(numbers)
    assert len(keys(trace)) == len(set(keys(trace))) == 1 + 2 * len(numbers)
    instructions = trace.instructions
    for number, output in zip(numbers * 3, trace.outputs):
        (read,) = instructions[instructions[output][1][1]][1]
        assert struct.pack("d", read) == struct.pack("d", number)


def test_operands_in_another_order_are_another_instruction():
    w = [Value(float(i)) for i in range(50)]
    trace = traced(lambda x: [functional.sum([a, b, x]) for a in w for b in w] + [functional.sum([x]), x - x, x + x])
    assert trace.shared == 0
    assert len(set(keys(trace))) == 1 + 50 + 50 * 50 + 3


def test_more_numbers_than_nodes():
    """The inputs of a layer are numbers without nodes."""
    w, numbers = [Value(1.0) for _ in range(3000)], [i / 7 for i in range(3000)]
    trace = traced(lambda x: functional.dot(w, numbers, x))
    instructions = trace.instructions
    assert len(instructions) == 1 + 3000 + 3000 + 1
    (operands,) = [operands for _, operands in instructions if len(operands) > 1]
    assert [instructions[i][1][0] for i in operands[2::2]] == numbers
    assert [instructions[i][1][0] for i in operands[1::2]] == list(range(3000))


# ---- Time and memory -------------------------------------------------------------------------------------------------


def test_a_trace_takes_24_bytes_an_op():
    """Of two operands; no Python object is made for an op."""
    ops = 40_000
    x, w, outputs = placeholder(), Value(0.5), []
    call_traced(lambda x: chain(x, w, ops), (x,), {}, outputs)
    traces = [None]
    gc.collect()
    tracemalloc.start()
    try:
        before, blocks = tracemalloc.get_traced_memory()[0], sys.getallocatedblocks()
        traces[0] = Trace(outputs, [x])
        after, blocks_after = tracemalloc.get_traced_memory()[0], sys.getallocatedblocks()
    finally:
        tracemalloc.stop()
    assert traces[0].read == ops
    assert after - before < 24 * ops + 10_000
    assert blocks_after - blocks < 200


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w, n: chain(x, w, n),
        lambda x, w, n: sum((w * (x + float(i)) for i in range(n)), x),
        lambda x, w, n: functional.sum([x * float(i) for i in range(n)]),
        lambda x, w, n: functional.dot([w] * n, [x] * n),
    ],
)
def test_time_is_linear_in_ops(function):
    """300,000 ops take about 0.1 s; where each goes through those before it, 30 s and more."""
    w, x, outputs = Value(0.5), placeholder(), []
    call_traced(lambda x: function(x, w, 300_000), (x,), {}, outputs)
    start = time.process_time()
    Lowered(Trace(outputs, [x]))
    assert time.process_time() - start < 5.0


# ---- Signals and MemoryError -----------------------------------------------------------------------------------------


@posix
def test_a_signal_interrupts_a_trace(isolated):
    """A handler that raises, at one time after another, stops the trace or the lowering; the next call works."""
    isolated(
        """
        import gc, signal, time, traceback
        import micrograd
        from micrograd import Value
        from micrograd._compile import Lowered, Trace, call_traced, placeholder

        class Stopped(Exception):
            pass

        def stop(*args):
            if armed:
                raise Stopped

        def build(x):
            for i in range(150_000):
                x = (x * w).tanh() + w
            return x

        def work():
            global armed
            try:
                armed = True
                Lowered(Trace(outputs, [x]))
                armed = False
            except Stopped as stopped:
                armed = False
                return {frame.name for frame in traceback.extract_tb(stopped.__traceback__)}
            return set()

        armed = False
        signal.signal(signal.SIGALRM, stop)
        w, x, outputs = Value(0.5), placeholder(), []
        call_traced(build, (x,), {}, outputs)
        expected = Trace(outputs, [x]).instructions
        start = time.perf_counter()
        work()
        whole = time.perf_counter() - start
        found = set()
        for _ in range(20):
            for k in range(1, 60):  # up to three times as long: other processes may need the processor
                signal.setitimer(signal.ITIMER_REAL, whole * k / 20)
                found |= work()
                signal.setitimer(signal.ITIMER_REAL, 0)
            names = {name.rpartition(".")[2] for name in found if name.startswith("micrograd")}
            lowering = {"count_uses", "find_invariant", "find_sums", "lower"} & names
            if lowering and "read_private_leaves" in names:
                break
        else:
            raise AssertionError(names)
        assert Trace(outputs, [x]).instructions == expected
        f = micrograd.compile(lambda x: x * w)
        assert f(3.0).data == 1.5
        """.replace("\n        ", "\n")
    )


@posix
def test_a_call_that_was_interrupted_can_be_made_again(isolated):
    isolated(
        """
        import signal
        import micrograd
        from micrograd import Value

        class Stopped(Exception):
            pass

        def stop(*args):
            raise Stopped

        def build(x):
            for i in range(20_000):
                x = (x * w).tanh() + w
            return x

        signal.signal(signal.SIGALRM, stop)
        w, stopped = Value(0.5), 0
        expected = micrograd.compile(build)(1.0).data
        for k in range(1, 30):
            f = micrograd.compile(build)
            try:
                signal.setitimer(signal.ITIMER_REAL, k / 2000)
                f(1.0)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Stopped:
                stopped += 1
                assert f.captured == ([w] if f._programs else [])  # a program that is traced may be planned later
            assert f(1.0).data == expected and f.captured == [w] and f.retraces == 0
        assert stopped
        """.replace("\n        ", "\n")
    )


def test_out_of_memory_while_arrays_grow(isolated):
    pytest.importorskip("_testcapi")
    """Let each allocation of a trace and of its lowering fail in turn."""
    isolated(
        FAIL_IN_TURN
        + """
from micrograd import Value, functional
from micrograd._compile import Lowered, Trace, call_traced, placeholder

def build(x):
    total = x
    for i, w in enumerate(leaves):
        total = total + (x + float(i)) * w
    return [functional.dot(leaves, numbers, total), functional.sum([total] * 500), Value(2.0) * 3.0 + x]

leaves, numbers = [Value(float(i)) for i in range(400)], [i / 7 for i in range(400)]
x, outputs = placeholder(), []
call_traced(build, (x,), {}, outputs)
placeholders = [x]
trace = Trace(outputs, placeholders)
failures = fail_in_turn(lambda: Trace(outputs, placeholders))
assert 15 < failures < 1000, failures  # a thousand: an object for each op
again = Trace(outputs, placeholders)
assert again.instructions == trace.instructions and again.captured == trace.captured
failures = fail_in_turn(lambda: Lowered(again))
assert 8 < failures < 100, failures
"""
    )


def test_out_of_memory_while_a_trace_is_unpickled(isolated):
    pytest.importorskip("_testcapi")
    isolated(
        FAIL_IN_TURN
        + """
import micrograd
f = micrograd.compile(lambda x: sum([x * float(i) for i in range(50)]).tanh())
f(0.5)
(traced,) = f._programs.values()
trace = traced.program.trace
load, state = trace.__reduce__()
failures = fail_in_turn(lambda: load(*state))
assert failures > 100, failures
loaded = load(*state)
assert loaded.instructions == trace.instructions and loaded.outputs == trace.outputs
"""
    )


def test_a_compiled_sum_of_many_terms_is_right():
    w = [Value(i / 64) for i in range(5000)]
    f = micrograd.compile(lambda x: sum([v * x for v in w], x * x))
    y = f(0.5)
    y.backward()
    assert y.data == sum(v.data * 0.5 for v in w) + 0.25
    assert all(v.grad == 0.5 for v in w)

"""Compiled functions in many threads, in forked processes and under signals."""

from __future__ import annotations

import copy
import os
import threading

import numpy as np
import pytest

import micrograd
from helpers import posix
from micrograd import TraceError, Value, nn, optim


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 5000, 100_000])
def test_results_do_not_depend_on_the_number_of_threads(samples, exact):
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(samples, 2)), draw.normal(size=samples)
    model, scale, shift = nn.MLP(2, [4, 1]), Value(0.5), Value(-0.25)
    results = []
    for threads in (1, 2, 5):
        f = micrograd.compile(
            lambda x, y: ((model(x) - y) * scale.exp() / shift.cos() + y * shift.tanh()).tanh(),
            threads=threads,
            exact=exact,
        )
        total, grads = f.value_and_grad(X, y)
        results.append((total, grads.tolist(), f.map(X, y).tolist()))
    assert results[0] == results[1] == results[2]


def test_many_threads_may_call_one_function():
    w = Value(2.0)
    f = micrograd.compile(lambda x: (w * x).tanh())
    x = np.linspace(-1, 1, 3000)
    expected = f.value_and_grad(x)
    found = []
    threads = [threading.Thread(target=lambda: found.append(f.value_and_grad(x))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


def test_a_trace_may_read_its_own_leaves_while_another_thread_traces():
    begun, both, done, found = threading.Event(), threading.Event(), threading.Event(), []

    def older(x):
        begun.set()
        assert both.wait(60)
        try:
            found.append((Value(2.0) * 3.0).data)
        finally:
            done.set()
        return x * found[0]

    def newer(x):
        both.set()
        assert done.wait(60)
        return x * (Value(4.0) + 1.0).data

    thread = threading.Thread(target=lambda: found.append(micrograd.compile(older)(2.0).data))
    thread.start()
    try:
        assert begun.wait(60)
        assert micrograd.compile(newer)(2.0).data == 10.0
    finally:
        both.set()
        thread.join()
    assert found == [6.0, 12.0]


def test_a_trace_does_not_affect_other_threads():
    """Another thread calls compiled functions and reads Values meanwhile."""
    w = Value(2.0)
    inside, done = threading.Event(), threading.Event()

    def slow(x):
        inside.set()
        assert done.wait(60)
        return x * w

    g = micrograd.compile(lambda x: w * x + 1)
    tracing = threading.Thread(target=lambda: found.append(micrograd.compile(slow)(3.0).data))
    found = []
    tracing.start()
    try:
        assert inside.wait(60)
        result = g(5.0)
        assert (type(result), result.data) == (Value, 11.0)
        assert g.sum([1.0, 2.0]).data == 8.0
        assert g.retraces == 0
        result.backward()
        assert (w.data, w.grad, repr(w), w == w, bool(w)) == (2.0, 5.0, "Value(data=2.0, grad=5.0)", True, True)
        w.data, w.grad = 4.0, 0.0
        assert copy.copy(w).data == 4.0
        optim.SGD([w], lr=1.0).step()
        made = Value(1.0)
    finally:
        done.set()
        tracing.join()
    assert found == [12.0]
    with pytest.raises(TraceError, match="comes from outside"):
        micrograd.compile(lambda x: x if made.data else -x)(1.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_process_forked_in_a_trace_is_not_in_one(isolated):
    isolated(
        """
        import os, threading
        import micrograd
        from micrograd import Value

        w = Value(2.0)
        g = micrograd.compile(lambda x: w * x)

        def child():
            assert g(3.0).data == 6.0 and type(g(3.0)) is Value
            assert micrograd.compile(lambda x: x * x + w).map([2.0]).tolist() == [6.0]
            assert w.data == 2.0 and w and w == w
            try:
                micrograd.compile(lambda x: x if w.data else -x)(1.0)
            except micrograd.TraceError:
                os._exit(0)

        def fork():
            pid = os.fork()
            if pid == 0:
                try:
                    child()
                finally:
                    os._exit(1)
            assert os.waitpid(pid, 0)[1] == 0

        inside, done = threading.Event(), threading.Event()

        def slow(x):
            inside.set()
            assert done.wait(60)
            return x

        thread = threading.Thread(target=lambda: micrograd.compile(slow)(1.0))
        thread.start()
        assert inside.wait(60)
        fork()
        done.set()
        thread.join()
    """.replace("\n        ", "\n")
    )


def test_many_threads_may_trace_at_once():
    w = Value(2.0)
    found = []

    def work(k):
        f = micrograd.compile(lambda x: w * x + Value(float(k)))
        g = micrograd.compile(lambda x: x if w.data else -x)
        for n in range(1, 30):
            found.append(f(float(n)).data == 2.0 * n + k)
            with pytest.raises(TraceError):
                g(1.0)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4 * 29


@posix
def test_a_signal_interrupts_a_batch(isolated):
    """Ctrl-C raises KeyboardInterrupt within two seconds, and the function can be called again."""
    isolated(
        """
        import os, signal, threading, time
        import numpy as np
        import micrograd
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

        def long(x):
            for _ in range(20):
                x = x.tanh().sin().exp()
            return x

        f = micrograd.compile(long, threads=2)
        x = np.ones(20_000_000)  # a part of a thread's is longer than from one check for signals to the next
        f.map(x[:10])
        spent = []
        while len(spent) < 3 or min(spent) > 2.0 and len(spent) < 8:
            start = time.perf_counter()
            try:
                threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
                f.map(x)
            except KeyboardInterrupt:
                spent.append(time.perf_counter() - start)
            else:
                raise SystemExit("not interrupted")
            assert f.map(x[:10]).shape == (10,)
        assert min(spent) < 2.0, spent
    """.replace("\n        ", "\n")
    )


def test_as_many_threads_as_the_system_allows(monkeypatch):
    import _thread

    def limited(*arguments):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(True)
        return start(*arguments)

    f = micrograd.compile(lambda x: x.tanh().sin().exp().tanh().sin(), threads=4)
    x = np.linspace(0, 1, 400_000)
    expected = f.map(x)
    start, started = _thread.start_new_thread, []
    monkeypatch.setattr(_thread, "start_new_thread", limited)
    assert (f.map(x) == expected).all()
    assert started


@posix
def test_a_signal_interrupts_the_reading_of_a_ragged_batch(check):
    check(
        """
        import micrograd

        def handle(signum, frame):
            raise LookupError

        signal.signal(signal.SIGALRM, handle)
        f = micrograd.compile(lambda x: x[0])
        samples = [[1.0], [1.0, 2.0]] * 300_000
        f.map(samples[:2])  # imports NumPy
        for seconds in (0.001, 0.005, 0.01):
            try:
                signal.setitimer(signal.ITIMER_REAL, seconds)
                f.map(samples)
            except LookupError:
                pass
            else:
                raise AssertionError
        assert f.map(samples[:2]) == [1.0, 1.0]
        """
    )

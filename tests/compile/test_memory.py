"""Compiled functions do not leak, and MemoryError anywhere in one leaves it as it was."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import micrograd
from helpers import FAIL_IN_TURN, linux
from micrograd import Value, nn


def test_nothing_leaks():
    import tracemalloc

    model = nn.MLP(2, [4, 1])
    x, y = np.ones((300, 2)), np.ones(300)
    many = np.ones(200_000)  # enough to be worth a second thread

    def turn():
        f = micrograd.compile(lambda x, y: (model(x) - y) ** 2, threads=2)
        f.sum(x, y).backward()
        f.map(x, y)
        micrograd.compile(lambda x: (x * 0.5).exp() * x, threads=2).map(many)
        sums = micrograd.compile(sum, threads=2)
        sums.mean([[1.0], [1.0, 2.0], [3.0]])
        with pytest.raises(TypeError):
            sums.map([[1.0], [2.0, "a"]])
        f([1.0, 2.0], Value(3.0)).backward()
        pickle.loads(pickle.dumps(f)).value_and_grad(x, y)
        with pytest.raises(OverflowError):
            micrograd.compile(lambda x: x.exp()).map(x[:, 0] * 1e6)

    def growth():
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(50):
            turn()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before

    tracemalloc.start()
    try:
        grown = [growth() for _ in range(6)]
    finally:
        tracemalloc.stop()
    # Half a kilobyte a turn would be 25,000 in each. CPython's cache of attributes keeps up to 4,096 names, ever fewer
    # new ones a turn.
    assert min(grown) < 20_000, grown


@linux
def test_threads_free_their_memory_where_a_sample_raises(check):
    """Half a megabyte for each thread."""
    check(
        """
        import numpy as np
        import micrograd
        f = micrograd.compile(lambda x: (x[0] - 1.0).sqrt() + sum((a * x[0]).tanh() * a for a in x), threads=3)
        x = np.zeros((20_000, 250))
        def turn():
            try:
                f.map(x)
            except ValueError:
                return
            raise AssertionError
        for _ in range(5):
            turn()
        before = rss()
        for _ in range(60):
            turn()
        assert rss() - before < 8e6, rss() - before
        """
    )


def test_out_of_memory_anywhere_is_a_memory_error(isolated):
    pytest.importorskip("_testcapi")
    """Let each allocation of tracing, lowering and replaying fail in turn; the next call works."""
    isolated(
        FAIL_IN_TURN
        + """
import numpy as np
import micrograd
from micrograd import nn
model = nn.MLP(2, [3, 1])
x, y = np.ones((20, 2)), np.ones(20)

def loss(x, y):  # made once: to make a function while memory runs out crashes CPython 3.12 and 3.13
    return (model(x) - y) ** 2 + (x[0] * 2).exp()

def whole():
    f, sums = micrograd.compile(loss), micrograd.compile(sum)
    f.sum(x, y).backward()
    sums.mean([[1.0], [1.0, 2.0], [3.0]])
    return f([1.0, 2.0], 3.0).data

expected = whole()
failures = fail_in_turn(whole)
assert failures > 100, failures
assert whole() == expected
"""
    )


@pytest.mark.slow
def test_memory_that_was_not_written_is_not_read():
    """Often it is 0. Python's debug allocator fills it with what is a large number."""
    programs = Path(__file__).with_name("test_gradients.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", programs, "-k", "test_random_programs[1"],
        env={**os.environ, "PYTHONMALLOC": "debug"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout

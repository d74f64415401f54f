"""Errors in a batch: which sample is named, and what is not an error."""

from __future__ import annotations

import math

import numpy as np
import pytest

import micrograd
from helpers import agrees, complaint
from micrograd import Value, functional


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("samples", [1, 20, 1000, 100_000])
def test_the_first_sample_to_raise_is_named(threads, samples, exact):
    w = Value(1.0)
    f = micrograd.compile(lambda x: (w * x).exp().log() + (x + 1).sqrt(), threads=threads, exact=exact)
    x = np.zeros(samples)
    for sample in {0, samples // 2, samples - 1}:
        x[:] = 0.0
        x[sample:] = 710.0
        with pytest.raises(OverflowError, match=f"^sample {sample}: {complaint(math.exp, 710.0)}"):
            f.sum(x)
        x[sample] = -2.0  # a later op, of an earlier sample than the overflows
        with pytest.raises(ValueError, match=f"^sample {sample}: "):
            f.map(x)
    assert f.sum(np.zeros(samples)).data == float(samples)


@pytest.mark.parametrize("samples", [7, 8, 64, 200, 512])
def test_any_lane_of_a_block_may_raise_in_a_program_in_another_order(samples, exact):
    """Logarithms are computed together, and then again sample by sample. 200 samples are one block."""
    w = Value(1.0)
    f = micrograd.compile(lambda x: (x[0] * w).log() + (x[1] * w).log(), exact=exact)
    for sample in (0, 1, samples // 2, samples - 2, samples - 1):
        x = np.ones((samples, 2))
        x[sample:, 1] = -1.0
        for call in (f.sum, f.map, f.value_and_grad):
            with pytest.raises(ValueError, match=f"^sample {sample}: "):
                call(x)


@pytest.mark.parametrize("samples", [1, 9, 300])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_of_several_results_may_raise(count, samples, exact):
    """Exponentials of a sample, which are computed together."""
    f = micrograd.compile(lambda x: functional.sum([a.exp() for a in x]), exact=exact)
    for sample in {0, samples // 2, samples - 1}:
        for place in range(count):
            x = np.zeros((samples, count))
            x[sample, place] = 710.0
            for call in (f.sum, f.map, f.value_and_grad):
                with pytest.raises(OverflowError, match=f"^sample {sample}: "):
                    call(x)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_missing_derivative_raises_in_backward(threads, exact):
    w = Value(1.0)
    f = micrograd.compile(lambda x: (w * x) ** 0.5, threads=threads, exact=exact)
    x = np.ones(100_000)  # enough to be worth a second thread
    x[2000:] = 0.0
    total = f.sum(x)
    assert total.data == 2000.0
    for above in (total, total * 2):
        with pytest.raises(ZeroDivisionError, match=r"^sample 2000: "):
            above.backward()
    with pytest.raises(ZeroDivisionError, match=r"^sample 2000: "):
        f.value_and_grad(x)
    one = f(0.0)
    assert one.data == 0.0
    with pytest.raises(ZeroDivisionError):
        one.backward()
    x[2500] = -1.0  # the forward pass of all samples comes before the backward pass
    with pytest.raises(ValueError, match=r"^sample 2500: "):
        f.sum(x)
    x[:] = 1.0
    for sample in (0, 50_000, 99_999):
        x[sample] = 0.0
        assert f.sum(x).data == 99_999.0  # of all chunks, those after the error too
        x[sample] = 1.0


def test_a_sum_without_a_derivative_has_the_data_of_all_blocks(exact):
    """So many numbers a sample that some hundred samples are several blocks."""
    w, v = Value(1.0), Value(1.0)
    f = micrograd.compile(lambda x: functional.sum([a * a for a in x]) * v + (w * x[0]).sqrt(), exact=exact)
    x = np.ones((256, 300))
    for sample in (0, 130, 255):
        x[sample, 0] = 0.0
        total = f.sum(x)
        assert total.data == 256 * 301.0 - 2.0
        assert total._children == tuple(f.captured) == (v, w)
        with pytest.raises(ZeroDivisionError, match=f"^sample {sample}: "):
            total.backward()
        x[sample, 0] = 1.0


def test_errors_of_the_prologue_name_no_sample(exact):
    w = Value(0.0)
    f = micrograd.compile(lambda x: x * w.sqrt(), exact=exact)
    total = f.sum([1.0, 2.0])  # its derivative is infinite in the first call too
    assert total.data == 0.0
    with pytest.raises(ZeroDivisionError):
        total.backward()
    w.data = 4.0
    assert f.sum([1.0, 2.0]).data == 6.0
    w.data = -1.0
    with pytest.raises(ValueError, match=complaint(math.sqrt, -1.0)):
        f.sum([1.0, 2.0])
    w.data = 0.0
    total = f.sum([1.0, 2.0])
    assert total.data == 0.0
    with pytest.raises(ZeroDivisionError):
        total.backward()


def test_nan_and_infinity_are_no_errors(exact):
    w = Value(math.inf)
    f = micrograd.compile(lambda x: (w * x).tanh() + x.exp(), exact=exact)
    expected = [math.nan, 1.0 + math.e, -1.0, math.nan]
    assert all(agrees(ours, x, exact) for ours, x in zip(f.map([0.0, 1.0, -math.inf, math.nan]), expected))
    assert math.isnan(f.sum([0.0, 1.0]).data)


def caught(side):
    def before(x):
        with pytest.raises(KeyError):
            functional.where(x > 0.0, side, 0.0)
        return x

    return before


def test_the_first_error_of_the_prologue_is_raised(exact):
    """exp() of a leaf is computed before a logarithm that the function takes earlier, but of other results."""
    w, z = Value(-3.0), Value(1000.0)
    f = micrograd.compile(lambda x: x * ((w + 1.0) * 2.0).log() + z.exp() * x, exact=exact)
    for call in (lambda: f(1.0), lambda: f.sum([1.0, 2.0])):
        with pytest.raises(ValueError, match=complaint(math.log, -4.0)):
            call()
    w.data = 1.0
    with pytest.raises(OverflowError, match=complaint(math.exp, 1000.0)):
        f(1.0)


@pytest.mark.parametrize(
    "before",
    [
        lambda x: functional.where(x > 0.0, lambda: x.sqrt(), lambda: -x),
        caught(lambda: {}["key"]),
        lambda x: micrograd.grad(x * x, x),
        lambda x: micrograd.grad(functional.where(x > 0.0, lambda: x * x, 0.0), [x], allow_unused=True),
    ],
    ids=["a choice", "a side that raises", "a gradient", "the gradient of a choice"],
)
def test_what_is_computed_of_numbers_raises_while_it_is_traced(before):
    """On a side of a choice it would not, as the side may not be taken."""

    def f(x):
        y = before(x)
        Value(0.0).log()
        return y

    with pytest.raises(ValueError, match=complaint(math.log, 0.0)):
        micrograd.compile(f)(1.0)

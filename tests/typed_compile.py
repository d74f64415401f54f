"""`micrograd.compile` for the type checkers, which see Any in decorators and arrays; else as typed_program.py."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import micrograd
from micrograd import Value


def compiled() -> None:
    w = Value(0.5)

    @micrograd.compile
    def loss(x: Value, y: Value) -> Value:
        return (w * x - y) ** 2

    @micrograd.compile(threads=2, exact=True)
    def score(x: Value) -> Value:
        return w * x

    @micrograd.compile(static_argnames=("heads",))
    def split(x: Value, heads: int) -> Value:
        return w * x * len(range(heads))

    one: float = split(2.0, 3).data + split.sum([1.0], heads=2).data + compile_by_call().value_and_grad()[0]
    assert one
    X = np.array([1.0, 2.0])
    summed: list[Value] = [loss.sum(X, X), loss.mean([1, 2], (3.0, 4.0)), *loss.captured]
    total, gradient = loss.value_and_grad(X, X)
    grads: NDArray[np.float64] = gradient
    numbers: list[float] = [total, float(grads.sum()), loss.retraces + score.retraces]
    assert summed
    assert numbers
    listing: str = loss.program
    assert listing
    error: type[Exception] = micrograd.TraceError
    assert error


def compile_by_call() -> micrograd.compiler.Compiled:
    return micrograd.compile(lambda size=2: Value(1.0) * size, static_argnames="size", threads=1, exact=False)

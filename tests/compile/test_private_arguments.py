"""What private classes and functions of the compiled modules refuse; the public ones hand them nothing wrong."""

from __future__ import annotations

import numpy as np
import pytest

import micrograd
from micrograd import Value
from micrograd._compile import Batch, Replay, Sums, Traced, tree_of_shape, tree_unflatten
from micrograd._nn import shifted_values
from micrograd._optim import State

MODES = 3


def traced_of(function, *arguments):
    f = micrograd.compile(function)
    f(*arguments)
    (traced,) = f._programs.values()
    return traced


def nested(depth):
    tree = None
    for _ in range(depth):
        tree = (list, (tree,))
    return tree


w = Value(1.0)
ONE = traced_of(lambda x, y: x * y + w, 1.0, 2.0)
TWO = traced_of(lambda x, y: (x, y * w), 1.0, 2.0)
BATCH = Batch(([1.0, 3.0], [2.0, 4.0]))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: Replay(ONE.program, MODES, BATCH), "no mode 3"),
        (lambda: Replay(ONE.program, 0, Batch(([1.0],))), "a program of 2 arguments is given 1"),
        (lambda: Traced(ONE.program, None, [0, 1]), "2 indices for 1 captured leaves"),
        (lambda: Traced(ONE.program, None, [-1]), "1 indices for 1 captured leaves"),
        (lambda: Traced(ONE.program, (list, 2)), "a tree of 2 numbers for 1 outputs"),
        (lambda: ONE.map(BATCH, 1, np.empty(3)), "an array of 3 numbers for 2 samples of 1"),
        (lambda: ONE.sample([1.0]), "a program of 2 arguments is given 1"),
        (lambda: TWO.reduce(BATCH, False, 1), "needs a function that returns one Value, not a list"),
        (lambda: Sums(np.empty(1)).add(TWO, BATCH, 1), "needs a function that returns one Value, not a list"),
        (lambda: Sums(np.empty(0)).add(ONE, BATCH, 1), "grad 0 of 0"),
        (lambda: Sums([0.0]), "an array of doubles"),
        (lambda: ONE.map(BATCH, 1, np.empty(2, np.float32)), "an array of doubles"),
        (lambda: ONE.map(BATCH, 1, np.empty(4)[::2]), "an array of doubles"),
        (lambda: ONE.map(BATCH, 1, np.broadcast_to(0.0, 1)), "an array of doubles"),
        (lambda: tree_of_shape((1,) * 101), "not the shape of a sample"),
        (lambda: tree_of_shape((2**24 + 1,)), "not the shape of a sample"),
        (lambda: tree_unflatten(nested(101), iter([1.0])), "not the tree of nested lists of numbers"),
        (lambda: shifted_values([]), "the maximum of no values"),
        (lambda: State([w], [], 1), "state of 0 parameters for 1"),
        (lambda: State([w], [(1.0,), (2.0,)], 1), "state of more than 1 parameters"),
        (lambda: State([w], [(1.0, 2.0)], 1), "not of 1 numbers each"),
    ],
    ids=range(21),
)
def test_what_does_not_fit_is_refused(call, error):
    with pytest.raises((ValueError, TypeError, IndexError)) as raised:
        call()
    assert error in str(raised.value)


def test_an_optimizer_with_the_state_of_another():
    """As a changed pickle may have it."""
    adam, sgd = micrograd.optim.Adam([w]), micrograd.optim.SGD([w], momentum=0.9)
    adam.step()
    sgd.step()
    adam._states[:] = sgd._states
    with pytest.raises(ValueError, match="state of 2 numbers a parameter, where 4 are needed"):
        adam.step()

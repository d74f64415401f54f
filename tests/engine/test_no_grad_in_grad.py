"""grad() with create_graph leaves `no_grad` while it runs, and returns to it."""

from __future__ import annotations

import gc

import pytest

from helpers import FREE_THREADED
from micrograd import Value, grad, is_grad_enabled, no_grad


@pytest.mark.skipif(FREE_THREADED, reason="the collector runs at other times")
def test_a_destructor_may_use_no_grad_meanwhile():
    """The collector runs it in the pass: the thread is in no mode then, until grad() returns to its own."""

    class Uses:
        def __del__(self):
            if is_grad_enabled():
                with no_grad():
                    inside.append(is_grad_enabled())

    x = Value(3.0)
    y = sum((x * k).tanh() * x for k in range(200))
    inside, threshold = [], gc.get_threshold()
    with no_grad(), no_grad():
        garbage = Uses()
        garbage.itself = garbage
        gc.set_threshold(50)
        try:
            del garbage
            slope = grad(y, x, create_graph=True)
        finally:
            gc.set_threshold(*threshold)
        assert inside == [False]
        assert slope._prev
        assert (x * 2)._prev == set()
    assert is_grad_enabled()
    assert x in (x * 2)._prev

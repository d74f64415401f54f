"""`micrograd.no_grad()` is a mode of its thread alone."""

from __future__ import annotations

import math
import random
import sys
import threading

import pytest

import micrograd
from helpers import assert_leaf, assert_on
from micrograd import Value, functional, nn
from micrograd.utils import detect_anomaly


def test_it_is_a_mode_of_its_thread_alone():
    """One thread is in the mode, others build and differentiate graphs, in many turns."""
    failures, rounds = [], [0, 0, 0]

    def going_on():
        return not failures and min(rounds) < 2000

    def guarded(work):
        def run():
            try:
                work()
            except BaseException as error:
                failures.append(error)

        return run

    def predict():
        x, model = Value(0.5), nn.MLP(2, [3, 1])
        while going_on():
            with micrograd.no_grad():
                for _ in range(50):
                    assert_leaf((x * 0.5 + 1).tanh())
                    assert_leaf(model([x, 1.0]))
                    rounds[0] += 1
            assert_on()

    def train(i):
        def work():
            random.seed(i)
            model = nn.MLP(2, [3, 1])
            while going_on():
                x = Value(0.5)
                y = (x * 0.5 + 1).tanh() * x + functional.sum([x, x * x]) + model([x, 1.0]) * 0.0
                y.backward(retain_grads=False)
                t = math.tanh(1.25)
                assert abs(x.grad - (0.5 * (1 - t * t) * 0.5 + t + 2.0)) < 1e-14
                assert micrograd.is_grad_enabled()
                rounds[i] += 1

        return work

    threads = [threading.Thread(target=guarded(work)) for work in (predict, train(1), train(2))]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures


def test_new_threads_begin_outside_of_it():
    seen = []
    with micrograd.no_grad():
        thread = threading.Thread(target=lambda: (assert_on(), seen.append(1)))
        thread.start()
        thread.join()
    assert seen == [1]


def test_a_mode_goes_on_when_other_threads_leave_theirs():
    x, inside, leave = Value(2.0), threading.Event(), threading.Event()

    def work(wait):
        with micrograd.no_grad():
            if wait:
                inside.set()
                assert leave.wait(60)
            assert_leaf(x * x)
        assert_on()

    older, newer = (threading.Thread(target=work, args=(wait,)) for wait in (True, False))
    older.start()
    try:
        assert inside.wait(60)
        with micrograd.no_grad():
            newer.start()
            newer.join()
            assert_leaf(x * x)
            leave.set()
            older.join()
            assert_leaf(x * x)
    finally:
        leave.set()
    assert_on()


def test_a_mode_ends_with_its_thread():
    """Where a thread never leaves it, operators have their fast path again afterwards, and no later thread is in it."""
    entered = []

    def work():
        micrograd.no_grad().__enter__()
        entered.append(micrograd.is_grad_enabled())

    for _ in range(20):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        thread = threading.Thread(target=assert_on)
        thread.start()
        thread.join()
    assert entered == [False] * 20
    assert_on()


def test_only_a_mode_that_was_entered_can_be_left():
    inside, other = micrograd.no_grad(), detect_anomaly()
    for mode, wrong in ((inside, other), (other, inside)):
        with mode:
            with pytest.raises(RuntimeError, match="is left in another thread than it was entered in, or twice"):
                wrong.__exit__(None, None, None)
            assert micrograd.is_grad_enabled() is (mode is other)
    assert_on()

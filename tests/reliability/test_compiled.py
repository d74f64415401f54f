"""The short form of `make fuzzcompile`: random programs, compiled and eager."""

from __future__ import annotations

import pytest

import micrograd
from helpers import OF_A_LIST
from micrograd import Value
from micrograd import functional as F
from reliability import compiled


@pytest.mark.slow
def test_random_programs_are_eager_codes():
    pytest.importorskip("numpy")
    complete, failed = compiled.campaign(0, 800)
    assert failed == []
    assert 500 < complete < 750  # in the rest a sample raises


def wrong_op(monkeypatch):
    monkeypatch.setitem(
        OF_A_LIST, "dot", lambda xs: F.dot(xs, xs) if micrograd._core.in_trace() else F.dot(xs, xs[::-1])
    )


def wrong_side(monkeypatch):
    where = F.where
    monkeypatch.setattr(F, "where", lambda c, a, b: where(c, b, a) if micrograd._core.in_trace() else where(c, a, b))


def lost_gradient(monkeypatch):
    """No gradient flows into the last product of a program, though its data are right."""
    multiply = Value.__mul__
    trace = micrograd._core.in_trace
    monkeypatch.setattr(
        compiled,
        "op",
        lambda name: (lambda a, b: multiply(a.detach(), b)) if name == "__mul__" and trace() else plain(name),
    )


plain = compiled.op


@pytest.mark.parametrize("fault", [wrong_op, wrong_side, lost_gradient])
def test_a_planted_fault_is_found(fault, monkeypatch):
    fault(monkeypatch)
    _, failed = compiled.campaign(0, 100)
    assert failed

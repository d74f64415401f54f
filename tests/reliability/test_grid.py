"""The short form of `make grid`: the ops on special values, in each form of their operands."""

from __future__ import annotations

import math

import pytest

import oracle
from reliability import grid

FEW = [0.0, -0.0, 1.0, -0.5, 3.0, 1e200, math.inf, -math.inf, math.nan, 5e-324]


@pytest.mark.slow
def test_special_values_are_the_oracles():
    count, wrong = grid.check(FEW)
    assert wrong == []
    assert count > 7000


def test_a_planted_fault_is_found(monkeypatch):
    """relu's derivative at NaN; 1 in place of 0."""
    monkeypatch.setattr(
        oracle.Value,
        "relu",
        lambda self: self._unary(0.0 if self.data < 0 else self.data, lambda _a, r: float(not r <= 0)),
    )
    _, wrong = grid.check(FEW)
    assert wrong
    assert all(line.startswith("relu of (nan,)") for line in wrong)

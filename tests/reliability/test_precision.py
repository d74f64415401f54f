"""The short form of the first part of `make ulps`: single ops against mpmath."""

from __future__ import annotations

import platform

import pytest

from helpers import BINARY, UNARY
from reliability import precision


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the errors of another C library")
@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_errors_are_within_their_bounds(name):
    found = precision.measure(name, 30)
    assert {what for what, _ in found} == {"data", *"ab"[: 1 if name in UNARY else 2]}
    assert {key: row for key, row in found.items() if not row[-1]} == {}


def test_an_error_of_a_few_units_is_found(monkeypatch):
    monkeypatch.setattr(precision, "op", lambda _name: lambda v: v.sin() * (1 + 16 * 2.0**-52))
    assert not all(row[-1] for row in precision.measure("sin", 20).values())

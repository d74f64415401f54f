"""Attributes that users set on a Value."""

from __future__ import annotations

import pytest

from micrograd import Value


def test_attributes_of_any_name(engine):
    x = engine.Value(2.0)
    x.label, x.m, x.history = "x", 0.5, []
    x.history.append(x.m)
    assert (x.label, x.m, x.history) == ("x", 0.5, [0.5])
    assert vars(x)["m"] == 0.5
    del x.m
    assert not hasattr(x, "m")
    with pytest.raises(AttributeError, match="m"):
        _ = x.m


def test_attributes_of_intermediates_survive_backward(engine):
    x = engine.Value(2.0)
    h = x * x
    h.label = "h"
    y = h + 1
    y.backward()
    assert {v.label for v in y._prev if hasattr(v, "label") and v.label} == {"h"}


def test_an_op_can_be_renamed(engine):
    out = engine.Value(2.0) * 3.0
    out._op = "triple"
    assert out._op == "triple"


def test_vars_are_what_was_set(reference):
    v = Value(1.0)
    assert vars(v) == vars(v * 2.0) == {}
    v.label = "v"
    assert vars(v) == {"label": "v"}
    assert set(vars(reference.Value(1.0))) == {"data", "grad", "_backward", "_prev", "_op"}

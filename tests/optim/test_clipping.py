"""clip_grad_norm_ and clip_grad_value_."""

from __future__ import annotations

import math
import re

import pytest

from helpers import CLOSE, set_grads, values
from micrograd import Value
from micrograd.utils import clip_grad_norm_, clip_grad_value_

GRADS = [
    [3.0, -4.0],
    [0.3, -0.4, 0.0],
    [1e-9, -2e3, 5.5, 0.0],
    [0.0, 0.0],
    [math.nan, 1.0],
    [1.0, math.nan, 2.0],
    [math.inf, 1.0],
    [1e200, 1e200],
    [],
]


@pytest.mark.parametrize("grads", GRADS, ids=str)
@pytest.mark.parametrize("norm_type", [2, 1, 3.5, 0, -1.5, math.inf, -math.inf, "inf"], ids=str)
@pytest.mark.parametrize("max_norm", [1.0, 0, 10, math.inf], ids=str)
def test_clip_grad_norm_is_pytorchs(grads, norm_type, max_norm):
    torch = pytest.importorskip("torch")
    params = values([0.0] * len(grads))
    set_grads(params, grads)
    tensors = [torch.zeros((), dtype=torch.float64) for _ in grads]
    for t, g in zip(tensors, grads):
        t.grad = torch.tensor(g, dtype=torch.float64)
    ours = clip_grad_norm_(params, max_norm, norm_type)
    theirs = torch.nn.utils.clip_grad_norm_(tensors, max_norm, norm_type)
    assert type(ours) is float
    assert ours == pytest.approx(theirs.item(), nan_ok=True, **CLOSE)
    assert [p.grad for p in params] == pytest.approx([t.grad.item() for t in tensors], nan_ok=True, **CLOSE)


def test_clip_grad_norm_scales_the_grads_to_the_norm():
    params = values([0.0, 0.0])
    set_grads(params, [3.0, -4.0])
    assert clip_grad_norm_(iter(params), 2.5) == 5.0
    assert [p.grad for p in params] == pytest.approx([1.5, -2.0], rel=1e-6)
    assert clip_grad_norm_(params, 2.5) == pytest.approx(2.5, rel=1e-6)
    single = Value(0.0)
    single.grad = -8.0
    assert clip_grad_norm_(single, 1.0, norm_type=1) == 8.0
    assert single.grad == pytest.approx(-1.0, rel=1e-6)


def test_a_parameter_counts_as_often_as_it_is_given():
    a, b = values([0.0, 0.0])
    set_grads([a, b], [3.0, -4.0])
    assert clip_grad_norm_([a, b, a], 100.0) == math.sqrt(34.0)
    assert (a.grad, b.grad) == (3.0, -4.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_clip_grad_norm_refuses_what_is_not_finite_where_asked_to(bad):
    params = values([0.0, 0.0])
    set_grads(params, [bad, 1.0])
    with pytest.raises(RuntimeError, match=f"the norm of order 2.0 of the grads is {bad}"):
        clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert params[1].grad == 1.0


@pytest.mark.parametrize("clip_value", [0.5, 0, 2, math.inf], ids=str)
def test_clip_grad_value_is_pytorchs(clip_value):
    torch = pytest.importorskip("torch")
    grads = [3.0, -4.0, 0.25, -0.5, 0.0, math.nan, math.inf, -math.inf]
    params = values([0.0] * len(grads))
    set_grads(params, grads)
    x = torch.zeros(len(grads), dtype=torch.float64)
    x.grad = torch.tensor(grads, dtype=torch.float64)
    clip_grad_value_(params, clip_value)
    torch.nn.utils.clip_grad_value_(x, clip_value)
    assert [p.grad for p in params] == pytest.approx(x.grad.tolist(), nan_ok=True)


@pytest.mark.parametrize("clip", [clip_grad_norm_, clip_grad_value_])
@pytest.mark.parametrize(
    ("params", "limit", "error", "text"),
    [
        ([Value(1.0), 2.0], 0.1, TypeError, "a parameter must be a Value, not 'float'"),
        ([Value(1.0)], -1.0, ValueError, "must be at least 0, not -1.0"),
        ([Value(1.0)], math.nan, ValueError, "must be at least 0, not nan"),
        ([Value(1.0)], "1", TypeError, "must be a real number, not 'str'"),
    ],
)
def test_what_clipping_refuses(clip, params, limit, error, text):
    params[0].grad = 5.0
    with pytest.raises(error, match=re.escape(text)):
        clip(params, limit)
    assert params[0].grad == 5.0

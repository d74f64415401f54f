"""Losses of predictions and their targets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import SupportsIndex, cast

from micrograd._core import Value
from micrograd._nn import as_values, cross_entropy_value, sample, shifted_values
from micrograd.functional._inputs import Scalar, has_items, not_empty, same_length
from micrograd.functional.activations import log_softmax
from micrograd.functional.layers import dot, mean


def cross_entropy(logits: Iterable[Scalar], target: SupportsIndex | Value | Iterable[float]) -> Value:
    """-log softmax(logits)[target], or -Σ target[i] log softmax(logits)[i] where `target` is a list of probabilities.

    >>> cross_entropy([Value(0.0), Value(0.0)], 1).data
    0.6931471805599453

    A target is an index where it is an int, or has `__index__` and no dimensions, as `np.int64(1)` and
    `torch.tensor(1)`; in a compiled function it may be an argument, any number that is integral. Small losses of large
    logits are exact, and so are their gradients.
    Raises IndexError where there is no such logit, TypeError where a target is no integer, ValueError where there is
    not one probability for each logit.
    """
    values = as_values(logits, "a logit")
    not_empty(values, "cross_entropy")
    if has_items(target):
        shares = sample(target)
        same_length(shares, values, "probabilities", "logits")
        return dot([-x for x in log_softmax(values)], shares)
    return cross_entropy_value(shifted_values(values), cast("SupportsIndex | Value", target))


def mse_loss(predictions: Iterable[Scalar], targets: Iterable[Scalar]) -> Value:
    """The mean of (prediction - target)**2.

    >>> mse_loss([Value(1.0), Value(2.0)], [0.0, 4.0]).data
    2.5

    Raises ValueError naming both lengths where they differ, or where there are none.
    """
    ps, ts = as_values(predictions, "a prediction"), sample(targets)
    same_length(ps, ts, "predictions", "targets")
    not_empty(ps, "mse_loss")
    errors = [p - t for p, t in zip(ps, ts)]
    return dot(errors, errors) * (1.0 / len(errors))


def hinge_loss(scores: Iterable[Scalar], targets: Iterable[float]) -> Value:
    """The mean of max(0, 1 - target score), for targets of -1 and 1: the max-margin loss of a support vector machine.

    >>> hinge_loss([Value(0.5), Value(-3.0)], [1, -1]).data
    0.25

    Raises ValueError naming both lengths where they differ, or where there are none.
    """
    ss, ts = as_values(scores, "a score"), sample(targets)
    same_length(ss, ts, "scores", "targets")
    not_empty(ss, "hinge_loss")
    return mean([(1 - t * s).relu() for s, t in zip(ss, ts)])

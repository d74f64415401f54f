"""Activations, one for each value of a list, and normalizers over a list of logits."""

from __future__ import annotations

from collections.abc import Iterable

from micrograd._core import Value
from micrograd._nn import as_values, logsumexp_values, shifted_values, softmax_values
from micrograd.functional._inputs import Scalar, not_empty


def relu(xs: Iterable[Scalar]) -> list[Value]:
    """[max(0, x) for x in xs].

    >>> [y.data for y in relu([Value(-1.0), Value(2.0)])]
    [0.0, 2.0]
    """
    return [x.relu() for x in as_values(xs, "an input")]


def tanh(xs: Iterable[Scalar]) -> list[Value]:
    """[tanh(x) for x in xs].

    >>> [y.data for y in tanh([Value(0.0)])]
    [0.0]
    """
    return [x.tanh() for x in as_values(xs, "an input")]


def logsumexp(xs: Iterable[Scalar]) -> Value:
    """log(Σ exp(x)), as one node, without overflow: m + log(Σ exp(x - m)) with m the greatest x.

    >>> logsumexp([Value(1000.0), Value(1000.0)]).data
    1000.6931471805599

    Raises ValueError where there are no values.
    """
    values = as_values(xs, "a logit")
    not_empty(values, "logsumexp")
    return logsumexp_values(values)


def softmax(logits: Iterable[Scalar]) -> list[Value]:
    """[exp(x) / Σ exp(x') for x in logits], computed from x - m with m the greatest logit; the sum is one node.

    >>> [round(p.data, 4) for p in softmax([Value(1000.0), Value(1001.0)])]
    [0.2689, 0.7311]

    Raises ValueError where there are no logits.
    """
    values = as_values(logits, "a logit")
    not_empty(values, "softmax")
    return softmax_values(shifted_values(values))


def log_softmax(logits: Iterable[Scalar]) -> list[Value]:
    """[x - logsumexp(logits) for x in logits], computed from x - m with m the greatest logit.

    >>> [round(p.data, 4) for p in log_softmax([Value(0.0), Value(1.0)])]
    [-1.3133, -0.3133]

    Raises ValueError where there are no logits.
    """
    values = as_values(logits, "a logit")
    not_empty(values, "log_softmax")
    shifted = shifted_values(values)
    total = logsumexp_values(shifted)
    return [x - total for x in shifted]

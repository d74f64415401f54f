"""Functions over lists of Values: layers, activations and losses, each of one node or a few.

Inputs are lists, tuples or arrays of Values and numbers; results are a Value or a list of Values. Finite results do not
overflow on the way: the greatest logit is subtracted before exp.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex, Union, cast

from micrograd._core import Value
from micrograd._nn import (
    affine,
    as_values,
    cross_entropy_value,
    logsumexp_values,
    sample,
    shifted_values,
    softmax_values,
    sum_values,
)

__all__ = [
    "cross_entropy",
    "dot",
    "hinge_loss",
    "linear",
    "log_softmax",
    "logsumexp",
    "mean",
    "mse_loss",
    "relu",
    "softmax",
    "sum",
    "tanh",
]

Scalar = Union[Value, float]


def _as_value(x: Any) -> Value:
    return x if isinstance(x, Value) else Value(x)


def _same_length(a: Sequence[Any], b: Sequence[Any], a_name: str, b_name: str) -> None:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} {a_name} for {len(b)} {b_name}")


def _not_empty(values: list[Any], what: str) -> None:
    if not values:
        raise ValueError(f"{what} of no values")


def _has_items(x: Any) -> bool:
    """Is it iterable? Arrays and tensors without dimensions are not, though their types have `__iter__`."""
    return hasattr(x, "__iter__") and getattr(x, "ndim", None) != 0


def dot(ws: Iterable[Scalar], xs: Iterable[Scalar], bias: Scalar | None = None) -> Value:
    """bias + ws[0] xs[0] + ws[1] xs[1] + … , added in this order, from 0.0 if there is no bias.

    >>> dot([Value(2.0), Value(3.0)], [4.0, 5.0], bias=Value(1.0)).data
    24.0

    Raises ValueError naming both lengths where they differ.
    """
    return _as_value(affine([sample(ws)], sample(xs), None if bias is None else [bias])[0])


def linear(
    x: Iterable[Scalar], weight: Iterable[Iterable[Scalar]], bias: Iterable[Scalar] | None = None
) -> list[Value]:
    """[bias[i] + Σ weight[i][j] x[j] for each i]: `weight` is (out, in), `x` is (in,), `bias` is (out,).

    >>> [y.data for y in linear([1.0, 2.0], [[Value(3.0), Value(4.0)], [Value(5.0), Value(6.0)]])]
    [11.0, 17.0]

    Raises ValueError naming both lengths where a row is not as long as x, or bias is not as long as weight.
    """
    weights = [sample(row) for row in weight]
    biases = None if bias is None else sample(bias)
    if biases is not None:
        _same_length(biases, weights, "biases", "rows of weights")
    return [_as_value(y) for y in affine(weights, sample(x), biases)]


def sum(xs: Iterable[Scalar]) -> Value:
    """xs[0] + xs[1] + …, added in this order from 0.0, as one node.

    >>> sum([Value(1.0), Value(2.0), 3.0]).data
    6.0
    """
    return sum_values(as_values(xs, "a summand"))


def mean(xs: Iterable[Scalar]) -> Value:
    """The sum times 1 / n.

    >>> mean([Value(1.0), Value(2.0)]).data
    1.5

    Raises ValueError where there are no values.
    """
    values = as_values(xs, "a summand")
    _not_empty(values, "the mean")
    return sum_values(values) * (1.0 / len(values))


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
    _not_empty(values, "logsumexp")
    return logsumexp_values(values)


def softmax(logits: Iterable[Scalar]) -> list[Value]:
    """[exp(x) / Σ exp(x') for x in logits], computed from x - m with m the greatest logit; the sum is one node.

    >>> [round(p.data, 4) for p in softmax([Value(1000.0), Value(1001.0)])]
    [0.2689, 0.7311]

    Raises ValueError where there are no logits.
    """
    values = as_values(logits, "a logit")
    _not_empty(values, "softmax")
    return softmax_values(shifted_values(values))


def log_softmax(logits: Iterable[Scalar]) -> list[Value]:
    """[x - logsumexp(logits) for x in logits], computed from x - m with m the greatest logit.

    >>> [round(p.data, 4) for p in log_softmax([Value(0.0), Value(1.0)])]
    [-1.3133, -0.3133]

    Raises ValueError where there are no logits.
    """
    values = as_values(logits, "a logit")
    _not_empty(values, "log_softmax")
    shifted = shifted_values(values)
    total = logsumexp_values(shifted)
    return [x - total for x in shifted]


def cross_entropy(logits: Iterable[Scalar], target: SupportsIndex | Iterable[float]) -> Value:
    """-log softmax(logits)[target], or -Σ target[i] log softmax(logits)[i] where `target` is a list of probabilities.

    >>> cross_entropy([Value(0.0), Value(0.0)], 1).data
    0.6931471805599453

    A target is an index where it is an int, or has `__index__` and no dimensions, as `np.int64(1)` and
    `torch.tensor(1)`. Small losses of large logits are exact, and so are their gradients.
    Raises IndexError where there is no such logit, TypeError where a target is no integer, ValueError where there is
    not one probability for each logit.
    """
    values = as_values(logits, "a logit")
    _not_empty(values, "cross_entropy")
    if _has_items(target):
        shares = sample(target)
        _same_length(shares, values, "probabilities", "logits")
        return dot([-x for x in log_softmax(values)], shares)
    return cross_entropy_value(shifted_values(values), cast("SupportsIndex", target))


def mse_loss(predictions: Iterable[Scalar], targets: Iterable[Scalar]) -> Value:
    """The mean of (prediction - target)**2.

    >>> mse_loss([Value(1.0), Value(2.0)], [0.0, 4.0]).data
    2.5

    Raises ValueError naming both lengths where they differ, or where there are none.
    """
    ps, ts = as_values(predictions, "a prediction"), sample(targets)
    _same_length(ps, ts, "predictions", "targets")
    _not_empty(ps, "mse_loss")
    errors = [p - t for p, t in zip(ps, ts)]
    return dot(errors, errors) * (1.0 / len(errors))


def hinge_loss(scores: Iterable[Scalar], targets: Iterable[float]) -> Value:
    """The mean of max(0, 1 - target score), for targets of -1 and 1: the max-margin loss of a support vector machine.

    >>> hinge_loss([Value(0.5), Value(-3.0)], [1, -1]).data
    0.25

    Raises ValueError naming both lengths where they differ, or where there are none.
    """
    ss, ts = as_values(scores, "a score"), sample(targets)
    _same_length(ss, ts, "scores", "targets")
    _not_empty(ss, "hinge_loss")
    return mean([(1 - t * s).relu() for s, t in zip(ss, ts)])

"""Functions over lists of Values: layers, activations and losses, each of one node or a few.

Inputs are lists, tuples or arrays of Values and numbers; results are a Value or a list of Values. Finite results do not
overflow on the way, but for squares in the norms and losses: the greatest logit is subtracted before exp.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex, Union, cast

from micrograd._core import Value
from micrograd._nn import (
    affine,
    as_values,
    centered_values,
    cross_entropy_value,
    embedding_values,
    is_traced_index,
    known_index,
    logsumexp_values,
    normalized_values,
    sample,
    shifted_values,
    softmax_values,
    sum_values,
    take_values,
)

__all__ = [
    "cross_entropy",
    "dot",
    "embedding",
    "hinge_loss",
    "layer_norm",
    "linear",
    "log_softmax",
    "logsumexp",
    "mean",
    "mse_loss",
    "relu",
    "rms_norm",
    "scaled_dot_product_attention",
    "softmax",
    "sum",
    "take",
    "tanh",
]

Scalar = Union[Value, float]


def _as_value(x: Any) -> Value:
    return x if isinstance(x, Value) else Value(x)


def _same_length(a: Sequence[Any], b: Sequence[Any], a_name: str, b_name: str) -> None:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} {a_name} for {len(b)} {b_name}")


def _not_empty(values: list[Any], what: str, items: str = "values") -> None:
    if not values:
        raise ValueError(f"{what} of no {items}")


def _has_items(x: Any) -> bool:
    """Is it iterable? Arrays and tensors without dimensions are not, though their types have `__iter__`."""
    return hasattr(x, "__iter__") and getattr(x, "ndim", None) != 0


def _index(i: Any, items: Sequence[Any]) -> int:
    """The index that i is. Raises IndexError if there is no such one of the items, TypeError if i is no integer."""
    i = known_index(i)
    if _has_items(i):
        raise TypeError(f"an index must be one integer, not {i!r}")
    try:
        index = operator.index(i)
    except TypeError as error:
        raise TypeError(f"an index must be an integer, not {i!r}") from error
    if not 0 <= index < len(items):
        raise IndexError(f"index {i} of {len(items)} items")
    return index


def _weighted(xs: list[Value], weight: Iterable[Scalar] | None) -> list[Value]:
    """[weight[i] x[i] for each i]; no weight stands for ones."""
    if weight is None:
        return xs
    weights = as_values(weight, "a weight")
    _same_length(weights, xs, "weights", "inputs")
    return [x * w for x, w in zip(xs, weights)]


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


def embedding(i: SupportsIndex | Value, weight: Iterable[Iterable[Scalar]]) -> list[Value]:
    """Row i of `weight`, (rows, columns): a list of (columns,) Values. Those in the row are returned themselves.

    >>> [x.data for x in embedding(1, [[Value(1.0), Value(2.0)], [Value(3.0), Value(4.0)]])]
    [3.0, 4.0]

    i is an int, or has `__index__` and no dimensions, as `np.int64(1)` and `torch.tensor(1)`. In a compiled function it
    may be an argument, any number that is integral.
    Raises IndexError where i is negative or there is no such row, TypeError where i is no integer; where i is an
    argument of a compiled function, ValueError if the rows are not of one length.
    """
    rows = sample(weight)
    if not is_traced_index(i):
        return as_values(rows[_index(i, rows)], "a weight")
    table = [as_values(row, "a weight") for row in rows]
    _not_empty(table, "embedding", "rows")
    for j, row in enumerate(table):
        _same_length(row, table[0], f"numbers in weight[{j}]", "numbers in weight[0]")
    return embedding_values([list(column) for column in zip(*table)], i)


def take(values: Iterable[Scalar], i: SupportsIndex | Value) -> Value:
    """One of (n,) values: values[i], a Value.

    >>> take([Value(1.0), Value(2.0)], 1).data
    2.0

    i is an int, or has `__index__` and no dimensions, as `np.int64(1)` and `torch.tensor(1)`. In a compiled function it
    may be an argument, any number that is integral.
    Raises IndexError where i is negative or there is no such value, TypeError where i is no integer.
    """
    items = sample(values)
    if is_traced_index(i):
        return take_values(as_values(items, "a value"), i)
    return as_values([items[_index(i, items)]], "a value")[0]


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


def rms_norm(x: Iterable[Scalar], weight: Iterable[Scalar] | None = None, eps: float | None = None) -> list[Value]:
    """[weight[i] x[i] / √(mean of the x² + eps) for each i]: `x` and `weight` are (n,), and so is the result.

    >>> [round(y.data, 4) for y in rms_norm([Value(3.0), Value(4.0)])]
    [0.8485, 1.1314]

    No weight stands for ones, no eps for 2.220446049250313e-16, the eps of doubles, as in PyTorch. The formula is that
    of Zhang and Sennrich, Root Mean Square Layer Normalization (2019). The squares overflow from about 1e154 on, and
    the result is then 0, as in PyTorch.
    Raises ValueError where there are no x, and naming both lengths where weight is not as long as x; ZeroDivisionError
    where eps and all x are 0.
    """
    xs = as_values(x, "an input")
    _not_empty(xs, "rms_norm")
    return _weighted(normalized_values(xs, sys.float_info.epsilon if eps is None else eps), weight)


def layer_norm(
    x: Iterable[Scalar],
    weight: Iterable[Scalar] | None = None,
    bias: Iterable[Scalar] | None = None,
    eps: float = 1e-5,
) -> list[Value]:
    """[bias[i] + weight[i] (x[i] - mean) / √(variance + eps) for each i]: `x`, `weight` and `bias` are (n,), and so is
    the result. The variance is the mean of (x - mean)².

    >>> [round(y.data, 4) for y in layer_norm([Value(1.0), Value(3.0)], weight=[2.0, 2.0], bias=[0.0, 1.0])]
    [-2.0, 3.0]

    No weight stands for ones, no bias for zeros. The formula is that of Ba, Kiros and Hinton, Layer Normalization
    (2016). The squares overflow from about 1e154 on: (x - mean) / √(variance + eps) is then 0, or NaN where the sum of
    the x overflows too.
    Raises ValueError where there are no x, and naming both lengths where weight or bias is not as long as x;
    ZeroDivisionError where eps is 0 and all x are the same.
    """
    xs = as_values(x, "an input")
    _not_empty(xs, "layer_norm")
    weighted = _weighted(normalized_values(centered_values(xs), eps), weight)
    if bias is None:
        return weighted
    biases = as_values(bias, "a bias")
    _same_length(biases, xs, "biases", "inputs")
    return [y + b for y, b in zip(weighted, biases)]


def scaled_dot_product_attention(
    query: Iterable[Scalar],
    key: Iterable[Iterable[Scalar]],
    value: Iterable[Iterable[Scalar]],
    scale: float | None = None,
) -> list[Value]:
    """[Σ p[j] value[j][i] for each i], with p = softmax([scale query · key[j] for each j]): `query` is (d,), `key` is
    (n, d), `value` is (n, m), and the result is (m,).

    >>> [round(y.data, 4) for y in scaled_dot_product_attention([1.0, 0.0], [[8.0, 0.0], [0.0, 8.0]], [[1.0], [2.0]])]
    [1.0035]

    No scale stands for 1 / √d. The formula is that of Vaswani et al., Attention Is All You Need (2017). A query sees
    all the keys that are given: for causal attention give those of its own position and before.
    Raises ValueError where query, key or rows of value are empty, and naming both lengths where a row of key is not as
    long as query, value has not as many rows as key, or rows of value are not of one length.
    """
    queries = as_values(query, "an item of query")
    keys = [as_values(row, "an item of key") for row in sample(key)]
    rows = [as_values(row, "an item of value") for row in sample(value)]
    _not_empty(queries, "scaled_dot_product_attention: a query", "numbers")
    _not_empty(keys, "scaled_dot_product_attention", "keys")
    _same_length(rows, keys, "rows of value", "rows of key")
    for j, (k, v) in enumerate(zip(keys, rows)):
        _same_length(k, queries, f"numbers in key[{j}]", "numbers in query")
        _same_length(v, rows[0], f"numbers in value[{j}]", "numbers in value[0]")
    _not_empty(rows[0], "scaled_dot_product_attention: a row of value", "numbers")
    factor = 1.0 / math.sqrt(len(queries)) if scale is None else scale
    shares = softmax(affine(keys, [q * factor for q in queries]))
    return cast("list[Value]", affine([list(column) for column in zip(*rows)], shares))


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
    _not_empty(values, "cross_entropy")
    if _has_items(target):
        shares = sample(target)
        _same_length(shares, values, "probabilities", "logits")
        return dot([-x for x in log_softmax(values)], shares)
    return cross_entropy_value(shifted_values(values), cast("SupportsIndex | Value", target))


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

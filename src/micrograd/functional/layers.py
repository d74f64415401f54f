"""Layers: sums and products of lists, rows of tables, norms, attention."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import SupportsIndex, cast

from micrograd._core import Value
from micrograd._nn import (
    affine,
    as_values,
    centered_values,
    embedding_values,
    is_traced_index,
    normalized_values,
    sample,
    sum_values,
    take_values,
)
from micrograd.functional._inputs import Scalar, as_value, index_in, not_empty, same_length
from micrograd.functional.activations import softmax


def _weighted(xs: list[Value], weight: Iterable[Scalar] | None) -> list[Value]:
    """[weight[i] x[i] for each i]; no weight stands for ones."""
    if weight is None:
        return xs
    weights = as_values(weight, "a weight")
    same_length(weights, xs, "weights", "inputs")
    return [x * w for x, w in zip(xs, weights)]


def dot(ws: Iterable[Scalar], xs: Iterable[Scalar], bias: Scalar | None = None) -> Value:
    """bias + ws[0] xs[0] + ws[1] xs[1] + … , added in this order, from 0.0 if there is no bias.

    >>> dot([Value(2.0), Value(3.0)], [4.0, 5.0], bias=Value(1.0)).data
    24.0

    Raises ValueError naming both lengths where they differ.
    """
    return as_value(affine([sample(ws)], sample(xs), None if bias is None else [bias])[0])


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
        same_length(biases, weights, "biases", "rows of weights")
    return [as_value(y) for y in affine(weights, sample(x), biases)]


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
        return as_values(rows[index_in(i, rows)], "a weight")
    table = [as_values(row, "a weight") for row in rows]
    not_empty(table, "embedding", "rows")
    for j, row in enumerate(table):
        same_length(row, table[0], f"numbers in weight[{j}]", "numbers in weight[0]")
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
    return as_values([items[index_in(i, items)]], "a value")[0]


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
    not_empty(values, "the mean")
    return sum_values(values) * (1.0 / len(values))


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
    not_empty(xs, "rms_norm")
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
    not_empty(xs, "layer_norm")
    weighted = _weighted(normalized_values(centered_values(xs), eps), weight)
    if bias is None:
        return weighted
    biases = as_values(bias, "a bias")
    same_length(biases, xs, "biases", "inputs")
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
    not_empty(queries, "scaled_dot_product_attention: a query", "numbers")
    not_empty(keys, "scaled_dot_product_attention", "keys")
    same_length(rows, keys, "rows of value", "rows of key")
    for j, (k, v) in enumerate(zip(keys, rows)):
        same_length(k, queries, f"numbers in key[{j}]", "numbers in query")
        same_length(v, rows[0], f"numbers in value[{j}]", "numbers in value[0]")
    not_empty(rows[0], "scaled_dot_product_attention: a row of value", "numbers")
    factor = 1.0 / math.sqrt(len(queries)) if scale is None else scale
    shares = softmax(affine(keys, [q * factor for q in queries]))
    return cast("list[Value]", affine([list(column) for column in zip(*rows)], shares))

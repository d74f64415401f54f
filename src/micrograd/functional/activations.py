"""Activations, of a Value or a number, or of each in a list; and normalizers over a list of logits."""

from __future__ import annotations

from collections.abc import Iterable

from micrograd._core import Value
from micrograd._nn import as_values, logsumexp_values, shifted_values, softmax_values
from micrograd.functional._inputs import Scalar, elementwise, not_empty


@elementwise
def relu(xs: Value) -> Value:
    """max(0, x) for each x.

    >>> [y.data for y in relu([Value(-1.0), Value(2.0)])]
    [0.0, 2.0]
    """
    return xs.relu()


@elementwise
def leaky_relu(xs: Value, negative_slope: Scalar = 0.01) -> Value:
    """x where x > 0, else negative_slope * x, for each x.

    >>> [y.data for y in leaky_relu([Value(-1.0), Value(2.0)], negative_slope=0.25)]
    [-0.25, 2.0]

    A slope that is a Value has a gradient too, as the weight of PyTorch's `prelu`.
    """
    return xs.leaky_relu(negative_slope)


@elementwise
def elu(xs: Value, alpha: Scalar = 1.0) -> Value:
    """x where x > 0, else alpha * (e**x - 1), for each x: Clevert, Unterthiner and Hochreiter, Fast and Accurate Deep
    Network Learning by Exponential Linear Units (2015).

    >>> [round(y.data, 4) for y in elu([Value(-1.0), Value(2.0)])]
    [-0.6321, 2.0]

    An alpha that is a Value has a gradient too.
    """
    return xs.elu(alpha)


@elementwise
def selu(xs: Value) -> Value:
    """1.0507009873554805 * elu(x, 1.6732632423543772) for each x: Klambauer et al., Self-Normalizing Neural Networks
    (2017).

    >>> [round(y.data, 4) for y in selu([Value(-1.0), Value(2.0)])]
    [-1.1113, 2.1014]
    """
    return xs.selu()


@elementwise
def gelu(xs: Value, approximate: str = "none") -> Value:
    """x times the probability that a standard normal variable is less than x, for each x: Hendrycks and Gimpel,
    Gaussian Error Linear Units (2016). With approximate="tanh", x / 2 * (1 + tanh(√(2 / π) (x + 0.044715 x³))).

    >>> [round(y.data, 4) for y in gelu([Value(-1.0), Value(2.0)])]
    [-0.1587, 1.9545]
    >>> round(gelu(2.0, approximate="tanh").data, 4)
    1.9546

    Raises ValueError for other names of approximations.
    """
    return xs.gelu(approximate)


@elementwise
def silu(xs: Value) -> Value:
    """x * sigmoid(x) for each x; also called swish.

    >>> [round(y.data, 4) for y in silu([Value(-1.0), Value(2.0)])]
    [-0.2689, 1.7616]
    """
    return xs.silu()


@elementwise
def mish(xs: Value) -> Value:
    """x * tanh(log(1 + e**x)) for each x: Misra, Mish: A Self Regularized Non-Monotonic Activation Function (2019).

    >>> [round(y.data, 4) for y in mish([Value(-1.0), Value(2.0)])]
    [-0.3034, 1.944]
    """
    return xs.mish()


@elementwise
def softsign(xs: Value) -> Value:
    """x / (1 + |x|) for each x.

    >>> [y.data for y in softsign([Value(-1.0), Value(3.0)])]
    [-0.5, 0.75]
    """
    return xs.softsign()


@elementwise
def tanh(xs: Value) -> Value:
    """tanh(x) for each x.

    >>> [y.data for y in tanh([Value(0.0)])]
    [0.0]
    """
    return xs.tanh()


@elementwise
def sigmoid(xs: Value) -> Value:
    """1 / (1 + e**-x) for each x, without overflow.

    >>> sigmoid(0.0).data
    0.5
    """
    return xs.sigmoid()


@elementwise
def softplus(xs: Value, beta: Scalar = 1.0) -> Value:
    """log(1 + e**(beta * x)) / beta for each x, without overflow.

    >>> [round(y.data, 4) for y in softplus([Value(-1.0), Value(1000.0)])]
    [0.3133, 1000.0]

    A beta that is a Value has a gradient too. Raises ZeroDivisionError where beta is 0.
    """
    return xs.softplus() if isinstance(beta, float) and beta == 1.0 else (beta * xs).softplus() / beta


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

"""Functions over lists of Values: layers, activations and losses, each of one node or a few; derivatives.

Inputs are lists, tuples or arrays of Values and numbers; results are a Value or a list of Values. Functions of one
number, such as `gelu` and `erf`, take a Value or a number for a Value too. Finite results do not overflow on the way,
but for squares in the norms and losses: the greatest logit is subtracted before exp.
"""

from micrograd.functional.activations import (
    elu,
    gelu,
    leaky_relu,
    log_softmax,
    logsumexp,
    mish,
    relu,
    selu,
    silu,
    softmax,
    softsign,
    tanh,
)
from micrograd.functional.choices import clamp, eq, logical_and, logical_not, logical_or, maximum, minimum, where
from micrograd.functional.derivatives import hessian, hvp, jacobian
from micrograd.functional.elementwise import (
    acos,
    asin,
    atan,
    atan2,
    cbrt,
    cosh,
    erf,
    expm1,
    log1p,
    log2,
    log10,
    reciprocal,
    sinh,
    tan,
)
from micrograd.functional.layers import (
    dot,
    embedding,
    layer_norm,
    linear,
    mean,
    rms_norm,
    scaled_dot_product_attention,
    sum,
    take,
)
from micrograd.functional.losses import cross_entropy, hinge_loss, mse_loss

__all__ = [
    "acos",
    "asin",
    "atan",
    "atan2",
    "cbrt",
    "clamp",
    "cosh",
    "cross_entropy",
    "dot",
    "elu",
    "embedding",
    "eq",
    "erf",
    "expm1",
    "gelu",
    "hessian",
    "hinge_loss",
    "hvp",
    "jacobian",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log1p",
    "log2",
    "log10",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "logsumexp",
    "maximum",
    "mean",
    "minimum",
    "mish",
    "mse_loss",
    "reciprocal",
    "relu",
    "rms_norm",
    "scaled_dot_product_attention",
    "selu",
    "silu",
    "sinh",
    "softmax",
    "softsign",
    "sum",
    "take",
    "tan",
    "tanh",
    "where",
]


def __dir__() -> list[str]:
    return __all__

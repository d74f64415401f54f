"""Functions over lists of Values: layers, activations and losses, each of one node or a few.

Inputs are lists, tuples or arrays of Values and numbers; results are a Value or a list of Values. Finite results do not
overflow on the way, but for squares in the norms and losses: the greatest logit is subtracted before exp.
"""

from micrograd.functional.activations import log_softmax, logsumexp, relu, softmax, tanh
from micrograd.functional.choices import clamp, eq, logical_and, logical_not, logical_or, maximum, minimum, where
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
    "clamp",
    "cross_entropy",
    "dot",
    "embedding",
    "eq",
    "hinge_loss",
    "layer_norm",
    "linear",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "logsumexp",
    "maximum",
    "mean",
    "minimum",
    "mse_loss",
    "relu",
    "rms_norm",
    "scaled_dot_product_attention",
    "softmax",
    "sum",
    "take",
    "tanh",
    "where",
]

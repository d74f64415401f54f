"""Functions over lists of Values: layers, activations and losses, each of one node or a few.

Inputs are lists, tuples or arrays of Values and numbers; results are a Value or a list of Values. Finite results do not
overflow on the way, but for squares in the norms and losses: the greatest logit is subtracted before exp.
"""

from micrograd.functional.activations import log_softmax, logsumexp, relu, softmax, tanh
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

"""Clipping of gradients, between `backward()` and an optimizer's `step()`, as in torch.nn.utils; a `summary` of a
network; `gradcheck`, for ops of one's own; anomaly detection."""

from __future__ import annotations

import math
from collections.abc import Iterable

from micrograd._core import Value
from micrograd._gradcheck import gradcheck
from micrograd._modes import Mode
from micrograd._optim import clamp_grads, grad_norm, number, scale_grads
from micrograd._summary import summary

__all__ = ["clip_grad_norm_", "clip_grad_value_", "detect_anomaly", "gradcheck", "summary"]


def __dir__() -> list[str]:
    return __all__


def clip_grad_norm_(
    parameters: Iterable[Value] | Value,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
    """Scale the grads of the parameters down to a norm of at most `max_norm`, and return the norm they had.

    The grads count as one vector; `norm_type` is the p of the norm, `float("inf")` the largest |grad|. The grads are
    multiplied by max_norm / (norm + 1e-6) where that is less than 1, as torch.nn.utils.clip_grad_norm_ does.

    >>> a, b = Value(1.0), Value(2.0)
    >>> (3 * a + 4 * b).backward()
    >>> clip_grad_norm_([a, b], max_norm=1.0)
    5.0
    >>> round(a.grad, 5), round(b.grad, 5)
    (0.6, 0.8)

    Raises TypeError for what is not a Value, ValueError for a negative `max_norm` or a NaN, and RuntimeError where the
    norm is not finite and `error_if_nonfinite` is set. If it is not set, a norm of infinity makes finite grads 0.0 and
    infinite ones NaN, and a norm of NaN makes all grads NaN.
    """
    params = _parameters(parameters)
    most = _limit(max_norm, "max_norm")
    order = float(norm_type)
    norm = grad_norm(params, order)
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(
            f"the norm of order {order} of the grads is {norm}, so they cannot be clipped; to scale them by it all the "
            "same, set error_if_nonfinite=False"
        )
    factor = most / (norm + 1e-6)
    if not factor >= 1.0:
        scale_grads(params, factor)
    return norm


def clip_grad_value_(parameters: Iterable[Value] | Value, clip_value: float) -> None:
    """Move each grad of the parameters to the nearest number in [-clip_value, clip_value]; NaN stays.

    >>> a, b = Value(1.0), Value(2.0)
    >>> (3 * a - 0.5 * b).backward()
    >>> clip_grad_value_([a, b], 1.0)
    >>> a.grad, b.grad
    (1.0, -0.5)

    Raises TypeError for what is not a Value, ValueError for a negative `clip_value` or a NaN.
    """
    clamp_grads(_parameters(parameters), _limit(clip_value, "clip_value"))


def _parameters(parameters: Iterable[Value] | Value) -> list[Value]:
    return [parameters] if isinstance(parameters, Value) else list(parameters)


def _limit(x: float, what: str) -> float:
    limit = number(x, what)
    if not limit >= 0.0:
        raise ValueError(f"{what} must be at least 0, not {x}")
    return limit


class detect_anomaly(Mode):  # noqa: N801  # as PyTorch's
    """A mode of this thread, a context manager and a decorator, in which the first NaN or infinity raises RuntimeError.

    It is raised by the op whose result is not finite, or in `backward()` and `grad` by the first node that passes on a
    gradient which is not, or that has no derivative. The message has the op, the data of its operands, and the file and
    line that made the node.

    >>> x = Value(1e200)
    >>> with detect_anomaly():
    ...     y = x * 3.0
    ...     z = y * x
    Traceback (most recent call last):
        ...
    RuntimeError: ..., line ...: '*' of 3e+200, 1e+200 is inf
    >>> with detect_anomaly():
    ...     y = (x * 0.0).sqrt()
    ...     (y * 2.0).backward()
    Traceback (most recent call last):
        ...
    RuntimeError: ..., line ...: backward() of 'sqrt' of 0.0 raises ZeroDivisionError: ...

    Of a node that was made outside of the mode, the line is not known. Networks are computed op by op, and `backward()`
    goes through graphs in the slow order, so that both take many times longer. Of a compiled function the outputs and
    gradients of each call are checked, and the message has the number of the sample.
    """

    _name = "detect_anomaly"

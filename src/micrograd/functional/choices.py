"""Choices by the data of Values, which compiled functions make for each sample anew."""

from __future__ import annotations

from typing import Any, Callable, Union

from micrograd._core import Condition, Value, is_bool
from micrograd._nn import chosen, condition_equal, greater, lesser
from micrograd.functional._inputs import Scalar, as_value

Choice = Union[Scalar, Callable[[], Scalar]]


def _condition(x: Any, what: str) -> Any:
    if isinstance(x, Condition):
        return x
    if not is_bool(x):
        hint = "The opposite of a bool is functional.logical_not(x): ~True is -2"
        if getattr(x, "ndim", 0):
            hint = f"np.where takes arrays. {hint}"
        raise TypeError(f"{what} must be a bool, as a comparison of Values is, not {x!r}. {hint}")
    return bool(x)


def where(condition: bool | Condition, a: Choice, b: Choice) -> Value:
    """a if the condition holds, else b: Values, numbers, or functions without arguments that return one.

    >>> x = Value(-4.0)
    >>> where(x > 0.0, lambda: x.sqrt(), 0.0).data
    0.0

    `condition` is a bool, or what a comparison is in a compiled function. Eager code calls the function that is chosen.
    A compiled function has both in its program, and chooses for each sample: what is not chosen raises nothing, and
    sends no gradient, NaN no more than 0.0, to what it was computed from.
    Raises TypeError where the condition is anything else, as `~True`, which is -2.
    """
    condition = _condition(condition, "the condition of where()")
    if isinstance(condition, Condition):
        return chosen(condition, a, b)
    side = a if condition else b
    side = side() if callable(side) and not isinstance(side, Value) else side
    return as_value(side, "what functional.where chooses")


def logical_and(a: bool | Condition, b: bool | Condition) -> bool | Condition:
    """Do both hold? A bool, or in a compiled function a condition.

    >>> logical_and(Value(1.0) > 0.0, Value(1.0) < 0.0)
    False

    Raises TypeError where one is neither a bool nor a condition.
    """
    result: bool | Condition = _condition(a, "a condition") & _condition(b, "a condition")
    return result


def logical_or(a: bool | Condition, b: bool | Condition) -> bool | Condition:
    """Does one hold, or both? A bool, or in a compiled function a condition.

    >>> logical_or(Value(1.0) > 0.0, Value(1.0) < 0.0)
    True

    Raises TypeError where one is neither a bool nor a condition.
    """
    result: bool | Condition = _condition(a, "a condition") | _condition(b, "a condition")
    return result


def logical_not(a: bool | Condition) -> bool | Condition:
    """Does it not hold? A bool, or in a compiled function a condition.

    >>> logical_not(Value(1.0) > 0.0)
    False

    Raises TypeError where it is neither a bool nor a condition.
    """
    a = _condition(a, "a condition")
    return ~a if isinstance(a, Condition) else not a


def eq(a: Scalar, b: Scalar) -> bool | Condition:
    """Are the data equal? A bool, or in a compiled function a condition. (`a == b` asks if they are one object.)

    >>> eq(Value(2.0), 2)
    True
    """
    return condition_equal(a, b)


def maximum(a: Scalar, b: Scalar) -> Value:
    """The greater of two, a node of both: NaN if one is NaN.

    >>> maximum(Value(1.0), 2.0).data
    2.0

    The gradient goes to the greater; each gets half of it where they are equal, as in PyTorch. `max(a, b)` and
    `np.maximum(a, b)` return one of the two, which gets all of it.
    """
    return greater(a, b)


def minimum(a: Scalar, b: Scalar) -> Value:
    """The lesser of two, a node of both: NaN if one is NaN.

    >>> minimum(Value(1.0), 2.0).data
    1.0

    The gradient goes to the lesser; each gets half of it where they are equal, as in PyTorch. `min(a, b)` and
    `np.minimum(a, b)` return one of the two, which gets all of it.
    """
    return lesser(a, b)


def clamp(x: Scalar, min: Scalar | None = None, max: Scalar | None = None) -> Value:
    """x, but no less than `min` and no greater than `max`, as `x.clamp(min, max)`.

    >>> clamp(Value(3.0), 0.0, 2.0).data
    2.0

    Raises TypeError where both are None.
    """
    return as_value(x).clamp(min, max)

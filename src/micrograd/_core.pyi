"""Types of the compiled engine. What each name does is in its docstring."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, SupportsFloat, SupportsIndex, Union, overload

from typing_extensions import Self

# What stands for a number: int, float, bool, NumPy scalars, Fraction, Decimal.
_Number = Union[SupportsFloat, SupportsIndex]

OPS: dict[str, tuple[str, int]]

class Value:
    __array_priority__: ClassVar[float]
    label: str
    data: float
    grad: float

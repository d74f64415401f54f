"""What the functions over lists ask of their inputs."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Callable, Union, overload

from micrograd._core import Value
from micrograd._nn import as_values, known_index

if TYPE_CHECKING:
    from typing import Protocol

    from typing_extensions import Concatenate, ParamSpec

    Parameters = ParamSpec("Parameters")

    class Elementwise(Protocol[Parameters]):
        """A function of one Value, to be called with a Value or a number, or with a list of them for a list."""

        @overload
        def __call__(self, xs: Value | float, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Value: ...
        @overload
        def __call__(
            self, xs: Iterable[Value | float], *args: Parameters.args, **kwargs: Parameters.kwargs
        ) -> list[Value]: ...


Scalar = Union[Value, float]


def as_value(x: Any, what: str = "an input") -> Value:
    return x if isinstance(x, Value) else as_values([x], what)[0]


def same_length(a: Sequence[Any], b: Sequence[Any], a_name: str, b_name: str) -> None:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} {a_name} for {len(b)} {b_name}")


def not_empty(values: list[Any], what: str, items: str = "values") -> None:
    if not values:
        raise ValueError(f"{what} of no {items}")


def has_items(x: Any) -> bool:
    """Is it iterable? Arrays and tensors without dimensions are not, though their types have `__iter__`."""
    return hasattr(x, "__iter__") and getattr(x, "ndim", None) != 0


def index_in(i: Any, items: Sequence[Any]) -> int:
    """The index that i is. Raises IndexError if there is no such one of the items, TypeError if i is no integer."""
    i = known_index(i)
    if has_items(i):
        raise TypeError(f"an index must be one integer, not {i!r}")
    try:
        index = operator.index(i)
    except TypeError as error:
        raise TypeError(f"an index must be an integer, not {i!r}") from error
    if not 0 <= index < len(items):
        raise IndexError(f"index {i} of {len(items)} items")
    return index


def elementwise(function: Callable[Concatenate[Value, Parameters], Value]) -> Elementwise[Parameters]:
    """The function, of a list too: the list of its results."""
    function.__annotations__.update({"xs": "Scalar | Iterable[Scalar]", "return": "Value | list[Value]"})  # for help()

    @functools.wraps(function)
    def mapped(xs: Any, *args: Any, **kwargs: Any) -> Any:
        values = as_values(xs, "an input")
        if isinstance(xs, Value) or not has_items(xs):
            return function(values[0], *args, **kwargs)
        return [function(x, *args, **kwargs) for x in values]

    return mapped

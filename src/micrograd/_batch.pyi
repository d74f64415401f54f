"""Types of the arguments of compiled functions. What each name does is said in its docstring."""

from collections.abc import Iterator
from typing import Any, Final, final

from typing_extensions import Self

def form_of(argument: Any, leaves: list[Any], name: int | str | None) -> Any: ...
def rebuild(form: Any, leaves: Iterator[Any]) -> Any: ...
def form_of_shape(shape: tuple[int, ...]) -> Any: ...

@final
class Batch:
    rows: Final[int]
    key: Final[bytes]
    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]: ...
    def __new__(cls, arrays: tuple[Any, ...], names: tuple[str, ...] = ()) -> Self: ...

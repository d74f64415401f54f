"""Types of the trace. What each name does is said in its docstring."""

from collections.abc import Callable
from typing import Any, Final, NoReturn, final

from typing_extensions import Self

from micrograd._core import Value

ADVICE: str

class TraceError(RuntimeError): ...

def refuse(what: str) -> NoReturn: ...
def check(value: Value, what: str, change: bool) -> None: ...
def in_trace() -> bool: ...
def is_told(value: Value) -> bool: ...
def call_traced(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], outputs: list[Any]
) -> Any: ...
def placeholder() -> Value: ...
def is_traced(value: Value) -> bool: ...
def op_name(op: int) -> str: ...

@final
class Trace:
    rows: Final[tuple[tuple[int, Any], ...]]
    outputs: Final[tuple[int, ...]]
    captured: Final[tuple[Value, ...]]
    arguments: Final[int]
    read: Final[int]
    folded: Final[int]
    shared: Final[int]
    def __new__(cls, outputs: list[Any], placeholders: list[Value]) -> Self: ...

"""Types of the trace. What each name does is said in its docstring."""

from typing import Any, Final, NoReturn, final

from micrograd._core import Value

class TraceError(RuntimeError): ...

def refuse(what: str) -> NoReturn: ...
def placeholder() -> Value: ...
def is_traced(value: Value) -> bool: ...
def op_name(op: int) -> str: ...

@final
class Trace:
    rows: Final[list[tuple[int, Any]]]
    outputs: Final[list[int]]
    captured: Final[list[Value]]
    arguments: Final[int]
    read: Final[int]
    folded: Final[int]
    shared: Final[int]
    def __init__(self, outputs: list[Any], placeholders: list[Value]) -> None: ...

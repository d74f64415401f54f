"""Types of what compiles functions. What each name does is said in its docstring."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NoReturn, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from micrograd._core import TraceError as TraceError
from micrograd._core import Value

DEEPEST: int

def refuse(what: str) -> NoReturn: ...
def in_trace() -> bool: ...
def tree_flatten(argument: Any, leaves: list[Any], name: int | str | None) -> Any: ...
def tree_count(tree: Any, depth: int = 0) -> int: ...
def tree_unflatten(tree: Any, leaves: Iterator[Any], depth: int = 0) -> Any: ...
def tree_of_shape(shape: tuple[int, ...]) -> Any: ...

@final
class Batch:
    samples: Final[int]
    key: Final[bytes]
    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]: ...
    def __new__(cls, arrays: tuple[Any, ...], names: tuple[int | str, ...] = ()) -> Self: ...

def call_traced(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], outputs: list[Any]
) -> Any: ...
def placeholder() -> Value: ...
def is_traced(value: Value) -> bool: ...
def op_name(op: int) -> str: ...

@final
class Trace:
    instructions: Final[tuple[tuple[int, Any], ...]]
    outputs: Final[tuple[int, ...]]
    captured: Final[tuple[Value, ...]]
    arguments: Final[int]
    read: Final[int]
    folded: Final[int]
    shared: Final[int]
    def __new__(cls, outputs: list[Any], placeholders: list[Value]) -> Self: ...

@final
class Lowered:
    def __new__(cls, trace: Trace) -> Self: ...

@final
class Program:
    trace: Final[Trace]
    instructions: Final[tuple[tuple[int, Any], ...]]
    outputs: Final[tuple[int, ...]]
    invariant: Final[tuple[bool, ...]]
    schedule: Final[tuple[tuple[int, ...], ...]]
    invariants: Final[int]
    prologue: Final[Plan]
    def __new__(cls, trace: Trace) -> Self: ...
    def counts(self, gradients: bool) -> tuple[int, int]: ...

@final
class Plan:
    slots: Final[int]
    steps: Final[int]

@final
class Steps:
    def __new__(cls, program: Program, needs: list[bool], prologue: bool) -> Self: ...

def check_counts(state: Any) -> tuple[Any, ...]: ...
def check_instructions(instructions: Any, outputs: Any, captured: Any, arguments: Any) -> None: ...
def check_program(program: Program) -> None: ...

@final
class PlanCheck: ...

def variants() -> list[str]: ...
def use_variant(name: str) -> None: ...

@final
class Replay:
    def __new__(cls, program: Program, mode: int, batch: Batch) -> Self: ...
    def run_thread(self) -> None: ...

@final
class Traced:
    program: Final[Program]
    tree: Final[Any]
    indices: Final[tuple[int, ...]]
    def __new__(cls, program: Program, tree: Any, indices: Iterable[int] | None = None) -> Self: ...
    def is_current(self) -> bool: ...
    def reduce(self, batch: Batch, mean: bool, threads: int) -> Value: ...
    def value_and_grad(self, batch: Batch, threads: int, grads: NDArray[np.float64]) -> float: ...
    def map(self, batch: Batch, threads: int, out: NDArray[np.float64]) -> None: ...
    def sample(self, leaves: list[Any]) -> list[Value]: ...

def known_sample(
    known: dict[Any, Traced], owners: tuple[type, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any: ...
def known_reduce(
    known: dict[Any, Traced],
    owners: tuple[type, ...],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    mean: bool,
    threads: int,
) -> Value | Batch | None: ...

"""Types of programs. What each name does is said in its docstring."""

from typing import Any, Final, final

from typing_extensions import Self

from micrograd._trace import Trace

@final
class Program:
    trace: Final[Trace]
    rows: Final[tuple[tuple[int, Any], ...]]
    outputs: Final[tuple[int, ...]]
    uniform: Final[tuple[bool, ...]]
    schedule: Final[tuple[tuple[int, ...], ...]]
    uniforms: Final[int]
    once: Final[Plan]
    def __new__(cls, trace: Trace) -> Self: ...
    def counts(self, gradients: bool) -> tuple[int, int]: ...

@final
class Plan:
    slots: Final[int]
    steps: Final[int]

@final
class Steps:
    def __new__(cls, program: Program, needs: list[bool], once: bool) -> Self: ...

"""Types of programs. What each name does is said in its docstring."""

from typing import Any, Final, final

from micrograd._trace import Trace

@final
class Program:
    trace: Final[Trace]
    rows: Final[list[tuple[int, Any]]]
    outputs: Final[list[int]]
    uniform: Final[list[bool]]
    schedule: Final[list[list[int]]]
    uniforms: Final[int]
    once: Final[Plan]
    def __init__(self, trace: Trace) -> None: ...
    def counts(self, gradients: bool) -> tuple[int, int]: ...

@final
class Plan:
    slots: Final[int]
    steps: Final[int]

@final
class Steps:
    def __init__(self, program: Program, needs: list[bool], once: bool) -> None: ...

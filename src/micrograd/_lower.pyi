"""Types of the rows of a program. What each name does is said in its docstring."""

from typing import final

from typing_extensions import Self

from micrograd._trace import Trace

@final
class Lowered:
    def __new__(cls, trace: Trace) -> Self: ...

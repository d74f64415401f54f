"""Types of the rows of a program. What each name does is said in its docstring."""

from typing import final

from micrograd._trace import Trace

@final
class Lowered:
    def __init__(self, trace: Trace) -> None: ...

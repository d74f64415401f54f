"""Types of the replay. What each name does is said in its docstring."""

from typing import final

from typing_extensions import Self

from micrograd._batch import Batch
from micrograd._program import Program

@final
class Replay:
    def __new__(cls, program: Program, mode: int, batch: Batch) -> Self: ...
    def work(self) -> None: ...

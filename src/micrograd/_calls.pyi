"""Types of the calls of a compiled function. What each name does is said in its docstring."""

from collections.abc import Iterable
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from micrograd._batch import Batch
from micrograd._core import Value
from micrograd._program import Program

@final
class Traced:
    program: Final[Program]
    form: Final[Any]
    places: Final[tuple[int, ...]]
    def __new__(cls, program: Program, form: Any, places: Iterable[int] | None = None) -> Self: ...
    def is_current(self) -> bool: ...
    def reduce(self, batch: Batch, mean: bool, threads: int) -> Value: ...
    def value_and_grad(self, batch: Batch, threads: int, grads: NDArray[np.float64]) -> float: ...
    def map(self, batch: Batch, threads: int, out: NDArray[np.float64]) -> None: ...
    def sample(self, leaves: list[Any]) -> list[Value]: ...

def known_reduce(
    known: dict[Any, Traced], args: tuple[Any, ...], kwargs: dict[str, Any], mean: bool, threads: int
) -> Value | None: ...
def known_sample(known: dict[Any, Traced], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value | None: ...

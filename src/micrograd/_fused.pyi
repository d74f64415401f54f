"""Types of the fused sums. What each name does is said in its docstring."""

from collections.abc import Callable
from typing import Any

from micrograd._core import Value

def sample(x: Any) -> list[Any]: ...
def layer_outputs(neurons: list[Any], x: list[Any], plain_call: Callable[..., Any]) -> list[Value]: ...

"""Types of the optimizers' loops. Editors show the docstrings here: those of public names, as in the module."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, final, overload

from micrograd._core import Value

_Loss = TypeVar("_Loss")

@final
class State:
    @property
    def params(self) -> tuple[Value, ...]: ...
    def __new__(cls, params: Iterable[Value], values: Iterable[tuple[float, ...]], width: int) -> State: ...
    def values(self) -> list[tuple[float, ...]]: ...

def number(x: Any, what: str) -> float: ...
def is_leaf(value: Value) -> bool: ...
def synced(self: object) -> list[State]: ...
@overload
def step(self: object, closure: None = None) -> None:
    """Update the parameters' data from their grads.

    With a `closure`, call it first, to clear the grads, compute the loss and call its `backward()`, and return what
    it returns.

    >>> from micrograd import Value
    >>> from micrograd.optim import SGD
    >>> x = Value(1.0)
    >>> optimizer = SGD([x], lr=0.1)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = x * x
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure), x
    (Value(data=1.0, grad=1.0), Value(data=0.8, grad=2.0))

    Raises TypeError or ValueError where `param_groups` were changed to what the constructor would not take.
    """

@overload
def step(self: object, closure: Callable[[], _Loss]) -> _Loss: ...
def zero_grad(self: object, set_to_none: bool = True) -> None:
    """Set the grad of every parameter to 0.0. `set_to_none` has no effect, since a grad is always a float; programs for
    PyTorch may pass it.

    >>> from micrograd import Value
    >>> from micrograd.optim import SGD
    >>> x = Value(1.0)
    >>> (x * x).backward()
    >>> SGD([x]).zero_grad()
    >>> x.grad
    0.0
    """

def sgd(state: State, group: dict[str, Any]) -> None: ...
def adam(state: State, group: dict[str, Any]) -> None: ...
def rmsprop(state: State, group: dict[str, Any]) -> None: ...
def grad_norm(params: list[Value], order: float) -> float: ...
def scale_grads(params: list[Value], factor: float) -> None: ...
def clamp_grads(params: list[Value], limit: float) -> None: ...

"""Modes of a thread as context managers and decorators; what they do is in `_core/modes.pxi`."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, overload

from micrograd._core import is_grad_enabled, mode_enter, mode_exit, no_grad_resume, no_grad_suspend

__all__ = ["is_grad_enabled", "no_grad"]

_F = TypeVar("_F", bound=Callable[..., Any])


class Mode:
    """A context manager of this thread, and a decorator: of a generator function, its code runs in the mode."""

    _name: str

    def __enter__(self) -> None:
        mode_enter(self._name)

    def __exit__(self, *raised: object) -> None:
        mode_exit(self._name)

    def __call__(self, function: _F) -> _F:
        if not callable(function):
            raise TypeError(f"{type(self).__name__} decorates functions, not {type(function).__name__!r}")
        if inspect.isgeneratorfunction(function):
            return self._generator(function)  # type: ignore[no-any-return]

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    def _generator(self, function: Any) -> Any:
        """A generator that is in the mode while it runs, and not while its caller does."""

        @functools.wraps(function)
        def generate(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            resume, sent = generator.send, None
            try:
                while True:
                    with self:
                        item = resume(sent)
                    try:
                        resume, sent = generator.send, (yield item)
                    except Exception as raised:
                        resume, sent = generator.throw, raised
            except StopIteration as end:
                return end.value
            finally:
                with self:
                    generator.close()

        return generate


class no_grad(Mode):  # noqa: N801  # as PyTorch's
    """A mode of this thread, a context manager and a decorator, in which the results of ops are leaves.

    They hold no graph, so that their memory is freed as soon as they are, and a long loop keeps nothing of its past.

    >>> import micrograd
    >>> from micrograd import Value
    >>> x = Value(3.0)
    >>> with micrograd.no_grad():
    ...     y = x * x
    >>> y.data, y._prev
    (9.0, set())
    >>> @micrograd.no_grad()
    ... def predict(x):
    ...     return (x * 2.0).tanh()
    >>> predict(x)._prev
    set()

    As in PyTorch, `@micrograd.no_grad` does the same without parentheses.

    This goes for networks, `functional`, results of compiled functions and ops of your own; what is assigned to the
    `_backward` of a leaf there is dropped. It may be nested; of a generator function, the code runs in the mode, and
    that of its caller does not. In a compiled function, no gradient flows back through what is computed in it.

    Raises RuntimeError where it is left in another thread than it was entered in.
    """

    _name = "no_grad"

    @overload
    def __new__(cls, function: None = None) -> no_grad: ...

    @overload
    def __new__(cls, function: _F) -> _F: ...  # type: ignore[misc]

    def __new__(cls, function: Any = None) -> Any:
        mode = super().__new__(cls)
        return mode if function is None else mode(function)


@contextlib.contextmanager
def grad_enabled() -> Iterator[None]:
    """A context for which the thread leaves `no_grad`, if it is in it."""
    depth = no_grad_suspend()
    try:
        yield
    finally:
        no_grad_resume(depth)

"""`micrograd.compile`: a function of one sample, written over Values, traced once and replayed over a batch.

Here is what its user meets; tracing, programs and their replay are compiled, in `_trace`, `_program`, `_replay`
and `_calls`.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from numbers import Number
from typing import TYPE_CHECKING, Any, overload

from micrograd._batch import Batch, form_of, form_of_shape, rebuild
from micrograd._calls import Traced, known_reduce, known_sample
from micrograd._core import Value
from micrograd._listing import listing
from micrograd._program import Program
from micrograd._trace import Trace, TraceError, is_traced, placeholder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Compiled", "TraceError", "compile"]

_tracing = 0  # traces under way: a compiled function that is called in one becomes part of it


class Compiled:
    """A function of one sample and what `compile()` makes of it, which see.

    It is traced when it meets arguments of a new structure: other shapes, or other static keyword arguments.
    """

    def __init__(self, function: Callable[..., Any], threads: int = 1) -> None:
        if not callable(function):
            raise TypeError(f"micrograd.compile takes a function, not {type(function).__name__!r}")
        self._threads = operator.index(threads)  # of an array without dimensions, an int for good
        if self._threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self._function: Callable[..., Any] | None = function
        self._programs: dict[Any, Traced] = {}  # by the structure of arguments
        self._batches: dict[Any, Traced] = {}  # the same by the shapes of batches, which are quicker to tell
        self._captured: dict[int, Value] = {}  # by id, in the order of use
        self._traces = 0
        # Few functions have attributes of their own, and CPython finds those of an object more slowly once its __dict__
        # has been asked for.
        updated = ["__dict__"] if getattr(function, "__dict__", None) else []
        functools.update_wrapper(self, function, updated=updated)

    # -- calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns for one sample, the same to the bit: a Value, or a nested list of them.

        Its gradients go to the captured leaves and to those arguments that are Values.

        >>> import micrograd
        >>> x = Value(3.0)
        >>> y = micrograd.compile(lambda x: x * x)(x)
        >>> y.backward()
        >>> y.data, x.grad
        (9.0, 6.0)
        """
        if not _tracing:
            known = known_sample(self._programs, args, kwargs)
            if known is not None:
                return known
        leaves: list[Any] = []
        named, static = _split(kwargs)
        forms = tuple([form_of(arg, leaves, i) for i, arg in enumerate(args)])
        named_forms = tuple([(name, form_of(arg, leaves, name)) for name, arg in named])
        if _tracing or any(isinstance(leaf, Value) and is_traced(leaf) for leaf in leaves):
            return self._original()(*args, **kwargs)
        traced = self._traced(forms, named_forms, static)
        return rebuild(traced.form, iter(traced.sample(leaves)))

    def map(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns for each row of a batch, without gradients.

        The leading axis of every array is the batch. A function that returns one Value gives an array (rows,), one that
        returns a list of m an array (rows, m); a list that is nested unevenly gives the like of it, of arrays (rows,).

        >>> import micrograd
        >>> micrograd.compile(lambda x: [x[0] + x[1], x[0] * x[1]]).map([[1.0, 2.0], [3.0, 4.0]])
        array([[ 3.,  2.],
               [ 7., 12.]])

        Raises TypeError where an array is not of real numbers, ValueError with the shapes where there is no leading
        axis or not one length, and whatever an op raises, with the number of the row.
        """
        import numpy as np

        traced, batch = self._batch(args, kwargs)
        outputs = len(traced.program.outputs)
        flat = np.empty(batch.rows * outputs)
        traced.map(batch, self._threads, flat)
        table = flat.reshape(batch.rows, outputs)
        shape = _shape(traced.form)
        return rebuild(traced.form, iter(table.T)) if shape is None else table.reshape(batch.rows, *shape)

    def sum(self, *args: Any, **kwargs: Any) -> Value:
        """The sum over the rows of a batch of what the function returns: a Value whose parents are the captured leaves.

        >>> import micrograd
        >>> w = Value(2.0)
        >>> loss = micrograd.compile(lambda x, y: (w * x - y) ** 2).sum([1.0, 2.0], [1.0, 1.0])
        >>> loss.backward()
        >>> loss.data, w.grad
        (10.0, 14.0)

        Raises what `map()` raises, and TypeError where the function returns a list. What has no derivative raises in
        `backward()`.
        """
        known = known_reduce(self._batches, args, kwargs, False, self._threads)
        return self._reduce(args, kwargs, mean=False) if known is None else known

    def mean(self, *args: Any, **kwargs: Any) -> Value:
        """The sum over the rows of a batch times 1 / rows, as `sum()`.

        >>> import micrograd
        >>> micrograd.compile(lambda x: x * x).mean([1.0, 3.0]).data
        5.0

        Raises ValueError where there are no rows.
        """
        known = known_reduce(self._batches, args, kwargs, True, self._threads)
        return self._reduce(args, kwargs, mean=True) if known is None else known

    def value_and_grad(self, *args: Any, **kwargs: Any) -> tuple[float, NDArray[np.float64]]:
        """The sum over the rows of a batch, and its gradient in the order of `captured`, as numbers.

        It is what a worker sends back: the sums of the parts of a batch, added up, are that of the batch.

        >>> import micrograd
        >>> w = Value(2.0)
        >>> micrograd.compile(lambda x, y: (w * x - y) ** 2).value_and_grad([1.0, 2.0], [1.0, 1.0])
        (10.0, array([14.]))

        Raises what `sum()` and its `backward()` raise.
        """
        import numpy as np

        traced, batch = self._scalar_batch(args, kwargs)
        grads = np.zeros(len(self._captured))
        total: float = traced.value_and_grad(batch, self._threads, grads)
        return total, grads

    # -- looking inside

    @property
    def captured(self) -> list[Value]:
        """The leaves from outside that the function has been found to use: a model's parameters, in the order of use.

        >>> import micrograd
        >>> w, b = Value(2.0), Value(1.0)
        >>> f = micrograd.compile(lambda x: w * x + b)
        >>> f(3.0).data, f.captured == [w, b]
        (7.0, True)
        """
        return list(self._captured.values())

    @property
    def retraces(self) -> int:
        """How often it was traced again, for arguments of a new structure.

        >>> import micrograd
        >>> f = micrograd.compile(lambda x: x * x)
        >>> f(1.0).data, f(2.0).data, f.retraces
        (1.0, 4.0, 0)
        """
        return max(self._traces - 1, 0)

    @property
    def program(self) -> str:
        """The programs it was traced to, for reading.

        >>> import micrograd
        >>> w = Value(2.0)
        >>> f = micrograd.compile(lambda x, y: (w * x - y) ** 2)
        >>> f.sum([1.0, 2.0], [1.0, 1.0]).data
        10.0
        >>> print(f.program)
        <lambda>(number, number)
          read: 3 ops, of 2 arguments and 1 captured leaves
          folded: 0 ops of numbers
          dropped: 0 ops met before, 0 arguments unused
          fused: 0 sums of products, 0 layers of them
          forward: 3 instructions on 5 slots
          with gradients: 8 instructions on 7 slots
          each row:
            r3 = mul(w0, x0)
            r4 = sub(r3, x1)
            r6 = pow(r4, 2.0)
          returns: r6
        """
        name = getattr(self, "__name__", "function")
        return "\n\n".join(listing(_title(name, *key), traced.program) for key, traced in self._programs.items())

    def __repr__(self) -> str:
        return f"<compiled {getattr(self, '__qualname__', 'function')}, {len(self._programs)} programs>"

    # -- pickling: the programs go along, the function does not, since what it captures where it is unpickled would be
    # other leaves than those that came with the programs

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: getattr(self, name, None) for name in functools.WRAPPER_ASSIGNMENTS if name != "__annotations__"}
        return {
            **{name: value for name, value in kept.items() if isinstance(value, str)},
            "_threads": self._threads,
            "_programs": self._programs,
            "_captured": self.captured,
            "_traces": self._traces,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._captured = {id(leaf): leaf for leaf in state["_captured"]}
        self._function = None
        self._batches = {}

    # -- tracing

    def _original(self) -> Callable[..., Any]:
        if self._function is None:
            raise TraceError(
                f"{self!r} came without its function, which is not pickled, and has no program for arguments of this "
                "structure: call it with such arguments before it is pickled"
            )
        return self._function

    def _reduce(self, args: tuple[Any, ...], kwargs: dict[str, Any], mean: bool) -> Value:
        traced, batch = self._scalar_batch(args, kwargs)
        if mean and not batch.rows:
            raise ValueError("the mean of no rows")
        return traced.reduce(batch, mean, self._threads)

    def _scalar_batch(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Traced, Batch]:
        traced, batch = self._batch(args, kwargs)
        if traced.form is not None:
            raise TypeError(f"{self!r} returns a list, of which there is no sum: only map() and one sample")
        return traced, batch

    def _batch(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Traced, Batch]:
        named, static = _split(kwargs)
        if not args and not named:
            raise ValueError("a batch needs at least one array")
        names = tuple([name for name, _ in named])
        batch = Batch((*args, *[arg for _, arg in named]), names)
        key = (batch.key, names, static) if kwargs else batch.key
        traced = self._batches.get(key)
        if traced is None:
            forms = tuple([form_of_shape(shape) for shape in batch.shapes])
            positional = len(args)
            traced = self._traced(forms[:positional], tuple(zip(names, forms[positional:])), static)
            self._batches[key] = traced
        return traced, batch

    def _traced(self, forms: Any, named: Any, static: Any) -> Traced:
        key = forms, named, static
        try:
            found = self._programs.get(key)
        except TypeError as error:
            raise TypeError(f"static keyword arguments must be hashable: {error}") from None
        if found is None:
            found = self._programs[key] = self._trace(forms, named, static)
        return found

    def _trace(self, forms: Any, named: Any, static: Any) -> Traced:
        global _tracing
        placeholders: list[Value] = []
        outputs: list[Any] = []
        args = [_filled(form, placeholders) for form in forms]
        kwargs = {name: _filled(form, placeholders) for name, form in named}
        _tracing += 1
        try:
            result = self._original()(*args, **kwargs, **dict(static))
        finally:
            _tracing -= 1
        self._traces += 1
        form = form_of(result, outputs, None)
        # Nobody but the graph may hold what it was computed from, or it would not be told from what is used elsewhere.
        del result, args, kwargs
        trace = Trace(outputs, placeholders)
        for leaf in trace.captured:
            if id(leaf) not in self._captured:
                self._captured[id(leaf)] = leaf
        place = dict(zip(self._captured, range(len(self._captured))))
        return Traced(Program(trace), form, [place[id(leaf)] for leaf in trace.captured])


def _split(kwargs: dict[str, Any]) -> tuple[list[tuple[str, Any]], tuple[tuple[str, Any], ...]]:
    """Keyword arguments that are numbers, and those that are static, by name."""
    items = sorted(kwargs.items())
    return [x for x in items if _is_numbers(x[1])], tuple([x for x in items if not _is_numbers(x[1])])


def _is_numbers(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return bool(x) and all(map(_is_numbers, x))
    return (isinstance(x, (Value, Number)) and not isinstance(x, bool)) or hasattr(x, "tolist")


def _filled(form: Any, placeholders: list[Value]) -> Any:
    """What is of this form, of new placeholders, which are appended."""
    fresh = [placeholder() for _ in range(_count(form))]
    placeholders.extend(fresh)
    return rebuild(form, iter(fresh))


def _title(name: str, forms: Any, named: Any, static: Any) -> str:
    args = [_described(form) for form in forms] + [f"{key}: {_described(form)}" for key, form in named]
    return f"{name}({', '.join(args + [f'{key}={value!r}' for key, value in static])})"


def _described(form: Any) -> str:
    """A form in words: 3, or 2 x 3, numbers."""
    shape = _shape(form)
    if shape is None:
        return f"{_count(form)} numbers, nested"
    return f"{' x '.join(map(str, shape))} numbers" if shape else "number"


def _count(form: Any) -> int:
    """Numbers in a form."""
    if form is None:
        return 1
    items = form[1]
    return items if isinstance(items, int) else sum(map(_count, items))


def _shape(form: Any) -> tuple[int, ...] | None:
    """The shape of an array of this form; None where lists are of different lengths."""
    if form is None:
        return ()
    items = form[1]
    if isinstance(items, int):
        return (items,)
    shapes = {_shape(item) for item in items}
    shape = shapes.pop()
    return None if shapes or shape is None else (len(items), *shape)


@overload
def compile(fn: Callable[..., Any], *, threads: int = 1) -> Compiled: ...
@overload
def compile(fn: None = None, *, threads: int = 1) -> Callable[[Callable[..., Any]], Compiled]: ...
def compile(
    fn: Callable[..., Any] | None = None, *, threads: int = 1
) -> Compiled | Callable[[Callable[..., Any]], Compiled]:
    """Compile a function of one sample, written over Values: it is traced once and replayed over batches.

    Its arguments are numbers, or nested lists and tuples of them; it returns a Value or a nested list of Values. Values
    from outside, such as a model's parameters, are read at every call and get the gradients. Keyword arguments that are
    no numbers are static: they are handed to the function as they are, and it is traced for each.

    >>> import micrograd
    >>> w, b = Value(0.5), Value(0.0)
    >>> @micrograd.compile
    ... def loss(x, y):
    ...     return (w * x + b - y) ** 2
    >>> total = loss.mean([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]) + 0.01 * w * w
    >>> total.backward()
    >>> total.data, w.grad, b.grad
    (10.5025, -13.99, -6.0)

    `threads` is how many threads share the rows of a batch; sums and gradients do not depend on it.

    A trace is what the function computes, not how it came to: what it reads, draws or decides in Python is decided for
    good. Reading `.data` of what depends on the arguments raises TraceError.
    """
    if fn is None:
        return functools.partial(Compiled, threads=threads)
    return Compiled(fn, threads)

"""`micrograd.compile`: a function of one sample, written over Values, traced once and replayed over a batch.

Here are calls, and which program belongs to which arguments; tracing, programs and their replay are in `_compile`.
"""

from __future__ import annotations

import copy
import functools
import operator
import sys
import weakref
from array import array
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any, overload

from micrograd import _compile
from micrograd._arguments import (
    Static,
    check_static,
    count_arguments,
    filled,
    joined,
    of_each_sample,
    of_method,
    shape_of,
    split,
    static_parameters,
    title,
)
from micrograd._compile import (
    Batch,
    Program,
    Sums,
    Trace,
    Traced,
    TraceError,
    call_traced,
    is_traced,
    known_reduce,
    known_sample,
    numpy_for,
    refuse,
    tree_flatten,
    tree_of_shape,
    tree_unflatten,
)
from micrograd._core import Value, in_trace
from micrograd._listing import Listing, listing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Compiled", "TraceError", "compile"]


def __dir__() -> list[str]:
    return __all__


_MOST_THREADS = 1 << 16
_NAMES = frozenset(functools.WRAPPER_ASSIGNMENTS) - {"__annotations__", "__type_params__"}  # those that are strings

_Static = Static  # as pickles of earlier versions name it

# Pickles of earlier versions name functions of modules that are parts of `_compile` now. Such a pickle names this
# module first, so that those modules exist when it names them.
for _old, _name in (("_trace", "_unpickle_trace"), ("_program", "_unpickle_program"), ("_calls", "_unpickle_traced")):
    _module = sys.modules[f"micrograd.{_old}"] = ModuleType(f"micrograd.{_old}")
    _module.__dict__["_unpickle"] = getattr(_compile, _name)


class Compiled:
    """What `compile()` returns: a function of one sample, compiled for one sample and for batches.

    The function is traced when it is called with arguments of a new structure: other shapes, or other static arguments.

    In a class it is a method, as a function is: each instance has programs of its own, which are freed with it.

    >>> import micrograd
    >>> class Line:
    ...     def __init__(self, slope):
    ...         self.slope = Value(slope)
    ...     @micrograd.compile
    ...     def loss(self, x, y):
    ...         return (self.slope * x - y) ** 2
    >>> line = Line(2.0)
    >>> line.loss.sum([1.0, 2.0], [1.0, 1.0]).data, line.loss.captured == [line.slope], Line(3.0).loss(1.0, 1.0).data
    (10.0, True, 4.0)
    """

    _owners: tuple[type, ...] = ()  # classes that have it for a method

    def __init__(
        self,
        function: Callable[..., Any],
        threads: int = 1,
        static_argnames: str | Iterable[str] = (),
        exact: bool = False,
    ) -> None:
        if not callable(function):
            raise TypeError(f"micrograd.compile takes a function, not {type(function).__name__!r}")
        count = operator.index(threads)  # an int of its own, where `threads` is an array without dimensions
        if count < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self._function: Callable[..., Any] | None = function
        self._threads = min(count, _MOST_THREADS)
        self._exact = bool(exact)
        self._static = static_parameters(function, static_argnames)
        self._short = not self._static  # may calls go to known_sample() and known_reduce()?
        self._programs: dict[Any, Traced] = {}  # by the structure of arguments
        self._batches: dict[Any, Traced] = {}  # the same by the shapes of batches, which are found faster
        self._captured: dict[int, Value] = {}  # by id, in the order of use
        self._instances: dict[int, Any] = {}  # of a method, by id: a weak reference and the three above
        # Few functions have attributes of their own, and CPython looks up those of an object more slowly once its
        # __dict__ has been read.
        updated = ["__dict__"] if getattr(function, "__dict__", None) else []
        functools.update_wrapper(self, function, updated=updated)

    # -- calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns for one sample: a Value, or a nested list of them.

        Its gradients go to the captured leaves and to those arguments that are Values.

        >>> import micrograd
        >>> x = Value(3.0)
        >>> y = micrograd.compile(lambda x: x * x)(x)
        >>> y.backward()
        >>> y.data, x.grad
        (9.0, 6.0)
        """
        known = known_sample(self._programs, args, kwargs) if self._short else None
        if known is not None:
            return known
        leaves: list[Any] = []
        f, positional, named, static = self._received(args, kwargs)
        trees = tuple([tree_flatten(arg, leaves, i) for i, arg in positional])
        named_trees = tuple([(name, tree_flatten(arg, leaves, name)) for name, arg in named])
        if in_trace() or any(isinstance(leaf, Value) and is_traced(leaf) for leaf in leaves):
            return f._inlined(trees, named_trees, static, leaves)
        traced = f._traced(trees, named_trees, static)
        return tree_unflatten(traced.tree, iter(traced.sample(leaves)))

    def map(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns for each sample of a batch, without gradients.

        The leading axis of every array is the batch; without arrays it is one sample. A function that returns one Value
        gives an array (samples,), one that returns a list of m an array (samples, m); an unevenly nested list gives a
        list like it, of such arrays.

        >>> import micrograd
        >>> micrograd.compile(lambda x: [x[0] + x[1], x[0] * x[1]]).map([[1.0, 2.0], [3.0, 4.0]])
        array([[ 3.,  2.],
               [ 7., 12.]])

        Samples may differ in structure, as lists of different lengths do. Each structure is traced once, and the result
        is a list with an item for each sample: a float, an array or a nested list.

        >>> micrograd.compile(lambda x: sum(x)).map([[1.0, 2.0], [3.0], [4.0, 5.0]])
        [3.0, 3.0, 9.0]

        Raises TypeError where an array is not of real numbers, ValueError with the shapes where there is no leading
        axis or not one length, ImportError where NumPy is missing, and whatever an op raises, with the number of the
        sample.
        """
        f, batch, parts = self._batch(args, kwargs)
        numpy = numpy_for("map(), which returns arrays,")

        def outputs(traced: Traced, part: Batch) -> NDArray[np.float64]:
            table: NDArray[np.float64] = numpy.empty((part.samples, len(traced.program.outputs)))
            traced.map(part, f._threads, table.reshape(-1))
            return table

        tables = _each(parts, outputs)
        trees = [traced.tree for traced, _ in parts]
        if len(parts) == 1:
            shape = shape_of(trees[0])
            table = tables[0]
            return tree_unflatten(trees[0], iter(table.T)) if shape is None else table.reshape(batch.samples, *shape)
        items: list[Any] = [None] * batch.samples
        for (traced, part), table in zip(parts, tables):
            for i, item in zip(part.sample_places(), of_each_sample(traced.tree, table)):
                items[i] = item
        return items

    def sum(self, *args: Any, **kwargs: Any) -> Value:
        """The sum over the samples of a batch of what the function returns, with the captured leaves for parents.

        >>> import micrograd
        >>> w = Value(2.0)
        >>> loss = micrograd.compile(lambda x, y: (w * x - y) ** 2).sum([1.0, 2.0], [1.0, 1.0])
        >>> loss.backward()
        >>> loss.data, w.grad
        (10.0, 14.0)

        Where samples differ in structure, as in `map()`, the sums over those of each are added up in the order of their
        first samples.

        Raises what `map()` raises, and TypeError where the function returns a list. What has no derivative raises in
        `backward()`.
        """
        known = known_reduce(self._batches, args, kwargs, False, self._threads) if self._short else None
        return known if isinstance(known, Value) else self._reduce(args, kwargs, known, mean=False)

    def mean(self, *args: Any, **kwargs: Any) -> Value:
        """The sum over the samples of a batch times 1 / samples, as `sum()`.

        >>> import micrograd
        >>> micrograd.compile(lambda x: x * x).mean([1.0, 3.0]).data
        5.0

        Raises ValueError where there are no samples.
        """
        known = known_reduce(self._batches, args, kwargs, True, self._threads) if self._short else None
        return known if isinstance(known, Value) else self._reduce(args, kwargs, known, mean=True)

    def value_and_grad(self, *args: Any, **kwargs: Any) -> tuple[float, NDArray[np.float64]]:
        """The sum over the samples of a batch, and its gradient in the order of `captured`, as numbers.

        It is what a worker sends back: the sums of the parts of a batch, added up, are that of the batch.

        >>> import micrograd
        >>> w = Value(2.0)
        >>> micrograd.compile(lambda x, y: (w * x - y) ** 2).value_and_grad([1.0, 2.0], [1.0, 1.0])
        (10.0, array([14.]))

        Raises what `sum()` and its `backward()` raise, and ImportError where NumPy is missing.
        """
        f, _, parts = self._batch(args, kwargs, scalar=True)
        numpy = numpy_for("value_and_grad(), which returns an array,")
        grads = numpy.zeros(len(f._captured))
        sums = Sums(grads)
        _each(parts, lambda traced, part: sums.add(traced, part, f._threads))
        return sums.numbers(), grads

    # -- inspection

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
        return max(len(self._programs) - 1, 0)

    @property
    def program(self) -> str:
        """The programs it was traced to, for reading: a str, of which `repr()` too gives the lines.

        >>> import micrograd
        >>> w = Value(2.0)
        >>> f = micrograd.compile(lambda x, y: (w * x - y) ** 2)
        >>> f.sum([1.0, 2.0], [1.0, 1.0]).data
        10.0
        >>> f.program
        <lambda>(number, number)
          read: 3 ops, of 2 arguments and 1 captured leaves
          folded: 0 ops of numbers
          dropped: 0 ops met before, 0 arguments unused
          fused: 0 sums of products, 0 layers of them
          forward: 3 instructions on 4 slots
          with gradients: 8 instructions on 7 slots
          each sample:
            r0 = mul(w0, x0)
            r1 = sub(r0, x1)
            r2 = pow(r1, 2.0)
          returns: r2
        """
        name = getattr(self, "__name__", "function")
        return Listing(
            "\n\n".join(listing(title(name, *key), traced.program) for key, traced in self._programs.items())
        )

    def __repr__(self) -> str:
        mode = ", exact" if self._exact else ""
        return f"<compiled {getattr(self, '__qualname__', 'function')}, {len(self._programs)} programs{mode}>"

    # -- as a method

    def __set_name__(self, owner: type, name: str) -> None:
        self._owners = (*self._owners, owner)
        self._short = False

    def __get__(self, instance: Any, owner: type | None = None) -> Compiled:
        bind = getattr(type(self._function), "__get__", None)
        function = self._function if instance is None or bind is None else bind(self._function, instance, owner)
        return self if function is self._function else self._bound(function, instance)

    def _bound(self, function: Any, instance: Any) -> Compiled:
        """The method of an instance. Its programs stay in `_instances` from one access to the next; the instance itself
        is not kept alive."""
        instances, key = self._instances, id(instance)
        kept = instances.get(key)
        if kept is None or kept[0]() is not instance:

            def forget(reference: Any) -> None:
                if instances.get(key, (None,))[0] is reference:
                    del instances[key]

            try:
                reference = weakref.ref(instance, forget)
            except TypeError:
                raise TypeError(
                    "a compiled method keeps programs for each instance by a weak reference, which "
                    f"{type(instance).__name__!r} objects do not support: add '__weakref__' to the class's __slots__"
                ) from None
            kept = instances[key] = reference, {}, {}, {}
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        _, bound._programs, bound._batches, bound._captured = kept
        bound.__dict__.update(
            _function=function, _instances={}, _owners=(), __wrapped__=function, __self__=instance, __func__=self
        )
        if self._static and getattr(function, "__self__", None) is instance:  # not so for a staticmethod
            bound._static = of_method(self._static)
        bound._short = not bound._static
        return bound

    # -- copies and pickles: of the programs, without the function, which would capture other leaves where it is
    # unpickled than those that were pickled with the programs

    def __copy__(self) -> Compiled:
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied._programs, copied._batches = dict(self._programs), dict(self._batches)
        copied._captured, copied._instances = dict(self._captured), {}
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled:
        own = self.__dict__
        if "__self__" in own:
            method: Compiled = own["__func__"].__get__(copy.deepcopy(own["__self__"], memo))
            return method
        if not self._programs:
            return type(self)(copy.deepcopy(self._original(), memo), self._threads, self._static, self._exact)
        copied = object.__new__(type(self))
        copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return copied

    def __getstate__(self) -> dict[str, Any]:
        if not self._programs:
            raise TypeError(
                f"cannot pickle {self!r}: the function is not pickled, only its programs. Call it first, with "
                "arguments of the structure that is to be used"
            )
        kept = {name: getattr(self, name, None) for name in sorted(_NAMES)}
        return {
            **{name: value for name, value in kept.items() if isinstance(value, str)},
            "_threads": self._threads,
            "_exact": self._exact,
            "_static": self._static,
            "_programs": self._programs,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        programs, threads = _checked(state)
        self._function = None
        self._threads = threads
        self._exact = bool(state.get("_exact", True))  # what earlier versions pickled promised eager code's bits
        self._static = check_static(state.get("_static", {}))
        self._short = not self._static
        self._programs, self._batches, self._captured, self._instances = {}, {}, {}, {}
        for name in _NAMES & state.keys():
            if isinstance(state[name], str):
                self.__dict__[name] = state[name]
        for (trees, named, static), traced in programs.items():
            key = trees, named, tuple([Static(pair) for pair in static])
            self._programs[key] = self._registered(traced.program, traced.tree)

    # -- tracing

    def _original(self) -> Callable[..., Any]:
        if self._function is None:
            raise TraceError(
                f"{self!r} came without its function, which is not pickled, and has no program for arguments of this "
                "structure: call it with such arguments before it is pickled"
            )
        return self._function

    def _received(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Compiled, Any, Any, Any]:
        """What is called, and its arguments as split() gives them: by index, by name, static. `Model.loss(model, x)`
        calls the method of its first argument."""
        f = self
        if args and isinstance(args[0], self._owners):
            f = self.__get__(args[0], type(args[0]))
        return f, *split(args if f is self else args[1:], kwargs, f._static)

    def _reduce(self, args: tuple[Any, ...], kwargs: dict[str, Any], batch: Batch | None, mean: bool) -> Value:
        f, batch, parts = self._batch(args, kwargs, batch, scalar=True)
        if batch.groups is not None:
            sums = Sums(array("d", bytes(8 * len(f._captured))), 1.0 / batch.samples if mean else 1.0)
            _each(parts, lambda traced, part: sums.add(traced, part, f._threads))
            return sums.node(list(f._captured.values()))
        if mean and not batch.samples:
            raise ValueError("the mean of no samples")
        traced: Traced = parts[0][0]
        return traced.reduce(batch, mean, f._threads)

    def _batch(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], batch: Batch | None = None, scalar: bool = False
    ) -> tuple[Compiled, Batch, list[tuple[Any, Batch]]]:
        """What is called, the batch, which the caller may have read from the arguments already, and its parts, as
        _each() takes them: one, or a group for each structure of a ragged one."""
        if in_trace():
            refuse(
                "a batch is computed while a compiled function is traced, but its leaves must not be read there. Call "
                "it on one sample, which becomes part of the trace"
            )
        f, positional, named, static = self._received(args, kwargs)
        names = tuple([name for name, _ in named])
        if batch is None:
            given = positional + named
            batch = Batch(tuple([arg for _, arg in given]), tuple([name for name, _ in given]))
        count = len(positional)
        if batch.groups is not None:
            parts: list[tuple[Any, Batch]] = []
            for group in batch.groups:
                try:
                    found = f._traced(group.trees[:count], tuple(zip(names, group.trees[count:])), static)
                    parts.append((f._refuse_list(found) if scalar else found, group))
                except Exception as error:  # earlier samples, of other groups, may raise before it
                    parts.append((error, group))
                    break
            return f, batch, parts
        key = (batch.key, names, static) if names or static else batch.key
        traced = f._batches.get(key)
        if traced is None or not traced.is_current():
            trees = tuple([tree_of_shape(shape) for shape in batch.shapes])
            traced = f._traced(trees[:count], tuple(zip(names, trees[count:])), static)
            f._batches[key] = traced
        return f, batch, [(f._refuse_list(traced) if scalar else traced, batch)]

    def _refuse_list(self, traced: Traced) -> Traced:
        """The program, if it returns one Value."""
        if traced.tree is not None:
            raise TypeError(f"{self!r} returns a list: a sum over samples needs a function that returns one Value")
        return traced

    def _traced(self, trees: Any, named: Any, static: Any) -> Traced:
        key = trees, named, static
        found = self._programs.get(key)
        if found is None or not found.is_current():
            found = self._programs[key] = self._trace(trees, named, static)
        return found

    def _trace(self, trees: Any, named: Any, static: Any) -> Traced:
        placeholders: list[Value] = []
        outputs: list[Any] = []
        args = [filled(tree, placeholders) for tree in trees]
        kwargs = {name: filled(tree, placeholders) for name, tree in named}
        # GraphReader counts references, so that nothing but the graph may refer to what the outputs were computed
        # from. call_traced() drops the function's result for that reason.
        tree = call_traced(self._original(), *joined(args, kwargs, static, self._static), outputs, self._exact)
        return self._registered(Program(Trace(outputs, placeholders)), tree)

    def _inlined(self, trees: Any, named: Any, static: Any, leaves: list[Any]) -> Any:
        """What the function returns in the trace of another: numbers become Values, as at any call."""
        values = iter([leaf if isinstance(leaf, Value) else Value(leaf) for leaf in leaves])
        args = [tree_unflatten(tree, values) for tree in trees]
        kwargs = {name: tree_unflatten(tree, values) for name, tree in named}
        result: list[Any] = []
        positional, by_name = joined(args, kwargs, static, self._static)
        tree = tree_flatten(self._original()(*positional, **by_name), result, None)
        return tree_unflatten(tree, iter([x if isinstance(x, Value) else Value(x) for x in result]))

    def _registered(self, program: Program, tree: Any) -> Traced:
        captured = program.trace.captured
        for leaf in captured:
            # Not setdefault(id(leaf), …): CPython 3.13.0 crashes if memory runs out between a method and its call.
            if id(leaf) not in self._captured:
                self._captured[id(leaf)] = leaf
        index = dict(zip(self._captured, range(len(self._captured))))
        return Traced(program, tree, [index[id(leaf)] for leaf in captured], self._exact)


def _each(parts: list[tuple[Any, Batch]], call: Callable[[Traced, Batch], Any]) -> list[Any]:
    """Call it with each program and its batch: with one, or with the groups of a ragged batch, in the order of their
    first samples. In place of a program may be what tracing it has raised.

    Raises what the first sample raises. An error without a number is that of a group's first sample."""
    results: list[Any] = []
    found: Exception | None = None
    failed = 0
    for traced, batch in parts:
        if found is not None and failed < batch.first:
            break
        try:
            if isinstance(traced, Exception):
                raise traced
            results.append(call(traced, batch))
        except Exception as error:
            if batch.failed < 0:
                raise
            if found is None or batch.failed < failed:
                found, failed = error, batch.failed
    try:
        if found is not None:
            raise found
        return results
    finally:
        found = None  # its traceback refers to this frame


def _checked(state: Any) -> tuple[dict[Any, Traced], int]:
    """The programs and the number of threads in a pickled state. Raises ValueError if it has none."""
    programs = state.get("_programs") if type(state) is dict else None
    threads = state.get("_threads") if type(state) is dict else None
    if type(programs) is not dict or type(threads) is not int or not 1 <= threads <= _MOST_THREADS:
        raise ValueError("a compiled function has programs and a number of threads")
    for key, traced in programs.items():
        if not isinstance(traced, Traced):
            raise ValueError(f"a compiled function has traced programs, not {type(traced).__name__!r}")
        if count_arguments(key) != traced.program.trace.arguments:
            raise ValueError("a program has another number of arguments than its key")
    return programs, threads


@overload
def compile(
    fn: Callable[..., Any], *, threads: int = 1, static_argnames: str | Iterable[str] = (), exact: bool = False
) -> Compiled: ...
@overload
def compile(
    fn: None = None, *, threads: int = 1, static_argnames: str | Iterable[str] = (), exact: bool = False
) -> Callable[[Callable[..., Any]], Compiled]: ...
def compile(
    fn: Callable[..., Any] | None = None,
    *,
    threads: int = 1,
    static_argnames: str | Iterable[str] = (),
    exact: bool = False,
) -> Compiled | Callable[[Callable[..., Any]], Compiled]:
    """Compile a function of one sample, written over Values: it is traced once and replayed over batches.

    Its arguments are numbers, or nested lists and tuples of them; it returns a Value or a nested list of Values. Values
    from outside, such as a model's parameters, are read at every call and get the gradients.

    >>> import micrograd
    >>> w, b = Value(0.5), Value(0.0)
    >>> @micrograd.compile
    ... def loss(x, y):
    ...     return (w * x + b - y) ** 2
    >>> total = loss.mean([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]) + 0.01 * w * w
    >>> total.backward()
    >>> total.data, w.grad, b.grad
    (10.5025, -13.99, -6.0)

    `static_argnames` names parameters that are static, a str or several: what is passed for them, by name or by
    position, is handed to the function as it is, and the function is traced once for each. It may be anything hashable
    without Values. Keyword arguments that are not numbers are static by themselves.

    >>> @micrograd.compile(static_argnames="degree")
    ... def polynomial(x, degree):
    ...     return sum((w * x**k for k in range(degree)), b)
    >>> polynomial(2.0, 3).data, polynomial.sum([1.0, 2.0], degree=2).data
    (3.5, 2.5)

    Raises ValueError for a name that is no parameter of the function. A call raises TypeError for a static argument
    that is not hashable or contains Values.

    `threads` is how many threads share the samples of a batch; sums and gradients do not depend on it.

    `exact=True` computes each sample with the bits of eager code. The default is faster: it has its own exp, log, tanh,
    sigmoid and softplus, within 1.5 units in the last place, and fuses multiplications with additions where the
    processor can, so that the last bits depend on the processor. Errors are the same in both. Called in the trace of
    another compiled function, it computes in the mode of the other.

    >>> exact = micrograd.compile(lambda x: (x * 0.1).tanh() * w, exact=True)
    >>> exact.map([0.7])[0] == exact(0.7).data == (Value(0.7) * 0.1).tanh().data * w.data
    True

    A trace records what the function computes. What it reads, draws or decides in Python is decided once, while it is
    traced; reading `.data` of what depends on the arguments raises TraceError.
    """
    if fn is None:
        return functools.partial(Compiled, threads=threads, static_argnames=static_argnames, exact=exact)
    return Compiled(fn, threads, static_argnames, exact)

"""Arguments of a compiled function: which are numbers and which are static, and their structure, also in words.

Used by compiler.py. A tree is the structure of one argument, as `tree_flatten()` gives it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from numbers import Number
from typing import Any

from micrograd._compile import DEEPEST, placeholder, tree_count, tree_unflatten
from micrograd._core import Value


class Static(tuple[str, Any]):
    """A static argument: its name and value. 1, True and 1.0 differ, and so do -0.0 and 0.0, which are equal in Python:
    the function may treat them differently."""

    __slots__ = ()
    __hash__ = tuple.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and tuple.__eq__(self, other) and _exact(self) == _exact(other)

    def __ne__(self, other: object) -> bool:
        return not self == other


def _exact(x: Any) -> Any:
    """What may differ between equal values: types, the sign of a float, what other numbers show."""
    if isinstance(x, (list, tuple)):
        return type(x), tuple([_exact(item) for item in x])
    if isinstance(x, (set, frozenset)):
        return type(x), {(item, _exact(item)) for item in x}
    if isinstance(x, float):
        return type(x), math.copysign(1.0, x)
    return (type(x), repr(x)) if isinstance(x, Number) and not isinstance(x, int) else type(x)


def static_parameters(function: Callable[..., Any], names: str | Iterable[str]) -> dict[str, int | None]:
    """The parameters that `static_argnames` names, in their order, and the index of each among arguments by position;
    None where it has none. Raises ValueError for a name that the signature does not have."""
    if isinstance(names, str):
        names = (names,)
    names = list(names) if isinstance(names, Iterable) else [names]
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"static_argnames takes a str or an iterable of str, not {type(name).__name__!r}")
    if not names:
        return {}
    import inspect  # not needed elsewhere, and slow to import

    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of a function in C
        return dict.fromkeys(names)
    indices = {p.name: i for i, p in enumerate(parameters) if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)}
    known = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    unknown = [name for name in names if name not in known]
    if unknown and not any(p.kind == p.VAR_KEYWORD for p in parameters):
        raise ValueError(f"static_argnames has {unknown[0]!r}, but the parameters are {', '.join(map(repr, known))}")
    return {name: indices.get(name) for name in [*filter(names.__contains__, known), *unknown]}


def of_method(parameters: dict[str, int | None]) -> dict[str, int | None]:
    """The same for the bound method of the function, whose first argument is the instance."""
    return {name: i and i - 1 for name, i in parameters.items() if i != 0}


def split(
    args: tuple[Any, ...], kwargs: dict[str, Any], parameters: dict[str, int | None]
) -> tuple[list[tuple[int, Any]], list[tuple[str, Any]], tuple[tuple[str, Any], ...]]:
    """Arguments that are numbers, by index and by name, and those that are static, by name: of the static parameters,
    and what is passed by name and is not all numbers."""
    indices, named, static = parameters.values(), [], []
    for name, i in parameters.items():
        if i is not None and i < len(args):
            if name in kwargs:
                raise TypeError(f"argument {name!r} is passed by position and by name")
            static.append(_static(name, args[i], ""))
    for name, x in sorted(kwargs.items()):
        if name in parameters:
            static.append(_static(name, x, ""))
        elif _is_numbers(name, x):
            named.append((name, x))
        else:
            static.append(_static(name, x, ", since it is not all numbers,"))
    positional = [(i, x) for i, x in enumerate(args) if i not in indices]
    return positional, named, tuple(sorted(static, key=operator.itemgetter(0)))


def joined(
    args: list[Any], kwargs: dict[str, Any], static: Any, parameters: dict[str, int | None]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What split() has divided. A static argument is passed by position where those before it are."""
    kwargs = {**kwargs, **dict(static)}
    for name, i in parameters.items():
        if i is not None and i <= len(args) and name in kwargs:
            args.insert(i, kwargs.pop(name))
    return tuple(args), kwargs


def _static(name: str, x: Any, why: str) -> Static:
    _refuse_values(name, x, why)
    try:
        hash(x)
    except TypeError as error:
        raise TypeError(
            f"argument {name!r} is static{why} and must be hashable, which {type(x).__name__!r} is not: {error}"
        ) from None
    return Static((name, x))


def _is_numbers(name: str, x: Any, depth: int = 0) -> bool:
    if isinstance(x, (list, tuple)):
        _bound_depth(name, depth)
        if not x:
            return isinstance(x, list)  # an empty document; an empty tuple is hashable
        return all(type(item) is float or type(item) is int or _is_numbers(name, item, depth + 1) for item in list(x))
    return (isinstance(x, (Value, Number)) and not isinstance(x, bool)) or hasattr(x, "tolist")


def _refuse_values(name: str, x: Any, why: str, depth: int = 0) -> None:
    """Raise TypeError for a Value in a static argument: the trace would capture the Value of this call."""
    if isinstance(x, Value):
        raise TypeError(
            f"argument {name!r} is static{why} and must not contain Values: pass these as arguments of their own"
        )
    if isinstance(x, (list, tuple, set, frozenset, dict)):
        _bound_depth(name, depth)
        for item in list(x):
            _refuse_values(name, item, why, depth + 1)
        if isinstance(x, dict):
            for item in list(x.values()):
                _refuse_values(name, item, why, depth + 1)


def of_each_sample(tree: Any, table: Any) -> list[Any]:
    """What a function that returns this tree returns for each sample: a float, an array or a nested list of floats."""
    shape = shape_of(tree)
    if shape is None:
        return [tree_unflatten(tree, iter(row)) for row in table.tolist()]
    return list(table.reshape(len(table), *shape)) if shape else table[:, 0].tolist()


def _bound_depth(name: str, depth: int) -> None:
    if depth == DEEPEST:
        raise ValueError(f"argument {name!r} is nested more than {DEEPEST} deep")


def count_arguments(key: Any) -> int:
    """The number of leaves in a key of programs: trees by position, trees by name, static arguments by name."""
    if not (type(key) is tuple and len(key) == 3 and all(type(part) is tuple for part in key)):
        raise ValueError("not the structure of arguments")
    trees, named, static = key
    for pair in named + static:
        if not (type(pair) in (tuple, Static) and len(pair) == 2 and type(pair[0]) is str):
            raise ValueError("not the structure of arguments")
    return sum([tree_count(tree) for tree in trees]) + sum([tree_count(tree) for _, tree in named])


def check_static(parameters: Any) -> dict[str, int | None]:
    """The static parameters in a pickled state. Raises ValueError if they are none."""
    if type(parameters) is dict and all(
        type(name) is str and (i is None or (type(i) is int and i >= 0)) for name, i in parameters.items()
    ):
        return parameters
    raise ValueError("static parameters are names with their positions")


def filled(tree: Any, placeholders: list[Value]) -> Any:
    """Nested lists of this tree, with new placeholders, which are appended to `placeholders`."""
    fresh = [placeholder() for _ in range(tree_count(tree))]
    placeholders.extend(fresh)
    return tree_unflatten(tree, iter(fresh))


def title(name: str, trees: Any, named: Any, static: Any) -> str:
    args = [described(tree) for tree in trees] + [f"{key}: {described(tree)}" for key, tree in named]
    return f"{name}({', '.join(args + [f'{key}={value!r}' for key, value in static])})"


def described(tree: Any) -> str:
    """A tree in words: "3 numbers", "2 x 3 numbers"."""
    shape = shape_of(tree)
    if shape is None:
        return f"{tree_count(tree)} numbers, nested"
    return f"{' x '.join(map(str, shape))} numbers" if shape else "number"


def shape_of(tree: Any) -> tuple[int, ...] | None:
    """The shape of an array of this tree; None where lists are of different lengths."""
    if tree is None:
        return ()
    items = tree[1]
    if isinstance(items, int):
        return (items,)
    shapes = {shape_of(item) for item in items}
    shape = shapes.pop()
    return None if shapes or shape is None else (len(items), *shape)

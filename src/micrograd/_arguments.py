"""Arguments of a compiled function: which are numbers and which are static, and their structure, also in words.

Used by compiler.py. A tree is the structure of one argument, as `tree_flatten()` gives it.
"""

from __future__ import annotations

import math
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
    """What may differ between equal values: types, and the sign of a float."""
    if isinstance(x, (list, tuple)):
        return type(x), tuple([_exact(item) for item in x])
    if isinstance(x, (set, frozenset)):
        return type(x), {(item, _exact(item)) for item in x}
    return (type(x), math.copysign(1.0, x)) if isinstance(x, float) else type(x)


def split(kwargs: dict[str, Any]) -> tuple[list[tuple[str, Any]], tuple[tuple[str, Any], ...]]:
    """Keyword arguments that are numbers, and those that are static, by name."""
    named, static = [], []
    for name, x in sorted(kwargs.items()):
        if _is_numbers(name, x):
            named.append((name, x))
        else:
            _refuse_values(name, x)
            static.append(Static((name, x)))
    return named, tuple(static)


def _is_numbers(name: str, x: Any, depth: int = 0) -> bool:
    if isinstance(x, (list, tuple)):
        _bound_depth(name, depth)
        return bool(x) and all(_is_numbers(name, item, depth + 1) for item in list(x))
    return (isinstance(x, (Value, Number)) and not isinstance(x, bool)) or hasattr(x, "tolist")


def _refuse_values(name: str, x: Any, depth: int = 0) -> None:
    """Raise TypeError for a Value in a static argument: the trace would capture the Value of this call."""
    if isinstance(x, Value):
        raise TypeError(
            f"argument {name!r} is static, since it is not all numbers, and must not contain Values: pass these as "
            "arguments of their own"
        )
    if isinstance(x, (list, tuple, set, frozenset, dict)):
        _bound_depth(name, depth)
        for item in list(x):
            _refuse_values(name, item, depth + 1)
        if isinstance(x, dict):
            for item in list(x.values()):
                _refuse_values(name, item, depth + 1)


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

"""`micrograd.utils.summary`: a network's layers and parameters as a table."""

from __future__ import annotations

from typing import Any

from micrograd._core import Value
from micrograd._nn import is_parameter
from micrograd.nn import Layer, Module, Neuron, _items

DEEPEST = 8  # dimensions of a list of lists that are shown as one shape


def summary(model: Module) -> str:
    """A table of the model's layers, with their inputs and outputs, activations and numbers of parameters.

    >>> from micrograd import nn
    >>> print(summary(nn.MLP(3, [4, 4, 1])))
    MLP                              parameters
    -------------------------------------------
    layers.0  Layer  3 -> 4  relu            16
    layers.1  Layer  4 -> 4  relu            20
    layers.2  Layer  4 -> 1  linear           5
    -------------------------------------------
    total                                    41

    Parameters that stand in lists or attributes of the model have a row for each list, with its shape. What is there
    several times is counted once, where it comes first; what is no parameter is not counted.

    Raises TypeError where the model is no Module.
    """
    if not isinstance(model, Module):
        raise TypeError(f"a model must be a Module, not {type(model).__name__!r}")
    rows = _rows(model)
    widths = [max(map(len, column)) for column in zip(*(cells for cells, _ in rows))]
    table = [(type(model).__name__, "parameters")]
    for cells, count in rows:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths) if width]
        table.append(("  ".join(padded), f"{count:,}"))
    table.append(("total", f"{sum(count for _, count in rows):,}"))
    left, right = (max(map(len, column)) for column in zip(*table))
    lines = [f"{name.ljust(left)}  {count.rjust(right)}" for name, count in table]
    ruler = "-" * len(lines[0])
    return "\n".join([lines[0], ruler, *lines[1:-1], ruler, lines[-1]])


def _rows(model: Module) -> list[tuple[list[str], int]]:
    """[name, class, shape, activation] and the number of parameters of each layer and each list of parameters."""
    rows: list[tuple[list[str], int]] = []
    seen: dict[int, Any] = {}  # held, so that no other object gets the id
    stack: list[tuple[str, Any]] = [("", model)]
    while stack:
        name, item = stack.pop()
        if id(item) in seen:
            continue
        seen[id(item)] = item
        kind = type(item).__name__
        if isinstance(item, Value):
            if is_parameter(item):
                rows.append(([name, kind, "()", ""], 1))
            continue
        neurons = item.neurons if isinstance(item, Layer) else [item]
        if neurons and all(isinstance(neuron, Neuron) for neuron in neurons):
            shape, found = f"{len(neurons[0].w)} -> {len(neurons)}", item.parameters()
            activation = ", ".join(dict.fromkeys(map(_activation, neurons)))
        else:
            shape, found, activation = *_shape(item), ""
            if not shape:
                members = [(f"{name}.{key}" if name else str(key), member) for key, member in _items(item) or ()]
                stack.extend(reversed(members))
                continue
        new = {id(p): p for p in found if id(p) not in seen}
        seen.update(new)
        rows.append(([name, kind, shape, activation], len(new)))
    return rows


def _activation(neuron: Neuron) -> str:
    own = neuron.nonlin
    if callable(own):
        return getattr(own, "__name__", None) or type(own).__name__
    return own if isinstance(own, str) else type(neuron).activation if own else "linear"


def _shape(item: Any) -> tuple[str, list[Value]]:
    """The shape of a list, or of lists of lists, of parameters, and these. Empty for anything else."""
    shape: list[str] = []
    level = [item]
    while level and len(shape) < DEEPEST and all(isinstance(x, (list, tuple)) for x in level):
        if isinstance(level[0], Module) or len({len(x) for x in level}) > 1:
            return "", []
        shape.append(str(len(level[0])))
        level = [x for items in level for x in items]
    return (f"({', '.join(shape)})", level) if shape and level and all(map(is_parameter, level)) else ("", [])

"""Pictures: the graph of a Value as karpathy's notebook draws it, a decision boundary, a loss curve.

Needs the extra `viz`: graphviz, whose program `dot` is installed by the system, and Matplotlib. They are imported when
used.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from micrograd._core import Value
from micrograd._drawing import draw
from micrograd._folding import Folds, fold
from micrograd.nn import Module

if TYPE_CHECKING:
    from graphviz import Digraph
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

__all__ = ["draw_dot", "plot_decision_boundary", "plot_loss", "trace"]

_TOO_MANY = "the graph has more than {} {}, too many to see: draw a part, fold it (model, depth), or set max_nodes"


def __dir__() -> list[str]:
    return __all__


def trace(root: Value) -> tuple[set[Value], set[tuple[Value, Value]]]:
    """The nodes of a Value's graph, itself included, and its edges, each from a parent to a node computed from it.

    >>> a, b = Value(2.0), Value(3.0)
    >>> c = a * b + a
    >>> nodes, edges = trace(c)
    >>> len(nodes), sorted((start.data, end.data) for start, end in edges)
    (4, [(2.0, 6.0), (2.0, 8.0), (3.0, 6.0), (6.0, 8.0)])
    """
    parents = _parents(root)
    return set(parents), {(parent, node) for node in parents for parent in parents[node]}


def draw_dot(
    root: Value,
    format: str = "svg",
    rankdir: str = "LR",
    *,
    model: Module | None = None,
    depth: int | None = None,
    max_nodes: int = 500,
) -> Digraph:
    """The graph of a Value as a `graphviz.Digraph`, which a notebook displays and `render()` writes to a file.

    A Value is a box with its label, data (blue) and grad (orange) to four places; its op is a green ellipse with an
    edge to it. `format` is the file's format, `rankdir` the direction: 'LR' from left to right, 'TB' from top to
    bottom.

    >>> x = Value(3.0, label="x")
    >>> y = x.tanh()
    >>> y.backward()
    >>> draw_dot(y).render("graph")                                             # doctest: +SKIP
    'graph.svg'

    With `model`, a Module, the ops of its neurons are folded: each call of a neuron is one box with the data and grad
    of its output, in a frame for its layer, and edges to it are wide where the weight is large, dashed where it is
    negative. `depth` says how far the model is opened, as in torchview: 0 makes one box of it, 1 one of each layer of
    an MLP, 2 one of each neuron, as without `depth`, and 3 draws all ops, with the names of the parameters.

    >>> from micrograd import MLP
    >>> model = MLP(3, [4, 4, 1])
    >>> y = model([2.0, 3.0, -1.0])
    >>> y.backward()
    >>> [draw_dot(y, model=model, depth=depth).source.count("<table") for depth in range(4)]
    [4, 6, 12, 126]

    An activation that is a callable stays outside of its neuron's box. Classes that compute a neuron in another way are
    drawn op by op.

    Raises ValueError where more than `max_nodes` boxes of Values or modules would be drawn, `rankdir` is neither,
    `depth` is negative or without a model; TypeError where `root` is no Value, `model` no Module or `depth` no integer;
    ImportError where the package graphviz is missing.
    """
    if rankdir not in ("LR", "TB"):
        raise ValueError(f"rankdir must be 'LR' or 'TB', not {rankdir!r}")
    if depth is not None:
        depth = operator.index(depth)
        if model is None or depth < 0:
            raise ValueError("depth needs a model" if model is None else f"depth must be at least 0, not {depth}")
    graphviz = _needed("graphviz")
    parents = _parents(root, max_nodes if model is None else math.inf)
    folds = Folds() if model is None else fold(root, parents, model, depth)
    drawn = dict.fromkeys(folds.home.get(node, node) for node in parents if node not in folds.hidden)
    if len(drawn) > max_nodes:
        raise ValueError(_TOO_MANY.format(max_nodes, "boxes"))
    return draw(graphviz, parents, list(drawn), folds, format, rankdir)


def plot_decision_boundary(
    model: Callable[[list[float]], Any], X: ArrayLike, y: ArrayLike, ax: Axes | None = None
) -> Axes:
    """Shade the plane by the sign of the model's score, and over it draw the samples by the sign of their labels, each
    with a colour and a mark that the legend names.

    X is (n, 2), y is (n,). Draws into `ax`, or into a new figure, and returns the axes. The model is called with
    [x0, x1] at 100 x 100 points.

    >>> axes = plot_decision_boundary(lambda x: x[0] + x[1], [[0.0, 1.0], [-1.0, 0.0]], [1, -1])

    Raises ValueError where X is not (n, 2) or y has another length, TypeError where the model returns no single number,
    ImportError where Matplotlib is missing.
    """
    ax = _axes(ax)
    np = import_module("numpy")
    points, labels = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"X must be of shape (n, 2), not {points.shape}")
    if labels.shape != points.shape[:1]:
        raise ValueError(f"y must be of shape ({len(points)},), as X has {len(points)} samples, not {labels.shape}")
    margin = 0.5
    across, up = (np.linspace(column.min() - margin, column.max() + margin, 100) for column in points.T)
    scores = np.array([[_number(model([a, b]), "the model's score") for a in across.tolist()] for b in up.tolist()])
    ax.contourf(across, up, scores, levels=[-np.inf, 0, np.inf], colors=["#cfe6f5", "#fbdcc0"])
    if scores.min() < 0 < scores.max():
        ax.contour(across, up, scores, levels=[0], colors="#333333", linewidths=1.5)
        ax.plot([], [], color="#333333", linewidth=1.5, label="score 0")
    sides = ((labels <= 0, "o", "#0072b2", "y ≤ 0"), (labels > 0, "^", "#d55e00", "y > 0"))  # Okabe and Ito's colours
    for members, mark, colour, sign in sides:
        values = np.unique(labels[members])
        label = f"y = {values[0]:g}" if len(values) == 1 else sign if len(values) else None
        ax.scatter(
            points[members, 0],
            points[members, 1],
            s=40,
            marker=mark,
            c=colour,
            edgecolors="white",
            linewidths=0.7,
            label=label,
        )
    ax.legend(framealpha=0.9)
    ax.set(xlabel="x[0]", ylabel="x[1]", aspect="equal")
    return ax


def plot_loss(history: Iterable[Value | float], ax: Axes | None = None) -> Axes:
    """The loss over the steps of a training run: a line through `history`, numbers or Values.

    Draws into `ax`, or a new figure, and returns the axes.

    >>> axes = plot_loss([1.0, 0.5, 0.25])
    >>> axes.get_xlabel(), axes.get_ylabel()
    ('step', 'loss')

    Raises TypeError where a loss is not a number, ImportError where Matplotlib is missing.
    """
    losses = [_number(loss, "a loss") for loss in history]
    ax = _axes(ax)
    ax.plot(range(1, len(losses) + 1), losses)
    ax.set(xlabel="step", ylabel="loss")
    return ax


def _parents(root: Value, most: float = math.inf) -> dict[Value, list[Value]]:
    """The graph of a Value: the parents of each node, each once, from the root on."""
    if not isinstance(root, Value):
        raise TypeError(f"root must be a Value, not {type(root).__name__!r}")
    parents: dict[Value, list[Value]] = {}
    todo = [root]
    while todo:
        node = todo.pop()
        if node in parents:
            continue
        if len(parents) == most:
            raise ValueError(_TOO_MANY.format(most, "Values"))
        parents[node] = list(dict.fromkeys(node._children))
        todo += reversed(parents[node])
    return parents


def _number(x: Any, what: str) -> float:
    try:
        return x.data if isinstance(x, Value) else float(x)
    except TypeError:
        raise TypeError(f"{what} must be a Value or a number, not {type(x).__name__!r}") from None


def _axes(ax: Axes | None) -> Axes:
    if ax is None:
        ax = _needed("matplotlib.pyplot").subplots(layout="constrained")[1]
    return ax


def _needed(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ImportError(
            f"micrograd.viz needs {package}: pip install 'micrograd-cython[viz]'", name=package
        ) from error

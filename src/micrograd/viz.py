"""Pictures: the graph of a Value as karpathy's notebook draws it, a decision boundary, a loss curve.

Needs the extra `viz`: graphviz, whose program `dot` is installed by the system, and Matplotlib. They are imported when
used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from micrograd._core import Value

if TYPE_CHECKING:
    from graphviz import Digraph
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

__all__ = ["draw_dot", "plot_decision_boundary", "plot_loss", "trace"]


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


def draw_dot(root: Value, format: str = "svg", rankdir: str = "LR", *, max_nodes: int = 500) -> Digraph:
    """The graph of a Value as a `graphviz.Digraph`, which a notebook displays and `render()` writes to a file.

    A Value is a box with its label, data and grad to four places; its op is an ellipse with an edge to it. `format` is
    the file's format, `rankdir` the direction: 'LR' from left to right, 'TB' from top to bottom.

    >>> x = Value(3.0, label="x")
    >>> y = x.tanh()
    >>> y.backward()
    >>> print(draw_dot(y).source)
    digraph {
        graph [rankdir=LR]
        0 [label="{ data 0.9951 | grad 1.0000 }" shape=record]
        "0 op" [label=tanh]
        "0 op" -> 0
        1 -> "0 op"
        1 [label="{ x | data 3.0000 | grad 0.0099 }" shape=record]
    }

    Raises ValueError where the graph has more than `max_nodes` Values or `rankdir` is neither; ImportError where the
    package graphviz is missing.
    """
    if rankdir not in ("LR", "TB"):
        raise ValueError(f"rankdir must be 'LR' or 'TB', not {rankdir!r}")
    graphviz = _needed("graphviz")
    parents = _parents(root, max_nodes)
    names = {node: str(i) for i, node in enumerate(parents)}
    dot: Digraph = graphviz.Digraph(format=format, graph_attr={"rankdir": rankdir})
    for node, name in names.items():
        fields = [f"data {node.data:.4f}", f"grad {node.grad:.4f}"]
        label = "" if node.label is None else str(node.label)
        if label:
            fields.insert(0, re.sub(r"([\\{}|<> ])", r"\\\1", label))
        dot.node(name, label=f"{{ {' | '.join(fields)} }}", shape="record")
        if node._op:
            dot.node(f"{name} op", label=graphviz.escape(str(node._op)))
            dot.edge(f"{name} op", name)
        for parent in parents[node]:
            dot.edge(names[parent], f"{name} op" if node._op else name)
    return dot


def plot_decision_boundary(
    model: Callable[[list[float]], Any], X: ArrayLike, y: ArrayLike, ax: Axes | None = None
) -> Axes:
    """Shade the plane by the sign of the model's score, and over it draw the samples by the sign of their labels.

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
    ax.contourf(across, up, scores, levels=[-np.inf, 0, np.inf], colors=["#c6dbef", "#fdd0a2"])
    if scores.min() < 0 < scores.max():
        ax.contour(across, up, scores, levels=[0], colors="#555555", linewidths=1)
    for members, colour in ((labels <= 0, "#2171b5"), (labels > 0, "#d94801")):
        ax.scatter(points[members, 0], points[members, 1], s=28, c=colour, edgecolors="white", linewidths=0.6)
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


def _parents(root: Value, most: float = float("inf")) -> dict[Value, list[Value]]:
    """The graph of a Value: the parents of each node, each once, from the root on."""
    parents: dict[Value, list[Value]] = {}
    todo = [root]
    while todo:
        node = todo.pop()
        if node in parents:
            continue
        if len(parents) == most:
            raise ValueError(f"the graph has more than {most} Values, too many to see: draw a part, or set max_nodes")
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

"""How `viz.draw_dot` draws a graph: the boxes, ellipses and edges that graphviz's program `dot` lays out."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

from micrograd._core import Value
from micrograd._folding import Box, Folds, Graph
from micrograd.nn import Neuron

if TYPE_CHECKING:
    from graphviz import Digraph

FONT = "Helvetica,Arial,sans-serif"
# For light and dark pages: dark text on light fills, lines between the two. Blue, orange and green are hues of Okabe
# and Ito's palette, which the colour-blind tell apart.
LINE, NAME, DATA, GRAD, OP = "#7d8590", "#ffffff", "#cfe6f5", "#fbdcc0", "#00664b"
MOST_OUTPUTS = 8  # of a layer or a network, that its box shows


def draw(graphviz: Any, parents: Graph, drawn: list[Value | Box], folds: Folds, format: str, rankdir: str) -> Digraph:
    """Draw the Values and boxes in `drawn`, with room for the edges between layers."""
    font = {"fontname": FONT, "fontsize": "12"}
    dot: Digraph = graphviz.Digraph(
        format=format,
        graph_attr={"rankdir": rankdir, "bgcolor": "transparent", "ranksep": "0.3", **font},
        node_attr={"color": LINE, **font},
        edge_attr={"color": LINE, "arrowsize": "0.7"},
    )
    if folds.weights:
        dot.graph_attr.update(ranksep="0.8", remincross="false")  # room between layers; neurons and inputs in order
    names = {thing: str(i) for i, thing in enumerate(drawn)}
    frames: dict[Box, list[Box]] = {}
    copied = set(folds.same.values())
    for thing, name in names.items():
        if isinstance(thing, Value):
            label = "" if thing.label is None else str(thing.label)
            # A number is a node of each neuron that got it, with a grad of its own, so the one that is drawn has none.
            rows = _value(thing, label or folds.names.get(thing, ""), thing not in copied)
            dot.node(name, _table(rows), shape="plain")
            if thing._op:
                op = graphviz.escape(str(thing._op))
                dot.node(f"{name} op", op, style="filled", color=OP, fillcolor=OP, fontcolor="white")
                dot.edge(f"{name} op", name)
        elif thing.frame is None:
            dot.node(name, _box(thing), shape="plain")
        else:
            frames.setdefault(thing.frame, []).append(thing)
    for i, (frame, boxes) in enumerate(frames.items()):
        with dot.subgraph(name=f"cluster {i}") as cluster:
            cluster.attr(label=graphviz.escape(_title(frame)), style="rounded,dashed", color=LINE, fontcolor=LINE)
            for box in boxes:
                cluster.node(names[box], _box(box), shape="plain")
    for (start, end), weight in _edges(parents, names, folds).items():
        attributes = {} if weight is None else _weighted(weight, folds, rankdir)
        dot.edge(start, end, **attributes)
    return dot


def _edges(parents: Graph, names: dict[Value | Box, str], folds: Folds) -> dict[tuple[str, str], Value | None]:
    """The edges by their ends' names, each with the weight that it stands for, if that is one."""
    edges: dict[tuple[str, str], Value | None] = {}
    for node in parents:
        end = folds.home.get(node, node)
        if end not in names:
            continue
        to = f"{names[end]} op" if isinstance(end, Value) and end._op else names[end]
        for parent in parents[node]:
            x = folds.same.get(parent, parent)
            start = folds.home.get(x, x)
            if isinstance(end, Value):
                edges[names[start], to] = None
            elif start is not end and start in names and x not in folds.own:
                edges[names[start], to] = folds.weights.get((x, end))
    return edges


def _weighted(weight: Value, folds: Folds, rankdir: str) -> dict[str, str]:
    """An edge as wide as the weight is large, dashed if that is negative; in SVG its tooltip has the numbers."""
    name = re.sub(r"[\\\s]", " ", folds.names.get(weight, "weight"))
    tail, head = "ew" if rankdir == "LR" else "sn"
    return {
        "penwidth": f"{0.5 + min(1.5 * abs(weight.data), 3.5):.2f}" if weight.data == weight.data else "0.5",
        "style": "dashed" if weight.data < 0 else "solid",
        "tooltip": f"{name}: data {weight.data:.4f}, grad {weight.grad:.4f}",
        "tailport": tail,
        "headport": head,
    }


def _value(node: Value, label: str, with_grad: bool = True) -> list[str]:
    rows = [_cell(label, NAME, bold=True)] if label else []
    rows.append(_cell(f"data {node.data:.4f}", DATA))
    if with_grad:
        rows.append(_cell(f"grad {node.grad:.4f}", GRAD))
    return [f"<tr>{cell}</tr>" for cell in rows]


def _title(box: Box) -> str:
    """Name, class and size of a layer or network."""
    count = len(box.module.parameters())
    name = f"{box.name}: " if box.name else ""
    return f"{name}{type(box.module).__name__}, {count:,} parameter{'s' if count != 1 else ''}"


def _box(box: Box) -> str:
    """A call of a module as a table: its name, then data and grad of each output."""
    outputs = box.outputs
    if isinstance(box.module, Neuron) and len(outputs) == 1:
        name = box.name[len(box.frame.name) :].lstrip(".") if box.frame else box.name
        op = str(outputs[0]._op)
        return _table([f"<tr>{_cell(f'{name} {op}' if op != '+' else name, OP)}</tr>", *_value(outputs[0], "")])
    rows = [f"<tr>{_cell(_title(box), OP, columns=2)}</tr>"]
    rows += [
        f"<tr>{_cell(f'data {node.data:.4f}', DATA)}{_cell(f'grad {node.grad:.4f}', GRAD)}</tr>"
        for node in outputs[:MOST_OUTPUTS]
    ]
    if len(outputs) > MOST_OUTPUTS:
        rows.append(f"<tr>{_cell(f'and {len(outputs) - MOST_OUTPUTS:,} more outputs', NAME, columns=2)}</tr>")
    return _table(rows)


def _table(rows: list[str]) -> str:
    """graphviz's HTML-like label: the only one whose fields have colours of their own."""
    return f'<<table border="0" cellborder="1" cellspacing="0" cellpadding="4">{"".join(rows)}</table>>'


def _cell(text: str, fill: str, *, bold: bool = False, columns: int = 1) -> str:
    # XML has no control characters; graphviz replaces \N and the like here too.
    shown = html.escape(re.sub(r"[\x00-\x1f\ud800-\udfff\ufffe\uffff]", " ", text)).replace("\\", r"\\")
    shown = f"<b>{shown}</b>" if bold else shown
    if fill == OP:
        shown = f'<font color="white">{shown}</font>'
    span = f' colspan="{columns}"' if columns > 1 else ""
    return f'<td{span} bgcolor="{fill}">{shown}</td>'

"""Which nodes of a graph belong to a network, for `viz.draw_dot` with `model=`: each call of a neuron, a layer or the
whole network is one box. How boxes look is in viz.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from micrograd._core import OPS, Value
from micrograd.nn import Module, Neuron, _items

Graph = dict[Value, list[Value]]
Path = tuple[tuple[str, Module], ...]  # the modules from the model to a neuron, each with its name from the model on


@dataclass(eq=False)
class Box:
    """A call of a module."""

    name: str  # of the module, as in `named_parameters()`; empty for the model itself
    module: Module
    number: int  # in the order of creation
    neurons: set[int] = field(default_factory=set)  # ids of the neurons whose calls it contains
    outputs: list[Value] = field(default_factory=list)  # its nodes that others use, or the root
    frame: Box | None = None  # the call of the module around it


@dataclass
class Folds:
    """How a graph is drawn: which nodes are in boxes, and which are not drawn at all."""

    home: dict[Value, Box] = field(default_factory=dict)
    own: set[Value] = field(default_factory=set)  # weights and biases of what is in boxes
    hidden: set[Value] = field(default_factory=set)
    same: dict[Value, Value] = field(default_factory=dict)  # for copies of a number, one for each neuron: the first
    names: dict[Value, str] = field(default_factory=dict)  # of parameters, and of inputs without a label
    weights: dict[tuple[Value, Box], Value] = field(default_factory=dict)  # of an input, where a box is a neuron


@dataclass(eq=False)
class _Call:
    """A call of a neuron."""

    path: Path
    nodes: list[Value]  # products, sums and activation, a bias that is a number; the last one is the output
    inputs: list[Value]
    key: tuple[Any, ...] = ()  # equal for calls with the same inputs


def fold(root: Value, parents: Graph, model: Module, depth: int | None) -> Folds:
    """Fold the calls of modules at `depth` below the model, which has depth 0, and of neurons that lie less deep; with
    None, of all neurons. `parents` has the parents of each node, each once.

    Raises TypeError where the model is no Module.
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, not {type(model).__name__!r}")
    order = _parents_first(root, parents)
    users: Graph = {node: [] for node in order}
    for node in order:
        for parent in parents[node]:
            users[parent].append(node)
    paths = [path for path in _paths(model) if depth is None or depth < len(path)]
    calls = {call.nodes[-1]: call for path in paths for call in _calls(path, users)}
    folds = Folds(names={p: name for name, p in model.named_parameters()})
    numbers = {x for x in order if not (parents[x] or x._op or x.label or x in folds.names)}
    _compare_inputs(calls.values(), numbers, folds)

    def level(path: Path) -> int:
        return len(path) - 1 if depth is None else min(depth, len(path) - 1)

    boxes, between = _group(order, parents, calls, level)
    frames, _ = _group(order, parents, calls, lambda path: level(path) - 1)
    for output, box in boxes.items():
        box.frame = frames.get(output)
        _put(calls[output], box, folds)
    folds.home.update(between)
    for node in order:
        homes = {folds.home.get(user) for user in users[node]}
        home = folds.home.get(node)
        if home:
            if node is root or homes != {home}:
                home.outputs.append(node)
        elif (
            node in folds.same
            or (node in folds.own and None not in homes)
            or (node in numbers and homes and all(user in between for user in users[node]))
        ):
            folds.hidden.add(node)
    return folds


def _parents_first(root: Value, parents: Graph) -> list[Value]:
    """The nodes in a topological order, each after its parents. Without recursion: a graph may be deep."""
    order: dict[Value, None] = {}
    seen: set[Value] = set()
    todo = [(root, False)]
    while todo:
        node, done = todo.pop()
        if done:
            order[node] = None
        elif node not in seen:
            seen.add(node)
            todo.append((node, True))
            todo.extend((parent, False) for parent in parents[node][::-1])
    return list(order)


def _paths(model: Module) -> Iterator[Path]:
    """The way to each neuron in the model."""
    seen: dict[int, Any] = {}  # held, so that no other object gets the id
    stack: list[tuple[str, Any, Path]] = [("", model, ())]
    while stack:
        name, item, path = stack.pop()
        if id(item) in seen:
            continue
        seen[id(item)] = item
        if isinstance(item, Module):
            path = (*path, (name, item))
        if isinstance(item, Neuron):
            yield path
        else:
            members = [(f"{name}.{key}" if name else str(key), member, path) for key, member in _items(item) or ()]
            stack.extend(reversed(members))


def _calls(path: Path, users: Graph) -> Iterator[_Call]:
    """The neuron's calls in the graph. The ops of an activation that is a callable are not part of them."""
    neuron: Any = path[-1][1]
    own = neuron.nonlin
    name = own if isinstance(own, str) or callable(own) or not own else type(neuron).activation
    op = OPS[name][0] if name in OPS else None
    for nodes in _sums(neuron.w, neuron.b, users):
        inputs = [node._children[1] for node in nodes if node._op == "*"]
        total = nodes[-1]
        nodes += [node for node in users[total] if op and node._op == op and node._children == (total,)][:1]
        yield _Call(path, nodes, inputs)


def _sums(w: list[Value], b: Value | None, users: Graph) -> Iterator[list[Value]]:
    """Each b + w[0] x[0] + w[1] x[1] + … in the graph, added in this order: its products and sums."""
    if isinstance(b, Value):
        started = [[s._children[1], s] for s in users.get(b, ()) if _is_sum(s, b, w[0])]
    else:  # a number, 0 where the bias is None, is added to the first product
        products = [p for p in users.get(w[0], ()) if _is_op(p, "*", w[0])]
        started = [[s._children[1], p, s] for p in products for s in users[p] if _is_op(s, "+", p)]
    for nodes in started:
        for weight in w[1:]:
            total = next((s for s in users[nodes[-1]] if _is_sum(s, nodes[-1], weight)), None)
            if total is None:
                break
            nodes += (total._children[1], total)
        else:
            yield nodes


def _is_op(node: Value, op: str, left: Value) -> bool:
    return node._op == op and len(node._children) == 2 and node._children[0] is left


def _is_sum(node: Value, left: Value, weight: Value) -> bool:
    """Whether the node is left + weight * x."""
    return _is_op(node, "+", left) and _is_op(node._children[1], "*", weight)


def _compare_inputs(calls: Iterable[_Call], numbers: set[Value], folds: Folds) -> None:
    """Tell which calls have the same inputs. Numbers are compared by data, since each neuron makes nodes of them."""
    firsts: dict[tuple[Any, ...], Value] = {}
    for call in calls:
        call.key = (id(call.path[-2:][0][1]), *(repr(x.data) if x in numbers else x for x in call.inputs))
        for i, x in enumerate(call.inputs):
            first = firsts.setdefault((i, *call.key), x)
            if x in numbers:
                folds.names.setdefault(first, f"x[{i}]")
                if x is not first:
                    folds.same[x] = first


def _put(call: _Call, box: Box, folds: Folds) -> None:
    """Put a neuron's call into a box."""
    neuron: Any = call.path[-1][1]
    folds.home.update(dict.fromkeys(call.nodes, box))
    folds.own.update(p for p in (*neuron.w, neuron.b) if isinstance(p, Value))
    if box.name == call.path[-1][0]:
        folds.weights.update({(folds.same.get(x, x), box): w for x, w in zip(call.inputs, neuron.w)})


def _group(
    order: list[Value], parents: Graph, calls: dict[Value, _Call], level: Callable[[Path], int]
) -> tuple[dict[Value, Box], dict[Value, Box]]:
    """The box of each neuron's call, by its output: a call of the module at `level` of the neuron's path. Then the
    nodes between the neurons of a box, such as those of an activation that is a callable.

    A box has a neuron once. A call goes into a box of the same module with the same inputs; otherwise, unless the
    module is the layer, into the newest box of the module that the inputs were computed from; otherwise into a new box.
    """
    boxes: dict[Value, Box] = {}
    between: dict[Value, Box] = {}
    of_inputs: dict[tuple[Any, ...], list[Box]] = {}
    newest: dict[Value, dict[int, Box]] = {}  # boxes that a node was computed from, by the module's id
    for node in order:
        newest[node] = _newest([newest[parent] for parent in parents[node]])
        call = calls.get(node)
        at = level(call.path) if call else -1
        if call is None or at < 0:
            continue
        (name, module), neuron = call.path[at], id(call.path[-1][1])
        several = at < len(call.path) - 2  # layers
        before = newest[node].get(id(module)) if several else None
        alike = of_inputs.setdefault((id(module), *call.key), [])
        box = next((b for b in (*alike, before) if b and neuron not in b.neurons), None)
        if box is None:
            box = Box(name, module, len(boxes))
            alike.append(box)
        elif box is before:
            alike.append(box)
            todo = list(call.inputs)
            while todo:
                x = todo.pop()
                if boxes.get(x) is not box and x not in between and newest[x].get(id(module)) is box:
                    between[x] = box
                    todo += parents[x]
        box.neurons.add(neuron)
        boxes[node] = box
        if several:
            newest[node] = {**newest[node], id(module): box}
    return boxes, between


def _newest(known: list[dict[int, Box]]) -> dict[int, Box]:
    if len(known) == 1:
        return known[0]
    found: dict[int, Box] = {}
    for boxes in known:
        for module, box in boxes.items():
            if module not in found or found[module].number < box.number:
                found[module] = box
    return found

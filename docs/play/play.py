"""The playground's part in Python: programs written from settings, run in steps, and what the page draws of them.

The page's worker imports this module in Pyodide and calls `Playground` with JSON. A program is what the page shows in
its editor. It defines `X`, `y`, `model` and `step()`; with `loss_of(score, label)` the page can show gradients of a
sample. Of this module a program takes nothing: saved to a file it trains by itself.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import linecache
import math
import random
import re
import time
import traceback
from array import array
from types import SimpleNamespace
from typing import Any

from micrograd import Value, no_grad

GRID = 48  # points a side at which the boundary is computed,
THUMB = 16  # and at which each neuron is
WIDEST, DEEPEST = 12, 4  # hidden layers that the page has room for
PATIENCE = 0.2  # seconds after which a request to train returns early
FILE = "program.py"  # what tracebacks call the program

ACTIVATIONS = ["tanh", "relu", "sigmoid", "silu", "gelu", "sin"]
OPTIMIZERS = ["SGD", "Adam", "AdamW", "RMSprop"]


# ---- Data: the source of the function that is chosen becomes a part of the program ----------------------------------


def moons(n):
    """Two half-moons that reach into each other."""
    X, y = [], []
    for i in range(n):
        side = 1 if i % 2 else -1
        t = math.pi * random.random()
        x0, x1 = 1.5 * math.cos(t) + 0.75, 1.5 * math.sin(t) - 0.4
        X.append([random.gauss(side * x0, 0.15), random.gauss(side * x1, 0.15)])
        y.append(side)
    return X, y


def circles(n):
    """A disc, and a ring around it."""
    X, y = [], []
    for i in range(n):
        side = 1 if i % 2 else -1
        radius = random.uniform(0, 1.1) if side > 0 else random.uniform(1.6, 2.4)
        t = 2 * math.pi * random.random()
        X.append([radius * math.cos(t), radius * math.sin(t)])
        y.append(side)
    return X, y


def spiral(n):
    """Two arms around each other."""
    X, y = [], []
    for i in range(n):
        side = 1 if i % 2 else -1
        radius = 0.2 + 2.2 * i / n
        t = 2.6 * radius
        X.append([side * radius * math.cos(t), side * radius * math.sin(t)])
        y.append(side)
    return X, y


def xor(n):
    """Four squares; those across from each other are of one class."""
    X, y = [], []
    for i in range(n):
        side, flip = 1 if i % 2 else -1, random.choice([-1, 1])
        X.append([flip * random.uniform(0.15, 2.2), side * flip * random.uniform(0.15, 2.2)])
        y.append(side)
    return X, y


DATA = {function.__name__: function for function in (moons, circles, spiral, xor)}

PROGRAM = """\
import math
import random

import micrograd
from micrograd import nn, optim


{data}

random.seed({seed})
X, y = {name}(120)  # points of the plane, labels -1 and 1
model = nn.MLP(2, {layers}, activation="{activation}")
optimizer = optim.{optimizer}(model.parameters(), lr={rate!r})


def loss_of(score, label):
    return (-label * score).softplus()  # log(1 + exp(-label * score))


@micrograd.compile
def sample_loss(x, label):
    return loss_of(model(x), label)


def step():  # the page calls this, again and again
    loss = sample_loss.mean(X, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.data


if __name__ == "__main__":  # in a file of its own
    for i in range(1, 501):
        loss = step()
        if i % 100 == 0:
            print(f"step {{i}}  loss {{loss:.4f}}")
"""


# ---- Settings, which are the texts of the page's form ---------------------------------------------------------------


def read_layers(text: str) -> list[int]:
    """The widths of the hidden layers. Raises ValueError for what is no list of them, or too large for the page."""
    words = re.findall(r"[^\s,;]+", text)
    if len(words) > DEEPEST:
        raise ValueError(f"At most {DEEPEST} hidden layers fit on this page, and these are {len(words)}.")
    for word in words:
        if not (re.fullmatch(r"[0-9]{1,4}", word) and 1 <= int(word) <= WIDEST):
            raise ValueError(f"A layer has 1 to {WIDEST} neurons, not {_short(word)}. Example: 8, 8")
    return [int(word) for word in words]


def read_rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= 10:
        raise ValueError(f"The learning rate is a number above 0 and up to 10, not {_short(text)}.")
    return rate


def read_seed(text: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        raise ValueError(f"The seed is a whole number of up to 9 digits, not {_short(text)}.")
    return int(text)


def _short(text: str) -> str:
    return repr(text.strip()) if len(text) < 25 else repr(text[:20] + "…")


READERS = {"layers": read_layers, "rate": read_rate, "seed": read_seed}
CHOICES = {"data": list(DATA), "activation": ACTIVATIONS, "optimizer": OPTIMIZERS}


def check(settings: dict[str, str]) -> dict[str, str]:
    """What is wrong with each of the settings, by its name."""
    wrong = {}
    for name, reader in READERS.items():
        try:
            reader(settings.get(name, ""))
        except ValueError as error:
            wrong[name] = str(error)
    for name, choices in CHOICES.items():
        if settings.get(name) not in choices:
            wrong[name] = f"Choose {', '.join(choices[:-1])} or {choices[-1]}."
    return wrong


def program(settings: dict[str, str]) -> str:
    """The program of settings that `check` finds nothing wrong with."""
    return PROGRAM.format(
        data=inspect.getsource(DATA[settings["data"]]),
        name=settings["data"],
        seed=read_seed(settings["seed"]),
        layers=[*read_layers(settings["layers"]), 1],
        activation=settings["activation"],
        optimizer=settings["optimizer"],
        rate=read_rate(settings["rate"]),
    )


# ---- A program that runs --------------------------------------------------------------------------------------------


class ProgramError(Exception):
    """The program failed; the text is a traceback of its own lines, or a sentence."""


def _number(x: Any, what: str) -> float:
    """The number that a Value, a list of one, or a number is."""
    if isinstance(x, (list, tuple)) and len(x) == 1:
        x = x[0]
    x = x.data if isinstance(x, Value) else x
    if isinstance(x, (int, float)):
        return float(x)
    raise ProgramError(f"{what} must be a number or a Value, not {type(x).__name__!r}.")


@contextlib.contextmanager
def _reported() -> Any:
    """Raises what the program raises as ProgramError."""
    try:
        yield
    except ProgramError:
        raise
    except (Exception, SystemExit) as error:
        trail = traceback.TracebackException.from_exception(error)
        own = [i for i, frame in enumerate(trail.stack) if frame.filename == FILE]
        trail.stack = traceback.StackSummary.from_list(trail.stack[own[0] :] if own else [])
        raise ProgramError("".join(trail.format())) from error


class Playground:
    """One program at a time. The methods take and return what JSON can express, but for arrays of floats."""

    def __init__(self) -> None:
        self.p = SimpleNamespace()
        self.steps = 0
        self.printed = io.StringIO()

    def run(self, source: str) -> dict[str, Any]:
        """Run a program from its start, in place of the one before, which stays if this one fails."""
        lines = source.splitlines(keepends=True)
        linecache.cache[FILE] = (len(source), None, lines, FILE)
        names: dict[str, Any] = {"__name__": "program"}
        self.printed = io.StringIO()
        with _reported(), contextlib.redirect_stdout(self.printed):
            exec(compile(source, FILE, "exec", dont_inherit=True), names)
        missing = [name for name in ("X", "y", "model", "step") if name not in names]
        if missing:
            raise ProgramError(f"The program must define X, y, model and step(). It lacks {', '.join(missing)}.")
        with _reported():
            points = [[_number(a, "a coordinate") for a in x] for x in names["X"]]
            labels = [_number(label, "a label") for label in names["y"]]
        if not points or len(points) != len(labels) or any(len(point) != 2 for point in points):
            raise ProgramError("X must be a list of points [x0, x1], and y a list with a label for each.")
        if not all(map(math.isfinite, [*labels, *(a for point in points for a in point)])):
            raise ProgramError("X and y must be finite.")
        self.p, self.steps = SimpleNamespace(**names), 0
        self.points, self.labels = points, labels
        self.extent = 1.12 * (max(abs(a) for point in points for a in point) or 1.0)
        return {"points": points, "labels": labels, "extent": self.extent}

    def train(self, steps: int) -> dict[str, Any]:
        """So many steps, or fewer if they take long. The losses, and why it ended early, if it did."""
        losses: list[float] = []
        end, problem = time.monotonic() + PATIENCE, ""
        try:
            while len(losses) < steps and (not losses or time.monotonic() < end):
                with _reported(), contextlib.redirect_stdout(self.printed):
                    loss = _number(self.p.step(), "what step() returns")
                losses.append(loss)
                if not math.isfinite(loss):
                    problem = f"The loss is {loss} at step {self.steps + len(losses)}. Try a lower learning rate."
                    break
        except ProgramError as error:
            problem = str(error)
        self.steps += len(losses)
        return {"losses": losses, "problem": problem}

    def state(self) -> tuple[dict[str, Any], array[float], array[float]]:
        """What the page draws: counts and weights; the scores on a grid, from the upper left on; each neuron's."""
        with _reported(), no_grad(), contextlib.redirect_stdout(self.printed):
            scores = array("f", [self._score(point) for point in self._grid(GRID)])
            right = sum(self._score(x) * label > 0 for x, label in zip(self.points, self.labels))
            layers = self._layers()
            thumbs = self._thumbs() if layers else array("f")
        weights = [[[w.data for w in [*n.w, n.b]] for n in layer.neurons] for layer in layers]
        head = {"steps": self.steps, "right": right, "weights": weights, "printed": self.printed.getvalue()[-5000:]}
        return head, scores, thumbs

    def neuron(self, layer: int, index: int, sample: int) -> dict[str, Any]:
        """The graph of one neuron's call for one sample: data, and grads of that sample's loss."""
        layers = self._layers()
        if not layers:
            raise ProgramError("The model is not a network that the page can take apart.")
        parameters = self.p.model.parameters()
        grads = [p.grad for p in parameters]
        with _reported():
            try:
                for p in parameters:
                    p.grad = 0.0
                values = self._activations(layers, [Value(a) for a in self.points[sample]])
                parts = _parts(values[layer + 1][index])
                score, label = values[-1][0], self.labels[sample]
                loss = self.p.loss_of(score, label) if hasattr(self.p, "loss_of") else score
                loss.backward()
                shown = parts and {
                    "head": [[v._op, *_pair(v)] for v in parts["head"]],
                    "bias": _pair(parts["bias"]),
                    "rows": [[_pair(v) for v in row] for row in parts["rows"]],
                }
            finally:
                for p, grad in zip(parameters, grads):
                    p.grad = grad
        of = "loss" if hasattr(self.p, "loss_of") else "score"
        return {"graph": shown, "of": of, "result": loss.data, "label": label, "point": self.points[sample]}

    def _score(self, point: list[float]) -> float:
        return _number(self.p.model(point), "the model's score")

    def _grid(self, side: int) -> list[list[float]]:
        """Points of the plane, in the order of pixels."""
        ticks = [self.extent * ((2 * i + 1) / side - 1) for i in range(side)]
        return [[a, -b] for b in ticks for a in ticks]

    def _layers(self) -> list[Any]:
        """The model's layers if it is an MLP of two inputs and one output that the page has room for, else none."""
        layers = getattr(self.p.model, "layers", None)
        if not isinstance(layers, list) or not 1 <= len(layers) <= DEEPEST + 1:
            return []
        inputs = 2
        for layer in layers:
            neurons = getattr(layer, "neurons", None)
            if not isinstance(neurons, list) or not 1 <= len(neurons) <= WIDEST:
                return []
            if not all(hasattr(n, "b") and len(getattr(n, "w", ())) == inputs for n in neurons):
                return []
            inputs = len(neurons)
        return layers if inputs == 1 else []

    def _activations(self, layers: list[Any], point: list[Any]) -> list[list[Any]]:
        values = [point]
        for layer in layers:
            out = layer(values[-1])
            values.append(out if isinstance(out, list) else [out])
        return values

    def _thumbs(self) -> array[float]:
        """The data of the inputs and of every neuron on the coarse grid, one after the other."""
        columns = [
            [a if isinstance(a, float) else a.data for row in self._activations(self._layers(), point) for a in row]
            for point in self._grid(THUMB)
        ]
        return array("f", [a for column in zip(*columns) for a in column])


def _pair(v: Value) -> list[float]:
    return [v.data, v.grad]


def _parts(out: Value) -> dict[str, Any] | None:
    """A neuron's graph, taken apart: its activation's ops, and a row for each input with the weight, the input, their
    product and the sum so far; None if its neuron computes something else."""
    head, rows, node = [], [], out
    while len(node._children) == 1:
        head.append(node)
        [node] = node._children
    while node._op == "+" and len(node._children) == 2:
        total, product = node._children
        if product._op != "*":
            return None
        weight, x = product._children
        rows.append([weight, x, product, node])
        node = total
    return {"head": head[::-1], "rows": rows[::-1], "bias": node} if rows and not node._children else None


# ---- What the worker calls ------------------------------------------------------------------------------------------

playground = Playground()


def answer(request: str) -> tuple[str, array[float], array[float]]:
    """Do what a request asks for. JSON, with `error` if the program or a setting is at fault, and two arrays."""
    asked = json.loads(request)
    head: dict[str, Any] = {}
    scores = thumbs = array("f")
    try:
        if asked["do"] == "choices":
            random.seed(7)
            head = {**CHOICES, "previews": {name: make(60) for name, make in DATA.items()}}
        elif asked["do"] == "write":
            wrong = check(asked["settings"])
            head = {"wrong": wrong} if wrong else {"source": program(asked["settings"])}
        elif asked["do"] == "neuron":
            head = playground.neuron(asked["layer"], asked["index"], asked["sample"])
        else:
            head = playground.run(asked["source"]) if asked["do"] == "run" else playground.train(asked["steps"])
            state, scores, thumbs = playground.state()
            head.update(state)
    except ProgramError as error:
        head = {"error": str(error), "printed": playground.printed.getvalue()[-5000:]}
    return json.dumps(_expressible(head)), scores, thumbs


def _expressible(x: Any) -> Any:
    """The same with texts, such as 'nan', in place of the floats that JSON does not have."""
    if isinstance(x, dict):
        return {name: _expressible(item) for name, item in x.items()}
    if isinstance(x, (list, tuple)):
        return [_expressible(item) for item in x]
    return str(x) if isinstance(x, float) and not math.isfinite(x) else x

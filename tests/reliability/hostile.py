"""Hostile arguments: every public function, method, operator and property is called with the objects of hostile_objects
at random places among good arguments. Each call has to raise an exception that Python code expects, or return; what it
returns is used; afterwards the engine has to compute right. `make hostile`.

Not called: `micrograd.viz.plot_*` and the conversions from and to PyTorch, whose libraries take most of the time.
"""

from __future__ import annotations

import inspect
import operator
import pickle
import random
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import hostile_objects
import slices
from hostile_objects import KINDS

import micrograd
from micrograd import Value, compiler, functional, nn, optim
from micrograd.optim import lr_scheduler
from public_names import public_names

CALLS = 20  # of a case, on the same objects
SKIPPED = {"plot_decision_boundary", "plot_loss", "to_torch", "from_torch"}
# Errors of the engine itself, whatever it is called with.
INTERNAL = (SystemError, NameError, AssertionError)


# ---- Good arguments, by the names of parameters ----------------------------------------------------------------------


def vector() -> list[Value]:
    return [Value(0.5), Value(-0.25)]


def matrix() -> list[list[Value]]:
    return [vector(), vector()]


def square(v: list[Value]) -> Value:
    return v[0] * v[1] + v[0]


GOOD: dict[str, Callable[[], Any]] = {
    **dict.fromkeys(
        ["xs", "ys", "x", "logits", "scores", "predictions", "values", "ws", "inputs", "v", "query"], vector
    ),
    **dict.fromkeys(["params", "parameters"], lambda: nn.MLP(2, [1]).parameters()),
    **dict.fromkeys(["weight", "key", "value", "tensor", "X"], matrix),
    **dict.fromkeys(["targets", "y", "history"], lambda: [1.0, -1.0]),
    **dict.fromkeys(["a", "b", "output", "root", "other", "left", "right", "data"], lambda: Value(0.5)),
    **dict.fromkeys(["func", "function", "fn"], lambda: square),
    **dict.fromkeys(["target", "i", "nout", "step_size", "total_iters", "T_max", "threads"], lambda: 1),
    **dict.fromkeys(["nouts"], lambda: [2, 1]),
    **dict.fromkeys(["nin"], lambda: 2),
    **dict.fromkeys(["condition"], lambda: True),
    **dict.fromkeys(["optimizer"], lambda: optim.SGD(vector(), lr=0.1)),
    **dict.fromkeys(["lr_lambda"], lambda: lambda epoch: 0.5**epoch),
    **dict.fromkeys(["model", "model_or_state_dict"], lambda: nn.MLP(2, [2, 1])),
    **dict.fromkeys(["state_dict"], lambda: nn.MLP(2, [1]).state_dict()),
    **dict.fromkeys(["param_group"], lambda: {"params": vector()}),
    **dict.fromkeys(["defaults"], lambda: {"lr": 0.1}),
    **dict.fromkeys(["path"], lambda: "file.safetensors"),
    **dict.fromkeys(["nonlinearity", "activation"], lambda: "tanh"),
    **dict.fromkeys(["mode"], lambda: "fan_in"),
    **dict.fromkeys(["_children", "children", "_prev"], lambda: (Value(1.0), Value(2.0))),
    **dict.fromkeys(["local_grads"], lambda: (1.0, 2.0)),
    **dict.fromkeys(["dtype"], lambda: "float64"),
    **dict.fromkeys(["static_argnames"], lambda: ("n",)),
}
DEFAULT_NUMBER = 0.5
NAMES = ["x", "n", "threads", "exact", "bias", "out", "retain_grads", "create_graph", "strict"]


class World:
    """Objects whose methods are called; a case has its own."""

    def __init__(self) -> None:
        self.value = Value(0.5) * Value(2.0)
        self.neuron = nn.Neuron(2)
        self.layer = nn.Layer(2, 2)
        self.model = nn.MLP(2, [2, 1])
        self.tanh_model = micrograd.MLP(2, [2, 1])
        weights = vector()
        self.single = micrograd.compile(lambda x, y: (x[0] * weights[0] + x[1]) * y)
        self.static = micrograd.compile(lambda x, n=1: [xi * n for xi in x], static_argnames="n")
        self.index = micrograd.compile(lambda i, x: functional.cross_entropy([weights[0], x, 1.0], i))
        self.sgd = optim.SGD(weights, lr=0.1, momentum=0.9)
        self.adam = optim.Adam(vector(), lr=0.1)
        self.rmsprop = optim.RMSprop(vector(), lr=0.1, momentum=0.5)
        self.step_lr = lr_scheduler.StepLR(self.sgd, 2)
        self.lambda_lr = lr_scheduler.LambdaLR(self.adam, lambda epoch: 0.5**epoch)


Entry = tuple[str, Callable[[World], Any], list[str]]
OPERATORS = [
    "add",
    "sub",
    "mul",
    "truediv",
    "pow",
    "lt",
    "le",
    "gt",
    "ge",
    "eq",
    "ne",
    "iadd",
    "imul",
    "floordiv",
    "mod",
    "matmul",
    "and_",
    "contains",
    "getitem",
]


def parameters_of(function: Any) -> list[str]:
    """Names of the parameters that can be passed by position, without `self`."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ["x"]
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in found if p.kind in by_position and p.name != "self"]


def functions() -> list[Entry]:
    """The public functions and classes."""
    found: list[Entry] = []
    for name, thing in public_names().items():
        _, _, last = name.rpartition(".")
        parent = name.split(".")[-2]
        if callable(thing) and not parent[0].isupper() and last not in SKIPPED:
            found.append((name, lambda _world, thing=thing: thing, parameters_of(thing)))
    return found


def methods() -> list[Entry]:
    """Methods and properties of the objects of a World, and their calls."""
    found: list[Entry] = []
    for attribute, owner in vars(World()).items():
        names = [name for name in dir(owner) if not name.startswith("_")]
        names += [x for x in ("_backward", "_children", "_prev", "_op", "_local_grads") if isinstance(owner, Value)]
        names += ["__setstate__", "__format__", "__dict__", "__class__"]
        for name in [name for name in names if hasattr(owner, name)]:
            place = f"{attribute}.{name}"
            member = getattr(owner, name)
            if callable(member) and not isinstance(member, type):
                get = operator.attrgetter(place)
                found.append((place, get, parameters_of(member)))
            found.append((f"{place} = ", lambda w, a=attribute, n=name: partial(setattr, getattr(w, a), n), ["a"]))
        if callable(owner):
            called = ["x", "y"] if isinstance(owner, compiler.Compiled) else ["x"]
            found.append((attribute, operator.attrgetter(attribute), called))
    for name in ("sum", "mean", "map", "value_and_grad"):
        calls = [f"{f}.{name}" for f in ("single", "static", "index")]
        found.extend((call, operator.attrgetter(call), ["X", "y"]) for call in calls)
    for name in OPERATORS:
        function = getattr(operator, name)
        found.append((f"operator.{name}", lambda w, f=function: lambda x: f(w.value, x), ["a"]))
        found.append((f"operator.{name}, right", lambda w, f=function: lambda x: f(x, w.value), ["a"]))
    return found


ENTRIES = functions() + methods()


# ---- A call ----------------------------------------------------------------------------------------------------------


def arguments(draw: random.Random, parameters: list[str]) -> tuple[list[Any], dict[str, Any], list[str]]:
    """Arguments, one of them hostile or more; and what they are, for the report."""
    count = draw.randint(min(1, len(parameters)), len(parameters)) if draw.random() < 0.8 else draw.randint(0, 4)
    hostile = draw.randrange(count) if count else -1
    args, said = [], []
    for i in range(count):
        name = parameters[i] if i < len(parameters) else ""
        if i == hostile or draw.random() < 0.15:
            kind = draw.choice(list(KINDS))
            args.append(KINDS[kind]())
        else:
            kind = f"good {name}"
            args.append(GOOD.get(name, lambda: DEFAULT_NUMBER)())
        said.append(kind)
    named = {}
    if draw.random() < 0.1 or not count:
        kind, name = draw.choice(list(KINDS)), draw.choice(NAMES + parameters)
        named[name] = KINDS[kind]()
        said.append(f"{name}={kind}")
    if draw.random() < 0.2 and args:  # hostile items in a good list
        kind = draw.choice(list(KINDS))
        args[0] = [Value(1.0), KINDS[kind]()]
        said[0] = f"[Value, {kind}]"
    return args, named, said


def use(result: Any, depth: int = 0) -> None:
    """What a user does with a result."""
    if isinstance(result, (list, tuple)) and depth < 2:
        for item in list(result)[:3]:
            use(item, depth + 1)
    elif isinstance(result, Value):
        repr(result), result.data, result._prev, result._children
        (result * 2.0 + Value(1.0)).backward()
        result.zero_grad()
        pickle.loads(pickle.dumps(result.detach()))
    elif isinstance(result, nn.Module):
        repr(result), result.parameters(), result.state_dict()
        out = result([0.5, 0.25])
        use(out, depth + 1)
    elif isinstance(result, optim.Optimizer):
        result.step()
        result.zero_grad()
        result.load_state_dict(result.state_dict())
    elif isinstance(result, lr_scheduler.LRScheduler):
        result.step()
        result.get_last_lr()
    elif isinstance(result, compiler.Compiled):
        result([0.5, 0.25])
    elif callable(result) and not isinstance(result, type):
        result(0.5)


def outcome_of(call: Callable[[], Any]) -> str:
    """Whether it returned or was refused. Errors of the engine itself are let through."""
    try:
        call()
    except INTERNAL as error:
        if "on purpose" in str(error):
            return "refused"
        raise
    except Exception:
        return "refused"
    return "returned"


def check_results() -> None:
    """New graphs, networks and compiled functions compute what they should, whatever was called before."""
    assert micrograd.is_grad_enabled(), "no_grad is left on"
    a, b = Value(2.0), Value(-3.0)
    c = (a * b + a**2).relu() + a * b + 1 / b
    c.backward()
    assert (c.data, a.grad, b.grad) == (-6.0 - 1 / 3, -3.0, 2.0 - 1 / 9), (c.data, a.grad, b.grad)
    model = nn.MLP(2, [1])
    for p, x in zip(model.parameters(), (0.5, -0.25, 2.0)):
        p.data = x
    out = model([4.0, 8.0])
    out.backward()
    assert (out.data, [p.grad for p in model.parameters()]) == (2.0, [4.0, 8.0, 1.0]), repr(out)
    f = micrograd.compile(lambda x, y: (x * a + b) * y)
    assert f(4.0, 2.0).data == 10.0
    value, grads = f.value_and_grad([1.0, 4.0, 2.0], [1.0, 2.0, 4.0])
    assert (value, sorted(grads.tolist())) == (13.0, [7.0, 17.0]), (value, grads)
    functional.sum([a * 1.0, b, 1.0]).backward()


def case(draw: random.Random, say: Callable[[str], None], calls: int = CALLS) -> Counter[str]:
    """Some calls on the same objects."""
    random.seed(draw.random())
    world = World()
    outcomes: Counter[str] = Counter()
    results: list[Any] = []
    for _ in range(calls):
        name, get, parameters = draw.choice(ENTRIES)
        args, named, said = arguments(draw, parameters)
        text = f"{name}({', '.join(said)})"
        say(text)
        outcomes[outcome_of(lambda g=get, w=world, a=args, n=named: results.append(g(w)(*a, **n)))] += 1
        for result in results:
            say(f"use of {text}")
            outcome_of(lambda r=result: use(r))
        results.clear()
    say(f"use of all, after {text}")
    for item in vars(world).values():
        outcome_of(lambda x=item: use(x))
    del world, args, named  # their release is part of the case
    say(f"results, after {text}")
    check_results()
    return outcomes


WHAT = f"hostile arguments: calls of {len(ENTRIES)} entries with {len(KINDS)} kinds of objects"

if __name__ == "__main__":
    assert hostile_objects.PROXIED.data == 3.0
    slices.main(case, WHAT, count=5_000, slice_size=250)

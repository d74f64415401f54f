"""Mutated files and states. Pickles of Values, modules, optimizers, schedulers and compiled functions, and safetensors
files, with bytes or items changed; states for `load_state_dict()` with items changed. Each is refused with an exception
that Python code expects, or loaded; what is loaded is used; what refuses to load a state is as it was. `make mutated`.

A pickle may call any function it can name, and that is not ours to stop: the loader here knows only the names that
these pickles have.
"""

from __future__ import annotations

import copy
import io
import math
import pickle
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import slices
from hostile import INTERNAL, check_results, use

import micrograd
from micrograd import Value, functional, interop, nn, optim
from micrograd.optim import lr_scheduler

FILES = 20  # of a case


# ---- What is changed -------------------------------------------------------------------------------------------------


def loss(x: Any, y: Any) -> Any:
    return (MODEL(x) - y).tanh() ** 2 + functional.softmax([WEIGHT, x[0], y])[0]


def choice(i: Any, x: Any) -> Any:
    return functional.where(x > 0.0, functional.cross_entropy([x, WEIGHT, 1.0], i), WEIGHT * x)


random.seed(5)
MODEL = nn.MLP(2, [3, 1])
WEIGHT = Value(0.5)
LOSS, CHOICE = micrograd.compile(loss), micrograd.compile(choice, exact=True)
LOSS.sum([[1.0, 2.0], [0.5, -1.0]], [1.0, 2.0])
CHOICE.map([0, 1], [2.0, -3.0])


def values() -> list[Any]:
    v = Value(2.0, label="v")
    v.anything = [v, {"w": Value(3.0)}]
    return [v, Value(-0.0)]


def stepped(kind: Any, **options: Any) -> Any:
    """An optimizer with state."""
    optimizer = kind(nn.Neuron(2).parameters(), lr=0.1, **options)
    for p in optimizer.param_groups[0]["params"]:
        p.grad = 0.5
    optimizer.step()
    return optimizer


OPTIMIZERS: list[Callable[[], Any]] = [
    lambda: stepped(optim.SGD, momentum=0.9, nesterov=True),
    lambda: stepped(optim.Adam, amsgrad=True),
    lambda: stepped(optim.AdamW),
    lambda: stepped(optim.RMSprop, momentum=0.5, centered=True),
]
SCHEDULERS: list[Callable[[], Any]] = [
    lambda: lr_scheduler.StepLR(stepped(optim.SGD), 2),
    lambda: lr_scheduler.ExponentialLR(stepped(optim.Adam), 0.5),
    lambda: lr_scheduler.CosineAnnealingLR(stepped(optim.SGD), 5),
    lambda: lr_scheduler.LinearLR(stepped(optim.SGD), total_iters=3),
    lambda: lr_scheduler.LambdaLR(stepped(optim.SGD), math.exp),
]
MODULES: list[Callable[[], Any]] = [
    lambda: nn.MLP(2, [2, 1]),
    lambda: micrograd.MLP(2, [2], activation="sigmoid"),
    lambda: nn.Layer(2, 2),
    lambda: nn.Neuron(2, nonlin=False),
]
PICKLED = [values, lambda: LOSS, lambda: CHOICE, *OPTIMIZERS, *SCHEDULERS[:4], *MODULES]
STATEFUL = [*OPTIMIZERS, *SCHEDULERS, *MODULES]


# ---- Changes ---------------------------------------------------------------------------------------------------------


def change_bytes(draw: random.Random, content: bytes) -> bytes:
    """Some bytes changed, removed, moved, doubled, or the end cut off."""
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 1, 2, 4, 16])):
        i, j = sorted(draw.randrange(len(changed) + 1) for _ in range(2))
        j = min(j, i + draw.choice([1, 2, 8, 64]))
        way = draw.randrange(6)
        if way == 0 and i < len(changed):
            changed[i] ^= 1 << draw.randrange(8)
        elif way == 1 and i < len(changed):
            changed[i] = draw.choice([0, 1, 127, 128, 255, *b'N0.(}]"{['])
        elif way == 2:
            del changed[i:j]
        elif way == 3:
            changed[i:i] = changed[i:j]
        elif way == 4:
            k = draw.randrange(len(changed) + 1)
            changed[k : k + j - i] = changed[i:j]
        elif way == 5 and draw.random() < 0.2:
            del changed[i:]
    return bytes(changed)


ODD = [None, 0, 1, -1, 2**31, 2**63, 10**400, 0.5, -0.5, math.nan, math.inf, "", "x", True, b"ab", [], {}, (), [1.0]]
ODD += [[[]], {"params": []}, {"step": -1}, [0.5, 0.5], (0.9, 1.5), object(), Value(1.0)]


def places(state: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Each item of nested dicts and lists, as the container and the key."""
    for key, item in list(state.items() if isinstance(state, dict) else enumerate(state)):
        found.append((state, key))
        if isinstance(item, (dict, list)):
            places(item, found)
    return found


def change_items(draw: random.Random, state: Any) -> None:
    """An item replaced, removed, renamed or put elsewhere."""
    found = places(state, [])
    if not found:
        return
    container, key = draw.choice(found)
    way = draw.randrange(5)
    if way == 0:
        del container[key]
    elif way == 1 and isinstance(container, dict):
        container[draw.choice(["x", 0, -1, None, 7, "params", ("w", 0)])] = container.pop(key)
    elif way == 2:
        other, name = draw.choice(found)
        container[key] = copy.deepcopy(other[name])
    elif way == 3 and isinstance(container, list):
        container.append(copy.deepcopy(container[key]))
    else:
        container[key] = copy.deepcopy(draw.choice(ODD))


# ---- Cases -----------------------------------------------------------------------------------------------------------


class Loader(pickle.Unpickler):
    """Knows the names that the pickles of PICKLED have."""

    known: dict[tuple[str, str], Any] | None = None  # None: all, and they are noted

    def find_class(self, module: str, name: str) -> Any:
        if self.known is None or (module, name) in self.known:
            NAMES[module, name] = super().find_class(module, name)
            return NAMES[module, name]
        raise pickle.UnpicklingError(f"no name {module}.{name} here")


NAMES: dict[tuple[str, str], Any] = {}
PICKLES = [pickle.dumps(make(), protocol) for make in PICKLED for protocol in (2, 5)]
for whole in PICKLES:
    Loader(io.BytesIO(whole)).load()
Loader.known = NAMES.copy()

# Where memory or recursion ends, the rest is the pickle module's own; OSError is a file's.
EXPECTED = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RuntimeError, MemoryError, OSError)
EXPECTED += (pickle.UnpicklingError, EOFError, ImportError)


def try_to(action: Callable[[], Any]) -> tuple[str, Any]:
    """Whether it was refused or done, and the result. Errors of the engine itself are let through."""
    try:
        return "loaded", action()
    except INTERNAL:
        raise
    except EXPECTED:
        return "refused", None


def use_compiled(f: Any) -> None:
    """All calls of a compiled function."""
    for args in (([1.0, 2.0], 3.0), (1, 2.0)):
        try_to(lambda args=args: f(*args).backward())
    for args in (([[1.0, 2.0]] * 5, [1.0] * 5), ([0, 1, 2], [0.5, -0.5, 2.0])):
        for name in ("sum", "mean", "map", "value_and_grad"):
            try_to(lambda name=name, args=args: use(getattr(f, name)(*args)))
    try_to(lambda: (f.program, f.captured, f.retraces, repr(f)))
    try_to(lambda: pickle.dumps(f))


def holds_a_class(x: Any, depth: int = 3) -> bool:
    """Is there a class in place of a layer or a neuron? Then `layer.parameters()` has no `self`, and CPython 3.11 may
    crash in its specialized call, as it does for `str.split()` in a generator that has called "a b".split() before."""
    items = [*(getattr(x, "layers", None) or ()), *(getattr(x, "neurons", None) or ())]
    return depth > 0 and any(isinstance(item, type) or holds_a_class(item, depth - 1) for item in items)


def pickles(draw: random.Random, say: Callable[[str], None]) -> str:
    return load_pickle(change_bytes(draw, draw.choice(PICKLES)), say)


def load_pickle(content: bytes, say: Callable[[str], None]) -> str:
    say(f"pickle {content!r:.400}")
    outcome, found = try_to(Loader(io.BytesIO(content)).load)
    if isinstance(found, micrograd.compiler.Compiled):
        use_compiled(found)
    elif sys.version_info >= (3, 12) or not try_to(lambda: holds_a_class(found))[1]:
        try_to(lambda: use(found))
    try_to(lambda: pickle.dumps(found))
    return f"pickles {outcome}"


def states(draw: random.Random, say: Callable[[str], None]) -> str:
    owner = draw.choice(STATEFUL)()
    state = copy.deepcopy(owner.state_dict())
    for _ in range(draw.choice([1, 1, 2, 3])):
        change_items(draw, state)
    strict = {"strict": False} if isinstance(owner, nn.Module) and draw.random() < 0.3 else {}
    return load_state(owner, state, strict, say)


def load_state(owner: Any, state: Any, options: dict[str, Any], say: Callable[[str], None]) -> str:
    say(f"state of {type(owner).__name__}: {state!r:.400}")
    before = repr(owner.state_dict())
    outcome, _ = try_to(lambda: owner.load_state_dict(state, **options))
    if outcome == "refused":
        assert repr(owner.state_dict()) == before, f"changed by a refused state: {owner.state_dict()}, not {before}"
    try_to(lambda: use(owner))
    return f"states {outcome}"


def tensors(draw: random.Random, say: Callable[[str], None]) -> str:
    model = nn.MLP(2, [3, 1])
    path = Path("mutated.safetensors")
    interop.save_safetensors(model, path, draw.choice(["float64", "float32", "float16"]))
    return load_tensors(change_bytes(draw, path.read_bytes()), say)


def load_tensors(content: bytes, say: Callable[[str], None]) -> str:
    model = nn.MLP(2, [3, 1])
    path = Path("mutated.safetensors")
    path.write_bytes(content)
    say(f"safetensors {content!r:.400}")
    before = model.state_dict()
    outcome, _ = try_to(lambda: interop.load_safetensors(path, model))
    if outcome == "refused":
        assert repr(model.state_dict()) == repr(before), "changed by a refused file"
    use(model)
    try_to(lambda: use(interop.load_safetensors(path)))
    path.unlink()
    return f"safetensors {outcome}"


def case(draw: random.Random, say: Callable[[str], None]) -> Counter[str]:
    random.seed(draw.random())
    kinds = draw.choices([pickles, states, tensors], [5, 4, 1], k=FILES)
    outcomes = Counter(kind(draw, say) for kind in kinds)
    check_results()
    return outcomes


if __name__ == "__main__":
    slices.main(case, "mutated files and states", count=5_000, slice_size=500)

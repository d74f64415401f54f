"""Whatever the compiled modules' private names are called with, they raise and do not crash."""

from __future__ import annotations


def test_private_modules_raise_whatever_they_are_called_with(isolated):
    """Any Python code can call their functions, classes and methods: an exception is right, a crash is not."""
    isolated(
        """
import importlib, os, pkgutil, random, sys
import numpy as np
import micrograd
from micrograd import Value, nn, optim
from micrograd._compile import Batch
from micrograd._compile import Program
from micrograd._compile import Replay
from micrograd._compile import Trace
from micrograd.compiler import Compiled

class Liar:
    def __len__(self): return 2**62
    def __index__(self): return 2**70
    def __float__(self): return float("nan")
    def __iter__(self): return iter([self, 1.0])
    def tolist(self): return self
    def __getitem__(self, i): return self
    def __call__(self, *args, **kwargs): return self
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self

loop = []
loop.append(loop)
deep = []
for _ in range(80_000):
    deep = [deep]
w = Value(3.0)
f = micrograd.compile(lambda x, y: (x[0] * Value(2.0) + w * x[1]) * y)
f([1.0, 2.0], 3.0)
(traced,) = f._programs.values()
optimizer = optim.Adam([w])
optimizer.step()
hostile = [
    None, [], (), {}, "", b"", "x", 0, -1, 2**31, 2**64, 1.5, float("nan"), object, Value, Liar(), Value(1.0),
    [Value(1.0)], [None], [1.0, "a"], [[Value(1.0)], [1.0, 2.0]], loop, deep, np.empty(0), np.ones(3),
    np.empty((0, sys.maxsize // 16)), np.ones(3, np.longdouble),
    traced, traced.program, traced.program.trace, Batch((np.ones((4, 3)),)),
    Batch(()), print, iter([1.0]), nn.Neuron(2), nn.Layer(2, 2), optimizer, *optimizer._states, *optimizer.param_groups,
]
UNTRIED = ("__class__", "__new__", "__init_subclass__", "__subclasshook__", "__dir__")

def note(what):  # for whoever has to find out what crashed
    os.environ.get("TRAIL") and open(os.environ["TRAIL"], "w").write(what)

def attempt(name, function, args):
    note(f"{name}{tuple(map(type, args))}")
    try:
        function(*args)
    except Exception:
        return 1
    return 0

def call_members(made):
    for name in dir(made):
        try:
            member = getattr(made, name)
        except Exception:
            continue
        if callable(member) and name not in UNTRIED:
            for args in [(), *((h,) for h in hostile), (None, None), ([], []), (traced, -1), (-1, 0, None)]:
                attempt(f"{type(made).__name__}.{name}", member, args)

targets = {}
for found in pkgutil.iter_modules(micrograd.__path__):
    if not found.name.startswith("_") or found.name == "__main__":
        continue
    module = importlib.import_module("micrograd." + found.name)
    for name, x in vars(module).items():
        if callable(x) and not name.startswith("__") and getattr(x, "__module__", None) == module.__name__:
            targets[found.name + "." + name] = x
            if isinstance(x, type):
                targets[found.name + "." + name + ".__new__"] = lambda *args, x=x: x.__new__(x, *args)
for name in ("Batch", "Lowered", "Plan", "Program", "Replay", "Trace", "Traced", "State", "Attributes", "sum_values"):
    assert any(target.endswith("." + name) for target in targets), name

draw = random.Random(0)
calls = raised = 0
for name, function in targets.items():
    pairs = [(a, b) for a in hostile for b in hostile]
    more = [draw.choices(hostile, k=draw.randint(3, 7)) for _ in range(300)]
    for args in [(), *((h,) for h in hostile), *pairs, *more]:
        calls += 1
        raised += attempt(name, function, args)
    if isinstance(function, type):
        try:
            call_members(function.__new__(function))
        except TypeError:
            pass
for made in (traced, traced.program, traced.program.trace, traced.program.prologue, Batch((np.ones((4, 3)),)), f,
             Replay(traced.program, 2, Batch(([1.0], [2.0], [3.0]))), Compiled.__new__(Compiled), *optimizer._states):
    call_members(made)
assert calls > 30_000 and raised > calls / 2, (calls, raised)
assert micrograd.compile(lambda x: w * x)(2.0).data == 6.0
"""
    )

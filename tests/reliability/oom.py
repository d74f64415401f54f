"""`make oom`: lets the k-th allocation of each public entry fail, for every k, and prints how many failed and what was
wrong.

    PYTHONPATH=tests python -m reliability.oom [--stride 1] [group ...]

Once, and from then on. Only MemoryError may come of it, the same call must give the same result afterwards, and nothing
may grow. What fails is what the compiled modules ask for, of Python's allocators and, in the group "system", of malloc,
realloc and mmap: failing.c does that. It needs glibc and a C compiler."""

from __future__ import annotations

import argparse
import ctypes
import functools
import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import micrograd
from micrograd import Value, nn
from reliability import counts
from reliability.entries import GROUPS, Sub, flat
from reliability.leaks import allowed

# As so many repetitions: blocks in which CPython keeps what it has seen in error paths; no objects or nodes.
SLACK = 2000
FOR_EVER = 2**31 - 1
LIBRARY = Path("build/reliability/failing.so")


# CPython 3.11 loses the exception of a Python function where it cannot make the frame object of its traceback.
LOST = {
    "error: a user's _backward",
    "error: compile, of the function",
    "error: compile, lists without NumPy",
    "error: inputs of a network",
}


class Hooks:
    """What failing.c counts: allocations from the system, or from Python's allocators."""

    def __init__(self, system):
        library = ctypes.CDLL(None)
        library.failing_add.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, access, *rest = line.split()
            if "/micrograd/_" in rest[-1] and "x" in access:
                library.failing_add(*(int(address, 16) for address in span.split("-")))
        if not system:
            library.failing_spare.argtypes = [ctypes.c_void_p]
            library.failing_spare(_address_of(list.extend))
            library.failing_python_begin()
        self.set = library.failing_set if system else library.failing_python_set
        self.count = library.failing_count if system else library.failing_python_count
        self.set.argtypes = [ctypes.c_long, ctypes.c_long]
        self.off = ctypes.c_long(-1), ctypes.c_long(0)

    def begin(self, start, stop):
        self.set(start, stop)

    def end(self):
        self.set(*self.off)


def _address_of(method):
    """The C function of a method of a built-in class: `ml_meth` of the PyMethodDef that the descriptor points to."""
    definition = ctypes.c_void_p.from_address(id(method) + 40).value
    return ctypes.c_void_p.from_address(definition + 8).value


class Entry:
    """One piece of work, and what came of it."""

    def __init__(self, name, work, hooks, stride):
        self.name, self.work, self.hooks, self.stride = name, work, hooks, stride
        self.failures, self.wrong = 0, []
        for _ in range(3):
            work()
        self.expected = flat(work())

    def note(self, start, stop, what):
        self.wrong.append(f"{self.name}: allocation {start}{'' if stop < FOR_EVER else ' and all after it'}: {what}")

    def fail(self, start, stop):
        """Call once while these allocations fail; gives how many there were."""
        result = None
        try:
            self.hooks.begin(start, stop)
            try:
                result = self.work()
            finally:
                self.hooks.end()
        except MemoryError:
            self.failures += 1
            if self.failures % 8 == 0:  # CPython has sixteen MemoryErrors for when it cannot make one
                gc.collect()
        except BaseException as error:
            if isinstance(error, SystemError) and self.name in LOST:
                return self.hooks.count()
            self.note(start, stop, f"{type(error).__name__}: {error}")
        else:
            if flat(result) != self.expected:
                self.note(start, stop, f"gave {flat(result)}, not {self.expected}")
            return self.hooks.count()
        if (found := flat(self.work())) != self.expected:
            self.note(start, stop, f"then gave {found}, not {self.expected}")
        return self.hooks.count()

    def fail_in_turn(self, stop_of):
        start = self.stride // 2
        while start <= self.fail(start, stop_of(start)):
            start += self.stride

    def run(self, counter):
        """All of it three times at most: if the first growth was that of caches, there is none the next time."""
        for _ in range(3):
            before = self.failures
            counter.count(0)
            self.fail_in_turn(lambda start: start + 1)
            self.fail_in_turn(lambda start: FOR_EVER)
            counter.count(1)
            grown = counter.growth()
            if self.wrong or all(found <= most for found, most in zip(grown, allowed(self.failures - before + SLACK))):
                return
        self.wrong.append(f"{self.name}: grew by {grown} in {self.failures - before} failures")


# ---- Work that asks the system for memory ----------------------------------------------------------------------------

MANY = 400_000  # nodes: more than the slabs that the engine keeps when they are empty


def _chain(x, length):
    for _ in range(length):
        x = x + 1.0
    return x


def _walked(make, x):
    x.grad = 0.0
    y = make(x)
    y.backward()
    return [y.data, x.grad]


def _held(count, kind=Value):
    """A cycle of which the collector has to look through so many Values. Where memory is out, a later run finds it."""
    others = [Value(1.0) for _ in range(count)]
    out = kind(1.0, tuple(others), "op")
    out._backward = functools.partial(print, others, out)
    del out, others
    gc.collect()
    return [1.0]


def of_system():
    x, model, sub = Value(1.0), nn.MLP(1, [300, 300]), Sub(2.0)
    yield "a chain", lambda: [_chain(x, MANY).data]
    yield "backward of a chain", lambda: _walked(lambda x: _chain(x, MANY), x)
    yield "a chain of functions", lambda: [functools.reduce(lambda y, _: y.sin(), range(MANY), x).data]
    yield "gradients of a chain", lambda: micrograd.grad(_chain(x, 3000), [x])
    yield "a trace", lambda: [micrograd.compile(lambda a: a * 2.0)(1.0).data]
    yield "leaves", lambda: [len([Value(1.0) for _ in range(MANY)])]
    yield "networks", lambda: [len([model([x]) for _ in range(700)])]
    yield "looking at networks", lambda: [len([model([x])[0]._prev for _ in range(700)])]
    yield "depth first", lambda: _walked(lambda x: _chain(x * sub, 3000), x)
    yield "depth first, zero_grad", lambda: [_chain(x * sub, 3000).zero_grad() is None]
    yield "the collector", lambda: _held(200)
    yield "the collector, of a subclass", lambda: _held(200, Sub)


def _preloaded():
    """Start again with the library in front of the C library, and without malloc's caches, whose blocks would count."""
    LIBRARY.parent.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).with_name("failing.c")
    subprocess.run(
        ["cc", "-O1", "-fPIC", "-shared", "-fno-builtin", "-fno-omit-frame-pointer", "-o", LIBRARY, source], check=True
    )
    again = [sys.executable, "-m", "reliability.oom", *sys.argv[1:]]
    os.execve(sys.executable, again, {**os.environ, "LD_PRELOAD": str(LIBRARY.resolve())})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stride", type=int, default=1, help="let every n-th allocation fail, not all")
    parser.add_argument("--only", help="the entries whose names contain this")
    parser.add_argument("groups", nargs="*", default=[*GROUPS])
    options = parser.parse_args()
    if not counts.ABLE:
        sys.exit(f"it {counts.NEEDS}")
    if "LD_PRELOAD" not in os.environ:
        _preloaded()
    system = options.groups == ["system"]
    gc.disable()
    hooks, counter = Hooks(system), counts.Counter()
    start, entries, failures, wrong = time.monotonic(), 0, 0, 0
    for group in options.groups:
        print(f"{failures} failures before {group}", flush=True)
        for name, work in of_system() if system else GROUPS[group]():
            if options.only and options.only not in name:
                continue
            gc.collect()
            entry = Entry(name, work, hooks, options.stride)
            entry.run(counter)
            entries, failures, wrong = entries + 1, failures + entry.failures, wrong + len(entry.wrong)
            for line in entry.wrong[:5]:
                print(line, flush=True)
    print(f"{entries} entries, {failures} failures: {wrong} wrong ({time.monotonic() - start:.0f} s)")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

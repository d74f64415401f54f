"""`make leaks`: repeats each public entry, and prints by how much blocks, objects, bytes or nodes grew.

    PYTHONPATH=tests python -m reliability.leaks [--repetitions 1000] [group ...]

A round is so many repetitions; the best of three counts. CPython's own caches (of attributes by name, of code that ran
often) take some blocks at any time, ever fewer of them: so blocks leak where more than 50 are left and one for twenty
repetitions, objects and nodes where there is one. The collector runs before each count alone. --short counts groups of
entries first, and each of a group that grows."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from itertools import repeat

from micrograd import Value
from reliability import counts
from reliability.entries import GROUPS

ROUNDS = 3
WARM_UP = 30


def allowed(repetitions):
    return counts.Counts(50 + repetitions // 20, 0, 51 * repetitions, 0)  # malloc's blocks have 513 bytes or more


def leaks_in(work, repetitions, counter):
    """By how much the counts grew in the best round, or None where nothing leaks."""
    for _ in range(WARM_UP):
        work()
    for _ in range(ROUNDS):
        counter.count(0)
        for _ in repeat(None, repetitions):
            work()
        counter.count(1)
        grown = counter.growth()
        if all(found <= most for found, most in zip(grown, allowed(repetitions))):
            return None
    return grown


def self_test(counter, repetitions=100):
    """Each kind of leak is seen: of blocks and objects, of malloc, of leaves and of results."""
    kept, x = [], Value(1.0)
    kinds = {
        "blocks": lambda: kept.append(object()),
        "objects": lambda: kept.append([]),
        "malloced": lambda: kept.append(bytearray(4000)),
        "leaves": lambda: kept.append(Value(1.0)),
        "results": lambda: kept.append(x * 2.0),
    }
    for name, work in kinds.items():
        found = leaks_in(work, repetitions, counter) or counts.Counts(0, 0, 0, 0)
        field = {"leaves": "nodes", "results": "nodes"}.get(name, name)
        # A cache of CPython's may give up some meanwhile.
        assert getattr(found, field) >= 0.9 * repetitions, f"a leak of {name} is not seen: {found}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("groups", nargs="*", default=list(GROUPS))
    options = parser.parse_args()
    if not counts.ABLE:
        sys.exit(f"it {counts.NEEDS}")
    if "GLIBC_TUNABLES" not in os.environ:  # blocks in malloc's caches would count
        os.execve(
            sys.executable,
            [sys.executable, "-m", "reliability.leaks", *sys.argv[1:]],
            {**os.environ, **counts.exact_environment()},
        )
    gc.disable()
    counter = counts.Counter()
    self_test(counter)
    start, entries, leaks = time.monotonic(), 0, []
    for group in options.groups:
        works = dict(GROUPS[group]())
        entries += len(works)
        if options.short and not leaks_in(
            lambda works=works: [work() for work in works.values()], options.repetitions, counter
        ):
            continue
        for name, work in works.items():
            if found := leaks_in(work, options.repetitions, counter):
                leaks.append(f"{name}: {found}")
                print(leaks[-1], flush=True)
    print(f"{entries} entries, {options.repetitions} repetitions: {len(leaks)} grow ", end="")
    print(f"({time.monotonic() - start:.0f} s)")
    sys.exit(bool(leaks))


if __name__ == "__main__":
    main()

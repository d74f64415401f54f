"""Runs many random cases in slices, each slice in a process of its own, so that a crash or a hang is counted.

A driver calls `main(one)`, where `one(draw, say)` runs the case of this random generator and returns a Counter of what
came of it. It tells `say` what it is about to do, which is printed if the process ends there. An exception that `one`
lets through is a fault. `python DRIVER --first K --count 1` runs case K again, in this process.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

Case = Callable[[Random, Callable[[str], None]], "Counter[str]"]
SLICE_SECONDS = 1800  # after this long a slice hangs
CPU_SECONDS = 300  # or after this much of a processor's time, which ends it by SIGXCPU
MEMORY = 1 << 30  # bytes more of address space, so that a case that asks for all memory gets MemoryError
SHOWN = 20  # faults of a slice that are printed


def run_cases(one: Case, seed: int, first: int, count: int, trail: int | None) -> tuple[Counter[str], list[str]]:
    """Run these cases here: what came of them, and the faults."""
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    said = ""

    def say(text: str) -> None:
        nonlocal said
        said = text
        if trail is not None:
            os.pwrite(trail, f"{text}\n".encode(errors="replace")[:500].ljust(501), 0)

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        faults.append(f"ignored in {args.object!r:.200}: {args.exc_value!r}, after {said}")

    sys.unraisablehook = unraisable
    for k in range(first, first + count):
        try:
            outcomes += one(Random(f"{seed} {k}"), say)
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            faults.append(
                f"case {k}: {said}: {type(error).__name__}: {error!s:.300} ({place.name}, line {place.lineno})"
            )
            if isinstance(error, KeyboardInterrupt):
                break
    return outcomes, faults


def run_slice(driver: str, seed: int, first: int, count: int) -> tuple[Counter[str], list[str]]:
    """Run these cases in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, driver, "--seed", str(seed), "--first", str(first), "--count", str(count)]
        with Path(folder, "err").open("w+", encoding="utf-8", errors="replace") as errors:
            process = subprocess.Popen([*command, "--inside"], cwd=folder, stdout=subprocess.PIPE, stderr=errors)
            try:
                out, _ = process.communicate(timeout=SLICE_SECONDS)
                ended = f"exit {process.returncode}"
            except subprocess.TimeoutExpired:
                process.kill()
                out, _ = process.communicate()
                ended = f"no end after {SLICE_SECONDS} s"
            errors.seek(0)
            tail = errors.read()[-1500:]
        if ended == "exit 0":
            outcomes, faults = json.loads(out.splitlines()[-1])
            return Counter(outcomes), faults
        trail = Path(folder, "trail")
        said = trail.read_text(encoding="utf-8", errors="replace").strip() if trail.exists() else "nothing"
        return Counter(), [f"cases {first} to {first + count - 1}: {ended} at {said}\n{tail}"]


def inside(one: Case, options: argparse.Namespace) -> None:
    """The process of a slice: limits its memory, and prints the result as the last line."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 10))
        if "asan" not in os.environ.get("LD_PRELOAD", ""):  # which reserves terabytes of addresses
            limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    faulthandler.enable()
    trail = os.open("trail", os.O_CREAT | os.O_RDWR)
    print(json.dumps(run_cases(one, options.seed, options.first, options.count, trail)))


def main(one: Case, what: str, count: int, slice_size: int) -> None:
    """The command line of a driver. The exit status is 1 if there are faults."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--count", type=int, default=count, help="cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, help="run cases from this one on in this process")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(one, options)
        return
    start = time.perf_counter()
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    if options.first is not None:
        outcomes, faults = run_cases(one, options.seed, options.first, options.count, None)
        print(*(f"FAULT {fault}" for fault in faults), sep="\n")
    else:
        for first in range(0, options.count, slice_size):
            driver = str(Path(sys.argv[0]).resolve())
            some, wrong = run_slice(driver, options.seed, first, min(slice_size, options.count - first))
            outcomes += some
            faults += wrong
            for fault in wrong[:SHOWN]:
                print("FAULT", fault, flush=True)
    figures = ", ".join(f"{number:,} {name}" for name, number in sorted(outcomes.items()))
    print(f"{what}: {figures}, {len(faults)} faults, {time.perf_counter() - start:.0f} s")
    sys.exit(1 if faults else 0)

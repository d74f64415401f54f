"""The part of mutants.py that runs tests: a plugin of pytest, which collects the tests once and forks for each mutant.

First all tests run without a change, and the build notes which mutants each of them reaches. Then a mutant meets those
that reach it, the quickest first, until one fails twice. A process that crashes, or a test that hangs, is a failure.
Mutants that run while modules are imported meet tests in processes of their own, in mutants.py.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import json
import mmap
import os
import pickle
import select
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

HEAD = struct.Struct("i")  # which mutant runs; after it a byte for each mutant, 1 where it was reached
SIZE = 4096


class Shared:
    """The memory that all processes of a build share, in a file."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("r+b")
        self.memory = mmap.mmap(self.file.fileno(), HEAD.size + SIZE)

    def lock(self) -> None:
        """Raises BlockingIOError where another run uses it."""
        fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def choose(self, k: int) -> None:
        HEAD.pack_into(self.memory, 0, k)

    def take_reached(self) -> list[int]:
        """The mutants that were reached since the last call."""
        reached = [k for k in range(SIZE) if self.memory[HEAD.size + k]] if any(self.memory[HEAD.size :]) else []
        self.memory[HEAD.size :] = bytes(SIZE)
        return reached


def make_shared(path: Path) -> None:
    path.write_bytes(HEAD.pack(-1) + bytes(SIZE))


def append(path: Path, line: Any) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def run_item(item: pytest.Item, following: pytest.Item | None) -> str:
    """passed, failed or skipped."""
    outcomes = [report.outcome for report in runtestprotocol(item, log=False, nextitem=following)]
    return next((outcome for outcome in ("failed", "skipped") if outcome in outcomes), "passed")


def in_child(work: Callable[[Callable[[Any], Any]], None], limit: Callable[[Any], float]) -> list[Any]:
    """What a forked process that runs `work(send)` sends; then None, or how it ended where that was not in order.
    `limit(last)` gives the seconds that it may take until it sends something after `last`."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        faulthandler.disable()
        os.setsid()
        os.close(read)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        work(lambda what: os.write(write, json.dumps(what).encode() + b"\n"))
        os.write(write, b"null\n")
        os._exit(0)
    os.close(write)
    sent: list = []
    rest = b""
    while not (sent and sent[-1] is None):
        if not select.select([read], [], [], limit(sent[-1] if sent else None))[0]:
            sent.append("hangs")
            break
        if not (some := os.read(read, 1 << 16)):
            break
        *lines, rest = (rest + some).split(b"\n")
        sent += map(json.loads, lines)
    os.close(read)
    with contextlib.suppress(ProcessLookupError):  # it has ended
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not (sent and (sent[-1] is None or sent[-1] == "hangs")):
        sent.append(f"ends with {os.waitstatus_to_exitcode(status)}")
    return sent


class MutantTests:
    """`folder` has: `shared`, which C writes; `jobs.pickle`, the numbers of the mutants to run, with their keys;
    `reached.jsonl`, of each test its seconds and mutants; `report.jsonl`, what came of each mutant."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shared = Shared(folder / "shared")
        self.shared.lock()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted(f"{session.testsfailed} errors during collection")
        self.items = {item.nodeid: item for item in session.items}
        self.know_reached()
        for k, key in pickle.loads((self.folder / "jobs.pickle").read_bytes()):
            start = time.perf_counter()
            by, tried = self.test_mutant(k)
            line = {"key": key, "by": by, "tests": tried, "seconds": round(time.perf_counter() - start, 1)}
            append(self.folder / "report.jsonl", line)
        return True

    # ---- Without a change --------------------------------------------------------------------------------------------

    def know_reached(self) -> None:
        """Run the tests that `reached.jsonl` does not have, and read it."""
        path = self.folder / "reached.jsonl"
        at_import = self.shared.take_reached()
        if not path.exists():
            append(path, ["import", 0, at_import, "passed"])
        known = {line[0] for line in read_lines(path)}
        new = [item for name, item in self.items.items() if name not in known]

        def work(send: Callable[[Any], Any]) -> None:
            for item, following in zip(new, [*new[1:], None]):
                start = time.perf_counter()
                outcome = run_item(item, following)
                send(outcome)
                line = [item.nodeid, round(time.perf_counter() - start, 4), self.shared.take_reached(), outcome]
                append(path, line)

        ended = in_child(work, lambda last: 600)[-1]
        assert ended is None, f"the tests without a change: {ended}"
        self.reached = {}
        for name, seconds, reached, outcome in read_lines(path)[1:]:
            if outcome == "failed":
                print(f"not used, as it fails without a change: {name}", flush=True)
            elif outcome == "passed" and name in self.items:
                self.reached[name] = seconds, set(reached)

    # ---- With a change -----------------------------------------------------------------------------------------------

    def test_mutant(self, k: int) -> tuple[str | None, int]:
        """The test that finds mutant k, or None, and how many reach it."""
        names = sorted((name for name, (_, reached) in self.reached.items() if k in reached), key=self.seconds)
        left = names
        while by := self.first_failure(k, left):
            n = left.index(by[0])
            if again := self.first_failure(k, left[: n + 1]):
                return " ".join(again), len(names)
            left = left[n + 1 :]
        return None, len(names)

    def seconds(self, name: str) -> float:
        return self.reached[name][0]

    def first_failure(self, k: int, names: list[str]) -> tuple[str, str] | None:
        """The first of these tests that fails in mutant k, and how."""
        items = [self.items[name] for name in names]

        def work(send: Callable[[Any], Any]) -> None:
            for item, following in zip(items, [*items[1:], None]):
                send(item.nodeid)
                if run_item(item, following) == "failed":
                    send("fails")
                    os._exit(0)

        self.shared.choose(k)
        *begun, how = in_child(work, lambda last: 30 + 5 * self.seconds(last) if last in self.reached else 60)
        self.shared.choose(-1)
        if how is None:
            return None
        if how.startswith("ends") and begun and begun[-1] == "fails":
            begun, how = begun[:-1], "fails"
        return (begun[-1] if begun else names[0]), how


def pytest_configure(config: pytest.Config) -> None:
    folder = Path(os.environ["MICROGRAD_MUTANTS"]).parent
    config.pluginmanager.register(MutantTests(folder), "mutant tests")

"""Runs the cases and prints their tables: `python -m benchmarks.run`; --help lists its options.

Each case runs in processes of its own, so that no case is affected by the heap of another. There are several, since
memory addresses and hash seeds differ by process and change the time of a loop in Python by a tenth.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import gc
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path

import pyperf

from benchmarks import contestants
from benchmarks.cases import ALL
from benchmarks.harness import Result, Row
from benchmarks.harness import row as row_of
from benchmarks.targets import TARGETS

ROOT = Path(__file__).resolve().parent.parent
PROCESSES = 3  # for each case
# One thread for all libraries: the problems are too small to gain from two, and threads that wait for work in a loop
# use processor time in the next contestant's turn.
ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}
METADATA = ("cpu_model_name", "cpu_count", "platform", "python_version", "python_implementation", "load_avg_1min")


def measure(case: str, rounds: int, quick: bool) -> Result:
    """Run one case here, in a thread with a large stack, since the reference recurses as deep as its graph."""
    outcome = []

    def body():
        try:
            # PyTorch's number of threads is a setting of the thread that loads it. The objects of the libraries are
            # frozen, so that the collector does not traverse them in the reference's turns.
            for load in (contestants.ours, contestants.torch, contestants.jax, contestants.xad):
                load()
            module = importlib.import_module(f"benchmarks.cases.{case}")
            gc.collect()
            gc.freeze()
            outcome.append(module.measure(rounds, quick))
        except BaseException as error:
            outcome.append(error)

    sys.setrecursionlimit(10**6)
    threading.stack_size(1 << 29)
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def measure_apart(case: str, rounds: int, quick: bool) -> Result:
    """Run one case in several processes, which divide the rounds among them, and combine their results."""
    processes = 1 if quick else PROCESSES
    results = [measure_in_process(case, -(-rounds // processes), quick) for _ in range(processes)]
    for i, pooled in enumerate(results[-1].rows):
        same = [result.rows[i] for result in results]
        if pooled.rounds:
            results[-1].rows[i] = row_of(pooled.name, [x for r in same for x in r.rounds])
        elif pooled.value is not None:
            pooled.value = statistics.median(r.value for r in same)
    return results[-1]


def measure_in_process(case: str, rounds: int, quick: bool) -> Result:
    """Run one case in one new process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        options = ["--worker", case, "--rounds", str(rounds), "--json", str(path), *(["--quick"] if quick else [])]
        command = [sys.executable, "-m", "benchmarks.run", *options]
        subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, **ONE_THREAD})
        result = json.loads(path.read_text())
    return Result(**{**result, "rows": [Row(**r) for r in result["rows"]]})


def table(result: Result) -> list[str]:
    """The case as lines of a Markdown table, with its targets."""
    unit = f"time, {result.base} = 1" if result.unit == "x ours" else result.unit
    lines = [f"| {result.title} | {unit} | quartiles | target | |", "|---|--:|--:|--:|---|"]
    for row in result.rows:
        goals = [t for t in TARGETS if (t.case, t.row) == (result.case, row.name)]
        target = "; ".join(t.text(result.unit) for t in goals)
        met = "; ".join({True: "met", False: "**missed**", None: "-"}[t.met(result)] for t in goals)
        if row.value is None:
            lines.append(f"| {row.name} | absent | | {target} | {met} |")
            continue
        spread = f"{figure(row.low)} … {figure(row.high)}" if row.low is not None else ""
        lines.append(f"| {row.name} | {figure(row.value)} | {spread} | {target} | {met} |")
    return lines + [f"\n{note}" for note in result.notes]


def figure(x: float) -> str:
    """Three significant digits, without exponents."""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


def machine() -> dict[str, object]:
    """pyperf's metadata of this machine, the C compiler, and the versions of the libraries compared."""
    known = pyperf.Run([1.0], collect_metadata=True).get_metadata()
    about = {key: known[key] for key in METADATA if key in known}
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        about["compiler"] = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True).stdout
        about["compiler"] = about["compiler"].splitlines()[0]
    from importlib.metadata import PackageNotFoundError, version

    for package in ("numpy", "torch", "jax", "xad"):
        with contextlib.suppress(PackageNotFoundError):
            about[package] = version(package)
    return about


def print_summary(results: list[Result]) -> None:
    """How many targets are met, and which are missed."""
    outcomes = [(t, t.met(r)) for r in results for t in TARGETS if t.case == r.case]
    met, missed, absent = (sum(outcome is x for _, outcome in outcomes) for x in (True, False, None))
    print(f"\n{met} targets met, {missed} missed, {absent} without a figure")
    for target, outcome in outcomes:
        if outcome is False:
            print(f"missed: {target.case}: {target.row}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=ALL, metavar="CASE", help=f"one of {', '.join(ALL)}")
    parser.add_argument("--rounds", type=int, default=15, help="turns each contestant gets (default: 15)")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--quick", action="store_true", help="three short rounds on smaller graphs, as a test")
    parser.add_argument("--worker", choices=ALL, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rounds = min(options.rounds, 3) if options.quick else options.rounds

    if options.worker:
        options.json.write_text(json.dumps(asdict(measure(options.worker, rounds, options.quick))))
        return
    about = {"date": datetime.date.today().isoformat(), "rounds": rounds, **machine()}
    for key, value in about.items():
        print(f"{key}: {value}")
    results = []
    for case in options.only or ALL:
        results.append(measure_apart(case, rounds, options.quick))
        print("", *table(results[-1]), sep="\n", flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": about, "results": [asdict(r) for r in results]}, indent=1))
    if not options.only and not options.quick:
        from benchmarks.chart import draw

        draw(results, ROOT / "benchmarks" / "results.png")
    print_summary(results)


if __name__ == "__main__":
    main()

"""Which lines of the Cython sources and headers the tests run: a build for gcov, which counts lines of the generated C,
then the tests in one process, or those that are named as arguments. The comments that Cython writes say which line of
the sources a line of C belongs to. Prints a row for each file, and fails if a line was not run that EXCEPTIONS does not
name.

A line counts as run if any of its C code ran; lines that compile to nothing in this build are not counted. gcov writes
its counts when a process exits, so tests whose processes end by a signal or os._exit() count nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).parents[2]
TREE = ROOT / "build" / "coverage" / "tree"
PACKAGE = "src/micrograd/"


# Lines that need not run, by their text in each source; `*` is anything. A line that neither ran nor is named here
# fails the check, so what is new needs a test or a reason.
EXCEPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "only in debug builds, which `make sanitize` runs": {
        "_core/invariants.pxi": ("*",),
        "_core/affine.pxi": ("check_node(*",),
        "_core/slabs.pxi": ("poison(*",),
    },
    "for other machines and systems": {
        "_core/arenas.h": ("munmap(p, before);",),  # where the system gives addresses that are not aligned
        "_core/typeslots.pxi": ("raise ImportError(*",),  # where objects have another size
        "_optim/adam.h": ("static void adam_baseline(*", "adam_slots(options, *", "}", "return adam_baseline;"),
    },
    "an op without its rule, which another test names": {
        "_core/derivatives.pxi": (
            "return no_derivative(op)",
            "raise NotImplementedError(",
            'f"the op {RULES*',
        ),
    },
    "no op has such a rule today": {"_core/materialize.pxi": ("raise_error()",)},
    "more than 2^30 instructions, or all addresses": {
        "_compile/instructions.pxi": ("raise MemoryError  # indices are ints",),
        "_compile/lower.pxi": ("raise MemoryError  # counts are ints",),
        "_compile/trace.pxi": ("raise MemoryError  # counts are ints",),
        "_compile/execute.pxi": ("raise MemoryError",),
    },
    "memory is out while the package is imported, a thread enters its first mode, or a signal handler returns": {
        "_nn/plain_classes.pxi": ("raise MemoryError",),
        "_core/modes.pxi": ("raise MemoryError",),
        "_core/walk.pxi": ("raise MemoryError",),
    },
    "memory is out at a place that few allocations reach; `make oom` may": {
        "_core/adjoints.pxi": ("raise_error()", "except MemoryError:", "layer_drop(layer, 0)", "raise"),
        "_core/affine.pxi": ("PyErr_NoMemory()", "return False", "return NULL", "layer_drop(layer, 0)"),
        "_core/collector.pxi": ("search.capacity = -1", "return others == references(*"),
        "_core/gradient.pxi": ("walk_unmark(&walk, n, NULL)", "raise_error()"),
        "_core/operands.pxi": ("PyErr_NoMemory()", "return NULL"),
        "_core/walk.pxi": ("raise_error()",),
    },
    "a signal between two checks of one phase": {
        "_compile/program.pxi": ("raise_error()",),
        "_compile/execute.pxi": ("return INTERRUPTED",),
        "_core/walk.pxi": ("order_renew(&order)", "nodes.clear()", "i = 0"),
    },
    "another thread changes leaves between an error and the search for its first cause": {
        "_compile/execute.pxi": ("raise", "return first, error"),
        "_compile/results.pxi": ("raise",),
    },
    "NumPy gives no buffer for an array of doubles": {
        "_compile/arguments.pxi": ('raise TypeError(f"{array_name(i, count, names)} must be an array*',),
    },
}


def copy_sources(tree: Path) -> None:
    """What setup.py needs, without what earlier builds left."""
    shutil.rmtree(tree / "src", ignore_errors=True)
    ignored = shutil.ignore_patterns("*.so", "*.c", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", tree / "src", ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)


def build() -> None:
    copy_sources(TREE)
    environment = {**os.environ, "MICROGRAD_COVERAGE": "1"}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=TREE, env=environment, check=True, stdout=subprocess.DEVNULL)


def run_tests(arguments: list[str]) -> int:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TREE / "src"), os.environ.get("PYTHONPATH", "")])}
    environment.pop("COVERAGE_PROCESS_START", None)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", *arguments], cwd=ROOT, env=environment
    ).returncode


MARK = re.compile(r'^\s*/\* "(?:src/)?micrograd/([^"]+)":(\d+)$')


def origins(path: Path) -> dict[int, tuple[str, int]]:
    """The file and line of the sources that each line of a generated C file comes from."""
    found: dict[int, tuple[str, int]] = {}
    place, in_comment = None, False
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if match := MARK.match(line):
            place, in_comment = (match[1], int(match[2])), True
        elif in_comment:
            in_comment = "*/" not in line
        elif line.startswith(("}", "static ", "/*")) or "function exit code" in line:
            place = None
        elif place and line.strip() != "break;":  # the end of a case, after a `return` perhaps
            found[number] = place
    return found


def counts() -> dict[str, dict[int, int]]:
    """Of each source, how often each line ran, in the module where it ran most."""
    found: dict[str, dict[int, int]] = defaultdict(dict)
    generated = {path.name: origins(path) for path in (TREE / PACKAGE).glob("*.c")}
    for data in sorted(TREE.rglob("*.gcda")):
        command = ["gcov", "--json-format", "--stdout", str(data)]
        out = subprocess.run(command, cwd=TREE, check=True, capture_output=True, text=True).stdout
        for report in out.splitlines():
            for file in json.loads(report)["files"]:
                _, package, name = file["file"].rpartition("micrograd/")
                for line in file["lines"] if package else ():
                    number = line["line_number"]
                    place = generated[name].get(number) if name in generated else (name, number)
                    if place:
                        found[place[0]][place[1]] = max(found[place[0]].get(place[1], 0), line["count"])
    return found


def spans(numbers: list[int], counted: list[int]) -> str:
    """Lines as spans, which may pass over lines that are not counted: 12-14, 20."""
    parts: list[list[int]] = []
    for number in numbers:
        between = parts and [x for x in counted if parts[-1][1] < x < number]
        if parts and not between:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def named(name: str, text: str) -> str | None:
    """Why this line of a source need not run, or None."""
    for reason, files in EXCEPTIONS.items():
        if any(fnmatchcase(text, pattern) for pattern in files.get(name, ())):
            return reason
    return None


def report() -> int:
    """Print a row for each source, and the lines that neither ran nor are named. Returns how many these are."""
    total = ran = 0
    excepted: Counter[str] = Counter()
    unnamed = []
    for name, lines in sorted(counts().items()):
        missing = sorted(number for number, count in lines.items() if not count)
        total += len(lines)
        ran += len(lines) - len(missing)
        share = 100 * (len(lines) - len(missing)) / len(lines)
        skipped = f"  not run: {spans(missing, sorted(lines))}" if missing else ""
        print(f"{name:32} {len(lines):5} lines {share:6.1f} %{skipped}")
        texts = (TREE / PACKAGE / name).read_text(encoding="utf-8").split("\n")
        for number in missing:
            text = texts[number - 1].strip()
            if reason := named(name, text):
                excepted[reason] += 1
            else:
                unnamed.append(f"{name}:{number}: {text}")
    print(f"Cython sources and headers: {ran:,} of {total:,} lines run, {100 * ran / max(total, 1):.2f} %")
    for reason, count in excepted.items():
        print(f"{count:5} not run: {reason}")
    print(f"{len(unnamed):5} not run, without a reason", *unnamed, sep="\n  ")
    return len(unnamed)


if __name__ == "__main__":
    failed = 0
    if sys.argv[1:2] != ["--report"]:
        build()
        failed = run_tests(sys.argv[1:])
    sys.exit(report() > 0 or failed)

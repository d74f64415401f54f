"""Which lines of the Cython sources and headers the tests run: a build for gcov, which counts lines of the generated C,
then the tests in one process, or those that are named as arguments. The comments that Cython writes say which line of
the sources a line of C belongs to. Prints a row for each file with lines that were not run.

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
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
TREE = ROOT / "build" / "coverage" / "tree"
PACKAGE = "src/micrograd/"


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
        elif place:
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


def report() -> None:
    total = ran = 0
    for name, lines in sorted(counts().items()):
        missing = sorted(number for number, count in lines.items() if not count)
        total += len(lines)
        ran += len(lines) - len(missing)
        if missing:
            share = 100 * (len(lines) - len(missing)) / len(lines)
            print(f"{name:32} {len(lines):5} lines {share:6.1f} %  not run: {spans(missing, sorted(lines))}")
    print(f"Cython sources and headers: {ran:,} of {total:,} lines run, {100 * ran / max(total, 1):.2f} %")


if __name__ == "__main__":
    if sys.argv[1:2] != ["--report"]:
        build()
        failed = run_tests(sys.argv[1:])
        report()
        sys.exit(failed)
    report()

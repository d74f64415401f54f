"""`make guide`: is CONTRIBUTING.md's guide to adding an op true? Its diffs are applied to a copy of the sources, which
is built there, and the whole test suite runs on it.

`hunks()` is the tests' too. A hunk fits where its lines stand exactly once; line numbers are for readers.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "build" / "guide"
NOT_COPIED = shutil.ignore_patterns(".*", "build", "dist", "*.so", "*.pyd", "*.c", "*.egg-info", "__pycache__")


class Hunk(NamedTuple):
    diff: int  # which of the guide's diffs it belongs to
    path: str
    head: str
    before: str
    after: str


def hunks() -> list[Hunk]:
    """Of each diff in the guide: the file, the line with @@, what has to stand there, and what does afterwards."""
    found = []
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for number, diff in enumerate(re.findall(r"```diff\n(.*?)```", guide, re.DOTALL)):
        for part in diff.split("--- a/")[1:]:
            path, _, rest = part.partition("\n")
            for head, body in re.findall(
                r"^(@@.*)\n((?:[ +-].*\n|\n)+?)(?=@@|\Z)", rest.partition("\n")[2], re.MULTILINE
            ):
                texts = ("".join(re.findall(rf"^[ {sign}](.*\n)", body, re.MULTILINE)) for sign in "-+")
                found.append(Hunk(number, path, head, *texts))
    return found


def places() -> list[tuple[int, int]]:
    """Hunks and files of each diff."""
    each: dict[int, list[str]] = {}
    for hunk in hunks():
        each.setdefault(hunk.diff, []).append(hunk.path)
    return [(len(paths), len(set(paths))) for paths in each.values()]


def misfits(root: Path) -> list[str]:
    """What is to be said of each hunk that neither fits the sources nor is in them already."""
    said = []
    for hunk in hunks():
        source = (root / hunk.path).read_text(encoding="utf-8")
        if source.count(hunk.before) != 1 and hunk.after not in source:
            times = f"{source.count(hunk.before)} times"
            said.append(f"CONTRIBUTING.md, {hunk.path} {hunk.head}: these lines stand there {times}\n{hunk.before}")
    return said


def run(*command: object) -> None:
    environment = {**os.environ, "PYTHONPATH": str(COPY / "lib"), "PYTHONSAFEPATH": ""}
    environment.setdefault("MICROGRAD_REFERENCE", str(ROOT / "build" / "reference"))
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=COPY, env=environment, check=False)
    if done.returncode:
        sys.exit(f"guide: {' '.join(words)}: exit {done.returncode}, in {COPY}")


def main() -> None:
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(ROOT, COPY, ignore=NOT_COPIED)
    shutil.copytree(ROOT / ".ci", COPY / ".ci")
    if said := misfits(COPY):
        sys.exit("\n".join(said))
    for hunk in hunks():
        path = COPY / hunk.path
        source = path.read_text(encoding="utf-8")
        path.write_text(source.replace(hunk.before, hunk.after), encoding="utf-8")
    for count, files in places():
        print(f"guide: {count} hunks in {files} files", flush=True)
    run(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", COPY / "lib", "."
    )  # has Cython apart
    run(
        sys.executable,
        "-c",
        f"import micrograd; assert micrograd.__file__.startswith({str(COPY)!r}), micrograd.__file__",
    )
    run(sys.executable, "-m", "pytest", "--quiet", "--numprocesses", "auto", "--maxprocesses", "4", *sys.argv[1:])


if __name__ == "__main__":
    main()

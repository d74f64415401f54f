"""`make guide`: tests CONTRIBUTING.md's guide to adding an op. Applies its diffs to a copy of the sources, builds the
copy and runs the whole test suite there. Arguments are handed on to pytest.

tests/project/test_guide.py uses `hunks()` too. A hunk applies where its lines occur exactly once; its line numbers
have no effect.
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
NOT_COPIED = shutil.ignore_patterns(".*", "build", "dist", "_*.c", "*.so", "*.pyd", "*.egg-info", "__pycache__")


class Hunk(NamedTuple):
    diff: int  # index of the guide's diff that contains it
    path: str
    head: str  # the line that begins with @@
    before: str  # the lines that it replaces
    after: str  # the lines that it puts there


def hunks() -> list[Hunk]:
    """All hunks of the guide's diffs, in their order."""
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
    """The numbers of hunks and of files of each diff."""
    paths: dict[int, list[str]] = {}
    for hunk in hunks():
        paths.setdefault(hunk.diff, []).append(hunk.path)
    return [(len(diff), len(set(diff))) for diff in paths.values()]


def misfits(root: Path) -> list[str]:
    """A message for each hunk that neither applies to the sources under `root` nor has been applied there already."""
    messages = []
    for hunk in hunks():
        source = (root / hunk.path).read_text(encoding="utf-8")
        count = source.count(hunk.before)
        if count != 1 and hunk.after not in source:
            where = f"CONTRIBUTING.md, {hunk.path} {hunk.head}"
            messages.append(f"{where}: these lines stand there {count} times\n{hunk.before}")
    return messages


def apply(root: Path) -> None:
    """Apply all hunks to the sources under `root`."""
    for hunk in hunks():
        path = root / hunk.path
        source = path.read_text(encoding="utf-8")
        path.write_text(source.replace(hunk.before, hunk.after), encoding="utf-8")
    # The guide asks for a line in CHANGELOG.md and has no diff of it: where it belongs changes with each release.
    added = re.findall(r"def (\w+)", "".join(hunk.after for hunk in hunks() if hunk.path == "tests/oracle.py"))
    with (root / "CHANGELOG.md").open("a", encoding="utf-8") as changelog:
        changelog.write("".join(f"- `{name}`\n" for name in added))


def python(*arguments: str) -> None:
    """Run Python in the copy, with the package that was built there; exit if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(COPY / "lib"), "PYTHONSAFEPATH": ""}
    environment.setdefault("MICROGRAD_REFERENCE", str(ROOT / "build" / "reference"))
    done = subprocess.run([sys.executable, *arguments], cwd=COPY, env=environment, check=False)
    if done.returncode:
        sys.exit(f"guide: python {' '.join(arguments)}: exit {done.returncode}, in {COPY}")


def main() -> None:
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(ROOT, COPY, ignore=NOT_COPIED)
    shutil.copytree(ROOT / ".ci", COPY / ".ci")
    if messages := misfits(COPY):
        sys.exit("\n".join(messages))
    apply(COPY)
    for count, files in places():
        print(f"guide: {count} hunks in {files} files", flush=True)
    # pip builds in isolation, with a Cython of its own.
    python("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(COPY / "lib"), ".")
    python("-c", f"import micrograd; assert micrograd.__file__.startswith({str(COPY)!r}), micrograd.__file__")
    python("-m", "pytest", "--quiet", "--numprocesses", "auto", "--maxprocesses", "4", *sys.argv[1:])


if __name__ == "__main__":
    main()

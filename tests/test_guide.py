"""The guide to adding an op is a diff, which has to fit the sources as they are. Following it is left to readers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "CONTRIBUTING.md"


def hunks() -> list[tuple[str, str]]:
    """The file of each hunk, and what has to stand in it, once."""
    [diff] = re.findall(r"```diff\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    found = []
    for part in diff.split("--- a/")[1:]:
        path = part.partition("\n")[0]
        bodies = re.split(r"^@@.*\n", part, flags=re.MULTILINE)[1:]
        found += [(path, "".join(re.findall(r"^[ -](.*\n)", body, re.MULTILINE))) for body in bodies]
    return found


@pytest.mark.skipif(not (ROOT / "src").exists() or not GUIDE.exists(), reason="there are no sources beside the tests")
def test_the_guide_to_adding_an_op_fits_the_sources():
    assert len(hunks()) >= 7
    for path, text in hunks():
        assert (ROOT / path).read_text(encoding="utf-8").count(text) == 1, f"{path} has no longer:\n{text}"

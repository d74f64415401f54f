"""The guide to adding an op is a diff, which has to fit the sources as they are. Following it is left to readers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "CONTRIBUTING.md"


def hunks() -> list[tuple[str, str, str]]:
    """The file of each hunk, what has to stand in it, and what does once the hunk is applied."""
    [diff] = re.findall(r"```diff\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    found = []
    for part in diff.split("--- a/")[1:]:
        for body in re.split(r"^@@.*\n", part, flags=re.MULTILINE)[1:]:
            texts = ("".join(re.findall(rf"^[ {sign}](.*\n)", body, re.MULTILINE)) for sign in "-+")
            found.append((part.partition("\n")[0], *texts))
    return found


@pytest.mark.skipif(not (ROOT / "src").exists() or not GUIDE.exists(), reason="there are no sources beside the tests")
def test_the_guide_to_adding_an_op_fits_the_sources():
    assert len(hunks()) >= 7
    for path, before, after in hunks():
        source = (ROOT / path).read_text(encoding="utf-8")
        assert source.count(before) == 1 or after in source, f"{path} has no longer:\n{before}"

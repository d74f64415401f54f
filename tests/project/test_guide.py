"""The guide to adding an op is diffs, which have to fit the sources as they are. `make guide` follows it in a copy."""

from __future__ import annotations

import re

import pytest

from helpers import ROOT, load

SCRIPT = ROOT / ".ci" / "guide.py"


@pytest.fixture
def guide():
    if not (ROOT / "src").exists() or not SCRIPT.exists():
        pytest.skip("there are no sources beside the tests")
    return load(SCRIPT, "guide")


def test_the_guide_to_adding_an_op_fits_the_sources(guide):
    assert len({hunk.diff for hunk in guide.hunks()}) == 2
    assert not guide.misfits(ROOT), "\n".join(guide.misfits(ROOT))


def test_every_line_of_the_guides_diffs_is_read(guide):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    diffs = re.findall(r"```diff\n(.*?)```", text, re.DOTALL)
    added = [line[1:] for diff in diffs for line in diff.splitlines() if re.match(r"\+(?!\+\+ b/)", line)]
    removed = [line[1:] for diff in diffs for line in diff.splitlines() if re.match(r"-(?!-- a/)", line)]
    after, before = ("".join(getattr(hunk, side) for hunk in guide.hunks()) for side in ("after", "before"))
    assert added
    assert removed
    assert [line for line in added if f"{line}\n" not in after] == []
    assert [line for line in removed if f"{line}\n" not in before] == []
    heads = [head for diff in diffs for head in re.findall(r"^@@.*", diff, re.MULTILINE)]
    assert heads == [hunk.head for hunk in guide.hunks()]


def test_the_guide_counts_its_places(guide):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    counted = [tuple(map(int, found)) for found in re.findall(r"(\d+) places in (\d+) files", text)]
    assert counted == guide.places()


def test_a_hunk_that_does_not_fit_is_named(guide, tmp_path):
    for hunk in guide.hunks():
        path = tmp_path / hunk.path
        path.parent.mkdir(parents=True, exist_ok=True)
        source = (ROOT / hunk.path).read_text(encoding="utf-8")
        path.write_text(source.replace("def arcsin(self)", "def arcsine(self)"), encoding="utf-8")
    said = guide.misfits(tmp_path)
    assert [text.partition(" @@")[0] for text in said] == ["CONTRIBUTING.md, src/micrograd/_core.pyi"]
    assert "stand there 0 times" in said[0]
    assert "def arcsin(self) -> Value" in said[0]

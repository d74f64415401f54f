"""The benchmarks' chart: it has the figures of the tables, or of the JSON file that a run writes. How it looks is not
tested."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from helpers import ROOT

README = ROOT / "benchmarks" / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="there is no checkout around the tests")


@pytest.fixture
def chart(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import chart

    return chart


def test_tables_are_read(chart):
    results = {result.title: result for result in chart.read(README)}
    loop = results["README loop, unchanged"]
    assert (loop.unit, loop.base, loop.value("ours")) == ("x ours", "ours", 1.0)
    [row] = [row for row in loop.rows if row.name == "reference"]
    assert f"| reference | {row.value:g} | {row.low:g} … {row.high:g} | " in README.read_text(encoding="utf-8")
    assert results["two moons, compiled"].value("XAD tape") is None
    assert results["memory"].unit == "bytes"
    assert len(results) == README.read_text(encoding="utf-8").count("| quartiles |")


def test_every_figure_of_another_program_has_a_mark(chart):
    results = chart.read(README)
    marked = sorted(row.value for _, rows in chart.layout(results) for row in rows)
    ours = ("ours", "one thread", "two processes", "three additions", "worst over best", "Python loop over")
    others = [
        row.value
        for result in results
        if result.unit == "x ours"
        for row in result.rows
        if row.value is not None and not row.name.startswith(ours)
    ]
    assert marked == sorted(others)
    assert len(marked) > 70


def test_parts_of_a_case_have_lines_of_their_own(chart):
    lines = dict(chart.layout(chart.read(README)))
    assert [row.name for row in lines["RNN, 1,000 steps in time, 64 sequences"]] == [
        "C by hand, 64 sequences",
        "JAX jit, scan, 64 sequences",
        "PyTorch eager, 64 sequences",
    ]
    assert len(lines["README loop, unchanged"]) == 8
    assert lines["compiled functions"] == []


def test_json_gives_the_same_picture(chart, tmp_path):
    pytest.importorskip("matplotlib")
    results = chart.read(README)
    file = tmp_path / "results.json"
    file.write_text(json.dumps({"machine": {}, "results": [asdict(result) for result in results]}))
    assert chart.read(file) == results
    chart.draw(results, tmp_path / "results.png")
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")

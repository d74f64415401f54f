"""No public entry leaks: the short form of `make leaks`, and every public name is in an entry."""

from __future__ import annotations

import ast

import pytest

from helpers import ROOT
from micrograd import functional
from micrograd._core import OPS
from micrograd.nn import init
from public_names import public_names

pytest.importorskip("resource")  # which Windows and browsers lack

from reliability import counts

NOT_ENTRIES = {
    "micrograd.viz.plot_decision_boundary": "Matplotlib keeps what it draws",
    "micrograd.viz.plot_loss": "Matplotlib keeps what it draws",
}


@pytest.mark.slow
@pytest.mark.skipif(not counts.ABLE, reason="reads the slabs of a release build on 64-bit Linux")
def test_no_entry_leaks(driver):
    print(driver("leaks", "--short", "--repetitions", "100"))


def test_every_public_name_is_in_an_entry():
    """By its last part, as a name, an attribute or a string of entries.py."""
    words = {*OPS, *functional.__all__, *init.__all__}  # entries.py makes entries of all of these
    for file in ("entries.py", "compiled_entries.py", "error_entries.py"):
        for node in ast.walk(ast.parse((ROOT / "tests" / "reliability" / file).read_text(encoding="utf-8"))):
            words.update(vars(node).get(field) for field in ("id", "attr", "arg", "name"))
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.add(node.value)
    missing = [n for n in public_names() if n not in NOT_ENTRIES and n.rpartition(".")[2] not in words]
    assert not missing, f"no entry uses {', '.join(missing)}"

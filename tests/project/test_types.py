"""typed_program.py and typed_compile.py, which the type checkers read, do what they say when they run."""

from __future__ import annotations

import pytest

pytest.importorskip("numpy.typing")

import typed_compile
import typed_program


@pytest.mark.parametrize("part", ["operators", "methods", "networks", "functions", "optimizers", "graphs"])
def test_the_typed_program_runs(part):
    getattr(typed_program, part)()


def test_what_is_typed_of_compile_runs():
    typed_compile.compiled()

"""typed_program.py, which the type checkers read, does what it says when it runs."""

from __future__ import annotations

import pytest
import typed_program


@pytest.mark.parametrize("part", ["operators", "methods", "networks", "functions", "optimizers", "graphs"])
def test_the_typed_program_runs(part):
    getattr(typed_program, part)()

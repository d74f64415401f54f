"""The parts of `_compile` are compiled with bounds checks: a directive of the module, which its parts cannot have."""

from __future__ import annotations

import pytest

from micrograd import _compile


def test_a_part_checks_bounds():
    """The key that failed chunks are sorted by reads two items of a tuple, by compiled indexing."""
    assert _compile._by_row((1, 7)) == (True, 7)
    for short in ((), (1,)):
        with pytest.raises(IndexError):
            _compile._by_row(short)

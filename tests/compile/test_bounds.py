"""The parts of `_compile` are compiled with bounds checks: a directive of the module, which its parts cannot have."""

from __future__ import annotations


def test_a_part_checks_bounds(isolated):
    """The key that failed chunks are sorted by reads two items of a tuple. Unchecked, it crashes."""
    out = isolated(
        """
from micrograd import _compile
print(_compile._by_sample((1, 7)))
for short in ((), (1,)):
    try:
        _compile._by_sample(short)
    except IndexError as error:
        print(error)
"""
    )
    assert out.splitlines() == ["(True, 7)", *["tuple index out of range"] * 2]

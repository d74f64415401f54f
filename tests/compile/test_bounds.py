"""All parts of `_compile` have bounds checks, by a directive of the module; parts cannot have their own."""

from __future__ import annotations


def test_a_part_checks_bounds(isolated):
    """`_by_sample()` of execute.pxi reads two items of a tuple; without the checks, this test crashes."""
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

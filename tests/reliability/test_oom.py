"""MemoryError at any allocation of the engine: the short form of `make oom`."""

from __future__ import annotations

import shutil
import sys

import pytest

from reliability import counts

pytestmark = [
    pytest.mark.slow,
    counts.able,
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler"),
]


# As it clears the attributes of an object that dies, CPython 3.14 prints and clears the MemoryError that is on its way;
# the pickle or copy under way then ends in SystemError.
loses_errors = pytest.mark.skipif(sys.version_info >= (3, 13), reason="CPython loses the exception of a dying object")


@pytest.mark.parametrize(
    ("group", "stride"),
    [
        ("ops", 1),
        ("values", 1),
        ("functional", 3),
        pytest.param("modules", 17, marks=loses_errors),
        ("optimizers", 11),
        ("errors", 3),
        ("compile", 13),
    ],
)
def test_memory_error_alone_comes_of_it(driver, group, stride):
    print(driver("oom", "--stride", str(stride), group))


def test_the_system_may_refuse_memory(driver):
    print(driver("oom", "--stride", "5", "system"))


def test_a_trace_of_choices_may_run_out_of_memory(driver):
    """A frozenset of a display crashed there, in code from Cython."""
    print(driver("oom", "--only", "compile where", "compile"))


def test_threads_for_which_memory_is_out_are_not_started(driver):
    """The lock of one, for which there was none, raised RuntimeError."""
    print(driver("oom", "--only", "threads that are started", "compile"))


def test_an_array_that_cannot_be_held_is_a_memory_error(driver):
    """It was TypeError: the array was taken for one that has no buffer of doubles."""
    print(driver("oom", "--only", "compile static", "compile"))

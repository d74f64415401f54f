"""Programs that run for long do not grow, and Ctrl-C does not wait: short forms of `make soak` and
`make interruption`."""

from __future__ import annotations

import sys

import pytest

from helpers import posix
from micrograd._core import SANITIZED

linux = pytest.mark.skipif(
    not sys.platform.startswith("linux") or SANITIZED, reason="reads a release's /proc/self/statm"
)


@pytest.mark.slow
@linux
def test_memory_is_flat_over_steps(driver):
    print(driver("soak", "--steps", "20000"))


@pytest.mark.slow
@posix
def test_ctrl_c_does_not_wait_for_long_work(driver):
    """The limit of 100 ms is `make interruption`'s; tests share their processors."""
    print(driver("interruption", "--size", "2000000", "--rounds", "1", "--limit", "400"))

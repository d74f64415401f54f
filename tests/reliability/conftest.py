"""The fixture that runs a driver of this folder, as `make` does, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from helpers import path_of_tests


@pytest.fixture
def driver():
    """Run `python -m reliability.NAME ARGUMENTS`, and give what it printed. A non-zero exit fails the test."""

    def run(name: str, *arguments: str, timeout: float = 300) -> str:
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-m", f"reliability.{name}", *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **path_of_tests()},
            check=False,
        )
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run

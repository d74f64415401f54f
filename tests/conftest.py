"""Fixtures: both engines side by side, and a way to run a check in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import original
import pytest

os.environ.setdefault("MPLBACKEND", "agg")  # Matplotlib draws without a screen

_REFERENCE = original.load()

# What a build under AddressSanitizer cannot pass, and why not.
_MEMORY = "the sanitizer keeps freed memory back for a while, and what it knows of each eight bytes takes another"
NOT_SANITIZED = {
    "test_a_leaf_is_64_bytes": _MEMORY,
    "test_a_node_is_64_bytes": _MEMORY,
    "test_closures_of_user_ops_are_collected": _MEMORY,
    "test_freed_graphs_return_their_memory": _MEMORY,
    "test_memory_is_flat_over_training_steps": _MEMORY,
    "test_sizes_do_not_wrap": "the sanitizer reserves more addresses than the test allows",
    "test_nothing_is_left_behind": "the interpreter's caches grow by more than the bound with PYTHONMALLOC=malloc",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from micrograd._core import SANITIZED

    for item in items if SANITIZED else ():
        if reason := NOT_SANITIZED.get(item.originalname if isinstance(item, pytest.Function) else ""):
            item.add_marker(pytest.mark.skip(reason=f"under AddressSanitizer: {reason}"))


def _ours() -> SimpleNamespace:
    from micrograd import nn
    from micrograd.engine import Value

    return SimpleNamespace(Value=Value, nn=nn, name="ours")


@pytest.fixture(scope="session")
def ours() -> SimpleNamespace:
    """This engine: `.Value` and `.nn`."""
    return _ours()


@pytest.fixture(scope="session")
def reference() -> SimpleNamespace:
    """micrograd 0.1.0 from PyPI: `.Value` and `.nn`."""
    if _REFERENCE is None:
        pytest.skip(f"micrograd 0.1.0 is not in {original.HOME}; `make test` puts it there")
    engine, nn = _REFERENCE
    return SimpleNamespace(Value=engine.Value, nn=nn, name="reference")


@pytest.fixture(params=["ours", "reference"])
def engine(request: pytest.FixtureRequest) -> SimpleNamespace:
    """Runs a test once on each engine: what passes on both is the contract."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def isolated():
    """Run Python source in a fresh process and return what it printed; a crash or a non-zero exit fails the test."""

    def run(source: str, *, timeout: float = 120, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", source],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **env},
            check=False,
        )
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run

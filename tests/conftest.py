"""Fixtures: both engines side by side, and a way to run a check in a process of its own."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
# micrograd 0.1.0 from PyPI, put there by `make test`: pip install --target, under the name `micrograd`.
REFERENCE = Path(os.environ.get("MICROGRAD_REFERENCE", ROOT / "build" / "reference"))


def _load_reference() -> SimpleNamespace | None:
    """The reference's engine and nn. Its nn imports `micrograd.engine` by name, so ours steps aside while it loads."""
    if not (REFERENCE / "micrograd" / "engine.py").exists():
        return None
    ours = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "micrograd"}
    sys.path.insert(0, str(REFERENCE))
    importlib.invalidate_caches()
    try:
        engine, nn = importlib.import_module("micrograd.engine"), importlib.import_module("micrograd.nn")
    finally:
        sys.path.remove(str(REFERENCE))
        for name in [name for name in sys.modules if name.partition(".")[0] == "micrograd"]:
            del sys.modules[name]
        sys.modules.update(ours)
    return SimpleNamespace(Value=engine.Value, nn=nn, name="reference")


_REFERENCE = _load_reference()


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
        pytest.skip(f"micrograd 0.1.0 is not in {REFERENCE}; `make test` puts it there")
    return _REFERENCE


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

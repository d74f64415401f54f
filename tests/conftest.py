"""Fixtures: both engines side by side, and ways to run a check in a process of its own."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import subprocess
import sys
import textwrap
from collections.abc import Generator
from types import ModuleType, SimpleNamespace

import pytest

import original
from helpers import FREE_THREADED, NOT_IN_PYODIDE, NOT_ON_313T, NOT_SANITIZED, NOT_TRACED, PREAMBLE

os.environ.setdefault("MPLBACKEND", "agg")  # Matplotlib draws without a screen
if FREE_THREADED:
    os.environ.setdefault("PYTHON_GIL", "1")  # for processes of tests: importing micrograd then warns of nothing

_REFERENCE = original.load()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from micrograd._core import SANITIZED

    impossible = {}
    for here, where, tests in (
        (SANITIZED, "under AddressSanitizer", NOT_SANITIZED),
        (sys.platform == "emscripten", "in Pyodide", NOT_IN_PYODIDE),
        (FREE_THREADED and sys.version_info < (3, 14), "on a free-threaded CPython 3.13", NOT_ON_313T),
        ("COVERAGE_RUN" in os.environ, "under coverage.py", NOT_TRACED),
    ):
        if here:
            impossible.update((name, f"{where}: {reason}") for name, reason in tests.items())
    for item in items if impossible else ():
        if reason := impossible.get(item.originalname if isinstance(item, pytest.Function) else ""):
            item.add_marker(pytest.mark.skip(reason=reason))


# ---- Without NumPy, processes or threads, as in Pyodide: the tests that use them are skipped -------------------------


class _NoNumPy(ModuleType):
    """What `import numpy` gives a file of tests then."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)
        pytest.skip("NumPy is missing", allow_module_level=True)


if importlib.util.find_spec("numpy") is None:
    sys.modules["numpy"] = _NoNumPy("numpy")


def pytest_collection_finish() -> None:
    if isinstance(sys.modules.get("numpy"), _NoNumPy):
        del sys.modules["numpy"]  # for micrograd it is missing


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    try:
        yield
    except (ImportError, OSError, RuntimeError) as error:
        if isinstance(error, ImportError) and error.name == "numpy":
            pytest.skip("NumPy is missing")
        if sys.platform == "emscripten" and str(error).endswith(("support processes.", "can't start new thread")):
            pytest.skip(f"in Pyodide: {error}")
        raise


# ---- Fixtures --------------------------------------------------------------------------------------------------------


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


@pytest.fixture(params=[True, False], ids=["exact", "default"])
def exact(request: pytest.FixtureRequest) -> bool:
    """Runs a test in both modes of compiled functions."""
    return request.param


@pytest.fixture
def rounds_once():
    """For tests that compare bits with those of Python's floats. CPython for i386 may compute these on the x87 unit,
    with 64 bits, and round once more to store them: sums, products and quotients then differ in last bits from those of
    other machines, and of this engine. The test runs with the unit set to 53 bits. (Other tests do not: some functions
    of the C library need the 64.)"""
    if 1e16 + 2.9999 != 1e16 + 4:
        yield
        return
    libm = ctypes.CDLL("libm.so.6")
    kept, state = (ctypes.c_uint16 * 32)(), (ctypes.c_uint16 * 32)()  # fenv_t, which begins with the control word
    libm.fegetenv(kept)
    libm.fegetenv(state)
    state[0] = state[0] & ~0x300 | 0x200
    libm.fesetenv(state)
    yield
    libm.fesetenv(kept)


@pytest.fixture
def isolated():
    """Run Python source in a fresh process and return what it printed; a crash or a non-zero exit fails the test."""

    def run(source: str, *, timeout: float = 300, **env: str) -> str:
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


@pytest.fixture
def check(isolated):
    """Run source in a fresh process, after PREAMBLE; what it prints is only for a reader of `pytest -s`."""

    def run(source: str, **options) -> None:
        print(isolated(PREAMBLE + textwrap.dedent(source), **options))

    return run

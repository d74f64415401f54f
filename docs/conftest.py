"""Pages whose examples need a library of an extra are skipped where it is missing."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

NEEDS = {"nn.md": "safetensors", "tutorial.md": "matplotlib"}


def pytest_runtest_setup(item: pytest.Item) -> None:
    library = NEEDS.get(item.path.name)
    if library and find_spec(library) is None:
        pytest.skip(f"{library} is missing")

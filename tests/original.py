"""karpathy/micrograd 0.1.0, which the tests and the benchmarks compare with, loaded beside this engine.
`make test` puts it into build/reference, out of the way of imports, with pip install --target."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

HOME = Path(os.environ.get("MICROGRAD_REFERENCE", Path(__file__).resolve().parent.parent / "build" / "reference"))


def load() -> tuple[ModuleType, ModuleType] | None:
    """Its modules `engine` and `nn`, or None where it is not in HOME. Both packages are called micrograd, and its nn
    imports `micrograd.engine` by that name, so ours steps aside meanwhile."""
    if not (HOME / "micrograd" / "engine.py").exists():
        return None
    ours = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "micrograd"}
    sys.path.insert(0, str(HOME))
    importlib.invalidate_caches()
    try:
        return importlib.import_module("micrograd.engine"), importlib.import_module("micrograd.nn")
    finally:
        sys.path.remove(str(HOME))
        for name in [name for name in sys.modules if name.partition(".")[0] == "micrograd"]:
            del sys.modules[name]
        sys.modules.update(ours)

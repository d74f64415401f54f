"""What a user may call or read, by its dotted name: the exports of the modules, and the members of exported classes.
The tests ask whether each has a docstring and a test, and `.ci/site.py` whether the API reference has it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import micrograd
from micrograd import Value
from micrograd._core import OPS

# Of Value's names with an underscore, those the dialects share.
GRAPH = ["_backward", "_children", "_local_grads", "_op", "_prev"]


def modules() -> list[str]:
    """Every module that says what it exports."""
    found = ["micrograd", *(found.name for found in pkgutil.walk_packages(micrograd.__path__, "micrograd."))]
    public = [name for name in found if not any(part.startswith("_") for part in name.split("."))]
    return [name for name in public if hasattr(importlib.import_module(name), "__all__")]


def public_members(kind: type) -> set[str]:
    own = [base for base in kind.__mro__ if base.__module__.partition(".")[0] == "micrograd"]
    return {name for base in own for name in vars(base) if not name.startswith("_")}


def public_names() -> dict[str, object]:
    """A class that several modules export has its members by the first of its names."""
    classes = set()
    found = {f"micrograd.Value.{name}": inspect.getattr_static(Value, name) for name in (*OPS, *GRAPH)}
    for home in modules():
        module = importlib.import_module(home)
        for export in module.__all__:
            # It is read from the metadata of the installed package; a build in place has none.
            thing = None if export == "__version__" else getattr(module, export)
            found[f"{home}.{export}"] = thing
            if inspect.isclass(thing) and thing not in classes:
                classes.add(thing)
                for name in public_members(thing):
                    found[f"{home}.{export}.{name}"] = inspect.getattr_static(thing, name)
    return found

"""Nothing public goes untested, undocumented or untyped: each assert names what does.
Reads the test files and the stub as text and the package as it is; checks no behaviour."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import micrograd
from helpers import ROOT
from micrograd import Value
from micrograd._core import OPS

STUB = Path(micrograd.__file__).resolve().parent / "_core.pyi"
MODULES = [
    "micrograd",
    *(f"micrograd.{name}" for name in ("compiler", "engine", "functional", "interop", "nn", "nn_tanh", "optim")),
    *(f"micrograd.{name}" for name in ("nn.init", "optim.lr_scheduler", "utils", "viz")),
]
# Of Value's names with an underscore, those the dialects share.
GRAPH = ["_backward", "_children", "_local_grads", "_op", "_prev"]
NOT_OPS = {"backward", "data", "detach", "grad", "item", "label", "zero_grad"}
COMPOSED = {"clamp", "reciprocal", "selu"}  # of other ops
OF_NUMPY = {"arccos", "arcsin", "arctan", "arctan2", "conjugate"}  # what its functions call


def _public_members(kind: type) -> set[str]:
    own = [base for base in kind.__mro__ if base.__module__.partition(".")[0] == "micrograd"]
    return {name for base in own for name in vars(base) if not name.startswith("_")}


def _public() -> dict[str, object]:
    """What a user may call or read: the exports of the modules, the members of exported classes, the ops."""
    members = {
        f"micrograd.Value.{name}": inspect.getattr_static(Value, name) for name in (*OPS, *COMPOSED, *OF_NUMPY, *GRAPH)
    }
    for home in MODULES:
        module = importlib.import_module(home)
        for export in module.__all__:
            # It is read from the metadata of the installed package; a build in place has none.
            thing = None if export == "__version__" else getattr(module, export)
            members[f"{home}.{export}"] = thing
            for name in _public_members(thing) if inspect.isclass(thing) else ():
                members[f"{home}.{export}.{name}"] = inspect.getattr_static(thing, name)
    return members


PUBLIC = _public()


def test_every_public_name_is_in_a_test():
    others = [file for file in (ROOT / "tests").rglob("test_*.py") if file != Path(__file__).resolve()]
    words = {word for file in others for word in re.findall(r"\w+", file.read_text(encoding="utf-8"))}
    words |= set(OPS)  # the tests of rules, programs and compiled functions read these from the table
    untested = sorted(path for path in PUBLIC if path.rpartition(".")[2] not in words)
    assert not untested, f"no test mentions {', '.join(untested)}"


def test_every_op_is_a_method_and_every_method_an_op():
    operators = {name for name in OPS if name.startswith("__")}
    assert set(OPS) - operators == _public_members(Value) - NOT_OPS - COMPOSED - OF_NUMPY
    assert not sorted(name for name in operators if not hasattr(Value, name))


def _documented(path: str) -> bool:
    thing = PUBLIC[path]
    if inspect.isgetsetdescriptor(thing) and thing.__objclass__ is not Value:  # a C field, described in its class
        return f"`{thing.__name__}`" in thing.__objclass__.__doc__
    return bool(inspect.getdoc(thing))


def test_every_public_name_has_a_docstring():
    documentable = (p for p, thing in PUBLIC.items() if callable(thing) or inspect.isdatadescriptor(thing))
    undocumented = sorted(path for path in documentable if not _documented(path))
    assert not undocumented, f"no docstring: {', '.join(undocumented)}"


@pytest.mark.parametrize("home", MODULES)
def test_every_module_has_a_docstring(home):
    assert (importlib.import_module(home).__doc__ or "").strip()


def _stubbed(body: list[ast.stmt]) -> set[str]:
    names = {n.name for n in body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    names |= {t.id for n in body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    return names | {n.target.id for n in body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}


@pytest.fixture
def stub() -> tuple[set[str], set[str]]:
    """The names the stub gives the module, and those it gives Value."""
    body = ast.parse(STUB.read_text(encoding="utf-8")).body
    value = next(n for n in body if isinstance(n, ast.ClassDef) and n.name == "Value")
    return _stubbed(body), _stubbed(value.body)


def test_the_stub_has_every_public_name_of_the_engine(stub):
    module, value = stub
    reflected = {f"__r{name[2:]}" for name, (_, arity) in OPS.items() if arity == 2 and name.startswith("__")}
    wanted = {*_public_members(Value), *OPS, *GRAPH, *reflected, "__abs__", "__array_priority__", "__init__"}
    missing = sorted({"OPS", "Value"} - module) + sorted(wanted - value)
    assert not missing, f"_core.pyi lacks {', '.join(missing)}"


def test_the_stub_has_no_name_the_engine_lacks(stub):
    extra = sorted(name for name in stub[1] if not hasattr(Value, name))
    assert not extra, f"_core.pyi has {', '.join(extra)}, which Value has not"

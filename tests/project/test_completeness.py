"""Nothing public goes untested, undocumented or untyped: each assert names what does.
Reads the test files and the stub as text and the package as it is; checks no behaviour."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import micrograd
from helpers import ROOT
from micrograd import Value, _compile, _core, _nn, _optim
from micrograd._core import OPS
from public_names import GRAPH, modules, public_members, public_names

STUB = Path(micrograd.__file__).resolve().parent / "_core.pyi"
MODULES, PUBLIC = modules(), public_names()
NOT_OPS = {"backward", "data", "detach", "grad", "item", "label", "zero_grad"}
OPERATORS = {name for name in OPS if name.startswith("__")}
COMPOSED = {"clamp", "reciprocal", "selu"}  # of other ops
OF_NUMPY = {"arccos", "arcsin", "arctan", "arctan2", "conjugate"}  # what its functions call


class _Uses(ast.NodeVisitor):
    """What a test file uses: names of modules, in full; attributes of anything, and strings."""

    def __init__(self, text: str) -> None:
        self.imported: dict[str, str] = {}  # names in the file, in full
        self.full: set[str] = set()
        self.words: set[str] = set()
        self.looked_up: set[str] = set()  # whose attributes are looked up by strings
        self.read(text)
        self.full |= {f"{owner}.{word}" for owner in self.looked_up for word in self.words}

    def read(self, text: str) -> None:
        tree = ast.parse(text)
        for node in ast.walk(tree):
            for alias in node.names if isinstance(node, (ast.Import, ast.ImportFrom)) else ():
                home = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
                name = alias.name if home or alias.asname else alias.name.partition(".")[0]
                self.imported[alias.asname or name] = home + name
                self.full.add(home + name)
        self.visit(tree)

    def name_of(self, node: ast.expr) -> str:
        if isinstance(node, ast.Attribute):
            return f"{self.name_of(node.value)}.{node.attr}"
        return self.imported.get(node.id, "") if isinstance(node, ast.Name) else ""

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.words.add(node.attr)
        self.full.add(self.name_of(node))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id == "getattr":
            self.looked_up.add(self.name_of(node.args[0]))
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.words.add(node.name)  # a class of the test's own may have a method that the package calls
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.words.add(node.value)
            if "micrograd" in node.value:  # is it the program of a test that runs in a process of its own?
                with contextlib.suppress(SyntaxError):
                    self.read(textwrap.dedent(node.value))


def _is_used(path: str, uses: list[_Uses]) -> bool:
    home = max((home for home in MODULES if path.startswith(f"{home}.")), key=len)
    owner, _, name = path.rpartition(".")
    if owner == home:
        return any(path in use.full for use in uses)
    return name in OPS or any(name in use.words and any(f.startswith(f"{home}.") for f in use.full) for use in uses)


def test_every_public_name_is_in_a_test():
    """An export is used by its name in its module; a member of a class, in a file that uses the module of the class.
    Ops are in the tests that read the table."""
    uses = [_Uses(file.read_text(encoding="utf-8")) for file in (ROOT / "tests").rglob("test_*.py")]
    used = {id(thing) for path, thing in PUBLIC.items() if _is_used(path, uses)}
    untested = sorted(path for path, thing in PUBLIC.items() if id(thing) not in used)
    assert not untested, f"no test uses {', '.join(untested)}"


def test_every_op_is_a_method_and_every_method_an_op():
    assert set(OPS) - OPERATORS == public_members(Value) - NOT_OPS - COMPOSED - OF_NUMPY
    assert not sorted(name for name in OPERATORS if not hasattr(Value, name))


def _doc(thing: object) -> str:
    """A class has to have one of its own; a method may have that of the method it overrides."""
    return (vars(thing).get("__doc__") if inspect.isclass(thing) else inspect.getdoc(thing)) or ""


def _documented(path: str) -> bool:
    thing = PUBLIC[path]
    if inspect.isgetsetdescriptor(thing) and thing.__objclass__ is not Value:  # a C field, described in its class
        return f"`{thing.__name__}`" in thing.__objclass__.__doc__
    return bool(_doc(thing))


def test_every_public_name_has_a_docstring():
    documentable = (p for p, thing in PUBLIC.items() if callable(thing) or inspect.isdatadescriptor(thing))
    undocumented = sorted(path for path in documentable if not _documented(path))
    assert not undocumented, f"no docstring: {', '.join(undocumented)}"


def test_every_public_name_has_an_example():
    """That it runs is in test_docstrings.py. Ops have a line each, with examples in Value and `functional`."""
    without = {*OPS, *(COMPOSED - {"clamp"}), *OF_NUMPY}
    things = {p: thing for p, thing in PUBLIC.items() if callable(thing) and p.rpartition(".")[2] not in without}
    bare = sorted(path for path, thing in things.items() if ">>> " not in _doc(thing))
    assert not bare, f"no example: {', '.join(bare)}"


def test_every_public_callable_has_a_signature():
    """With names of parameters. Python's own exceptions have none; calls of a compiled function are those of any."""
    vague = []
    for path, thing in PUBLIC.items():
        if not callable(thing) or (inspect.isclass(thing) and issubclass(thing, Exception)):
            continue
        try:
            kinds = [p.kind for p in inspect.signature(thing).parameters.values()]
        except ValueError:
            vague.append(path)
        else:
            if inspect.Parameter.VAR_POSITIONAL in kinds and "Compiled" not in path:
                vague.append(path)
    assert not vague, f"no signature: {', '.join(sorted(vague))}"


def _in_code(*files: Path) -> set[str]:
    """The words between backticks, without what examples print."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    found = set()
    for code in re.findall(r"```.*?```|`[^`]+`", text, re.DOTALL):
        typed = re.findall(r"^(?:>>>|\.\.\.)(.*)", code, re.MULTILINE) or [code]
        found.update(word for line in typed for word in re.findall(r"\w+", line))
    return found


FOR_USERS = [ROOT / "README.md", *(page for page in (ROOT / "docs").glob("*.md") if page.name != "architecture.md")]


@pytest.mark.parametrize("files", [FOR_USERS, [ROOT / "CHANGELOG.md"]], ids=["docs", "changelog"])
def test_every_public_name_is_in_the_docs_and_the_changelog(files):
    words = {*_in_code(*files), *OPERATORS}
    missing = sorted(path for path in PUBLIC if path.rpartition(".")[2] not in words)
    assert not missing, f"none of {', '.join(file.name for file in files)} has {', '.join(missing)}"


def test_every_function_of_a_public_module_is_exported():
    """By its module or another, as those of the parts of `functional`."""
    exported = {id(thing) for thing in PUBLIC.values()}
    hidden = []
    for found in pkgutil.walk_packages(micrograd.__path__, "micrograd."):
        if not any(part.startswith("_") for part in found.name.split(".")):
            for name, thing in vars(importlib.import_module(found.name)).items():
                own = inspect.isfunction(thing) and thing.__module__ == found.name and not name.startswith("_")
                hidden += [f"{found.name}.{name}"] if own and id(thing) not in exported else []
    assert not hidden, f"in no __all__: {', '.join(hidden)}"


@pytest.mark.parametrize("home", MODULES)
def test_every_module_has_a_docstring(home):
    assert (importlib.import_module(home).__doc__ or "").strip()


def _stubbed(body: list[ast.stmt]) -> set[str]:
    names = {n.name for n in body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    names |= {t.id for n in body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    return names | {n.target.id for n in body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}


def _stub_text(module: ModuleType) -> str:
    return Path(module.__file__).resolve().with_name(f"{module.__name__.rpartition('.')[2]}.pyi").read_text("utf-8")


@pytest.fixture
def stub() -> tuple[set[str], set[str]]:
    """The names the stub gives the module, and those it gives Value."""
    body = ast.parse(STUB.read_text(encoding="utf-8")).body
    value = next(n for n in body if isinstance(n, ast.ClassDef) and n.name == "Value")
    return _stubbed(body), _stubbed(value.body)


def test_the_stub_has_every_public_name_of_the_engine(stub):
    module, value = stub
    reflected = {f"__r{name[2:]}" for name, (_, arity) in OPS.items() if arity == 2 and name.startswith("__")}
    wanted = {*public_members(Value), *OPS, *GRAPH, *reflected, "__abs__", "__array_priority__", "__init__"}
    missing = sorted({"OPS", "Value"} - module) + sorted(wanted - value)
    assert not missing, f"_core.pyi lacks {', '.join(missing)}"


@pytest.mark.parametrize("module", [_compile, _core, _nn, _optim], ids=lambda module: module.__name__)
def test_stubs_have_every_public_name(module):
    """Of what is compiled: a function, class or member that another module exports."""
    body = ast.parse(_stub_text(module)).body
    classes = (node for node in body if isinstance(node, ast.ClassDef))
    found = _stubbed(body) | {f"{node.name}.{name}" for node in classes for name in _stubbed(node.body)}
    missing = set()
    for path, thing in PUBLIC.items():
        home = getattr(thing, "__module__", None) or getattr(getattr(thing, "__objclass__", None), "__module__", None)
        if home == module.__name__ and thing.__qualname__ not in found:
            missing.add(path)
    assert not missing, f"the stub of {module.__name__} lacks {', '.join(sorted(missing))}"


def test_the_stub_has_no_name_the_engine_lacks(stub):
    extra = sorted(name for name in stub[1] if not hasattr(Value, name))
    assert not extra, f"_core.pyi has {', '.join(extra)}, which Value has not"


def _stub_docstrings(module: ModuleType) -> Iterator[tuple[str, object, str | None]]:
    """Classes, functions, methods and properties of a stub: name, what it is in the module, and the docstring in the
    stub; of overloads, and of a property and its setter, that of the first."""
    todo = [("", module, node) for node in ast.parse(_stub_text(module)).body]
    named = {}
    for path, owner, node in todo:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            thing = inspect.getattr_static(owner, node.name)
            named.setdefault(f"{path}{node.name}", (thing, ast.get_docstring(node)))
            todo += [(f"{path}{node.name}.", thing, n) for n in node.body if isinstance(node, ast.ClassDef)]
    return ((name, thing, doc) for name, (thing, doc) in named.items())


@pytest.mark.parametrize("module", [_compile, _core, _nn, _optim], ids=lambda module: module.__name__)
def test_stubs_have_the_docstrings_of_public_names(module):
    """Pyright and Pylance do not import compiled modules: they show the docstrings of stubs."""
    public = {id(thing) for path, thing in PUBLIC.items() if path.rpartition(".")[2] not in OPERATORS}
    other = [
        name for name, thing, doc in _stub_docstrings(module) if id(thing) in public and doc != inspect.getdoc(thing)
    ]
    assert not other, f"in the stub of {module.__name__}, no docstring or not the module's: {', '.join(other)}"

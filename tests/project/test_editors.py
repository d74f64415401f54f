"""What notebooks and editors show: signatures of objects that can be called, names after a dot, and what stands for an
object at the end of a cell. Docstrings and signatures of all public names are in test_completeness.py."""

from __future__ import annotations

import importlib
import inspect
import pydoc
import re
import shutil

import pytest

import micrograd
from micrograd import MLP, Value, nn, viz
from micrograd.utils import detect_anomaly

DEEPER = ["nn.init", "optim.lr_scheduler"]
SUBMODULES = {
    "micrograd": {"__version__", *micrograd._MODULES},
    "micrograd.nn": {"init"},
    "micrograd.optim": {"lr_scheduler"},
}


@micrograd.compile
def squared(x, n=2):
    return x**n


class Gated(nn.MLP):
    def __call__(self, x, gate=1.0):
        return super().__call__(x) * gate


MODEL = nn.MLP(2, [3, 1])


# -- signatures


@pytest.mark.parametrize(
    ("called", "names"),
    [
        (MODEL, ["x"]),
        (MLP(2, [1]), ["x"]),
        (MODEL.layers[0], ["x"]),
        (MODEL.layers[0].neurons[0], ["x"]),
        (Gated(1, [1]), ["x", "gate"]),
        (squared, ["x", "n"]),
        (micrograd.no_grad(), ["function"]),
        (detect_anomaly(), ["function"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_signature_of_an_object_is_that_of_its_call(called, names):
    assert list(inspect.signature(called).parameters) == names


@pytest.mark.parametrize("kind", [nn.MLP, nn.Layer, MLP, Gated])
def test_the_signature_of_a_class_is_that_of_its_constructor(kind):
    assert next(iter(inspect.signature(kind).parameters)) == "nin"
    assert not hasattr(kind, "__signature__")


# -- names after a dot


@pytest.mark.parametrize("home", ["micrograd", *(f"micrograd.{name}" for name in (*micrograd._MODULES, *DEEPER))])
def test_dir_of_a_module_has_its_public_names_alone(home):
    module = importlib.import_module(home)
    shown = {name for name in dir(module) if not name.startswith("__") or name == "__version__"}
    assert shown == {*module.__all__, *SUBMODULES.get(module.__name__, ())}


@pytest.mark.parametrize("home", ["micrograd", *(f"micrograd.{name}" for name in (*micrograd._MODULES, *DEEPER))])
def test_help_of_a_module_has_its_public_names(home):
    """Also of a build in place, which has no `__version__`."""
    module = importlib.import_module(home)
    said = pydoc.plaintext.document(module)
    assert not [name for name in module.__all__ if not re.search(rf"\b{name}\b", said)]


PROGRAM = """
import micrograd
from micrograd import Value, functional, nn, optim
from micrograd.optim import lr_scheduler
v = Value(3.0) * 2 + 1
model = nn.MLP(2, [3, 1])
optimizer = optim.Adam(model.parameters())
scheduler = lr_scheduler.StepLR(optimizer, step_size=1)
@micrograd.compile
def compiled(x):
    return x * x
"""
NAMES = ["micrograd", "functional", "nn", "optim", "lr_scheduler", "v", "model", "optimizer", "scheduler", "compiled"]


@pytest.fixture(scope="module")
def names() -> dict[str, object]:
    made: dict[str, object] = {}
    exec(compile(PROGRAM, "<program>", "exec"), made)
    return made


def _after_the_dot(thing: object) -> set[str]:
    found = {name for name in getattr(thing, "__all__", None) or dir(thing) if not name.startswith("_")}
    assert len(found) >= 4
    return found


@pytest.mark.parametrize("name", NAMES)
def test_jedi_completes_every_public_name(names, name):
    """In an editor, which reads sources and stubs, and at a prompt, where it has the objects."""
    jedi = pytest.importorskip("jedi")
    wanted = _after_the_dot(names[name])
    assert not wanted - {c.name for c in jedi.Script(f"{PROGRAM}{name}.").complete()}
    assert not wanted - {c.name for c in jedi.Interpreter(f"{name}.", [names]).complete()}


@pytest.mark.parametrize("name", NAMES)
def test_ipython_completes_every_public_name(names, name):
    completer = pytest.importorskip("IPython.core.completer")
    own = completer.IPCompleter(namespace=names, global_namespace={}, use_jedi=False)
    with completer.provisionalcompleter():
        shown = {c.text.rpartition(".")[2] for c in own.completions(f"{name}.", len(name) + 1)}
    assert not _after_the_dot(names[name]) - shown


# -- at the end of a cell


@pytest.fixture
def shown():
    formatters = pytest.importorskip("IPython.core.formatters")
    return lambda thing: formatters.DisplayFormatter().format(thing)[0]


def test_values_and_networks_show_as_text(shown):
    v = Value(2.0) * 3.0
    for thing in (v, [v, v], MODEL, squared):
        assert shown(thing) == {"text/plain": repr(thing)}


def test_a_program_shows_as_lines(shown):
    f = micrograd.compile(lambda x: x * x)
    assert shown(f.program) == {"text/plain": "<no program: not called yet>"}
    f(3.0)
    assert shown(f.program) == {"text/plain": str(f.program)}
    assert "    r0 = mul(x0, x0)" in f.program.splitlines()


@pytest.mark.skipif(shutil.which("dot") is None, reason="the program dot is not here")
def test_a_graph_shows_as_a_picture(shown):
    pytest.importorskip("graphviz")
    assert shown(viz.draw_dot(Value(2.0).tanh()))["image/svg+xml"].rstrip().endswith("</svg>")

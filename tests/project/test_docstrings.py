"""Every example in a docstring runs and prints what it says. Those of the README run through `--doctest-glob`."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import random

import pytest

import micrograd
from micrograd import Value, _core

NEEDS = {
    "compile": "numpy",
    "draw_dot": "graphviz",
    "from_torch": "torch",
    "load_safetensors": "safetensors",
    "map": "numpy",
    "plot_decision_boundary": "matplotlib",
    "plot_loss": "matplotlib",
    "save_safetensors": "safetensors",
    "to_torch": "torch",
    "value_and_grad": "numpy",
}
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _examples() -> list[doctest.DocTest]:
    # The engine is compiled: DocTestFinder finds none of its members by itself, and is given their __doc__ one by one.
    parser, finder = doctest.DocTestParser(), doctest.DocTestFinder(exclude_empty=True)
    found = []
    for name in ["micrograd", *(m.name for m in pkgutil.walk_packages(micrograd.__path__, "micrograd."))]:
        module = importlib.import_module(name)
        if name != "micrograd._core":
            found += finder.find(module, name, module=module)
    docs = {name: thing.__doc__ for name, thing in vars(_core).items() if callable(thing)}
    docs |= {f"Value.{name}": getattr(Value, name, None).__doc__ for name in vars(Value)}
    found += [parser.get_doctest(doc or "", {"Value": Value}, name, None, 0) for name, doc in docs.items()]
    return [test for test in found if test.examples]


EXAMPLES = _examples()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_docstring(example):
    name = example.name.rpartition(".")[2]
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    state = random.getstate()
    random.seed(0)
    try:
        results = doctest.DocTestRunner(verbose=False, optionflags=OPTIONS).run(example)
    finally:
        random.setstate(state)
    assert results.failed == 0


def test_the_examples_of_all_public_names_run():
    run, missed = {example.docstring for example in EXAMPLES}, []
    for home in ["micrograd", *(m.name for m in pkgutil.walk_packages(micrograd.__path__, "micrograd."))]:
        module = importlib.import_module(home)
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            own = [m for m in getattr(thing, "__dict__", ()) if m == "__call__" or not m.startswith("_")]
            members = {name: thing} | {f"{name}.{m}": getattr(thing, m) for m in own}
            documented = {f"{home}.{path}": member.__doc__ or "" for path, member in members.items()}
            missed += [path for path, doc in documented.items() if ">>> " in doc and doc not in run]
    assert not missed, f"these examples do not run: {', '.join(sorted(missed))}"
    assert len(run) > 130

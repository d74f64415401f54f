"""Every example in a docstring runs and prints what it says. Those of the README run through `--doctest-glob`."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import random

import pytest

import micrograd
from micrograd._core import Value, grad

NEEDS = {
    "draw_dot": "graphviz",
    "from_torch": "torch",
    "load_safetensors": "safetensors",
    "plot_decision_boundary": "matplotlib",
    "plot_loss": "matplotlib",
    "save_safetensors": "safetensors",
    "to_torch": "torch",
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
    docs = {
        "Value": Value.__doc__,
        "grad": grad.__doc__,
        **{f"Value.{name}": getattr(Value, name, None).__doc__ for name in vars(Value)},
    }
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


def test_the_examples_are_found():
    names = {example.name for example in EXAMPLES}
    assert {"micrograd", "micrograd.nn.MLP", "micrograd.nn.Neuron", "micrograd.nn_tanh.MLP"} <= names
    assert {"Value", "Value.backward", "Value.zero_grad", "grad"} <= names
    assert {"micrograd.optim.SGD", "micrograd.optim.Adam", "micrograd.utils.clip_grad_norm_"} <= names
    assert {"micrograd._optim.step", "micrograd._optim.zero_grad", "micrograd.functional.layers.dot"} <= names

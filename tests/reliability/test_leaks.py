"""No public entry leaks: the short form of `make leaks`, and every public name is in an entry."""

from __future__ import annotations

import ast

import pytest

from helpers import ROOT, path_of_tests
from micrograd import functional
from micrograd._core import OPS
from micrograd.nn import init
from public_names import public_names
from reliability import counts

NOT_ENTRIES = {
    "micrograd.viz.plot_decision_boundary": "Matplotlib keeps what it draws",
    "micrograd.viz.plot_loss": "Matplotlib keeps what it draws",
}


@pytest.mark.slow
@counts.able
def test_no_entry_leaks(driver):
    print(driver("leaks", "--short", "--repetitions", "100"))


@pytest.mark.slow
@counts.able
@pytest.mark.parametrize("retain_grads", [True, False])
def test_interrupted_passes_leave_nothing(check, retain_grads):
    """A signal handler looks into the graph, so that the pass goes on in depth-first order; or it raises, there too."""
    source = f"""
import random
from micrograd import nn
from reliability.counts import Counter
model = nn.MLP(2, [3, 2])
x = Value(0.5)
seen = 0
def handler(*_):
    global seen
    seen += 1
    low[0]._children
    if seen % 4 == 2:
        signal.setitimer(signal.ITIMER_REAL, 0.0003)
    if seen % 4 in (1, 3):
        raise KeyError
signal.signal(signal.SIGALRM, handler)
def interrupted():
    global low
    low = model([x * 2.0, x])
    y = low[0] * low[1]
    for _ in range(200_000):
        y = y + x * 1e-7
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0003)
        y.backward(retain_grads={retain_grads})
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyError:
        pass
counter = Counter()
for n in (5, 40):
    for _ in range(n):
        interrupted()
    counter.count(n == 40)
grown = counter.growth()
assert seen > 40
assert grown.blocks < 10 and not grown.objects and grown.malloced < 2000 and not grown.nodes, grown
"""
    check(source, **path_of_tests(), **counts.exact_environment())


@counts.able
def test_memory_of_layers_that_die_at_once_is_kept_to_a_megabyte(check):
    source = """
from micrograd import nn
from reliability.counts import malloced
layer, x = nn.Layer(100, 1), [0.5] * 100
def kept():
    outputs = [layer(x) for _ in range(20_000)]
    held = malloced()
    outputs.clear()
    return held - malloced()
kept()
before = malloced()
freed = kept()
assert freed > 15 << 20 and malloced() - before < 2 << 20, (freed, malloced() - before)
"""
    check(source, **path_of_tests(), **counts.exact_environment())


def test_every_public_name_is_in_an_entry():
    """By its last part, as a name, an attribute or a string of entries.py."""
    words = {*OPS, *functional.__all__, *init.__all__}  # entries.py makes entries of all of these
    for file in ("entries.py", "compiled_entries.py", "error_entries.py", "optim_entries.py"):
        for node in ast.walk(ast.parse((ROOT / "tests" / "reliability" / file).read_text(encoding="utf-8"))):
            words.update(vars(node).get(field) for field in ("id", "attr", "arg", "name"))
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.add(node.value)
    missing = [n for n in public_names() if n not in NOT_ENTRIES and n.rpartition(".")[2] not in words]
    assert not missing, f"no entry uses {', '.join(missing)}"

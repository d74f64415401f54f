"""What needs no arrays works where NumPy is missing, with the same results; the rest says that it needs NumPy."""

from __future__ import annotations

import math
import sys

import pytest

import micrograd

# NumPy is missing in a process that begins with this.
MISSING = """
import sys
sys.modules["numpy"] = None  # `import numpy` raises ModuleNotFoundError
import copy, io, pickle, random
import micrograd
from micrograd import MLP, Value, functional, grad, nn, optim, utils
"""

LOSSES = """
random.seed(1337)
model = MLP(3, [4, 4, 1])
optimizer = optim.Adam(model.parameters(), lr=0.05)
loss_of = micrograd.compile(lambda x, y: (model(x) - y) ** 2)
xs = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
ys = [1, -1.0, -1.0, True]
losses = []
for step in range(20):
    loss = loss_of.mean(xs, ys) if step % 2 else functional.mse_loss([model(x) for x in xs], ys)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.data)
print(losses)
"""


def test_training_computes_the_same(isolated):
    with_numpy = isolated(MISSING.replace("sys.modules[", "dict()[") + LOSSES)
    assert isolated(MISSING + LOSSES) == with_numpy
    losses = [float(number) for number in with_numpy.strip("[]\n").split(",")]
    assert losses[-1] < 0.2 * losses[0]


def test_everything_but_arrays_works(isolated):
    isolated(
        MISSING
        + """
a, b = Value(2.0), Value(-3.0)
(a * b + a ** 2).tanh().backward()
assert a.grad and b.grad
[[second]] = functional.hessian(lambda x: x[0] ** 3, [a])
assert second == 12.0, second
for module in (MLP(2, [3, 1]), nn.MLP(2, [3, 1])):
    twin = copy.deepcopy(module)
    twin.load_state_dict(module.state_dict())
    assert pickle.loads(pickle.dumps(module))([1.0, 2.0]).data == twin([1.0, 2.0]).data == module([1.0, 2.0]).data
optimizer = optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
utils.clip_grad_norm_(module.parameters(), 1.0)
optimizer.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
f = micrograd.compile(lambda x: a * x[0] + x[1])
assert f([3.0, 1.0]).data == 7.0
assert pickle.loads(pickle.dumps(f))([3.0, 1.0]).data == 7.0
assert "numpy" not in repr(sorted(name for name, module in sys.modules.items() if module))
"""
    )


def test_batches_of_lists_need_no_numpy(isolated):
    isolated(
        MISSING
        + """
from array import array
w = Value(2.0)
f = micrograd.compile(lambda x, y: w * x + y)
assert f.sum([1, 2.5, True], array("d", [1.0, 2.0, 3.0])).data == 15.0
assert f.sum(range(3), array("i", [1, 2, 3])).data == 12.0
assert f.sum([], []).data == 0.0
assert micrograd.compile(lambda x: x[0][1] * w).sum([[[1.0, 2.0]], [(3, 4)]]).data == 12.0
assert micrograd.compile(lambda x: sum(x, w)).sum([[1.0], [2.0, 3.0], []]).data == 12.0  # ragged
assert micrograd.compile(lambda x: sum(x, w)).sum([[], []]).data == 4.0
for xs, expected in (
    (["a"], "sample 0: an element of argument 0"),
    ([1.0, 2j], "sample 1: an element of argument 0"),
    ([[1.0], [None]], "sample 1: an element of argument 0"),
    (3.0, "argument 0"),
):
    try:
        micrograd.compile(lambda x: w * x).sum(xs)
    except TypeError as error:
        assert expected in str(error), error
    except ImportError as error:
        assert xs == 3.0, error
    else:
        raise AssertionError(xs)
try:
    f.sum([1.0, 2.0], [1.0])
except ValueError as error:
    assert "(2,)" in str(error) and "(1,)" in str(error), error
"""
    )


@pytest.mark.parametrize(
    "call",
    [
        "micrograd.compile(lambda x: x * x).map([1.0, 2.0])",
        "micrograd.compile(lambda x: x * x).value_and_grad([1.0, 2.0])",
        "micrograd.compile(lambda x: x * x).sum(type('Array', (), {'__array__': None})())",
        "interop.save_safetensors({'a': 1.0}, '/')",
        "interop.load_safetensors('/')",
    ],
)
def test_arrays_need_numpy(isolated, call):
    if "safetensors" in call:
        pytest.importorskip("safetensors")
    out = isolated(
        MISSING
        + f"""
from micrograd import interop
try:
    {call}
except ImportError as error:
    assert error.name == "numpy", error.name
    print(error)
"""
    )
    assert "needs numpy: pip install" in out.lower()


def test_numpy_that_comes_back_meanwhile(monkeypatch):
    numpy = pytest.importorskip("numpy")

    class Late:
        def tolist(self):
            sys.modules["numpy"] = numpy
            return 1.0

    f = micrograd.compile(lambda x: x)
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(TypeError, match="argument 0 must be an array of real numbers"):
        f.map(Late())


def test_numpy_gives_the_batches_of_lists_the_same_numbers(isolated):
    source = """
import math
rows = [[math.sin(3 * i + j) for j in range(5)] for i in range(100)]
w = [Value(0.1 * j) for j in range(5)]
loss = micrograd.compile(lambda x: functional.dot(w, x).tanh()).mean(rows)
loss.backward()
print(loss.data, [leaf.grad for leaf in w])
"""
    assert isolated(MISSING + source) == isolated(MISSING.replace("sys.modules[", "dict()[") + source)
    assert math.isfinite(float(isolated(MISSING + source).split()[0]))

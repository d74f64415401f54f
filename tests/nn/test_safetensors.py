"""Parameters to and from safetensors files: names and shapes as PyTorch has them, refusals, absent libraries."""

from __future__ import annotations

import json
import random
import re
import struct

import numpy as np
import pytest

from helpers import values
from micrograd import MLP, Value, interop, nn
from micrograd.interop import load_safetensors, save_safetensors

pytest.importorskip("safetensors")


class GPT(nn.Module):
    def __init__(self):
        self.wte = values([[random.gauss(0, 1) for _ in range(4)] for _ in range(5)])
        self.blocks = [{"mlp": nn.MLP(4, [3, 4], activation="tanh"), "scale": Value(random.random())} for _ in range(2)]
        self.head = nn.Layer(4, 5, nonlin=False)
        self.one = nn.Neuron(2)
        self.ragged = values([[1.0], [2.0, 3.0]])
        self.tied = self.wte


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def shapes(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def rewrite(path, change):
    """The file again with other tensors: `change` gets a dict of (dtype, shape, bytes) by name."""
    text = path.read_bytes()
    size = struct.unpack("<Q", text[:8])[0]
    header, data = json.loads(text[8 : 8 + size]), text[8 + size :]
    tensors = {n: (t["dtype"], t["shape"], data[slice(*t["data_offsets"])]) for n, t in header.items()}
    change(tensors)
    header, data = {}, b""
    for name, (dtype, shape, part) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize("make", [lambda: nn.MLP(3, [4, 2]), lambda: MLP(3, [4, 4, 1]), GPT], ids=["nn", "tanh", "GPT"])
def test_a_file_restores_every_bit(make, path):
    model, other = make(), make()
    assert other.state_dict() != model.state_dict()
    save_safetensors(model, path)
    parameters = other.parameters()
    assert load_safetensors(path, other) is other
    assert other.state_dict() == model.state_dict()
    assert other.parameters() == parameters
    assert load_safetensors(str(path), make()).state_dict() == model.state_dict()


def test_names_and_shapes(path):
    save_safetensors(nn.MLP(3, [4, 2]), path)
    assert shapes(load_safetensors(path)) == {"0.weight": (4, 3), "0.bias": (4,), "2.weight": (2, 4), "2.bias": (2,)}
    model = GPT()
    save_safetensors(model, path)
    tensors = load_safetensors(path)
    block = {"mlp.0.weight": (3, 4), "mlp.0.bias": (3,), "mlp.2.weight": (4, 3), "mlp.2.bias": (4,), "scale": ()}
    assert shapes(tensors) == {
        **dict.fromkeys(("wte", "tied", "head.weight"), (5, 4)),
        **{f"blocks.{i}.{name}": shape for i in range(2) for name, shape in block.items()},
        "head.bias": (5,),
        "one.w": (2,),
        "one.b": (),
        "ragged.0": (1,),
        "ragged.1": (2,),
    }
    assert all(tensor.dtype == np.float64 for tensor in tensors.values())
    assert tensors["wte"].tolist() == [[x.data for x in row] for row in model.wte]
    assert tensors["head.weight"].tolist() == [[w.data for w in n.w] for n in model.head.neurons]
    assert tensors["blocks.1.mlp.2.bias"].tolist() == [n.b.data for n in model.blocks[1]["mlp"].layers[1].neurons]


@pytest.mark.parametrize("make", [lambda: nn.MLP(3, [12, 11, 2]), lambda: MLP(3, [4, 4, 1])], ids=["nn", "tanh"])
def test_pytorch_reads_and_writes_the_same_files(make, path):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("safetensors.torch")
    model = make()
    module = interop.to_torch(make())
    save_safetensors(model, path)
    module.load_state_dict(theirs.load_file(path))
    x = [0.5, -1.0, 2.0]
    ys = model(x)
    expected = [y.data for y in (ys if isinstance(ys, list) else [ys])]
    assert module(torch.tensor(x, dtype=torch.float64)).tolist() == pytest.approx(expected, rel=1e-12)
    for p in module.parameters():
        p.data += 0.5
    theirs.save_file(module.state_dict(), path)
    assert load_safetensors(path, model).state_dict() == interop.from_torch(module).state_dict()


@pytest.mark.parametrize("name", ["float64", "float32", "float16", "bfloat16"])
def test_dtypes_that_pytorch_writes(name, path):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("safetensors.torch")
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)).to(getattr(torch, name))
    theirs.save_file(module.state_dict(), path)
    model = load_safetensors(path, nn.MLP(3, [4, 1]))
    assert model.state_dict() == interop.from_torch(module).state_dict()


@pytest.mark.parametrize(("name", "size"), [("float64", 8), ("float32", 4), ("float16", 2)])
def test_dtypes_that_are_written(name, size, path):
    model = nn.MLP(20, [30, 1])
    save_safetensors(model, path, dtype=name)
    assert len(model.parameters()) * size < path.stat().st_size < len(model.parameters()) * size + 400
    loaded = load_safetensors(path, nn.MLP(20, [30, 1])).state_dict()
    assert loaded == {key: float(np.dtype(name).type(x)) for key, x in model.state_dict().items()}


def test_state_dicts_and_tensors(path):
    model = GPT()
    save_safetensors(model.state_dict(), path)
    first = path.read_bytes()
    save_safetensors(model, path)
    assert path.read_bytes() == first
    save_safetensors(load_safetensors(path), path)
    assert path.read_bytes() == first
    state = {
        "a": [[1, 2], (3, 4)],
        "e": (5, 6.5),
        "b": np.float32(0.5),
        "c.0": Value(1.0),
        "c.1": 2,
        "d": np.arange(3),
        "0": 3.0,
    }
    save_safetensors(state, path)
    tensors = {name: tensor.tolist() for name, tensor in load_safetensors(path).items()}
    assert tensors == {
        "a": [[1, 2], [3, 4]],
        "e": [5.0, 6.5],
        "b": 0.5,
        "c": [1.0, 2.0],
        "d": [0.0, 1.0, 2.0],
        "0": 3.0,
    }
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    save_safetensors(module.state_dict(), path)
    assert load_safetensors(path, nn.MLP(3, [4, 1])).state_dict() == interop.from_torch(module).state_dict()


def test_special_numbers(path):
    numbers = [float("inf"), float("-inf"), -0.0, 5e-324, 1.7976931348623157e308, float("nan")]
    model = nn.Module()
    model.xs = values(numbers)
    save_safetensors(model, path)
    model.xs = values([0.0] * 6)
    load_safetensors(path, model)
    assert str([x.data for x in model.xs]) == str(numbers)


# ---- Refusals --------------------------------------------------------------------------------------------------------


def doubled(tensors):
    tensors["0.weight"] = ("F64", [3, 4], tensors["0.weight"][2])
    tensors["2.bias"] = ("F64", [1], tensors["2.bias"][2][:8])


def integers(tensors):
    tensors["0.bias"] = ("I64", [4], tensors["0.bias"][2])


def missing(tensors):
    del tensors["2.bias"]
    tensors["4.weight"] = ("F64", [1, 2], bytes(16))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            doubled,
            "cannot be loaded into MLP: '0.weight' has shape (3, 4), not (4, 3); '2.bias' has shape (1,), not (2,)",
        ),
        (integers, "cannot be read, only F64, F32, F16, BF16: '0.bias' is I64 of shape (4,)"),
        (missing, "into MLP: '2.bias' of shape (2,) is missing; '4.weight' of shape (1, 2) is unexpected"),
        (lambda tensors: tensors.clear(), "'0.weight' of shape (4, 3) is missing; '0.bias' of shape (4,) is missing"),
    ],
)
def test_files_that_do_not_fit_are_refused_and_nothing_is_loaded(change, text, path):
    save_safetensors(nn.MLP(3, [4, 2]), path)
    rewrite(path, change)
    model = nn.MLP(3, [4, 2])
    before = model.state_dict()
    with pytest.raises(ValueError, match=re.escape(text)):
        load_safetensors(path, model)
    assert model.state_dict() == before


@pytest.mark.parametrize("cut", [0, 7, 20, -1])
def test_files_that_are_damaged(cut, path):
    save_safetensors(nn.MLP(3, [4, 2]), path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"model\.safetensors is no safetensors file: "):
        load_safetensors(path)
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match=r"model\.safetensors is no safetensors file: "):
        load_safetensors(path, nn.MLP(3, [4, 2]))


class Named(nn.Module):
    """Two lists whose tensors have one name."""

    def __init__(self):
        self.neurons = [nn.Neuron(1)]
        self.weight = values([[1.0]])


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda path: save_safetensors(3, path),
            TypeError,
            "a Module or a mapping of names to numbers is needed, not 'int'",
        ),
        (lambda path: save_safetensors({"a": "x"}, path), TypeError, "'a' must be a real number, not 'str'"),
        (lambda path: save_safetensors({"a": [[1.0], ["x"]]}, path), TypeError, "'a' must be a number or an array"),
        (
            lambda path: save_safetensors({"a": [[1.0], [2.0, 3.0]]}, path),
            TypeError,
            "'a' must be a number or an array",
        ),
        (lambda path: save_safetensors({1: 2.0}, path), TypeError, "names must be strings, not 'int'"),
        (lambda path: save_safetensors({"a.0": 1.0, "a": [1.0]}, path), ValueError, "two tensors are named 'a'"),
        (lambda path: save_safetensors({"a.0": 1.0, "a.00": 1.0}, path), ValueError, "two tensors are named 'a'"),
        (lambda path: save_safetensors(Named(), path), ValueError, "two tensors are named 'weight'"),
        (
            lambda path: save_safetensors({"a": 1e300}, path, dtype="float32"),
            OverflowError,
            "'a' has numbers too large",
        ),
        (
            lambda path: save_safetensors({"a": 1.0, "b": [2.0, -1e5]}, path, dtype="float16"),
            OverflowError,
            "'b' has numbers too large",
        ),
        (lambda path: save_safetensors({}, path, dtype="int8"), ValueError, "or 'float16', not 'int8'"),
        (lambda path: save_safetensors({}, path / "no" / "folder"), OSError, "cannot be written: "),
        (lambda path: load_safetensors(path, 3), TypeError, "a model must be a Module, not 'int'"),
        (lambda path: load_safetensors(nn.MLP(1, [1])), TypeError, "MLP"),
        (lambda path: load_safetensors(path), FileNotFoundError, "No such file"),
    ],
)
def test_what_is_refused(call, error, text, path):
    with pytest.raises(error, match=re.escape(text)):
        call(path)
    assert not path.exists()


def test_absent_libraries(isolated):
    out = isolated(
        """
import sys
sys.modules["torch"] = sys.modules["safetensors"] = None
from micrograd import interop, nn
for call in (lambda: interop.to_torch(nn.MLP(1, [1])), lambda: interop.from_torch(None),
             lambda: interop.save_safetensors({}, "x"), lambda: interop.load_safetensors("x")):
    try:
        call()
    except ImportError as error:
        print(error, error.name)
"""
    )
    torch = "micrograd.interop needs torch: pip install 'micrograd-cython[torch]' torch"
    safetensors = "micrograd.interop needs safetensors: pip install 'micrograd-cython[export]' safetensors"
    assert out.splitlines() == [torch, torch, safetensors, safetensors]


def test_nothing_is_imported_before_it_is_needed(isolated):
    out = isolated(
        """
import sys, micrograd
assert "micrograd.interop" not in sys.modules
print(micrograd.interop.__name__, *(name in sys.modules for name in ("torch", "safetensors", "numpy")))
"""
    )
    assert out == "micrograd.interop False False False\n"

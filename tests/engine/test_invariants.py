"""What a debug build checks: each invariant is broken on purpose, in a process of its own, which has to end there.
Nothing of this is in a release."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from helpers import NOT_ON_313T, NOT_SANITIZED, NOT_TRACED, ROOT
from micrograd._core import ASSERTS, SANITIZED

# Writes into the structs as they are in memory: an object's head of 16 bytes, then struct Node; Layer, Affine and Slab
# as node.pxd and slabs.pxi declare them.
PREAMBLE = """
import ctypes
import subprocess
from micrograd import MLP, Value, _core
from micrograd import functional as F

int32, size, pointer, uint8, uint16 = ctypes.c_int, ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_uint8, ctypes.c_uint16

def at(kind, address, offset): return kind.from_address(address + offset)
def first_parent(v): return at(pointer, id(v), 32)
def op(v): return at(uint8, id(v), 48)
def form(v): return at(uint8, id(v), 49)
def flags(v): return at(uint16, id(v), 50)
def index(v): return at(ctypes.c_uint32, id(v), 52)
def slab(v): return id(v) & ~65535
def arena(v): return at(pointer, slab(v), 40).value
def slabs(): return [x * 2.0 for _ in range(3000)]
def layer(v): return at(pointer, id(v), 40).value

def static(name):  # the address of a variable of _core.pyx
    symbols = subprocess.run(["nm", _core.__file__], capture_output=True, text=True, check=True).stdout.splitlines()
    (offset,) = [int(line.split()[0], 16) for line in symbols if line.endswith("_core_" + name)]
    with open("/proc/self/maps") as maps:
        return min(int(line.split("-")[0], 16) for line in maps if _core.__file__ in line) + offset

ADD, MUL, TANH = 1, 3, 8
UNARY = 1
PENDING, IRREGULAR, CUSTOM, LATE, SEEN, END, RESULT_WEIGHTS, LISTED = 1, 8, 16, 32, 128, 512, 2048, 16384
x = Value(1.5)
y = x * 2.0
z = y.tanh()
n = MLP(2, [1])([Value(1.0) * 2.0, Value(1.0) * 2.0])
net = MLP(2, [2, 1])([1.0, 2.0])
above = layer(net)
below = at(pointer, above, 48).value
"""

of_64_bits = pytest.mark.skipif(sys.maxsize < 2**32, reason="the offsets in structs are those of 64 bits")

# {what the assertion says: a program that breaks it}
BROKEN = {
    "a node's op is in the op table": "op(z).value = 200; z.backward()",
    "a node's form is one of the enum": "form(z).value = 7; z.backward()",
    "a leaf has no op": "op(x).value = MUL; x._backward()",
    "a node of one operand has an op of one argument": "op(z).value = MUL; z.backward()",
    "a node of two operands has an op of two arguments": "op(y).value = TANH; z.backward()",
    "a node with a block has a variadic op, or none": "v = F.sum([y, z]); op(v).value = MUL; v.backward()",
    "an affine node's op is ADD or an activation": "op(n).value = MUL; n.backward()",
    "leaves, and no other nodes, have END": "flags(y).value |= END; y + 1.0",
    "a leaf has no mark": "flags(x).value |= PENDING; y.backward()",
    "a sort leaves no marks": "flags(y).value |= SEEN; z.backward()",
    "a list of parameters leaves no marks": "flags(x).value |= LISTED; x + 1.0",
    "a node with a Python _backward is irregular": "flags(z).value |= CUSTOM; z.backward()",
    "late nodes are counted": "flags(z).value |= IRREGULAR | LATE; z.backward()",
    "no parent is NULL": "first_parent(z).value = 0; z.backward()",
    "a node holds its parents": "at(size, id(y), 0).value = 0; z.backward()",
    "a node inherits its parents' flags": "flags(y).value |= IRREGULAR; z.backward()",
    "a regular node's parents are leaves or in result slabs": "flags(x).value = 0; form(x).value = UNARY; y.backward()",
    "a parent precedes its child": "w = z * 2.0; first_parent(z).value = id(w) + 16; z.backward()",
    "an affine node's index is less than its layer's outputs": "index(n).value = 5; n.backward()",
    "an affine node has a weight for each input": "at(size, layer(n), 0).value = 99; n.backward()",
    "passes are counted up to 2": "at(int32, layer(n), 80 + 40).value = 9; n.backward()",
    "an affine node's op is that in its layer": "op(n).value = ADD; n.backward()",
    "a layer has inputs and a holder": "at(size, layer(n), 16).value = 0; n.backward()",
    "a layer's inputs follow its outputs": "at(pointer, layer(n), 32).value += 8; n.backward()",
    "a layer's inputs are in its memory": "at(size, layer(n), 72).value = 8; n.backward()",
    "a layer has inputs of one kind": "at(pointer, above, 24).value = 64; net.backward()",
    "a hidden layer is held by the layer above alone": "at(size, below, 16).value = 2; net.backward()",
    "a hidden layer's slots precede its network's outputs": "at(pointer, below, 64).value = 0; net.backward()",
    "a hidden layer's weights are leaves": "at(int32, below, 80 + 36).value |= RESULT_WEIGHTS; net.backward()",
    "a layer that becomes nodes is hidden and has slots": "at(size, below, 16).value = 2; net._prev",
    "a layer is held by each of its nodes": "at(size, layer(n), 16).value = 0; del n",
    "a public call leaves no dead nodes": "at(pointer, static('dead'), 0).value = id(z) + 16; y + 1.0",
    "no more late nodes are freed than were counted": "flags(z).value |= LATE; del z",
    "an unused slot has no mark": "at(uint16, slab(z), 1000 * 64 + 50).value = PENDING; z.backward()",
    "a slot has no mark when it is handed out": "at(uint16, id(net) + 64, 50).value = PENDING; y + 1.0",
    "a slab has as many marks as were counted": "w = x * 5.0; flags(w).value |= PENDING; z.backward()",
    "a walk comes to all slabs with marks": "at(size, slab(y), 32).value = 1; z.backward()",
    "marks in other slabs are in older ones": "w = slabs(); first_parent(z).value = id(w[-1]) + 16; z.backward()",
    "no slot is given back twice": "at(int32, slab(y), 56).value = 10**6; del z",
    "an arena counts its slabs outside of the reserve": "w = slabs(); at(int32, arena(y), 48).value = 0; del w",
    "a slab's free slots are in the slab": "at(pointer, slab(x), 16).value = id(y) + 16; Value(1.0)",
    "operators take slots of the newest slab while no thread is in a mode": (
        "at(pointer, static('heap'), 40 + 64 * 8).value = 0; z.backward()"
    ),
    "pieces that are kept are within their limit": "at(size, static('heap'), 32 + 64 * 8).value = 1 << 30; del n",
}
# Invariants that no program here can break: the walk's own count, on the stack, and what others above find first.
NOT_BROKEN = {"a walk finds the marks that it counts in a slab"}


def ended(source: str) -> subprocess.CompletedProcess[str]:
    """Run it in a process, which must end before the source does; returns the finished process."""
    done = subprocess.run(
        [sys.executable, "-c", f"{PREAMBLE}{source}\nprint('still here')"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0, done.stdout
    assert "still here" not in done.stdout
    return done


def test_the_build_is_the_one_that_was_asked_for():
    sanitize = os.environ.get("MICROGRAD_SANITIZE", "0") != "0"
    debug = os.environ.get("MICROGRAD_DEBUG", "0") != "0"
    assert SANITIZED or not sanitize
    assert ASSERTS or not (debug or SANITIZED)


@pytest.mark.skipif(not ASSERTS, reason="a release has no assertions")
@of_64_bits
@pytest.mark.parametrize(("what", "source"), list(BROKEN.items()), ids=list(BROKEN))
def test_a_broken_invariant_ends_the_process(what, source):
    if "static(" in source and not (sys.platform.startswith("linux") and shutil.which("nm")):
        pytest.skip("finds variables of the module with nm and /proc")
    assert re.search(f"not so: {re.escape(what)}$", ended(source).stderr, re.MULTILINE)


@pytest.mark.skipif(not (ROOT / "src").exists(), reason="there are no sources beside the tests")
def test_each_assertion_of_the_engine_is_broken_here():
    said = set()
    for part in (ROOT / "src" / "micrograd" / "_core").glob("*.p*"):
        said |= set(re.findall(r'\bcheck\([^"]*?"([^"]+)"\)', part.read_text(encoding="utf-8")))
    said |= set(
        re.findall(r'\bcheck\([^"]*?"([^"]+)"\)', (ROOT / "src/micrograd/_core.pyx").read_text(encoding="utf-8"))
    )
    assert said == BROKEN.keys() | NOT_BROKEN


@pytest.mark.skipif(not SANITIZED, reason="only memory that AddressSanitizer watches is marked")
@of_64_bits
@pytest.mark.parametrize(
    "source",
    [
        "w = id(z); del z; print(ctypes.cast(w, ctypes.py_object).value.data)",
        "w = id(x); del x, y, z; print(ctypes.cast(w, ctypes.py_object).value.data)",
        "w = id(z); del z; ctypes.memmove(ctypes.create_string_buffer(64), w, 8)",
        "w = slab(z) + 1000 * 64; ctypes.memmove(ctypes.create_string_buffer(64), w, 32)",
        "w = layer(n); del n; ctypes.memmove(ctypes.create_string_buffer(64), w, 32)",
    ],
    ids=["a result", "a leaf", "a reference count", "never used", "a layer"],
)
def test_memory_that_was_given_back_is_not_touched(source):
    assert "AddressSanitizer: use-after-poison" in ended(source).stderr


def test_what_is_not_run_under_sanitizers_exists():
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert not [name for name in (*NOT_SANITIZED, *NOT_ON_313T, *NOT_TRACED) if f"def {name}(" not in tests]

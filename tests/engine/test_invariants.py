"""What a debug build checks: each invariant is broken on purpose, in a process of its own, which has to end there.
Nothing of this is in a release."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from helpers import NOT_SANITIZED, ROOT
from micrograd._core import ASSERTS, SANITIZED

# Writes into a node as it stands in memory: an object's head of 16 bytes, then struct Node.
PREAMBLE = """
import ctypes
from micrograd import MLP, Value

def field(kind, v, offset):
    return kind.from_address(id(v) + offset)

def op(v): return field(ctypes.c_uint8, v, 48)
def flags(v): return field(ctypes.c_uint16, v, 50)
def first_parent(v): return field(ctypes.c_void_p, v, 32)
def block(v): return field(ctypes.c_void_p, v, 40).value
def slab(v): return id(v) & ~65535

END, IRREGULAR, PENDING = 512, 8, 1
x = Value(1.5)
y = x * 2.0
z = y.tanh()
"""


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
@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("op(z).value = 1; z.backward()", "a node of one parent has an op of one argument"),
        ("flags(y).value |= END; y + 1.0", "leaves, and no others, have END"),
        ("flags(y).value |= IRREGULAR; z.backward()", "a node inherits its parents' flags"),
        ("w = z * 2.0; first_parent(z).value = id(w) + 16; z.backward()", "a parent precedes its child"),
        ("w = x * 5.0; flags(w).value |= PENDING; z.backward()", "the marks in a slab are those that were counted"),
        ("ctypes.c_ssize_t.from_address(slab(y) + 32).value = 1; z.backward()", "has come to every slab with marks"),
        ("ctypes.c_int.from_address(slab(y) + 56).value = 10**6; del z", "no slot is given back twice"),
        ("n = MLP(2, [1])([y, y]); ctypes.c_ssize_t.from_address(block(n) + 16).value = 0; n.backward()", "is held"),
        ("n = MLP(2, [1])([y, y]); ctypes.c_ssize_t.from_address(block(n)).value = 99; n.backward()", "inside of it"),
        ("n = MLP(3, [1])([y] * 3); ctypes.c_ssize_t.from_address(block(n)).value = 2; n.backward()", "for each input"),
    ],
)
def test_a_broken_invariant_ends_the_process(source, what):
    assert re.search(f"not so: .*{re.escape(what)}", ended(source).stderr)


@pytest.mark.skipif(not SANITIZED, reason="only memory that AddressSanitizer watches is marked")
@pytest.mark.parametrize(
    "source",
    [
        "w = id(z); del z; print(ctypes.cast(w, ctypes.py_object).value.data)",
        "w = id(x); del x, y, z; print(ctypes.cast(w, ctypes.py_object).value.data)",
        "w = id(z); del z; ctypes.memmove(ctypes.create_string_buffer(64), w, 8)",
        "w = slab(z) + 1000 * 64; ctypes.memmove(ctypes.create_string_buffer(64), w, 32)",
        "n = MLP(2, [1])([y, y]); w = block(n); del n; ctypes.memmove(ctypes.create_string_buffer(64), w, 32)",
    ],
    ids=["a result", "a leaf", "a reference count", "never used", "a fused sum's block"],
)
def test_memory_that_was_given_back_is_not_touched(source):
    assert "AddressSanitizer: use-after-poison" in ended(source).stderr


def test_what_is_not_run_under_sanitizers_exists():
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert not [name for name in NOT_SANITIZED if f"def {name}(" not in tests]

"""Short forms of the drivers here, and that these see a crash, a fault and an ignored exception."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(driver, *options):
    """The exit status and what the driver printed."""
    command = [sys.executable, str(driver), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    return done.returncode, done.stdout + done.stderr


def number(name, out):
    return int(re.search(rf"([\d,]+) {name}", out)[1].replace(",", ""))


@pytest.mark.slow
def test_hostile_arguments_are_refused_or_safe():
    status, out = run(HERE / "hostile.py", "--count", 50, "--seed", 1)
    assert status == 0, out
    assert number("refused", out) > 400, out
    assert number("returned", out) > 100, out


@pytest.mark.slow
def test_mutated_files_and_states_are_refused_or_safe():
    pytest.importorskip("safetensors")
    status, out = run(HERE / "mutated.py", "--count", 25, "--seed", 1)
    assert status == 0, out
    for kind, least in (("pickles", 25), ("states", 25), ("safetensors", 1)):
        assert number(f"{kind} refused", out) > least, out
        assert number(f"{kind} loaded", out) >= 1, out


FAULTY = """
import sys
sys.path.insert(0, {folder!r})
import slices
from collections import Counter

class Noisy:
    def __del__(self):
        raise ValueError("in __del__")

def case(draw, say):
    number = draw.randrange(10)
    say(f"about to {what}")
    {what}
    return Counter(done=1)

slices.main(case, "faulty", count=4, slice_size=2)
"""


@pytest.mark.parametrize(
    ("what", "seen"),
    [
        ("pass", "4 done, 0 faults"),
        ("import ctypes; ctypes.string_at(0)", "exit -11 at about to import ctypes"),
        ("import os; os._exit(3)", "exit 3 at about to"),
        ("raise SystemError('wrong')", "SystemError: wrong"),
        ("Noisy()", "in __del__"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="exit statuses are those of signals")
def test_drivers_see_faults(tmp_path, what, seen):
    driver = tmp_path / "driver.py"
    driver.write_text(FAULTY.format(folder=str(HERE), what=what), encoding="utf-8")
    status, out = run(driver)
    assert status == (0 if what == "pass" else 1), out
    assert seen in out

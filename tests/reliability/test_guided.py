"""The cases that `make fuzz-c` begins with, on this build, and whether they find what is wrong."""

from __future__ import annotations

import random

import pytest

import oracle

pytest.importorskip("safetensors")

from reliability import byte_cases


def test_the_cases_to_begin_with_have_no_faults(driver):
    out = driver("guided", "--seeds", "30")
    assert "pickle b" in out
    assert "state of Adam: " in out
    assert "safetensors b" in out


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_wrong_derivative_is_found(monkeypatch):
    """The fault is in the oracle: the two differ either way."""
    monkeypatch.setattr(oracle.Value, "sin", lambda self: self._unary(self.data, lambda _a, _r: 1.0))
    programs = [content for content in byte_cases.seeds(60) if byte_cases.CASES[content[0]] is byte_cases.program]
    with pytest.raises(AssertionError, match=" is not "):
        list(map(byte_cases.run, programs))


class Noisy:
    def __del__(self):
        raise ValueError("in __del__")


def test_an_exception_that_python_only_reports_is_a_fault(monkeypatch):
    monkeypatch.setattr(byte_cases, "CASES", [lambda _content, _say: Noisy() and None])
    with pytest.raises(AssertionError, match="in __del__"):
        byte_cases.run(b"")


def test_draws_are_bytes_and_then_zeros():
    draw = byte_cases.Draws(bytes([7, 0, 128, 3, 2, 1]))
    assert draw.choice(range(5)) == 2  # 7 % 5
    assert draw.random() == 0x8000 / 65537
    assert draw.randint(10, 11) == 11  # 10 + 3 % 2
    assert draw.randrange(1000) == 0x102
    assert [draw.random(), draw.randrange(5), draw.choice("ab"), draw.getrandbits(9)] == [0.0, 0, "a", 0]
    assert isinstance(draw, random.Random)


def test_cases_to_begin_with_reach_each_kind_and_are_the_same_again():
    seeds = byte_cases.seeds(2)
    assert {content[0] for content in seeds} == set(range(len(byte_cases.CASES)))
    assert [c for c in seeds if c[0] < 3] == [c for c in byte_cases.seeds(2) if c[0] < 3]

"""The short form of `make fuzz`, and whether it finds what is wrong."""

from __future__ import annotations

import pytest

import oracle
from reliability import fuzz
from reliability.machine import Machine


@pytest.mark.slow
def test_random_programs_are_the_oracles():
    _, _, failed = fuzz.run(0, 4000)
    assert failed == []


def wrong_rule(monkeypatch):
    monkeypatch.setattr(oracle.Value, "sin", lambda self: self._unary(self.data, lambda _a, _r: 1.0))


def missing_term(monkeypatch):
    """The second of two uses is lost."""
    receive = oracle.Value.receive

    def once(self, term, out):
        if not (self.grad and len(out.parents) == 2 and out.parents[0] is out.parents[1]):
            receive(self, term, out)

    monkeypatch.setattr(oracle.Value, "receive", once)


def stale_grads(monkeypatch):
    """zero_grad() that forgets results."""
    monkeypatch.setattr(oracle.Value, "zero_grad", lambda self: [v.clear() for v in self.order() if not v.parents])


def lost_leaf(monkeypatch):
    monkeypatch.setattr(oracle.Value, "backward_to_leaves", oracle.Value.backward)


@pytest.mark.parametrize("fault", [wrong_rule, missing_term, stale_grads, lost_leaf])
def test_a_planted_fault_is_found_and_the_program_made_small(fault, monkeypatch, capsys):
    """The fault is in the oracle: the two differ either way."""
    fault(monkeypatch)
    seed = next(seed for seed in range(300) if fuzz.failure(fuzz.program_of(seed)))
    fuzz.report(seed, fuzz.program_of(seed))
    first, *program = capsys.readouterr().out.splitlines()
    assert first.startswith(f"seed {seed}: AssertionError: ")
    assert 1 <= len(program) <= min(20, len(fuzz.program_of(seed)) // 2)


def test_a_seed_gives_the_same_program_again():
    assert repr(fuzz.program_of(7)) == repr(fuzz.program_of(7)) != repr(fuzz.program_of(8))


def test_every_instruction_of_the_machine_is_drawn():
    """What a machine has beyond the instructions are its parts."""
    parts = {"run", "close", "at", "leaves", "add", "check", "meanwhile", "passed"}
    methods = {name for cls in (Machine, fuzz.Everything) for name in vars(cls) if not name.startswith("_")}
    assert methods - parts == set(fuzz.STEPS)

"""What a newcomer runs first: `python -m micrograd` and the training example, on good and bad arguments."""

from __future__ import annotations

import importlib.util
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from micrograd import __main__ as demonstration

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "train_mlp.py"


def losses(printed: str) -> list[float]:
    return [float(x) for x in re.findall(r"loss (\S+)", printed)]


def errors(printed: str) -> list[float]:
    return [abs(float(p) - float(t)) for t, p in re.findall(r"target (\S+)  prediction (\S+)", printed)]


def test_it_trains(capsys):
    demonstration.main([])
    printed = capsys.readouterr()
    assert len(losses(printed.out)) == 11
    assert losses(printed.out) == sorted(losses(printed.out), reverse=True)
    assert len(errors(printed.out)) == 4
    assert max(errors(printed.out)) < 0.02
    assert printed.err == ""  # no progress bar where nobody watches


def test_the_seed_decides(capsys):
    outputs = []
    for seed in ("7", "7", "8"):
        demonstration.main(["--steps", "5", "--seed", seed, "--lr", "0.05"])
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] != outputs[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--steps", "0"],
        ["--steps", "-1"],
        ["--steps", "many"],
        ["--steps", "1.5"],
        ["--lr", "0"],
        ["--lr", "nan"],
        ["--lr", "inf"],
        ["--lr", "fast"],
        ["--seed", "x"],
        ["surplus"],
    ],
    ids=" ".join,
)
def test_bad_arguments_are_refused_by_name(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        demonstration.main(arguments)
    assert arguments[-1] in capsys.readouterr().err


def test_it_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "micrograd", "--steps", "1"], capture_output=True, text=True, check=True
    )
    assert losses(done.stdout)
    assert done.stderr == ""


@pytest.mark.skipif(not EXAMPLE.exists(), reason="the examples are not part of an installed package")
def test_the_example_learns_its_targets(capsys):
    runpy.run_path(str(EXAMPLE))
    printed = capsys.readouterr().out
    assert losses(printed)[-1] < 0.01
    assert max(errors(printed)) < 0.1


@pytest.mark.skipif(not EXAMPLE.exists(), reason="the examples are not part of an installed package")
@pytest.mark.parametrize(
    ("name", "needs", "printed"),
    [
        ("moons_compiled.py", ["sklearn"], "accuracy after it 100%"),
        ("data_parallel.py", ["joblib", "distributed"], "the same losses, to the bit"),
    ],
)
def test_the_examples_of_compile(name, needs, printed, tmp_path):
    for module in needs:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    command = [sys.executable, str(EXAMPLE.parent / name)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout

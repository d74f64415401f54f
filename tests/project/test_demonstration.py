"""What a newcomer runs first: `python -m micrograd` and the training example, on good and bad arguments; and what
`--doctor` tells of an installation, beside the reference above all."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy
import pytest

import micrograd
from helpers import ROOT
from micrograd import __main__ as demonstration
from micrograd import _doctor
from micrograd._compile import variants

REPAIR = "`pip uninstall micrograd micrograd-cython`, then install the one to keep"
EXAMPLE = ROOT / "examples" / "train_mlp.py"


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
    assert printed.err == ""  # no progress bar where stderr is no terminal


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


def test_a_terminal_has_a_progress_bar_if_tqdm_is_installed(monkeypatch):
    monkeypatch.setattr(demonstration.sys, "stderr", SimpleNamespace(isatty=lambda: True))
    bars = SimpleNamespace(tqdm=lambda steps, unit, leave: (list(steps), unit, leave))
    monkeypatch.setitem(sys.modules, "tqdm", bars)
    assert demonstration._progress(range(3)) == ([0, 1, 2], "step", False)
    monkeypatch.setitem(sys.modules, "tqdm", None)  # as if it were not installed
    assert demonstration._progress(range(3)) == range(3)


def test_a_package_without_these_names_sends_to_the_doctor(monkeypatch):
    monkeypatch.setitem(sys.modules, "micrograd", ModuleType("micrograd"))
    with pytest.raises(SystemExit, match="`python -m micrograd --doctor` tells"):
        demonstration.main([])


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


@pytest.mark.slow
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


# ---- Beside the reference, which has files of the same names ----------------------------------------


@pytest.fixture
def site(tmp_path):
    """A folder as pip would make it, with a copy of this package and its metadata."""
    home = tmp_path / "site"
    package = Path(micrograd.__file__).parent
    folders = [path.name for path in package.glob("_*") if path.is_dir()]  # parts of extension modules, in a checkout
    shutil.copytree(package, home / "micrograd", ignore=shutil.ignore_patterns(*folders, "*.c", "*.pxd", "*.pyx"))
    metadata = home / "micrograd_cython-1.2.3.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: micrograd-cython\nVersion: 1.2.3\n")
    lines = [f"{metadata.name}/RECORD,,\n"]
    for file in filter(Path.is_file, (home / "micrograd").rglob("*")):
        digest = base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).decode().rstrip("=")
        lines.append(f"{file.relative_to(home).as_posix()},sha256={digest},{file.stat().st_size}\n")
    (metadata / "RECORD").write_text("".join(lines))
    return home


def add_reference_metadata(home: Path, kind: str = "dist-info") -> None:
    end = f"py{sys.version_info[0]}.{sys.version_info[1]}.egg-info"
    path = home / ("micrograd-0.1.0.dist-info" if kind == "dist-info" else f"micrograd-0.1.0-{end}")
    path.mkdir()
    name = "METADATA" if kind == "dist-info" else "PKG-INFO"
    (path / name).write_text("Metadata-Version: 2.1\nName: micrograd\nVersion: 0.1.0\n")
    if kind == "dist-info":
        (path / "RECORD").write_text("micrograd/__init__.py,,\nmicrograd/engine.py,,\nmicrograd/nn.py,,\n")
    else:
        (path / "installed-files.txt").write_text(
            "../micrograd/__init__.py\n../micrograd/engine.py\n../micrograd/nn.py\n"
        )


def add_reference_files(home: Path) -> None:
    (home / "micrograd" / "__init__.py").write_text("")
    (home / "micrograd" / "engine.py").write_text("class Value:\n    pass\n")
    (home / "micrograd" / "nn.py").write_text("from micrograd.engine import Value\n")


def python(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=home.parent,
        env={**os.environ, "PYTHONPATH": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_alone_nothing_warns_and_the_doctor_has_nothing_to_say(site):
    assert python(site, "-W", "error", "-c", "import micrograd").stderr == ""
    done = python(site, "-m", "micrograd", "--doctor")
    assert (done.returncode, done.stderr) == (0, "")
    facts = dict(line.split(None, 1) for line in done.stdout.replace("built by", "built-by").splitlines())
    assert facts["micrograd-cython"] == f"1.2.3, in {site / 'micrograd'}"
    assert facts["Python"].startswith(f"{platform.python_implementation()} {platform.python_version()}")
    assert Path(facts["executable"]).samefile(sys.executable)
    assert facts["platform"] == platform.platform()
    assert re.match(r"(clang|gcc|MSVC) \d+.*, Cython 3\.\d+\.\d+", facts["built-by"])
    assert facts["built-by"].endswith(("debug", "plain", "optimised"))
    assert facts["vectors"] == f"{variants()[0]} in use, of {', '.join(variants())}"
    assert facts["NumPy"] == numpy.__version__
    assert "pip uninstall" not in done.stdout


@pytest.mark.parametrize("kind", ["dist-info", "egg-info"])
def test_a_reference_that_came_first_is_warned_of(kind, site):
    add_reference_metadata(site, kind)
    done = python(site, "-c", "\n\nimport micrograd\nprint(micrograd.Value(2.0) * 3)")
    assert done.stdout == "Value(data=6.0, grad=0.0)\n"
    assert "<string>:3: RuntimeWarning: micrograd and micrograd-cython are installed in one environment" in done.stderr
    assert REPAIR in done.stderr
    assert done.stderr.count("Warning") == 1

    done = python(site, "-W", "ignore", "-m", "micrograd", "--doctor")
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(rf"^other packages +micrograd 0\.1\.0 in {re.escape(str(site))}$", done.stdout, re.MULTILINE)
    assert "none changed since the installation" in done.stdout
    assert done.stdout.endswith(f"{REPAIR}.\n")


@pytest.mark.parametrize("uninstalled", [False, True])
def test_a_reference_that_came_later_is_found_by_the_doctor(uninstalled, site):
    add_reference_files(site)
    if uninstalled:  # and took with it the files that pip believes to be its own
        for name in ("__init__", "engine", "nn"):
            (site / "micrograd" / f"{name}.py").unlink()
    else:
        add_reference_metadata(site)
    # -S: a folder without __init__.py would come behind a micrograd that is installed.
    done = python(site, "-S", "-m", "micrograd", "--doctor")
    assert (done.returncode, done.stderr) == (1, "")
    assert ("micrograd 0.1.0 in" in done.stdout) is not uninstalled
    changed = "micrograd/__init__.py, micrograd/engine.py"
    assert re.search(rf"^files +not as installed: {changed}$", done.stdout, re.MULTILINE)
    assert re.search(r"^built by +(clang|gcc|MSVC) ", done.stdout, re.MULTILINE)
    assert done.stdout.endswith(f"{REPAIR}.\n")

    # The package nn comes before the reference's nn.py.
    done = python(site, "-S", "-c", "from micrograd import nn; print(nn.__file__)")
    assert done.stdout == f"{site / 'micrograd' / 'nn' / '__init__.py'}\n"

    done = python(site, "-S", "-m", "micrograd", "--steps", "1")
    assert done.returncode == 1
    assert "`python -m micrograd --doctor`" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_micrograd_elsewhere_on_the_path_is_named_but_not_warned_of(site, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    add_reference_metadata(elsewhere)
    source = f"import sys; sys.path.append({str(elsewhere)!r}); import micrograd\nfrom micrograd import _doctor\n"
    done = python(site, "-W", "error", "-c", f"{source}print(_doctor.others())")
    assert (done.stdout, done.stderr) == (f"['micrograd 0.1.0 in {elsewhere}']\n", "")


def test_the_doctor_tells_what_it_cannot_find_out(site):
    for file in (site / "micrograd").glob("_core.*"):
        file.unlink()
    (site / "micrograd" / "__init__.py").write_text("")
    done = python(site, "-m", "micrograd", "--doctor")
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"^built by +not known: ModuleNotFoundError: ", done.stdout, re.MULTILINE)


def test_without_metadata_no_file_is_known_to_be_changed(monkeypatch):
    """As of a build in place."""
    monkeypatch.setattr(_doctor, "NAME", "a-package-that-is-not-installed")
    assert _doctor.changed() == []

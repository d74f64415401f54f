"""musl and macOS: modules compiled and linked by zig, which has the headers and the symbols of these C libraries.

They are not run. Python's headers are this interpreter's, with a pyconfig.h adapted to the target.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from pathlib import Path

from shared import HOME, build, proof, run

ZIG = [sys.executable, "-m", "ziglang"]
MADE = HOME / "zig"
MACHINES = {
    "musl": ["x86_64-linux-musl", "aarch64-linux-musl"],
    "macos": ["x86_64-macos", "aarch64-macos"],
}
NO_OTHERS = {"musl": ["-Wl,-z,defs"], "macos": []}  # no symbol may be undefined; for macOS zig links so by itself


def macros(*options: object) -> dict[str, str]:
    """The macros that this machine's compiler has after reading a file."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    text = run(compiler, "-E", "-dM", "-x", "c", *options)
    return dict(re.findall(r"#define (\S+) ?(.*)", text))


def make_headers(folder: Path) -> Path:
    """Python's headers with a pyconfig.h of its own: Debian's leads to one for each machine."""
    folder.mkdir(parents=True, exist_ok=True)
    own = macros(os.devnull)
    config = {name: value for name, value in macros(sysconfig.get_config_h_filename()).items() if name not in own}
    lines = [f"#define {name} {value}" for name, value in config.items()]
    (folder / "pyconfig.h").write_text("\n".join(lines), encoding="ascii")
    return folder


def make_library(folder: Path, target: str) -> Path:
    """A library with all names of Python's API in its headers and in Cython's code. Every other name that a module
    needs has to be the C library's, or the module does not link."""
    names = set()
    for file in [*Path(sysconfig.get_path("include")).rglob("*.h"), *Path("src/micrograd").glob("*.c")]:
        names.update(re.findall(r"\b_?Py_?[A-Z]\w+", file.read_text(encoding="utf-8", errors="replace")))
    source = folder / "python.c"
    source.write_text("\n".join(f"char {name};" for name in sorted(names)), encoding="ascii")
    library = folder / "libpython.so"
    run(*ZIG, "cc", "-target", target, "-shared", source, "-o", library)
    return library


def check(name: str) -> str:
    os.environ.setdefault("ZIG_GLOBAL_CACHE_DIR", str(MADE / "cache"))
    own = sysconfig.get_path("include")
    for target in MACHINES[name]:
        folder = MADE / target
        headers = make_headers(folder / "include")
        compiler = [*ZIG, "cc", "-target", target, "-fPIC", *NO_OTHERS[name], f"-I{headers}", f"-I{own}"]
        build(compiler, folder / "modules", ".so", [make_library(folder, target), "-lm"])
    versions = [f"headers of CPython {sysconfig.get_python_version()}", f"zig {run(*ZIG, 'version').strip()}"]
    return proof(name, versions, f"compiled and linked for {' and '.join(MACHINES[name])}", "that the modules work")

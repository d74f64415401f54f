"""Builds the extension modules, or says in one sentence why they cannot be built. Everything else is in pyproject.toml.

MICROGRAD_DEBUG=1 builds with assertions and debug information, without optimisation. MICROGRAD_SANITIZE=1 builds with
assertions, AddressSanitizer and UndefinedBehaviorSanitizer, MICROGRAD_SANITIZE=fuzzer with these and clang's counters
for libFuzzer, MICROGRAD_SANITIZE=thread with ThreadSanitizer. MICROGRAD_COVERAGE=1 builds for gcov. MICROGRAD_PLAIN=1
builds in standard C, with the fallbacks for compilers and systems that lack the rest.
"""

import os
import platform
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup

windows = sys.platform == "win32"
debug = os.environ.get("MICROGRAD_DEBUG", "0") != "0"
sanitize = os.environ.get("MICROGRAD_SANITIZE", "0")
coverage = os.environ.get("MICROGRAD_COVERAGE", "0") != "0"
plain = os.environ.get("MICROGRAD_PLAIN", "0") != "0"
# No contraction: a fused multiply-add rounds once where Python rounds twice, and last bits would depend on the machine.
if windows:
    flags = ["/Od", "/Zi", "/UNDEBUG"] if debug else ["/O2", "/fp:precise"]
else:
    # CFLAGS replaces Python's own optimisation flags. -g0 cancels Python's -g, which makes wheels six times as large.
    flags = ["-O0", "-g3", "-UNDEBUG"] if debug else ["-O3", "-g0", "-DNDEBUG"]
    flags += ["-ffp-contract=off", "-fno-math-errno"]  # the engine does not read errno; setting it prevents vector sqrt
instruments, folder = [], "build"  # these builds share no object files
if sanitize == "thread":
    instruments, folder = ["-fsanitize=thread"], "build/thread"
elif sanitize != "0":
    folder = "build/sanitize"
    instruments = ["-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"]
    if sanitize == "fuzzer":
        instruments, folder = ["-fsanitize=fuzzer-no-link", *instruments], "build/fuzzer"
elif coverage:
    instruments, folder = ["--coverage"], "build/coverage"
if sanitize != "0":
    flags += ["-O1", "-g", "-UNDEBUG", "-fno-omit-frame-pointer"]
elif coverage:
    flags += ["-O0"]
flags += instruments

macros = [("MICROGRAD_PLAIN", None)] if plain else []
strip = []
# Other builds keep function names, for profilers.
if "bdist_wheel" in sys.argv and not (windows or debug or instruments):
    strip = ["-Wl,-s" if sys.platform.startswith("linux") else "-Wl,-x"]

sources = Path("src/micrograd")
extensions = [
    Extension(
        f"micrograd.{module.stem}",
        [module.as_posix()],
        extra_compile_args=flags,
        extra_link_args=[*instruments, *strip],
        define_macros=macros + ([("CYTHON_USE_TYPE_SPECS", "1")] if module.stem == "_core" else []),
        libraries=[] if windows else ["m"],
        depends=[part.as_posix() for part in sorted((sources / module.stem).glob("*"))],  # its headers and parts
    )
    for module in sorted(sources.glob("*.pyx"))
]
directives = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "autotestdict": False,
    "binding": False,  # CPython's own method objects, which check that `self` is an instance of their class
    "embedsignature": True,  # those have a signature only if their docstring begins with it
    "embedsignature.format": "clinic",
    "allow_none_for_extension_args": False,  # C code reads the fields of its arguments unchecked
}

NO_BUILD = {"dist_info", "egg_info", "sdist"}  # commands that compile nothing
# Programs are compiled and not run, so that the target may be another machine than this one. These have to compile, in
# this order; and what is missing where one does not.
PROBES = {
    "int i;": "no C compiler works here (Debian: apt install gcc; macOS: xcode-select --install)",
    "#include <math.h>": "the headers of the C library are missing (Debian: apt install libc6-dev)",
    "#include <Python.h>": f"Python.h is missing (Debian: apt install python{sysconfig.get_python_version()}-dev)",
}
TARGETS_I386 = "#if !defined(__i386__)\n#error\n#endif"
# i386's older unit computes with more bits than a double has and rounds twice: last bits would depend on the machine.
SSE2 = ["-msse2", "-mfpmath=sse"]


def unfit_interpreter():
    """Why this Python cannot run the package, or None."""
    if sys.implementation.name != "cpython":
        return f"it needs CPython, and this is {platform.python_implementation()}"
    if sys.version_info < (3, 9):  # noqa: UP036  # pip reads `requires-python` only after it has run this file
        return f"it needs Python 3.9 or newer, and this is {platform.python_version()}"
    if sysconfig.get_platform() == "win32":
        return "it needs Windows of 64 bits"
    return None


def compiler_error(program):
    """None where this C program compiles, else the first error, after ": ", or "" where there is no compiler."""
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    for variable in ("CFLAGS", "CPPFLAGS"):
        command += shlex.split(os.environ.get(variable, ""))
    command += [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]
    with tempfile.TemporaryDirectory() as scratch:
        probe = Path(scratch, "probe.c")
        probe.write_text(f"{program}\n", encoding="ascii")
        try:
            subprocess.run([*command, "-c", probe, "-o", f"{probe}.o"], check=True, capture_output=True)
        except OSError:
            return ""
        except subprocess.CalledProcessError as error:
            lines = error.stderr.decode(errors="replace").splitlines()
            return "".join([f": {line.strip()}" for line in lines if "error" in line][:1])
    return None


def unfit_compiler():
    """What the C compiler lacks to build the package, or None. On Windows setuptools says so itself."""
    for program, missing in {} if windows else PROBES.items():
        error = compiler_error(program)
        if error is not None:
            return missing + error
    return None


def main():
    compiles = NO_BUILD.isdisjoint(sys.argv) or "bdist_wheel" in sys.argv
    reason = unfit_interpreter() or (unfit_compiler() if compiles else None)
    if reason:
        raise SystemExit(f"micrograd-cython cannot be built: {reason}")
    modules = extensions
    if compiles:
        if not windows and compiler_error(TARGETS_I386) is None:
            flags.extend(SSE2)  # the list that all extensions have
        from Cython.Build import cythonize
        from Cython.Compiler import Options

        Options.warning_errors = bool(instruments)  # such as of a struct that is made without its last field
        modules = cythonize(extensions, include_path=["src"], compiler_directives=directives)
    setup(
        ext_modules=modules,
        options={
            "build_ext": {"parallel": True},  # compiles as many modules at once as there are processors
            "build": {"build_base": folder},
        },
    )


if __name__ == "__main__":
    main()

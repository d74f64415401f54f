"""Builds the extension modules, refuses where they cannot work, and makes the description for a package index.
Everything else is in pyproject.toml.

MICROGRAD_DEBUG=1 builds without optimisation, with symbols and assertions; MICROGRAD_SANITIZE=1 with assertions, under
gcc's sanitizers of memory and of undefined behaviour. MICROGRAD_PLAIN=1 builds in standard C,
from the fallbacks for compilers and systems that lack the rest.
"""

import contextlib
import os
import platform
import re
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Distribution, Extension, setup

windows = sys.platform == "win32"
debug = os.environ.get("MICROGRAD_DEBUG", "0") != "0"
sanitize = os.environ.get("MICROGRAD_SANITIZE", "0") != "0"
plain = os.environ.get("MICROGRAD_PLAIN", "0") != "0"
# No contraction: a fused multiply-add rounds once where Python rounds twice: last bits would differ between machines.
if windows:
    flags = ["/Od", "/Zi", "/UNDEBUG"] if debug else ["/O2", "/fp:precise"]
else:
    # CFLAGS replaces what Python has of these. -g0 takes back its -g, with which wheels are six times as large.
    flags = ["-O0", "-g3", "-UNDEBUG"] if debug else ["-O3", "-g0", "-DNDEBUG"]
    flags += ["-ffp-contract=off", "-fno-math-errno"]  # errno, which nobody reads here, would keep sqrt out of vectors
sanitizers = []
if sanitize:
    sanitizers = ["-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"]
    flags += ["-O1", "-g", "-UNDEBUG", "-fno-omit-frame-pointer", *sanitizers]

macros = [("MICROGRAD_PLAIN", None)] if plain else []
strip = []
if "bdist_wheel" in sys.argv and not (windows or debug or sanitize):  # in place, functions keep names, for profilers
    strip = ["-Wl,-s" if sys.platform.startswith("linux") else "-Wl,-x"]

sources = Path("src/micrograd")
extensions = [
    Extension(
        f"micrograd.{module.stem}",
        [module.as_posix()],
        extra_compile_args=flags,
        extra_link_args=[*sanitizers, *strip],
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
    "binding": False,  # methods are CPython's own, which look whether they are called with an instance of their class
    "embedsignature": True,  # and so have no signature, but from their docstrings
    "embedsignature.format": "clinic",
    "allow_none_for_extension_args": False,  # C code reads the fields of what it is given
}
NO_BUILD = {"dist_info", "egg_info", "sdist"}  # commands that compile nothing
# What the compiler is given, in this order, and what is missing where it fails. Nothing is run, so that the target may
# be another machine than this.
PROBES = {
    "int i;": "no C compiler works here (Debian: apt install gcc; macOS: xcode-select --install; Windows: Build Tools "
    "for Visual Studio)",
    "int i[sizeof(void *) == 8 ? 1 : -1];": "it needs a target of 64 bits",
    "#include <math.h>": "the headers of the C library are missing (Debian: apt install libc6-dev)",
    "#include <Python.h>": f"Python.h is missing (Debian: apt install python{sysconfig.get_python_version()}-dev)",
}


@contextlib.contextmanager
def printed_to(path):
    """What is printed meanwhile, by other programs too, goes into this file."""
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    with path.open("wb") as file:
        for stream, _ in kept:
            os.dup2(file.fileno(), stream)
    try:
        yield
    finally:
        for stream, copy in kept:
            os.dup2(copy, stream)
            os.close(copy)


def refusal(compiles):
    """Why the package cannot be built here, or None. The compiler is tried where it is needed."""
    if sys.implementation.name != "cpython":
        return f"it needs CPython, and this is {platform.python_implementation()}"
    if sys.version_info < (3, 9):  # noqa: UP036  # pip knows what Python a package asks for only after this
        return f"it needs Python 3.9 or newer, and this is {platform.python_version()}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "it needs Python with its global lock, and this is a free-threaded build"
    if not compiles:
        return None

    # Newer Pythons have distutils from setuptools alone.
    from distutils.ccompiler import new_compiler
    from distutils.errors import CCompilerError, DistutilsError
    from distutils.sysconfig import customize_compiler

    distribution = Distribution()
    super(Distribution, distribution).parse_config_files()  # the user's choices, without pyproject.toml
    command = distribution.get_command_obj("build_ext")
    command.ensure_finalized()
    compiler = new_compiler(compiler=command.compiler)
    customize_compiler(compiler)
    with tempfile.TemporaryDirectory() as folder:
        probe, log = Path(folder, "probe.c"), Path(folder, "log")
        for text, missing in PROBES.items():
            probe.write_text(f"{text}\n", encoding="ascii")
            try:
                with printed_to(log):
                    compiler.compile([str(probe)], output_dir=folder, include_dirs=command.include_dirs)
            except (CCompilerError, DistutilsError):
                said = log.read_text(encoding="utf-8", errors="replace").splitlines()
                return ": ".join([missing, *[line.strip() for line in said if "error" in line][:1]])
    return None


def absolute(markdown, url, version):
    """The text with its relative links and pictures in the repository, at the version's tag. Code is left alone."""

    def part(match):
        before, path = match["before"], match["path"]
        if match["code"] or re.match(r"#|//|[A-Za-z][A-Za-z0-9+.-]*:", path):
            return match[0]
        kind = "raw" if before.startswith("!") else "blob"
        return f"{before}{url.rstrip('/')}/{kind}/v{version}/{path.removeprefix('./')}"

    code = r"(?P<code>(?P<fence>`+|~~~+).*?(?<!`)(?P=fence)(?!`))"
    link = r"(?P<before>!\[[^\]]*\]\(|\]\(|^\[[^\]]+\]:[ ]+)(?P<path>[^\s)]+)"
    return re.sub(f"{code}|{link}", part, markdown, flags=re.DOTALL | re.MULTILINE)


def description():
    """README.md, with absolute links once [project.urls] has a Repository."""
    if sys.version_info < (3, 11):
        import tomli as tomllib
    else:
        import tomllib
    here = Path(__file__).resolve().parent
    project = tomllib.loads((here / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    markdown = (here / "README.md").read_text(encoding="utf-8")
    url = project.get("urls", {}).get("Repository")
    return absolute(markdown, url, project["version"]) if url else markdown


def main():
    compiles = NO_BUILD.isdisjoint(sys.argv) or "bdist_wheel" in sys.argv
    reason = refusal(compiles)
    if reason:
        raise SystemExit(f"micrograd-cython cannot be built: {reason}")
    modules = extensions
    if compiles:
        from Cython.Build import cythonize

        modules = cythonize(extensions, include_path=["src"], compiler_directives=directives)
    setup(
        ext_modules=modules,
        options={
            "build_ext": {"parallel": True},  # a module a processor
            "build": {"build_base": "build/sanitize" if sanitize else "build"},  # neither takes the other's objects
        },
        long_description=description(),
        long_description_content_type="text/markdown",
    )


if __name__ == "__main__":
    main()

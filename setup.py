"""Builds the extension modules; everything else is in pyproject.toml.

MICROGRAD_DEBUG=1 builds without optimisation, with symbols and assertions. MICROGRAD_PLAIN=1 builds in standard C,
from the fallbacks for compilers and systems that lack the rest.
"""

import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

windows = sys.platform == "win32"
debug = os.environ.get("MICROGRAD_DEBUG", "0") != "0"
plain = os.environ.get("MICROGRAD_PLAIN", "0") != "0"
# No contraction: a fused multiply-add rounds once where Python rounds twice: last bits would differ between machines.
if windows:
    flags = ["/Od", "/Zi"] if debug else ["/O2", "/fp:precise"]
else:
    flags = ["-O0", "-g3", "-UNDEBUG"] if debug else ["-O3", "-DNDEBUG"]  # CFLAGS replaces what Python has of these
    flags += ["-ffp-contract=off", "-fno-math-errno"]  # errno, which nobody reads here, would keep sqrt out of vectors

headers = {
    "_optim": ["src/micrograd/_adam.h"],
    "_steps": ["src/micrograd/_lanes.h", "src/micrograd/_lanes_loops.h"],
}
extensions = [
    Extension(
        f"micrograd.{name}",
        [f"src/micrograd/{name}.pyx"],
        extra_compile_args=flags,
        define_macros=[("MICROGRAD_PLAIN", None)] if plain else [],
        libraries=[] if windows else ["m"],
        depends=headers.get(name, []),
    )
    for name in (
        "_batch",
        "_calls",
        "_check",
        "_core",
        "_fused",
        "_graph",
        "_layers",
        "_lifetime",
        "_lower",
        "_optim",
        "_program",
        "_reduce",
        "_replay",
        "_slab",
        "_steps",
        "_trace",
    )
]
directives = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "autotestdict": False,
    "allow_none_for_extension_args": False,  # C code reads the fields of what it is given
}
setup(
    ext_modules=cythonize(extensions, include_path=["src"], compiler_directives=directives),
    options={"build_ext": {"parallel": True}},  # a module a processor
)

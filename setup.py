"""Builds the extension module; everything else is in pyproject.toml.

MICROGRAD_DEBUG=1 builds without optimisation, with symbols and assertions.
"""

import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

debug = os.environ.get("MICROGRAD_DEBUG", "0") != "0"
# No contraction: a fused multiply-add rounds once where Python rounds twice, and last bits would differ between machines.
if sys.platform == "win32":
    flags = ["/Od", "/Zi"] if debug else ["/O2", "/fp:precise"]
else:
    flags = ["-O0", "-g3", "-UNDEBUG"] if debug else ["-O3"]
    flags += ["-ffp-contract=off"]

extension = Extension("micrograd._core", ["src/micrograd/_core.pyx"], extra_compile_args=flags)
setup(ext_modules=cythonize([extension], include_path=["src"], gdb_debug=False, annotate=False))

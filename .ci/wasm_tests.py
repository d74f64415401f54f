"""Runs the tests in Pyodide, by wasm.mjs. tests/conftest.py skips those that need NumPy, processes or threads."""

import os
import sys

sys.path.append("/checkout/build/wasm/packages")
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = "/tmp/hypothesis"
os.chdir("/checkout")

import pytest  # noqa: E402

DOCS = ["README.md", "docs/grads.md", "docs/microgpt.md", "docs/optim.md"]  # the others need NumPy or safetensors
OPTIONS = ["--quiet", "-rfE", "-p", "no:cacheprovider", "--ignore=tests/project/test_packaging.py"]
int(pytest.main([*OPTIONS, *DOCS, "tests"]))

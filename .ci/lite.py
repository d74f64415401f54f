"""`make lite` and `make lite-test`: the notebooks in JupyterLite, which runs them in the browser, in build/lite.

build  makes that folder of JupyterLite, npm's packages of Pyodide and Graphviz, the wheel of `make wasm-wheel`, and the
       wheels that JupyterLite's kernel needs. NumPy, Matplotlib and scikit-learn for Pyodide are neither on PyPI nor on
       npm: a reader's browser loads them from Pyodide's distribution when a cell imports them.
serve  serves it on the loopback address; PORT chooses the port
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import play
import wasm

SITE = wasm.ROOT / "build" / "lite"
WORK = wasm.WORK / "lite"
FILES = WORK / "static" / "pyodide"  # from where JupyterLite takes it
KERNEL = ["comm", "ipykernel", "ipython", "jedi", "micropip", "piplite", "pyodide-kernel"]  # loaded as it starts
KERNEL_PLUGIN = "@jupyterlite/pyodide-kernel-extension"
KERNEL_WHEELS = Path(sys.prefix, "share", "jupyter", "labextensions", KERNEL_PLUGIN, "static", "pypi")
CONFIGURATION = {
    "jupyter-lite-schema-version": 0,
    "jupyter-config-data": {
        "appName": "micrograd's notebooks",
        "exposeAppInBrowser": True,  # which lite_test.py uses
        "litePluginSettings": {f"{KERNEL_PLUGIN}:kernel": {"loadPyodideOptions": {"packages": KERNEL}}},
    },
}
DISTRIBUTION = f"https://cdn.jsdelivr.net/pyodide/v{wasm.PYODIDE}/full/"
GRAPHS = wasm.ROOT / "docs" / "lite" / "graphs.py"
GRAPHVIZ = "@hpcc-js/wasm-graphviz@1.29.2"
FROM_PYPI = ["comm==0.2.3", "graphviz==0.21"]  # what Pyodide's distribution lacks


def get_wheels(packages: dict[str, Any]) -> None:
    """Copy into FILES what opening a notebook needs, in the versions of Pyodide's distribution."""
    names = ["ipython", "jedi", "micropip", "tqdm"]
    for name in names:  # which grows
        names += sorted({other.replace("_", "-") for other in packages[name]["depends"]} - {*names})
    pinned = [f"{name}=={packages[name]['version']}" for name in names]
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", FILES]
    wasm.run(*pip, f"--python-version={wasm.PYTHON}", *pinned, *FROM_PYPI, PIP_DISABLE_PIP_VERSION_CHECK="1")
    for wheel in [wasm.built_wheel(), *KERNEL_WHEELS.glob("*kernel-*.whl"), *KERNEL_WHEELS.glob("piplite-*.whl")]:
        shutil.copy(wheel, FILES)
    [kernel] = FILES.glob("pyodide_kernel-*.whl")
    with zipfile.ZipFile(kernel, "a") as wheel:
        folder = "-".join(kernel.name.split("-")[:2]) + ".data"
        wheel.write(GRAPHS, f"{folder}/data/etc/ipython/startup/graphs.py")


def write_lock() -> None:
    """Pyodide's list of packages: what is in FILES comes from there, all else from the distribution."""
    lock = json.loads((wasm.PACKAGE / "pyodide-lock.json").read_text())
    packages = lock["packages"]
    get_wheels(packages)
    for package in packages.values():
        package["file_name"] = DISTRIBUTION + package["file_name"]
    for wheel in FILES.glob("*.whl"):
        module, version = wheel.name.split("-")[:2]
        name = module.replace("_", "-")
        new = {"name": name, "depends": [], "imports": [module.removesuffix("_cython")], "install_dir": "site"}
        package = packages.setdefault(name, {**new, "package_type": "package", "unvendored_tests": False})
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        package.update(version=version, file_name=wheel.name, sha256=digest)
    packages["micrograd-cython"]["depends"] = ["graphviz"]  # which draw_dot imports
    (FILES / "pyodide-lock.json").write_text(json.dumps(lock))


def copy_notebooks(folder: Path) -> None:
    """The notebooks, with the text alone of links that lead to the repository's other pages; and the file they read."""
    (folder / "notebooks").mkdir(parents=True)
    for notebook in (wasm.ROOT / "notebooks").glob("*.ipynb"):
        text = re.sub(r"\[([^][\n]+)\]\(\.\./[^)\n]+\)", r"\1", notebook.read_text(encoding="utf-8"))
        (folder / "notebooks" / notebook.name).write_text(text, encoding="utf-8")
    (folder / "examples").mkdir()
    shutil.copy(wasm.ROOT / "examples" / "words.txt", folder / "examples")


def build() -> None:
    wasm.get_pyodide()
    for folder in (WORK, SITE):
        shutil.rmtree(folder, ignore_errors=True)
    FILES.mkdir(parents=True)
    for name in {*play.PARTS} - {"pyodide-lock.json"}:
        shutil.copy(wasm.PACKAGE / name, FILES)
    write_lock()
    copy_notebooks(WORK / "files")
    (WORK / "jupyter-lite.json").write_text(json.dumps(CONFIGURATION))
    options = ["--contents=files", f"--output-dir={SITE}", "--no-sourcemaps"]
    wasm.run(sys.executable, "-m", "jupyterlite_core", "build", *options, cwd=WORK)
    wasm.run("npm", "pack", "--silent", GRAPHVIZ, cwd=WORK)
    shutil.unpack_archive(next(WORK.glob("*graphviz*.tgz")), WORK)
    shutil.copy(WORK / "package" / "dist" / "index.js", SITE / "graphviz.js")


if __name__ == "__main__":
    {"build": build, "serve": lambda: play.serve("the notebooks", SITE)}[sys.argv[1]]()

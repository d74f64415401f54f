"""`make play` and `make play-test`: the playground, docs/play, as a folder that a browser can load, build/play.

build  copies the page, npm's package of Pyodide and the wheel of `make wasm-wheel` into it
serve  serves it on the loopback address; PORT chooses the port
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import wasm

PAGE = wasm.ROOT / "docs" / "play"
SITE = wasm.ROOT / "build" / "play"
PARTS = ["pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "pyodide-lock.json", "python_stdlib.zip"]


def build() -> None:
    wheel = wasm.built_wheel()
    wasm.get_pyodide()
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.copytree(PAGE, SITE, ignore=shutil.ignore_patterns("__pycache__"))
    (SITE / "pyodide").mkdir()
    for name in PARTS:
        shutil.copy(wasm.PACKAGE / name, SITE / "pyodide")
    shutil.copy(wheel, SITE / "micrograd.whl")


def serve(what: str = "the playground", folder: Path = SITE) -> None:
    try:
        serving = wasm.server(folder, int(os.environ.get("PORT", "8000")))
    except (OSError, ValueError, OverflowError) as error:
        sys.exit(f"make {folder.name} cannot serve: {error}; PORT=8001 make {folder.name} chooses another port")
    print(f"{what}: http://127.0.0.1:{serving.server_port}/ (Ctrl-C ends it)", flush=True)
    try:
        serving.serve_forever()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    {"build": build, "serve": serve}[sys.argv[1]]()

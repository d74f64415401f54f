"""Clears the notebooks for git: `python .ci/notebooks.py` takes outputs, counts, and what an editor adds about itself
out of notebooks/*.ipynb. With --check it changes nothing, and fails if there is something to clear."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
KEPT = ("mystnb", "tags")  # of a cell's metadata: what the site makes of it


def cell_cleared(cell: dict[str, Any]) -> dict[str, Any]:
    cleared = {
        "cell_type": cell["cell_type"],
        "id": cell["id"],
        "metadata": {key: cell["metadata"][key] for key in KEPT if key in cell["metadata"]},
        "source": "".join(cell["source"]).splitlines(keepends=True),
    }
    if cell["cell_type"] == "code":
        cleared |= {"execution_count": None, "outputs": []}
    return dict(sorted(cleared.items()))  # the order in which Jupyter writes


def cleared(text: str) -> str:
    """The notebook without what a run of it leaves, in the form in which Jupyter writes notebooks."""
    cells = [cell_cleared(cell) for cell in json.loads(text)["cells"]]
    notebook = {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> None:
    found = []
    for path in sorted(FOLDER.glob("*.ipynb")):
        text = path.read_text(encoding="utf-8")
        if cleared(text) != text:
            found.append(path.name)
            if "--check" not in arguments:
                path.write_bytes(cleared(text).encode())
    if found and "--check" in arguments:
        raise SystemExit(f"notebooks/ has outputs of a run; .ci/notebooks.py clears them: {', '.join(found)}")
    print("cleared:" if found else "nothing to clear", *found)


if __name__ == "__main__":
    main(sys.argv[1:])

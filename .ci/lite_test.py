"""`make lite-test`: the notebooks of build/lite in headless Chromium, by Playwright, cut off from other addresses. The
cells that need neither NumPy nor Matplotlib run and print what tests/project/test_notebooks.py expects."""

from __future__ import annotations

import ast
import re
import time
from typing import Any

import lite

TESTS = (lite.wasm.ROOT / "tests" / "project" / "test_notebooks.py").read_text(encoding="utf-8")
[text] = re.findall(r"^PRINTED = (\{.*?^\})", TESTS, re.MULTILINE | re.DOTALL)
PRINTED = ast.literal_eval(text)
# For each notebook, what it prints without NumPy, how many graphs it draws, and a package that it asks for at last.
NOTEBOOKS: dict[str, tuple[list[str], int, str]] = {
    "lecture": (PRINTED["lecture"], 4, "matplotlib"),
    "microgpt": (PRINTED["microgpt"], 0, "matplotlib"),
    "engine": (["here:      56 bytes", *PRINTED["engine"][1:7], PRINTED["engine"][-1]], 0, "numpy"),
    "moons": ([], 0, "scikit_learn"),
}
LOADING = 180_000  # milliseconds
READY = "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
# Runs a cell. Returns its source and its outputs, or null if it is text.
RUN = """async (index) => {
    const notebook = jupyterapp.shell.currentWidget.content, cell = notebook.widgets[index];
    if (cell.model.type !== "code") return null;
    notebook.activeCellIndex = index;
    notebook.deselectAll();
    await jupyterapp.commands.execute("notebook:run-cell");
    return [cell.model.sharedModel.source, cell.model.outputs.toJSON()];
}"""
# The texts of graphs that are wider than what they stand in.
TOO_WIDE = """() => [...document.querySelectorAll(".jp-OutputArea svg text")].filter((text) => {
    const { x, width } = text.getBBox(), shapes = [...text.parentNode.querySelectorAll("polygon, path, ellipse")];
    return !shapes.map((shape) => shape.getBBox()).some((box) => box.x <= x && x + width <= box.x + box.width);
}).map((text) => text.textContent)"""


def text_of(output: dict[str, Any]) -> str:
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    return text if isinstance(text, str) else "".join(text)


def check(page: Any, address: str, name: str) -> str:
    expected, graphs, package = NOTEBOOKS[name]
    asked: list[str] = []
    page.context.on("request", lambda r: r.url.startswith((address, "data:", "blob:")) or asked.append(r.url))
    start = time.monotonic()
    page.goto(f"{address}notebooks/index.html?path=notebooks/{name}.ipynb")
    page.wait_for_function(READY, timeout=LOADING)
    loaded = time.monotonic() - start
    texts = ""
    for index in range(page.evaluate("jupyterapp.shell.currentWidget.content.widgets.length")):
        before = len(asked)
        source, outputs = page.evaluate(RUN, index) or ("", [])
        errors = [f"{output['ename']}: {output['evalue']}" for output in outputs if output["output_type"] == "error"]
        if not (name == "moons" or re.search(r"\b(np|plt)\b", source)):
            assert not errors, (source, errors)
            assert len(asked) == before, asked
        texts += "".join(text_of(output).rstrip("\n") + "\n" for output in outputs)
    place = 0
    for pattern in expected:
        match = re.compile(pattern).search(texts, place)
        assert match, f"{name}: {pattern!r} is not in what follows:\n{texts[place:]}"
        place = match.end()
    assert "Warning" not in texts, texts
    page.wait_for_function("(n) => document.querySelectorAll('.jp-OutputArea svg g.graph').length === n", arg=graphs)
    assert page.evaluate(TOO_WIDE) == [], page.evaluate(TOO_WIDE)
    assert all(url.startswith(lite.DISTRIBUTION) for url in asked), asked
    assert any(url.startswith(f"{lite.DISTRIBUTION}{package}-") for url in asked), asked
    return f"loaded in {loaded:.0f} s; {len(expected)} outputs, {graphs} graphs; asks for {package} when imported"


def main() -> None:
    offline = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with lite.wasm.chromium("lite-test", lite.SITE, offline) as (browser, address):
        for name in NOTEBOOKS:
            context = browser.new_context()
            print(f"{name}: {check(context.new_page(), address, name)}", flush=True)
            context.close()
        print(f"Chromium {browser.version}: all passed")


if __name__ == "__main__":
    main()

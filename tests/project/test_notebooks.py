"""The notebooks in notebooks/ are committed without outputs, and each runs from top to bottom without an error or a
warning, and prints what its text says. The site shows them with the outputs of a run of its own."""

from __future__ import annotations

import json
import re
import runpy
import shutil

import pytest

from helpers import ROOT

FOLDER = ROOT / "notebooks"
SCRIPT = ROOT / ".ci" / "notebooks.py"

# What the text around the cells relies on, by notebook: these must be among the outputs, in this order.
PRINTED = {
    "lecture": [
        r"Value\(data=-6.0, grad=0.0\)\nTrue \*",
        r"\n6\.00000",
        r"L was -8.0000 and is -7.2865",
        r"one backward:   2.0\nwithout zeroing: 4.0",
        r"x1 -1.5000   w1 1.0000   x2 0.5000   w2 0.0000",
        r"41 weights and biases",
        r"200/200",
        r"prediction \+0\.9\d\d\n.*prediction -0\.9\d\d\n.*prediction -0\.9\d\d\n.*prediction \+0\.9\d\d",
    ],
    "moons": [
        r"loss 0.8958, accuracy 50%",
        r"Value\(data=0.89584410\d+, grad=0.0\)",
        r"\d times as fast",
    ],
    "microgpt": [
        r"1343 \['sailfish'",
        r"\n4192\n",
        r"data=3\.2688",
        r"loss 3.269 at first, 2.7\d\d at the end",
        r"\d times as fast\nthe losses of all steps differ by \de-1[2-6] at most",
        r"12 lengths of documents, a program for each",
        r"\d times as fast as plain Values\nthe losses of all steps differ by \de-1[2-6] at most",
        r"1000/1000",
        r"\n(\w{2,16}\s){40}",
    ],
    "engine": [
        r"here:      64 bytes",
        r"-6.0 -6.0\n1.0 1.0\n",
        r"\{Value.*\}\n\(Value.*, Value.*\)\n\(2.0, 2.0\)\n",
        r"\[64, 64, 64, 64, 64, 64, 64, 64, 64\]\nTrue\nTrue\n",
        r"dy/dx 1.1052, seen by the collector: False",
        r"\n9\n126 Values, 137 edges\n",
        r"loss\(3 numbers, number\)\n(.*\n)+  once a call:\n    u0 = .*\n(.*\n)+    r0 … r3 = layer of 3 inputs",
        r"\d times as fast",
        r"exact differs by 0.0\nfast  differs by (0.0|\d.*e-1[5-7])\n",
        r"traced anew: 1",
    ],
}
PICTURES = {"lecture": 5, "moons": 4, "microgpt": 1, "engine": 0}  # how many cells draw

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="there is no checkout around the tests")


def text_of(output) -> str:
    return output["text"] if output["output_type"] == "stream" else output["data"].get("text/plain", "")


def run(name):
    """A notebook after a run."""
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    for needed in ("ipykernel", "matplotlib", "sklearn", "tqdm"):
        pytest.importorskip(needed)
    if shutil.which("dot") is None:
        pytest.skip("the program dot is not here")
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    resources = {"metadata": {"path": str(FOLDER)}}
    options = {"timeout": 300, "kernel_name": "python3", "coalesce_streams": True, "resources": resources}
    client.NotebookClient(notebook, **options).execute()
    return notebook


def test_every_notebook_is_listed():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(PRINTED) == set(PICTURES)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Jupyter's own; what a cell warns of is in its outputs
@pytest.mark.parametrize("name", PRINTED)
def test_a_notebook_runs_and_prints_what_its_text_says(name, tmp_path, monkeypatch):
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # of the other tests, which show no pictures
    notebook = run(name)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    texts = "\n".join(text_of(output).rstrip("\n") for output in outputs) + "\n"
    assert "Warning" not in texts
    place = 0
    for pattern in PRINTED[name]:
        match = re.compile(pattern).search(texts, place)
        assert match, f"{pattern!r} is not in what follows:\n{texts[place:]}"
        place = match.end()
    drawn = [output for output in outputs if {"image/png", "image/svg+xml"} & set(output.get("data", ()))]
    assert len(drawn) == PICTURES[name]
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert runpy.run_path(str(SCRIPT))["cleared"](json.dumps(notebook)) == text


@pytest.mark.parametrize("name", PRINTED)
def test_a_notebook_is_committed_without_outputs(name):
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert runpy.run_path(str(SCRIPT))["cleared"](text) == text


@pytest.mark.parametrize("name", PRINTED)
def test_cells_are_short_and_pictures_have_a_text(name):
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert cells[0]["source"][0].startswith("# ")  # below which the site puts a link
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert max(len(cell["source"]) for cell in cells) <= 25
    described = [cell for cell in cells if cell["metadata"].get("mystnb", {}).get("image", {}).get("alt")]
    assert len(described) == PICTURES[name]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("outputs", [{"output_type": "stream", "name": "stdout", "text": ["6.0\n"]}]),
        ("execution_count", 3),
        ("metadata", {"scrolled": True}),
    ],
)
def test_what_a_run_leaves_is_found_and_cleared(key, value, tmp_path, monkeypatch, capsys):
    script = runpy.run_path(str(SCRIPT))
    monkeypatch.setitem(script["main"].__globals__, "FOLDER", tmp_path)
    clean = (FOLDER / "lecture.ipynb").read_text(encoding="utf-8")
    notebook = json.loads(clean)
    notebook["cells"][1][key] = value
    notebook["metadata"]["language_info"]["version"] = "3.11.7"
    path = tmp_path / "lecture.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"clears them: lecture\.ipynb"):
        script["main"](["--check"])
    script["main"]([])
    assert path.read_text(encoding="utf-8") == clean
    script["main"](["--check"])
    assert capsys.readouterr().out == "cleared: lecture.ipynb\nnothing to clear\n"

"""Runs when a notebook's Python starts in JupyterLite. A browser has no program `dot`, so the page draws the graphs of
`draw_dot`, with Graphviz compiled to WebAssembly; and Python has no threads, of which tqdm warns."""

import json
import uuid
import warnings

# The module is loaded from the site's root, which is one level up for each of JupyterLite's applications.
HTML = """<div id="{place}">Run this cell to draw its graph.</div>
<script type="module">
const place = document.getElementById("{place}");
const {{ Graphviz }} = await import("../graphviz.js");
place.innerHTML = (await Graphviz.load()).dot({source}).replaceAll('"Verdana"', '"Verdana, DejaVu Sans, sans-serif"');
</script>"""


def show(graph, include=None, exclude=None):
    """What a cell shows of a graphviz.Digraph. This Graphviz knows the widths of letters of single fonts, not of a list
    of fonts; those of Verdana are wide enough for what a browser may take in its place."""
    from micrograd._drawing import FONT

    source = json.dumps(graph.source.replace(FONT, "Verdana")).replace("<", "\\u003c")
    return {"text/html": HTML.format(place=f"graph-{uuid.uuid4()}", source=source)}, {}


warnings.filterwarnings("ignore", "tqdm:disabling monitor support")
get_ipython().display_formatter.mimebundle_formatter.for_type_by_name("graphviz.graphs", "Digraph", show)  # noqa: F821

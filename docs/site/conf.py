"""How Sphinx makes the site of these pages: `make docs`.

The sources are the repository's Markdown files as they stand, from its root on, so that a relative link leads to the
same page here and on GitHub. What only the site has is made here: the navigation, and links from names in code to the
API reference, whose pages are in docs/api.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent.parent

project = "micrograd"
version = release = version_of("micrograd-cython")
project_copyright = "the authors of micrograd, compiled"

# ---- Which pages, and in which order ---------------------------------------------------------------------------------

root_doc = "docs/index"
include_patterns = ["*.md", "benchmarks/README.md", "docs/**", "notebooks/*.ipynb"]
exclude_patterns = [".*", "build", "dist", "docs/site", "README.md"]  # the site begins with docs/index.md

# The tables of contents at the ends of pages: captions, and under each the pages, with a shorter title where the page's
# own is long. They are not in the Markdown files, as GitHub would show them as code.
CONTENTS = {
    root_doc: {
        "Start": ["Tutorial </docs/tutorial>", "Switching </docs/switching>", "/docs/performance"],
        "Guides": [
            "/docs/functional",
            "/docs/nn",
            "/docs/optim",
            "Gradients </docs/grads>",
            "/docs/derivatives",
            "/docs/compile",
            "A GPT of scalars </docs/microgpt>",
            "/docs/pictures",
            "/docs/playground",
        ],
        "Notebooks": [
            "The lecture </notebooks/lecture>",
            "Two moons </notebooks/moons>",
            "A GPT in three steps </notebooks/microgpt>",
            "/notebooks/engine",
            "/docs/notebooks",
        ],
        "Reference": ["/docs/api/index", "Differences </DIFFERENCES>"],
        "Inside": ["/docs/architecture", "/docs/reliability", "/benchmarks/README", "/docs/packaging"],
        "Project": ["/CHANGELOG", "/CONTRIBUTING", "/CODE_OF_CONDUCT", "/SECURITY"],
    },
    "docs/architecture": {
        "": [f"{name} </docs/architecture/{name}>" for name in ("core", "nn", "optim", "compile")],
    },
}


def add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    for caption, entries in CONTENTS.get(page, {}).items():
        options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
        source[0] += "\n".join(["\n```{toctree}", *options, "", *entries, "```\n"])


# ---- Notebooks -------------------------------------------------------------------------------------------------------

nb_execution_mode = "force"  # each build runs them, and fails where a cell does
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
logging.getLogger("traitlets").setLevel(logging.WARNING)  # says of each notebook that it is executed

# Kernels have IPython's default configuration, whatever the user's is, but for a warning of each that it listens on TCP
# ports, which are those of the loopback address.
os.environ["IPYTHONDIR"] = str(ROOT / "build" / "ipython")
profile = ROOT / "build" / "ipython" / "profile_default"
profile.mkdir(parents=True, exist_ok=True)
(profile / "ipython_kernel_config.py").write_text("c.IPKernelApp.log_level = 'ERROR'\n", encoding="utf-8")


def add_download(app: Sphinx, page: str, source: list[str]) -> None:
    """Below a notebook's title, what the page is and a link to the file."""
    if page.startswith("notebooks/"):
        notebook = json.loads(source[0])
        name = page.removeprefix("notebooks/")
        about = f"This page is a notebook with its outputs: {{download}}`{name}.ipynb`. "
        about += "[Notebooks and editors](../docs/notebooks.md) says how to run it."
        if (ROOT / "build" / "lite" / "index.html").exists():
            about += f" <a href='../lite/notebooks/index.html?path={page}.ipynb'>Run it in the browser</a>."
        title, *rest = notebook["cells"][0]["source"]
        notebook["cells"][0]["source"] = [title, "\n", about + "\n", *rest]
        source[0] = json.dumps(notebook)


# States of tqdm's progress bar before the last. They begin with a carriage return, for which myst-nb puts a line break.
_BAR = re.compile(r"^\r? *\d+%\|.*\n(?=\r? *\d+%\|)", re.MULTILINE)


# What `make play` and `make lite` have built goes along, with a link from its page.
BUILT = {
    "docs/playground": ("play", "Open the playground"),
    "docs/notebooks": ("lite", "Run the notebooks in the browser"),
}


def add_built(app: Sphinx, page: str, source: list[str]) -> None:
    folder, text = BUILT.get(page, ("", ""))
    if folder and (ROOT / "build" / folder / "index.html").exists():
        shutil.copytree(ROOT / "build" / folder, app.outdir / folder, dirs_exist_ok=True)
        source[0] = source[0].replace("\n\n", f"\n\n<p><a href='../{folder}/index.html'>{text}</a></p>\n\n", 1)


# ---- Markdown, code and docstrings -----------------------------------------------------------------------------------

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx_copybutton"]
myst_heading_anchors = 3
autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings give the arguments' shapes; the types are in the sources and the .pyi files
nitpicky = True  # a role that leads nowhere is a warning,
nitpick_ignore_regex = [("py:obj", ".*")]  # but not code in docstrings that happens to look like a name
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True
highlight_language = "python"
smartquotes_action = "q"  # not "--", which is an option of a program more often than a dash

_CODE = re.compile(r"`([^`]+)`")
_NAME = re.compile(r"([A-Za-z_][\w.]*)(\(\))?")


def _code(match: re.Match[str]) -> str:
    """`name` and `name()` lead to the API reference where it has them; anything else is code."""
    text = match[1]
    name = _NAME.fullmatch(text)
    return f":py:obj:`{text} <{name[1]}>`" if name else f"``{text}``"


def as_rest(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """A docstring is plain text with `code`, examples, formulas, which are indented, and "Raises ..." at the end: the
    same in reStructuredText."""
    text: list[str] = []
    kind = ""  # of the paragraph: text, example, formula or raises
    for line in lines:
        if not line.strip():
            kind = ""
        elif not kind:
            kind = "example" if line.lstrip().startswith(">>>") else "formula" if line.startswith("    ") else "text"
            if kind == "formula":
                text += ["::", ""]
        if kind == "text" and line.startswith("Raises "):
            kind = "raises"
            text += ["", f":Raises: {_escaped(line.removeprefix('Raises '))}"]
        elif kind == "raises":
            text.append(f"    {_escaped(line.strip())}")
        else:
            text.append(_escaped(line) if kind == "text" else line)
    lines[:] = text


def _escaped(line: str) -> str:
    parts = _CODE.split(line)  # text and code in turn
    parts[::2] = [re.sub(r"([\\*|_])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [_code(match) for match in _CODE.finditer(line)]
    return "".join(parts)


def trim_examples(app: Sphinx, tree: nodes.document) -> None:
    """The empty line that ends an example, which doctest needs, is not shown, and of a progress bar the last state."""
    for block in tree.findall(nodes.literal_block):
        block.rawsource = _BAR.sub("", block.rawsource.rstrip())
        block.children = [nodes.Text(block.rawsource)]


def link_names(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Code in a page that names something public, such as `optim.Adam`, leads to the API reference, once a page for
    each. Words that may mean something else, such as `grad`, do not: only classes, calls and names with a dot. Pages on
    the sources have structs and functions of such names."""
    if page.startswith("docs/architecture"):
        return
    objects = app.env.domains["py"].objects
    linked: set[str] = set()
    for code in list(tree.findall(nodes.literal)):
        text = code.astext()
        name = text.removesuffix("()")
        home = next((home for home in (name, f"micrograd.{name}") if home in objects and home not in linked), None)
        if home is None or isinstance(code.parent, (nodes.reference, nodes.title)) or "xref" in code["classes"]:
            continue
        to = objects[home]
        if to.docname == page or not ("." in name or text.endswith("()") or to.objtype == "class"):
            continue
        linked.add(home)
        uri = f"{app.builder.get_relative_uri(page, to.docname)}#{to.node_id}"
        code.replace_self(nodes.reference("", "", code.deepcopy(), internal=True, refuri=uri))


# ---- Looks -----------------------------------------------------------------------------------------------------------

html_theme = "furo"
html_title = "micrograd"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
pygments_dark_style = "github-dark"
html_show_sphinx = False
toc_object_entries_show_parents = "hide"
html_additional_pages = {"index": "redirect.html"}  # leads from the site's root to docs/index.html
templates_path = ["."]


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_contents)
    app.connect("source-read", add_download)
    app.connect("source-read", add_built)
    app.connect("autodoc-process-docstring", as_rest)
    app.connect("doctree-read", trim_examples)
    app.connect("doctree-resolved", link_names)

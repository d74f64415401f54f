"""`.ci/site.py`, which checks the site that `make docs` builds, finds dead links, what is fetched from elsewhere, and
public names that the API reference lacks. The site itself is not built here."""

from __future__ import annotations

import runpy
import zlib

import pytest

from helpers import ROOT
from public_names import public_names

SCRIPT = ROOT / ".ci" / "site.py"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="there is no checkout around the tests")

GOOD = """<link rel="stylesheet" href="looks.css"><link rel="canonical" href="https://example.org/">
<script src="data:text/javascript,0"></script><a href="sub/other.html#there">here</a> <a href="#top">up</a>
<a href="https://example.org/">elsewhere</a> <a href="a%20file.txt">a file</a> <h1 id="top">Title</h1>"""


@pytest.fixture
def site():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(GOOD)
    (tmp_path / "sub" / "other.html").write_text('<a href="../index.html">up</a><p id="there">')
    (tmp_path / "a file.txt").write_text("text")
    (tmp_path / "looks.css").write_text("p { background: url(there.png) }")
    return tmp_path


def test_a_good_site_passes(site, folder):
    assert site["bad_links"](folder) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('<a href="gone.html">x</a>', "sub/bad.html links to gone.html, which is not there"),
        ('<a href="../index.html#gone">x</a>', "sub/bad.html links to ../index.html#gone, which is not there"),
        ('<a href="#gone">x</a>', "sub/bad.html links to #gone, which is not there"),
        ('<a href="..">x</a>', "sub/bad.html links to .., which is not there"),
        ('<img src="gone.png">', "sub/bad.html links to gone.png, which is not there"),
        ('<img src="//example.org/x.png">', "sub/bad.html fetches //example.org/x.png"),
        ('<script src="https://example.org/x.js"></script>', "sub/bad.html fetches https://example.org/x.js"),
        (
            '<link rel="preload stylesheet" href="https://example.org/x.css">',
            "sub/bad.html fetches https://example.org/x.css",
        ),
    ],
)
def test_what_is_not_there_or_elsewhere_is_found(text, found, site, folder):
    (folder / "sub" / "bad.html").write_text(text)
    assert site["bad_links"](folder) == [found]


@pytest.mark.parametrize("text", ["@import '{}';", "p {{ background: url({}) }}", '@font-face {{ src: url( "{}" ) }}'])
def test_what_a_stylesheet_fetches_is_found(text, site, folder):
    (folder / "bad.css").write_text(text.format("https://example.org/x"))
    assert site["bad_links"](folder) == ["bad.css fetches https://example.org/x"]


def test_an_inventory_is_read(site, tmp_path):
    lines = b"micrograd.grad py:function 1 api.html#$ -\ndocs/index std:doc -1 docs/index.html micrograd\n"
    (tmp_path / "objects.inv").write_bytes(b"# Sphinx\n# Project\n# Version\n# zlib\n" + zlib.compress(lines))
    assert site["documented"](tmp_path / "objects.inv") == {"micrograd.grad"}


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("micrograd.grad", True),
        ("micrograd.Value.tanh", True),
        ("micrograd.Value._prev", True),
        ("micrograd.Value.label", True),
        ("micrograd.functional.linear", True),
        ("micrograd.compiler.Compiled.map", True),
        ("micrograd.engine.Value", False),  # micrograd.Value
        ("micrograd.optim.lr_scheduler.StepLR.get_lr", False),  # LRScheduler's, which it overrides
    ],
)
def test_a_name_that_the_reference_lacks_is_found(name, missing, site):
    public = public_names()
    assert site["missing"](public, set(public)) == []
    lacking = site["missing"](public, set(public) - {name})
    assert (name in lacking) == missing
    assert all(other.rpartition(".")[2] == name.rpartition(".")[2] for other in lacking)

"""What contributors and users meet around the sources: the Makefile's list of targets, the issue forms, the citation.
`make workflows` validates the forms and CITATION.cff by their schemas."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from helpers import ROOT

MAKEFILE = ROOT / "Makefile"
FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"
PARTS = {"dot", "needs", "workflows"}  # targets that others run


@pytest.mark.skipif(not MAKEFILE.exists(), reason="there is no checkout around the tests")
@pytest.mark.skipif(shutil.which("make") is None or sys.platform == "win32", reason="make is not here")
@pytest.mark.parametrize("goals", [[], ["help"]])
def test_make_help_lists_every_target(goals):
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", *goals], cwd=ROOT, env=outside, capture_output=True, text=True, check=True)
    [targets] = re.findall(r"^\.PHONY:(.*)$", MAKEFILE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = re.findall(r"^make ([\w-]+)", done.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(set(targets.split()) - PARTS)
    assert done.stdout.endswith("chooses the interpreter.\n")


@pytest.mark.skipif(not FORMS.exists(), reason="an sdist has no issue forms")
def test_the_form_for_bugs_requires_what_the_doctor_prints():
    field = (FORMS / "bug.yml").read_text(encoding="utf-8").partition("id: doctor")[2].partition("- type:")[0]
    assert "label: python -m micrograd --doctor" in field
    assert "required: true" in field


@pytest.mark.skipif(not (ROOT / "CITATION.cff").exists(), reason="there is no checkout around the tests")
def test_the_citation_has_the_holders_and_the_licence_of_the_package():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    holders = re.search(r"Copyright \(c\) \d+ (.*)", (ROOT / "LICENSE").read_text(encoding="utf-8"))[1]
    assert f"- name: {holders}\nlicense: MIT\n" in citation

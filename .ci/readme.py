"""Makes the relative links of README.md absolute: `python .ci/readme.py https://host/owner/project v1.2.3`.

A package index shows README.md without the files beside it. The release workflow runs this before it builds the sdist.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
RELATIVE = re.compile(r"\]\((?!\w+:|#)([^)\s]+)")


def absolute(markdown: str, project: str, tag: str) -> str:
    """The text with each relative link leading to the file at this tag: pictures as they are, others as pages."""

    def link(match: re.Match[str]) -> str:
        view = "raw" if match[1].endswith((".png", ".svg")) else "blob"
        return f"]({project}/{view}/{tag}/{match[1]}"

    return RELATIVE.sub(link, markdown)


if __name__ == "__main__":
    README.write_text(absolute(README.read_text(encoding="utf-8"), *sys.argv[1:]), encoding="utf-8")

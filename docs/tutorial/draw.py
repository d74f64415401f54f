"""Draw the pictures of ../tutorial.md, by running the page's own examples. Needs the extra `viz` and the program `dot`.

An example that assigns `picture` or `axes` makes the picture whose link comes next in the page.
"""

from __future__ import annotations

import doctest
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "tutorial.md"


def draw(picture: object, path: Path) -> None:
    if hasattr(picture, "render"):  # of Graphviz; else axes of Matplotlib
        picture.render(path.with_suffix(""), format="svg", cleanup=True)
    else:
        import matplotlib

        matplotlib.rcParams["svg.hashsalt"] = path.name  # else names in the file are random
        figure = picture.get_figure()
        figure.set_size_inches(6, 3)
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    links = [(match.start(), match[1]) for match in re.finditer(r"!\[[^]]*\]\(tutorial/([\w.]+)\)", text)]
    starts = [match.start() for match in re.finditer(r"^```python$", text, re.MULTILINE)]
    names: dict[str, object] = {}
    for start, end in zip(starts, [*starts[1:], len(text)]):
        for example in doctest.DocTestParser().get_examples(text[start:end].partition("\n```\n")[0]):
            names.pop("picture", None), names.pop("axes", None)
            exec(compile(example.source, str(PAGE), "single"), names)
        picture = names.get("picture", names.get("axes"))
        for name in [name for place, name in links if start < place < end]:
            draw(picture, HERE / name)
            print(HERE / name)


if __name__ == "__main__":
    main()

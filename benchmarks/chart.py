"""Draws results.png: for each case, the times of other programs relative to this engine's.

    python -m benchmarks.chart benchmarks/README.md benchmarks/results.png

The figures come from the tables of a Markdown file, such as this folder's README.md, or from the JSON file that
`python -m benchmarks.run --json` writes.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import Result, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Contestants by the beginning of their names: text, mark and colour in the legend; the colours are Okabe and Ito's.
# Rows that begin otherwise compare this engine with itself, and are in the tables alone.
KINDS = {
    "reference, collector off": ("micrograd 0.1.0, collector off", "o", "white"),
    "reference": ("micrograd 0.1.0", "o", "#000000"),
    "PyTorch": ("PyTorch", "s", "#d55e00"),
    "JAX": ("JAX", "D", "#009e73"),
    "NumPy": ("NumPy by hand", "^", "#56b4e9"),
    "XAD": ("XAD", "v", "#cc79a7"),
    "C by hand": ("C by hand", "P", "#0072b2"),
    "plain floats": ("the program's own Python", "x", "#555555"),
    "the loop's own": ("the program's own Python", "x", "#555555"),
    "the notebook's own": ("the program's own Python", "x", "#555555"),
}


def draw(results: list[Result], path: Path) -> None:
    """A line for each case, or each part of one, with a mark for each contestant, on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    lines = layout(results)
    figure, ax = plt.subplots(figsize=(11, 0.245 * len(lines) + 1.9), layout="constrained")
    for y, (label, rows) in enumerate(lines):
        ax.annotate(
            label,
            (0, y),
            xycoords=ax.get_yaxis_transform(),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=9,
            fontweight="normal" if rows else "bold",
        )
        if rows:
            _line(ax, y, rows)
    values = [row.value for _, rows in lines for row in rows]
    ax.axvline(1, color="#000000", linewidth=1.2, zorder=1)
    ax.text(1.15, 0, "slower than this engine →", fontsize=9, va="center", fontweight="bold")
    ax.text(1 / 1.15, 0, "← faster", fontsize=9, va="center", ha="right", fontweight="bold")
    ax.set(xscale="log", xlim=(min(values) / 2, max(values) * 4), ylim=(len(lines) - 0.4, -0.6), yticks=[])
    ax.xaxis.set_major_formatter(lambda x, _: figure_text(x))
    ax.tick_params(axis="x", top=True, labeltop=True, labelsize=9)
    ax.grid(axis="x", color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["left", "right"]].set_visible(False)
    figure.suptitle("Times of other programs for the same work: right is slower than this engine", fontweight="bold")
    ax.set_title("this engine = 1, logarithmic; marks are medians, lines go from quartile to quartile", fontsize=9.5)
    shown = dict(zip(*reversed(ax.get_legend_handles_labels())))
    figure.legend(
        shown.values(),
        shown.keys(),
        loc="outside lower center",
        ncols=len(shown),
        fontsize=9,
        frameon=False,
        handletextpad=0.2,
        columnspacing=1.2,
    )
    figure.savefig(path, dpi=150)
    plt.close(figure)


def layout(results: list[Result]) -> list[tuple[str, list[Row]]]:
    """The chart's lines: their text and the rows that have marks there; none for a heading."""
    groups: dict[str, list[tuple[str, list[Row]]]] = {"programs unchanged": [], "compiled functions": []}
    for result in results:
        lines = groups["compiled functions" if "compiled" in result.title else "programs unchanged"]
        rows = [row for row in result.rows if row.value is not None and kind(row.name)]
        if not rows or (result.unit, result.base) != ("x ours", "ours"):
            continue
        title = result.title.replace(", compiled", "")
        parts = {row.name: part(row.name, rows) for row in rows}
        if all(parts.values()):
            found = dict.fromkeys(parts.values())
            lines += [(f"{title}, {text}", [row for row in rows if parts[row.name] == text]) for text in found]
        else:
            lines.append((title, rows))
    return [line for group, lines in groups.items() if lines for line in [(group, []), *lines]]


def kind(name: str) -> str | None:
    """The key of KINDS that a row's name begins with."""
    return next((start for start in KINDS if name.startswith(start)), None)


def part(name: str, rows: list[Row]) -> str:
    """The end of a row's name, from a comma on, that other contestants have too: "1 document"; or nothing."""
    ends = [name[found.end() :] for found in re.finditer(", ", name)]
    for end in ends:
        if len({kind(row.name) for row in rows if row.name.endswith(f", {end}")}) > 1:
            return end
    return ""


def _line(ax: Axes, y: int, rows: list[Row]) -> None:
    """The marks of a line, and the figure of the one to the right."""
    ax.axhline(y, color="#eeeeee", linewidth=0.6, zorder=0)
    for row in rows:
        label, mark, colour = KINDS[kind(row.name)]
        line = "#000000" if colour == "white" else colour
        if row.low is not None:
            ax.plot([row.low, row.high], [y, y], color=line, linewidth=1.4, zorder=2)
        edge = {"edgecolors": line if colour == "white" else "white", "linewidths": 0.8} if mark != "x" else {}
        ax.scatter(row.value, y, s=60, marker=mark, c=colour, label=label, zorder=3, **edge)
    slowest = max(rows, key=lambda row: row.value)
    at = (max(slowest.value, slowest.high or 0), y)
    text = figure_text(slowest.value)
    ax.annotate(text, at, xytext=(7, 0), textcoords="offset points", va="center", fontsize=8.5)


def figure_text(x: float) -> str:
    """As the tables have it: three digits, without exponents."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def read(path: Path) -> list[Result]:
    """The results in a file: JSON, or tables in Markdown as `benchmarks.run` prints them."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return [Result(**{**r, "rows": [Row(**row) for row in r["rows"]]}) for r in json.loads(text)["results"]]
    results = []
    for title, unit, body in re.findall(
        r"^\| (.+?) \| (.+?) \| quartiles \|.*\n\|--.*\n((?:\|.*\n)+)", text, re.MULTILINE
    ):
        timed = re.fullmatch(r"time, (.+) = 1", unit)
        rows = []
        for line in body.splitlines():
            name, value, quartiles = (cell.strip() for cell in line.split("|")[1:4])
            low, high = (number(x) for x in quartiles.split("…")) if "…" in quartiles else (None, None)
            rows.append(Row(name, None if value == "absent" else number(value), low, high))
        results.append(Result(title, title, rows, "x ours" if timed else unit, timed[1] if timed else ""))
    return results


def number(text: str) -> float:
    return float(text.replace(",", ""))


if __name__ == "__main__":
    draw(read(Path(sys.argv[1])), Path(sys.argv[2]))

"""Draws results.png: for each case, the time of every contestant relative to this engine's."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import Result, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"reference": "#8c96a3", "ours": "#2171b5", "other": "#e6a04b"}


def draw(results: list[Result], path: Path) -> None:
    """A panel for each case, with horizontal bars on a shared logarithmic axis; absent contestants are left out."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = []
    for result in results:
        rows = [r for r in result.rows if r.value is not None and r.name != result.base and "over best" not in r.name]
        if result.unit == "x ours" and rows:
            panels.append((result.title + ("" if result.base == "ours" else f" ({result.base} = 1)"), rows))
    heights = [len(rows) + 0.6 for _, rows in panels]
    figure, axes = plt.subplots(
        len(panels),
        1,
        sharex=True,
        figsize=(9, 0.27 * sum(heights) + 0.42 * len(panels) + 0.8),
        gridspec_kw={"height_ratios": heights},
        layout="constrained",
        squeeze=False,
    )
    for (title, rows), ax in zip(panels, axes[:, 0]):
        _panel(ax, title, rows)
    last = axes[-1, 0]
    last.set_xscale("log")
    last.xaxis.set_major_formatter(lambda x, _: f"{x:,g}" if x < 1000 else f"{x:,.0f}")
    every = [r.value for _, rows in panels for r in rows]
    last.set_xlim(min(0.5, min(every) / 2.5), max(every) * 3)
    last.set_xlabel("time, this engine = 1 (logarithmic; right of the line is slower than this engine)", fontsize=9)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _panel(ax: Axes, title: str, rows: list[Row]) -> None:
    """A bar for each row, which begins at 1: bars to the right are slower than this engine, bars to the left faster."""
    values = [r.value for r in rows]
    names = [r.name for r in rows]
    ax.barh(names, [v - 1 for v in values], left=1, color=[_colour(n) for n in names], height=0.72)
    for i, v in enumerate(values):
        text = f"{v:,.0f}" if v >= 100 else f"{v:.2g}" if v < 10 else f"{v:.3g}"
        ax.annotate(
            text,
            (v, i),
            xytext=(4 if v >= 1 else -4, 0),
            textcoords="offset points",
            va="center",
            ha="left" if v >= 1 else "right",
            fontsize=8,
        )
    ax.set_title(title, loc="left", fontsize=10, fontweight="bold")
    ax.axvline(1, color=COLOURS["ours"], linewidth=1.2)
    ax.invert_yaxis()
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0, labelsize=8.5)
    ax.grid(axis="x", color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)


def _colour(name: str) -> str:
    return COLOURS["reference" if name.startswith("reference") else "ours" if name.startswith("ours") else "other"]


if __name__ == "__main__":  # python -m benchmarks.chart results.json results.png
    found = json.loads(Path(sys.argv[1]).read_text())["results"]
    draw([Result(**{**r, "rows": [Row(**row) for row in r["rows"]]}) for r in found], Path(sys.argv[2]))

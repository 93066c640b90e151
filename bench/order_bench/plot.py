"""The picture of the README: what the triggers add to each kind of write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from order_bench.report import Figure, number
from order_bench.rows import Kind

COLOURS = {"textbook": "#9aa5b1", "ours": "#2563eb"}
LABELS = {"textbook": "textbook trigger", "ours": "walltrack_alerts"}
INK = "#1f2933"


def draw(path: Path, figures: Sequence[Figure], caption: str) -> None:
    """Draw horizontal bars of the extra CPU per write in microseconds; the suffix of the file names its format."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    mpl.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "walltrack", "text.color": INK, "axes.labelcolor": INK})
    rows = [figure for figure in figures if figure.row.kind is Kind.WRITE]
    picture, axes = plt.subplots(figsize=(8, 0.9 + 0.55 * len(rows)), layout="constrained")
    for place, name in enumerate(COLOURS):
        values = [max(0.0, figure.extra(name)) for figure in rows]
        heights = [index + (place - 0.5) * 0.36 for index in range(len(rows))]
        bars = axes.barh(heights, values, height=0.34, color=COLOURS[name], label=LABELS[name])
        axes.bar_label(bars, [number(value) for value in values], padding=4, fontsize=8, color=INK)
    axes.set_yticks(range(len(rows)), [figure.row.title for figure in rows], color=INK)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_title("CPU that the triggers add to a write of one order, in microseconds", loc="left", fontsize=11)
    axes.set_xlabel(caption, fontsize=8, loc="left")
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK)
    axes.xaxis.set_ticks([])
    axes.legend(frameon=False, loc="lower right")
    picture.savefig(path, facecolor="white", dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(picture)

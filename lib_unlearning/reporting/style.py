"""One look for all figures: colours that colour-blind readers tell apart, and how a figure becomes a file."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

from lib_unlearning.cache.files import atomic_file

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from lib_unlearning.construct_feature import BASELINE, FEATURES
from lib_unlearning.reporting.archive import CHOSEN

# Okabe and Ito, "Color Universal Design" (2008), in tones that stand out on white and on black.
COLOURS = {
    "direct_diff": "#0072B2",
    "sorted_diff": "#56B4E9",
    "l2_distance": "#009E73",
    "label_diff": "#E69F00",
    "label_logit": "#D55E00",
    BASELINE: "#888888",
    "direct_concat": "#CC79A7",
    "sorted_concat": "#9B7EDE",
    CHOSEN: "#D55E00",
}
MARKERS = dict(zip(COLOURS, "osD^vXP*v", strict=True))
LABELS = {feature: feature for feature in FEATURES} | {
    BASELINE: "classical attack",
    CHOSEN: "attack chosen on shadow data",
}
# What figures show where all eight features would hide each other; tables have them all.
SHOWN = ("direct_diff", "sorted_diff", "l2_distance", "label_diff", "label_logit", BASELINE)

# Text and axes are drawn in this colour; in the page's SVGs it becomes the page's own, light or dark.
_INK = "#1b1f24"
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "unlearning",  # equal data, equal files
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlecolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.grid": True,
    "grid.color": "#8c959f",
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
}
mpl.rcParams.update(_STYLE)


@dataclass(frozen=True)
class Drawing:
    """A figure with its file name (without ending) and caption; `alt` says it in words."""

    name: str
    figure: Figure
    caption: str
    alt: str


def canvas(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure with rows x columns of axes, each `width` x `height` inches; axes are always [rows, columns]."""
    size = (width * columns, height * rows)
    return plt.subplots(rows, columns, figsize=size, squeeze=False, **options)


def save(drawing: Drawing, folder: Path) -> None:
    """Write a figure as PNG and SVG."""
    for kind in ("png", "svg"):
        buffer = io.BytesIO()
        drawing.figure.savefig(buffer, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
        with atomic_file(folder / f"{drawing.name}.{kind}") as handle:
            handle.write(buffer.getvalue())


def inline_svg(drawing: Drawing) -> str:
    """A figure as an SVG element for the page: its text is the page's, its background see-through."""
    buffer = io.StringIO()
    drawing.figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Names inside a figure must differ from those of every other figure on the page.
    svg = re.sub(r'((?:id="|href="#|url\(#))', rf"\g<1>{drawing.name}-", svg)
    size = re.search(r'width="([\d.]+)pt" height="[\d.]+pt"', svg)
    assert size is not None
    shown = f'role="img" aria-label="{_attribute(drawing.alt)}" style="max-width:{float(size[1]) * 1.6:.0f}px"'
    return svg.replace(size[0], shown, 1)


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def close(drawing: Drawing) -> None:
    """Free a figure's memory."""
    plt.close(drawing.figure)

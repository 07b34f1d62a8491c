"""One look for all figures: colours that colour-blind readers tell apart, and how a figure becomes a file."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from markupsafe import escape
from matplotlib.figure import Figure

from lib_unlearning.attacks.registry import TODAY
from lib_unlearning.cache.files import atomic_file
from lib_unlearning.construct_feature import BASELINE
from lib_unlearning.reporting.archive import CHOSEN

# Okabe and Ito, "Color Universal Design" (2008), in tones that stand out on white and on black.
_COLOURS = {
    CHOSEN: "#D55E00",
    BASELINE: "#888888",
    "direct_diff": "#0072B2",
    "sorted_diff": "#56B4E9",
    "l2_distance": "#009E73",
    "label_diff": "#E69F00",
    "label_logit": "#B5485D",
    "direct_concat": "#CC79A7",
    "sorted_concat": "#9B7EDE",
}
_MARKERS = dict(zip(_COLOURS, "ovsD^Xp*P", strict=True))
# For today's attacks in turn, and for those from elsewhere: a colour with a marker, or a line, tells them apart.
_MORE = ("#7A6A00", "#00A3A3", "#A0522D", "#4B6CB7", "#6B8E23", "#8B3A8B")
_MORE_MARKERS = "<>hHd8p"
_MORE_LINES = ("--", "-.", (0, (1, 1)))
_LABELS = {BASELINE: "classical attack", CHOSEN: "attack chosen on shadow data"}
WIDEST = 44  # letters of a row's name, or of a title
_WIDTH = 4.6  # inches of a panel: shown at its own size it fits a phone with text of 9 px and more

# Text and axes are drawn in this colour; in the page's SVGs it becomes the page's own, light or dark.
_INK = "#1b1f24"
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "unlearning",  # equal data, equal files
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    **dict.fromkeys(
        ("axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "text.color", "xtick.color", "ytick.color"), _INK
    ),
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
class Look:
    """Colour, marker, line and name of a feature in figures."""

    colour: str
    marker: str
    label: str
    line: Any = "-"


def look_of(feature: str) -> Look:
    """The look of a feature, the same in every figure; one from elsewhere gets what its name leads to."""
    label = _LABELS.get(feature, feature)
    if feature in _COLOURS:
        return Look(_COLOURS[feature], _MARKERS[feature], label, ":" if feature == BASELINE else "-")
    number = list(TODAY).index(feature) if feature in TODAY else len(TODAY) + sum(map(ord, feature))
    line = _MORE_LINES[number // len(_MORE) % len(_MORE_LINES)]
    return Look(_MORE[number % len(_MORE)], _MORE_MARKERS[number % len(_MORE_MARKERS)], label, line)


def in_lines(title: str, width: int = WIDEST) -> str:
    """A panel's title: the data set, and below it what else, so narrow that nothing is cut off."""
    first, _, rest = title.partition(", ")
    return "\n".join([first, *textwrap.wrap(rest, width)])


def legend_below(figure: Figure, places: Sequence[Any], columns: int) -> None:
    """One legend for all panels, below them."""
    known: dict[str, Any] = {}
    for place in places:
        known |= dict(zip(*reversed(place.get_legend_handles_labels()), strict=True))
    if known:
        figure.legend(known.values(), known.keys(), loc="outside lower left", ncols=columns, fontsize=8)


def legend_inches(names: int, columns: int = 2) -> float:
    """How high a legend of so many names is."""
    return 0.19 * -(-names // columns) + 0.2


@dataclass(frozen=True)
class Drawing:
    """A figure with its file name (without ending) and caption; `alt` says it in words."""

    name: str
    figure: Figure
    caption: str
    alt: str


def canvas(heights: list[float], columns: int = 1, width: float = _WIDTH) -> tuple[Figure, list[Any]]:
    """A figure of panels, filled row by row; heights [inches], one a panel, and the width of each."""
    columns = min(columns, len(heights))
    rows = -(-len(heights) // columns)
    tall = [max(heights[row * columns : (row + 1) * columns]) for row in range(rows)]
    figure, axes = plt.subplots(rows, columns, figsize=(width * columns, sum(tall)), squeeze=False, height_ratios=tall)
    flat = list(axes.flat)
    for spare in flat[len(heights) :]:
        spare.set_visible(False)
    return figure, flat[: len(heights)]


def save(drawing: Drawing, folder: Path, kinds: tuple[str, ...] = ("png", "svg")) -> None:
    """Write a figure as PNG and SVG."""
    for kind in kinds:
        buffer = io.BytesIO()
        drawing.figure.savefig(buffer, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
        with atomic_file(folder / f"{drawing.name}.{kind}") as handle:
            handle.write(buffer.getvalue())
    plt.close(drawing.figure)


def inline_svg(drawing: Drawing) -> str:
    """A figure as an SVG element for the page: its text is the page's, its background see-through."""
    buffer = io.StringIO()
    drawing.figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    plt.close(drawing.figure)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Names inside a figure must differ from those of every other figure on the page.
    svg = re.sub(r'((?:id="|href="#|url\(#))', rf"\g<1>{drawing.name}-", svg)
    size = re.search(r'width="([\d.]+)pt" height="[\d.]+pt"', svg)
    assert size is not None
    shown = f'role="img" aria-label="{escape(drawing.alt)}" style="max-width:{float(size[1]) * 4 / 3:.0f}px"'
    return svg.replace(size[0], shown, 1)

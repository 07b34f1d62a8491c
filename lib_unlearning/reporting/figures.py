"""Figures of the comparisons: AUC with intervals over what is varied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lib_unlearning.construct_feature import BASELINE
from lib_unlearning.reporting.archive import CHOSEN, Finding
from lib_unlearning.reporting.comparisons import Comparison, Panel, data_label, model_label
from lib_unlearning.reporting.style import COLOURS, LABELS, MARKERS, SHOWN, Drawing, canvas
from lib_unlearning.statistics.combine import Combined

_COLUMNS = 2  # of panels beside each other
_MOST_PANELS = 6  # in one figure; tables hold all


def draw(name: str, comparison: Comparison, found: Sequence[Panel]) -> Drawing:
    """The figure of a comparison's panels (one or more), those with the most cases."""
    shown = main_panels(found)[:_MOST_PANELS]
    figure = _KINDS[comparison.kind](shown)
    left_out = f" {len(found) - len(shown)} more panels are in the tables." if len(found) > len(shown) else ""
    caption = f"{comparison.title}: AUC with 95 % intervals over seeds and sample sets; {cases_of(shown)}.{left_out}"
    return Drawing(name, figure, caption, f"{comparison.title}, {len(shown)} panels of AUC")


def main_panels(found: Sequence[Panel]) -> list[Panel]:
    """Panels with at least a third of the points of the largest of their axis: by-products of other sweeps stay out."""
    largest = {panel.axis: max(len(other.points) for other in found if other.axis is panel.axis) for panel in found}
    return [panel for panel in found if 3 * len(panel.points) >= largest[panel.axis]]


def titles(found: Sequence[Panel]) -> list[str]:
    """A title for each panel; where two would be the same, the size of the sample sets tells them apart."""
    plain = [(panel.axis.label, panel_title(panel)) for panel in found]
    return [
        f"{key[1]}, sets of {panel.settings.get('target_set_size', 0):,}" if plain.count(key) > 1 else key[1]
        for key, panel in zip(plain, found, strict=True)
    ]


def cases_of(found: Sequence[Panel]) -> str:
    """Numbers of cases and seeds of the points, e.g. "600 cases each, seeds 0, 1, 2"."""
    findings = [finding for panel in found for _, finding in panel.points]
    counts = sorted({finding.outcomes["positives"] + finding.outcomes["negatives"] for finding in findings})
    seeds = sorted({tuple(finding.seeds) for finding in findings}, key=len)
    size = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    which = "; or ".join(", ".join(map(str, some)) for some in seeds)
    return f"{size} cases a point, seeds {which}"


def panel_title(panel: Panel) -> str:
    """What all points of a panel share, in a few words."""
    settings, words = panel.settings, []
    if "dataset_name" in settings:
        words.append(data_label(settings))
    if "original_model" in settings:
        words.append(f"{model_label(settings)} target")
    if "unlearning_method" in settings:
        words.append(settings["unlearning_method"])
    if "attack_model" in settings:
        words.append(f"{settings['attack_model']} attack")
    return ", ".join(words)


def _grid(count: int, width: float, height: float, columns: int = _COLUMNS) -> tuple[Any, list[Any]]:
    columns = min(columns, count)
    rows = -(-count // columns)
    figure, axes = canvas(rows, columns, width, height)
    flat = list(axes.flat)
    for spare in flat[count:]:
        spare.set_visible(False)
    return figure, flat[:count]


def _bars(axes: Any, feature: str, across: Any, measured: Sequence[Combined], lying: bool, size: float = 4.5) -> None:
    """Values with intervals as points and lines; `lying` puts the values on the horizontal axis."""
    values = np.array([point.estimate.value for point in measured])
    reach = np.array(
        [
            [0.0, 0.0]
            if point.estimate.low is None or point.estimate.high is None
            else [point.estimate.value - point.estimate.low, point.estimate.high - point.estimate.value]
            for point in measured
        ]
    ).T.clip(min=0)
    look = {
        "color": COLOURS[feature],
        "marker": MARKERS[feature],
        "markersize": size,
        "elinewidth": 1.1,
        "label": LABELS[feature],
    }
    if lying:
        axes.errorbar(values, across, xerr=reach, linestyle="none", **look)
    else:
        axes.errorbar(across, values, yerr=reach, linewidth=1.4, linestyle=":" if feature == BASELINE else "-", **look)


def _features(panel: Panel) -> list[str]:
    """The features to show that every point of a panel has."""
    return [name for name in SHOWN if all(name in finding.features for _, finding in panel.points)]


def _auc(finding: Finding, feature: str) -> Combined:
    return finding.features[feature]["auc"]


def _legend(figure: Any, axes: Any, columns: int = 3) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, fontsize=8)


def _chance(axes: Any, lying: bool) -> None:
    (axes.axvline if lying else axes.axhline)(0.5, color="#8c959f", linewidth=1, linestyle="--", zorder=1)


# ---------------------------------------------------------------- kinds


def _dots(found: Sequence[Panel]) -> Any:
    """Categories below each other, features side by side within a category."""
    rows = sum(len(panel.points) for panel in found)
    heights = [len(panel.points) for panel in found]
    figure, axes = canvas(len(found), 1, 7.2, (0.62 * rows + 1.2 * len(found)) / len(found), height_ratios=heights)
    for panel, title, place in zip(found, titles(found), axes.flat, strict=True):
        features = _features(panel)
        for number, feature in enumerate(features):
            offset = (number - (len(features) - 1) / 2) * 0.13
            across = np.arange(len(panel.points)) + offset
            _bars(place, feature, across, [_auc(finding, feature) for _, finding in panel.points], lying=True, size=3.6)
        place.set_yticks(range(len(panel.points)), [value for value, _ in panel.points])
        place.set_ylim(len(panel.points) - 0.4, -0.6)
        place.grid(visible=False, axis="y")
        _chance(place, lying=True)
        place.set_xlabel("AUC of the attack")
        place.set_title(title)
    _legend(figure, axes.flat[0])
    return figure


def _curves(found: Sequence[Panel]) -> Any:
    """AUC over a number."""
    figure, places = _grid(len(found), 3.7, 2.75)
    for panel, title, place in zip(found, titles(found), places, strict=True):
        across = [value for value, _ in panel.points]
        for feature in _features(panel):
            _bars(place, feature, across, [_auc(finding, feature) for _, finding in panel.points], lying=False)
        if min(across) > 0 and max(across) / min(across) >= 8:
            place.set_xscale("log")
            place.minorticks_off()
        place.set_xticks(across, [f"{value:,}" for value in across])
        _chance(place, lying=False)
        place.set_xlabel(panel.axis.label)
        place.set_ylabel("AUC of the attack")
        place.set_title(_in_two_lines(title), fontsize=8.5)
    _share_height(places)
    _legend(figure, places[0])
    return figure


def _in_two_lines(title: str) -> str:
    return title.replace(", ", "\n", 1)


def _share_height(places: Sequence[Any]) -> None:
    low = min(place.get_ylim()[0] for place in places)
    high = max(place.get_ylim()[1] for place in places)
    for place in places:
        place.set_ylim(low, min(high, 1.02))


def _overfitting(found: Sequence[Panel]) -> Any:
    """AUC over the gap between accuracy on training and on held-out records."""
    figure, places = _grid(len(found), 3.7, 2.9)
    for panel, title, place in zip(found, titles(found), places, strict=True):
        gaps = [finding.overfitting_level for _, finding in panel.points]
        for feature in (CHOSEN, BASELINE):
            _bars(place, feature, gaps, [_auc(finding, feature) for _, finding in panel.points], lying=False)
        for gap, (value, finding) in zip(gaps, panel.points, strict=True):
            at = (gap, _auc(finding, CHOSEN).estimate.value)
            place.annotate(f"{value}", at, textcoords="offset points", xytext=(4, 5), fontsize=7.5)
        _chance(place, lying=False)
        place.set_ylabel("AUC of the attack")
        unit = "epochs" if "batch_size" in panel.settings else "leaves"
        place.set_xlabel(f"training less held-out accuracy (numbers: {unit})")
        place.set_title(_in_two_lines(title), fontsize=8.5)
    _share_height(places)
    _legend(figure, places[0])
    return figure


_HEAT_FEATURES = ("sorted_diff", "label_logit")


def _heat(found: Sequence[Panel]) -> Any:
    """Shadow side x target side, AUC in the cells; without and with the record's label."""
    figure, axes = canvas(len(found), len(_HEAT_FEATURES), 3.9, 3.3)
    for panel, title, row in zip(found, titles(found), axes, strict=True):
        sources = list(dict.fromkeys(shadow for (shadow, _), _ in panel.points))
        targets = list(dict.fromkeys(target for (_, target), _ in panel.points))
        names = sorted({*sources, *targets})
        for feature, place in zip(_HEAT_FEATURES, row, strict=True):
            cells = np.full((len(names), len(names)), np.nan)
            for (shadow, target), finding in panel.points:
                cells[names.index(shadow), names.index(target)] = _auc(finding, feature).estimate.value
            place.imshow(cells, vmin=0.4, vmax=1.0, cmap="cividis")
            for (y, x), value in np.ndenumerate(cells):
                if np.isfinite(value):
                    colour = "black" if value > 0.75 else "white"
                    place.text(x, y, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=9)
            short = [name.replace(" / ", "\n") for name in names]
            place.set_xticks(range(len(names)), short, fontsize=7)
            place.set_yticks(range(len(names)), short, fontsize=7)
            place.grid(visible=False)
            place.set_xlabel(f"target {panel.axis.label}")
            place.set_ylabel(f"shadow {panel.axis.label}")
            place.set_title(f"{feature}\n{title}", fontsize=8)
    return figure


def _defense(found: Sequence[Panel]) -> Any:
    """Left, what an attack still sees behind each defense; right, what the defense costs in accuracy."""
    heights = [len(panel.points) for panel in found]
    total = sum(heights)
    figure, axes = canvas(
        len(found), 2, 3.9, (0.3 * total + 1.3 * len(found)) / len(found), height_ratios=heights, sharey="row"
    )
    for panel, title, (left, right) in zip(found, titles(found), axes, strict=True):
        points = panel.points
        across = np.arange(len(points))
        for feature, offset in ((CHOSEN, -0.12), (BASELINE, 0.12)):
            _bars(left, feature, across + offset, [_auc(finding, feature) for _, finding in points], lying=True)
        left.set_yticks(across, [value for value, _ in points])
        left.set_ylim(len(points) - 0.4, -0.6)
        accuracy = [finding.outcomes["unlearned_held_out_accuracy"] for _, finding in points]
        right.plot(accuracy, across, linestyle="none", marker="s", markersize=4.5, color=COLOURS["direct_diff"])
        middle = (min(accuracy) + max(accuracy)) / 2
        reach = max(0.05, 0.6 * (max(accuracy) - min(accuracy)))  # equal accuracies shall look equal
        right.set_xlim(middle - reach, middle + reach)
        _chance(left, lying=True)
        for place in (left, right):
            place.grid(visible=False, axis="y")
        left.set_xlabel("AUC of the attack")
        right.set_xlabel("held-out accuracy of the unlearned models")
        left.set_title(_in_two_lines(title), fontsize=8.5)
    _legend(figure, axes[0][0])
    return figure


def draw_trade(name: str, found: Sequence[Panel]) -> Drawing | None:
    """Privacy against utility of the panels with DP-SGD: a curve over its noise; None without such a panel."""
    shown = [panel for panel in found if any(finding.outcomes["epsilon"] is not None for _, finding in panel.points)]
    if not shown:
        return None
    figure, places = _grid(len(shown), 4.6, 3.3)
    for panel, title, place in zip(shown, titles(shown), places, strict=True):
        points = sorted(panel.points, key=lambda point: point[1].outcomes["epsilon"] or float("inf"))
        accuracy = [finding.outcomes["unlearned_held_out_accuracy"] for _, finding in points]
        for feature in (CHOSEN, BASELINE):
            _bars(place, feature, accuracy, [_auc(finding, feature) for _, finding in points], lying=False)
        for x, (value, finding) in zip(accuracy, points, strict=True):
            spent = finding.outcomes["epsilon"]
            label = "no defense" if spent is None else f"{str(value).removeprefix('DP-SGD, ')}, epsilon {spent:.3g}"
            at = (x, _auc(finding, CHOSEN).estimate.value)
            place.annotate(label, at, textcoords="offset points", xytext=(5, 6), fontsize=7.5)
        _chance(place, lying=False)
        place.margins(x=0.25)
        place.set_xlabel("held-out accuracy of the unlearned models")
        place.set_ylabel("AUC of the attack")
        place.set_title(_in_two_lines(title), fontsize=8.5)
    _legend(figure, places[0])
    caption = f"Privacy against utility under DP-SGD: AUC with 95 % intervals; {cases_of(shown)}."
    return Drawing(name, figure, caption, "AUC of the attack over accuracy under DP-SGD")


_KINDS: dict[str, Callable[[Sequence[Panel]], Any]] = {
    "dots": _dots,
    "curves": _curves,
    "overfitting": _overfitting,
    "heat": _heat,
    "defense": _defense,
}

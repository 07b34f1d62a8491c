"""Figures of the comparisons: AUC with intervals over what is varied, every attack in every panel."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.construct_feature import BASELINE
from lib_unlearning.reporting.archive import CHOSEN, Finding
from lib_unlearning.reporting.comparisons import (
    Comparison,
    Panel,
    data_label,
    defense_order,
    differences,
    model_label,
)
from lib_unlearning.reporting.style import WIDEST, Drawing, canvas, in_lines, legend_below, legend_inches, look_of
from lib_unlearning.statistics.combine import Combined
from lib_unlearning.wording import plural

_COLUMNS = 2  # of panels beside each other in a file
_MOST_PANELS = 6  # in one figure; tables hold all
_AXIS = "AUC of the attack"
_TITLE_BESIDE_NAMES = 34  # of a title that begins where rows' names end


def draw(name: str, comparison: Comparison, found: Sequence[Panel]) -> Drawing:
    """All main panels of a comparison in one figure, for files."""
    shown = main_panels(found)[:_MOST_PANELS]
    kind = _KINDS[comparison.kind]
    figure, places = canvas([kind.height(panel) for panel in shown], _COLUMNS)
    _fill(kind, shown, places)
    legend_below(figure, places, 4 if len(places) > 1 else 2)
    told = f"{comparison.title}: AUC, {plural(len(shown), 'panel')}"
    return Drawing(name, figure, _caption(comparison, found, shown), told)


def draw_panels(name: str, comparison: Comparison, found: Sequence[Panel]) -> list[Drawing]:
    """The main panels of a comparison, a figure each, for the page; the last caption speaks of all."""
    shown = main_panels(found)[:_MOST_PANELS]
    kind = _KINDS[comparison.kind]
    made = [canvas([kind.height(panel)]) for panel in shown]
    _fill(kind, shown, [places[0] for _, places in made])
    for figure, places in made:
        legend_below(figure, places, 2)
    captions = [""] * (len(shown) - 1) + [_caption(comparison, found, shown)]
    return [
        Drawing(f"{name}-{number}", figure, caption, f"{comparison.title}, {title}")
        for number, ((figure, _), caption, title) in enumerate(zip(made, captions, titles(shown), strict=True))
    ]


def _caption(comparison: Comparison, found: Sequence[Panel], shown: Sequence[Panel]) -> str:
    more = len(found) - len(shown)
    left_out = f" {plural(more, 'more panel')} in the tables." if more else ""
    return f"{comparison.title}: AUC with 95 % intervals, where there are any; {cases_of(shown)}.{left_out}"


def main_panels(found: Sequence[Panel]) -> list[Panel]:
    """Panels with at least a third of the points of the largest of their axis: by-products of other sweeps stay out."""
    largest = {panel.axis: max(len(other.points) for other in found if other.axis is panel.axis) for panel in found}
    return [panel for panel in found if 3 * len(panel.points) >= largest[panel.axis]]


def titles(found: Sequence[Panel], said: Collection[str] = ()) -> list[str]:
    """A title for each panel; where two would be the same, what tells their settings, or their seeds, apart is added,
    but for those that are `said` beside them."""
    plain = [(panel.axis.label, panel_title(panel)) for panel in found]
    settings = [panel.settings for panel in found]
    if len({repr(part) for part in settings}) < len(settings):
        settings = [{**part, "seeds": panel_seeds(panel)} for part, panel in zip(settings, found, strict=True)]
    told = []
    for number, key in enumerate(plain):
        alike = [other for name, other in zip(plain, settings, strict=True) if name == key]
        more = differences(settings[number], alike, said)
        told.append(f"{key[1]}, {more}" if more else key[1])
    return told


def cases_of(found: Sequence[Panel]) -> str:
    """Numbers of cases and seeds of the points, e.g. "600 cases a point, seeds 0, 1, 2"."""
    findings = [finding for panel in found for _, finding in panel.points]
    counts = sorted({finding.cases for finding in findings})
    size = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    return f"{size} cases a point, {'; or '.join(dict.fromkeys(seeds_of(finding) for finding in findings))}"


def seeds_of(finding: Finding) -> str:
    """ "seed 0" or "seeds 0, 1, 2"."""
    return f"seed{'s' if len(finding.seeds) > 1 else ''} {', '.join(map(str, finding.seeds))}"


def panel_seeds(panel: Panel) -> str:
    """As `seeds_of`, of all points."""
    return " or ".join(dict.fromkeys(seeds_of(finding) for _, finding in panel.points))


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
    if settings.get("samples_to_evaluate", "in_out") != "in_out" and settings.get("placebo"):
        words.append(settings["samples_to_evaluate"])
    if settings.get("plugins"):
        words.append(" ".join(Path(part.partition("@")[0]).name for part in settings["plugins"].split()))
    return ", ".join(words)


def _auc(finding: Finding, feature: str) -> Combined:
    return finding.features[feature]["auc"]


def features_of(panel: Panel) -> list[str]:
    """The attacks that every point of a panel has, the chosen and the classical one first."""
    names = dict.fromkeys([CHOSEN, BASELINE, *panel.points[0][1].features])
    return [name for name in names if all(name in finding.features for _, finding in panel.points)]


# ---------------------------------------------------------------- parts of panels


class _Kind:
    """How one kind of comparison is drawn."""

    def __init__(self, fill: Callable[[Panel, Any], None], height: Callable[[Panel], float], lying: bool) -> None:
        self.fill, self.height, self.lying = fill, height, lying


def _fill(kind: _Kind, panels: Sequence[Panel], places: Sequence[Any]) -> None:
    """Draw panels on their axes, all with one range of values and a legend each."""
    for panel, title, place in zip(panels, titles(panels), places, strict=True):
        kind.fill(panel, place)
        place.set_title(in_lines(title, _TITLE_BESIDE_NAMES if kind.lying else WIDEST), fontsize=9)
    if kind not in (_KINDS["heat"], _KINDS["matrix"]):
        _share_range(places, kind.lying)


def _share_range(places: Sequence[Any], lying: bool) -> None:
    ends = [place.get_xlim() if lying else place.get_ylim() for place in places]
    low, high = min(end[0] for end in ends), min(max(end[1] for end in ends), 1.02)
    for place in places:
        (place.axvline if lying else place.axhline)(0.5, color="#8c959f", linewidth=1, linestyle="--", zorder=1)
        (place.set_xlim if lying else place.set_ylim)(min(low, 0.47), high)


def _bars(place: Any, feature: str, across: Any, measured: Sequence[Combined], lying: bool) -> None:
    """Values with intervals as points and lines; `lying` puts the values on the horizontal axis."""
    values = np.array([point.estimate.value for point in measured])
    ends = [
        [value if end is None else end for end in (point.estimate.low, point.estimate.high)]
        for point, value in zip(measured, values, strict=True)
    ]
    reach = np.abs(np.array(ends, dtype=float).T - values)
    look = look_of(feature)
    more = {"color": look.colour, "marker": look.marker, "markersize": 4.5, "elinewidth": 1.1, "label": look.label}
    if lying:
        place.errorbar(values, across, xerr=reach, linestyle="none", **more)
    else:
        place.errorbar(across, values, yerr=reach, linewidth=1.4, linestyle=look.line, **more)


def _rows(panel: Panel, place: Any, names: Sequence[str]) -> None:
    """A row a point: chosen and classical attack with intervals, all others as marks between them."""
    across = np.arange(len(panel.points))
    for feature in features_of(panel):
        measured = [_auc(finding, feature) for _, finding in panel.points]
        if feature in (CHOSEN, BASELINE):
            _bars(place, feature, across + (0.14 if feature == BASELINE else -0.14), measured, lying=True)
        else:
            look = look_of(feature)
            values = [point.estimate.value for point in measured]
            place.plot(values, across, look.marker, color=look.colour, markersize=3, alpha=0.8, label=look.label)
    place.set_yticks(across, names)
    place.set_ylim(len(names) - 0.4, -0.6)
    place.grid(visible=False, axis="y")
    place.set_xlabel(_AXIS)


# ---------------------------------------------------------------- kinds


def _dots(panel: Panel, place: Any) -> None:
    _rows(panel, place, _row_names(panel))


def _row_names(panel: Panel) -> list[str]:
    """Names of the points, so narrow that something is left of a phone."""
    return [textwrap.fill(str(value), WIDEST) for value, _ in panel.points]


def _rows_inches(panel: Panel) -> float:
    heights = [max(0.36, 0.16 * (1 + name.count("\n"))) for name in _row_names(panel)]
    return sum(heights) + 1.0 + legend_inches(len(features_of(panel)))


def _curves(panel: Panel, place: Any) -> None:
    """AUC over a number."""
    across = [value for value, _ in panel.points]
    for feature in features_of(panel):
        _bars(place, feature, across, [_auc(finding, feature) for _, finding in panel.points], lying=False)
    is_log = min(across) > 0 and max(across) / min(across) >= 8
    if is_log:
        place.set_xscale("log")
        place.minorticks_off()
    place.set_xticks(across, [f"{value:,}" for value in across])
    place.set_xlabel(f"{panel.axis.label}{' (log scale)' if is_log else ''}")
    place.set_ylabel(_AXIS)


def _curves_inches(panel: Panel) -> float:
    return 2.9 + legend_inches(len(features_of(panel)))


def _overfitting(panel: Panel, place: Any) -> None:
    """AUC over the gap between accuracy on training and on held-out records."""
    points = sorted(panel.points, key=lambda point: point[1].overfitting_level)
    gaps = [finding.overfitting_level for _, finding in points]
    for feature in features_of(panel):
        if feature in (CHOSEN, BASELINE):
            _bars(place, feature, gaps, [_auc(finding, feature) for _, finding in points], lying=False)
        else:
            look, values = look_of(feature), [_auc(finding, feature).estimate.value for _, finding in points]
            place.plot(gaps, values, look.marker, color=look.colour, markersize=3, alpha=0.8, label=look.label)
    for gap, (value, finding) in zip(gaps, points, strict=True):
        at = (gap, _auc(finding, CHOSEN).estimate.value)
        place.annotate(f"{value}", at, textcoords="offset points", xytext=(4, 5), fontsize=8)
    unit = "epochs" if "batch_size" in panel.settings else "leaves"
    place.set_xlabel(f"training less held-out accuracy (numbers: {unit})")
    place.set_ylabel(_AXIS)


def _heat(panel: Panel, place: Any) -> None:
    """Shadow side x target side, AUC of the attack chosen on the shadow side in the cells."""
    names = sorted({name for pair, _ in panel.points for name in pair})
    cells = np.full((len(names), len(names)), np.nan)
    for (shadow, target), finding in panel.points:
        cells[names.index(shadow), names.index(target)] = _auc(finding, CHOSEN).estimate.value
    _cells(place, cells)
    short = [name.replace(" / ", "\n") for name in names]
    place.set_xticks(range(len(names)), short, fontsize=8)
    place.set_yticks(range(len(names)), short, fontsize=8)
    place.set_xlabel(f"target {panel.axis.label} (in the cells: AUC)")
    place.set_ylabel(f"shadow {panel.axis.label}")


def _matrix(panel: Panel, place: Any) -> None:
    """What the adversary has x what is published: AUC of the attack chosen on the shadow side in the cells."""
    rows = sorted({value[0] for value, _ in panel.points}, key=_by_number)
    columns = sorted({value[1] for value, _ in panel.points}, key=defense_order)
    cells = np.full((len(rows), len(columns)), np.nan)
    for (who, what), finding in panel.points:
        cells[rows.index(who), columns.index(what)] = _auc(finding, CHOSEN).estimate.value
    _cells(place, cells)
    place.set_aspect("auto")
    wide = max(6, 48 // len(columns))  # letters that stand side by side under a column
    place.set_xticks(range(len(columns)), [textwrap.fill(name, wide) for name in columns], fontsize=8)
    place.set_yticks(range(len(rows)), [textwrap.fill(name, 26) for name in rows], fontsize=8)
    place.set_xlabel("held back by the provider (in the cells: AUC)")


def _by_number(text: str) -> tuple[str, int]:
    digits = "".join(letter for letter in text if letter.isdigit())
    return "".join(letter for letter in text if letter.isalpha()), int(digits or 0)


def _cells(place: Any, cells: np.ndarray) -> None:
    place.imshow(cells, vmin=0.4, vmax=1.0, cmap="cividis")
    for (y, x), value in np.ndenumerate(cells):
        if np.isfinite(value):
            place.text(x, y, f"{value:.2f}", ha="center", va="center", color="black" if value > 0.75 else "white")
    place.grid(visible=False)


def _matrix_inches(panel: Panel) -> float:
    return 1.2 + 0.34 * len({value[0] for value, _ in panel.points})


def _defense(panel: Panel, place: Any) -> None:
    """What an attack still sees behind each defense, and in words the accuracy that it leaves."""
    found = [(value, finding.outcomes["original_held_out_accuracy"]) for value, finding in panel.points]
    _rows(panel, place, [f"{value}\naccuracy {accuracy:.3f}" for value, accuracy in found])


def _defense_inches(panel: Panel) -> float:
    return 0.42 * len(panel.points) + 1.0 + legend_inches(len(features_of(panel)))


def draw_trade(name: str, found: Sequence[Panel]) -> list[Drawing]:
    """Privacy against utility of the panels with DP-SGD, a figure each: a curve over its noise."""
    drawn = []
    shown = [panel for panel in found if any("sigma" in finding.settings for _, finding in panel.points)]
    for number, (panel, title) in enumerate(zip(shown, titles(shown), strict=True)):
        figure, (place,) = canvas([3.6])
        points = sorted(panel.points, key=lambda point: point[1].outcomes["epsilon"] or float("inf"))
        accuracy = [finding.outcomes["original_held_out_accuracy"] for _, finding in points]
        for feature in (CHOSEN, BASELINE):
            _bars(place, feature, accuracy, [_auc(finding, feature) for _, finding in points], lying=False)
        for x, (value, finding) in zip(accuracy, points, strict=True):
            spent = finding.outcomes["epsilon"]
            told = "epsilon unbounded" if spent is None else f"epsilon {spent:.3g}"
            label = f"{str(value).removeprefix('DP-SGD, ')}, {told}" if "sigma" in finding.settings else "no DP-SGD"
            at = (x, _auc(finding, CHOSEN).estimate.value)
            place.annotate(label, at, textcoords="offset points", xytext=(5, 6), fontsize=8)
        place.margins(x=0.25)
        place.set_xlabel("held-out accuracy of the original models")
        place.set_ylabel(_AXIS)
        place.set_title(in_lines(title), fontsize=9)
        legend_below(figure, [place], 2)
        _share_range([place], lying=False)
        caption = f"Privacy against utility under DP-SGD: AUC with 95 % intervals; {cases_of([panel])}."
        drawn.append(Drawing(f"{name}-{number}", figure, caption, "AUC of the attack over accuracy under DP-SGD"))
    return drawn


_KINDS = {
    "dots": _Kind(_dots, _rows_inches, lying=True),
    "curves": _Kind(_curves, _curves_inches, lying=False),
    "overfitting": _Kind(_overfitting, _curves_inches, lying=False),
    "heat": _Kind(_heat, lambda panel: 4.4, lying=False),
    "matrix": _Kind(_matrix, _matrix_inches, lying=False),
    "defense": _Kind(_defense, _defense_inches, lying=True),
}

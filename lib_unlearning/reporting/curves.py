"""Figures of single findings: ROC curves with the floor that the cases cannot see below, and score histograms."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib_unlearning.reporting.archive import CHOSEN, Finding, read_scores
from lib_unlearning.reporting.comparisons import data_label, model_label
from lib_unlearning.reporting.figures import seeds_of
from lib_unlearning.reporting.style import Drawing, canvas, in_lines, legend_below, legend_inches, look_of
from lib_unlearning.statistics.metrics import roc_points
from lib_unlearning.wording import plural

_GREY = "#8c959f"


def roc_curves(name: str, finding: Finding) -> Drawing:
    """True over false positive rate on log axes, mean over seeds; rates finer than one stranger are greyed out."""
    features = [name for name in finding.features if name != CHOSEN]
    figure, (place,) = canvas([3.9 + legend_inches(len(features))])
    tables = [read_scores(folder) for folder in finding.folders]
    strangers = min(table.loc[table["member"] == 0, "record"].nunique() for table in tables)
    floor = 1 / strangers  # of one run: runs are averaged, not pooled
    rates = np.geomspace(floor, 1, 200)
    for feature in features:
        curves = [_true_rates(table, feature, rates) for table in tables]
        look = look_of(feature)
        place.plot(rates, np.mean(curves, axis=0), linestyle=look.line, color=look.colour, label=look.label)
    place.plot([floor / 10, 1], [floor / 10, 1], color=_GREY, linewidth=1, linestyle="--")
    place.axvspan(floor / 10, floor, color=_GREY, alpha=0.25, linewidth=0)
    beside = place.get_xaxis_transform()
    place.text(floor / 3.16, 0.5, "not resolvable", rotation=90, ha="center", va="center", fontsize=8, transform=beside)
    place.set(xscale="log", yscale="log", xlim=(floor / 10, 1), ylim=(floor / 2, 1.05))
    for axis in (place.xaxis, place.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")  # exponents would be too small to read on a phone
        axis.set_minor_formatter("")
    place.set_xlabel("false positive rate (log scale)")
    place.set_ylabel("true positive rate (log scale)")
    legend_below(figure, [place], 2)
    place.set_title(in_lines(_title(finding)), fontsize=9)
    caption = (
        f"ROC curves, {seeds_of(finding)}; {plural(strangers, 'stranger')} a seed resolve no rate below {floor:.2g}."
    )
    return Drawing(name, figure, caption, f"ROC curves of {_title(finding)}")


def _true_rates(table: pd.DataFrame, feature: str, rates: np.ndarray) -> np.ndarray:
    """True positive rate of one run at each false positive rate; between two thresholds, what a coin would give."""
    fpr, tpr = roc_points(table[feature].to_numpy(), table["member"].to_numpy())
    found: np.ndarray = np.interp(rates, fpr, tpr)
    return found


def histogram(name: str, finding: Finding) -> Drawing:
    """How the chosen attack scores deleted records and strangers."""
    figure, (place,) = canvas([3.2])
    tables = [read_scores(folder) for folder in finding.folders]
    scores = np.concatenate([table[chosen] for table, chosen in zip(tables, finding.chosen, strict=True)])
    member = np.concatenate([table["member"] for table in tables]) == 1
    bins = np.linspace(0, 1, 21)
    for is_member, colour, label, hatch in ((True, "#D55E00", "deleted", ""), (False, "#0072B2", "stranger", "//")):
        chosen = scores[member == is_member]
        place.hist(chosen, bins, color=colour, alpha=0.55, label=label, hatch=hatch, edgecolor=colour)
    place.set_xlabel("attack's probability that the record was deleted")
    place.set_ylabel("cases")
    place.set_title(in_lines(_title(finding)), fontsize=9)
    place.legend(fontsize=8)
    told = ", ".join(dict.fromkeys(finding.chosen))
    caption = f"Scores of the attack chosen on shadow data ({told}); {len(scores):,} cases, {seeds_of(finding)}."
    return Drawing(name, figure, caption, f"Histogram of scores, {_title(finding)}")


def _title(finding: Finding) -> str:
    settings = finding.settings
    return (
        f"{data_label(settings)}, {model_label(settings)} target, {settings['unlearning_method']}, "
        f"{settings['attack_model']} attack"
    )

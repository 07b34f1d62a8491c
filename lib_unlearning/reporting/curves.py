"""Figures of single findings: ROC curves with the floor that the cases cannot see below, and score histograms."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib_unlearning.construct_feature import BASELINE
from lib_unlearning.reporting.archive import CHOSEN, Finding, read_scores
from lib_unlearning.reporting.comparisons import data_label, model_label
from lib_unlearning.reporting.style import COLOURS, LABELS, SHOWN, Drawing, canvas
from lib_unlearning.statistics.metrics import roc_points


def _scores(folder: Path, feature: str, chosen: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels [m] of a run; `chosen` is what stands behind the feature of that name."""
    columns = read_scores(folder)
    return np.array(columns[chosen if feature == CHOSEN else feature]), np.array(columns["member"]) == 1


def roc_curves(name: str, finding: Finding) -> Drawing:
    """True over false positive rate on log axes, mean over seeds; rates finer than 1/negatives are greyed out."""
    figure, axes = canvas(1, 1, 5.2, 4.2)
    place = axes[0, 0]
    floor = len(finding.seeds) / finding.outcomes["negatives"]  # of one run: runs are averaged, not pooled
    rates = np.geomspace(floor, 1, 200)
    for feature in (name for name in SHOWN if name in finding.features):
        curves = [_true_rates(folder, feature, rates) for folder in finding.folders]
        style = ":" if feature == BASELINE else "-"
        place.plot(rates, np.mean(curves, axis=0), color=COLOURS[feature], label=LABELS[feature], linestyle=style)
    place.plot([floor / 10, 1], [floor / 10, 1], color="#8c959f", linewidth=1, linestyle="--")
    place.axvspan(floor / 10, floor, color="#8c959f", alpha=0.25, linewidth=0)
    beside = place.get_xaxis_transform()
    place.text(floor / 3.16, 0.5, "not resolvable", rotation=90, ha="center", va="center", fontsize=8, transform=beside)
    place.set_xscale("log")
    place.set_yscale("log")
    place.set_xlim(floor / 10, 1)
    place.set_ylim(floor / 2, 1.05)
    place.set_xlabel("false positive rate")
    place.set_ylabel("true positive rate")
    place.legend(loc="lower right", fontsize=8)
    place.set_title(_title(finding), fontsize=8.5)
    negatives = finding.outcomes["negatives"] // len(finding.seeds)
    caption = (
        f"ROC curves, mean over {_seeds(finding)}; {negatives:,} negatives a seed resolve no rate below {floor:.2g}."
    )
    return Drawing(name, figure, caption, f"ROC curves of {_title(finding)}".replace("\n", ", "))


def _true_rates(folder: Path, feature: str, rates: np.ndarray) -> np.ndarray:
    """Highest true positive rate of one run at each false positive rate, by thresholds that really exist."""
    fpr, tpr = roc_points(*_scores(folder, feature, ""))
    return tpr[np.searchsorted(fpr, rates + 1e-12, side="right") - 1]


def histogram(name: str, finding: Finding) -> Drawing:
    """How the chosen attack scores deleted records and strangers."""
    figure, axes = canvas(1, 1, 5.2, 3.1)
    place = axes[0, 0]
    parts = [_scores(folder, CHOSEN, chosen) for folder, chosen in zip(finding.folders, finding.chosen, strict=True)]
    scores, member = (np.concatenate(part) for part in zip(*parts, strict=True))
    bins = np.linspace(0, 1, 21)
    for is_member, colour, label, hatch in ((True, "#D55E00", "positives", ""), (False, "#0072B2", "negatives", "//")):
        place.hist(
            scores[member == is_member], bins, color=colour, alpha=0.55, label=label, hatch=hatch, edgecolor=colour
        )
    place.set_xlabel("attack's probability that the record was deleted")
    place.set_ylabel("cases")
    place.set_title(_title(finding), fontsize=8.5)
    place.legend(fontsize=8)
    chosen = ", ".join(dict.fromkeys(finding.chosen))
    caption = f"Scores of the attack chosen on shadow data ({chosen}); {len(scores):,} cases, {_seeds(finding)}."
    return Drawing(name, figure, caption, f"Histogram of scores, {_title(finding)}".replace("\n", ", "))


def _seeds(finding: Finding) -> str:
    return f"seeds {', '.join(map(str, finding.seeds))}"


def _title(finding: Finding) -> str:
    settings = finding.settings
    return (
        f"{data_label(settings)}\n{model_label(settings)} target, {settings['unlearning_method']}, "
        f"{settings['attack_model']} attack"
    )

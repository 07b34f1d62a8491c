"""What a run gives back: console table, one sentence in plain words, tidy CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import utils
from lib_unlearning.construct_feature import BASELINE
from lib_unlearning.metrics import TPR_NAMES, Estimate
from lib_unlearning.posterior import PosteriorSet

Results = Mapping[str, Mapping[str, Estimate]]  # feature -> metric -> estimate

_METRICS = (
    "auc",
    "accuracy",
    "balanced_accuracy",
    *TPR_NAMES.values(),
    "advantage",
    "deg_count",
    "deg_rate",
    "auc_gain",
)


def utility_table(utility: np.ndarray) -> list[str]:
    """Lines on accuracy and spent epsilon from [sets, 1 + requests, 3]: means over models."""
    lines = [f"{'accuracy':<12}{'training':>10}{'held out':>10}{'gap':>9}"]
    for name, part in (("original", utility[:, :1]), ("unlearned", utility[:, 1:])):
        training, held_out = np.nanmean(part[..., :2], axis=(0, 1))
        lines.append(f"{name:<12}{training:>10.3f}{held_out:>10.3f}{training - held_out:>+9.3f}")
    if utility.shape[2] > 2 and not np.isnan(utility[..., 2]).all():
        spent = [np.nanmax(part[..., 2]) for part in (utility[:, :1], utility[:, 1:])]
        lines.append(f"DP-SGD: epsilon spent {spent[0]:.3g} (original), {spent[1]:.3g} (unlearned)")
    return lines


def result_table(results: Results, headline: str) -> list[str]:
    """Lines of the main table: a row a feature; a star marks the feature chosen on the shadow side."""
    header = (
        f"{'feature':<17}{'AUC [95 % interval]':<22}{'TPR at 1 % FPR':<23}{'bal. accuracy':<22}"
        f"{'DegCount':>9}{'DegRate':>9}"
    )
    lines = [header, "-" * len(header)]
    for feature, metrics in results.items():
        name = f"{feature} *" if feature == headline else feature
        cells = [
            _with_interval(metrics["auc"]),
            _with_interval(metrics.get(TPR_NAMES[0.01])),
            _with_interval(metrics["balanced_accuracy"]),
        ]
        degradation = [f"{metrics[name].value:.3f}" if name in metrics else "-" for name in ("deg_count", "deg_rate")]
        lines.append(f"{name:<17}{cells[0]:<22}{cells[1]:<23}{cells[2]:<22}{degradation[0]:>9}{degradation[1]:>9}")
    return lines


def _with_interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return "not resolvable"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def verdict(results: Results, headline: str, question: str, placebo: bool) -> str:
    """One sentence on the feature that was chosen without a look at the target side."""
    auc, gain = results[headline]["auc"], results[headline].get("auc_gain")
    figures = f"AUC {auc.value:.2f}"
    if auc.low is None or auc.high is None:
        return f"{figures} with {headline}. One sample set allows no interval, so no verdict: raise --target_set_num."
    figures += f" [{auc.low:.2f}, {auc.high:.2f}]"
    if placebo:
        if auc.low <= 0.5 <= auc.high:
            return f"Placebo: {figures} with {headline} contains 0.5, as it must where there is nothing to find."
        return f"Placebo: {figures} with {headline} misses 0.5; one placebo in twenty does, more mean a leak here."
    against = f"against {results[BASELINE]['auc'].value:.2f} for the classical attack"
    if auc.low <= 0.5:
        return f"No evidence that the models make {question} visible: {figures} with {headline}, {against}."
    if gain is None or gain.low is None or gain.low <= 0:
        seen = f"The models make {question} visible, but not more than the original alone"
        return f"{seen}: {figures} with {headline}, {against}."
    return f"The unlearned model makes {question} visible: {figures} with {headline}, {against}."


def result_rows(settings: Mapping[str, Any], results: Results) -> list[dict[str, Any]]:
    """Tidy rows, one a feature: settings, then each metric with the ends of its interval.

    What the cases cannot resolve, and what compares the classical attack with itself, is left empty.
    """
    rows = []
    for feature, metrics in results.items():
        row: dict[str, Any] = {**settings, "feature": feature}
        for name in _METRICS:
            estimate = metrics.get(name)
            for suffix, attribute in (("", "value"), ("_low", "low"), ("_high", "high")):
                number = getattr(estimate, attribute) if estimate else None
                row[name + suffix] = None if number is None else round(number, 6)
        rows.append(row)
    return rows


def save_results(folder: Path, rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> None:
    """Write results.csv, results.json and settings.json, all of them equal for equal settings."""
    utils.write_text(folder / "results.csv", csv_text(list(rows[0]), [row.values() for row in rows]))
    utils.write_json(folder / "results.json", rows)
    utils.write_json(folder / "settings.json", settings)


def save_scores(path: Path, cases: PosteriorSet, scores: Mapping[str, np.ndarray]) -> None:
    """Write one row a target case: where it comes from, its truth, and its score under each feature."""
    names = ["set", "request", "record", "label", "member"]
    columns = [getattr(cases, name).tolist() for name in names]
    columns += [np.round(values, 6).tolist() for values in scores.values()]
    utils.write_text(path, csv_text([*names, *scores], zip(*columns, strict=True)))


def csv_text(header: Sequence[str], rows: Any) -> str:
    """A CSV table as text."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()

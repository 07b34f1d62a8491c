"""Tables of the comparisons: one for people (Markdown), one for programs (CSV, a row a feature)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lib_unlearning import report
from lib_unlearning.construct_feature import BASELINE, FEATURES
from lib_unlearning.report import METRICS, OUTCOMES
from lib_unlearning.reporting.archive import CHOSEN, Finding, holm_corrected, with_interval
from lib_unlearning.reporting.claims import Verdict
from lib_unlearning.reporting.comparisons import Panel
from lib_unlearning.reporting.figures import main_panels, panel_title, titles

_FIRST = (CHOSEN, BASELINE)
_PARTS = ("value", "low", "high", "error")


def panel_rows(panel: Panel) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a panel for people: AUC of every feature, and what the chosen one adds to the classical.

    P-values are corrected over all features of the panel by Holm.
    """
    findings = [finding for _, finding in panel.points]
    others = [name for name in FEATURES if name != BASELINE and any(name in found.features for found in findings)]
    header = [
        panel.axis.label,
        "chosen on shadow data",
        "classical",
        "gain",
        "p (Holm)",
        "DegCount",
        "DegRate",
        *others,
        "accuracy, training / held out",
    ]
    spent = any(finding.outcomes["epsilon"] is not None for finding in findings)
    rows = []
    for (value, finding), corrected in zip(panel.points, holm_corrected(findings), strict=True):
        chosen, outcomes = finding.features[CHOSEN], finding.outcomes
        accuracy = f"{outcomes['original_training_accuracy']:.3f} / {outcomes['original_held_out_accuracy']:.3f}"
        row = [
            _position(value),
            *(with_interval(finding.features[name]["auc"].estimate, ".3f") for name in _FIRST),
            with_interval(chosen["auc_gain"].estimate, "+.3f"),
            _p_value(finding, corrected),
            f"{chosen['deg_count'].estimate.value:.3f}",
            f"{chosen['deg_rate'].estimate.value:+.3f}",
            *(
                with_interval(finding.features[name]["auc"].estimate, ".3f") if name in finding.features else "-"
                for name in others
            ),
            accuracy,
        ]
        rows.append([*row, f"{outcomes['epsilon'] or float('inf'):.3g}"] if spent else row)
    return [*header, "epsilon"] if spent else header, rows


def _position(value: Any) -> str:
    return f"{value[0]} -> {value[1]}" if isinstance(value, tuple) else str(value)


def _p_value(finding: Finding, corrected: dict[str, float]) -> str:
    """The chosen feature's; seeds that chose different ones have each feature's in the CSV."""
    chosen = finding.usual_choice
    return f"{corrected[chosen]:.2g}" if chosen in corrected else "-"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def comparison_markdown(title: str, found: Sequence[Panel]) -> str:
    """All panels of a comparison as Markdown, each with a heading that says what it holds."""
    parts = [f"# {title}"]
    for panel in found:
        parts += [f"## {describe(panel)}", markdown(*panel_rows(panel))]
    return "\n\n".join(parts) + "\n"


def short_markdown(found: Sequence[Panel]) -> str:
    """One table an axis: a row a point, a column a panel, the chosen attack's AUC with interval (classical attack).

    Small panels, by-products of other sweeps, are left to the full tables.
    """
    parts = []
    for axis in dict.fromkeys(panel.axis for panel in found):
        columns = sorted((panel for panel in main_panels(found) if panel.axis is axis), key=panel_title)
        points = list(dict.fromkeys(value for panel in columns for value, _ in panel.points))
        if all(isinstance(value, int) for value in points):
            points.sort()
        cells = [{value: _short_cell(finding) for value, finding in panel.points} for panel in columns]
        rows = [[_position(value), *(column.get(value, "") for column in cells)] for value in points]
        parts.append(markdown([axis.label, *titles(columns)], rows))
    return "\n\n".join(parts) + "\n"


def _short_cell(finding: Finding) -> str:
    chosen, classical = (finding.features[name]["auc"].estimate for name in _FIRST)
    return f"{with_interval(chosen, '.3f')} ({classical.value:.2f})"


def claims_markdown(verdicts: Sequence[Verdict]) -> str:
    """A row a claim."""
    rows = [[verdict.claim, f"**{verdict.verdict}**", verdict.measured] for verdict in verdicts]
    return markdown(["claim of the paper", "here", "measured"], rows) + "\n"


def describe(panel: Panel) -> str:
    """What all points of a panel share, sizes and seeds included."""
    settings, findings = panel.settings, [finding for _, finding in panel.points]
    words = [panel_title(panel)]
    if "target_set_num" in settings and "target_set_size" in settings:
        words.append(
            f"{settings['target_set_num']} target sets of {settings['target_set_size']:,} records, "
            f"{settings['target_unlearning_size']} requests each"
        )
    seeds = sorted({seed for finding in findings for seed in finding.seeds})
    words.append(f"seeds {', '.join(map(str, seeds))}")
    return "; ".join(words)


def comparison_csv(found: Sequence[Panel]) -> str:
    """A row a finding and feature: settings, outcomes, every metric with interval and error, corrected p-value."""
    findings = [finding for panel in found for _, finding in panel.points]
    names = list(dict.fromkeys(name for finding in findings for name in finding.settings))
    measured = [f"{metric}_{part}" for metric in METRICS for part in _PARTS]
    header = ["panel", "point", "seeds", *names, *OUTCOMES, "feature", *measured, "p_holm"]
    rows = []
    for number, panel in enumerate(found):
        for (value, finding), corrected in zip(
            panel.points, holm_corrected([finding for _, finding in panel.points]), strict=True
        ):
            fixed = [number, _position(value), " ".join(map(str, finding.seeds))]
            fixed += [finding.settings.get(name) for name in names] + [finding.outcomes[name] for name in OUTCOMES]
            for feature, metrics in finding.features.items():
                cells = [
                    _rounded(getattr(metrics[metric].estimate, part)) if metric in metrics else None
                    for metric in METRICS
                    for part in _PARTS
                ]
                rows.append([*fixed, feature, *cells, corrected.get(feature)])
    return report.csv_text(header, rows)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)

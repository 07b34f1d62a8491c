"""The report as one self-contained HTML page: no scripts, no outside links; light, dark, phone and paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lib_unlearning.construct_feature import BASELINE
from lib_unlearning.report import plural, with_interval
from lib_unlearning.reporting.archive import CHOSEN, Finding, read_scores
from lib_unlearning.reporting.claims import Verdict
from lib_unlearning.reporting.comparisons import (
    Comparison,
    Panel,
    data_label,
    defense_label,
    is_open,
    model_label,
    same_data,
    same_model,
)
from lib_unlearning.reporting.tables import all_attacks, batch_plan, describe, panel_table
from lib_unlearning.statistics.intervals import Estimate

_TEMPLATES = Path(__file__).with_name("templates")
_TITLE = "When a model forgets a record, who can tell?"
_MOST_EXPOSED = 10


@dataclass(frozen=True)
class Figure:
    """A figure as an SVG element, with its caption."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A comparison that has results: its panels and figures, and the AUC that larger requests shall stay under."""

    name: str
    comparison: Comparison
    panels: list[Panel]
    figures: list[Figure]
    limit: float

    @property
    def tables(self) -> list[dict[str, Any]]:
        """Title and data frame of each panel."""
        return [
            {"title": describe(panel), "frame": panel_table(panel), "plan": batch_plan(panel, self.limit)}
            for panel in self.panels
        ]


def strength(finding: Finding) -> float:
    """AUC of the attack that the shadow side chose."""
    return finding.features[CHOSEN]["auc"].estimate.value


def render(
    findings: Sequence[Finding],
    sections: Sequence[Section],
    verdicts: Sequence[Verdict],
    details: Sequence[Figure],
    unfinished: Sequence[tuple[Path, dict[str, Any]]],
) -> str:
    """The whole page.

    Args:
        findings: all attacks, combined over seeds.
        verdicts: on the paper's claims.
        details: figures of single findings.
        unfinished: folder and settings of runs that began and did not end.
    """
    audited = [finding for finding in findings if is_audit(finding)]
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    runs = sum(len(finding.runs) for finding in findings)
    return environment.get_template("report.html").render(
        title=_TITLE,
        css=(_TEMPLATES / "report.css").read_text(encoding="utf-8"),
        scope=_scope(findings),
        verdict=headline(audited),
        cards=_cards(audited, sections),
        sections=sections,
        verdicts=verdicts,
        details=details,
        exposed=_exposed(audited),
        attacks=all_attacks(findings),
        rows=plural(len(findings), "row"),
        unfinished=unfinished,
        unfinished_table=_unfinished(unfinished),
        runs=_runs(findings),
        count=plural(runs, "run"),
    )


# ---------------------------------------------------------------- first screen


def _scope(findings: Sequence[Finding]) -> str:
    data = list(dict.fromkeys(data_label(finding.settings) for finding in findings))
    families = list(dict.fromkeys(str(finding.settings["original_model"]) for finding in findings))
    methods = list(dict.fromkeys(str(finding.settings["unlearning_method"]) for finding in findings))
    seeds = sorted({seed for finding in findings for seed in finding.seeds})
    runs = sum(len(finding.runs) for finding in findings)
    return (
        f"Audited: deletions from {', '.join(families)} models by {' and '.join(methods)}, trained on "
        f"{', '.join(data)}; {plural(len(findings), 'setting')}, {plural(runs, 'attack')}, "
        f"{plural(sum(finding.cases for finding in findings), 'case')}, "
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}."
    )


def is_audit(finding: Finding) -> bool:
    """A deletion in an undefended model, asked about by an adversary with the target's own kind of data."""
    settings = finding.settings
    known = same_data(settings) and same_model(settings) and is_open(settings)
    return known and not settings["placebo"] and settings["samples_to_evaluate"] != "in_in"


def _beats_classical(finding: Finding) -> bool | None:
    """Whether the chosen attack is clearly better than the classical one; None without an interval."""
    gain = finding.features[CHOSEN]["auc_gain"].estimate
    return None if gain.low is None else gain.low > 0


def headline(audited: Sequence[Finding]) -> str:
    """One sentence from all undefended settings."""
    if not audited:
        return "No attack on an undefended model is among these results, hence no verdict."
    judged = [finding for finding in audited if _beats_classical(finding) is not None]
    if not judged:
        return "One sample set and one seed allow no verdict: raise --target_set_num."
    ahead = [finding for finding in judged if _beats_classical(finding)]
    counted = f"{len(ahead)} of {plural(len(judged), 'undefended setting')}"
    if not ahead:
        widest = max(finding.features[CHOSEN]["auc"].estimate.high or 0.0 for finding in judged)
        return (
            f"In none of {plural(len(judged), 'undefended setting')} the attack is shown to tell deleted records "
            f"better than the classical one; the intervals allow an AUC of up to {widest:.2f}."
        )
    found = max(ahead, key=strength)
    auc, classical = (found.features[name]["auc"].estimate for name in (CHOSEN, BASELINE))
    return (
        f"Unlearning gives deleted records away in {counted}: at worst ({data_label(found.settings)}, "
        f"{_target(found)}) AUC {with_interval(auc)}, the classical attack {classical.value:.3f}."
    )


def _target(finding: Finding) -> str:
    return f"{model_label(finding.settings)} unlearned by {finding.settings['unlearning_method']}"


def _cards(audited: Sequence[Finding], sections: Sequence[Section]) -> list[dict[str, str]]:
    cards = []
    if audited:
        best = max(audited, key=strength)
        where = f"{data_label(best.settings)}, {_target(best)}"
        told = f"strongest attack: {best.usual_choice} with {best.settings['attack_model']}, {where}"
        cards.append(_card(with_interval(best.features[CHOSEN]["auc"].estimate), told))
        ahead = sum(bool(_beats_classical(finding)) for finding in audited)
        cards.append(_card(f"{ahead} of {len(audited)}", "undefended settings in which it beats the classical attack"))
    panels = {section.name: section.panels for section in sections}
    defended = [(bare, after) for panel in panels.get("defense", []) for bare, after in _defended(panel)]
    if defended:
        before, after = min(defended, key=lambda pair: strength(pair[1]))
        cost = before.outcomes["unlearned_held_out_accuracy"] - after.outcomes["unlearned_held_out_accuracy"]
        told = f"best defense: {defense_label(after.settings)}, {data_label(after.settings)}, {_target(after)}"
        told += f"; accuracy {-100 * cost:+.1f} points on the same seeds"
        cards.append(_card(f"{strength(before):.2f} to {strength(after):.2f}", told))
    placebo = [finding for panel in panels.get("placebo", []) for _, finding in panel.points]
    if placebo:
        held = sum(_holds_half(finding.features[CHOSEN]["auc"].estimate) for finding in placebo)
        cards.append(_card(f"{held} of {len(placebo)}", "placebo intervals that hold 0.5"))
    return cards


def _card(figure: str, text: str) -> dict[str, str]:
    return {"figure": figure, "text": text}


def _defended(panel: Panel) -> list[tuple[Finding, Finding]]:
    """Without and with each defense of a panel, where both were run with the same seeds."""
    bare = [finding for value, finding in panel.points if value == "none"]
    return [
        (bare[0], found) for value, found in panel.points if bare and value != "none" and found.seeds == bare[0].seeds
    ]


def _holds_half(auc: Estimate) -> bool:
    return auc.low is not None and auc.high is not None and auc.low <= 0.5 <= auc.high


# ---------------------------------------------------------------- the rest


def _exposed(audited: Sequence[Finding]) -> pd.DataFrame:
    """The deleted records with the highest scores under the strongest undefended attack, first seed."""
    names = ["data", "record", "sample set", "request", "score"]
    if not audited:
        return pd.DataFrame(columns=names)
    best = max(audited, key=strength)
    table = read_scores(best.folders[0])
    found = table[table["member"] == 1].nlargest(_MOST_EXPOSED, best.chosen[0])
    rows = [
        [
            data_label(best.settings),
            int(row["record"]),
            int(row["set"]),
            int(row["request"]),
            f"{row[best.chosen[0]]:.3f}",
        ]
        for _, row in found.iterrows()
    ]
    return pd.DataFrame(rows, columns=names)


def _runs(findings: Sequence[Finding]) -> pd.DataFrame:
    rows = []
    for finding in findings:
        for run in finding.runs:
            shown = {name: value for name, value in run.settings.items() if value is not None}
            rows.append(
                {
                    "run": run.folder.name,
                    "date": run.made.get("date", "unknown"),
                    "version": run.made.get("version", "unknown"),
                    "data digest": str(run.made.get("data", "unknown"))[:16],
                    "command": run.made.get("command", "unknown"),
                    "settings": ", ".join(f"{name} {value}" for name, value in shown.items()),
                }
            )
    return pd.DataFrame(rows)


def _unfinished(unfinished: Sequence[tuple[Path, dict[str, Any]]]) -> pd.DataFrame:
    rows = [
        [folder.name, *(str(about.get(name)) for name in ("original_model", "unlearning_method", "seed"))]
        for folder, about in unfinished
    ]
    return pd.DataFrame(rows, columns=["folder", "target", "method", "seed"])

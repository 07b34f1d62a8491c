"""The report as one self-contained HTML page: no scripts, no outside links; light, dark, phone and paper."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lib_unlearning.construct_feature import BASELINE
from lib_unlearning.reporting.archive import CHOSEN, Finding, over_common_seeds, paired_between, read_scores
from lib_unlearning.reporting.claims import Verdict
from lib_unlearning.reporting.comparisons import (
    Comparison,
    Panel,
    alike_but_for,
    data_label,
    defense_label,
    is_open,
    is_papers,
    model_label,
    same_data,
    same_model,
    sees_all,
)
from lib_unlearning.reporting.tables import all_attacks, batch_plan, descriptions, panel_table
from lib_unlearning.run_files import EXPOSED
from lib_unlearning.statistics.intervals import Estimate
from lib_unlearning.statistics.privacy import FALSE_DISCOVERIES
from lib_unlearning.statistics.verdict import MARGIN
from lib_unlearning.wording import listed, plural, with_interval

_TEMPLATES = Path(__file__).with_name("templates")
_TITLE = "When a model forgets a record, who can tell?"
_MOST_EXPOSED = 10
_TWINS = ("samples_to_evaluate", "attacks")  # in what settings may differ that tell of the same deletions
_NO_AUDIT = (
    "No deletion from an undefended model, asked about by an adversary who has the target's kind of data and family "
    "and sees both versions, is among these results."
)


@dataclass(frozen=True)
class Figure:
    """A figure as an SVG element, with its caption."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A comparison that has results: its panels, as found and as shown (see `Comparison.shown`), its figures, and the
    AUC that larger requests shall stay under."""

    name: str
    comparison: Comparison
    panels: list[Panel]
    shown: list[Panel]
    figures: list[Figure]
    limit: float

    @property
    def lesson(self) -> str:
        """What the paper says of it, where its data sets are among the panels."""
        kinds = {is_papers(finding.settings) for panel in self.panels for _, finding in panel.points}
        if kinds == {True} or not self.comparison.lesson.startswith("The paper"):
            return self.comparison.lesson
        return f"{self.comparison.lesson} Own tables among these are not judged by it." if True in kinds else ""

    @property
    def tables(self) -> list[dict[str, Any]]:
        """Title and data frame of each panel."""
        return [
            {"title": told, "frame": panel_table(panel), "plan": batch_plan(panel, self.limit)}
            for panel, told in zip(self.shown, descriptions(self.shown), strict=True)
        ]


def strength(finding: Finding) -> float:
    """AUC of the attack that the shadow side chose."""
    return finding.features[CHOSEN]["auc"].estimate.value


def shown(finding: Finding) -> float:
    """What is shown of that AUC: the lower end of its interval; without one, nothing."""
    return finding.features[CHOSEN]["auc"].estimate.low or 0.0


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
    judged = audited(findings)
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    runs = sum(len(finding.runs) for finding in findings)
    exposed, tied = _exposed(judged)
    return environment.get_template("report.html").render(
        title=_TITLE,
        css=(_TEMPLATES / "report.css").read_text(encoding="utf-8"),
        scope=_scope(findings),
        verdict=" ".join(filter(None, [headline(judged), _twins_of(findings, judged)])),
        cards=_cards(_judged(judged), sections),
        sections=sections,
        verdicts=verdicts,
        details=details,
        exposed=exposed,
        tied=tied,
        over=_over(findings),
        attacks=all_attacks(findings),
        rows=plural(len(findings), "row"),
        unfinished=unfinished,
        unfinished_table=_unfinished(unfinished),
        runs=_runs(findings),
        count=plural(runs, "run"),
    )


def _over(findings: Sequence[Finding]) -> str:
    """What intervals are over."""
    if all(len(finding.seeds) == 1 for finding in findings):
        return "sample sets"
    return "sample sets, and seeds where there are several (of the unlearned model alone: means over seeds)"


# ---------------------------------------------------------------- first screen


def _scope(findings: Sequence[Finding]) -> str:
    data = list(dict.fromkeys(data_label(finding.settings) for finding in findings))
    families = list(dict.fromkeys(str(finding.settings["original_model"]) for finding in findings))
    methods = list(dict.fromkeys(str(finding.settings["unlearning_method"]) for finding in findings))
    seeds = sorted({seed for finding in findings for seed in finding.seeds})
    runs = sum(len(finding.runs) for finding in findings)
    placebos = sum(bool(finding.settings["placebo"]) for finding in findings)
    controls = f" ({plural(placebos, 'placebo')} among them)" if placebos else ""
    return (
        f"Audited: deletions from {listed(families)} models by {listed(methods)}, trained on "
        f"{listed(data)}; {plural(len(findings), 'setting')}{controls}, {plural(runs, 'run')}, "
        f"{plural(sum(finding.cases for finding in findings), 'case')}, "
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}."
    )


def audited(findings: Sequence[Finding]) -> list[Finding]:
    """Deletions in undefended models, asked about by an adversary with the target's own kind of data and family, who
    sees both versions and knows labels.

    The same deletions count once: where today's attacks were run, the paper's alone do not count, and with one record a
    request intermediate versions are no setting apart.
    """
    found = [finding for finding in findings if _is_audit(finding.settings)]
    known = {_kind(finding.settings) for finding in found}
    return [finding for finding in found if not _is_twin(finding.settings, known)]


def _twins_of(findings: Sequence[Finding], judged: Sequence[Finding]) -> str:
    count = sum(_is_audit(finding.settings) for finding in findings) - len(judged)
    asks = "asks" if count == 1 else "ask"
    return f"{plural(count, 'more setting')} of the tables {asks} about deletions that count already." if count else ""


def _kind(settings: Mapping[str, Any]) -> tuple[str, str, str]:
    """What is asked about, by which attacks, and all else."""
    return settings["samples_to_evaluate"], settings["attacks"], alike_but_for(settings, *_TWINS)


def _is_audit(settings: dict[str, Any]) -> bool:
    known = same_data(settings) and same_model(settings) and is_open(settings) and sees_all(settings)
    return known and not settings["placebo"] and settings["samples_to_evaluate"] != "in_in"


def _is_twin(settings: Mapping[str, Any], known: Collection[tuple[str, str, str]]) -> bool:
    """Whether the same deletions are known without intermediate versions, or by more attacks."""
    asked, attacks, rest = _kind(settings)
    alone = asked == "in_out_multi_version" and settings["target_unlearning_num"] == 1
    questions = {asked, "in_out"} if alone else {asked}
    others = [(question, kind, rest) for question in questions for kind in {attacks, "all"}]
    return any(other in known for other in others if other != (asked, attacks, rest))


def _beats_classical(finding: Finding) -> bool:
    """Whether the chosen attack is shown to be better than the classical one."""
    gain = finding.features[CHOSEN]["auc_gain"].estimate
    return gain.low is not None and gain.low > 0


def headline(audited: Sequence[Finding]) -> str:
    """One sentence from all undefended settings."""
    if not audited:
        return f"{_NO_AUDIT} Hence no verdict."
    judged = _judged(audited)
    if not judged:
        return "So few separate sample sets allow no verdict: raise --target_set_num, or lower --target_set_size."
    aucs = [finding.features[CHOSEN]["auc"].estimate for finding in judged]
    leaks = sum((auc.low or 0.0) > MARGIN for auc in aucs)
    below = sum((auc.high or 1.0) < MARGIN for auc in aucs)
    whole = plural(len(judged), "undefended setting")
    silent = len(audited) - len(judged)
    rest = f" Of {silent} more, too few separate sample sets allow no verdict." if silent else ""
    found = max(judged, key=shown)
    clearest = (
        f"{data_label(found.settings)}, {_target(found)}: AUC {with_interval(found.features[CHOSEN]['auc'].estimate)}"
    )
    if not leaks:
        open_ones = len(judged) - below
        undecided = f"; undecided in {open_ones}" if open_ones else ""
        none = f"No deletion is shown to be visible (AUC above {MARGIN:g}) in {whole}"
        return f"{none}{undecided}; clearest, {clearest}.{rest}"
    ahead = sum(map(_beats_classical, judged))
    classical = found.features[BASELINE]["auc"].estimate.value
    return (
        f"Deletions are visible (AUC above {MARGIN:g}) in {leaks} of {whole}, undecided in "
        f"{len(judged) - leaks - below}, below that in {below}; in {ahead} the attack is shown to beat the classical "
        f"one. Clearest, {clearest}, the classical attack {classical:.3f}.{rest}"
    )


def _judged(audited: Sequence[Finding]) -> list[Finding]:
    """Those whose sets allow an interval, and so a verdict."""
    return [finding for finding in audited if finding.features[CHOSEN]["auc"].estimate.low is not None]


def _target(finding: Finding) -> str:
    return f"{model_label(finding.settings)}, unlearned by {finding.settings['unlearning_method']}"


def _cards(audited: Sequence[Finding], sections: Sequence[Section]) -> list[dict[str, str]]:
    cards = []
    if audited:
        best = max(audited, key=shown)
        where = f"{data_label(best.settings)}, {_target(best)}"
        told = f"clearest attack: {best.usual_choice} with {best.settings['attack_model']}, {where}"
        cards.append(_card(with_interval(best.features[CHOSEN]["auc"].estimate), told))
        ahead = sum(map(_beats_classical, audited))
        told = "undefended settings in which the attack is shown to beat the classical one"
        cards.append(_card(f"{ahead} of {len(audited)}", told))
    panels = {section.name: section.panels for section in sections}
    cards += _best_defense([pair for panel in panels.get("defense", []) for pair in _defended(panel)])
    placebo = [finding for panel in panels.get("placebo", []) for _, finding in panel.points]
    if placebo:
        held = sum(_holds_half(finding.features[CHOSEN]["auc"].estimate) for finding in placebo)
        cards.append(_card(f"{held} of {len(placebo)}", "placebo intervals that hold 0.5"))
    return cards


def _best_defense(pairs: Sequence[tuple[Finding, Finding]]) -> list[dict[str, str]]:
    """The defense that is shown to take most off, if any is."""
    found = [(paired_between(bare, after).estimate, bare, after) for bare, after in pairs]
    found = [pair for pair in found if (pair[0].low or 0.0) > 0]
    if not found:
        return []
    less, before, after = max(found, key=lambda pair: pair[0].value)
    told = f"defense that takes most off, {with_interval(less)}: {defense_label(after.settings)}, "
    told += f"{data_label(after.settings)}, {_target(after)}"
    if "sigma" in after.settings:  # what is published of a model does not change the model
        cost = before.outcomes["original_held_out_accuracy"] - after.outcomes["original_held_out_accuracy"]
        told += f"; accuracy {round(-100 * cost, 1) + 0.0:+.1f} points"
    return [_card(f"{strength(before):.2f} to {strength(after):.2f}", told)]


def _card(figure: str, text: str) -> dict[str, str]:
    return {"figure": figure, "text": text}


def _defended(panel: Panel) -> list[tuple[Finding, Finding]]:
    """Without and with each defense of a panel, over the seeds that both were run with."""
    bare = [finding for value, finding in panel.points if value == "none"]
    pairs = [over_common_seeds([bare[0], found]) for value, found in panel.points if bare and value != "none"]
    return [(pair[0], pair[1]) for pair in pairs if pair]


def _holds_half(auc: Estimate) -> bool:
    return auc.low is not None and auc.high is not None and auc.low <= 0.5 <= auc.high


# ---------------------------------------------------------------- the rest


def _exposed(audited: Sequence[Finding]) -> tuple[pd.DataFrame, str]:
    """The deleted records that stand out under the strongest undefended attack, first seed, and a sentence on them."""
    names = ["data", "record", "sample set", "request", "score"]
    nobody = pd.DataFrame(columns=names)
    if not audited:
        return nobody, _NO_AUDIT
    best = max(audited, key=shown)
    attack, table = best.chosen[0], read_scores(best.folders[0])
    where = f"{data_label(best.settings)}, {_target(best)}, {attack}, seed {best.seeds[0]}"
    level = f"at a false discovery rate of {FALSE_DISCOVERIES:.0%}"
    if table[EXPOSED].isna().any():
        return nobody, f"Single records cannot be judged {level} ({where}); the console of the run says why."
    out = table[table[EXPOSED] == 1]
    deleted = out[out["member"] == 1]
    told = f"{plural(len(deleted), 'deleted record')} and {plural(len(out) - len(deleted), 'stranger')} stand out"
    told += f" {level} ({where})."
    found = deleted.nlargest(_MOST_EXPOSED, attack)
    rows = [
        [data_label(best.settings), int(row["record"]), int(row["set"]), int(row["request"]), f"{row[attack]:.3f}"]
        for _, row in found.iterrows()
    ]
    more = len(deleted) - len(found)
    return pd.DataFrame(rows, columns=names), f"{told} The first {len(found)} are shown." if more else told


def _runs(findings: Sequence[Finding]) -> pd.DataFrame:
    rows = []
    for finding in findings:
        for run in finding.runs:
            given = {name: value for name, value in run.settings.items() if value is not None}
            rows.append(
                {
                    "run": run.folder.name,
                    "date": run.made.get("date", "unknown"),
                    "version": run.made.get("version", "unknown"),
                    "data digest": str(run.made.get("data", "unknown"))[:16],
                    "command": run.made.get("command", "unknown"),
                    "settings": ", ".join(f"{name} {value}" for name, value in given.items()),
                }
            )
    return pd.DataFrame(rows)


def _unfinished(unfinished: Sequence[tuple[Path, dict[str, Any]]]) -> pd.DataFrame:
    rows = [
        [folder.name, *(str(about.get(name)) for name in ("original_model", "unlearning_method", "seed"))]
        for folder, about in unfinished
    ]
    return pd.DataFrame(rows, columns=["folder", "target", "method", "seed"])

"""Tables of the comparisons: one for people (Markdown and the page), one for programs (CSV, a row a feature)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lib_unlearning.construct_feature import BASELINE
from lib_unlearning.reporting.archive import CHOSEN, Finding, holm_corrected
from lib_unlearning.reporting.claims import Verdict
from lib_unlearning.reporting.comparisons import (
    REQUEST_SIZE,
    Panel,
    Settings,
    budget_label,
    data_label,
    defense_label,
    differences,
    model_label,
    usual_budget,
)
from lib_unlearning.reporting.figures import main_panels, panel_seeds, panel_title, titles
from lib_unlearning.run_files import METRICS, OUTCOMES
from lib_unlearning.statistics.intervals import OVERLAP, Estimate
from lib_unlearning.statistics.metrics import TPR_NAMES
from lib_unlearning.statistics.planner import smallest_batch
from lib_unlearning.terminal import fitted, table_lines
from lib_unlearning.wording import with_interval

_PARTS = ("value", "low", "high", "error")
_CURVE = 2  # points that a plan needs
_SIZES = ("target_set_num", "target_set_size", "target_unlearning_size")  # that the description of a panel says


def _auc(finding: Finding, feature: str) -> str:
    return with_interval(finding.features[feature]["auc"].estimate) if feature in finding.features else "-"


_LAST_TO_GO = ("chosen on shadow data", "classical", "gain", "p (Holm)", "TPR at 1 % FPR")


def panel_table(panel: Panel) -> pd.DataFrame:
    """A panel for people: a row a point; what the chosen attack gives, then the AUC of every other.

    P-values are corrected over all features of the panel by Holm; where seeds chose different features there is none.
    """
    findings = [finding for _, finding in panel.points]
    others = dict.fromkeys(name for found in findings for name in found.features if name not in (CHOSEN, BASELINE))
    spent = any("sigma" in finding.settings for finding in findings)
    rows = []
    for (value, finding), corrected in zip(panel.points, holm_corrected(findings), strict=True):
        chosen, outcomes = finding.features[CHOSEN], finding.outcomes
        tpr = chosen.get(TPR_NAMES[0.01])
        row = {
            panel.axis.label: position(value),
            "chosen on shadow data": _auc(finding, CHOSEN),
            "classical": _auc(finding, BASELINE),
            **{name: _auc(finding, name) for name in others},
            "gain": with_interval(chosen["auc_gain"].estimate, "+"),
            "p (Holm)": corrected[CHOSEN].told if CHOSEN in corrected else "-",
            "TPR at 1 % FPR": "not resolvable" if tpr is None else with_interval(tpr.estimate),
            "DegCount": f"{chosen['deg_count'].estimate.value:.3f}",
            "DegRate": f"{chosen['deg_rate'].estimate.value:+.3f}",
            "unlearned model alone": _alone(finding),
            "original's accuracy, training / held out": f"{outcomes['original_training_accuracy']:.3f} / "
            f"{outcomes['original_held_out_accuracy']:.3f}",
        }
        if spent:
            row["epsilon"] = epsilon_text(finding)
        if len({tuple(found.seeds) for found in findings}) > 1:
            row["seeds"] = ", ".join(map(str, finding.seeds))
        rows.append(row)
    return pd.DataFrame(rows)


def _alone(finding: Finding) -> str:
    """AUC on the unlearned model alone; over seeds, means of values and of the ends of intervals."""
    value, low, high = (finding.outcomes[f"still_there_auc{end}"] for end in ("", "_low", "_high"))
    return with_interval(Estimate(value, low, high, None))


def epsilon_text(finding: Finding) -> str:
    """What DP-SGD spent at most: a number, "unbounded", or "no DP-SGD"."""
    if finding.outcomes["epsilon"] is not None:
        return f"{finding.outcomes['epsilon']:.3g}"
    return "unbounded" if "sigma" in finding.settings else "no DP-SGD"


def position(value: Any) -> str:
    """A point of an axis as text."""
    return f"{value[0]} -> {value[1]}" if isinstance(value, tuple) else str(value)


def markdown(table: pd.DataFrame) -> str:
    """A Markdown table."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.fillna("").astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def comparison_markdown(title: str, found: Sequence[Panel], limit: float) -> str:
    """All panels of a comparison as Markdown, each with a heading that says what it holds.

    `limit` is the AUC that larger requests shall stay under (see `batch_plan`).
    """
    parts = [f"# {title}"]
    for panel, told in zip(found, descriptions(found), strict=True):
        plan = batch_plan(panel, limit)
        parts += [f"## {told}", markdown(panel_table(panel)), *([plan] if plan else [])]
    return "\n\n".join(parts) + "\n"


def comparison_lines(title: str, found: Sequence[Panel], limit: float, width: int | None, where: Path) -> list[str]:
    """The same for a terminal: columns that do not fit its width are left out; `where` is the file that has them."""
    lines = [title]
    for panel, told in zip(found, descriptions(found), strict=True):
        table, plan = panel_table(panel).fillna("").astype(str), batch_plan(panel, limit)
        first, *others = table.columns
        # What a verdict needs stays longest.
        columns = {name: table[name].tolist() for name in sorted(others, key=lambda name: name not in _LAST_TO_GO)}
        lines += ["", fitted(told, width), ""]
        lines += table_lines({first: table[first].tolist()}, columns, width, where.name)
        lines += ["", fitted(plan, width)] if plan else []
    return lines


def batch_plan(panel: Panel, limit: float) -> str | None:
    """How many records to delete together to stay under an AUC, from a panel over the size of a request."""
    together = panel.settings.get("samples_to_evaluate") == "in_out"  # all of a request, with nothing in their place
    if panel.axis.free[0] != REQUEST_SIZE or not together or len(panel.points) < _CURVE:
        return None
    sizes = [int(value) for value, _ in panel.points]
    aucs = [finding.features[CHOSEN]["auc"].estimate for _, finding in panel.points]
    found = smallest_batch(sizes, aucs, limit)
    if found.size is None:
        told = f"by the values measured none of the sizes (up to {sizes[-1]:,}) stays under an AUC of {limit:g}"
    elif sizes[0] == found.size:
        told = f"by the values measured already {sizes[0]:,}, the smallest, stays under an AUC of {limit:g}"
    else:
        told = f"by the values measured {found.size:,} together stay under an AUC of {limit:g}"
    if any(auc.low is None or auc.high is None for auc in aucs):
        return f"Batch planner: {told}; there are no intervals."
    if found.high is not None:
        sure = f"{found.high:,} do" if found.high > sizes[0] else f"already {sizes[0]:,} do"
    else:
        sure = f"no size up to {sizes[-1]:,} is shown to"
    least = _shown_not_to(sizes, aucs, limit, found.low)
    return f"Batch planner: {told}; by the intervals {sure}{f', {least}' if least else ''}."


def _shown_not_to(sizes: list[int], aucs: list[Estimate], limit: float, crossing: int | None) -> str:
    """Which sizes do not stay under a limit, as even the lower ends of their intervals show."""
    above = [size for size, auc in zip(sizes, aucs, strict=True) if auc.low is not None and auc.low > limit]
    if not above:
        return ""
    if above == sizes:
        return "all of them are shown not to"
    if crossing is not None and above == sizes[: len(above)]:
        return f"fewer than {crossing:,} are shown not to"
    return f"{' and '.join(f'{size:,}' for size in above)} {'is' if len(above) == 1 else 'are'} shown not to"


def short_markdown(found: Sequence[Panel]) -> str:
    """One table an axis: a row a point, a column a panel, the chosen attack's AUC with interval (classical attack).

    Small panels, by-products of other sweeps, are left to the full tables.
    """
    parts = []
    for axis in dict.fromkeys(panel.axis for panel in found):
        columns = sorted((panel for panel in main_panels(found) if panel.axis is axis), key=panel_title)
        cells = pd.DataFrame(
            [
                (value, title, f"{_auc(finding, CHOSEN)} ({finding.features[BASELINE]['auc'].estimate.value:.2f})")
                for panel, title in zip(columns, titles(columns), strict=True)
                for value, finding in panel.points
            ],
            columns=["point", "panel", "cell"],
        )
        order = list(dict.fromkeys(cells["point"]))
        order.sort() if all(isinstance(value, int) for value in order) else None
        wide = cells.pivot(index="point", columns="panel", values="cell").reindex(order)[titles(columns)]
        wide.insert(0, axis.label, [position(value) for value in order])
        parts.append(markdown(wide))
    return "\n\n".join(parts) + "\n"


def claims_markdown(verdicts: Sequence[Verdict]) -> str:
    """A row a claim."""
    rows = [[verdict.claim, f"**{verdict.verdict}**", verdict.measured, verdict.today] for verdict in verdicts]
    return markdown(pd.DataFrame(rows, columns=["claim of the paper", "here", "measured", "today's attacker"])) + "\n"


def descriptions(found: Sequence[Panel]) -> list[str]:
    """What all points of each panel share, sizes and seeds included."""
    return [_described(panel, title) for panel, title in zip(found, titles(found, (*_SIZES, "seeds")), strict=True)]


def _described(panel: Panel, title: str) -> str:
    settings, findings = panel.settings, [finding for _, finding in panel.points]
    words = [title]
    if all(name in settings for name in _SIZES):
        words.append(
            f"{settings['target_set_num']} target sets of {settings['target_set_size']:,} records, "
            f"{settings['target_unlearning_size']} requests each"
        )
    overlap = max(finding.overlap for finding in findings)
    if overlap > OVERLAP:
        words.append(f"two sets share up to {overlap:.0%} of their records, so intervals are wider or not given")
    words.append(panel_seeds(panel))
    return "; ".join(filter(None, words))


def comparison_csv(found: Sequence[Panel]) -> str:
    """A row a finding and feature: settings, outcomes, every metric with interval and error, corrected p-value."""
    rows = []
    for number, panel in enumerate(found):
        corrections = holm_corrected([finding for _, finding in panel.points])
        for (value, finding), corrected in zip(panel.points, corrections, strict=True):
            fixed = {"panel": number, "point": position(value), "seeds": " ".join(map(str, finding.seeds))}
            for feature, metrics in finding.features.items():
                measured = {
                    f"{metric}_{part}": getattr(metrics[metric].estimate, part) if metric in metrics else None
                    for metric in METRICS
                    for part in _PARTS
                }
                named = {
                    "feature": feature,
                    **measured,
                    "p_holm": corrected[feature].value if feature in corrected else None,
                }
                rows.append({**fixed, **finding.settings, **finding.outcomes, **named})
    table = pd.DataFrame(rows)
    last = ["feature", *(f"{metric}_{part}" for metric in METRICS for part in _PARTS), "p_holm"]
    first = [name for name in table.columns if name not in (*OUTCOMES, *last)]
    text: str = table[[*first, *OUTCOMES, *last]].round(6).to_csv(index=False)
    return text


def all_attacks(findings: Sequence[Finding]) -> pd.DataFrame:
    """Every finding in a row, the strongest first; what else tells rows apart stands in a column of its own."""
    strongest = sorted(findings, key=lambda found: -found.features[CHOSEN]["auc"].estimate.value)
    ranked = [(found, _named(found)) for found in strongest]
    alike: dict[tuple[str, ...], list[Settings]] = {}
    for found, names in ranked:
        alike.setdefault(tuple(names.values()), []).append(found.settings)
    apart = [differences(found.settings, alike[tuple(names.values())]) for found, names in ranked]
    rows = []
    for (found, names), words in zip(ranked, apart, strict=True):
        data, *others = names
        measured = {"chosen, AUC": _auc(found, CHOSEN), "classical, AUC": _auc(found, BASELINE)}
        more = {"apart by": words} if any(apart) else {}
        seeds = {"seeds": ", ".join(map(str, found.seeds))}
        rows.append({data: names[data]} | measured | {name: names[name] for name in others} | more | seeds)
    return pd.DataFrame(rows)


def _named(found: Finding) -> dict[str, str]:
    """What a row says of a finding's settings."""
    settings = found.settings
    return {
        "data": data_label(settings) + (" (placebo)" if settings["placebo"] else ""),
        "target": model_label(settings),
        "method": settings["unlearning_method"],
        "question": settings["samples_to_evaluate"],
        "attack": settings["attack_model"],
        "defense": defense_label(settings),
        "adversary": "usual" if usual_budget(settings) else budget_label(settings),
        "sets": f"{settings['target_set_num']} x {settings['target_set_size']:,}",
        "cases": f"{found.cases:,}",
    }

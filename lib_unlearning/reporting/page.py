"""The report as one self-contained HTML page: no scripts, no outside links; light, dark, phone and paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from lib_unlearning.construct_feature import BASELINE
from lib_unlearning.reporting.archive import CHOSEN, Finding, with_interval
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
from lib_unlearning.reporting.tables import describe, panel_rows

_CSS = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --card: #f6f8fa; --line: #d0d7de;
  --accent: #b14a00; --good: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9ea7b3; --paper: #0d1117; --card: #161b22;
  --line: #30363d; --accent: #ffa657; --good: #56d364; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; } h2 { margin: 3rem 0 .2rem; font-size: 1.3rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; } p { margin: .4rem 0; } .soft { color: var(--soft); }
.verdict { font-size: 1.2rem; border-left: .35rem solid var(--accent); padding: .2rem 0 .2rem 1rem; margin: 1.2rem 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13.5rem, 1fr)); gap: .8rem; margin: 1.2rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem 1rem; }
.card b { display: block; font-size: 1.3rem; white-space: nowrap; line-height: 1.3; }
.card span { color: var(--soft); font-size: .88rem; }
figure { margin: 1rem 0; } figure svg { width: 100%; height: auto; color: var(--ink); display: block; }
figcaption { color: var(--soft); font-size: .88rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .5rem; }
table { border-collapse: collapse; font-size: .82rem; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line); }
td.text { white-space: normal; min-width: 14rem; }
tr:last-child td { border-bottom: 0; } th { background: var(--card); font-weight: 600; }
td:first-child, th:first-child { position: sticky; left: 0; background: var(--card); }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--soft); }
nav { columns: 2 14rem; margin: 1rem 0; padding: 0; } nav a { display: block; color: inherit; }
.holds { color: var(--good); font-weight: 600; } .fails { color: var(--accent); font-weight: 600; }
@media print { body { max-width: none; font-size: 11px; } details > summary { display: none; } nav { display: none; }
  figure, .card { break-inside: avoid; } figure svg { max-height: 23cm; }
  .scroll { overflow: visible; border: 0; } table { font-size: 7px; }
  th, td { padding: .15rem .25rem; white-space: normal; } h2 { break-after: avoid; } }
"""


@dataclass(frozen=True)
class Section:
    """A comparison that has results: its panels and its figures, each an SVG element and a caption."""

    name: str
    comparison: Comparison
    panels: list[Panel]
    figures: list[tuple[str, str]]


def strength(finding: Finding) -> float:
    """AUC of the attack that the shadow side chose."""
    return finding.features[CHOSEN]["auc"].estimate.value


def render(
    findings: Sequence[Finding],
    sections: Sequence[Section],
    verdicts: Sequence[Verdict],
    details: Sequence[tuple[str, str]],
    unfinished: Sequence[tuple[Path, dict[str, Any]]],
) -> str:
    """The whole page.

    Args:
        findings: all attacks, combined over seeds.
        verdicts: on the paper's claims.
        details: (SVG element, caption) of single findings.
        unfinished: folder and settings of runs that began and did not end.
    """
    links = [(section.name, section.comparison.title) for section in sections]
    links += [("claims", "The paper's claims")] if verdicts else []
    links += [("curves", "ROC curves and scores"), ("all", "All attacks")]
    body = [
        _first_screen(findings, sections),
        f"<nav>{''.join(_link(*link) for link in links)}</nav>",
        *(_section(section) for section in sections),
        _claims(verdicts),
        _details(details),
        _all(findings),
        _unfinished(unfinished),
    ]
    title = "When a model forgets a record, who can tell?"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_CSS}</style>\n</head>\n<body>\n{''.join(body)}\n</body>\n</html>\n"
    )


def _link(name: str, title: str) -> str:
    return f"<a href='#{name}'>{escape(title)}</a>"


# ---------------------------------------------------------------- first screen


def _first_screen(findings: Sequence[Finding], sections: Sequence[Section]) -> str:
    audited = [finding for finding in findings if _is_audit(finding)]
    data = list(dict.fromkeys(data_label(finding.settings) for finding in findings))
    families = list(dict.fromkeys(str(finding.settings["original_model"]) for finding in findings))
    methods = list(dict.fromkeys(str(finding.settings["unlearning_method"]) for finding in findings))
    seeds = sorted({seed for finding in findings for seed in finding.seeds})
    cases = sum(finding.outcomes["positives"] + finding.outcomes["negatives"] for finding in findings)
    what = (
        f"Audited: deletions from {', '.join(families)} models by {' and '.join(methods)}, "
        f"trained on {', '.join(data)}; "
        f"{len(findings)} attacks, {cases:,} cases, seeds {', '.join(map(str, seeds))}."
    )
    cards = _cards(audited, sections)
    return (
        f"<h1>When a model forgets a record, who can tell?</h1><p class='soft'>{escape(what)}</p>"
        f"<p class='verdict'>{escape(_verdict(audited))}</p>"
        f"<div class='cards'>{''.join(_card(*card) for card in cards)}</div>"
        "<p class='soft'>AUC 0.5 is guessing, 1.0 is certainty. Intervals are 95 %, over seeds and sample sets. The "
        "feature of each attack was chosen on shadow data, never by its result; that an attack is the strongest of "
        "many flatters it all the same.</p>"
    )


def _is_audit(finding: Finding) -> bool:
    """A deletion in an undefended model, asked about by an adversary with the target's own kind of data."""
    settings = finding.settings
    known = same_data(settings) and same_model(settings) and is_open(settings)
    return known and not settings["placebo"] and settings["samples_to_evaluate"] != "in_in"


def _verdict(audited: Sequence[Finding]) -> str:
    if not audited:
        return "No attack on an undefended model is among these results, hence no verdict."
    found = max(audited, key=strength)
    auc, gain = found.features[CHOSEN]["auc"].estimate, found.features[CHOSEN]["auc_gain"].estimate
    figures = (
        f"AUC {with_interval(auc, '.3f')}, the classical attack {found.features[BASELINE]['auc'].estimate.value:.3f}"
    )
    where = f"{data_label(found.settings)}, {_target(found)}"
    if gain.low is None:
        return f"One sample set and one seed allow no verdict ({where}: {figures})."
    if gain.low <= 0:
        return f"No attack here tells deleted records better than the classical one ({where}: {figures})."
    return f"Unlearning gives deleted records away: at worst ({where}) {figures}."


def _target(finding: Finding) -> str:
    return f"{model_label(finding.settings)} unlearned by {finding.settings['unlearning_method']}"


def _cards(audited: Sequence[Finding], sections: Sequence[Section]) -> list[tuple[str, str]]:
    cards = []
    if audited:
        best = max(audited, key=strength)
        auc = best.features[CHOSEN]["auc"].estimate
        settings = best.settings
        cards.append(
            (
                with_interval(auc, ".2f"),
                f"strongest attack: {best.usual_choice} with {settings['attack_model']}, "
                f"{data_label(settings)}, {_target(best)}",
            )
        )
        ahead = [found for found in audited if (found.features[CHOSEN]["auc_gain"].estimate.low or 0) > 0]
        cards.append((f"{len(ahead)} of {len(audited)}", "undefended settings in which it beats the classical attack"))
    defended = _best_defense(sections)
    if defended is not None:
        before, after, name = defended
        cards.append(
            (f"{strength(before):.2f} → {strength(after):.2f}", f"best defense: {name}, {_cost(before, after)}")
        )
    placebo = [panel for section in sections if section.name == "placebo" for panel in section.panels]
    inside = [_holds_half(finding) for panel in placebo for _, finding in panel.points]
    if inside:
        cards.append((f"{sum(inside)} of {len(inside)}", "placebo intervals that hold 0.5 (about 95 in 100 must)"))
    return cards


def _best_defense(sections: Sequence[Section]) -> tuple[Finding, Finding, str] | None:
    """Finding without and with the defense that takes most from an attack."""
    pairs = [
        (bare, finding, str(name))
        for section in sections
        if section.name == "defense"
        for panel in section.panels
        for bare in (found for name, found in panel.points if name == "none")
        for name, finding in panel.points
        if name != "none"
    ]
    return max(pairs, key=lambda pair: strength(pair[0]) - strength(pair[1]), default=None)


def _cost(before: Finding, after: Finding) -> str:
    name = "unlearned_held_out_accuracy"
    lost = before.outcomes[name] - after.outcomes[name]
    return f"{data_label(after.settings)}, {_target(after)}; it costs {100 * lost:.1f} points of accuracy"


def _holds_half(finding: Finding) -> bool:
    auc = finding.features[CHOSEN]["auc"].estimate
    return auc.low is not None and auc.high is not None and auc.low <= 0.5 <= auc.high


def _card(figure: str, text: str) -> str:
    return f"<div class='card'><b>{escape(figure)}</b><span>{escape(text)}</span></div>"


# ---------------------------------------------------------------- the rest


def _section(section: Section) -> str:
    tables = [f"<h3>{escape(describe(panel))}</h3>{_table(*panel_rows(panel))}" for panel in section.panels]
    return (
        f"<h2 id='{section.name}'>{escape(section.comparison.title)}</h2><p>{escape(section.comparison.lesson)}</p>"
        f"{''.join(_figure(*shown) for shown in section.figures)}"
        f"<details open><summary>Tables</summary>{''.join(tables)}</details>"
    )


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _claims(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    rows = "".join(
        f"<tr><td>{escape(found.claim)}</td><td class='{_tone(found)}'>{escape(found.verdict)}</td>"
        f"<td class='text'>{escape(found.measured)}</td></tr>"
        for found in verdicts
    )
    return (
        "<h2 id='claims'>The paper's claims</h2><div class='scroll'><table><thead><tr><th>claim</th><th>here</th>"
        f"<th>measured</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _tone(found: Verdict) -> str:
    return {"holds": "holds", "does not hold": "fails"}.get(found.verdict, "soft")


def _details(details: Sequence[tuple[str, str]]) -> str:
    shown = "".join(_figure(svg, caption) for svg, caption in details)
    return "<h2 id='curves'>ROC curves and scores</h2><p>The strongest undefended attack on each data set.</p>" + shown


def _all(findings: Sequence[Finding]) -> str:
    header = [
        "data",
        "target",
        "method",
        "question",
        "attack",
        "defense",
        "chosen, AUC",
        "classical, AUC",
        "cases",
        "seeds",
    ]
    rows = [
        [
            data_label(found.settings) + (" (placebo)" if found.settings["placebo"] else ""),
            model_label(found.settings),
            found.settings["unlearning_method"],
            found.settings["samples_to_evaluate"],
            found.settings["attack_model"],
            defense_label(found.settings),
            with_interval(found.features[CHOSEN]["auc"].estimate, ".3f"),
            with_interval(found.features[BASELINE]["auc"].estimate, ".3f"),
            f"{found.outcomes['positives'] + found.outcomes['negatives']:,}",
            ", ".join(map(str, found.seeds)),
        ]
        for found in sorted(findings, key=strength, reverse=True)
    ]
    return f"<h2 id='all'>All attacks</h2><details><summary>{len(rows)} rows</summary>{_table(header, rows)}</details>"


def _unfinished(unfinished: Sequence[tuple[Path, dict[str, Any]]]) -> str:
    if not unfinished:
        return ""
    rows = [
        [folder.name, str(about.get("original_model")), str(about.get("unlearning_method")), str(about.get("seed"))]
        for folder, about in unfinished
    ]
    return (
        "<h2>Interrupted runs</h2><p>These began and did not end, or are still at work; nothing above counts them.</p>"
        + _table(["folder", "target", "method", "seed"], rows)
    )

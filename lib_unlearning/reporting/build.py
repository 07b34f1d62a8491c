"""The report's files: tables, figures, and the page that shows them."""

from __future__ import annotations

from pathlib import Path

from lib_unlearning.cache.files import file_name, write_text
from lib_unlearning.cache.layout import Layout
from lib_unlearning.errors import UserError
from lib_unlearning.reporting import archive, claims, curves, figures, page, style, tables
from lib_unlearning.reporting.comparisons import (
    COMPARISONS,
    OTHERS,
    Comparison,
    Panel,
    data_label,
    others,
    panels,
)
from lib_unlearning.reporting.page import Figure, Section
from lib_unlearning.terminal import say, terminal_width
from lib_unlearning.wording import plural


def build_report(layout: Layout, only: str | None, limit: float) -> None:
    """Write the report's folder and print what it shows.

    Args:
        limit: AUC that larger requests shall stay under; the batch planner says how large that is.
        only: one comparison, whose table and figure alone are written and printed; None for all of them and the page.

    Raises:
        UserError: there is no result that could be shown.
    """
    runs = archive.read_runs(layout.attack_data)
    if not runs:
        raise UserError(f"no results under {layout.attack_data}; run main.py --exp mem_inf first")
    findings = archive.combine_runs(runs)
    folder = layout.report
    if only is not None:
        found = panels(COMPARISONS[only], findings)
        if not found:
            raise UserError(f"--comparison {only}: no results that belong side by side; run scripts/{only}.sh first")
        found = COMPARISONS[only].shown(found)
        _write_files(folder, only, COMPARISONS[only], found, limit)
        where = folder / "tables" / f"{only}.md"
        print("\n".join(tables.comparison_lines(COMPARISONS[only].title, found, limit, terminal_width(), where)))
        say(f"Table and figure: {folder / 'tables' / only}.md, {folder / 'figures' / only}.png")
        return
    asked = {name: (comparison, panels(comparison, findings)) for name, comparison in COMPARISONS.items()}
    asked["others"] = (OTHERS, others(findings, [panel for _, found in asked.values() for panel in found]))
    sections = [
        _section(folder, name, comparison, found, limit) for name, (comparison, found) in asked.items() if found
    ]
    verdicts = claims.judge(findings)
    write_text(folder / "tables" / "claims.md", tables.claims_markdown(verdicts))
    write_text(folder / "tables" / "sentences.md", "".join(f"- {told}\n" for told in claims.sentences(findings)))
    unfinished = archive.read_unfinished(layout)
    whole = page.render(findings, sections, verdicts, _details(folder, findings), unfinished)
    write_text(folder / "report.html", whole)
    counted = sum(len(finding.runs) for finding in findings)
    told = f"{plural(counted, 'run')} in {plural(len(sections), 'comparison')}, {len(unfinished)} unfinished"
    say(f"{told}:\n{folder / 'report.html'}")


def _write_files(folder: Path, name: str, comparison: Comparison, found: list[Panel], limit: float) -> None:
    """A comparison's tables and figure; `found` as it is shown."""
    write_text(folder / "tables" / f"{name}.md", tables.comparison_markdown(comparison.title, found, limit))
    write_text(folder / "tables" / f"{name}_short.md", tables.short_markdown(found))
    write_text(folder / "tables" / f"{name}.csv", tables.comparison_csv(found))
    style.save(figures.draw(name, comparison, found), folder / "figures")


def _section(folder: Path, name: str, comparison: Comparison, found: list[Panel], limit: float) -> Section:
    as_shown = comparison.shown(found)
    _write_files(folder, name, comparison, as_shown, limit)
    drawings = figures.draw_panels(name, comparison, as_shown)
    drawings += figures.draw_trade("privacy_utility", as_shown) if name == "defense" else []
    shown = [Figure(style.inline_svg(drawing), drawing.caption) for drawing in drawings]
    return Section(name, comparison, found, as_shown, shown, limit)


def _details(folder: Path, findings: list[archive.Finding]) -> list[Figure]:
    """ROC curves and score histogram of each data set's clearest undefended setting, by the lower end of its AUC."""
    best: dict[str, archive.Finding] = {}
    for finding in page.audited(findings):
        name = file_name(data_label(finding.settings).replace(" / ", "-"))
        if name not in best or page.shown(finding) > page.shown(best[name]):
            best[name] = finding
    shown = []
    for name, finding in best.items():
        for kind, draw in (("roc", curves.roc_curves), ("scores", curves.histogram)):
            drawing = draw(f"{kind}_{name}", finding)
            shown.append(Figure(style.inline_svg(drawing), drawing.caption))
            style.save(drawing, folder / "figures")
    return shown

"""The report's files: tables, figures, and the page that shows them."""

from __future__ import annotations

from pathlib import Path

from lib_unlearning.cache.files import file_name, write_text
from lib_unlearning.cache.layout import Layout
from lib_unlearning.errors import UserError
from lib_unlearning.reporting import archive, claims, curves, figures, page, style, tables
from lib_unlearning.reporting.comparisons import COMPARISONS, Panel, is_open, panels
from lib_unlearning.reporting.page import Section


def build_report(layout: Layout, only: str | None) -> None:
    """Write the report's folder and print what it shows.

    Args:
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
        _write_tables(folder, only, found)
        _figures(folder, only, found)
        print(tables.comparison_markdown(COMPARISONS[only].title, found))
        print(f"Table and figure: {folder / 'tables' / only}.md, {folder / 'figures' / only}.png")
        return
    sections = [_section(folder, name, found) for name in COMPARISONS if (found := panels(COMPARISONS[name], findings))]
    verdicts = claims.judge(findings)
    write_text(folder / "tables" / "claims.md", tables.claims_markdown(verdicts))
    details = _details(folder, findings)
    unfinished = archive.read_unfinished(layout)
    write_text(folder / "report.html", page.render(findings, sections, verdicts, details, unfinished))
    print(f"{len(runs)} attacks in {len(sections)} comparisons, {len(unfinished)} unfinished: {folder / 'report.html'}")


def _write_tables(folder: Path, name: str, found: list[Panel]) -> None:
    write_text(folder / "tables" / f"{name}.md", tables.comparison_markdown(COMPARISONS[name].title, found))
    write_text(folder / "tables" / f"{name}_short.md", tables.short_markdown(found))
    write_text(folder / "tables" / f"{name}.csv", tables.comparison_csv(found))


def _section(folder: Path, name: str, found: list[Panel]) -> Section:
    _write_tables(folder, name, found)
    return Section(name, COMPARISONS[name], found, _figures(folder, name, found))


def _figures(folder: Path, name: str, found: list[Panel]) -> list[tuple[str, str]]:
    """Element and caption of each figure of a comparison, whose files are written."""
    drawings = [figures.draw(name, COMPARISONS[name], found)]
    if name == "defense" and (trade := figures.draw_trade("privacy_utility", found)) is not None:
        drawings.append(trade)
    return [(_kept(drawing, folder), drawing.caption) for drawing in drawings]


def _kept(drawing: style.Drawing, folder: Path) -> str:
    """Write a figure's files and return it as an element for the page."""
    style.save(drawing, folder / "figures")
    svg = style.inline_svg(drawing)
    style.close(drawing)
    return svg


def _details(folder: Path, findings: list[archive.Finding]) -> list[tuple[str, str]]:
    """ROC curves and score histogram (element, caption) of each data set's strongest undefended attack."""
    best: dict[str, archive.Finding] = {}
    for finding in findings:
        if not finding.settings["placebo"] and is_open(finding.settings):
            name = file_name(f"{finding.settings['dataset_name']}-{finding.settings['original_label']}")
            if name not in best or page.strength(finding) > page.strength(best[name]):
                best[name] = finding
    drawn = []
    for name, finding in best.items():
        for kind, draw in (("roc", curves.roc_curves), ("scores", curves.histogram)):
            drawing = draw(f"{kind}_{name}", finding)
            drawn.append((_kept(drawing, folder), drawing.caption))
    return drawn

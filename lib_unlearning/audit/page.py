"""An audit's page: one HTML file that reads on a phone and prints on A4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.audit.dossier import LIMITS, Dossier
from lib_unlearning.cache.files import write_text
from lib_unlearning.statistics.metrics import TPR_NAMES
from lib_unlearning.wording import with_interval

_TEMPLATES = Path(__file__).with_name("templates")
_STYLES = Path(__file__).parent.parent / "reporting" / "templates" / "report.css"
_MOST_SHOWN = 20
_TONES = {"equivalent": "holds", "below": "holds", "less": "holds", "leaks": "fails"}


def write_page(dossier: Dossier, path: Path, show_ids: bool) -> Path:
    """Write the page; records are named only where `show_ids` says so."""
    write_text(path, render(dossier, show_ids))
    return path


def render(dossier: Dossier, show_ids: bool) -> str:
    """The page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    found = dossier.examination
    return environment.get_template("audit.html").render(
        dossier=dossier,
        css=_STYLES.read_text(encoding="utf-8"),
        questions=[_question(question) for question in found.questions],
        compared=any(question.difference is not None for question in found.questions),
        attacks=[_attack(name, results, name == found.chosen) for name, results in found.results.items()],
        controls=found.controls,
        value=with_interval,
        tone=_TONES.get(found.verdict, "soft"),
        exposed=_exposed(dossier) if show_ids else None,
        exposed_of=int(found.exposed.sum()),
        limits=LIMITS,
        settings=sorted(dossier.settings.items()),
    )


def _question(question: Any) -> dict[str, str]:
    return {
        "asks": question.asks,
        "name": question.name,
        "measured": with_interval(question.measured),
        "reference": "" if question.reference is None else with_interval(question.reference),
        "difference": "" if question.difference is None else with_interval(question.difference, "+"),
        "verdict": f"{question.verdict} (margin {question.margin:g})",
        "tone": _TONES.get(question.verdict, "soft"),
    }


def _attack(name: str, results: Any, chosen: bool) -> dict[str, str]:
    tpr = results.get(TPR_NAMES[0.01])
    return {
        "name": f"{name} *" if chosen else name,
        "auc": with_interval(results["auc"]),
        "tpr": "not resolvable" if tpr is None else with_interval(tpr),
    }


def _exposed(dossier: Dossier) -> list[dict[str, Any]]:
    """The exposed records that the attack is surest of."""
    found, cases = dossier.examination, dossier.evidence.cases["target"]
    order = np.argsort(-found.scores, kind="stable")
    chosen = [number for number in order if found.exposed[number]][:_MOST_SHOWN]
    return [
        {"id": dossier.ids[i], "score": f"{found.scores[i]:.3f}", "truth": "deleted" if cases.member[i] else "stranger"}
        for i in chosen
    ]

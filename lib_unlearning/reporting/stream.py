"""A stream of deletions, one after another: what one of them leaks as others follow, what remaining records lose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lib_unlearning.cache.files import write_text
from lib_unlearning.construct_feature import BASELINE
from lib_unlearning.reporting.archive import CHOSEN, Run
from lib_unlearning.run_files import OUTCOMES, csv_text
from lib_unlearning.statistics.verdict import judge
from lib_unlearning.terminal import table_lines
from lib_unlearning.wording import with_interval

TABLE = "stream.csv"
_ACCURACIES = {
    "kept, accuracy before": "original_training_accuracy",
    "kept, after": "unlearned_training_accuracy",
    "held out, before": "original_held_out_accuracy",
    "held out, after": "unlearned_held_out_accuracy",
}
# What is asked after so many deletions: a record that was deleted on the way, and one that stays.
QUESTIONS = {"deleted": "in_out_multi_version", "remaining": "in_in"}


@dataclass(frozen=True)
class Step:
    """What was measured after so many deletions: question -> run, of `QUESTIONS`."""

    deletions: int
    runs: Mapping[str, Run]


def stream_lines(steps: Sequence[Step], margin: float, overlap: float, width: int | None) -> list[str]:
    """A table, a row a step, for a terminal of some width."""
    columns: dict[str, list[str]] = {
        title: []
        for title in (
            "a deleted record: AUC",
            "verdict",
            "classical",
            "a remaining record: AUC",
            "remaining, verdict",
            *_ACCURACIES,
        )
    }
    for step in steps:
        deleted, remaining = (step.runs[name] for name in QUESTIONS)
        cells = [
            with_interval(deleted.features[CHOSEN]["auc"]),
            _verdict(deleted, margin, overlap),
            f"{deleted.features[BASELINE]['auc'].value:.3f}",
            with_interval(remaining.features[CHOSEN]["auc"]),
            _verdict(remaining, margin, overlap),
            *(f"{deleted.outcomes[name]:.3f}" for name in _ACCURACIES.values()),
        ]
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(cell)
    return table_lines({"deletions": [f"{step.deletions:,}" for step in steps]}, columns, width, TABLE)


def _verdict(run: Run, margin: float, overlap: float) -> str:
    return judge(run.features[CHOSEN]["auc"], run.settings["target_set_num"], margin, overlap).verdict.value


def save_stream(steps: Sequence[Step], folder: Path) -> None:
    """Write `stream.csv`: a row a step and question."""
    header = ["deletions", "asked_about", "chosen", "auc", "auc_low", "auc_high", "auc_classical"]
    kinds = [name for name in OUTCOMES if name in _ACCURACIES.values()]
    rows = []
    for step in steps:
        for name, run in step.runs.items():
            auc = run.features[CHOSEN]["auc"]
            measured = [auc.value, auc.low, auc.high, run.features[BASELINE]["auc"].value]
            outcomes = [run.outcomes[kind] for kind in kinds]
            rows.append(
                [step.deletions, name, run.chosen, *("" if part is None else part for part in measured), *outcomes]
            )
    write_text(folder / TABLE, csv_text([*header, *kinds], rows))

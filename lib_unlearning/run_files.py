"""What one run leaves: names of folders, tidy rows, CSV and JSON that are equal for equal settings."""

from __future__ import annotations

import csv
import io
import json
import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning import __version__
from lib_unlearning.attacks.still_there import StillThere
from lib_unlearning.cache.files import digest, file_name, read_sealed, seal_folder, write_json, write_text
from lib_unlearning.errors import UserError
from lib_unlearning.exposed_records import Exposure
from lib_unlearning.posterior import Answers, PosteriorSet
from lib_unlearning.record_split import SampleSet, mean_overlap
from lib_unlearning.settings import Settings
from lib_unlearning.statistics.intervals import Estimate
from lib_unlearning.statistics.metrics import TPR_NAMES

Results = Mapping[str, Mapping[str, Estimate]]  # feature -> metric -> estimate

METRICS = (
    "auc",
    "accuracy",
    "balanced_accuracy",
    *TPR_NAMES.values(),
    "advantage",
    "deg_count",
    "deg_rate",
    "auc_gain",
)

# Files of a run.
RESULTS = "results.json"

SETTINGS = "settings.json"
TABLE = "results.csv"

THREE_CLASSES = "three_classes.json"

SCORES = "scores.csv"
_SEALED = (TABLE, RESULTS, SETTINGS, SCORES)

CURVES = "curves.csv"

TIMING = "timing.json"

EXPOSED = "exposed"  # column of the scores

# Suffix of a metric's column -> attribute of its estimate.
PARTS = {"": "value", "_low": "low", "_high": "high", "_se": "error"}

# Of the columns below, those that runs of earlier days lack.
ADDED = ("still_there_distance",)
# Columns of a row that are measured, not set; two runs that differ in nothing else but the seed are repetitions.
OUTCOMES = (
    "positives",
    "negatives",
    "original_training_accuracy",
    "original_held_out_accuracy",
    "unlearned_training_accuracy",
    "unlearned_held_out_accuracy",
    "set_overlap",
    "stranger_reuse",
    "still_there_auc",
    "still_there_auc_low",
    "still_there_auc_high",
    "still_there_retrained_auc",
    "still_there_efficacy_auc",
    "still_there_distance",
    "epsilon",
)


def answers_name(settings: Settings, *more: str) -> str:
    """Readable part of the names of files that belong to what the models were asked."""
    parts = [
        settings.named_by("dataset_name", "original_label", "original_model", joint="-"),
        settings.unlearning_method,
        settings.samples_to_evaluate,
        *more,
        f"seed{settings.seed}",
    ]
    return file_name("_".join([*parts, "placebo"] if settings.placebo else parts))


def description(settings: Settings, shaped_answers: Mapping[str, Any]) -> dict[str, Any]:
    """All settings that shape the result, and nothing that varies from run to run."""
    return {
        **shaped_answers,
        "attack_model": settings.attack_model,
        "attacks": settings.attacks,
        **({"answers_only": True} if settings.answers_only else {}),
        "top_k": settings.top_k,
        "temperature": settings.temperature,
        "round_digits": settings.round_digits,
        **({"defense": settings.defense} if settings.defense else {}),
        "budget": asdict(settings.budget),
        "sides": {side: asdict(part) for side, part in settings.sides.items()},
    }


def run_name(settings: Settings, described: Mapping[str, Any], kind: str = "") -> str:
    """Name of a run's folder: readable, and complete by a digest; `kind` where it is no attack."""
    named = f"{answers_name(settings, settings.attack_model)}-{digest(described)[:10]}"
    return f"{named}_{kind}" if kind else named


def made(stages: Sequence[Mapping[str, Any]], data: Mapping[str, str]) -> dict[str, Any]:
    """When, how long, by which command and version a run was made, on which data (digest a side)."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "version": __version__,
        "command": shlex.join(["python", *sys.argv]),
        "data": " ".join(dict.fromkeys(data.values())),
        "stages": list(stages),
    }


def _ends(estimate: Estimate) -> dict[str, float | None]:
    return {"": estimate.value, "_low": estimate.low, "_high": estimate.high}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


@dataclass(frozen=True)
class Sharing:
    """How much the target's sample sets and cases have in common.

    Attributes:
        overlap: mean share of records that two sample sets have in common.
        reuse: how often a stranger is asked about, on average.
    """

    overlap: float
    reuse: float


def sharing(sample_sets: Sequence[SampleSet], cases: PosteriorSet) -> Sharing:
    """What sample sets share, and how often negatives repeat."""
    strangers = np.unique(cases.record[cases.member == 0], return_counts=True)[1]
    return Sharing(mean_overlap(sample_sets), float(strangers.mean()))


def outcomes(answers: Answers, shared: Sharing, alone: StillThere) -> dict[str, Any]:
    """Measured columns that all rows share (see `OUTCOMES`); epsilon is the largest spent, None if unbounded."""
    utility = answers.utility
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on models that forgot all records that were asked about
        found = {
            f"{name}_{which}_accuracy": round(float(np.nanmean(part[..., column])), 6)
            for name, part in (("original", utility[:, :1]), ("unlearned", utility[:, 1:]))
            for column, which in enumerate(("training", "held_out"))
        }
    positives = int(answers.cases.member.sum())
    spent = utility[..., 2]
    return {
        "positives": positives,
        "negatives": len(answers.cases) - positives,
        **found,
        "set_overlap": round(shared.overlap, 4),
        "stranger_reuse": round(shared.reuse, 4),
        **{f"still_there_auc{suffix}": _rounded(value) for suffix, value in _ends(alone.alone).items()},
        "still_there_retrained_auc": None if alone.retrained is None else _rounded(alone.retrained.value),
        "still_there_efficacy_auc": None if alone.efficacy is None else _rounded(alone.efficacy.value),
        "still_there_distance": None if alone.distance is None else _rounded(alone.distance),
        "epsilon": round(float(np.nanmax(spent)), 4) if np.isfinite(np.nanmax(spent, initial=-np.inf)) else None,
    }


# What an attack gives on the shadow side, cross-fitted: columns `shadow_NAME`, as the paper's code logs them.
SHADOW_METRICS = ("auc", "accuracy", "deg_count", "deg_rate")


def result_rows(
    settings: Mapping[str, Any],
    results: Results,
    headline: str,
    on_shadow: Results,
    exposures: Mapping[str, Exposure],
    member: np.ndarray,
) -> list[dict[str, Any]]:
    """Tidy rows, one a feature: settings, each metric with the ends of its interval and its standard error, and values
    of the cross-fitted attack on the shadow side.

    `chosen` marks the feature that did best on the shadow side. What the cases cannot resolve, and what compares the
    classical attack with itself, is left empty.
    """
    rows = []
    for feature, metrics in results.items():
        row: dict[str, Any] = {**settings, "feature": feature, "chosen": feature == headline}
        for name in METRICS:
            for suffix, attribute in PARTS.items():
                number = getattr(metrics.get(name), attribute, None)
                row[name + suffix] = None if number is None else round(number, 6)
        for name in SHADOW_METRICS:
            found = on_shadow[feature].get(name)
            row[f"shadow_{name}"] = None if found is None else round(found.value, 6)
        rows.append(row | exposures[feature].columns(member))
    return rows


def save_run(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    cases: PosteriorSet,
    scores: Mapping[str, np.ndarray],
    exposed: Exposure,
) -> None:
    """Write results.csv, results.json, settings.json and scores.csv, all of them equal for equal settings."""
    write_text(folder / TABLE, csv_text(list(rows[0]), [row.values() for row in rows]))
    write_json(folder / RESULTS, rows)
    write_json(folder / SETTINGS, settings)
    _save_scores(folder / SCORES, cases, scores, exposed)
    seal_folder(folder, _SEALED)


def is_finished(folder: Path) -> bool:
    """Whether a run's results are there and whole."""
    try:
        parts = {name: read_sealed(folder / name) for name in _SEALED}
        return all(parts.values()) and bool(json.loads(parts[RESULTS]))
    except (UserError, ValueError, RecursionError):
        return False


def _save_scores(path: Path, cases: PosteriorSet, scores: Mapping[str, np.ndarray], exposed: Exposure) -> None:
    """A row a target case: where it comes from, its truth, whether it stands out (empty where that cannot be judged),
    and its score under each feature."""
    names = ["set", "request", "record", "label", "member"]
    columns = [getattr(cases, name).tolist() for name in names]
    may_name = exposed.may_name(cases.member)
    columns.append(exposed.exposed.astype(int).tolist() if may_name else [""] * len(cases))
    columns += [np.round(values, 12).tolist() for values in scores.values()]  # fewer digits would make ties
    write_text(path, csv_text([*names, EXPOSED, *scores], zip(*columns, strict=True)))


def save_curves(path: Path, curves: Mapping[str, np.ndarray]) -> None:
    """Write networks' loss and accuracies after each epoch, means over sets [sets, 2, epochs, 3] of each side."""
    rows = [
        [side, which, epoch + 1, *values.round(6).tolist()]
        for side, found in curves.items()
        for which, part in zip(("original", "unlearned"), found.mean(axis=0), strict=True)
        for epoch, values in enumerate(part)
    ]
    if rows:
        names = ["side", "model", "epoch", "training_loss", "training_accuracy", "held_out_accuracy"]
        write_text(path, csv_text(names, rows))


def csv_text(header: Sequence[str], rows: Any) -> str:
    """A CSV table as text."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()

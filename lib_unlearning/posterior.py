"""What the adversary gets: posteriors of original and unlearned models for every case."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import utils
from lib_unlearning.dataset import Dataset
from lib_unlearning.evaluation_cases import EvaluationCases
from lib_unlearning.unlearning import Ensemble
from utils import UserError


@dataclass(frozen=True)
class PosteriorSet:
    """All cases of one side: m cases, c classes.

    Attributes:
        original, unlearned: [m, c] posteriors p_o and p_u.
        member: [m] 1 for a positive case, 0 for a negative one.
        record: [m] queried record. label: [m] its true class.
        set: [m] sample set of the case. request: [m] deletion request within it.
    """

    original: np.ndarray
    unlearned: np.ndarray
    member: np.ndarray
    record: np.ndarray
    label: np.ndarray
    set: np.ndarray
    request: np.ndarray

    def __len__(self) -> int:
        return len(self.member)

    def select(self, chosen: np.ndarray) -> PosteriorSet:
        """The cases that a mask [m] or indices choose."""
        return PosteriorSet(**{field.name: getattr(self, field.name)[chosen] for field in dataclasses.fields(self)})


def concatenate(parts: Sequence[PosteriorSet]) -> PosteriorSet:
    """Several posterior sets as one, in order."""
    names = [field.name for field in dataclasses.fields(PosteriorSet)]
    return PosteriorSet(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def query(ensembles: Sequence[Ensemble], records: Sequence[np.ndarray], dataset: Dataset) -> list[np.ndarray]:
    """Posteriors [len(records[i]), c] of each ensemble for its own records.

    Every distinct constituent is called once, with all the records that any ensemble needs it for: SISA's
    models share most of theirs.
    """
    wanted: dict[int, list[np.ndarray]] = {}
    constituents = {}
    for ensemble, rows in zip(ensembles, records, strict=True):
        for constituent in ensemble.constituents:
            constituents[id(constituent)] = constituent
            wanted.setdefault(id(constituent), []).append(rows)
    asked = {key: np.unique(np.concatenate(rows)) for key, rows in wanted.items()}
    kind = type(next(iter(constituents.values())))
    found = kind.predict_together([constituents[key] for key in asked], list(asked.values()), dataset)
    answers = dict(zip(asked, found, strict=True))
    return [
        np.mean(
            [answers[id(member)][np.searchsorted(asked[id(member)], rows)] for member in ensemble.constituents], axis=0
        )
        for ensemble, rows in zip(ensembles, records, strict=True)
    ]


def obtain_posteriors(
    original: Ensemble, unlearned: Sequence[Ensemble], cases: EvaluationCases, dataset: Dataset, set_index: int
) -> PosteriorSet:
    """Ask the original model and each case's own unlearned model about all cases of sample set `set_index`."""
    rows = [np.flatnonzero(cases.request == request) for request in range(len(unlearned))]
    asked = [cases.record, *(cases.record[chosen] for chosen in rows)]
    answers = query([original, *unlearned], asked, dataset)
    after = np.empty_like(answers[0])
    after[np.concatenate(rows)] = np.concatenate(answers[1:])
    return PosteriorSet(
        original=answers[0],
        unlearned=after,
        member=cases.member,
        record=cases.record,
        label=dataset.labels[cases.record],
        set=np.full(len(cases.record), set_index),
        request=cases.request,
    )


def accuracies(
    ensembles: Sequence[Ensemble], training: np.ndarray, held_out: np.ndarray, dataset: Dataset, limit: int
) -> np.ndarray:
    """Accuracy [len(ensembles), 2] on training and on held-out records, on at most `limit` evenly spaced of each.

    All models are asked about the same training records, less those that a model has forgotten: the difference
    between two models is then one of models, not of records.
    """
    training, held_out = _evenly_spaced(training, limit), _evenly_spaced(held_out, limit)
    kept = [training[np.isin(training, np.concatenate(ensemble.shards))] for ensemble in ensembles]
    rows = [np.concatenate([records, held_out]) for records in kept]
    correct = [
        answer.argmax(axis=1) == dataset.labels[asked]
        for answer, asked in zip(query(ensembles, rows, dataset), rows, strict=True)
    ]
    boundary = -len(held_out)
    return np.array([[_share(right[:boundary]), right[boundary:].mean()] for right in correct])


def _share(right: np.ndarray) -> float:
    return float(right.mean()) if len(right) else float("nan")  # a model may have forgotten all that were asked


def _evenly_spaced(records: np.ndarray, limit: int) -> np.ndarray:
    if len(records) <= limit:
        return records
    return records[np.linspace(0, len(records) - 1, limit).astype(int)]


def save_posteriors(path: Path, posteriors: PosteriorSet, utility: np.ndarray) -> None:
    """Write a posterior set and the accuracies and spent epsilon [sets, models, 3] of the models that gave it."""
    utils.write_arrays(path, {**vars(posteriors), "utility": utility})


def load_posteriors(path: Path) -> tuple[PosteriorSet, np.ndarray]:
    """Read what `save_posteriors` wrote; raises `UserError` when the file is missing or damaged."""
    if not path.exists():
        raise UserError(f"--is_obtain_posterior false: {path} does not exist; run once with --is_obtain_posterior true")
    arrays = utils.read_arrays(path)
    try:
        utility = arrays.pop("utility")
        return PosteriorSet(**arrays), utility
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} holds no posteriors ({utils.error_text(error)}); delete it and run again") from error

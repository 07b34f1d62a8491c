"""What the adversary gets: posteriors of original and unlearned models for every case."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.cache.arrays import read_arrays, write_arrays
from lib_unlearning.dataset import RecordTable
from lib_unlearning.errors import UserError, error_text
from lib_unlearning.evaluation_cases import EvaluationCases
from lib_unlearning.record_numbers import among, distinct
from lib_unlearning.unlearning.base import Ensemble

# Accuracy of a model is measured on at most this many training and as many held-out records: more would cost a forest
# a noticeable part of its training time.
_UTILITY_RECORDS = 1000
_BESIDE = 1e-4  # by which anybody's probability may miss 0 or 1
_ROUNDING = 2e-7  # of a probability that was computed in 32 bits
_IN_64_BITS = 1e-14  # the same of numbers, some operations long


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


def in_order_of_original(cases: PosteriorSet) -> PosteriorSet:
    """The same cases with both posteriors and the label in the descending order of `original`.

    Transfer between data sets compares cases whose classes have nothing in common but their rank (paper section 5.6);
    equal entries keep the order of their classes.
    """
    return _in_order(cases, cases.original)


def in_order_of_unlearned(cases: PosteriorSet) -> PosteriorSet:
    """The same by the unlearned model's answers: nothing of the original is in their order."""
    return _in_order(cases, cases.unlearned)


def _in_order(cases: PosteriorSet, answers: np.ndarray) -> PosteriorSet:
    order = np.argsort(-answers, axis=1, kind="stable")
    return dataclasses.replace(
        cases,
        original=np.take_along_axis(cases.original, order, axis=1),
        unlearned=np.take_along_axis(cases.unlearned, order, axis=1),
        label=(order == cases.label[:, None]).argmax(axis=1),
    )


def query(ensembles: Sequence[Ensemble], records: Sequence[np.ndarray], dataset: RecordTable) -> list[np.ndarray]:
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
    asked = {key: distinct(np.concatenate(rows)) for key, rows in wanted.items()}
    answers = _answers([constituents[key] for key in asked], list(asked.values()), dataset)
    found = dict(zip(asked, answers, strict=True))
    return [
        np.mean(
            [found[id(member)][np.searchsorted(asked[id(member)], rows)] for member in ensemble.constituents], axis=0
        )
        for ensemble, rows in zip(ensembles, records, strict=True)
    ]


def _answers(models: Sequence[Any], records: Sequence[np.ndarray], dataset: RecordTable) -> list[np.ndarray]:
    """Posteriors of each model for its own records; models of a type that answers together are asked together."""
    answers: dict[int, np.ndarray] = {}
    for kind in dict.fromkeys(type(model) for model in models):
        rows = [number for number, model in enumerate(models) if type(model) is kind]
        if hasattr(kind, "predict_together"):
            found = kind.predict_together([models[row] for row in rows], [records[row] for row in rows], dataset)
        else:
            found = [models[row].predict_proba(dataset.rows(records[row])) for row in rows]
        answers.update(zip(rows, found, strict=True))
    return [answers[number] for number in range(len(models))]


def obtain_posteriors(
    original: Ensemble, unlearned: Sequence[Ensemble], cases: EvaluationCases, dataset: RecordTable, set_index: int
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


def alike_answers(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two arrays of answers [m, c] are the same but for rounding to 32 bits; numbers, c = 1, have any unit and
    any zero, so that their spread says what is small."""
    if first.shape[-1] > 1:
        return bool(np.allclose(first, second, rtol=_ROUNDING, atol=_ROUNDING))
    far = float(np.abs(first).max(initial=0.0))
    spread = float(np.ptp(first)) if len(first) else 0.0
    return bool(np.allclose(first, second, rtol=0.0, atol=_ROUNDING * spread + _IN_64_BITS * far))


def accuracies(
    ensembles: Sequence[Ensemble],
    training: np.ndarray,
    held_out: np.ndarray,
    dataset: RecordTable,
    limit: int = _UTILITY_RECORDS,
) -> np.ndarray:
    """Accuracy [len(ensembles), 2] on training and on held-out records, on at most `limit` evenly spaced of each.

    All models are asked about the same training records, less those that a model has forgotten: the difference
    between two models is then one of models, not of records.
    """
    training, held_out = evenly_spaced(training, limit), evenly_spaced(held_out, limit)
    kept = [training[among(training, np.concatenate(ensemble.shards))] for ensemble in ensembles]
    rows = [np.concatenate([records, held_out]) for records in kept]
    correct = [
        answer.argmax(axis=1) == dataset.labels[asked]
        for answer, asked in zip(query(ensembles, rows, dataset), rows, strict=True)
    ]
    boundary = -len(held_out)
    return np.array([[_share(right[:boundary]), right[boundary:].mean()] for right in correct])


def _share(right: np.ndarray) -> float:
    return float(right.mean()) if len(right) else float("nan")  # a model may have forgotten all that were asked


def evenly_spaced(records: np.ndarray, limit: int) -> np.ndarray:
    """At most `limit` of the records [n], evenly spaced."""
    if len(records) <= limit:
        return records
    found: np.ndarray = records[np.linspace(0, len(records) - 1, limit).astype(int)]
    return found


@dataclass(frozen=True)
class Answers:
    """What the models of one side gave.

    Attributes:
        cases: posteriors of every case.
        utility: [sets, 1 + requests, 3] accuracy on training and on held-out records, epsilon spent; the original is 0.
        curves: [sets, 2, epochs, 3] training loss, training and held-out accuracy of networks after each epoch, mean
            over original (0) and unlearned (1) models, NaN after their last epoch; no epochs for other models.
    """

    cases: PosteriorSet
    utility: np.ndarray
    curves: np.ndarray


def gather(parts: Sequence[Answers]) -> Answers:
    """The answers of several sample sets, each with a leading axis of one set, as those of their side."""
    epochs = max(part.curves.shape[2] for part in parts)
    curves = [np.moveaxis(padded(np.moveaxis(part.curves, 2, 0), epochs), 0, 2) for part in parts]
    return Answers(
        concatenate([part.cases for part in parts]),
        np.concatenate([part.utility for part in parts]),
        np.concatenate(curves),
    )


def training_curves(original: Ensemble, unlearned: Sequence[Ensemble]) -> np.ndarray:
    """Curves [1, 2, epochs, 3] of one sample set (see `Answers`)."""
    parts = [[original], list(unlearned)]
    found = [[curve for ensemble in ensembles for curve in ensemble.fact("curve")] for ensembles in parts]
    epochs = max((len(curve) for curves in found for curve in curves), default=0)
    means = [_mean_of([padded(np.asarray(curve), epochs) for curve in curves], epochs) for curves in found]
    return np.stack(means)[np.newaxis]


def padded(values: np.ndarray, length: int) -> np.ndarray:
    """Values [n, ...] with rows of NaN up to a length."""
    missing = np.full((length - len(values), *values.shape[1:]), np.nan)
    return np.concatenate([values, missing])


def _mean_of(curves: Sequence[np.ndarray], epochs: int) -> np.ndarray:
    """Mean [epochs, 3] of curves, each epoch over those that lasted so long."""
    if not curves:
        return np.full((epochs, 3), np.nan)
    stacked = np.stack(curves)
    counts = (~np.isnan(stacked)).sum(axis=0)
    found: np.ndarray = np.where(counts, np.nansum(stacked, axis=0), np.nan) / np.maximum(counts, 1)
    return found


def save_answers(path: Path, answers: Answers) -> None:
    """Write a side's answers as one npz file."""
    write_arrays(path, {**vars(answers.cases), "utility": answers.utility, "curves": answers.curves})


def require_answers(path: Path) -> None:
    """Raise `UserError` where no answers were saved."""
    if not path.exists():
        raise UserError(f"--is_obtain_posterior false: {path} does not exist; run once with --is_obtain_posterior true")


def _check_answers(cases: PosteriorSet, utility: np.ndarray) -> None:
    """Raise `ValueError` for what no models answered: a digest says that a file is whole, not who wrote it."""
    original, unlearned = cases.original, cases.unlearned
    count, classes = original.shape
    if unlearned.shape != original.shape or utility.ndim != 3 or not count:
        raise ValueError("its arrays have other shapes")
    if not all(((part >= -_BESIDE) & (part <= 1 + _BESIDE)).all() for part in (original, unlearned)):
        raise ValueError("its posteriors are not all between 0 and 1")
    if any(len(part) != count for part in (cases.member, cases.record, cases.label, cases.set, cases.request)):
        raise ValueError("its arrays are not equally long")
    if not (np.isin(cases.member, (0, 1)).all() and ((cases.label >= 0) & (cases.label < classes)).all()):
        raise ValueError("its labels or members are none")


def load_answers(path: Path, trust: bool) -> Answers:
    """Read what `save_answers` wrote; raises `UserError` when the file is missing, damaged, or another user's (`trust`
    accepts the latter)."""
    require_answers(path)
    arrays = read_arrays(path, trust)
    try:
        utility, curves = arrays.pop("utility"), arrays.pop("curves")
        cases = PosteriorSet(**arrays)
        _check_answers(cases, utility)
        return Answers(cases, utility, curves)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{path} holds no posteriors ({error_text(error)}); delete it and run again") from error

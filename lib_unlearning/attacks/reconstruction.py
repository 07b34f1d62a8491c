"""What was deleted, without any candidate: the record rebuilt from both versions' answers.

Linear models: the residual gradient of a single deletion is the record times its error (after Bertran et al., NeurIPS
2024, arXiv 2405.20272), so its direction gives the record and its sign the label. Other models: of the adversary's own
records, those whose answer for a class fell most show the region and the label. Beside it stand the record whose answer
changed most (MaxDiff), the mean and the most common record, and a stranger in the deleted record's place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from lib_unlearning.attack import CLASSES, ORIGINAL, View
from lib_unlearning.attacks.linear import Coordinates, Extraction

_TINY = 1e-12
_WHOLE = 1e-9  # share of the largest fall that still belongs to a tree's region
_PART = 0.5  # the same for models without regions


@dataclass(frozen=True)
class Rebuilt:
    """A record as the adversary sees it.

    Attributes:
        label: its class; -1 where nothing fell.
        standard: [d] in his standardised coordinates.
        row: [d] in values that occur.
    """

    label: int
    standard: np.ndarray
    row: np.ndarray


@dataclass(frozen=True)
class Guess:
    """What was rebuilt of one request, by each way of guessing.

    Attributes:
        fell: by how much at least the posterior of the guessed label fell in the region that was found; None where
            a model is linear, or nothing fell.
        shows: whether any answer that was asked for changed.
    """

    sample_set: int
    request: int
    by: dict[str, Rebuilt]
    fell: float | None = None
    shows: bool = True


@dataclass(frozen=True)
class Public:
    """The adversary's own records: rows [n, d], labels [n], and the values that occur in each column.

    Attributes:
        lengths: [n] of the records in standardised coordinates.
    """

    rows: np.ndarray
    labels: np.ndarray
    coordinates: Coordinates
    values: list[np.ndarray]
    lengths: np.ndarray

    @staticmethod
    def of(view: View) -> Public:
        """From the records that a view gives the adversary; the numbers of a regression are no classes."""
        labels = view.labels(view.own)
        return Public.from_rows(view.rows(view.own), labels if CLASSES in view.offers else np.full(len(labels), -1))

    @staticmethod
    def from_rows(rows: np.ndarray, labels: np.ndarray) -> Public:
        """From records [n, d] and labels [n]."""
        coordinates = Coordinates.of(rows)
        lengths = np.linalg.norm(coordinates(rows)[:, :-1], axis=1)
        return Public(rows, labels, coordinates, [np.unique(column) for column in rows.T], lengths)

    def snapped(self, standard: np.ndarray) -> np.ndarray:
        """The nearest values that occur to a record [d] in standardised coordinates."""
        raw = self.coordinates.back(standard)
        return np.array([_nearest(known, value) for known, value in zip(self.values, raw, strict=True)])

    def rebuilt(self, label: int, standard: np.ndarray) -> Rebuilt:
        """A record [d] in standardised coordinates, and in values that occur."""
        return Rebuilt(label, standard, self.snapped(standard))

    def record(self, number: int) -> Rebuilt:
        """One of the adversary's own records."""
        standard = self.coordinates(self.rows[number : number + 1])[0, :-1]
        return Rebuilt(int(self.labels[number]), standard, self.rows[number])

    def part(self, chosen: np.ndarray) -> Public:
        """With some of the records, by their numbers [k], and the coordinates of all."""
        return replace(self, rows=self.rows[chosen], labels=self.labels[chosen], lengths=self.lengths[chosen])

    def mean(self) -> Rebuilt:
        """The mean record, and the most common class."""
        return self.rebuilt(int(_most_common(self.labels)), np.zeros(self.rows.shape[1]))

    def usual(self) -> Rebuilt:
        """The most common value of each column, and the most common class."""
        row = np.array([_most_common(column) for column in self.rows.T])
        return Rebuilt(int(_most_common(self.labels)), self.coordinates(row[None])[0, :-1], row)


def _nearest(known: np.ndarray, value: float) -> float:
    place = int(np.clip(np.searchsorted(known, value), 1, max(len(known) - 1, 1)))
    around = known[place - 1 : place + 1]
    return float(around[np.abs(around - value).argmin()])


def _most_common(values: np.ndarray) -> float:
    distinct, counts = np.unique(values, return_counts=True)
    return float(distinct[counts.argmax()])


def from_residual(residual: np.ndarray, public: Public) -> Rebuilt:
    """The record whose loss gradient a residual [d + 1, c] is; its label stays unknown where that is a number.

    That gradient is the record, a one at its end, times the error of each class: a matrix of rank one, so the nearest
    such matrix is taken. Which of its two signs: an error is below 0 for the label alone, and the record ends in a one.
    """
    classes = residual.shape[1] > 1
    left, strength, right = np.linalg.svd(residual, full_matrices=False)
    if strength[0] < _TINY:
        return Rebuilt(-1, public.usual().standard, public.usual().row)
    record, error = left[:, 0], right[0]
    shortest, usual, longest = np.quantile(public.lengths, (0, 0.5, 1))
    upright = 2 * usual * record[-1]
    if classes:
        upright += _as_one_label(error) - _as_one_label(-error)
    if upright < 0:
        record, error = -record, -error
    direction = record[:-1] / max(np.linalg.norm(record[:-1]), _TINY)
    length = np.linalg.norm(record[:-1]) / max(record[-1], _TINY)
    label = int(error.argmin()) if classes else -1
    return public.rebuilt(label, direction * np.clip(length, shortest, longest))


def _as_one_label(error: np.ndarray) -> float:
    """Share of what is below 0 in errors [c] that the lowest one holds: 1 for the errors of one record."""
    below = np.clip(-error, 0.0, None)
    return float(below.max() / max(below.sum(), _TINY))


def from_falls(falls: np.ndarray, public: Public, regions: bool) -> Rebuilt:
    """The label whose posterior fell, and what is most common among own records whose answer fell so.

    Args:
        falls: [n, c] by how much the posteriors of own records fell.
        regions: whether answers are those of few regions, so that one of them is where it fell most; without, the fall
            is spread out.
    """
    # What a tree answers is on average the share of each class in its training records, wherever its leaves moved to.
    label = int(falls.mean(axis=0).argmax())
    most = float(falls[:, label].max())
    if most <= 0:
        return Rebuilt(-1, public.usual().standard, public.usual().row)
    inside = falls[:, label] >= most * (1 - _WHOLE if regions else _PART)
    alike = inside & (public.labels == label)
    chosen = public.rows[alike if alike.any() else inside]
    row = np.array([_most_common(column) for column in chosen.T])
    return Rebuilt(label, public.coordinates(row[None])[0, :-1], row)


def rebuild(view: View, seed: int, linear: bool) -> Iterator[Guess]:
    """What an adversary who has no candidate rebuilds of each request of a view.

    Args:
        linear: whether models such as these are linear in their inputs, found by asking others.
    """
    public = Public.of(view)
    plan = Extraction.plan(view, seed) if linear else None
    asked = view.own if view.budget.queries is None else view.questions(seed, view.budget.queries)
    order = np.argsort(view.own)
    seen = public.part(order[np.searchsorted(view.own, asked, sorter=order)])
    always = {"mean record": public.mean(), "usual record": public.usual()}
    before: dict[int, np.ndarray] = {}
    for number, request, _ in view.requests():
        if number not in before:
            before = {number: view.ask(number, ORIGINAL, asked)}
        falls = before[number] - view.ask(number, request, asked)
        regions = plan is None and _has_regions(before[number])
        if plan is None:
            found = from_falls(falls, seen, regions)
        else:
            thetas = [plan.theta(view, number, version) for version in (ORIGINAL, request)]
            found = from_residual(plan.residual(*thetas), public)
        largest = seen.record(int(np.abs(falls).max(axis=1).argmax()))
        fell = None
        if plan is None and found.label >= 0:
            fell = float(falls[:, found.label].max()) * (1 - _WHOLE if regions else _PART)
        by = {"rebuilt": found, "largest change": largest, **always}
        yield Guess(number, request, by, fell, bool(np.abs(falls).max() > _TINY))


def _has_regions(answers: np.ndarray) -> bool:
    """Whether answers [n, c] are those of few regions: a tree's leaves."""
    return len(np.unique(answers.round(12), axis=0)) < len(answers) // 10


# ---------------------------------------------------------------- how good it is


@dataclass(frozen=True)
class Match:
    """One guess beside the truth.

    Attributes:
        label: whether the class is right.
        cosine: of both records in the adversary's coordinates.
        exact: share of attributes that are equal.
        rank: of the true record among the population by distance from the guess; 1: nobody is nearer.
    """

    label: bool
    cosine: float
    exact: float
    rank: int


@dataclass(frozen=True)
class Population:
    """Everybody whom the deleted record could be: rows [N, d], standardised [N, d], labels [N]."""

    rows: np.ndarray
    standard: np.ndarray
    labels: np.ndarray

    def match(self, guess: Rebuilt, row: np.ndarray, standard: np.ndarray, label: int) -> Match:
        """How well a guess fits a true record."""
        length = np.linalg.norm(guess.standard) * np.linalg.norm(standard)
        distances = _distance(guess, self.standard, self.labels)
        own = _distance(guess, standard[None], np.array([label]))[0]
        others = (distances < own - 1e-9).sum()
        return Match(
            guess.label == label,
            float(guess.standard @ standard / length) if length else 0.0,
            float((guess.row == row).mean()),
            1 + int(others),
        )


def _distance(guess: Rebuilt, standard: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Squared distances [N] from a guess; another class counts like any attribute that is two deviations off."""
    found: np.ndarray = ((standard - guess.standard) ** 2).sum(axis=1) + 4.0 * (labels != guess.label)
    return found

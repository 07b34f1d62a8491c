"""A reconstruction, judged: what was rebuilt of each deleted record beside the truth, as tables and sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.attack import ORIGINAL, View
from lib_unlearning.attacks.reconstruction import Guess, Match, Population, Public, Rebuilt, rebuild
from lib_unlearning.cache.files import write_text
from lib_unlearning.dataset import Dataset, RecordTable
from lib_unlearning.posterior import evenly_spaced
from lib_unlearning.run_files import csv_text
from lib_unlearning.statistics.metrics import mean_estimate
from lib_unlearning.terminal import fitted, table_lines
from lib_unlearning.wording import plural, with_interval

TABLE = "reconstruction.csv"
PLACEBO = "placebo (a stranger)"
NEAR = 10
COSINE = "median cosine"
_DRAWN = ("adult", "mnist")


@dataclass(frozen=True)
class Attempt:
    """One guess about one deletion.

    Attributes:
        way: how it was guessed; `PLACEBO` holds the rebuilt record against a stranger.
        sample_set, request: which deletion.
        record: number of the record that it is held against; of several deleted ones the nearest.
        guess, match: what was guessed, and how good it is.
        alike: how many of the population lie in the region where the answer fell; None where there is no region.
        inside: whether the record does.
        shows: whether any answer that was asked for changed.
    """

    way: str
    sample_set: int
    request: int
    record: int
    guess: Rebuilt
    match: Match
    alike: int | None = None
    inside: bool | None = None
    shows: bool = True


@dataclass(frozen=True)
class Reconstruction:
    """All attempts on a target side; `population` is the number of records that a deleted one could be."""

    attempts: list[Attempt]
    population: int

    def of(self, way: str) -> list[Attempt]:
        """The attempts of one way of guessing."""
        return [attempt for attempt in self.attempts if attempt.way == way]

    @property
    def ways(self) -> list[str]:
        """Ways of guessing, in the order of the first deletion's."""
        return list(dict.fromkeys(attempt.way for attempt in self.attempts))


def reconstruct(
    view: View, dataset: RecordTable, pool: np.ndarray, requests: Sequence[np.ndarray], seed: int, linear: bool
) -> Reconstruction:
    """Rebuild what each request of a view deleted, and hold it against the truth.

    Args:
        pool: [N] records that models are trained on: whom a deleted one could be.
        requests: [sets] deleted records [requests, k].
        linear: see `rebuild`.
    """
    public = Public.of(view)
    population = _population(dataset, pool, public)
    attempts: list[Attempt] = []
    for guess in rebuild(view, seed, linear):
        deleted = requests[guess.sample_set][guess.request]
        alike, inside = _region(view, guess, pool, deleted)
        for way, found in guess.by.items():
            record, match = _nearest(population, found, dataset, deleted, public)
            attempts.append(
                Attempt(way, guess.sample_set, guess.request, record, found, match, alike, inside, guess.shows)
            )
        stranger = _strangers(view, guess, len(deleted))
        record, match = _nearest(population, guess.by["rebuilt"], dataset, stranger, public)
        attempts.append(Attempt(PLACEBO, guess.sample_set, guess.request, record, guess.by["rebuilt"], match))
    return Reconstruction(attempts, len(pool))


def _population(dataset: RecordTable, records: np.ndarray, public: Public) -> Population:
    rows = np.asarray(dataset.rows(records), dtype=np.float64)
    labels = dataset.labels[records] if dataset.num_classes > 1 else np.full(len(rows), -1)
    return Population(rows, public.coordinates(rows)[:, :-1], labels)


def _nearest(
    population: Population, guess: Rebuilt, dataset: RecordTable, records: np.ndarray, public: Public
) -> tuple[int, Match]:
    """The record of a request that a guess fits best."""
    truth = _population(dataset, records, public)
    matches = [
        population.match(guess, row, standard, int(label))
        for row, standard, label in zip(truth.rows, truth.standard, truth.labels, strict=True)
    ]
    best = min(range(len(matches)), key=lambda number: matches[number].rank)
    return int(records[best]), matches[best]


def _strangers(view: View, guess: Guess, count: int) -> np.ndarray:
    """As many strangers as were deleted, evenly spaced where a request has more."""
    cases = view.cases
    chosen = (cases.set == guess.sample_set) & (cases.request == guess.request) & (cases.member == 0)
    return evenly_spaced(cases.record[chosen], count)


def _region(view: View, guess: Guess, pool: np.ndarray, deleted: np.ndarray) -> tuple[int | None, bool | None]:
    """How many of the population share the region where the answer fell, and whether a deleted record does."""
    if guess.fell is None:
        return None, None
    label = guess.by["rebuilt"].label
    asked = np.concatenate([pool, deleted])
    before, after = (view.ask(guess.sample_set, version, asked)[:, label] for version in (ORIGINAL, guess.request))
    there = before - after >= guess.fell
    return int(there[: len(pool)].sum()), bool(there[len(pool) :].any())


# ---------------------------------------------------------------- as text


def summary(found: Reconstruction, overlap: float) -> dict[str, dict[str, Any]]:
    """Way of guessing -> measure -> estimate, or a median."""
    table = {}
    for way in found.ways:
        attempts = found.of(way)
        sets = np.array([attempt.sample_set for attempt in attempts])
        shares = {
            "label right": [attempt.match.label for attempt in attempts],
            "attributes exact": [attempt.match.exact for attempt in attempts],
            f"nearest of {found.population:,}": [attempt.match.rank == 1 for attempt in attempts],
            f"among the {NEAR} nearest": [attempt.match.rank <= NEAR for attempt in attempts],
        }
        row: dict[str, Any] = {COSINE: float(np.median([attempt.match.cosine for attempt in attempts]))}
        row |= {name: mean_estimate(np.array(values), sets, overlap) for name, values in shares.items()}
        table[way] = row
    return table


def lines(found: Reconstruction, dataset: Dataset, overlap: float, width: int | None) -> Iterator[str]:
    """The table, what regions give away, and three deletions in plain words, for a terminal of some width."""
    table = summary(found, overlap)
    columns = {
        name: [f"{row[name]:.3f}" if name == COSINE else with_interval(row[name]) for row in table.values()]
        for name in next(iter(table.values()))
    }
    yield from table_lines({"guess": list(table)}, columns, width, TABLE)
    yield from _hidden(found, width)
    yield from _regions(found, width)
    if dataset.columns:
        yield ""
        for attempt in examples(found):
            yield fitted(in_words(attempt, dataset, found.population), width)


def _hidden(found: Reconstruction, width: int | None) -> Iterator[str]:
    """How often nothing showed, and how often the label is right elsewhere."""
    shown = [attempt for attempt in found.of("rebuilt") if attempt.shows]
    hidden = len(found.of("rebuilt")) - len(shown)
    if hidden:
        right = sum(attempt.match.label for attempt in shown)
        yield ""
        yield fitted(
            f"In {plural(hidden, 'deletion')} no answer that was asked for changed; of the other {len(shown):,} the "
            f"label is right in {right:,}.",
            width,
        )


def _regions(found: Reconstruction, width: int | None) -> Iterator[str]:
    sizes = [attempt.alike for attempt in found.of("rebuilt") if attempt.alike is not None]
    if sizes:
        inside = np.mean([bool(attempt.inside) for attempt in found.of("rebuilt")])
        yield ""
        yield fitted(
            f"Region where the answer fell most: {np.median(sizes):,.0f} of {found.population:,} records in the median "
            f"(the anonymity set); the deleted record is one of them in {inside:.0%} of the deletions.",
            width,
        )


def examples(found: Reconstruction, count: int = 3) -> list[Attempt]:
    """The first deletion of each of the first sample sets: not the best ones."""
    rebuilt = found.of("rebuilt")
    firsts = [next(attempt for attempt in rebuilt if attempt.sample_set == number) for number in _sets(rebuilt)]
    return firsts[:count]


def _sets(attempts: Sequence[Attempt]) -> list[int]:
    return sorted({attempt.sample_set for attempt in attempts})


def in_words(attempt: Attempt, dataset: Dataset, population: int) -> str:
    """One deletion as a sentence: what was rebuilt, with the truth in brackets where it differs."""
    truth = np.asarray(dataset.rows(np.array([attempt.record])), dtype=np.float64)[0]
    told = [_with_truth(dataset.label, *_class_names(attempt, dataset))]
    right = 0
    for column, (guess, true) in enumerate(zip(attempt.guess.row, truth, strict=True)):
        right += guess == true
        told.append(_with_truth(dataset.columns[column], dataset.told(column, guess), dataset.told(column, true)))
    everybody = f"{population:,}"
    rank = attempt.match.rank
    place = f"the nearest of {everybody}" if rank == 1 else f"number {rank:,} of {everybody} by distance"
    return (
        f"Set {attempt.sample_set}, deletion {attempt.request}: {', '.join(told)}. "
        f"{right} of {len(truth)} attributes right; the deleted record is {place}."
    )


def _class_names(attempt: Attempt, dataset: Dataset) -> tuple[str, str]:
    names: Mapping[int, str] = dict(enumerate(dataset.classes))
    true = int(dataset.labels[attempt.record])
    return names.get(attempt.guess.label, "unknown"), names.get(true, str(true))


def _with_truth(name: str, guess: str, true: str) -> str:
    return f"{name} {guess}" if guess == true else f"{name} {guess} (in truth {true})"


def may_be_drawn(dataset: Dataset) -> bool:
    """Whether rebuilt records may be shown as pictures: Adult's are public, and digits are nobody's."""
    return dataset.name in _DRAWN


def save_reconstruction(found: Reconstruction, dataset: Dataset, overlap: float, folder: Path) -> None:
    """Write the table, and what is printed, to a run's folder."""
    write_text(folder / TABLE, as_csv(found))
    write_text(folder / "reconstruction.txt", "\n".join(lines(found, dataset, overlap, None)) + "\n")


def as_csv(found: Reconstruction) -> str:
    """A row a guess: how it was made, about which deletion, and how good it is; no attribute of anybody."""
    header = ["way", "set", "request", "record", "label_right", "cosine", "attributes_exact", "rank", "population"]
    rows = [
        [
            attempt.way,
            attempt.sample_set,
            attempt.request,
            attempt.record,
            int(attempt.match.label),
            round(attempt.match.cosine, 6),
            round(attempt.match.exact, 6),
            attempt.match.rank,
            found.population,
            *(["", ""] if attempt.alike is None else [attempt.alike, int(bool(attempt.inside))]),
        ]
        for attempt in found.attempts
    ]
    return csv_text([*header, "anonymity_set", "in_region"], rows)

"""The adversary's own models: pairs with and without a candidate, trained by the target's method on his own records.

Candidates are taken in groups: one model is trained on own records and a group of candidates, and each of them is
deleted from it in turn. That costs one training a candidate and one a group, in stacks and processes like any other.
Every further round divides the candidates anew. A round is kept on disk, and shared by all attacks.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.attack import WantedWorlds, Worlds
from lib_unlearning.cache.arrays import read_rows, write_rows
from lib_unlearning.cache.files import digest, digest_arrays
from lib_unlearning.cache.spool import Rows, Spool, spans
from lib_unlearning.dataset import RecordTable
from lib_unlearning.errors import LOGGER
from lib_unlearning.link import Link, Softmax
from lib_unlearning.parallel import parallel_map
from lib_unlearning.posterior import query
from lib_unlearning.seeds import integer_seed, spawn
from lib_unlearning.training.tasks import GRADIENTS, Trainer
from lib_unlearning.unlearning.base import Deletion, Ensemble, UnlearningMethod, train_and_unlearn

_MOST_OTHERS = 256  # groups a round whose models are asked about all candidates, so that answers grow with these alone
_NOBODY = np.array([], dtype=np.int64)
_FORM = 3  # of the files, raised when they hold something else


@dataclass(frozen=True)
class Workshop:
    """With what the adversary trains models of his own.

    Attributes:
        dataset, trainer, method: as the shadow side's.
        pool: [n] records of his own to train on.
        set_size: records a model.
        together: candidates that are deleted from one model.
        leaves_gap: see `Deletion`. fresh: whether retrained models get seeds of their own.
        publish: what the provider would let through of posteriors [m, c].
        versions: which of them he sees (see `Budget`).
        shaped_by: all that shapes his models and is not said by arguments; part of the names of files.
        folder: where rounds are kept, as answered: what is published of them is decided when they are read.
        trust: take rounds that this installation did not write.
    """

    dataset: RecordTable
    trainer: Trainer
    method: UnlearningMethod
    pool: np.ndarray
    set_size: int
    together: int
    leaves_gap: bool
    fresh: bool
    publish: Callable[[np.ndarray], np.ndarray]
    versions: str
    shaped_by: dict[str, Any]
    folder: Path | None
    trust: bool
    processes: int
    quiet: bool
    link: Link = field(default_factory=Softmax)

    def worlds(self, wanted: WantedWorlds) -> Worlds:
        """What own models say of the candidates and of the probes."""
        spool = Spool()
        found = _KeptWorlds(self, [self._kept_round(wanted, number, spool) for number in range(wanted.rounds)], wanted)
        unknown = found.unknown()
        if unknown:
            told = "%d of %d candidates stand in every own model: likelihoods say nothing of them"
            LOGGER.warning(told, unknown, len(wanted.candidates))
        return found

    def relabelled(self, records: np.ndarray, labels: np.ndarray) -> Workshop:
        """One that takes other labels [k] for some records [k]."""
        taken = self.dataset.labels.copy()
        taken[records] = labels
        dataset = dataclasses.replace(self.dataset, labels=taken)  # type: ignore[type-var]
        trainer, method = copy.copy(self.trainer), copy.copy(self.method)
        trainer.dataset = method.dataset = dataset
        return dataclasses.replace(self, dataset=dataset, trainer=trainer, method=method)

    def published(self, answers: np.ndarray) -> np.ndarray:
        """What is let through of answers [..., c]; NaN stays where nobody was asked."""
        rows = answers.reshape(-1, answers.shape[-1])
        asked = ~np.isnan(rows[:, 0])
        published = self.publish(rows[asked])
        if asked.all():
            return published.reshape(answers.shape)
        found = np.full(rows.shape, np.nan, published.dtype)
        found[asked] = published
        return found.reshape(answers.shape)

    def pairs_seen(self, pairs: np.ndarray) -> np.ndarray:
        """Of pairs of answers [..., 2, c] what the provider would publish, and the adversary see."""
        published = self.published(pairs)
        return published if self.versions == "both" else one_version(published, self.versions)

    def _kept_round(self, wanted: WantedWorlds, number: int, spool: Spool) -> dict[str, Rows]:
        if self.folder is None:
            return self._round(wanted, number, spool)
        taken = () if wanted.labels is None else (wanted.labels,)
        records = digest_arrays(wanted.candidates, wanted.probes, *taken)
        key = digest([self.shaped_by, records, wanted.seed, number, _FORM, *(["fresh"] if self.fresh else [])])
        path = self.folder / f"own-{key[:16]}.npz"
        if path.exists():
            return read_rows(path, spool, self.trust)
        found = self._round(wanted, number, spool)
        write_rows(path, found)
        return found

    def _round(self, wanted: WantedWorlds, number: int, spool: Spool) -> dict[str, Rows]:
        """Rows of a round, by candidate but for `probes`, which are by group; all of it as answered."""
        shuffled = spawn(wanted.seed, "own groups", number).permutation(len(wanted.candidates))
        groups = np.array_split(shuffled, _groups(len(wanted.candidates), self.together))
        if self.processes > 1:
            self.trainer.warm_up()
        numbered = list(enumerate(groups))
        parts = parallel_map(
            _Group(self, wanted, number),
            numbered,
            self.processes,
            "own models",
            self.quiet,
            lambda part: 1 + len(part[1]),
        )
        return _by_candidate(self._gathered(parts), groups, spool)

    def _gathered(self, parts: Iterator[_Found]) -> dict[str, Rows]:
        """What the groups found, in their order, one after another."""
        spool, found, smallest = Spool(), {}, self.set_size
        for part in parts:
            smallest = min(smallest, part.records)
            for name, rows in part.rows().items():
                if name not in found:
                    found[name] = Rows(spool, rows.shape[1:], rows.dtype)
                found[name].add(rows)
        if smallest < self.set_size:
            LOGGER.warning("own models learn from %d records, not %d: there are no more", smallest, self.set_size)
        return found


def _by_candidate(found: Mapping[str, Rows], groups: Sequence[np.ndarray], spool: Spool) -> dict[str, Rows]:
    """Rows that stand by group, and those of pairs that lost somebody else, by candidate."""
    order = np.argsort(np.concatenate(groups))
    of_group = np.repeat(np.arange(len(groups)), [len(group) for group in groups])[order]
    sorted_rows = {name: _in_order(found[name], order, spool) for name in ("inside", "probes_after", "effects")}
    sorted_rows["probes"] = _in_order(found["probes"], np.arange(len(groups)), spool)
    sorted_rows["group"] = Rows(spool, (), of_group.dtype)
    sorted_rows["group"].add(of_group)
    sorted_rows["outside"] = _turned(found["outside"], spool)
    return sorted_rows


def _in_order(rows: Rows, order: np.ndarray, spool: Spool) -> Rows:
    """The rows by their numbers [n], in another spool."""
    found = Rows(spool, rows.row, rows.dtype)
    for first, last in spans(len(order), rows.bytes_each):
        found.add(rows.take(order[first:last]))
    return found


def _turned(rows: Rows, spool: Spool) -> Rows:
    """Rows [G', m, ...] as [m, G', ...], in another spool."""
    count, inner = rows.row[0], rows.row[1:]
    found = Rows(spool, (len(rows), *inner), rows.dtype)
    for first, last in spans(count, found.bytes_each):
        found.add(np.stack([rows.part(number, first, last) for number in range(len(rows))], axis=1))
    return found


@dataclass(frozen=True)
class _KeptWorlds:
    """Rounds as answered; what an adversary sees of them is worked out for those candidates that are asked for."""

    shop: Workshop
    rounds: list[dict[str, Rows]]
    wanted: WantedWorlds

    def of(self, chosen: np.ndarray) -> _SomeWorlds:
        """What own models say of some candidates, by their numbers [k]."""
        return _SomeWorlds(self, chosen)

    def unknown(self) -> int:
        """Candidates whom no own model lost without having been trained on them."""
        known = np.zeros(len(self.wanted.candidates), dtype=bool)
        for part in self.rounds:
            seen = [~np.isnan(block[:, :, 0, 0]).all(axis=1) for block in part["outside"].blocks()]
            known |= np.concatenate(seen)
        return int((~known).sum())

    @cached_property
    def probes(self) -> np.ndarray:
        """[K, G, P, c]."""
        used = self.wanted.used
        return np.stack([self.shop.published(part["probes"].all()[:, :used]) for part in self.rounds])


@dataclass(frozen=True)
class _SomeWorlds:
    """What an adversary sees of some candidates, by their numbers [k], see `OwnWorlds`."""

    kept: _KeptWorlds
    chosen: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """[K, k, 2, c]."""
        return np.stack([self._pairs(part["inside"]) for part in self.kept.rounds])

    @property
    def outside(self) -> np.ndarray:
        """[K, G', k, 2, c]."""
        return np.stack([np.moveaxis(self._pairs(part["outside"]), 0, 1) for part in self.kept.rounds])

    @property
    def probes(self) -> np.ndarray:
        """[K, G, P, c]."""
        return self.kept.probes

    @property
    def changes(self) -> np.ndarray:
        """[k, P c]."""
        return _mean(self._changes(part) for part in self.kept.rounds)

    @property
    def effects(self) -> np.ndarray:
        """[k, P c]."""
        return _mean(self._effects(part) for part in self.kept.rounds)

    def _pairs(self, rows: Rows) -> np.ndarray:
        return self.kept.shop.pairs_seen(rows.take(self.chosen))

    def _changes(self, part: dict[str, Rows]) -> np.ndarray:
        groups, mine = np.unique(part["group"].take(self.chosen), return_inverse=True)
        before, after = self._signal(part["probes"], groups)[mine], self._signal(part["probes_after"], self.chosen)
        return _flat(before - after)

    def _signal(self, rows: Rows, numbers: np.ndarray) -> np.ndarray:
        shop = self.kept.shop
        return shop.link.signal(shop.published(rows.take(numbers)[:, : self.kept.wanted.used]))

    def _effects(self, part: dict[str, Rows]) -> np.ndarray:
        effects = part["effects"].take(self.chosen)[:, : self.kept.wanted.used]
        effects = (effects - effects.mean(axis=2, keepdims=True)) if effects.size else effects
        return _flat(effects)


def _flat(answers: np.ndarray) -> np.ndarray:
    """[k, P, c] -> [k, P c], of no cases as well."""
    return answers.reshape(len(answers), math.prod(answers.shape[1:]))


def _mean(parts: Iterable[np.ndarray]) -> np.ndarray:
    found: np.ndarray = np.stack(list(parts)).mean(axis=0)
    return found


def _groups(candidates: int, together: int) -> int:
    return max(2, -(-candidates // together))


def models_of(candidates: int, together: int, rounds: int) -> int:
    """Own models that so many rounds train: each candidate is deleted once, `together` of them from one original."""
    return rounds * (candidates + _groups(candidates, together))


@dataclass(frozen=True)
class _Found:
    """One group's models: how many records they had, and their answers: inside [g, 2, c], outside [m, 2, c] (None of
    all but the first groups), to the probes before [P, c] and after [g, P, c], and what a step up each candidate's loss
    does to the probes [g, P, c]."""

    records: int
    inside: np.ndarray
    outside: np.ndarray | None
    probes: np.ndarray
    probes_after: np.ndarray
    effects: np.ndarray

    def rows(self) -> dict[str, np.ndarray]:
        """By name [n, ...]: of each candidate of the group, or of the group as one row."""
        found = {name: getattr(self, name) for name in ("inside", "probes_after", "effects")}
        found["probes"] = self.probes[None]
        return found if self.outside is None else {**found, "outside": self.outside[None]}


@dataclass(frozen=True)
class _Group:
    """Trains one group's models and asks them; runs in a worker."""

    shop: Workshop
    wanted: WantedWorlds
    round: int

    def __call__(self, numbered: tuple[int, np.ndarray]) -> _Found:
        number, group = numbered
        candidates, probes = self.wanted.candidates, self.wanted.probes
        shop, deleted = self.shop, candidates[group]
        if self.wanted.labels is not None:
            shop = shop.relabelled(deleted, self.wanted.labels[group])
        purpose = (self.round, number)
        others = shop.pool[~np.isin(shop.pool, np.concatenate([deleted, probes]))]
        rng = spawn(self.wanted.seed, "own records", *purpose)
        kept = rng.choice(others, min(max(shop.set_size - len(deleted), 1), len(others)), replace=False)
        records = rng.permutation(np.concatenate([kept, deleted]))
        deletions = [
            Deletion(
                deleted[i : i + 1],
                _NOBODY,
                integer_seed(self.wanted.seed, "own retrained model", *purpose, i) if shop.fresh else None,
                shop.leaves_gap,
            )
            for i in range(len(deleted))
        ]
        seed = integer_seed(self.wanted.seed, "own model", *purpose)
        original, unlearned = train_and_unlearn(shop.method, shop.trainer, records, deletions, seed)
        told_of_all = number < _MOST_OTHERS
        whom, mine = (candidates, group) if told_of_all else (deleted, np.arange(len(deleted)))
        everybody = np.concatenate([probes, whom])
        asked = [everybody, everybody, *(np.append(probes, record) for record in deleted[1:])]
        answers = [answer.astype(np.float32) for answer in query([original, *unlearned], asked, shop.dataset)]
        size = len(probes)
        before, first, *others_after = answers
        own = [first[size + mine[0]], *(answer[size] for answer in others_after)]
        outside = None
        if told_of_all:
            outside = np.stack([before[size:], first[size:]], axis=1)
            outside[np.isin(candidates, records)] = np.nan
        return _Found(
            records=len(records),
            inside=np.stack([before[size + mine], np.stack(own)], axis=1),
            outside=outside,
            probes=before[:size],
            probes_after=np.stack([answer[:size] for answer in answers[1:]]),
            effects=_effects(shop, original, probes, deleted),
        )


def _effects(shop: Workshop, original: Ensemble, probes: np.ndarray, deleted: np.ndarray) -> np.ndarray:
    """Of the original's constituents together; no probes where these have no gradients."""
    # A method may have put something else in a trained model's place.
    known = all(hasattr(constituent, "effects") for constituent in original.constituents)
    if GRADIENTS not in shop.trainer.capabilities or not known:
        return np.zeros((len(deleted), 0, shop.dataset.num_classes), dtype=np.float32)
    rows = [shop.dataset.rows(part) for part in (probes, deleted)]
    labels = shop.dataset.labels[deleted]
    found = [constituent.effects(*rows, labels) for constituent in original.constituents]
    return np.asarray(np.mean(found, axis=0), dtype=np.float32)


def one_version(pairs: np.ndarray, version: str) -> np.ndarray:
    """Pairs [..., 2, c] with the version that is seen in the place of both."""
    seen = pairs[..., :1, :] if version == "original" else pairs[..., 1:, :]
    return np.repeat(seen, 2, axis=-2)

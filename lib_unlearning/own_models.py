"""The adversary's own models: pairs with and without a candidate, trained by the target's method on his own records.

Candidates are taken in groups: one model is trained on own records and a group of candidates, and each of them is
deleted from it in turn. That costs one training a candidate and one a group, in stacks and processes like any other.
Every further round divides the candidates anew. A round is kept on disk, and shared by all attacks.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.attack import OwnWorlds, WantedWorlds
from lib_unlearning.cache.arrays import read_arrays, write_arrays
from lib_unlearning.cache.files import digest, digest_arrays
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
_FORM = 2  # of the files, raised when they hold something else


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

    def worlds(self, wanted: WantedWorlds) -> OwnWorlds:
        """What own models say of the candidates and of the probes."""
        known: np.ndarray = np.zeros(len(wanted.candidates), dtype=bool)
        rounds = []
        for number in range(wanted.rounds):
            answers = self._kept_round(wanted, number)
            known |= ~np.isnan(answers["outside"][:, :, 0, 0]).all(axis=0)
            rounds.append(self._seen(answers, wanted.used))
        if not known.all():
            told = "%d of %d candidates stand in every own model: likelihoods say nothing of them"
            LOGGER.warning(told, (~known).sum(), len(known))
        return _assembled(rounds)

    def relabelled(self, records: np.ndarray, labels: np.ndarray) -> Workshop:
        """One that takes other labels [k] for some records [k]."""
        taken = self.dataset.labels.copy()
        taken[records] = labels
        dataset = dataclasses.replace(self.dataset, labels=taken)  # type: ignore[type-var]
        trainer, method = copy.copy(self.trainer), copy.copy(self.method)
        trainer.dataset = method.dataset = dataset
        return dataclasses.replace(self, dataset=dataset, trainer=trainer, method=method)

    def _seen(self, answers: dict[str, np.ndarray], used: int) -> dict[str, np.ndarray]:
        """A round's answers as the provider would publish them, of the versions that the adversary sees."""
        published = {name: self._published(part) for name, part in answers.items() if name not in ("group", "effects")}
        before = self.link.signal(published["probes"][:, :used])[answers["group"]]
        changes = before - self.link.signal(published["probes_after"][:, :used])
        effects = answers["effects"][:, :used]
        effects = (effects - effects.mean(axis=2, keepdims=True)) if effects.size else effects
        found = {
            "effects": effects.reshape(len(changes), -1),
            "changes": changes.reshape(len(changes), -1),
            "probes": published["probes"][:, :used],
        }
        for name in ("inside", "outside"):
            found[name] = published[name] if self.versions == "both" else one_version(published[name], self.versions)
        return found

    def _published(self, answers: np.ndarray) -> np.ndarray:
        """What is let through of answers [..., c]; NaN stays where nobody was asked."""
        rows = answers.reshape(-1, answers.shape[-1])
        asked = ~np.isnan(rows[:, 0])
        published = self.publish(rows[asked])
        if asked.all():
            return published.reshape(answers.shape)
        found = np.full(rows.shape, np.nan, published.dtype)
        found[asked] = published
        return found.reshape(answers.shape)

    def _kept_round(self, wanted: WantedWorlds, number: int) -> dict[str, np.ndarray]:
        if self.folder is None:
            return self._round(wanted, number)
        taken = () if wanted.labels is None else (wanted.labels,)
        records = digest_arrays(wanted.candidates, wanted.probes, *taken)
        key = digest([self.shaped_by, records, wanted.seed, number, _FORM, *(["fresh"] if self.fresh else [])])
        path = self.folder / f"own-{key[:16]}.npz"
        if not path.exists():
            write_arrays(path, self._round(wanted, number))
        return read_arrays(path, self.trust)

    def _round(self, wanted: WantedWorlds, number: int) -> dict[str, np.ndarray]:
        shuffled = spawn(wanted.seed, "own groups", number).permutation(len(wanted.candidates))
        groups = np.array_split(shuffled, _groups(len(wanted.candidates), self.together))
        if self.processes > 1:
            self.trainer.warm_up()
        task = _Group(self, wanted, number)
        numbered = list(enumerate(groups))
        parts = list(
            parallel_map(task, numbered, self.processes, "own models", self.quiet, lambda part: 1 + len(part[1]))
        )
        smallest = min(part.records for part in parts)
        if smallest < self.set_size:
            LOGGER.warning("own models learn from %d records, not %d: there are no more", smallest, self.set_size)
        order = np.argsort(np.concatenate(groups))
        return {
            "inside": np.concatenate([part.inside for part in parts])[order],
            "outside": np.stack([part.outside for part in parts if part.outside is not None]),
            "probes": np.stack([part.probes for part in parts]),
            "probes_after": np.concatenate([part.probes_after for part in parts])[order],
            "effects": np.concatenate([part.effects for part in parts])[order],
            "group": np.repeat(np.arange(len(groups)), [len(group) for group in groups])[order],
        }


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


def _assembled(rounds: list[dict[str, np.ndarray]]) -> OwnWorlds:
    changes: np.ndarray = np.stack([part["changes"] for part in rounds]).mean(axis=0)
    effects: np.ndarray = np.stack([part["effects"] for part in rounds]).mean(axis=0)
    inside, outside, probes = (np.stack([part[name] for part in rounds]) for name in ("inside", "outside", "probes"))
    return OwnWorlds(changes, inside, outside, probes, effects)

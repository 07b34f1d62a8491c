"""The adversary's own models: pairs with and without a candidate, trained by the target's method on his own records.

Candidates are taken in groups: one model is trained on own records and a group of candidates, and each of them is
deleted from it in turn. That costs one training a candidate and one a group, in stacks and processes like any other.
Every further round divides the candidates anew. A round is kept on disk, and shared by all attacks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.attack import OwnWorlds
from lib_unlearning.attacks.linear import centred_logs
from lib_unlearning.cache.files import digest, digest_arrays, read_arrays, write_arrays
from lib_unlearning.dataset import Dataset
from lib_unlearning.parallel import parallel_map
from lib_unlearning.posterior import query
from lib_unlearning.seeds import integer_seed, spawn
from lib_unlearning.training.tasks import Trainer
from lib_unlearning.unlearning.base import Deletion, UnlearningMethod, train_and_unlearn

_NOBODY = np.array([], dtype=np.int64)


@dataclass(frozen=True)
class Workshop:
    """With what the adversary trains models of his own.

    Attributes:
        dataset, trainer, method: as the shadow side's.
        pool: [n] records of his own to train on.
        set_size: records a model.
        together: candidates that are deleted from one model.
        leaves_gap: see `Deletion`.
        publish: what the provider would let through of posteriors [m, c].
        versions: which of them he sees (see `Budget`).
        shaped_by: all that shapes his models and is not said by arguments; part of the names of files.
        folder: where rounds are kept; None to keep none.
    """

    dataset: Dataset
    trainer: Trainer
    method: UnlearningMethod
    pool: np.ndarray
    set_size: int
    together: int
    leaves_gap: bool
    publish: Callable[[np.ndarray], np.ndarray]
    versions: str
    shaped_by: dict[str, Any]
    folder: Path | None
    processes: int
    quiet: bool

    def worlds(self, candidates: np.ndarray, probes: np.ndarray, seed: int, rounds: int) -> OwnWorlds:
        """What own models say of candidates [m] and probes [P] in a number of rounds."""
        found = [self._kept_round(candidates, probes, seed, number) for number in range(rounds)]
        changes: np.ndarray = np.stack([part["changes"] for part in found]).mean(axis=0)
        return OwnWorlds(
            changes,
            *(np.stack([part[name] for part in found]) for name in ("inside", "outside", "probes")),
        )

    def _kept_round(self, candidates: np.ndarray, probes: np.ndarray, seed: int, number: int) -> dict[str, np.ndarray]:
        if self.folder is None:
            return self._round(candidates, probes, seed, number)
        key = digest([self.shaped_by, digest_arrays(candidates, probes), seed, number])
        path = self.folder / f"own-{key[:16]}.npz"
        if not path.exists():
            write_arrays(path, self._round(candidates, probes, seed, number))
        return read_arrays(path)

    def _round(self, candidates: np.ndarray, probes: np.ndarray, seed: int, number: int) -> dict[str, np.ndarray]:
        shuffled = spawn(seed, "own groups", number).permutation(len(candidates))
        groups = np.array_split(shuffled, max(2, -(-len(candidates) // self.together)))
        if self.processes > 1:
            self.trainer.warm_up()
        task = _Group(self, candidates, probes, seed, number)
        numbered = list(enumerate(groups))
        parts = list(parallel_map(task, numbered, self.processes, "own models", self.quiet))
        order = np.argsort(np.concatenate(groups))
        return {
            "changes": np.concatenate([part.changes for part in parts])[order],
            "inside": np.concatenate([part.inside for part in parts])[order],
            "outside": np.stack([part.outside for part in parts]),
            "probes": np.stack([part.probes for part in parts]),
        }


@dataclass(frozen=True)
class _Found:
    """One group's part of `OwnWorlds`: changes [g, P c], inside [g, 2, c], outside [m, 2, c], probes [P, c]."""

    changes: np.ndarray
    inside: np.ndarray
    outside: np.ndarray
    probes: np.ndarray


@dataclass(frozen=True)
class _Group:
    """Trains one group's models and asks them; runs in a worker."""

    shop: Workshop
    candidates: np.ndarray
    probes: np.ndarray
    seed: int
    round: int

    def __call__(self, numbered: tuple[int, np.ndarray]) -> _Found:
        number, group = numbered
        shop, deleted = self.shop, self.candidates[group]
        purpose = (self.round, number)
        others = shop.pool[~np.isin(shop.pool, np.concatenate([deleted, self.probes]))]
        rng = spawn(self.seed, "own records", *purpose)
        kept = rng.choice(others, min(max(shop.set_size - len(deleted), 1), len(others)), replace=False)
        records = rng.permutation(np.concatenate([kept, deleted]))
        deletions = [Deletion(deleted[i : i + 1], _NOBODY, leaves_gap=shop.leaves_gap) for i in range(len(deleted))]
        seed = integer_seed(self.seed, "own model", *purpose)
        original, unlearned = train_and_unlearn(shop.method, shop.trainer, records, deletions, seed)
        everybody = np.concatenate([self.probes, self.candidates])
        asked = [everybody, everybody, *(np.append(self.probes, record) for record in deleted[1:])]
        answers = [shop.publish(answer) for answer in query([original, *unlearned], asked, shop.dataset)]
        size = len(self.probes)
        before, first, *others_after = answers
        own = [first[size + group[0]], *(answer[size] for answer in others_after)]
        inside = np.stack([before[size + group], np.stack(own)], axis=1)
        outside = np.stack([before[size:], first[size:]], axis=1).astype(np.float32)
        outside[np.isin(self.candidates, records)] = np.nan
        at_probes = centred_logs(before[:size])
        changes = np.stack([(at_probes - centred_logs(answer[:size])).ravel() for answer in answers[1:]])
        if shop.versions != "both":  # who sees one version sees no change
            changes, inside, outside = np.zeros_like(changes), _one(inside, shop.versions), _one(outside, shop.versions)
        return _Found(changes.astype(np.float32), inside.astype(np.float32), outside, before[:size].astype(np.float32))


def _one(pairs: np.ndarray, version: str) -> np.ndarray:
    """Pairs [n, 2, c] with the version that is seen in the place of both."""
    return np.repeat(pairs[:, :1] if version == "original" else pairs[:, 1:], 2, axis=1)

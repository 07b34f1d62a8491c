"""Exact unlearning by retraining: from scratch, or the shards that held a deleted record (paper section 2.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib_unlearning.options import option, whole
from lib_unlearning.record_numbers import among
from lib_unlearning.seeds import integer_seed
from lib_unlearning.training.tasks import TrainingTask
from lib_unlearning.unlearning.base import Deletion, Ensemble, UnlearningMethod, Work


class Retraining(UnlearningMethod):
    """Retraining the shards that held a deleted record, all of them in one phase; with one shard, from scratch."""

    exact = True
    num_shard = 1

    def work(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> Work:
        """Train every shard of the original and every shard that a deletion touches.

        Shards' sizes differ by at most one; those that a deletion does not touch are shared with the original. A new
        record joins the shard that lost the one it replaces, at its place. A shard left without records has no vote.
        """
        shards = np.array_split(records, self.num_shard)
        whole = {number: _Part(shard) for number, shard in enumerate(shards)}
        changed = [_changed_shards(shards, deletion) for deletion in deletions]
        retraining = [
            task
            for parts, deletion in zip(changed, deletions, strict=True)
            for task in _tasks(parts, seed if deletion.seed is None else deletion.seed)
        ]
        fitted = iter((yield [*_tasks(whole, seed), *retraining]))
        original = Ensemble([next(fitted) for _ in shards], shards)
        return original, [_assembled(original, parts, fitted) for parts in changed]


@dataclass(frozen=True)
class _Part:
    """Records of a shard [n], and where it has gaps the places they keep (see `TrainingTask`)."""

    records: np.ndarray
    places: np.ndarray | None = None
    at: np.ndarray | None = None


@dataclass(frozen=True)
class ShardOptions:
    """Of SISA."""

    num_shard: int = option(10, "shards of SISA", kind=whole(1), metavar="N", per_side=True)


class Sisa(Retraining):
    """SISA without slicing (Bourtoule et al., IEEE S&P 2021)."""

    Options = ShardOptions

    def __init__(self, options: ShardOptions, dataset: Any) -> None:
        super().__init__(options, dataset)
        self.num_shard = options.num_shard

    @classmethod
    def complaint(cls, options: ShardOptions, side: str, set_size: int) -> str | None:
        """A shard must have a record."""
        if options.num_shard <= set_size:
            return None
        return (
            f"--{side}_num_shard {options.num_shard}: a set holds {set_size} records; "
            f"lower it or raise --{side}_set_size"
        )


def _tasks(shards: Mapping[int, _Part], seed: int) -> list[TrainingTask]:
    """A task per shard that has records; a shard keeps its seed whatever happens to the others."""
    return [
        TrainingTask(part.records, integer_seed(seed, "shard", number), places=part.places, at=part.at)
        for number, part in shards.items()
        if len(part.records)
    ]


def _changed_shards(shards: list[np.ndarray], deletion: Deletion) -> dict[int, _Part]:
    """Number of each shard that held a deleted record -> its records afterwards, in their old order."""
    changed = {}
    for number, shard in enumerate(shards):
        leaving = among(shard, deletion.records)
        if leaving.any():
            here = among(deletion.records, shard)
            newcomers = deletion.replacements[here[: len(deletion.replacements)]]
            records = np.concatenate([shard[~leaving], newcomers])
            if deletion.leaves_gap:
                at = np.concatenate([np.flatnonzero(~leaving), np.flatnonzero(leaving)[: len(newcomers)]])
                changed[number] = _Part(records, shard, at)
            else:
                changed[number] = _Part(records)
    return changed


def _assembled(original: Ensemble, changed: Mapping[int, _Part], fitted: Iterator[Any]) -> Ensemble:
    constituents, shards = [], []
    for number, (constituent, shard) in enumerate(zip(original.constituents, original.shards, strict=True)):
        records = changed[number].records if number in changed else shard
        if len(records):
            constituents.append(next(fitted) if number in changed else constituent)
            shards.append(records)
    return Ensemble(constituents, shards)

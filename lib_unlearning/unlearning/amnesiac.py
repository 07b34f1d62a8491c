"""Amnesiac unlearning (Graves et al., AAAI 2021): take back the steps whose batch held a forgotten record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lib_unlearning.options import number, option, whole
from lib_unlearning.training.tasks import TrainingTask
from lib_unlearning.unlearning.base import Deletion
from lib_unlearning.unlearning.from_original import Forgetting, FromOriginal


@dataclass(frozen=True)
class AmnesiacOptions:
    """Of amnesiac unlearning."""

    repair_epochs: int = option(1, "passes over the kept records afterwards", kind=whole(1), metavar="N")
    repair_lr: float = option(0.001, "learning rate of these", kind=number(above=0), metavar="X")


class Amnesiac(FromOriginal):
    """The provider has kept every batch's step; those that a forgotten record took part in are subtracted."""

    Options = AmnesiacOptions

    def first(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> TrainingTask:
        """The steps of each deletion's records are summed as they are made; of a later turn's, with those before."""
        counts = [len(deletion.turns) for deletion in deletions]
        watched = [
            deletion.upto(turn) for deletion, count in zip(deletions, counts, strict=True) for turn in range(count)
        ]
        ends = np.cumsum(counts)
        self._first = [0, *ends.tolist()]
        return replace(super().first(records, deletions, seed), watched=watched)

    def begin(self, original: Any, current: Any, number: int, turn: int) -> Any:
        """Without them; a step that an earlier turn has taken back is not taken back again."""
        group = self._first[number] + turn
        return current.less_updates(original, group, group - 1 if turn else None)

    def phase(self, number: int, of: Forgetting) -> TrainingTask:
        """The repair."""
        return TrainingTask(of.kept, of.seed, of.current, self.options.repair_epochs, self.options.repair_lr)

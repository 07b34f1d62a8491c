"""What methods that start from the original model have in common; they need a trainer that can go on from a model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib_unlearning.dataset import RecordTable
from lib_unlearning.posterior import query
from lib_unlearning.seeds import integer_seed
from lib_unlearning.training.tasks import TrainingTask
from lib_unlearning.unlearning.base import Deletion, Ensemble, UnlearningMethod, Work


@dataclass(frozen=True)
class Forgetting:
    """One deletion, as a method sees it in a phase.

    Attributes:
        kept, gone: records that stay and that are to be forgotten now.
        original: the model at the start of this turn. current: what the phases before made of it.
        seed: of this deletion. first_seed: of the original.
    """

    kept: np.ndarray
    gone: np.ndarray
    original: Any
    current: Any
    seed: int
    first_seed: int

    @property
    def both(self) -> np.ndarray:
        """Kept records first."""
        return np.concatenate([self.kept, self.gone])


def remaining(records: np.ndarray, deletion: Deletion, turn: int = -1) -> np.ndarray:
    """Records [n'] that an unlearned model is to be of after a turn (the last): those that stay, then the new ones."""
    return np.concatenate([records[~np.isin(records, deletion.upto(turn))], deletion.replacements])


def _phase_seed(seed: int, deletion: Deletion, number: int, phase: int, turn: int) -> int:
    """Of one phase, in the first turn as if there were no others."""
    own = seed if deletion.seed is None else deletion.seed
    return integer_seed(own, "forget", number, phase, *([turn] if turn else []))


def inputs_of(model: Any, dataset: RecordTable, records: np.ndarray) -> np.ndarray:
    """Features [k, ...] of records as a network gets them: pictures, or rows of a table."""
    rows = np.asarray(dataset.rows(records))
    shape = model.stack.shape
    return rows.reshape(len(rows), *shape)


class FromOriginal(UnlearningMethod):
    """Trains the original, then for each turn of a deletion a number of phases, each on from what the last one left."""

    def work(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> Work:
        """Every phase of all deletions is trained together."""
        (original,) = yield [self.first(records, deletions, seed)]
        models = [original for _ in deletions]
        turns = [deletion.turns for deletion in deletions]
        for turn in range(max(map(len, turns), default=0)):
            going = [number for number, gone in enumerate(turns) if turn < len(gone)]
            before = list(models)
            for number in going:
                models[number] = self.begin(original, models[number], number, turn)
            for phase in range(self.phases):
                found = yield [
                    self.phase(
                        phase,
                        Forgetting(
                            remaining(records, deletions[number], turn),
                            turns[number][turn],
                            before[number],
                            models[number],
                            _phase_seed(seed, deletions[number], number, phase, turn),
                            seed,
                        ),
                    )
                    for number in going
                ]
                for number, model in zip(going, found, strict=True):
                    models[number] = model
        unlearned = [
            Ensemble([model], [remaining(records, deletion)]) for model, deletion in zip(models, deletions, strict=True)
        ]
        return Ensemble([original], [records]), unlearned

    def first(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> TrainingTask:
        """The original's training."""
        return TrainingTask(records, integer_seed(seed, "shard", 0))

    def begin(self, original: Any, current: Any, number: int, turn: int) -> Any:
        """What the first phase of a deletion's turn goes on from: what the turn before left, `current`."""
        return current

    @property
    def phases(self) -> int:
        """How many there are."""
        return 1

    @abstractmethod
    def phase(self, number: int, of: Forgetting) -> TrainingTask:
        """What one deletion is trained on in one phase."""

    def answers(self, model: Any, records: np.ndarray) -> np.ndarray:
        """A model's posteriors [k, c] for records [k]."""
        return query([Ensemble([model], [records])], [records], self.dataset)[0]

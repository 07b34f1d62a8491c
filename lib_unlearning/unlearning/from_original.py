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
        kept, gone: records that stay and that are to be forgotten.
        original: the model at the start. current: what the phases before made of it.
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


def remaining(records: np.ndarray, deletion: Deletion) -> np.ndarray:
    """Records [n'] that an unlearned model is to be of: those that stay, then the new ones."""
    return np.concatenate([records[~np.isin(records, deletion.records)], deletion.replacements])


def inputs_of(model: Any, dataset: RecordTable, records: np.ndarray) -> np.ndarray:
    """Features [k, ...] of records as a network gets them: pictures, or rows of a table."""
    rows = np.asarray(dataset.rows(records))
    shape = model.stack.shape
    return rows.reshape(len(rows), *shape)


class FromOriginal(UnlearningMethod):
    """Trains the original, then for each deletion a number of phases, each on from what the last one left."""

    def work(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> Work:
        """Every phase of all deletions is trained together."""
        (original,) = yield [self.first(records, deletions, seed)]
        kept = [remaining(records, deletion) for deletion in deletions]
        models = [self.begin(original, number, deletion) for number, deletion in enumerate(deletions)]
        for phase in range(self.phases):
            models = yield [
                self.phase(
                    phase,
                    Forgetting(
                        kept[number],
                        deletion.records,
                        original,
                        models[number],
                        integer_seed(seed if deletion.seed is None else deletion.seed, "forget", number, phase),
                        seed,
                    ),
                )
                for number, deletion in enumerate(deletions)
            ]
        unlearned = [Ensemble([model], [part]) for model, part in zip(models, kept, strict=True)]
        return Ensemble([original], [records]), unlearned

    def first(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> TrainingTask:
        """The original's training."""
        return TrainingTask(records, integer_seed(seed, "shard", 0))

    def begin(self, original: Any, number: int, deletion: Deletion) -> Any:
        """What a deletion's first phase goes on from."""
        return original

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

"""What an unlearning method is: a generator that yields what must be trained and is sent the trained models.

Retraining yields once. A method that starts from the original model yields that first, then what continues it. The
driver advances many sample sets in lock-step, so that each phase of all of them is trained together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib_unlearning.dataset import RecordTable
from lib_unlearning.options import NoOptions
from lib_unlearning.training.tasks import Trainer, TrainingTask


@dataclass(frozen=True)
class Ensemble:
    """A trained model of any unlearning method: its posterior is the mean over its constituents.

    Attributes:
        constituents: fitted models, of any types; one for retraining from scratch, one per shard for SISA.
        shards: training records of each constituent.
    """

    constituents: list[Any]
    shards: list[np.ndarray]

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Posteriors [m, c] for features [m, d]."""
        found: np.ndarray = np.mean([constituent.predict_proba(features) for constituent in self.constituents], axis=0)
        return found

    def fact(self, name: str) -> list[Any]:
        """What the constituents know of themselves under a name; those that do not know are left out."""
        facts = [getattr(constituent, "facts", {}) for constituent in self.constituents]
        return [known[name] for known in facts if name in known]


@dataclass(frozen=True)
class Deletion:
    """What is to be forgotten, and what retraining shares with the original training.

    Attributes:
        records: [k] to forget. replacements: [k] new records to learn in their place, or [0] when there are none.
        seed: that the retrained model gets (None: the original's).
        leaves_gap: whether the deleted records' places in the order of training stay empty, so that nothing else moves.
        one_by_one: whether a method that starts from the original forgets them in turn, as a provider does who answers
            each request as it comes; retraining ends at the same model.
    """

    records: np.ndarray
    replacements: np.ndarray
    seed: int | None = None
    leaves_gap: bool = False
    one_by_one: bool = False

    @property
    def turns(self) -> list[np.ndarray]:
        """What is forgotten at a time, [k'] each."""
        return np.split(self.records, len(self.records)) if self.one_by_one else [self.records]

    def upto(self, turn: int = -1) -> np.ndarray:
        """What is forgotten after a turn (the last), all turns before it included."""
        return self.records[: turn + 1] if self.one_by_one and turn >= 0 else self.records


# The original model and one unlearned model a deletion.
Outcome = tuple[Ensemble, list[Ensemble]]
Work = Generator[list[TrainingTask], list[Any], Outcome]


class UnlearningMethod(ABC):
    """What every unlearning method can do; experiments know nothing else of it.

    Args:
        options: an instance of `Options`.
        dataset: the records that models are trained on.
    """

    exact: bool = False  # whether an unlearned model is one that was trained without the deleted records
    libraries: tuple[str, ...] = ()  # distributions whose versions shape its models, beside the family's
    Options: type = NoOptions  # its fields become flags, go into the cache address and into result rows

    def __init__(self, options: Any, dataset: RecordTable) -> None:
        self.options = options
        self.dataset = dataset

    @classmethod
    def complaint(cls, options: Any, side: str, set_size: int) -> str | None:
        """Why sample sets of this size cannot be unlearned with these options, naming the flag; None if they can."""
        return None

    @abstractmethod
    def work(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> Work:
        """Train a model on records [n] with a seed, then make it forget each deletion, starting from it each time.

        Yields lists of tasks, is sent as many models, and returns the original and one unlearned model a deletion.
        """


def advance_together(works: Sequence[Work], trainer: Trainer) -> list[Outcome]:
    """Run several works in lock-step: what all of them yield at a time is trained in one call."""
    outcomes: dict[int, Outcome] = {}
    waiting: dict[int, list[Any] | None] = dict.fromkeys(range(len(works)))
    while waiting:
        asked: dict[int, list[TrainingTask]] = {}
        for number, models in waiting.items():
            try:
                asked[number] = next(works[number]) if models is None else works[number].send(models)
            except StopIteration as end:
                outcomes[number] = end.value
        tasks = [task for some in asked.values() for task in some]
        fitted = iter(trainer.fit(tasks) if tasks else [])
        waiting = {number: [next(fitted) for _ in tasks] for number, tasks in asked.items()}
    return [outcomes[number] for number in range(len(works))]


def train_and_unlearn(
    method: UnlearningMethod, trainer: Trainer, records: np.ndarray, deletions: Sequence[Deletion], seed: int
) -> Outcome:
    """Original and unlearned models of one sample set."""
    return advance_together([method.work(records, deletions, seed)], trainer)[0]

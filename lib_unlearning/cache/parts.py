"""What is trained of a sample set before all of it is, kept every now and then: a broken run goes on from there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from lib_unlearning.cache.model_store import ModelStore
from lib_unlearning.cache.trained_set import TrainedSet
from lib_unlearning.record_split import SampleSet
from lib_unlearning.training.tasks import Trainer, TrainingTask
from lib_unlearning.unlearning.base import Ensemble

_SECONDS = 20.0  # of training that are worth a file


class KeptInParts(Trainer):
    """A trainer of one sample set's models that finds what an earlier run left, and leaves its own for a later one.

    A part is known by the set, by which of the trainer's calls it is of, and by its first task: an unlearning method
    asks for the same tasks in the same order every time.
    """

    def __init__(self, trainer: Trainer, store: ModelStore, index: int, sample_set: SampleSet) -> None:
        self.dataset, self.title, self.capabilities = trainer.dataset, trainer.title, trainer.capabilities
        self.device, self.size = trainer.device, trainer.size
        self._trainer, self._store, self._index, self._sample_set = trainer, store, index, sample_set
        self._calls = 0

    def fit(self, tasks: Sequence[TrainingTask]) -> list[Any]:
        """One trained model a task; a part is written whenever its training has taken long enough."""
        call, self._calls = self._calls, self._calls + 1
        if any(task.watched for task in tasks):  # what was watched is in no file
            return self._trainer.fit(tasks)
        models: list[Any] = []
        while found := self._store.load_part(self._index, self._sample_set, call, len(models)):
            models += [ensemble.constituents[0] for ensemble in found.ensembles]
        self._trainer.check(tasks)
        kept, since = len(models), time.monotonic()
        while len(models) < len(tasks):
            models += self._trainer.fit(tasks[len(models) : len(models) + self._trainer.size])
            if len(models) < len(tasks) and time.monotonic() - since > _SECONDS:
                self._keep(call, kept, tasks[kept : len(models)], models[kept:])
                kept, since = len(models), time.monotonic()
        return models

    def _keep(self, call: int, start: int, tasks: Sequence[TrainingTask], models: Sequence[Any]) -> None:
        parts = [Ensemble([model], [task.records]) for model, task in zip(models, tasks, strict=True)]
        nothing = np.zeros(len(parts))
        part = TrainedSet(parts[0], parts[1:], np.zeros((len(parts), 2)), nothing)
        self._store.save_part(self._index, self._sample_set, call, start, part)

"""How long a run takes on this machine, and how much disk: its trainings are counted, and a few of each kind are done.

What must be trained is what the unlearning method says, driven with placeholders for trained models.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from lib_unlearning.attack import ATTACK_MODELS, ATTACKS
from lib_unlearning.cache.inventory import size_text
from lib_unlearning.construct_feature import FEATURES
from lib_unlearning.record_split import SIDES
from lib_unlearning.study import Study
from lib_unlearning.training.tasks import TrainingTask
from lib_unlearning.unlearning.base import Work

_START = 1.0  # seconds that a process spends before its work
_CASES_A_SECOND = 4000  # evaluated with 2,000 resamples


@dataclass(frozen=True)
class Cost:
    """What runs take: trainings, seconds to train and to attack, bytes of models, and whether all could be counted."""

    models: int = 0
    trainings: int = 0
    training_seconds: float = 0.0
    attack_seconds: float = 0.0
    size: float = 0.0
    complete: bool = True

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.models + other.models,
            self.trainings + other.trainings,
            self.training_seconds + other.training_seconds,
            self.attack_seconds + other.attack_seconds,
            self.size + other.size,
            self.complete and other.complete,
        )

    def times(self, count: int) -> Cost:
        """Of as many equal runs."""
        return Cost(
            self.models * count,
            self.trainings * count,
            self.training_seconds * count,
            self.attack_seconds * count,
            self.size * count,
            self.complete,
        )


@dataclass
class Estimator:
    """Estimates runs; what they share is measured and counted once."""

    _seconds: dict[Hashable, tuple[float, float]] = field(default_factory=dict)
    _counted: set[Hashable] = field(default_factory=set)

    def cost(self, study: Study, attacks: bool) -> Cost:
        """Of training what is not there of a study's models, and of attacking them."""
        found = Cost(attack_seconds=self._attack(study) if attacks else 0.0)
        for side in SIDES:
            missing = [index for of, index in study.sets() if of == side and not study.store[side].has(index)]
            key = study.store[side].folder
            if missing and key not in self._counted:
                self._counted.add(key)
                found += self._training(study, side, len(missing))
        return found

    def _training(self, study: Study, side: str, sets: int) -> Cost:
        tasks, complete = expected_tasks(study.method[side].work(*study.training_of(side, 0)))
        origin = study.settings.origins[side]
        key = (origin, len(tasks[0].records), len(study.dataset[side]))
        if key not in self._seconds:
            self._seconds[key] = _measured(study, side, tasks)
        seconds, size = self._seconds[key]
        models = sets * (1 + study.settings.sides[side].unlearning_size)
        total = sets * len(tasks)
        return Cost(models, total, total * seconds / study.processes, 0.0, total * size, complete)

    def _attack(self, study: Study) -> float:
        settings = study.settings
        side = settings.sides["shadow"]
        cases = 2 * side.set_num * side.unlearning_size * side.unlearning_num
        key = (settings.attack_model, cases)
        if key not in self._seconds:
            rng = np.random.default_rng(0)
            features, member = rng.normal(size=(cases, 4)), rng.permutation(np.arange(cases) % 2)
            fit = partial(ATTACK_MODELS[settings.attack_model](0).fit, features, member)
            self._seconds[key] = (_timed(fit), 0.0)
        fits = 3 * (len(FEATURES) + len(ATTACKS))  # each once, and on two halves of the shadow side
        return fits * self._seconds[key][0] + cases / _CASES_A_SECOND


class _Placeholder:
    """Stands for a trained model."""


def expected_tasks(work: Work) -> tuple[list[TrainingTask], bool]:
    """All tasks that a work will yield, and whether that could be found out without training."""
    found: list[TrainingTask] = []
    try:
        tasks = next(work)
        while True:
            found += tasks
            tasks = work.send([_Placeholder() for _ in tasks])
    except StopIteration:
        return found, True
    except Exception:  # the method looked into a model
        return found, False


def _measured(study: Study, side: str, tasks: Sequence[TrainingTask]) -> tuple[float, float]:
    """Seconds and bytes of one training, from a few."""
    trainer = study.trainer[side]
    fresh = [task for task in tasks if task.start is None]
    seconds = trainer.seconds_a_task(fresh)
    return seconds, trainer.bytes_a_model(fresh[0])


def _timed(task: Any) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def told(cost: Cost, processes: int, folder: Any) -> str:
    """A cost in words."""
    more = "" if cost.complete else ", and more that only training tells"
    parts = [f"{cost.models:,} models to train ({cost.trainings:,} trainings{more}), {processes} processes here"]
    seconds = cost.training_seconds + cost.attack_seconds
    parts.append(f"about {duration(_START + seconds)}: training {duration(cost.training_seconds)}")
    if cost.attack_seconds:
        parts[-1] += f", attacks {duration(cost.attack_seconds)}"
    free = shutil.disk_usage(_existing(folder)).free
    parts.append(f"about {size_text(cost.size)} of models on disk, {size_text(free)} are free")
    return "; ".join(parts)


def _existing(folder: Any) -> Any:
    while not folder.exists():
        folder = folder.parent
    return folder


def duration(seconds: float) -> str:
    """Seconds for people: 3 s, 12 min, 4.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 else "1 s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

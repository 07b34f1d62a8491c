"""How long a run takes on this machine, and how much disk: its trainings are counted, and a few of each kind are done.

What must be trained is what the unlearning method says, driven with placeholders for trained models.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from lib_unlearning.attack import ATTACK_MODELS, ATTACKS
from lib_unlearning.cache.inventory import size_text
from lib_unlearning.construct_feature import FEATURES
from lib_unlearning.errors import UserError
from lib_unlearning.own_models import models_of
from lib_unlearning.record_split import SIDES, mean_overlap
from lib_unlearning.settings import KEPT, Settings
from lib_unlearning.statistics.planner import MOST_SETS, sets_for
from lib_unlearning.study import Study
from lib_unlearning.training.tasks import TrainingTask
from lib_unlearning.unlearning.base import Work
from lib_unlearning.wording import duration, plural

_START = 2.0  # seconds that a process spends before its work
_CASES_A_SECOND = 4000  # asked and evaluated
_CASES_A_SECOND_TODAY = 200  # by today's attacks, whose questions and residuals are many


@dataclass(frozen=True)
class Cost:
    """What runs take: trainings, own models apart, seconds to train and to attack, bytes of models, and whether
    all could be counted."""

    models: int = 0
    trainings: int = 0
    own_models: int = 0
    training_seconds: float = 0.0
    attack_seconds: float = 0.0
    size: float = 0.0
    complete: bool = True

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.models + other.models,
            self.trainings + other.trainings,
            self.own_models + other.own_models,
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
            self.own_models * count,
            self.training_seconds * count,
            self.attack_seconds * count,
            self.size * count,
            self.complete,
        )


@dataclass
class Estimator:
    """Estimates runs; what they share is measured and counted once."""

    seconds: dict[Hashable, tuple[float, float]] = field(default_factory=dict)
    _counted: set[Hashable] = field(default_factory=set)

    def cost(self, study: Study, attacks: bool) -> Cost:
        """Of training what is not there of a study's models, and of attacking them."""
        found = self._own_models(study) + Cost(attack_seconds=self._attack(study)) if attacks else Cost()
        for side in SIDES:
            missing = [index for of, index in study.sets() if of == side and not study.store[side].has(index)]
            key = study.store[side].folder
            if missing and key not in self._counted:
                self._counted.add(key)
                found += self._training(study, side, len(missing))
        return found

    def _own_models(self, study: Study) -> Cost:
        """Of training the adversary's own models, which all attacks on the same models share."""
        settings = study.settings
        together, rounds = settings.sides["shadow"].unlearning_size, settings.budget.own_models
        key = (study.store["shadow"].folder, study.store["target"].folder, rounds)
        if settings.attacks != "all" or settings.other_data or key in self._counted:
            return Cost()
        self._counted.add(key)
        models = sum(models_of(part.cases, together, rounds) for part in settings.sides.values())
        seconds = models * self._each(study, "shadow", self._tasks(study, "shadow")[0])[0]
        return Cost(own_models=models, attack_seconds=seconds / study.processes)

    def _tasks(self, study: Study, side: str) -> tuple[list[TrainingTask], bool]:
        return expected_tasks(study.method[side].work(*study.training_of(side, 0)))

    def _each(self, study: Study, side: str, tasks: Sequence[TrainingTask]) -> tuple[float, float]:
        """Seconds and bytes of one training."""
        key = (study.settings.origins[side], len(tasks[0].records), len(study.dataset[side]))
        if key not in self.seconds:
            self.seconds[key] = _measured(study, side, tasks)
        return self.seconds[key]

    def _training(self, study: Study, side: str, sets: int) -> Cost:
        tasks, complete = self._tasks(study, side)
        seconds, size = self._each(study, side, tasks)
        models = sets * (1 + study.settings.sides[side].unlearning_size)
        total = sets * len(tasks)
        return Cost(
            models,
            total,
            0,
            total * seconds / study.processes,
            0.0,
            total * size * (study.settings.keep_models == KEPT[0]),
            complete,
        )

    def _attack(self, study: Study) -> float:
        settings = study.settings
        side = settings.sides["shadow"]
        cases = side.cases
        key = (settings.attack_model, cases)
        if key not in self.seconds:
            rng = np.random.default_rng(0)
            features, member = rng.normal(size=(cases, 4)), rng.permutation(np.arange(cases) % 2)
            fit = partial(ATTACK_MODELS[settings.attack_model](0).fit, features, member)
            self.seconds[key] = (_timed(fit), 0.0)
        today = settings.attacks == "all"
        fits = 3 * (len(FEATURES) + today * len(ATTACKS))  # each once, and on two halves of the shadow side
        return fits * self.seconds[key][0] + cases / (_CASES_A_SECOND_TODAY if today else _CASES_A_SECOND)


_REQUESTS = (5, 10, 20, 50)  # a set, that a plan is made for


@dataclass(frozen=True)
class Plan:
    """What settles a margin with so many requests a set.

    Attributes:
        requests: a set. sets: a side. own_models: the adversary's, a side. models: all of them.
        seconds: of training them here. failure: why these sets cannot be drawn here; None if they can.
    """

    requests: int
    sets: int
    own_models: int = 0
    models: int = 0
    seconds: float = 0.0
    failure: str | None = None


def plans(settings: Settings, open_study: Callable[[Settings], Study], margin: float, relative: bool) -> Iterator[Plan]:
    """A plan for each number of requests a set; `relative` where a method is held against retraining."""
    measured: dict[Hashable, tuple[float, float]] = {}
    two = open_study(replace(settings, sides={side: replace(part, set_num=2) for side, part in settings.sides.items()}))
    for requests in _REQUESTS:
        size = settings.sides["target"].unlearning_num
        shared = mean_overlap(two.split["target"].sample_sets)
        sets = sets_for(margin, requests * size, relative, shared)
        if sets >= MOST_SETS:
            yield Plan(requests, sets, failure="no number of sets would do: they share records")
            continue
        sides = {side: replace(part, set_num=sets, unlearning_size=requests) for side, part in settings.sides.items()}
        try:
            study = open_study(replace(settings, sides=sides, attacks="all"))
        except UserError as error:
            yield Plan(requests, sets, failure=f"not here: {error}")
            continue
        cost = Estimator(measured).cost(study, attacks=True)
        seconds = cost.training_seconds + cost.attack_seconds
        yield Plan(requests, sets, cost.own_models // len(SIDES), cost.models + cost.own_models, seconds)


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


def asked(plan: Sequence[Settings]) -> str:
    """What runs ask their models, in words."""
    cases = sum(part.cases for settings in plan for part in settings.sides.values())
    return f"{cases * len(plan[0].seeds):,} cases to ask both versions about"


def told(cost: Cost, processes: int, folder: Any) -> str:
    """A cost in words."""
    more = "" if cost.complete else ", and more that only training tells"
    where = f"{plural(processes, 'process', 'es')} here"
    own = f" and at most {cost.own_models:,} own models of the adversary's" if cost.own_models else ""
    parts = [f"{cost.models:,} models to train ({cost.trainings:,} trainings{more}){own}, {where}"]
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

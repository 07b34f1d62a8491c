"""The models of a study: trained, kept and queried a sample set at a time, in worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib_unlearning.cache.trained_set import TrainedSet
from lib_unlearning.evaluation_cases import SAMPLES_TO_EVALUATE, evaluation_cases
from lib_unlearning.parallel import Stopwatch, parallel_map
from lib_unlearning.posterior import Answers, accuracies, obtain_posteriors, training_curves
from lib_unlearning.study import Study
from lib_unlearning.unlearning.base import Ensemble, Outcome, advance_together


@dataclass(frozen=True)
class TrainSets:
    """Train and keep all models of some sample sets of one side."""

    study: Study

    def __call__(self, group: Sequence[tuple[str, int]]) -> None:
        side = group[0][0]
        method = self.study.method[side]
        works = [method.work(*self.study.training_of(side, index)) for _, index in group]
        for (_, index), outcome in zip(group, advance_together(works, self.study.trainer[side]), strict=True):
            self._keep(side, index, outcome)

    def _keep(self, side: str, index: int, outcome: Outcome) -> None:
        study, sample_set = self.study, self.study.sample_set(side, index)
        original, unlearned = outcome
        ensembles = [original, *unlearned]
        correct = accuracies(ensembles, sample_set.records, study.split[side].negative, study.dataset[side])
        spent = np.array([_epsilon(ensemble) for ensemble in ensembles])
        study.store[side].save(index, sample_set, TrainedSet(original, unlearned, correct, spent))


def _epsilon(ensemble: Ensemble) -> float:
    """Privacy that DP-SGD spent on any record: its shard's, at most the largest; NaN without DP-SGD."""
    return max(ensemble.fact("epsilon"), default=float("nan"))


def train_missing(study: Study, watch: Stopwatch) -> int:
    """Train what the cache does not hold; returns how many sample sets that were."""
    with watch.stage("check cache"):
        todo = study.untrained()
    with watch.stage("train models"):
        groups = study.grouped(todo)
        warm_up(study, len(groups))
        for _ in parallel_map(TrainSets(study), groups, study.processes, "training", study.settings.quiet):
            pass
    return len(todo)


def warm_up(study: Study, tasks: int) -> None:
    """Import before worker processes are forked what each of them would import again."""
    if tasks > 1 and study.processes > 1:
        for trainer in study.trainer.values():
            trainer.warm_up()


@dataclass(frozen=True)
class QuerySet:
    """Ask all models of one sample set about their cases; None where they are not trained."""

    study: Study

    def __call__(self, which: tuple[str, int]) -> Answers | None:
        side, index = which
        study, settings = self.study, self.study.settings
        sample_set = study.sample_set(side, index)
        trained = study.store[side].load(index, sample_set)
        if trained is None:
            return None
        cases = evaluation_cases(
            sample_set,
            study.split[side].negative,
            SAMPLES_TO_EVALUATE[settings.samples_to_evaluate].positives,
            settings.seed,
            side,
            index,
            settings.placebo,
        )
        original, unlearned = trained.original, trained.unlearned
        return Answers(
            obtain_posteriors(original, unlearned, cases, study.dataset[side], index),
            np.column_stack([trained.accuracy, trained.epsilon])[np.newaxis],
            training_curves(original, unlearned),
        )

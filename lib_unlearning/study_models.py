"""The models of a study: trained, kept and queried a sample set at a time, in worker processes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib_unlearning.cache.inventory import size_text
from lib_unlearning.cache.parts import KeptInParts
from lib_unlearning.cache.trained_set import TrainedSet
from lib_unlearning.errors import UserError
from lib_unlearning.evaluation_cases import SAMPLES_TO_EVALUATE, evaluation_cases
from lib_unlearning.parallel import Stopwatch, parallel_map
from lib_unlearning.posterior import Answers, accuracies, obtain_posteriors, save_answers, training_curves
from lib_unlearning.settings import ORIGINALS
from lib_unlearning.study import Study
from lib_unlearning.unlearning.base import Ensemble, advance_together

_WORTH_MEASURING = 2000  # models, before one is trained to see how large it is


@dataclass(frozen=True)
class TrainSets:
    """Train and keep all models of some sample sets of one side."""

    study: Study

    def __call__(self, group: Sequence[tuple[str, int]]) -> None:
        for (side, index), trained in _trained(self.study, group, keeping=True):
            store = self.study.store[side]
            store.save(index, self.study.sample_set(side, index), trained)
            store.forget_parts(index)


@dataclass(frozen=True)
class TrainAndAsk:
    """Train all models of some sample sets of one side, ask them, and keep what they answered in the models' place.

    Attributes:
        parts: a file for the answers of each sample set.
    """

    study: Study
    parts: Mapping[tuple[str, int], Path]

    def __call__(self, group: Sequence[tuple[str, int]]) -> None:
        study = self.study
        for (side, index), trained in _trained(study, group):
            if study.settings.keep_models == ORIGINALS:
                first = TrainedSet(trained.original, [], trained.accuracy[:1], trained.epsilon[:1])
                study.store[side].variant(ORIGINALS).save(index, study.sample_set(side, index), first)
            save_answers(self.parts[side, index], _answers(study, side, index, trained))


def _trained(
    study: Study, group: Sequence[tuple[str, int]], keeping: bool = False
) -> Iterator[tuple[tuple[str, int], TrainedSet]]:
    """All models of some sample sets of one side; `keeping` says whether parts of a set that takes long are kept."""
    side, index = group[0]
    method, trainer = study.method[side], study.trainer[side]
    if keeping and len(group) == 1 and trainer.in_pieces:
        if study.settings.retrain:
            study.store[side].forget_parts(index)
        trainer = KeptInParts(trainer, study.store[side], index, study.sample_set(side, index))
    works = [method.work(*study.training_of(side, index)) for _, index in group]
    for key, (original, unlearned) in zip(group, advance_together(works, trainer), strict=True):
        ensembles, records = [original, *unlearned], study.sample_set(*key).records
        correct = accuracies(ensembles, records, study.split[side].negative, study.dataset[side])
        spent = np.array([_epsilon(ensemble) for ensemble in ensembles])
        yield key, TrainedSet(original, unlearned, correct, spent)


def _epsilon(ensemble: Ensemble) -> float:
    """Privacy that DP-SGD spent on any record: its shard's, at most the largest; NaN without DP-SGD."""
    return max(ensemble.fact("epsilon"), default=float("nan"))


def train_missing(study: Study, watch: Stopwatch) -> int:
    """Train what the cache does not hold; returns how many sample sets that were."""
    with watch.stage("check cache"):
        todo = study.untrained()
    with watch.stage("train models"):
        groups = study.grouped(todo)
        check_space(study, todo)
        warm_up(study, len(groups))
        work = TrainSets(study)
        for _ in parallel_map(work, groups, study.processes, "training", study.settings.quiet, study.models_of):
            pass
    return len(todo)


def train_and_ask(study: Study, parts: Mapping[tuple[str, int], Path], watch: Stopwatch) -> int:
    """Train and ask where `parts` does not hold the answers yet; returns how many sample sets that were."""
    originals = None
    if study.settings.keep_models == ORIGINALS:
        originals = {side: store.variant(ORIGINALS) for side, store in study.store.items()}
        for store in originals.values():
            store.prepare()
    todo = [
        (side, index)
        for side, index in study.sets()
        if not parts[side, index].exists() or (originals is not None and not originals[side].has(index))
    ]
    with watch.stage("train models"):
        groups = study.grouped(todo)
        warm_up(study, len(groups))
        work = TrainAndAsk(study, parts)
        for _ in parallel_map(work, groups, study.processes, "training", study.settings.quiet, study.models_of):
            pass
    return len(todo)


def check_space(study: Study, todo: Sequence[tuple[str, int]]) -> None:
    """Raise `UserError` when the models of so many sample sets would not fit on the disk; a few are not looked at."""
    counts = {side: sum(of == side for of, _ in todo) for side in study.settings.sides}
    models = sum(sets * (1 + study.settings.sides[side].unlearning_size) for side, sets in counts.items())
    if models < _WORTH_MEASURING:
        return
    size = sum(sets * _bytes_a_set(study, side) for side, sets in counts.items() if sets)
    folder = next(iter(study.store.values())).folder
    free = shutil.disk_usage(next(part for part in folder.parents if part.exists())).free
    if size > free:
        raise UserError(
            f"{models:,} models take about {size_text(size)}, and {size_text(free)} are free under {folder.parent}; "
            "lower --shadow_set_num and --target_set_num, or keep only their answers: --keep_models none"
        )


def _bytes_a_set(study: Study, side: str) -> float:
    """Of all models of one sample set, constituents counted each."""
    tasks = next(study.method[side].work(*study.training_of(side, 0)))
    together = max(len(tasks), 1 + study.settings.sides[side].unlearning_size)
    return float(together * study.trainer[side].bytes_a_model(tasks[0]))


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
        trained = self.study.store[side].load(index, self.study.sample_set(side, index))
        return None if trained is None else _answers(self.study, side, index, trained)


def _answers(study: Study, side: str, index: int, trained: TrainedSet) -> Answers:
    """What the models of one sample set say of its cases."""
    settings = study.settings
    cases = evaluation_cases(
        study.sample_set(side, index),
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

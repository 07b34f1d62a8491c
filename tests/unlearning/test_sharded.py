"""Retraining and SISA: what is trained on what, what is reused, what a posterior is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from lib_unlearning import posterior
from lib_unlearning.cache.network_file import NetworkFiles
from lib_unlearning.cache.sealed_pickle import State
from lib_unlearning.cache.trained_set import TrainedSet
from lib_unlearning.dataset import Dataset
from lib_unlearning.errors import UserError
from lib_unlearning.evaluation_cases import EvaluationCases
from lib_unlearning.options import NoOptions
from lib_unlearning.record_split import SampleSet
from lib_unlearning.study import open_study
from lib_unlearning.study_models import TrainSets
from lib_unlearning.training.tasks import Trainer, TrainingSettings, TrainingTask
from lib_unlearning.unlearning.base import (
    Deletion,
    Ensemble,
    UnlearningMethod,
    Work,
    advance_together,
    train_and_unlearn,
)
from lib_unlearning.unlearning.registry import UNLEARNING_METHODS
from lib_unlearning.unlearning.sharded import Retraining, ShardOptions, Sisa
from parameter_parser import parse_settings

NOBODY = np.array([], dtype=int)
RECORDS = np.random.default_rng(0).permutation(600)[:100]


CLASSICAL = ("DT", "RF", "LR", "MLP")


def trainer_of(dataset: Any, model: str) -> Trainer:
    family = models.TARGET_MODELS[model]
    return family.trainer(dataset, family.Options(), NOBODY)


def scratch(dataset: Dataset) -> UnlearningMethod:
    return Retraining(NoOptions(), dataset)


def sisa(dataset: Dataset, shards: int) -> UnlearningMethod:
    return Sisa(ShardOptions(shards), dataset)


def outcome(
    method: UnlearningMethod, model: str, *deletions: Deletion, records: np.ndarray = RECORDS
) -> tuple[Ensemble, list[Ensemble]]:
    return train_and_unlearn(method, trainer_of(method.dataset, model), records, deletions, 3)


@pytest.mark.parametrize("model", CLASSICAL)
def test_scratch_equals_training_without_the_record(dataset: Dataset, model: str) -> None:
    _, (unlearned,) = outcome(scratch(dataset), model, Deletion(RECORDS[[5, 50]], NOBODY))
    remaining = np.delete(RECORDS, [5, 50])  # in the order they had
    np.testing.assert_array_equal(unlearned.shards[0], remaining)
    alone, _ = outcome(scratch(dataset), model, records=remaining)
    np.testing.assert_array_equal(unlearned.predict_proba(dataset.features), alone.predict_proba(dataset.features))


def test_deleting_nothing_changes_nothing_and_a_fresh_seed_does(dataset: Dataset) -> None:
    deletions = [Deletion(RECORDS[:1], RECORDS[:1]), Deletion(RECORDS[:1], NOBODY, 99), Deletion(RECORDS[:1], NOBODY)]
    _, (same, other, repeated) = outcome(scratch(dataset), "MLP", *deletions)
    np.testing.assert_array_equal(np.sort(same.shards[0]), np.sort(RECORDS))
    assert not np.array_equal(repeated.predict_proba(dataset.features), other.predict_proba(dataset.features))


def shards_of(shards: int, records: np.ndarray = RECORDS) -> list[np.ndarray]:
    return np.array_split(records, shards)


def test_sisa_retrains_touched_shards_only_and_averages(dataset: Dataset) -> None:
    shards = shards_of(7)
    request = np.array([shards[2][1], shards[5][3]])
    original, (unlearned,) = outcome(sisa(dataset, 7), "DT", Deletion(request, NOBODY))
    sizes = [len(shard) for shard in original.shards]
    assert max(sizes) - min(sizes) <= 1
    assert sorted(np.concatenate(original.shards)) == sorted(RECORDS)
    kept = [a is b for a, b in zip(original.constituents, unlearned.constituents, strict=True)]
    assert kept == [True, True, False, True, True, False, True]
    by_hand = sum(part.predict_proba(dataset.features) for part in unlearned.constituents) / 7
    np.testing.assert_allclose(unlearned.predict_proba(dataset.features), by_hand, atol=1e-12)
    again, _ = outcome(sisa(dataset, 7), "DT")
    np.testing.assert_array_equal(original.predict_proba(dataset.features), again.predict_proba(dataset.features))


def test_new_records_join_the_shard_of_those_they_replace(dataset: Dataset) -> None:
    shards = shards_of(4)
    request = np.array([shards[3][0], shards[1][0]])
    _, (unlearned,) = outcome(sisa(dataset, 4), "DT", Deletion(request, np.array([598, 599])))
    np.testing.assert_array_equal(unlearned.shards[3], [*shards[3][1:], 598])
    np.testing.assert_array_equal(unlearned.shards[1], [*shards[1][1:], 599])


def test_an_emptied_shard_has_no_vote(dataset: Dataset) -> None:
    _, (unlearned,) = outcome(sisa(dataset, 3), "DT", Deletion(RECORDS[1:2], NOBODY), records=RECORDS[:3])
    assert len(unlearned.constituents) == 2


@pytest.mark.parametrize("model", CLASSICAL)
@pytest.mark.parametrize("classes", [[1], [1, 2], [0, 2], [0, 1, 2]])
def test_columns_are_always_the_classes_of_the_data_set(dataset: Dataset, model: str, classes: list[int]) -> None:
    chosen = np.flatnonzero(np.isin(dataset.labels, classes))
    (fitted,) = trainer_of(dataset, model).fit([TrainingTask(chosen, 0)])
    answer = fitted.predict_proba(dataset.features[:50])
    assert answer.shape == (50, 3)
    np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-6)
    assert set(np.flatnonzero(answer.any(axis=0))) <= set(classes)


def test_batched_query_equals_one_question_at_a_time(dataset: Dataset) -> None:
    deletions = [Deletion(RECORDS[[i]], NOBODY) for i in range(3)]
    original, unlearned = outcome(sisa(dataset, 5), "DT", *deletions)
    cases = EvaluationCases(np.array([7, 9, 7, 300]), np.array([1, 0, 1, 0]), np.array([2, 2, 0, 1]))
    answers = posterior.obtain_posteriors(original, unlearned, cases, dataset, 4)
    for i, (record, request) in enumerate(zip(cases.record, cases.request, strict=True)):
        row = dataset.features[[record]]
        np.testing.assert_allclose(answers.original[i], original.predict_proba(row)[0])
        np.testing.assert_allclose(answers.unlearned[i], unlearned[request].predict_proba(row)[0])
    assert set(answers.set) == {4}


def test_accuracy_by_hand(dataset: Dataset) -> None:
    original, _ = outcome(scratch(dataset), "DT")
    held_out = np.setdiff1d(np.arange(600), RECORDS)
    found = posterior.accuracies([original], RECORDS, held_out, dataset, 1000)
    right = original.predict_proba(dataset.features).argmax(axis=1) == dataset.labels
    np.testing.assert_allclose(found, [[right[RECORDS].mean(), right[held_out].mean()]])


def test_sample_sets_trained_together_equal_each_alone(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: jobs of several sample sets in one call of the trainer, each set's models kept apart."""
    settings = parse_settings(
        [
            "--exp=model_train",
            "--original_model=LRTorch",
            "--num_epochs=2",
            "--batch_size=16",
            "--unlearning_method=sisa",
            "--shadow_set_num=3",
            "--target_set_num=2",
            "--shadow_set_size=60",
            "--target_set_size=50",
            "--shadow_num_shard=3",
            "--target_num_shard=2",
            "--shadow_unlearning_size=2",
            "--target_unlearning_size=2",
        ]
    )
    kept: dict[str, dict[tuple[str, int], TrainedSet]] = {"alone": {}, "together": {}}
    for way, found in kept.items():
        study = open_study(settings, {"shadow": dataset, "target": dataset}, models.TARGET_MODELS, UNLEARNING_METHODS)
        for side, store in study.store.items():
            monkeypatch.setattr(store, "save", _keeper(found, side))
        if way == "together":
            for trainer in study.trainer.values():
                monkeypatch.setattr(trainer, "device", "cuda:0")
            groups = study.grouped(study.sets())
            assert [len(group) for group in groups] == [3, 2]
            for trainer in study.trainer.values():
                monkeypatch.setattr(trainer, "device", "cpu")
        else:
            groups = study.grouped(study.sets())
            assert [len(group) for group in groups] == [1] * 5
        for group in groups:
            TrainSets(study)(group)
    assert kept["alone"].keys() == kept["together"].keys()
    for key, alone in kept["alone"].items():
        together = kept["together"][key]
        pairs = zip([alone.original, *alone.unlearned], [together.original, *together.unlearned], strict=True)
        for one, other in pairs:
            np.testing.assert_allclose(
                one.predict_proba(dataset.features), other.predict_proba(dataset.features), atol=1e-5
            )


def _keeper(found: dict[tuple[str, int], TrainedSet], side: str) -> Callable[[int, SampleSet, TrainedSet], None]:
    def keep(index: int, _: SampleSet, trained: TrainedSet) -> None:
        found[side, index] = trained

    return keep


# ---------------------------------------------------------------- models and methods of any kind


class Half:
    """A model of another type, without `predict_together` and without facts."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        found: np.ndarray = (self.model.predict_proba(features) + 1 / 3) / 2
        return found


@dataclass(frozen=True)
class ShortOptions:
    epochs: int = 2


class FewerEpochs(UnlearningMethod):
    """Goes on from the original without the request, for fewer epochs: a method of two phases."""

    Options = ShortOptions

    def work(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> Work:
        (model,) = yield [TrainingTask(records, seed)]
        kept = [records[~np.isin(records, deletion.records)] for deletion in deletions]
        unlearned = yield [TrainingTask(rest, seed, start=model, epochs=self.options.epochs, lr=0.001) for rest in kept]
        return Ensemble([model], [records]), [Ensemble([m], [r]) for m, r in zip(unlearned, kept, strict=True)]


def network_trainer(dataset: Dataset) -> Trainer:
    options = TrainingSettings(num_epochs=4, batch_size=16, device="cpu", ensemble_size=4)
    return models.TARGET_MODELS["MLPTorch"].trainer(dataset, options, NOBODY)


def test_a_method_of_two_phases_is_trained_in_lock_step_and_kept(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = FewerEpochs(ShortOptions(), dataset)
    deletions = [Deletion(RECORDS[[i]], NOBODY) for i in range(3)]
    trainer = network_trainer(dataset)
    asked: list[int] = []
    fit = trainer.fit

    def counted(tasks: Sequence[TrainingTask]) -> list[Any]:
        asked.append(len(tasks))
        return fit(tasks)

    monkeypatch.setattr(trainer, "fit", counted)
    works = [method.work(RECORDS, deletions, seed) for seed in (3, 4)]
    together = advance_together(works, trainer)
    assert asked == [2, 6]
    for seed, (original, unlearned) in zip((3, 4), together, strict=True):
        alone = train_and_unlearn(method, network_trainer(dataset), RECORDS, deletions, seed)
        for one, other in zip([original, *unlearned], [alone[0], *alone[1]], strict=True):
            np.testing.assert_allclose(
                one.predict_proba(dataset.features), other.predict_proba(dataset.features), atol=1e-5
            )
    original, unlearned = together[0]
    curves = posterior.training_curves(original, unlearned)
    assert curves.shape == (1, 2, 4, 3)
    assert np.isnan(curves[0, 1, 2:]).all()
    assert not np.isnan(curves[0, 1, :2, 0]).any()
    assert curves[0, 1, 0, 0] < curves[0, 0, 0, 0]  # it goes on where the original ended
    trained = TrainedSet(original, unlearned, np.ones((4, 2)), np.full(4, np.nan))
    again = _kept_and_read(tmp_path / "set.models", trained)
    for one, other in zip(trained.ensembles, again.ensembles, strict=True):
        np.testing.assert_allclose(one.predict_proba(dataset.features), other.predict_proba(dataset.features))


def _kept_and_read(path: Path, trained: TrainedSet) -> TrainedSet:
    files = NetworkFiles("cpu")
    files.write(path, trained, "context")
    assert files.inspect(path, "context", False) is State.CURRENT
    assert files.inspect(path, "other", False) is State.STALE
    found = files.read(path, "context", False)
    assert found is not None
    return found


def test_a_trainer_refuses_what_it_cannot_do(dataset: Dataset) -> None:
    method = FewerEpochs(ShortOptions(), dataset)
    with pytest.raises(UserError, match="--original_model DT: its training has no schedule, warm_start"):
        outcome(method, "DT", Deletion(RECORDS[:1], NOBODY))


def test_models_of_different_types_are_asked_and_kept_together(dataset: Dataset, tmp_path: Path) -> None:
    (network,) = network_trainer(dataset).fit([TrainingTask(RECORDS, 0)])
    (tree,) = trainer_of(dataset, "DT").fit([TrainingTask(RECORDS, 0)])
    mixed = Ensemble([network, Half(tree), tree], [RECORDS] * 3)
    alone = Ensemble([Half(network)], [RECORDS])
    asked = [np.arange(50), np.arange(40, 90)]
    found = posterior.query([mixed, alone], asked, dataset)
    np.testing.assert_allclose(found[0], mixed.predict_proba(dataset.features[asked[0]]), atol=1e-6)
    np.testing.assert_allclose(found[1], alone.predict_proba(dataset.features[asked[1]]), atol=1e-6)
    again = _kept_and_read(tmp_path / "set.models", TrainedSet(mixed, [alone], np.ones((2, 2)), np.full(2, np.nan)))
    np.testing.assert_allclose(posterior.query(again.ensembles, asked, dataset)[0], found[0], atol=1e-6)
    assert posterior.training_curves(mixed, [alone]).shape == (1, 2, 4, 3)

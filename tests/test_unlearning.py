"""Retraining and SISA: what is trained on what, what is reused, what a posterior is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from lib_unlearning.model_store import TrainedSet

import models
from exp import TrainSets
from lib_unlearning import posterior
from lib_unlearning.dataset import Dataset
from lib_unlearning.evaluation_cases import EvaluationCases
from lib_unlearning.record_split import SampleSet
from lib_unlearning.study import open_study
from lib_unlearning.unlearning import UNLEARNING_METHODS, Deletion, ModelTrainer
from parameter_parser import parse_settings

NOBODY = np.array([], dtype=int)
RECORDS = np.random.default_rng(0).permutation(600)[:100]


@pytest.mark.parametrize("model", models.TARGET_MODELS)
def test_scratch_equals_training_without_the_record(dataset: Dataset, model: str) -> None:
    method = UNLEARNING_METHODS["scratch"](ModelTrainer(dataset, model), 10)
    original = method.train(RECORDS, 3)
    (unlearned,) = method.unlearn(original, [Deletion(RECORDS[[5, 50]], NOBODY)], 3)
    remaining = np.delete(RECORDS, [5, 50])  # in the order they had
    np.testing.assert_array_equal(unlearned.shards[0], remaining)
    alone = method.train(remaining, 3)
    np.testing.assert_array_equal(unlearned.predict_proba(dataset.features), alone.predict_proba(dataset.features))


def test_deleting_nothing_changes_nothing_and_a_fresh_seed_does(dataset: Dataset) -> None:
    method = UNLEARNING_METHODS["scratch"](ModelTrainer(dataset, "MLP"), 1)
    original = method.train(RECORDS, 3)
    same, other = method.unlearn(original, [Deletion(RECORDS[:1], RECORDS[:1]), Deletion(RECORDS[:1], NOBODY, 99)], 3)
    np.testing.assert_array_equal(np.sort(same.shards[0]), np.sort(RECORDS))
    repeated = method.unlearn(original, [Deletion(RECORDS[:1], NOBODY)], 3)[0].predict_proba(dataset.features)
    assert not np.array_equal(repeated, other.predict_proba(dataset.features))


def test_sisa_retrains_touched_shards_only_and_averages(dataset: Dataset) -> None:
    method = UNLEARNING_METHODS["sisa"](ModelTrainer(dataset, "DT"), 7)
    original = method.train(RECORDS, 3)
    sizes = [len(shard) for shard in original.shards]
    assert max(sizes) - min(sizes) <= 1
    assert sorted(np.concatenate(original.shards)) == sorted(RECORDS)
    request = np.array([original.shards[2][1], original.shards[5][3]])
    before = original.predict_proba(dataset.features)
    (unlearned,) = method.unlearn(original, [Deletion(request, NOBODY)], 3)
    kept = [a is b for a, b in zip(original.constituents, unlearned.constituents, strict=True)]
    assert kept == [True, True, False, True, True, False, True]
    by_hand = sum(part.predict_proba(dataset.features) for part in unlearned.constituents) / 7
    np.testing.assert_allclose(unlearned.predict_proba(dataset.features), by_hand, atol=1e-12)
    np.testing.assert_array_equal(original.predict_proba(dataset.features), before)


def test_new_records_join_the_shard_of_those_they_replace(dataset: Dataset) -> None:
    method = UNLEARNING_METHODS["sisa"](ModelTrainer(dataset, "DT"), 4)
    original = method.train(RECORDS, 3)
    request = np.array([original.shards[3][0], original.shards[1][0]])
    (unlearned,) = method.unlearn(original, [Deletion(request, np.array([598, 599]))], 3)
    np.testing.assert_array_equal(unlearned.shards[3], [*original.shards[3][1:], 598])
    np.testing.assert_array_equal(unlearned.shards[1], [*original.shards[1][1:], 599])


def test_an_emptied_shard_has_no_vote(dataset: Dataset) -> None:
    method = UNLEARNING_METHODS["sisa"](ModelTrainer(dataset, "DT"), 3)
    original = method.train(RECORDS[:3], 3)
    (unlearned,) = method.unlearn(original, [Deletion(RECORDS[1:2], NOBODY)], 3)
    assert len(unlearned.constituents) == 2


@pytest.mark.parametrize("model", models.TARGET_MODELS)
@pytest.mark.parametrize("classes", [[1], [1, 2], [0, 2], [0, 1, 2]])
def test_columns_are_always_the_classes_of_the_data_set(dataset: Dataset, model: str, classes: list[int]) -> None:
    chosen = np.flatnonzero(np.isin(dataset.labels, classes))
    fitted = models.make_target_model(model, 3, dataset.labels[chosen], 0)
    answer = fitted.fit(dataset.features[chosen], dataset.labels[chosen]).predict_proba(dataset.features[:50])
    assert answer.shape == (50, 3)
    np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-6)
    assert set(np.flatnonzero(answer.any(axis=0))) <= set(classes)


def test_batched_query_equals_one_question_at_a_time(dataset: Dataset) -> None:
    method = UNLEARNING_METHODS["sisa"](ModelTrainer(dataset, "DT"), 5)
    original = method.train(RECORDS, 3)
    unlearned = method.unlearn(original, [Deletion(RECORDS[[i]], NOBODY) for i in range(3)], 3)
    cases = EvaluationCases(np.array([7, 9, 7, 300]), np.array([1, 0, 1, 0]), np.array([2, 2, 0, 1]))
    answers = posterior.obtain_posteriors(original, unlearned, cases, dataset, 4)
    for i, (record, request) in enumerate(zip(cases.record, cases.request, strict=True)):
        row = dataset.features[[record]]
        np.testing.assert_allclose(answers.original[i], original.predict_proba(row)[0])
        np.testing.assert_allclose(answers.unlearned[i], unlearned[request].predict_proba(row)[0])
    assert set(answers.set) == {4}


def test_accuracy_by_hand(dataset: Dataset) -> None:
    method = UNLEARNING_METHODS["scratch"](ModelTrainer(dataset, "DT"), 1)
    original = method.train(RECORDS, 3)
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
        study = open_study(settings, {"shadow": dataset, "target": dataset})
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

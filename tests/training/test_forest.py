"""Forests: scikit-learn's own without gaps, and with them nothing moves that did not meet a record that left."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from lib_unlearning.dataset import Dataset
from lib_unlearning.training.forest import LEAST_IN_LEAF, TREES, ForestModel, ForestTrainer
from lib_unlearning.training.tasks import TrainingTask
from lib_unlearning.unlearning.base import Deletion, train_and_unlearn
from lib_unlearning.unlearning.sharded import Retraining

NOBODY = np.array([], dtype=int)
RECORDS = np.arange(0, 600, 2)


def alike(one: DecisionTreeClassifier, other: DecisionTreeClassifier) -> bool:
    mine, yours = one.tree_, other.tree_
    return mine.node_count == yours.node_count and all(
        np.array_equal(getattr(mine, name), getattr(yours, name)) for name in ("feature", "threshold", "value")
    )


def scikit_learns(
    dataset: Dataset, records: np.ndarray, seed: int, leaves: int | None = None
) -> RandomForestClassifier:
    forest = RandomForestClassifier(
        n_estimators=TREES, min_samples_leaf=LEAST_IN_LEAF, max_leaf_nodes=leaves, random_state=seed
    )
    return forest.fit(dataset.features[records], dataset.labels[records])


@pytest.mark.parametrize("leaves", [None, 4])
def test_a_forest_without_gaps_is_scikit_learns(dataset: Dataset, leaves: int | None) -> None:
    (mine,) = ForestTrainer(dataset, "RF", leaves).fit([TrainingTask(RECORDS, 5)])
    theirs = scikit_learns(dataset, RECORDS, 5, leaves)
    assert all(map(alike, mine.trees, theirs.estimators_))
    np.testing.assert_array_equal(mine.predict_proba(dataset.features), theirs.predict_proba(dataset.features))


def retrained(dataset: Dataset, deletion: Deletion) -> tuple[ForestModel, ForestModel]:
    original, (unlearned,) = train_and_unlearn(
        Retraining(None, dataset), ForestTrainer(dataset, "RF", None), RECORDS, [deletion], 3
    )
    return original.constituents[0], unlearned.constituents[0]


def test_a_gap_moves_no_tree_that_did_not_meet_the_deleted_record(dataset: Dataset) -> None:
    """Trees of the others' draws alone, grown by hand; scikit-learn's weight of 0 would leave none as it was."""
    deleted = 4
    original, unlearned = retrained(dataset, Deletion(RECORDS[[deleted]], NOBODY, leaves_gap=True))
    unmoved = 0
    for before, after in zip(original.trees, unlearned.trees, strict=True):
        draws = np.random.RandomState(before.random_state).randint(0, len(RECORDS), len(RECORDS))
        if deleted in draws:
            counts = np.bincount(draws[draws != deleted], minlength=len(RECORDS))
            by_hand = DecisionTreeClassifier(
                min_samples_leaf=LEAST_IN_LEAF, max_features="sqrt", random_state=before.random_state
            )
            by_hand.fit(dataset.features[RECORDS], dataset.labels[RECORDS], sample_weight=counts)
            assert alike(after, by_hand)
        else:
            unmoved += 1
            assert after is before
    assert abs(unmoved / TREES - np.exp(-1)) < 0.1


def test_trees_that_are_used_again_are_those_that_would_be_grown(dataset: Dataset) -> None:
    """A gap, a newcomer in its place, and several of either, with and without the original grown before."""
    tasks = [
        TrainingTask(np.delete(RECORDS, [1, 7]), 3, places=RECORDS, at=np.delete(np.arange(len(RECORDS)), [1, 7])),
        TrainingTask(
            np.append(np.delete(RECORDS, 9), 1), 3, places=RECORDS, at=np.append(np.delete(np.arange(300), 9), 9)
        ),
    ]
    warm, cold = ForestTrainer(dataset, "RF", None), ForestTrainer(dataset, "RF", None)
    original, *again = warm.fit([TrainingTask(RECORDS, 3), *tasks])
    assert [sum(a is b for a, b in zip(found.trees, original.trees, strict=True)) > 0 for found in again] == [
        True,
        True,
    ]
    for found, task in zip(again, tasks, strict=True):
        (alone,) = cold.fit([task])
        cold = pickle.loads(pickle.dumps(warm))
        assert all(map(alike, found.trees, alone.trees))


def test_records_of_one_class_make_a_constant_forest(dataset: Dataset) -> None:
    one_class = np.flatnonzero(dataset.labels == 1)[:50]
    (model,) = ForestTrainer(dataset, "RF", None).fit([TrainingTask(one_class, 0)])
    np.testing.assert_array_equal(model.predict_proba(dataset.features[:3]), np.tile([0.0, 1.0, 0.0], (3, 1)))
    places = np.append(one_class, 0)
    gap = TrainingTask(one_class, 0, places=places, at=np.arange(50))
    (model,) = ForestTrainer(dataset, "RF", None).fit([gap])
    np.testing.assert_array_equal(model.predict_proba(dataset.features[:1]), [[0.0, 1.0, 0.0]])

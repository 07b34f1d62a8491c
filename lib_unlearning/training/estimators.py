"""Estimators with scikit-learn's interface as target models: posteriors always have a column per class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lib_unlearning.dataset import Dataset
from lib_unlearning.record_numbers import distinct
from lib_unlearning.training.tasks import Trainer, TrainingTask, over_all_classes

# (labels [n] of the training records, seed) -> unfitted classifier
MakeEstimator = Callable[[np.ndarray, int], Any]


class TargetModel:
    """A classifier whose posteriors always have one column per class of the data set.

    Args:
        estimator: classifier with `fit` and `predict_proba`, unfitted.
        num_classes: classes of the data set, c.
    """

    facts: Mapping[str, Any] = {}

    def __init__(self, estimator: Any, num_classes: int) -> None:
        self.estimator = estimator
        self.num_classes = num_classes
        self.only_class: int | None = None

    def fit(self, features: np.ndarray, labels: np.ndarray) -> TargetModel:
        """Train on features [n, d] and labels [n]. Records of one class make a constant model."""
        classes = distinct(labels)
        if len(classes) == 1:
            self.only_class = int(classes[0])
            self.estimator = None
        else:
            self.estimator.fit(features, labels)
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Posteriors [m, c] for features [m, d]; a class absent from the training records has probability 0."""
        known = self.estimator.classes_ if self.only_class is None else [self.only_class]
        return over_all_classes(features, known, self.num_classes, self._asked)

    def _asked(self, features: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.estimator.predict_proba(features)
        return found


class EstimatorTrainer(Trainer):
    """Fits one estimator a task, with its records in their order.

    Args:
        make: gives an unfitted estimator for training labels and a seed.
        title: the family's name.
    """

    in_pieces = True

    def __init__(self, dataset: Dataset, make: MakeEstimator, title: str) -> None:
        self.dataset = dataset
        self.title = title
        self._make = make

    def fit(self, tasks: Sequence[TrainingTask]) -> list[TargetModel]:
        """One fitted model a task."""
        self.check(tasks)
        return [self._fit_one(task) for task in tasks]

    def warm_up(self) -> None:
        """Make an estimator, which imports its library."""
        self._make(self.dataset.labels[:100], 0)

    def _fit_one(self, task: TrainingTask) -> TargetModel:
        labels = self.dataset.labels[task.records]
        model = TargetModel(self._make(labels, task.seed), self.dataset.num_classes)
        return model.fit(self.dataset.rows(task.records), labels)

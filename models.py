"""Target-model zoo: name -> model with `fit` and `predict_proba`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lib_unlearning.dataset import Dataset


class TargetModel:
    """A classifier whose posteriors always have one column per class of the data set.

    Args:
        estimator: scikit-learn classifier, unfitted.
        num_classes: classes of the data set, c.
    """

    def __init__(self, estimator: Any, num_classes: int) -> None:
        self.estimator = estimator
        self.num_classes = num_classes
        self.only_class: int | None = None

    def fit(self, features: np.ndarray, labels: np.ndarray) -> TargetModel:
        """Train on features [n, d] and labels [n]. Records of one class make a constant model."""
        classes = np.unique(labels)
        if len(classes) == 1:
            self.only_class = int(classes[0])
            self.estimator = None
        else:
            self.estimator.fit(features, labels)
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Posteriors [m, c] for features [m, d]; a class absent from the training records has probability 0."""
        posteriors = np.zeros((len(features), self.num_classes))
        if self.only_class is not None:
            posteriors[:, self.only_class] = 1.0
        elif len(features):
            posteriors[:, self.estimator.classes_] = self.estimator.predict_proba(features)
        return posteriors

    @staticmethod
    def predict_together(
        models: Sequence[TargetModel], records: Sequence[np.ndarray], dataset: Dataset
    ) -> list[np.ndarray]:
        """Posteriors of each model for its own records of a data set."""
        return [model.predict_proba(dataset.rows(rows)) for model, rows in zip(models, records, strict=True)]


def _decision_tree(seed: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_leaf_nodes=10, random_state=seed)


def _random_forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=500, min_samples_leaf=30, random_state=seed)


def _logistic_regression(seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=seed))


def _multilayer_perceptron(seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = MLPClassifier(learning_rate_init=0.01, early_stopping=True, random_state=seed)
    return make_pipeline(StandardScaler(), network)


# To add a target model: one factory, seed -> unfitted classifier, and one line here.
TARGET_MODELS: dict[str, Callable[[int], Any]] = {
    "DT": _decision_tree,
    "RF": _random_forest,
    "LR": _logistic_regression,
    "MLP": _multilayer_perceptron,
}
# Networks of lib_unlearning/networks.py; named here so that the command line need not import torch.
NETWORKS = ("LRTorch", "MLPTorch", "scnn", "resnet50", "densenet")


def make_target_model(
    name: str, num_classes: int, labels: np.ndarray, seed: int, max_leaf_nodes: int | None = None
) -> TargetModel:
    """An unfitted target model of the zoo for training records with these labels [n]; a tree may get other leaves."""
    estimator = TARGET_MODELS[name](seed)
    if max_leaf_nodes is not None:
        estimator.set_params(max_leaf_nodes=max_leaf_nodes)
    if name == "MLP" and not _allows_validation(labels):
        estimator.steps[-1][1].set_params(early_stopping=False)
    return TargetModel(estimator, num_classes)


def _allows_validation(labels: np.ndarray) -> bool:
    """Whether a stratified tenth can be set aside for early stopping: two records a class, one of each held out."""
    counts = np.unique(labels, return_counts=True)[1]
    return bool(counts.min() >= 2 and np.ceil(0.1 * len(labels)) >= len(counts))

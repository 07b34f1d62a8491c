"""Target-model zoo of the command line: name -> family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lib_unlearning.dataset import Dataset
from lib_unlearning.errors import UserError
from lib_unlearning.family import Chosen, Family, estimator_family, network_family
from lib_unlearning.options import NoOptions, boolean, option, whole
from lib_unlearning.training import forest
from lib_unlearning.training.estimators import EstimatorTrainer
from lib_unlearning.training.tasks import Trainer


@dataclass(frozen=True)
class TreeOptions:
    """Of trees and forests."""

    max_leaf_nodes: int | None = option(
        None, "leaves of a tree target (DT 10, RF unlimited)", kind=whole(2), metavar="N"
    )


@dataclass(frozen=True)
class Accelerated:
    """Of families that scikit-learn-intelex has as well."""

    accelerate: bool = option(
        False, "fit RF and LR targets by scikit-learn-intelex: other models, cached apart", kind=boolean, metavar="BOOL"
    )

    @property
    def libraries(self) -> tuple[str, ...]:
        """What shapes the models beside the family's own libraries."""
        return ("scikit-learn-intelex",) if self.accelerate else ()


@dataclass(frozen=True)
class ForestOptions(TreeOptions, Accelerated):
    """Of forests."""

    @property
    def leaves_gap(self) -> bool:
        """Whether a deleted record can leave a gap: scikit-learn-intelex's forests draw from those that are left."""
        return not self.accelerate


def _decision_tree(labels: np.ndarray, seed: int, options: TreeOptions) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_leaf_nodes=options.max_leaf_nodes or 10, random_state=seed)


def _accelerated_forest(labels: np.ndarray, seed: int, options: ForestOptions) -> Any:
    from sklearnex.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        n_estimators=forest.TREES,
        min_samples_leaf=forest.LEAST_IN_LEAF,
        max_leaf_nodes=options.max_leaf_nodes,
        random_state=seed,
        n_jobs=1,  # it would take all cores in each worker
    )


def _forest_trainer(dataset: Dataset, options: ForestOptions, held_out: np.ndarray) -> Trainer:
    if options.accelerate:
        return EstimatorTrainer(dataset, Chosen(_accelerated_forest, options), "RF")
    return forest.ForestTrainer(dataset, "RF", options.max_leaf_nodes)


@dataclass(frozen=True)
class LogisticOptions(Accelerated):
    """Of logistic regression."""

    solver: str = option(
        "lbfgs", "how an LR target is fitted: newton goes on to the optimum", choices=("lbfgs", "newton")
    )


def _logistic_regression(labels: np.ndarray, seed: int, options: LogisticOptions) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if options.accelerate:
        from sklearnex.linear_model import LogisticRegression
    else:
        from sklearn.linear_model import LogisticRegression

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=seed))


def _logistic_trainer(dataset: Dataset, options: LogisticOptions, held_out: np.ndarray) -> Trainer:
    if options.solver == "newton":
        if options.accelerate:
            raise UserError("--solver newton and --accelerate: scikit-learn-intelex has no such solver; name one")
        from lib_unlearning.training.newton import NewtonTrainer

        return NewtonTrainer(dataset, "LR")
    return estimator_family("LR", _logistic_regression, LogisticOptions).trainer(dataset, options, held_out)


def _multilayer_perceptron(labels: np.ndarray, seed: int, options: NoOptions) -> Any:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    stops_early = _allows_validation(labels)
    network = MLPClassifier(learning_rate_init=0.01, early_stopping=stops_early, random_state=seed)
    return make_pipeline(StandardScaler(), network)


def _one_vs_rest(labels: np.ndarray, seed: int, options: NoOptions) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression(max_iter=400, random_state=seed)))


def _unscaled_perceptron(labels: np.ndarray, seed: int, options: NoOptions) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(learning_rate_init=0.01, early_stopping=_allows_validation(labels), random_state=seed)


def _allows_validation(labels: np.ndarray) -> bool:
    """Whether a stratified tenth can be set aside for early stopping: two records a class, one of each held out."""
    counts = np.unique(labels, return_counts=True)[1]
    return bool(counts.min() >= 2 and np.ceil(0.1 * len(labels)) >= len(counts))


# To add a target model: one line here or in a plug-in.
TARGET_MODELS: dict[str, Family] = {
    "DT": estimator_family("DT", _decision_tree, TreeOptions),
    "RF": Family(_forest_trainer, ForestOptions, revision=1),
    "LR": Family(_logistic_trainer, LogisticOptions),
    "MLP": estimator_family("MLP", _multilayer_perceptron),
    **{name: network_family(name) for name in ("LRTorch", "MLPTorch", "scnn", "resnet50", "densenet")},
    "LR_peer": estimator_family("LR_peer", _one_vs_rest),
    "MLP_peer": estimator_family("MLP_peer", _unscaled_perceptron),
    "LRTorch_peer": network_family("LRTorch_peer"),
}

# What `--peer_models true` takes in the place of a family: the hyperparameters of the paper's released code.
PEERS = {name: f"{name}_peer" for name in ("LR", "MLP", "LRTorch")}

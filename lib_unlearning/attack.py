"""Attack models: trained on the shadow side's features, asked about the target side's (paper section 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import utils
from lib_unlearning.construct_feature import FEATURES
from lib_unlearning.posterior import PosteriorSet


def _decision_tree(seed: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_leaf_nodes=10, random_state=seed)


def _logistic_regression(seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return _standardised(LogisticRegression(max_iter=1000, random_state=seed))


def _random_forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=100, min_samples_leaf=10, random_state=seed)


def _multilayer_perceptron(seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    return _standardised(MLPClassifier(learning_rate_init=0.01, max_iter=300, random_state=seed))


def _standardised(classifier: Any) -> Any:
    """Scaling is fitted with the classifier, on shadow features, and never again."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), classifier)


# To add an attack model: a factory, seed -> unfitted classifier, and one line here.
ATTACK_MODELS: dict[str, Callable[[int], Any]] = {
    "DT": _decision_tree,
    "LR": _logistic_regression,
    "RF": _random_forest,
    "MLP": _multilayer_perceptron,
}


@dataclass(frozen=True)
class Attack:
    """One fitted attack: how it sees a case and the classifier that judges it."""

    feature: str
    classifier: Any

    def score(self, cases: PosteriorSet) -> np.ndarray:
        """Probability [m] that each case is a positive."""
        positive = list(self.classifier.classes_).index(1)
        return self.classifier.predict_proba(FEATURES[self.feature](cases))[:, positive]


def fit_attack(shadow: PosteriorSet, feature: str, attack_model: str, seed: int) -> Attack:
    """Train one attack model on the shadow cases, seen through one feature."""
    classifier = ATTACK_MODELS[attack_model](utils.integer_seed(seed, "attack", feature))
    return Attack(feature, classifier.fit(FEATURES[feature](shadow), shadow.member))


def cross_fitted_scores(shadow: PosteriorSet, feature: str, attack_model: str, seed: int) -> np.ndarray:
    """Scores [m] of the shadow cases, each from an attack that was trained on the other half of the sample sets.

    A single sample set is halved by deletion requests instead.
    """
    group = shadow.set if len(np.unique(shadow.set)) > 1 else shadow.request
    half = np.searchsorted(np.unique(group), group) % 2
    scores = np.full(len(shadow), 0.5)
    for fold in np.unique(half) if len(np.unique(half)) > 1 else ():
        trained_on, judged = shadow.select(half != fold), half == fold
        scores[judged] = fit_attack(trained_on, feature, attack_model, seed).score(shadow.select(judged))
    return scores

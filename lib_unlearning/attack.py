"""Attacks: fitted on the shadow side's view, scored on the target side's (paper section 4.4).

An attack sees a side through its `View` only, and the defense lies inside that: nobody can go round it.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lib_unlearning.construct_feature import CLASS_BOUND, FEATURES
from lib_unlearning.posterior import PosteriorSet
from lib_unlearning.seeds import integer_seed

# What an attack may need of a view.
POSTERIORS = "posteriors"  # both versions' answers to the cases
OWN_MODELS = "own models"  # pairs of the adversary's own models, with and without a candidate
ASK = "ask"  # answers to records of the adversary's choice
CLASS_ORDER = "class order"  # columns that mean the same on both sides

ORIGINAL = -1  # as a version: the original model; others are numbers of deletion requests


@dataclass(frozen=True)
class View:
    """One side as the adversary sees it.

    Attributes:
        cases: both versions' published answers to the cases, and on the shadow side the truth about them.
        offers: what attacks may rely on.
        answer: (sample set, version, records [k]) -> published posteriors [k, c]; None where nobody can be asked.
        look_up: records [k] -> features [k, d] of records that the adversary has: candidates and his own.
        own: [n] records of the adversary's own, never a target's training record.
        pairs: (candidates [m], probes [P], seed) -> see `own_changes`; None where no models can be trained.
    """

    cases: PosteriorSet
    offers: frozenset[str] = frozenset({POSTERIORS, CLASS_ORDER})
    answer: Callable[[int, int, np.ndarray], np.ndarray] | None = None
    look_up: Callable[[np.ndarray], np.ndarray] | None = None
    own: np.ndarray = field(default_factory=lambda: np.array([], dtype=np.int64))
    pairs: Callable[[np.ndarray, np.ndarray, int], np.ndarray] | None = None

    def select(self, chosen: np.ndarray) -> View:
        """The same view of the cases that a mask [m] or indices choose."""
        return dataclasses.replace(self, cases=self.cases.select(chosen))

    def ask(self, sample_set: int, version: int, records: np.ndarray) -> np.ndarray:
        """Published posteriors [k, c] of one model for records [k]; `version` is a request's number, or `ORIGINAL`."""
        assert self.answer is not None
        return self.answer(sample_set, version, records)

    def own_changes(self, candidates: np.ndarray, probes: np.ndarray, seed: int) -> np.ndarray:
        """Change [m, P c] of centred log posteriors at the probes when own models lose each candidate [m]."""
        assert self.pairs is not None
        return self.pairs(candidates, probes, seed)

    def requests(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """(sample set, request, indices [k] of its cases), in the order of sample sets, then of requests."""
        cases = self.cases
        for number in np.unique(cases.set):
            for request in np.unique(cases.request[cases.set == number]):
                chosen = np.flatnonzero((cases.set == number) & (cases.request == request))
                yield int(number), int(request), chosen

    def rows(self, records: np.ndarray) -> np.ndarray:
        """Features [k, d] of records [k]."""
        assert self.look_up is not None
        return np.asarray(self.look_up(records), dtype=np.float64)


class FittedAttack(ABC):
    """An attack that has learned what it can."""

    @abstractmethod
    def score(self, view: View) -> np.ndarray:
        """Probability [m] that each case of a view is a positive."""


class Attack(ABC):
    """One way to tell deleted records from strangers.

    Attributes:
        name: column of the results.
        needs: what a view must offer.
    """

    name: str
    needs: frozenset[str] = frozenset({POSTERIORS})

    def applies(self, shadow: View, seed: int) -> bool:
        """Whether it can be used on models such as the shadow side's."""
        return True

    @abstractmethod
    def fit(self, shadow: View, seed: int) -> FittedAttack:
        """Learn from the shadow side's view, whose truth is known."""


# ---------------------------------------------------------------- attack models


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


# To add an attack model: a factory, seed -> unfitted classifier, and one line here or in a plug-in.
ATTACK_MODELS: dict[str, Callable[[int], Any]] = {
    "DT": _decision_tree,
    "LR": _logistic_regression,
    "RF": _random_forest,
    "MLP": _multilayer_perceptron,
}


def positive_probability(classifier: Any, features: np.ndarray) -> np.ndarray:
    """A fitted attack model's probability [m] of label 1 for features [m, k]."""
    positive = int(np.flatnonzero(classifier.classes_ == 1)[0])
    found: np.ndarray = classifier.predict_proba(features)[:, positive]
    return found


# ---------------------------------------------------------------- the paper's attacks


@dataclass(frozen=True)
class FeatureAttack(Attack):
    """A feature of the case, judged by a classifier: what the paper does."""

    name: str
    attack_model: str

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """Both answers; the order of classes where the feature is bound to it."""
        return frozenset({POSTERIORS, CLASS_ORDER} if self.name in CLASS_BOUND else {POSTERIORS})

    def fit(self, shadow: View, seed: int) -> FittedFeatureAttack:
        """Train the classifier on the shadow cases."""
        classifier = ATTACK_MODELS[self.attack_model](integer_seed(seed, "attack", self.name))
        cases = shadow.cases
        return FittedFeatureAttack(self.name, classifier.fit(FEATURES[self.name](cases), cases.member))


@dataclass(frozen=True)
class FittedFeatureAttack(FittedAttack):
    """How it sees a case, and the classifier that judges it."""

    feature: str
    classifier: Any

    def score(self, view: View) -> np.ndarray:
        """The classifier's probability [m] of a positive."""
        return positive_probability(self.classifier, FEATURES[self.feature](view.cases))


# Attacks that plug-ins bring: name -> attack for the name of an attack model. Ours are in `attacks.registry`.
ATTACKS: dict[str, Callable[[str], Attack]] = {}


def paper_attacks(view: View, attack_model: str) -> dict[str, Attack]:
    """The features that the view offers what they need."""
    known = {name: FeatureAttack(name, attack_model) for name in FEATURES}
    return {name: attack for name, attack in known.items() if attack.needs <= view.offers}

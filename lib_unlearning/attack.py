"""Attacks: fitted on the shadow side's view, scored on the target side's (paper section 4.4).

An attack sees a side through its `View` only, and the defense lies inside that: nobody can go round it.
"""

from __future__ import annotations

import dataclasses
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from lib_unlearning.cache.spool import Memo
from lib_unlearning.construct_feature import CLASS_BOUND, FEATURES, OF_BOTH, OF_NUMBERS, of_known_label
from lib_unlearning.errors import LOGGER, UserError, error_text
from lib_unlearning.link import Link, Softmax
from lib_unlearning.posterior import PosteriorSet
from lib_unlearning.seeds import integer_seed, spawn

# What an attack may need of a view.
POSTERIORS = "posteriors"  # both versions' answers to the cases
OWN_MODELS = "own models"  # pairs of the adversary's own models, with and without a candidate
ASK = "ask"  # answers to records of the adversary's choice
NUMBERS = "numbers"  # answers are predictions of a regression
SEES_ORIGINAL = "original"  # the original's answers, and
SEES_UNLEARNED = "unlearned"  # the unlearned model's; an adversary may see one of them only
CLASSES = "classes"  # answers are posteriors of classes, not numbers
CLASS_ORDER = "class order"  # columns that mean the same on both sides

BOTH_VERSIONS = frozenset({POSTERIORS, ASK, SEES_ORIGINAL, SEES_UNLEARNED})  # asks both about records of his choice

ORIGINAL = -1  # as a version: the original model; others are numbers of deletion requests
PROBES = 200
BLOCK = 1024  # cases whose answers to all probes are held at once


@dataclass(frozen=True)
class Budget:
    """What an adversary may spend, and what he knows.

    Attributes:
        own_models: K, rounds of own models; in each, every candidate is deleted once. 0: he trains none.
        probes: P, records of his own that he asks both versions about to see a deletion's whole effect.
        queries: the most questions that he asks a version for the sake of one candidate, itself aside; 1 for none,
            None for as many as an attack likes.
        versions: "both", or the one that he sees: "original" or "unlearned".
        label_known: whether he knows a candidate's label; he takes the model's answer for it otherwise.
    """

    own_models: int = 1
    probes: int = PROBES
    queries: int | None = None
    versions: str = "both"
    label_known: bool = True

    def allowed(self, wanted: int) -> int:
        """Records that he asks about where an attack would like some number of them."""
        return wanted if self.queries is None else min(wanted, self.queries)

    @property
    def offers(self) -> frozenset[str]:
        """What his means allow: questions of his choice, models of his own."""
        asks = self.queries is None or self.queries > 1
        found = {ASK: asks, OWN_MODELS: bool(self.own_models)}
        found |= {version: self.versions in ("both", version) for version in (SEES_ORIGINAL, SEES_UNLEARNED)}
        return frozenset(name for name, there in found.items() if there)

    def seen(self, cases: PosteriorSet) -> PosteriorSet:
        """Cases as he sees them: a version that he does not see is taken to be the one that he does."""
        before = cases.unlearned if self.versions == "unlearned" else cases.original
        after = cases.original if self.versions == "original" else cases.unlearned
        label = cases.label if self.label_known else before.argmax(axis=1)
        return dataclasses.replace(cases, original=before, unlearned=after, label=label)


class OwnWorlds(Protocol):
    """What the adversary's own models say of m candidates in K rounds of G groups; all of it published posteriors.

    In each round every candidate is deleted once, from a model that was trained on its group and on records of his own.
    """

    @property
    def changes(self) -> np.ndarray:
        """[m, P c] change of the probes' centred log posteriors when a candidate is deleted, mean over rounds."""

    @property
    def inside(self) -> np.ndarray:
        """[K, m, 2, c] answers to a candidate before and after its deletion."""

    @property
    def outside(self) -> np.ndarray:
        """[K, G', m, 2, c] answers to a candidate by a pair that lost somebody else, of at most 256 groups a round; NaN
        where it was trained on."""

    @property
    def probes(self) -> np.ndarray:
        """[K, G, P, c] answers of the originals to the probes, which none of them was trained on."""

    @property
    def effects(self) -> np.ndarray:
        """[m, P c] change of the probes' centred logits for a step up a candidate's loss, mean over rounds; no columns
        where own models have no gradients."""


@dataclass(frozen=True)
class WantedWorlds:
    """What own models are wanted for.

    Attributes:
        candidates: [m] records. labels: [m] what he takes for their labels; None where he knows them.
        probes: [P] records of his own to ask about. used: how many of these, from the first on.
        rounds: K.
    """

    candidates: np.ndarray
    labels: np.ndarray | None
    probes: np.ndarray
    used: int
    seed: int
    rounds: int


class Worlds(Protocol):
    """What own models say of all candidates, wherever that is kept."""

    def of(self, chosen: np.ndarray) -> OwnWorlds:
        """What they say of some, by their numbers [k]: a block of them, as each has kilobytes."""


MakeWorlds = Callable[[WantedWorlds], Worlds]


@dataclass(frozen=True)
class View:
    """One side as the adversary sees it.

    Attributes:
        cases: both versions' published answers to the cases, and on the shadow side the truth about them.
        offers: what attacks may rely on.
        answer: (sample set, version, records [k]) -> published posteriors [k, c]; None where nobody can be asked.
        answer_rows: the same for features [k, ...] of the adversary's making.
        look_up: records [k] -> features [k, d] of records that the adversary has: candidates and his own.
        label_of: records [k] -> labels [k] of records of his own.
        own: [n] records of the adversary's own, never a target's training record.
        pool: [n] those of them that models of his own are trained on.
        worlds: trains models of his own; None where none can be trained.
        candidates: [q] all records that this side is asked about, those of cases that were selected away included:
            own models are trained once for all of them.
        labels_taken: [q] what he takes for the candidates' labels; None where he knows them.
        budget: what he may spend.
        set_size: training records of a model.
        link: what the models' scores become: posteriors, or numbers.
        memo: what was found out by asking, by what it was: several attacks want the same.
    """

    cases: PosteriorSet
    offers: frozenset[str] = frozenset({POSTERIORS, CLASSES, CLASS_ORDER})
    answer: Callable[[int, int, np.ndarray], np.ndarray] | None = None
    answer_rows: Callable[[int, int, np.ndarray], np.ndarray] | None = None
    look_up: Callable[[np.ndarray], np.ndarray] | None = None
    label_of: Callable[[np.ndarray], np.ndarray] | None = None
    own: np.ndarray = field(default_factory=lambda: np.array([], dtype=np.int64))
    pool: np.ndarray = field(default_factory=lambda: np.array([], dtype=np.int64))
    worlds: MakeWorlds | None = None
    candidates: np.ndarray = field(default_factory=lambda: np.array([], dtype=np.int64))
    labels_taken: np.ndarray | None = None
    budget: Budget = field(default_factory=Budget)
    set_size: int = 0
    link: Link = field(default_factory=Softmax)
    memo: Memo = field(default_factory=Memo, compare=False, repr=False)

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """`make()`, or what it gave the first time for this key, here or in a selection of the same view."""
        return self.memo.once(key, make)

    def blocks(self) -> Iterator[View]:
        """The same view of some cases after others, so that what is wide is never held of all of them."""
        for first in range(0, max(len(self.cases), 1), BLOCK):
            yield self.select(np.arange(first, min(first + BLOCK, len(self.cases))))

    def select(self, chosen: np.ndarray) -> View:
        """The same view of the cases that a mask [m] or indices choose."""
        return dataclasses.replace(self, cases=self.cases.select(chosen))

    def ask(self, sample_set: int, version: int, records: np.ndarray) -> np.ndarray:
        """Published posteriors [k, c] of one model for records [k]; `version` is a request's number, or `ORIGINAL`."""
        assert self.answer is not None
        return self.answer(sample_set, version, records)

    def ask_rows(self, sample_set: int, version: int, rows: np.ndarray) -> np.ndarray:
        """Published posteriors [k, c] of one model for features [k, d] that need not be anybody's."""
        assert self.answer_rows is not None
        return self.answer_rows(sample_set, version, rows)

    def own_worlds(self, seed: int) -> OwnWorlds:
        """What own models say of each case's record, in the order of the cases, and of the `probe_records`."""
        make, probes = self.worlds, self._probes(seed)
        assert make is not None
        used, rounds = self.budget.allowed(len(probes)), self.budget.own_models
        wanted = WantedWorlds(self.candidates, self.labels_taken, probes, used, seed, rounds)
        found: Worlds = self.once(("worlds", seed, used, rounds), lambda: make(wanted))
        return found.of(np.searchsorted(self.candidates, self.cases.record))

    def probe_records(self, seed: int) -> np.ndarray:
        """[P] records of his own that both versions and his own models are asked about."""
        probes = self._probes(seed)
        return probes[: self.budget.allowed(len(probes))]

    def questions(self, seed: int, count: int) -> np.ndarray:
        """The first records of his own that he asks about under a budget: the probes, then others."""
        probes = self._probes(seed)
        others = spawn(seed, "further questions").permutation(np.setdiff1d(self.own, probes))
        return np.concatenate([probes, others])[:count]

    def _probes(self, seed: int) -> np.ndarray:
        """All that he would like to ask about: those of a smaller budget are the first of them."""
        found: np.ndarray = self.once(("probe records", seed), lambda: self._drawn_probes(seed))
        return found

    def _drawn_probes(self, seed: int) -> np.ndarray:
        """From all that he has; where they would leave too few to train own models on, from what these do not need."""
        rng, wanted = spawn(seed, "probe records"), self.budget.probes
        chosen = rng.choice(self.own, min(wanted, len(self.own)), replace=False)
        needed = min(self.set_size, len(self.pool))
        if len(np.setdiff1d(self.pool, chosen)) < needed:
            spare = np.concatenate([np.setdiff1d(self.own, self.pool), rng.permutation(self.pool)[needed:]])
            spare = spare if len(spare) else self.pool[:1]
            chosen = rng.choice(spare, min(wanted, len(spare)), replace=False)
        if len(chosen) < wanted:
            told = "%s probes, not %s: there are no more records beside those that own models are trained on"
            level = logging.INFO if wanted == PROBES else logging.WARNING
            LOGGER.log(level, told, f"{len(chosen):,}", f"{wanted:,}")
        return chosen

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

    def labels(self, records: np.ndarray) -> np.ndarray:
        """Labels [k] of records [k] of the adversary's own."""
        assert self.label_of is not None
        return self.label_of(records)


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


def _gradient_boosting(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=8, min_samples_leaf=5, random_state=seed)


def _multilayer_perceptron(seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    return _standardised(MLPClassifier(learning_rate_init=0.01, max_iter=300, random_state=seed))


def _peer_forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=500, min_samples_leaf=30, random_state=seed)


def _peer_perceptron(seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(learning_rate_init=0.01, early_stopping=True, random_state=seed)


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
    "GB": _gradient_boosting,
    "RF_peer": _peer_forest,
    "MLP_peer": _peer_perceptron,
}

# What `--peer_models true` takes in the place of an attack model: those of the paper's released code.
PEER_ATTACKS = {name: f"{name}_peer" for name in ("RF", "MLP")}


def positive_probability(classifier: Any, features: np.ndarray) -> np.ndarray:
    """A fitted attack model's probability [m] of label 1 for features [m, k]."""
    positive = int(np.flatnonzero(classifier.classes_ == 1)[0])
    found: np.ndarray = classifier.predict_proba(features)[:, positive]
    return found


# ---------------------------------------------------------------- attacks that learn


class LearnedAttack(Attack):
    """An attack that sees something of each case, and a classifier that learns on shadow cases what it means."""

    def __init__(self, attack_model: str) -> None:
        self.attack_model = attack_model

    @abstractmethod
    def prepare(self, shadow: View, seed: int) -> Callable[[View], np.ndarray]:
        """How it sees cases: view -> features [m, k]; what this needs to know, it learns on the shadow side."""

    def fit(self, shadow: View, seed: int) -> FittedLearnedAttack:
        """Train the classifier on the shadow cases."""
        see = self.prepare(shadow, seed)
        classifier = ATTACK_MODELS[self.attack_model](integer_seed(seed, "attack", self.name))
        try:
            classifier.fit(see(shadow), shadow.cases.member)
        except ValueError as error:  # early stopping wants more cases than there may be
            raise UserError(
                f"attack model {self.attack_model} cannot learn {self.name} from {len(shadow.cases)} shadow cases "
                f"({error_text(error)}); ask for more shadow cases, or name another attack model"
            ) from error
        return FittedLearnedAttack(see, classifier)


@dataclass(frozen=True)
class FittedLearnedAttack(FittedAttack):
    """How it sees a case, and the classifier that judges it."""

    see: Callable[[View], np.ndarray]
    classifier: Any

    def score(self, view: View) -> np.ndarray:
        """The classifier's probability [m] of a positive."""
        return positive_probability(self.classifier, self.see(view))


@dataclass(frozen=True)
class OfCases:
    """A feature of the cases' answers alone, by its name."""

    feature: str

    def __call__(self, view: View) -> np.ndarray:
        return FEATURES[self.feature](view.cases)


@dataclass(frozen=True)
class KnownLabel:
    """What is seen of a case whose label (or number) is known, see `of_known_label`."""

    def __call__(self, view: View) -> np.ndarray:
        return of_known_label(view.cases)


@dataclass(frozen=True)
class Joined:
    """Sees what several others see, side by side."""

    parts: tuple[Callable[[View], np.ndarray], ...]

    def __call__(self, view: View) -> np.ndarray:
        return np.hstack([part(view) for part in self.parts])


@dataclass(frozen=True)
class FeatureAttack(LearnedAttack):
    """A feature of the case, judged by a classifier: what the paper does."""

    name: str
    attack_model: str

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """Both answers, of classes or of numbers; the order of classes where the feature is bound to it."""
        kind = {NUMBERS} if self.name in OF_NUMBERS else set() if self.name in OF_BOTH else {CLASSES}
        return frozenset({POSTERIORS} | kind | ({CLASS_ORDER} if self.name in CLASS_BOUND else set()))

    def prepare(self, shadow: View, seed: int) -> OfCases:
        """There is nothing to learn."""
        return OfCases(self.name)


# Attacks that plug-ins bring: name -> attack for the name of an attack model. Ours are in `attacks.registry`.
ATTACKS: dict[str, Callable[[str], Attack]] = {}


def paper_attacks(view: View, attack_model: str) -> dict[str, Attack]:
    """The features that the view offers what they need."""
    known = {name: FeatureAttack(name, attack_model) for name in FEATURES}
    return {name: attack for name, attack in known.items() if attack.needs <= view.offers}

"""Probe-matched attack: a deletion moves the whole model, and the adversary knows how a record would move his own.

He asks both versions about records of his own, the probes, and sees how their answers change. For each candidate he
trains a pair of models with and without it, by the same method, and sees how his own answers change. Where the two
agree, the candidate was deleted. One classifier, fitted on shadow cases, judges the agreement beside `label_logit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lib_unlearning.attack import (
    ASK,
    ATTACK_MODELS,
    ORIGINAL,
    OWN_MODELS,
    POSTERIORS,
    Attack,
    FittedAttack,
    View,
    positive_probability,
)
from lib_unlearning.attacks.residual_gradient import centred_logs
from lib_unlearning.construct_feature import label_logit
from lib_unlearning.seeds import integer_seed, spawn

PROBES = 200
_RIDGE = 1e-3  # of the largest variance, when changes are whitened
_TINY = 1e-12


@dataclass(frozen=True)
class Whitening:
    """Coordinates in which the shadow side's changes have no preferred direction: [P c] -> [k]."""

    axes: np.ndarray

    @staticmethod
    def of(changes: np.ndarray) -> Whitening:
        """From changes [n, P c], by their principal components with a ridge."""
        _, lengths, rows = np.linalg.svd(changes, full_matrices=False)
        variances = lengths**2 / len(changes)
        return Whitening((rows / np.sqrt(variances + _RIDGE * variances.max() + _TINY)[:, None]).T)

    def __call__(self, changes: np.ndarray) -> np.ndarray:
        found: np.ndarray = changes @ self.axes
        return found


def agreement(seen: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """How well expected changes [m, k] explain those seen: cosine, projections, what is left, lengths, [m, 7]."""
    product = (seen * expected).sum(axis=1)
    total, own = (np.maximum((part**2).sum(axis=1), _TINY**2) for part in (seen, expected))
    left = ((seen - expected) ** 2).sum(axis=1)
    columns = [product / np.sqrt(total * own), product / own, product / total, np.sqrt(left / total)]
    return np.column_stack([*columns, np.log(total), np.log(own), total - left])


class ProbeMatched(Attack):
    """The attack with one pair of own models a candidate, and 200 probes."""

    name = "probe_matched"
    needs = frozenset({POSTERIORS, ASK, OWN_MODELS})

    def __init__(self, attack_model: str) -> None:
        self.attack_model = attack_model

    def fit(self, shadow: View, seed: int) -> FittedProbeMatched:
        """Learn on shadow cases how well changes agree where the candidate was deleted."""
        seen, expected = changes(shadow, seed)
        whitening = Whitening.of(seen)
        classifier = ATTACK_MODELS[self.attack_model](integer_seed(seed, "attack", self.name))
        classifier.fit(_features(shadow, seen, expected, whitening), shadow.cases.member)
        return FittedProbeMatched(classifier, whitening, seed)


@dataclass(frozen=True)
class FittedProbeMatched(FittedAttack):
    """The classifier, the coordinates it sees changes in, and the seed that chose the probes."""

    classifier: Any
    whitening: Whitening
    seed: int

    def score(self, view: View) -> np.ndarray:
        """Probability [m] of a positive."""
        seen, expected = changes(view, self.seed)
        return positive_probability(self.classifier, _features(view, seen, expected, self.whitening))


def _features(view: View, seen: np.ndarray, expected: np.ndarray, whitening: Whitening) -> np.ndarray:
    plain, white = agreement(seen, expected), agreement(whitening(seen), whitening(expected))
    return np.hstack([plain, white, label_logit(view.cases)])


def changes(view: View, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """For each case the change of the probes' centred log posteriors: seen, and shown by own models, [m, P c]."""
    cases = view.cases
    probes = spawn(seed, "probe records").choice(view.own, min(PROBES, len(view.own)), replace=False)
    candidates = np.unique(cases.record)
    expected = view.own_changes(candidates, probes, seed)[np.searchsorted(candidates, cases.record)]
    seen = np.empty((len(cases), expected.shape[1]), dtype=np.float32)
    before: dict[int, np.ndarray] = {}
    for number, request, chosen in view.requests():
        if number not in before:
            before = {number: centred_logs(view.ask(number, ORIGINAL, probes))}
        seen[chosen] = (before[number] - centred_logs(view.ask(number, request, probes))).ravel()
    return seen, expected

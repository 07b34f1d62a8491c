"""Which attack the adversary would use: chosen on the shadow side, where he knows the truth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lib_unlearning.attack import Attack, View
from lib_unlearning.attacks.combined import Combined
from lib_unlearning.construct_feature import BASELINE
from lib_unlearning.statistics.metrics import auc_difference, plain_auc


def cross_fitted_scores(attack: Attack, shadow: View, seed: int) -> np.ndarray:
    """Scores [m] of the shadow cases, each from an attack that was fitted on the other half of the sample sets.

    A single sample set is halved by deletion requests instead.
    """
    cases = shadow.cases
    group = cases.set if len(np.unique(cases.set)) > 1 else cases.request
    half = np.searchsorted(np.unique(group), group) % 2
    scores = np.full(len(cases), 0.5)
    for fold in np.unique(half) if len(np.unique(half)) > 1 else ():
        judged = half == fold
        scores[judged] = attack.fit(shadow.select(~judged), seed).score(shadow.select(judged))
    return scores


def chosen_attack(scores: Mapping[str, np.ndarray], shadow: View) -> str:
    """The attack whose cross-fitted scores tell the shadow cases apart best; the classical one is no candidate.

    The combined attack is taken unless another is better by more than a standard error: it learns most, so halving the
    shadow cases costs it most.
    """
    promise = {name: plain_auc(found, shadow.cases.member) for name, found in scores.items() if name != BASELINE}
    best = max(promise, key=lambda name: promise[name])
    if Combined.name not in promise or best == Combined.name:
        return best
    lead = auc_difference(scores[best], scores[Combined.name], shadow.cases.member, shadow.cases.set)
    return Combined.name if lead.error is None or lead.value <= lead.error else best

"""Deleted, remaining, or a stranger: one attack that tells all three apart (the question of arXiv 2605.01129)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from lib_unlearning.attack import ATTACK_MODELS, LearnedAttack, View
from lib_unlearning.posterior import concatenate
from lib_unlearning.seeds import integer_seed
from lib_unlearning.statistics.intervals import Estimate
from lib_unlearning.statistics.metrics import evaluate, mean_estimate

CLASSES = ("stranger", "remaining", "deleted")


@dataclass(frozen=True)
class ThreeClasses:
    """What the attack gave on the target side.

    Attributes:
        auc: class -> AUC of telling it from the two others.
        confusion: [3, 3] shares; rows are the truth, columns the answer.
        accuracy: share of right answers.
    """

    auc: dict[str, Estimate]
    confusion: np.ndarray
    accuracy: Estimate


def joined(deleted: View, remaining: View) -> tuple[View, np.ndarray]:
    """Cases of both views as one, strangers once, and the class [m] of each."""
    stays = remaining.cases.select(remaining.cases.member == 1)
    cases = concatenate([deleted.cases, stays])
    classes = np.concatenate([np.where(deleted.cases.member == 1, 2, 0), np.ones(len(stays), dtype=int)])
    candidates = np.union1d(deleted.candidates, remaining.candidates)
    taken = None
    for view in (remaining, deleted):
        if view.labels_taken is not None:
            taken = np.zeros(len(candidates), dtype=np.int64) if taken is None else taken
            taken[np.searchsorted(candidates, view.candidates)] = view.labels_taken
    return replace(deleted, cases=cases, candidates=candidates, labels_taken=taken), classes


def three_classes(
    deleted: Mapping[str, View], remaining: Mapping[str, View], attack: LearnedAttack, seed: int, overlap: float
) -> ThreeClasses:
    """Learn on the shadow side's three kinds of cases, judge the target side's.

    Args:
        deleted, remaining: both sides' views of deleted records and strangers, and of remaining records and strangers.
        attack: what is seen of a case, and by which classifier it is judged.
    """
    shadow, truth = joined(deleted["shadow"], remaining["shadow"])
    see = attack.prepare(replace(shadow, cases=replace(shadow.cases, member=(truth == 2).astype(int))), seed)
    classifier = ATTACK_MODELS[attack.attack_model](integer_seed(seed, "attack", "three classes", attack.name))
    classifier.fit(see(shadow), truth)
    target, classes = joined(deleted["target"], remaining["target"])
    scores = classifier.predict_proba(see(target))
    answer = scores.argmax(axis=1)
    auc = {
        name: evaluate(scores[:, number], None, (classes == number).astype(int), target.cases.set, overlap=overlap)[
            "auc"
        ]
        for number, name in enumerate(CLASSES)
    }
    confusion = np.array([[(answer[classes == true] == said).mean() for said in range(3)] for true in range(3)])
    return ThreeClasses(auc, confusion, mean_estimate(answer == classes, target.cases.set, overlap))

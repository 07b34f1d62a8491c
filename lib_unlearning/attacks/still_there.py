"""Is the record still there? Membership inference on the unlearned model alone, deleted records against strangers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lib_unlearning.attack import ATTACK_MODELS, View, positive_probability
from lib_unlearning.construct_feature import unlearned_alone
from lib_unlearning.seeds import integer_seed
from lib_unlearning.statistics.intervals import Estimate
from lib_unlearning.statistics.metrics import evaluate


@dataclass(frozen=True)
class StillThere:
    """What the unlearned models give away by themselves.

    Attributes:
        alone: AUC of telling deleted records from strangers by the unlearned models.
        retrained: the same by models that were retrained without them; None where these are the unlearned ones.
        unchanged: whether both versions answered alike in every case.
    """

    alone: Estimate
    retrained: Estimate | None
    unchanged: bool


def attack_alone(views: Mapping[str, View], attack_model: str, seed: int, overlap: float) -> Estimate:
    """AUC of the attack on the unlearned models, fitted on the shadow side."""
    shadow, target = views["shadow"].cases, views["target"].cases
    classifier = ATTACK_MODELS[attack_model](integer_seed(seed, "attack", "unlearned alone"))
    classifier.fit(unlearned_alone(shadow), shadow.member)
    scores = positive_probability(classifier, unlearned_alone(target))
    return evaluate(scores, None, target.member, target.set, overlap=overlap)["auc"]


def still_there(
    views: Mapping[str, View], retrained: Mapping[str, View] | None, attack_model: str, seed: int, overlap: float
) -> StillThere:
    """Judge the unlearned models, beside models retrained without the deleted records where these are others."""
    cases = views["target"].cases
    return StillThere(
        attack_alone(views, attack_model, seed, overlap),
        None if retrained is None else attack_alone(retrained, attack_model, seed, overlap),
        bool(np.array_equal(cases.original, cases.unlearned)),
    )

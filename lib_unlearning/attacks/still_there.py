"""Is the record still there? Membership inference on the unlearned model alone, deleted records against strangers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lib_unlearning.attack import ATTACK_MODELS, View, positive_probability
from lib_unlearning.construct_feature import unlearned_alone
from lib_unlearning.posterior import alike_answers
from lib_unlearning.seeds import integer_seed
from lib_unlearning.statistics.intervals import Estimate
from lib_unlearning.statistics.metrics import evaluate


@dataclass(frozen=True)
class StillThere:
    """What the unlearned models give away by themselves.

    Attributes:
        alone: AUC of telling deleted records from strangers by the unlearned models.
        retrained: the same by models that were retrained without them; None where these are the unlearned ones.
        efficacy: AUC of telling, by its answer to a deleted record, the unlearned model from one that was retrained
            without it (RULI's efficacy game, arXiv 2506.13009); None like `retrained`.
        unchanged: whether both versions answered alike in every case.
    """

    alone: Estimate
    retrained: Estimate | None
    efficacy: Estimate | None
    unchanged: bool


def attack_alone(views: Mapping[str, View], attack_model: str, seed: int, overlap: float) -> Estimate:
    """AUC of the attack on the unlearned models, fitted on the shadow side."""
    shadow, target = views["shadow"].cases, views["target"].cases
    classifier = ATTACK_MODELS[attack_model](integer_seed(seed, "attack", "unlearned alone"))
    classifier.fit(unlearned_alone(shadow), shadow.member)
    scores = positive_probability(classifier, unlearned_alone(target))
    return evaluate(scores, None, target.member, target.set, overlap=overlap)["auc"]


def efficacy(
    views: Mapping[str, View], retrained: Mapping[str, View], attack_model: str, seed: int, overlap: float
) -> Estimate:
    """AUC of telling unlearned from retrained models by what they answer to deleted records."""

    def game(side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Answers [2 k, ...], whether from an unlearned model [2 k], sample sets [2 k]."""
        parts = [part[side].cases.select(part[side].cases.member == 1) for part in (views, retrained)]
        kind = np.repeat([1, 0], len(parts[0]))
        return np.concatenate([unlearned_alone(part) for part in parts]), kind, np.tile(parts[0].set, 2)

    classifier = ATTACK_MODELS[attack_model](integer_seed(seed, "attack", "efficacy"))
    answers, kind, _ = game("shadow")
    classifier.fit(answers, kind)
    answers, kind, sets = game("target")
    return evaluate(positive_probability(classifier, answers), None, kind, sets, overlap=overlap)["auc"]


def still_there(
    views: Mapping[str, View], retrained: Mapping[str, View] | None, attack_model: str, seed: int, overlap: float
) -> StillThere:
    """Judge the unlearned models, beside models retrained without the deleted records where these are others."""
    cases = views["target"].cases
    return StillThere(
        attack_alone(views, attack_model, seed, overlap),
        None if retrained is None else attack_alone(retrained, attack_model, seed, overlap),
        None if retrained is None else efficacy(views, retrained, attack_model, seed, overlap),
        alike_answers(cases.original, cases.unlearned),
    )

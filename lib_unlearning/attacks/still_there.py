"""Is the record still there? Membership inference on the unlearned model alone, deleted records against strangers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lib_unlearning.attack import ATTACK_MODELS, positive_probability
from lib_unlearning.construct_feature import unlearned_alone
from lib_unlearning.posterior import PosteriorSet, alike_answers
from lib_unlearning.seeds import integer_seed
from lib_unlearning.statistics.intervals import Estimate
from lib_unlearning.statistics.metrics import evaluate

Sides = Mapping[str, PosteriorSet]


@dataclass(frozen=True)
class StillThere:
    """What the unlearned models give away by themselves.

    Attributes:
        alone: AUC of telling deleted records from strangers by the unlearned models.
        retrained: the same by models that were retrained without them; None where these are the unlearned ones.
        efficacy: AUC of telling, by its answer to a deleted record, the unlearned model from one that was retrained
            without it (RULI's efficacy game, arXiv 2506.13009); None like `retrained`.
        distance: what the two answer to a deleted record, in total variation (half the sum of absolute differences of
            posteriors), on average; 0 where they answer alike, at most 1; None like `retrained`.
        unchanged: whether both versions answered alike in every case.
    """

    alone: Estimate
    retrained: Estimate | None
    efficacy: Estimate | None
    distance: float | None
    unchanged: bool


def attack_alone(asked: Sides, attack_model: str, seed: int, overlap: float) -> Estimate:
    """AUC of the attack on the unlearned models, fitted on the shadow side."""
    shadow, target = asked["shadow"], asked["target"]
    classifier = ATTACK_MODELS[attack_model](integer_seed(seed, "attack", "unlearned alone"))
    classifier.fit(unlearned_alone(shadow), shadow.member)
    scores = positive_probability(classifier, unlearned_alone(target))
    return evaluate(scores, None, target.member, target.set, overlap=overlap)["auc"]


def efficacy(asked: Sides, retrained: Sides, attack_model: str, seed: int, overlap: float) -> Estimate:
    """AUC of telling unlearned from retrained models by what they answer to deleted records."""

    def game(side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Answers [2 k, ...], whether from an unlearned model [2 k], sample sets [2 k]."""
        parts = [part[side].select(part[side].member == 1) for part in (asked, retrained)]
        kind = np.repeat([1, 0], len(parts[0]))
        return np.concatenate([unlearned_alone(part) for part in parts]), kind, np.tile(parts[0].set, 2)

    classifier = ATTACK_MODELS[attack_model](integer_seed(seed, "attack", "efficacy"))
    answers, kind, _ = game("shadow")
    classifier.fit(answers, kind)
    answers, kind, sets = game("target")
    return evaluate(positive_probability(classifier, answers), None, kind, sets, overlap=overlap)["auc"]


def total_variation(unlearned: PosteriorSet, retrained: PosteriorSet) -> float:
    """Mean distance between both models' answers to deleted records (see `StillThere`)."""
    gone = unlearned.member == 1
    return float(np.abs(unlearned.unlearned[gone] - retrained.unlearned[gone]).sum(axis=1).mean() / 2)


def still_there(asked: Sides, retrained: Sides | None, attack_model: str, seed: int, overlap: float) -> StillThere:
    """Judge the unlearned models, beside models retrained without the deleted records where these are others.

    Whatever an adversary lacks: this is asked of the unlearned models by somebody who knows labels.
    """
    cases = asked["target"]
    return StillThere(
        attack_alone(asked, attack_model, seed, overlap),
        None if retrained is None else attack_alone(retrained, attack_model, seed, overlap),
        None if retrained is None else efficacy(asked, retrained, attack_model, seed, overlap),
        None if retrained is None else total_variation(cases, retrained["target"]),
        alike_answers(cases.original, cases.unlearned),
    )

"""What an audit rests on: both sides' answers, attacked; and how cases are scored and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from lib_unlearning.attack import ATTACK_MODELS, View, positive_probability
from lib_unlearning.attacks.choice import chosen_attack, cross_fitted_scores
from lib_unlearning.attacks.registry import attacks_on
from lib_unlearning.posterior import PosteriorSet, evenly_spaced
from lib_unlearning.seeds import integer_seed
from lib_unlearning.statistics.intervals import Estimate
from lib_unlearning.statistics.metrics import Scored, evaluate, record_groups
from lib_unlearning.statistics.privacy import halves
from lib_unlearning.statistics.verdict import TPR_MARGIN

Views = Mapping[str, View]
Sides = Mapping[str, PosteriorSet]
LEARNED = 20_000  # cases that a control's classifier learns from


@dataclass(frozen=True)
class Options:
    """How an audit is made.

    Attributes:
        margin: AUC above one half that counts as none, and difference of AUCs that does.
        tpr_margin: the same of the TPR at 1 % FPR, above one in a hundred.
        attack_model, today: see `attacks_on`.
    """

    margin: float = 0.05
    attack_model: str = "RF"
    today: bool = True
    seed: int = 0
    overlap: float = 0.0
    tpr_margin: float = TPR_MARGIN


@dataclass(frozen=True)
class Attacked:
    """One pair of views, attacked: scores on the target side, cross-fitted ones on the shadow side, the chosen."""

    scores: dict[str, np.ndarray]
    tried: dict[str, np.ndarray]
    chosen: str


@dataclass(frozen=True)
class Evidence:
    """What an audit rests on: both sides' answers, and the scores of the attacks on them.

    Attributes:
        retrained, other: the same of models retrained without the deleted records; None where nothing is compared.
    """

    cases: Sides
    found: Attacked
    retrained: Sides | None
    other: Attacked | None


def attacked(views: Views, options: Options) -> Attacked:
    """All attacks that the views allow, fitted on the shadow side."""
    shadow, target, seed = views["shadow"], views["target"], options.seed
    attacks = attacks_on(shadow, options.attack_model, seed, options.today)
    scores = {name: attack.fit(shadow, seed).score(target) for name, attack in attacks.items()}
    tried = {name: cross_fitted_scores(attack, shadow, seed) for name, attack in attacks.items()}
    return Attacked(scores, tried, chosen_attack(tried, shadow))


def same_cases(cases: Sides) -> bool:
    """Whether there is no shadow side of its own: both are the same cases, in everything but their records' numbers."""
    sides = [vars(replace(part, record=part.member)).values() for part in (cases["target"], cases["shadow"])]
    return all(np.array_equal(one, other) for one, other in zip(*sides, strict=True))


def apart(cases: Sides, alone: bool) -> Sides:
    """Both sides, or where there is but one, two halves of it by sample sets: nothing is judged on what it learned
    from."""
    if not alone:
        return cases
    target = cases["target"]
    first = halves(target.set, target.request)
    return {"shadow": target.select(first), "target": target.select(~first)}


def spread(member: np.ndarray, limit: int) -> np.ndarray:
    """At most about `limit` cases, as many of each kind in proportion, evenly spaced."""
    share = min(1.0, limit / len(member))
    kinds = [np.flatnonzero(member == kind) for kind in np.unique(member)]
    return np.sort(np.concatenate([evenly_spaced(rows, max(1, int(share * len(rows)))) for rows in kinds]))


def judged(
    shadow: PosteriorSet,
    truth: np.ndarray,
    target: PosteriorSet,
    see: Callable[[PosteriorSet], np.ndarray],
    options: Options,
    purpose: str,
) -> np.ndarray:
    """Scores [m] of target cases by a classifier that learned a truth [n] on shadow cases."""
    classifier = ATTACK_MODELS[options.attack_model](integer_seed(options.seed, "audit", purpose))
    learned = spread(truth, LEARNED)
    return positive_probability(classifier.fit(see(shadow.select(learned)), truth[learned]), see(target))


def scored_cases(scores: np.ndarray, cases: PosteriorSet) -> Scored:
    return Scored(scores, cases.member, cases.set, record_groups(cases.record, cases.member, cases.set))


def metrics(scored: Scored, options: Options) -> dict[str, Estimate]:
    scores, member, sets, groups = scored
    return evaluate(scores, None, member, sets, overlap=options.overlap, groups=groups)

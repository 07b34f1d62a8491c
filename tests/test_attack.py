"""Attack models on cases with a known answer, and on cases without any."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lib_unlearning.attack import ATTACK_MODELS, FeatureAttack, View
from lib_unlearning.attacks.choice import cross_fitted_scores
from lib_unlearning.posterior import PosteriorSet, concatenate


def cases(seed: int, drop: float, count: int = 400) -> PosteriorSet:
    """Cases whose positives lose `drop` of their true label's posterior, on a scale the noise does not hide."""
    rng = np.random.default_rng(seed)
    member, label = np.tile([1, 0], count // 2), rng.integers(0, 2, count)
    before = rng.uniform(0.4, 0.9, count)
    after = before - drop * member + rng.normal(0, 0.01, count)
    both = [np.where(label[:, None] == np.arange(2), p[:, None], 1 - p[:, None]) for p in (before, after)]
    return PosteriorSet(
        both[0], both[1], member, np.arange(count), label, np.arange(count) // 40, np.arange(count) // 2 % 20
    )


@pytest.mark.parametrize("attack_model", ATTACK_MODELS)
def test_attack_finds_what_is_there_and_nothing_else(attack_model: str) -> None:
    for drop, low, high in ((0.1, 0.95, 1.0), (0.0, 0.4, 0.6)):
        shadow, target = cases(0, drop), cases(1, drop)
        scores = FeatureAttack("label_diff", attack_model).fit(View(shadow), 0).score(View(target))
        assert low <= roc_auc_score(target.member, scores) <= high


@pytest.mark.parametrize("attack_model", ATTACK_MODELS)
def test_one_row_gets_the_score_it_has_among_others(attack_model: str) -> None:
    """A scaler that was fitted again on the queried rows would turn a single row into zeros."""
    target = View(cases(1, 0.1))
    fitted = FeatureAttack("direct_diff", attack_model).fit(View(cases(0, 0.1)), 0)
    together = fitted.score(target)
    alone = np.concatenate([fitted.score(target.select(np.array([i]))) for i in range(20)])
    np.testing.assert_allclose(alone, together[:20], atol=1e-9)
    assert len(np.unique(alone.round(6))) > 1


def test_cross_fitting_never_judges_a_case_it_was_trained_on() -> None:
    rng = np.random.default_rng(0)
    shadow = cases(0, 0.0)
    attack = FeatureAttack("direct_concat", "DT")
    scores = cross_fitted_scores(attack, View(shadow), 0)
    assert 0.4 < roc_auc_score(shadow.member, scores) < 0.6
    flipped = PosteriorSet(
        **{**vars(shadow), "member": np.where(shadow.set % 2 == 0, shadow.member, rng.permutation(shadow.member))}
    )
    np.testing.assert_array_equal(
        cross_fitted_scores(attack, View(flipped), 0)[shadow.set % 2 == 1], scores[shadow.set % 2 == 1]
    )


def test_concatenate_keeps_order(three_cases: PosteriorSet) -> None:
    both = concatenate([three_cases, three_cases.select(np.array([2]))])
    np.testing.assert_array_equal(both.record, [10, 11, 12, 12])

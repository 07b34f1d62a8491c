"""Attacks on own models: Gaussians by hand, worlds whose truth is known, views that withhold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score

from lib_unlearning.attack import ASK, OWN_MODELS, SEES_ORIGINAL, SEES_UNLEARNED, Budget, View
from lib_unlearning.attacks import worlds
from lib_unlearning.attacks.registry import TODAY
from lib_unlearning.own_models import one_version
from lib_unlearning.posterior import PosteriorSet

ROUNDS, GROUPS, PROBES = 8, 5, 30


@dataclass(frozen=True)
class GivenWorlds:
    """Own worlds that were made up, of all candidates or of some."""

    changes: np.ndarray
    inside: np.ndarray
    outside: np.ndarray
    probes: np.ndarray
    effects: np.ndarray

    def of(self, chosen: np.ndarray) -> GivenWorlds:
        """By their numbers [k]."""
        return GivenWorlds(
            self.changes[chosen], self.inside[:, chosen], self.outside[:, :, chosen], self.probes, self.effects[chosen]
        )


def posteriors(confidence: np.ndarray) -> np.ndarray:
    """[..., 2] with a logit-scaled confidence [...] in class 1."""
    p = 1 / (1 + np.exp(-confidence))
    return np.stack([1 - p, p], axis=-1)


def view_of(fall: float, cases: int = 200, seed: int = 0) -> View:
    """A side whose deleted records lose `fall` of their logit, among noise of 0.2; own worlds show the same."""
    rng = np.random.default_rng(seed)
    member, hard = np.tile([1, 0], cases // 2), rng.normal(0, 2, cases)

    def noise(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.2, shape)

    def pair(deleted: np.ndarray, *shape: int) -> np.ndarray:
        after = hard + noise(*shape, cases)
        return np.stack([posteriors(after + fall * deleted + noise(*shape, cases)), posteriors(after)], axis=-2)

    own = GivenWorlds(
        np.zeros((cases, PROBES * 2)),
        pair(np.ones(cases), ROUNDS),
        pair(np.zeros(cases), ROUNDS, GROUPS),
        posteriors(noise(ROUNDS, GROUPS, PROBES)),
        np.zeros((cases, 0)),
    )
    seen = pair(member)
    index = np.arange(cases)
    filled = PosteriorSet(
        seen[:, 0], seen[:, 1], member, index, np.ones(cases, dtype=int), index // 20, index // 2 % 10
    )
    return View(
        filled,
        frozenset({"posteriors", "classes"}) | Budget().offers,
        answer=lambda number, version, records: posteriors(np.zeros(len(records))),
        look_up=lambda records: np.ones((len(records), 2)),
        label_of=lambda records: np.ones(len(records), dtype=int),
        own=np.arange(1000, 1000 + PROBES),
        worlds=lambda wanted: own,
        candidates=index,
    )


def test_gaussians_against_scipy() -> None:
    rng = np.random.default_rng(0)
    samples = rng.multivariate_normal([0, 1], [[1, 0.5], [0.5, 2]], size=(40, 3))
    found = worlds.gaussians(worlds.Moments.of(samples))
    assert found.covariance.shape == (3, 2, 2)
    values = rng.normal(size=(3, 2))
    expected = [
        multivariate_normal(samples[:, i].mean(axis=0), np.cov(samples[:, i].T)).logpdf(values[i]) for i in range(3)
    ]
    np.testing.assert_allclose(found.log_density(values) - np.log(2 * np.pi), expected, atol=1e-3)
    assert worlds.gaussians(worlds.Moments.of(samples[:8])).covariance.shape == (1, 2, 2)  # few samples: one for all


def test_scores_keep_the_order_of_ratios_of_any_size() -> None:
    ratios = np.array([-1e9, -50.0, -1e-9, 0.0, 3.0, 700.0, 1e12])
    scores = worlds.squashed(ratios)
    assert (np.diff(scores) > 0).all()
    assert scores[3] == 0.5
    assert scores.min() > 0
    assert scores.max() < 1


@pytest.mark.parametrize("name", ["likelihood_ratio", "likelihood_offline", "rmia_difference"])
def test_they_find_what_is_there_and_nothing_else(name: str) -> None:
    for fall, low, high in ((1.0, 0.95, 1.0), (0.0, 0.4, 0.6)):
        view = view_of(fall)
        attack = TODAY[name]("LR")
        assert low <= roc_auc_score(view.cases.member, attack.fit(view, 0).score(view)) <= high


def test_the_ratio_is_that_of_the_gaussians_the_worlds_were_drawn_from() -> None:
    """Between a fall of 1 and none, with noise of known size, the ratio is a line with slope 1 / variance."""
    view = view_of(1.0, 2000)
    ratios = worlds.log_ratios(view, 0, columns=(1,))
    answers = np.stack([view.cases.original, view.cases.unlearned], axis=1)
    fell = worlds.statistics_of(answers, view.cases.label)[:, 1]
    slope = np.polyfit(fell, ratios, 1)[0]
    assert slope == pytest.approx(1 / 0.2**2, rel=0.2)


def test_what_the_budget_lacks_is_not_offered() -> None:
    assert OWN_MODELS not in Budget(own_models=0).offers
    assert ASK not in Budget(queries=1).offers
    assert {SEES_ORIGINAL, SEES_UNLEARNED} & Budget(versions="unlearned").offers == {SEES_UNLEARNED}
    view = view_of(1.0)
    cases = Budget(versions="unlearned", label_known=False).seen(view.cases)
    np.testing.assert_array_equal(cases.original, view.cases.unlearned)
    np.testing.assert_array_equal(cases.label, view.cases.unlearned.argmax(axis=1))


@pytest.mark.parametrize("version", ["original", "unlearned"])
def test_one_version_stands_in_the_place_of_both(version: str) -> None:
    pairs = np.arange(2 * 5 * 2 * 3).reshape(2, 5, 2, 3)  # groups, candidates, before and after, classes
    found = one_version(pairs, version)
    assert found.shape == pairs.shape
    for place in (0, 1):
        np.testing.assert_array_equal(found[:, :, place], pairs[:, :, 0 if version == "original" else 1])

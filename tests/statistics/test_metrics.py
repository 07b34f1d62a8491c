"""Metrics against scikit-learn, hand counts, nulls and known truths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score, roc_curve

from benchmarks.coverage import coverage, simulate
from lib_unlearning.statistics import metrics


def one_row(scores: np.ndarray, member: np.ndarray) -> dict[str, float]:
    sets, ones = np.zeros(len(scores), dtype=int), np.ones((1, 1))
    found = metrics.roc_metrics(scores, member, sets, ones) | metrics.threshold_metrics(scores, member, sets, ones)
    return {name: float(values[0]) for name, values in found.items()}


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 300), st.sampled_from([2, 5, 1000]))
def test_against_scikit_learn(seed: int, count: int, distinct: int) -> None:
    rng = np.random.default_rng(seed)
    member = np.append(rng.integers(0, 2, count), [0, 1])
    scores = rng.integers(0, distinct, count + 2) / distinct
    found = one_row(scores, member)
    fpr, tpr, _ = roc_curve(member, scores, drop_intermediate=False)
    assert found["auc"] == pytest.approx(roc_auc_score(member, scores))
    assert found["advantage"] == pytest.approx((tpr - fpr).max())
    assert found["accuracy"] == pytest.approx(accuracy_score(member, scores > 0.5))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(member, scores > 0.5))
    for level, name in metrics.TPR_NAMES.items():
        if level * (member == 0).sum() >= 1:
            assert found[name] == pytest.approx(tpr[fpr <= level].max())
        else:
            assert name not in found  # finer than the cases resolve


def test_by_hand() -> None:
    member = np.array([1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])  # ten negatives: only 10 % can be resolved
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.55, *[0.1] * 8])
    found = one_row(scores, member)
    assert found["auc"] == pytest.approx((10 + 10 + 8) / 30)
    assert found["tpr_at_10pct_fpr"] == pytest.approx(2 / 3)
    assert found["advantage"] == pytest.approx(1 - 2 / 10)
    assert "tpr_at_1pct_fpr" not in found
    baseline = np.array([0.5] * 5 + [0.1] * 8)
    compared = metrics.degradation_metrics(scores, baseline, member, np.zeros(13, dtype=int), np.ones((1, 1)))
    assert compared["deg_count"][0] == pytest.approx(3 / 13)
    assert compared["deg_rate"][0] == pytest.approx((0.4 + 0.3 - 0.2 - 0.1 + 0.05) / 13)


def test_weights_repeat_whole_sets() -> None:
    scores, member, sets = simulate(3, 0.5, 0.5, np.random.default_rng(0))
    weighted = metrics.roc_metrics(scores, member, sets, np.array([[2.0, 0.0, 1.0]]))
    chosen = np.concatenate([np.flatnonzero(sets == number) for number in (0, 0, 2)])
    assert weighted["auc"][0] == pytest.approx(roc_auc_score(member[chosen], scores[chosen]))


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, member, sets = simulate(5, 0.5, 0.0, np.random.default_rng(0))
    whole = metrics.evaluate(scores, None, member, sets, np.random.default_rng(1), 50)
    monkeypatch.setattr(metrics, "_BLOCK", 1)
    blocks = metrics.evaluate(scores, None, member, sets, np.random.default_rng(1), 50)
    for name, found in whole.items():
        assert vars(blocks[name]) == pytest.approx(vars(found), abs=1e-12)


def test_one_set_has_no_interval_and_a_useless_attack_no_gain() -> None:
    member, scores = np.array([1, 0, 1, 0]), np.full(4, 0.5)
    found = metrics.evaluate(scores, scores, member, np.zeros(4, dtype=int), np.random.default_rng(0))
    assert (found["auc"].value, found["auc"].low, found["auc"].high) == (0.5, None, None)
    assert (found["deg_count"].value, found["deg_rate"].value, found["auc_gain"].value) == (0, 0, 0)


@pytest.mark.parametrize("distance", [0.0, 1.0])
def test_intervals_cover_a_known_truth(distance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """300 simulated studies of 10 sets: 95 % coverage, give or take three standard errors and a little bias."""
    monkeypatch.setattr("benchmarks.coverage.STUDIES", 300)
    monkeypatch.setattr("benchmarks.coverage.RESAMPLES", 200)
    assert 0.90 <= coverage(10, distance, 0.0, seed=1)[0] <= 0.99

"""Metrics against scikit-learn, hand counts, nulls and known truths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score, roc_curve

from benchmarks.coverage import World, coverage
from lib_unlearning.statistics import intervals, metrics
from lib_unlearning.statistics.intervals import Estimate
from lib_unlearning.statistics.verdict import Verdict, judge


def whole(scores: np.ndarray, member: np.ndarray, threshold: float | None = None) -> dict[str, float]:
    found = metrics.evaluate(scores, None, member, np.zeros(len(scores), dtype=int), threshold)
    return {name: part.value for name, part in found.items()}


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 300), st.sampled_from([2, 5, 1000]))
def test_against_scikit_learn(seed: int, count: int, distinct: int) -> None:
    rng = np.random.default_rng(seed)
    member = np.append(rng.integers(0, 2, count), [0, 1])
    scores = rng.integers(0, distinct, count + 2) / distinct
    threshold = metrics.best_threshold(scores, member)
    found = whole(scores, member, threshold)
    fpr, tpr, _ = roc_curve(member, scores, drop_intermediate=False)
    assert found["auc"] == pytest.approx(roc_auc_score(member, scores))
    assert metrics.plain_auc(scores, member) == pytest.approx(roc_auc_score(member, scores))
    assert found["advantage"] == pytest.approx((tpr - fpr).max())  # on the very data that the threshold was chosen on
    assert found["accuracy"] == pytest.approx(accuracy_score(member, scores > 0.5))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(member, scores > 0.5))
    for level, name in metrics.TPR_NAMES.items():
        if level * (member == 0).sum() >= 1:
            real = tpr[fpr <= level].max()
            above = fpr[fpr > level].min() if (fpr > level).any() else 1.0
            assert real - 1e-9 <= found[name] <= tpr[fpr <= above].max() + 1e-9
        else:
            assert name not in found  # finer than the cases resolve


def test_by_hand() -> None:
    member = np.array([1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])  # ten negatives: only 10 % can be resolved
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.55, *[0.1] * 8])
    found = whole(scores, member, 0.5)
    assert found["auc"] == pytest.approx((10 + 10 + 8) / 30)
    assert found["tpr_at_10pct_fpr"] == pytest.approx(2 / 3)
    assert found["advantage"] == pytest.approx(1 - 2 / 10)
    assert "tpr_at_1pct_fpr" not in found
    baseline = np.array([0.5] * 5 + [0.1] * 8)
    compared = metrics.evaluate(scores, baseline, member, np.zeros(13, dtype=int))
    assert compared["deg_count"].value == pytest.approx(3 / 13)
    assert compared["deg_rate"].value == pytest.approx((0.4 + 0.3 - 0.2 - 0.1 + 0.05) / 13)


def test_equal_scores_are_interpolated_and_not_called_nothing() -> None:
    """Half of the deleted and a tenth of the strangers share the highest score: at 1 % FPR a coin finds 5 %."""
    member = np.repeat([1, 0], [100, 200])
    scores = np.concatenate([np.repeat([0.9, 0.1], 50), np.repeat([0.9, 0.1], [20, 180])])
    found = whole(scores, member)
    assert found["tpr_at_1pct_fpr"] == pytest.approx(0.05)
    assert found["tpr_at_10pct_fpr"] == pytest.approx(0.5)


def test_leaving_out_a_set_is_leaving_out_its_cases() -> None:
    scores, member, sets = World(0.75, 0.5).draw(3, np.random.default_rng(0), 20)
    weighted = metrics.roc_metrics(scores, member, sets, intervals.leave_one_out(3))["auc"]
    for left_out in range(3):
        kept = sets != left_out
        assert weighted[1 + left_out] == pytest.approx(roc_auc_score(member[kept], scores[kept]))


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, member, sets = World(0.75).draw(5, np.random.default_rng(0), 20)
    at_once = metrics.evaluate(scores, None, member, sets)
    monkeypatch.setattr(metrics, "_BLOCK", 1)
    blocks = metrics.evaluate(scores, None, member, sets)
    for name, found in at_once.items():
        assert vars(blocks[name]) == pytest.approx(vars(found), abs=1e-12)


def test_one_set_has_no_interval_and_a_useless_attack_no_gain() -> None:
    member, scores = np.array([1, 0, 1, 0]), np.full(4, 0.5)
    found = metrics.evaluate(scores, scores, member, np.zeros(4, dtype=int))
    assert (found["auc"].value, found["auc"].low, found["auc"].high) == (0.5, None, None)
    assert (found["deg_count"].value, found["deg_rate"].value, found["auc_gain"].value) == (0, 0, 0)


def test_a_threshold_of_the_shadow_side_does_not_flatter() -> None:
    """On a null the largest TPR - FPR is above 0; measured at a threshold that was chosen elsewhere, it is around 0."""
    biased, honest = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        member, sets = np.tile([1, 0], 50), np.repeat([0, 1], 50)
        shadow, target = rng.random(100), rng.random(100)
        fpr, tpr = metrics.roc_points(target, member)
        biased.append((tpr - fpr).max())
        found = metrics.evaluate(target, None, member, sets, metrics.best_threshold(shadow, member))
        honest.append(found["advantage"].value)
    assert np.mean(biased) > 0.1
    assert abs(np.mean(honest)) < 0.02


# ---------------------------------------------------------------- intervals


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 20), st.integers(1, 20), st.floats(0, 1), st.integers(0, 2**32), st.booleans())
def test_no_interval_has_width_0_or_leaves_its_value_out(
    sets: int, cases: int, share: float, seed: int, tied: bool
) -> None:
    rng = np.random.default_rng(seed)
    number, member = np.repeat(np.arange(sets), 2 * cases), np.tile(np.repeat([1, 0], cases), sets)
    scores = np.where(rng.random(len(member)) < share, member, rng.random(len(member)))
    scores = (scores > 0.5).astype(float) if tied else scores
    found = metrics.evaluate(scores, rng.random(len(member)), member, number, 0.5)
    for name, part in found.items():
        assert part.low is not None
        assert part.high is not None
        low, high = metrics.range_of(name)
        assert low <= part.low <= part.value <= part.high <= high, name
        assert part.high - part.low > 1e-6, name


@pytest.mark.parametrize("sets", [3, 10])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("area", "cases"), [(0.5, 20), (0.9, 20), (0.995, 20), (0.98, 200), (0.995, 200)])
def test_intervals_cover_a_known_truth(sets: int, tied: bool, area: float, cases: int) -> None:
    """Simulated studies: at least 0.93, less three standard errors of the simulation."""
    for spread in (0.0, 1.0):
        found = coverage(World(area, spread, tied), sets, cases, 200, seed=1)
        assert found["auc"][0] >= 0.89
        assert found["advantage"][0] >= 0.89
        assert found["auc"][1] == 0


def test_p_values_are_not_smaller_than_the_sets_support() -> None:
    assert intervals.p_value(0.5, 0.001, 9, 10, -1.0, 1.0) == pytest.approx(2**-9)
    assert intervals.p_value(0.0, 0.1, 9, 10, -1.0, 1.0) == 1.0
    for value in (0.05, 0.1, 0.2):  # the test and the interval agree
        low = intervals.interval(value, 0.06, 9, -1.0, 1.0).low
        assert low is not None
        assert (low > 0) == (intervals.p_value(value, 0.06, 9, 30, -1.0, 1.0) < 0.05)


def test_equivalence_needs_a_narrow_interval() -> None:
    assert intervals.equivalent(Estimate(0.0, None, None, 0.01), 9, 0.05, -1.0, 1.0)
    assert not intervals.equivalent(Estimate(0.0, None, None, 0.1), 9, 0.05, -1.0, 1.0)
    assert not intervals.equivalent(Estimate(0.04, None, None, 0.01), 9, 0.05, -1.0, 1.0)
    assert not intervals.equivalent(Estimate(0.0, None, None, None), 9, 0.05, -1.0, 1.0)


def test_upper_rate_against_scipy() -> None:
    from scipy.stats import binomtest

    for events, trials in ((0, 10), (2, 200), (9, 10)):
        expected = binomtest(events, trials).proportion_ci(0.9, "exact").high
        assert intervals.upper_rate(events, trials) == pytest.approx(expected)
    assert intervals.upper_rate(10, 10) == 1.0


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.9, 0.02, Verdict.LEAKS),
        (0.5, 0.01, Verdict.BELOW),
        (0.5, 0.1, Verdict.UNDECIDED),
        (0.56, 0.03, Verdict.UNDECIDED),
    ],
)
def test_three_verdicts(value: float, error: float, expected: Verdict) -> None:
    found = judge(intervals.interval(value, error, 9, 0.0, 1.0), 10, 0.55)
    assert found.verdict is expected
    if expected is Verdict.UNDECIDED:
        assert found.more_sets is None or found.more_sets > 0
        assert found.largest is not None
        assert found.largest > 0.55


def test_more_sets_settle_it() -> None:
    auc = intervals.interval(0.62, 0.05, 9, 0.0, 1.0)
    found = judge(auc, 10, 0.55)
    assert found.more_sets is not None
    total = 10 + found.more_sets
    later = intervals.interval(0.62, 0.05 * (10 / total) ** 0.5, total - 1, 0.0, 1.0)
    assert judge(later, total, 0.55).verdict is Verdict.LEAKS
    assert judge(intervals.interval(0.55, 0.05, 9, 0.0, 1.0), 10, 0.55).more_sets is None
    assert judge(Estimate(0.6, None, None, None), 1, 0.55).verdict is Verdict.UNDECIDED

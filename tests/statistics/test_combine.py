"""Estimates over seeds: by hand, on nulls, and with known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from benchmarks.coverage import coverage_over_seeds
from lib_unlearning.statistics import metrics
from lib_unlearning.statistics.combine import Combined, combine, corrected, holm
from lib_unlearning.statistics.intervals import Estimate, effective_sets, interval


def test_one_run_stays_as_it_is() -> None:
    single = Estimate(0.8, 0.7, 0.9, 0.04)
    found = combine([single], [10], "auc")
    assert found.estimate.value == 0.8
    assert found.degrees == 9
    assert found.estimate == interval(0.8, 0.04, 9, 0.0, 1.0)
    assert found.estimate.high == pytest.approx(0.8 + 2.262 * 0.04, abs=0.02)  # narrower towards 1


def test_equal_runs_narrow_the_interval_and_unlike_ones_widen_it() -> None:
    one = Estimate(0.8, None, None, 0.04)
    same = combine([one] * 4, [10] * 4, "auc")
    assert same.estimate.error == pytest.approx(0.02)
    assert same.degrees == 36
    unlike = combine([Estimate(value, None, None, 0.001) for value in (0.6, 0.7, 0.8)], [10] * 3, "auc")
    assert unlike.estimate.error == pytest.approx(np.sqrt((1.375 * 0.1**2 + 0.001**2) / 3), rel=1e-3)
    assert unlike.degrees == pytest.approx(2, abs=0.02)
    assert unlike.estimate.low is not None
    assert unlike.estimate.low < 0.7 - 4.3026 * 0.1 / np.sqrt(3) < 0.7


def test_overlapping_sets_are_worth_no_more_over_seeds() -> None:
    """Ten identical sets are one, in one run as in three."""
    one = Estimate(0.8, None, None, 0.04)
    apart, alike = (combine([one] * 3, [10] * 3, "auc", overlap) for overlap in (0.1, 0.5))
    assert apart == combine([one] * 3, [10] * 3, "auc")
    alone = combine([one], [10], "auc", 0.5)  # worth 1.8 sets, three of them 1.9
    assert alone.estimate.error == 0.04
    assert alike.estimate.error == pytest.approx(0.04 * np.sqrt(effective_sets(10, 0.5) / effective_sets(30, 0.5)))
    assert apart.estimate.error is not None
    assert alike.estimate.error is not None
    assert alike.estimate.error > 1.5 * apart.estimate.error
    assert alike.degrees < 1
    refused = combine([Estimate(0.8, None, None, None)] * 3, [10] * 3, "auc", 0.9)
    assert refused.estimate.low is None


def test_runs_of_one_set_are_told_apart_by_seeds_alone() -> None:
    values = [0.6, 0.7, 0.75]
    found = combine([Estimate(value, None, None, None) for value in values], [1, 1, 1], "auc_gain")
    assert ttest_1samp(values, 0).pvalue < 2**-2
    assert found.p_value == 2**-2  # three sets support no less
    assert combine([Estimate(0.6, None, None, None)], [1], "auc").p_value is None


def test_too_few_sets_is_said_where_their_number_alone_is_the_reason() -> None:
    """Four sets support no p-value below 1/8: a clear gain is kept above 0.05 by that, an unclear one by itself."""

    def gain(value: float, error: float, sets: int) -> Combined:
        return combine([interval(value, error, sets - 1, -1.0, 1.0)], [sets], "auc_gain")

    clear, unclear, many = gain(0.4, 0.01, 4), gain(0.4, 0.2, 4), gain(0.4, 0.01, 10)
    assert [part.told for part in corrected([clear])] == ["too few sets"]
    assert [part.told for part in corrected([unclear])] != ["too few sets"]
    assert corrected([unclear])[0].value > 0.05
    assert [part.told for part in corrected([many])] == ["0.002"]
    both = corrected([clear, *[unclear] * 5])
    assert both[0].value == 6 * 2**-3
    assert [part.told == "too few sets" for part in both] == [True, *[False] * 5]


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_intervals_over_seeds_cover_a_known_truth(spread: float) -> None:
    """0.95 give or take what 1,000 simulations and three seeds allow; see benchmarks/coverage.py for more."""
    assert 0.93 <= coverage_over_seeds(3, spread, studies=1000, seed=2) <= 1.0


def test_the_paired_test_rejects_a_true_null_seldom_and_finds_a_real_gain() -> None:
    """Attack and baseline of equal power see the same cases: 5 % of p-values may fall below 0.05."""
    rng = np.random.default_rng(0)
    for gain, low, high in ((0.0, 0.0, 0.09), (1.0, 0.95, 1.0)):
        rejected = [_p_value(rng, gain) < 0.05 for _ in range(200)]
        assert low <= np.mean(rejected) <= high


def _p_value(rng: np.random.Generator, gain: float) -> float:
    sets, member = np.repeat(np.arange(10), 40), np.tile([1, 0], 200)
    shared = rng.normal(size=400) + member * 0.5
    scores, baseline = (shared + rng.normal(size=400) + member * extra for extra in (gain, 0.0))
    found = metrics.evaluate(scores, baseline, member, sets)
    p_value = combine([found["auc_gain"]], [10], "auc_gain").p_value
    assert p_value is not None
    return p_value

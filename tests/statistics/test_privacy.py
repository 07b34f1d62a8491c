"""Bounds on epsilon against mechanisms whose epsilon is known; discoveries and batches by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from lib_unlearning.statistics import privacy
from lib_unlearning.statistics.intervals import Estimate
from lib_unlearning.statistics.planner import Batch, smallest_batch

REPETITIONS = 100
HALF = np.arange(400) % 4 < 2


def randomised_response(epsilon: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    member = rng.integers(0, 2, len(HALF))
    told = rng.random(len(HALF)) < np.exp(epsilon) / (1 + np.exp(epsilon))
    return np.where(told, member, 1 - member) + 1e-3 * rng.random(len(HALF)), member


@pytest.mark.parametrize("bound", [privacy.epsilon_bound, privacy.one_run_epsilon])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0])
def test_randomised_response_is_never_bounded_above_its_epsilon(epsilon: float, bound) -> None:  # type: ignore[no-untyped-def]
    """The bound of the mechanism that makes epsilon tight: exceeded in at most 5 %, and close to it."""
    rng = np.random.default_rng(0)
    found = np.array([bound(*randomised_response(epsilon, rng), HALF, 0.0).epsilon for _ in range(REPETITIONS)])
    assert (found > epsilon).mean() <= 0.05
    assert epsilon < 1 or found.mean() > 0.5 * epsilon


def test_ties_are_no_guesses() -> None:
    """Neither one score for all, nor an order of the cases that tells who was deleted."""
    member = np.repeat([0, 1], 100)
    half = np.tile([True, False], 100)
    assert privacy.one_run_epsilon(np.full(200, 0.5), member, half) == privacy.EpsilonBound(0.0, 0, 0)
    scores = np.where(np.arange(200) < 4, 0.0, np.where(np.arange(200) >= 196, 1.0, 0.5))
    assert privacy.one_run_epsilon(scores, member, half).cases == 4


def test_gaussian_mechanism_is_never_bounded_above_its_epsilon() -> None:
    sigma, delta = 1.0, 1e-5
    known = brentq(
        lambda e: norm.cdf(0.5 / sigma - e * sigma) - np.exp(e) * norm.cdf(-0.5 / sigma - e * sigma) - delta, 0, 60
    )
    rng = np.random.default_rng(0)
    member = np.tile([1, 0], 1000)
    chosen_on = np.arange(2000) % 4 < 2
    bounds = [
        privacy.epsilon_bound(member + rng.normal(0, sigma, 2000), member, chosen_on, delta).epsilon for _ in range(40)
    ]
    assert max(bounds) < known
    assert np.mean(bounds) > 0.5


def test_what_tells_all_apart_is_bounded_by_the_number_of_cases_alone() -> None:
    member = np.tile([1, 0], 200)
    found = privacy.epsilon_bound(member.astype(float), member, HALF, 0.0)
    # 100 of 100 caught, none of 100 strangers: Clopper and Pearson at 97.5 % each.
    low, high = 0.025 ** (1 / 100), 1 - 0.025 ** (1 / 100)
    assert found.epsilon == pytest.approx(np.log(low / high))


def test_discoveries_by_hand() -> None:
    p_values = np.array([0.001, 0.8, 0.02, 0.039, 0.041])
    np.testing.assert_array_equal(privacy.discoveries(p_values, 0.05), [True, False, True, False, False])
    np.testing.assert_array_equal(privacy.discoveries(np.full(4, 0.05), 0.05), [True] * 4)
    np.testing.assert_array_equal(
        privacy.conformal_p_values(np.array([0.9, 0.2]), np.array([0.1, 0.2, 0.3])), [0.25, 0.75]
    )


def test_strangers_are_seldom_discovered() -> None:
    """Under the null, something is found in at most about one list in twenty."""
    rng = np.random.default_rng(0)
    lists = [
        privacy.discoveries(privacy.conformal_p_values(rng.random(400), rng.random(200))).any() for _ in range(300)
    ]
    assert np.mean(lists) < 0.09


def test_agreement_over_seeds() -> None:
    runs = [(np.array([1, 2, 3]), np.array([True, True, False])), (np.array([2, 3, 4]), np.array([True, True, False]))]
    found = privacy.stability(runs)
    assert (found.agreed, found.judged) == (1, 2)
    assert found.by_chance == pytest.approx(2 * (4 / 9 + 1 / 9))
    assert privacy.stability(runs[:1]).judged == 0


def test_runs_that_expose_at_random_agree_as_chance_says() -> None:
    rng = np.random.default_rng(0)
    lists = [[(rng.permutation(60)[:40], rng.random(40) < share) for share in (0.1, 0.5, 0.8)] for _ in range(200)]
    found = [privacy.stability(runs) for runs in lists]
    agreed, expected = (sum(getattr(one, name) for one in found) for name in ("agreed", "by_chance"))
    assert agreed == pytest.approx(expected, rel=0.05)


def test_the_smallest_batch_by_hand() -> None:
    curve = [Estimate(0.9, 0.85, 0.95, 0.02), Estimate(0.7, 0.65, 0.75, 0.02), Estimate(0.5, 0.45, 0.62, 0.02)]
    found = smallest_batch([1, 10, 100], curve, 0.6)
    assert found == Batch(size=32, low=18, high=None)  # half way between log 10 and log 100 is 31.6
    assert smallest_batch([1, 10], curve[:2], 0.6).size is None
    assert smallest_batch([1, 10], [curve[2], curve[2]], 0.63) == Batch(1, 1, 1)


def test_a_list_full_of_strangers_is_no_list() -> None:
    """A false discovery rate of 5 % is contradicted by 40 % of strangers, not by one in twelve."""
    member = np.repeat([1, 0], 100)
    exposed = np.zeros(200, dtype=bool)
    exposed[:11] = exposed[100] = True
    kept, wrong = privacy.judged_exposed(exposed, member)
    assert wrong is None
    assert np.array_equal(kept, exposed)
    exposed[100:107] = True
    kept, wrong = privacy.judged_exposed(exposed, member)
    assert wrong == (7, 18)
    assert not kept.any()


def test_one_case_about_each_record_counts() -> None:
    records, member = np.array([3, 4, 3, 3, 4]), np.array([0, 1, 0, 1, 1])
    kept = privacy.one_of_each(records, member)
    assert sorted(zip(records[kept], member[kept], strict=True)) == [(3, 0), (3, 1), (4, 1)]
    assert len(privacy.distinct_strangers(records, member)) == 1


@pytest.mark.parametrize("score", ["constant", "number of the set"])
def test_repeated_strangers_make_no_epsilon(score: str) -> None:
    """Late sets ask about strangers that early ones asked about; which set a case is from must tell nothing."""
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        sets = np.repeat(np.arange(10), 40)
        member = np.tile(np.repeat([1, 0], 20), 10)
        strangers = np.concatenate([rng.permutation(34)[:20] for _ in range(10)])
        records = np.where(member == 1, 1000 + np.arange(400), 0)
        records[member == 0] = strangers
        scores = np.full(400, 0.5) if score == "constant" else sets + 0.5 * rng.random(400)
        once = privacy.one_of_each(records, member)
        half = privacy.halves(sets, sets)[once]
        found.append(privacy.one_run_epsilon(scores[once], member[once], half).epsilon)
    assert np.mean(np.array(found) > 0) <= 0.15

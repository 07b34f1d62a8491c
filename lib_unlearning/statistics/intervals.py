"""Intervals over sample sets that cover the truth near 0 and 1 as well (coverage: `benchmarks/coverage.py`).

The variance is the jackknife's over sample sets, but never less than what that many cases allow: ten sets that agree to
the last digit are not certainty. The interval is Wilson's, with Student's t of sets - 1 degrees of freedom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
OVERLAP = 0.2
_LEAST_SETS = 2
# Where all of n cases agree, of_share's error is 0.7 / n; so far inside the range a value counts as n cases again.
_INSIDE = 0.7
# Where sets differ much, a sample without a bad one looks better than it is: with so much more, coverage holds there.
CAUTION = 1.3
# Near an end of its range a metric hides how much sets differ until a bad one is drawn: two sets are never taken to
# differ less than this (standard deviation, share of the range; nothing in the middle, where differences show).
UNSEEN = 0.02


@dataclass(frozen=True)
class Estimate:
    """A measured value, the ends of its 95 % interval, and its standard error (None: one sample set allows neither),
    with the degrees of freedom that these come from."""

    value: float
    low: float | None
    high: float | None
    error: float | None
    degrees: float | None = None


def leave_one_out(num_sets: int) -> np.ndarray:
    """Weights [1 + num_sets, num_sets] of sample sets: the whole sample, then without each set; a single one stays."""
    whole = np.ones((1, num_sets))
    return whole if num_sets < 2 else np.vstack([whole, 1.0 - np.eye(num_sets)])


def jackknife_variance(values: np.ndarray) -> float:
    """Variance of a metric from its values on the whole sample (0) and without each of S sets [1 + S].

    Scaled by S / (S - 1), since the variance of a few sets is itself uncertain.
    """
    parts = values[1:]
    return float(((parts - parts.mean()) ** 2).sum())


def estimate(
    values: np.ndarray,
    floor: float,
    lowest: float,
    highest: float,
    overlap: float = 0.0,
    by_record: np.ndarray | None = None,
) -> Estimate:
    """Value and interval of a metric from its values on the whole sample (0) and without each set [1 + S].

    Args:
        floor: the least variance that the number of cases allows.
        lowest, highest: the metric's range.
        overlap: share of records that two sets have in common; see `effective_sets`.
        by_record: the same values [1 + G] without each group of records, where these come again in many sets: what
            hangs on who was drawn is then added to what hangs on the sets (after Cameron, Gelbach and Miller, Journal
            of Business & Economic Statistics 2011), with as many degrees of freedom as both have (Satterthwaite's).
    """
    value, sets = float(values[0]), len(values) - 1
    worth = effective_sets(sets, overlap)
    if worth < _LEAST_SETS or (by_record is not None and len(by_record) <= _LEAST_SETS):
        return Estimate(value, None, None, None)
    least = max(floor, _unseen_variance(value, sets, lowest, highest)) if floor else 0.0
    variance, degrees = max(jackknife_variance(values), least) * sets / worth, worth - 1
    if by_record is not None:
        of_records = max(jackknife_variance(by_record) - floor, 0.0)
        degrees = _joint_degrees((variance, degrees), (of_records, len(by_record) - 2))
        variance += of_records
    return interval(value, CAUTION * math.sqrt(variance), degrees, lowest, highest)


def _joint_degrees(*parts: tuple[float, float]) -> float:
    """Degrees of freedom of a sum of variances, each with its own (Satterthwaite, Biometrics Bulletin 1946)."""
    total = sum(variance for variance, _ in parts)
    spread = sum(variance**2 / degrees for variance, degrees in parts if variance)
    return total**2 / spread if spread else parts[0][1]


def _unseen_variance(value: float, sets: int, lowest: float, highest: float) -> float:
    """Least variance of a metric near an end of its range, from how much sets may differ unseen."""
    from_middle = abs(2 * value - lowest - highest)
    return (UNSEEN * from_middle) ** 2 / sets


def effective_sets(sets: int, overlap: float) -> float:
    """How many separate sample sets a number of overlapping ones is worth: ten identical ones are one.

    As if two sets' results were correlated as much as they share records; up to `OVERLAP` that is neglected.
    """
    return sets / (1 + (sets - 1) * overlap) if overlap > OVERLAP else float(sets)


def interval(
    value: float, error: float, degrees: float, lowest: float, highest: float, level: float = CONFIDENCE
) -> Estimate:
    """An estimate with a two-sided interval: Wilson's for as many cases as the error is worth, with Student's t."""
    if error == 0:
        return Estimate(value, value, value, 0.0, degrees)
    width = highest - lowest
    share, count = (value - lowest) / width, _worth(value, error, lowest, highest)
    quantile = student_quantile(degrees, level)
    extra = quantile**2 / count
    middle = (share + extra / 2) / (1 + extra)
    reach = quantile / (1 + extra) * math.sqrt(share * (1 - share) / count + extra / (4 * count))
    low, high = (lowest + width * min(max(middle + sign * reach, 0.0), 1.0) for sign in (-1, 1))
    return Estimate(value, min(low, value), max(high, value), error, degrees)


def _worth(value: float, error: float, lowest: float, highest: float) -> float:
    """Independent yes-or-no cases whose share would have this standard error; at an end of the range, with none of them
    on the other side."""
    share, spread = (value - lowest) / (highest - lowest), error / (highest - lowest)
    inside = min(max(share, min(_INSIDE * spread, 0.5)), 1 - min(_INSIDE * spread, 0.5))
    return inside * (1 - inside) / spread**2


def student_quantile(degrees: float, level: float = CONFIDENCE) -> float:
    """Two-sided quantile of Student's t."""
    from scipy.special import stdtrit  # scipy.stats would take longer to import than the whole evaluation

    return float(stdtrit(degrees, 0.5 + level / 2))


def least_p_value(sets: float) -> float:
    """What so many sets can support: so seldom as many as there are fall on one side by chance."""
    return float(2.0 ** (1 - sets))


def p_value(value: float, error: float, degrees: float, sets: float, lowest: float, highest: float) -> float:
    """Two-sided p-value of the null that a value is in the middle of its range, by the test that the interval inverts.

    It is never below `least_p_value`.
    """
    from scipy.special import stdtr

    least = least_p_value(sets)
    if error == 0:
        return 1.0 if value == (lowest + highest) / 2 else least
    share = (value - lowest) / (highest - lowest)
    score = (share - 0.5) / math.sqrt(0.25 / _worth(value, error, lowest, highest))
    return max(float(2 * stdtr(degrees, -abs(score))), least)


def equivalent(found: Estimate, degrees: float, margin: float, lowest: float, highest: float) -> bool:
    """Whether two one-sided tests at 5 % show that a difference lies within -margin .. margin."""
    if found.error is None:
        return False
    inner = interval(found.value, found.error, degrees, lowest, highest, level=0.90)
    assert inner.low is not None
    assert inner.high is not None
    return -margin < inner.low and inner.high < margin


# ---------------------------------------------------------------- least variances


def shrunk(share: float, count: float) -> float:
    """A share of `count` with half a case more on either side, so that none of n is not never."""
    return (share * count + 0.5) / (count + 1)


def of_share(share: float, count: float) -> float:
    """Variance of a share of `count` independent cases."""
    inside = shrunk(share, count)
    return inside * (1 - inside) / count


def of_auc(auc: float, positives: int, negatives: int) -> float:
    """Variance of an AUC of independent cases (Hanley and McNeil, Radiology 1982)."""
    area = shrunk(auc, min(positives, negatives))
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (positives - 1) * (first - area**2) + (negatives - 1) * (second - area**2)
    return spread / (positives * negatives)


def upper_rate(events: int, trials: int, level: float = CONFIDENCE) -> float:
    """Clopper and Pearson's upper bound on a rate, one-sided."""
    from scipy.special import betaincinv

    return 1.0 if events >= trials else float(betaincinv(events + 1, trials - events, level))

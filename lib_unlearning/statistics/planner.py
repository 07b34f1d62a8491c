"""How many records to delete together, and how many sample sets an audit needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lib_unlearning.statistics.intervals import CAUTION, Estimate, effective_sets, of_auc, student_quantile

_LEAST, MOST_SETS = 3, 1000


@dataclass(frozen=True)
class Batch:
    """The smallest request that stays under an AUC.

    Attributes:
        size: by the measured values; None where even the largest request does not stay under it.
        low, high: by the lower and by the upper ends of the intervals; None like `size`.
    """

    size: int | None
    low: int | None
    high: int | None


def smallest_batch(sizes: Sequence[int], aucs: Sequence[Estimate], limit: float) -> Batch:
    """The smallest number of records a request from which on AUC stays under `limit`.

    Between two measured sizes the curve is straight over the logarithm of the size. It is never extended beyond them.
    """
    value = _crossing(sizes, [estimate.value for estimate in aucs], limit)
    lows = [estimate.low for estimate in aucs if estimate.low is not None]
    highs = [estimate.high for estimate in aucs if estimate.high is not None]
    if len(lows) < len(aucs) or len(highs) < len(aucs):
        return Batch(value, None, None)
    return Batch(value, _crossing(sizes, lows, limit), _crossing(sizes, highs, limit))


def _crossing(sizes: Sequence[int], curve: Sequence[float], limit: float) -> int | None:
    """The size behind which the last part of a curve lies under the limit."""
    above = [number for number, value in enumerate(curve) if value >= limit]
    if not above:
        return sizes[0]
    last = above[-1]
    if last == len(sizes) - 1:
        return None
    start, end = math.log(sizes[last]), math.log(sizes[last + 1])
    share = (curve[last] - limit) / (curve[last] - curve[last + 1])
    return math.floor(math.exp(start + share * (end - start)) + 1e-9) + 1


def sets_for(margin: float, cases: int, relative: bool, overlap: float = 0.0, auc: float = 0.6) -> int:
    """Sample sets a side that settle one question's margin with a power of about 80 %, if there is no difference.

    Args:
        margin: difference of AUCs that counts as none.
        cases: deleted records a set, and as many strangers.
        relative: whether two such AUCs are compared.
        overlap: share of records that two sets have in common, which makes further sets worth less.
        auc: at which cases are taken to be; the variance is Hanley and McNeil's, with the caution of `intervals`.
    """
    one_set = (2 if relative else 1) * CAUTION**2 * of_auc(auc, cases, cases)
    for sets in range(_LEAST, MOST_SETS):
        # Two one-sided tests at 5 % must both succeed; a single end is that of a two-sided interval.
        levels = (0.90, 0.80) if relative else (0.95, 0.60)
        worth = effective_sets(sets, overlap)
        if worth < 2:
            continue
        quantiles = sum(student_quantile(worth - 1, level) for level in levels)
        if quantiles * math.sqrt(one_set / worth) <= margin:
            return sets
    return MOST_SETS

"""What an estimate allows to be said: leaks, below the margin, reversed, or undecided and what would settle it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from lib_unlearning.statistics.intervals import Estimate, effective_sets, interval

_MOST_SETS = 1000
_CHANCE = 0.5
# AUC from which on a deletion counts as visible, where nobody names another.
MARGIN = 0.55
# Difference of TPR at 1 % FPR, from retraining or from chance, that counts as none.
TPR_MARGIN = 0.1


class Verdict(Enum):
    """The answers."""

    LEAKS = "leaks"
    BELOW = "below the margin"
    UNDECIDED = "undecided"
    REVERSED = "the wrong way round"  # what shows was taken for its opposite, and shows


@dataclass(frozen=True)
class Judgement:
    """A verdict with its grounds.

    Attributes:
        largest: the largest leak that the data still allow; None without an interval.
        more_sets: about how many more sample sets would settle it; None where it is settled, or no number would do.
    """

    verdict: Verdict
    largest: float | None
    more_sets: int | None


def judge(auc: Estimate, sets: int, margin: float, overlap: float = 0.0) -> Judgement:
    """What an AUC with its interval over `sets` sample sets says, against a margin such as 0.55.

    `overlap` is the share of records that two sets have in common, which makes further sets worth less.
    """
    if auc.low is None or auc.high is None or auc.error is None:
        return Judgement(Verdict.UNDECIDED, None, None)
    if auc.low > margin:
        return Judgement(Verdict.LEAKS, auc.high, None)
    if auc.high < 1 - margin:
        return Judgement(Verdict.REVERSED, 1 - auc.low, None)
    if _is_below(auc.low, auc.high, margin):
        return Judgement(Verdict.BELOW, max(auc.high, 1 - auc.low if auc.high < _CHANCE else 0), None)
    return Judgement(Verdict.UNDECIDED, auc.high, _more_sets(auc.value, auc.error, sets, margin, overlap))


def _is_below(low: float, high: float, margin: float) -> bool:
    """Whether an AUC lies below the margin: one that is clearly below a half, also when the attack is turned round."""
    return high < margin and (high >= _CHANCE or low > 1 - margin)


def _more_sets(value: float, error: float, sets: int, margin: float, overlap: float) -> int | None:
    """Sets to be added until an interval around the same value, narrower by their root, leaves the margin out."""
    known = effective_sets(sets, overlap)
    for total in range(sets + 1, _MOST_SETS + 1):
        worth = effective_sets(total, overlap)
        found = interval(value, error * (known / worth) ** 0.5, worth - 1, 0.0, 1.0)
        assert found.low is not None
        assert found.high is not None
        if found.low > margin or found.high < 1 - margin or _is_below(found.low, found.high, margin):
            return total - sets
    return None

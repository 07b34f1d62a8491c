"""One estimate from several seeds, and whether an attack beats the classical one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib_unlearning.statistics import intervals
from lib_unlearning.statistics.intervals import Estimate, effective_sets, interval
from lib_unlearning.statistics.metrics import range_of


@dataclass(frozen=True)
class Combined:
    """A mean over seeds.

    Attributes:
        estimate: mean, 95 % interval, standard error.
        degrees: of freedom of its t distribution; 0 where there is no interval.
        seeds: how many runs it is the mean of.
        sets: sample sets of all runs.
        metric: what was measured.
    """

    estimate: Estimate
    degrees: float
    seeds: int
    sets: int
    metric: str

    @property
    def p_value(self) -> float | None:
        """Two-sided p-value of the null hypothesis that a difference is 0; None without an interval."""
        return self._p_value(self.sets)

    @property
    def boundless_p_value(self) -> float | None:
        """The same, were it not for what so few sets can support at the most."""
        return self._p_value(math.inf)

    def _p_value(self, sets: float) -> float | None:
        value, error = self.estimate.value, self.estimate.error
        if error is None:
            return None
        return intervals.p_value(value, error, self.degrees, sets, *range_of(self.metric))

    def within(self, margin: float) -> bool:
        """Whether a difference is shown to lie within -margin .. margin (two one-sided tests)."""
        return intervals.equivalent(self.estimate, self.degrees, margin, *range_of(self.metric))


def combine(estimates: Sequence[Estimate], sets: Sequence[int], metric: str, overlap: float = 0.0) -> Combined:
    """Mean over seeds with an interval that holds both the spread over sample sets and that over seeds.

    Within a run, its sample sets give the error; between runs, attacks learned on other shadow records differ as well.
    The variance of the mean is the sum of the two estimates over the number of seeds, with Satterthwaite's degrees of
    freedom: between seeds - 1, when the spread over seeds rules, and seeds * (sets - 1), when the sets explain it. The
    spread over seeds holds that over sets as well, so that the sum is more than needed; but a few seeds often agree by
    chance, two most of all, so that theirs counts `_few_seeds` times (coverage: `benchmarks/coverage.py`).

    Sets that overlap do so across seeds as well: together they are worth no more than so many sets of one run would be.

    Args:
        estimates, sets: one a seed: what it measured and on how many target sample sets.
        overlap: share of records that two sets have in common; see `effective_sets`.
    """
    values = np.array([estimate.value for estimate in estimates])
    value, count, total = float(values.mean()), len(values), int(sum(sets))
    errors = [estimate.error for estimate in estimates if estimate.error is not None]
    if len(errors) < count:  # runs of a single sample set, or of sets that are worth no more
        if count == 1 or overlap > intervals.OVERLAP:
            return Combined(Estimate(value, None, None, None), 0, count, total, metric)
        low, high = range_of(metric)
        spread = max(_few_seeds(count) * float(values.var(ddof=1)), (intervals.UNSEEN * (high - low)) ** 2)
        found = interval(value, float(np.sqrt(spread / count)), count - 1, *range_of(metric))
        return Combined(found, count - 1, count, total, metric)
    worth = effective_sets(total, overlap)
    alone = float(np.mean([effective_sets(number, overlap) for number in sets]))
    own_degrees = worth - (count if worth == total else 1)
    from_sets = float(np.mean(np.square(errors))) * count * alone / worth
    from_seeds = _few_seeds(count) * float(values.var(ddof=1)) if count > 1 else 0.0
    both = from_sets + from_seeds
    spent = from_sets**2 / own_degrees + (from_seeds**2 / (count - 1) if count > 1 else 0.0)
    degrees = both**2 / spent if spent else own_degrees
    error = float(np.sqrt(both / count))
    return Combined(interval(value, error, degrees, *range_of(metric)), degrees, count, int(worth), metric)


def _few_seeds(count: int) -> float:
    """How many times the spread over so many seeds counts: 2.5 for two, 1.4 for three, 1.1 for five."""
    return 1 + 1.5 / (count - 1) ** 2 if count > 1 else 1.0


def difference(first: Combined, second: Combined) -> Combined:
    """One mean less another, as if both were independent (Welch and Satterthwaite's degrees of freedom)."""
    value = first.estimate.value - second.estimate.value
    errors = (first.estimate.error, second.estimate.error)
    seeds, sets = min(first.seeds, second.seeds), min(first.sets, second.sets)
    if errors[0] is None or errors[1] is None:
        return Combined(Estimate(value, None, None, None), 0, seeds, sets, "auc_gain")
    variances = np.square(np.array(errors, dtype=float))
    error = float(np.sqrt(variances.sum()))
    weights = variances / variances.sum() if error else np.array([0.5, 0.5])
    degrees = 1 / float((weights**2 / np.array([first.degrees, second.degrees])).sum())
    return Combined(interval(value, error, degrees, -1.0, 1.0), degrees, seeds, sets, "auc_gain")


@dataclass(frozen=True)
class Corrected:
    """A p-value corrected for others beside it; `boundless` is what it would be whatever the number of sets."""

    value: float
    boundless: float

    @property
    def told(self) -> str:
        """The value, in words where the number of sets alone keeps it above 0.05."""
        return "too few sets" if self.value > 0.05 >= self.boundless else f"{self.value:.2g}"


def corrected(found: Sequence[Combined]) -> list[Corrected]:
    """P-values of these differences, corrected for each other by Holm; all of them must have one."""
    kinds = [
        holm([p for p in values if p is not None])
        for values in ([part.p_value for part in found], [part.boundless_p_value for part in found])
    ]
    return [Corrected(*pair) for pair in zip(*kinds, strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for as many comparisons by Holm's step-down procedure, in the order given."""
    ranked = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    reached = 0.0
    for rank, position in enumerate(ranked):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[position]))
        corrected[position] = reached
    return [float(value) for value in corrected]

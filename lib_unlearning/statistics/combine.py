"""One estimate from several seeds, and whether an attack beats the classical one (REFERENCE section 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib_unlearning.statistics.metrics import Estimate, range_of, within


@dataclass(frozen=True)
class Combined:
    """A mean over seeds.

    Attributes:
        estimate: mean, 95 % interval, standard error.
        degrees: of freedom of its t distribution; 0 where there is no interval.
        seeds: how many runs it is the mean of.
    """

    estimate: Estimate
    degrees: float
    seeds: int

    @property
    def p_value(self) -> float | None:
        """Two-sided p-value of the null hypothesis that the value is 0; None without an interval."""
        from scipy.special import stdtr

        value, error = self.estimate.value, self.estimate.error
        if error is None:
            return None
        if error == 0:
            return 1.0 if value == 0 else 0.0
        return float(2 * stdtr(self.degrees, -abs(value / error)))


def combine(estimates: Sequence[Estimate], sets: Sequence[int], metric: str) -> Combined:
    """Mean over seeds with an interval that holds both the spread over sample sets and that over seeds.

    Within a run, the bootstrap over its sample sets gives the error; between runs, attacks learned on other shadow
    records differ as well. The variance of the mean is the larger of the two estimates over the number of seeds; its
    degrees of freedom lie between seeds - 1, when the spread over seeds rules, and seeds * (sets - 1), when the sets
    explain it (coverage: `benchmarks/coverage.py`).

    Args:
        estimates, sets: one a seed: what it measured and on how many target sample sets.
    """
    values = np.array([estimate.value for estimate in estimates])
    value, count = float(values.mean()), len(values)
    errors = [estimate.error for estimate in estimates if estimate.error is not None]
    if len(errors) < count:  # runs of a single sample set
        if count == 1:
            return Combined(Estimate(value, None, None, None), 0, 1)
        error = float(values.std(ddof=1) / np.sqrt(count))
        return Combined(within(value, error, count - 1, *range_of(metric)), count - 1, count)
    own_degrees = float(sum(sets) - count)
    from_sets = float(np.mean(np.square(errors)))
    from_seeds = float(values.var(ddof=1)) if count > 1 else 0.0
    if from_seeds <= from_sets:
        degrees = own_degrees
    else:
        explained = from_sets / from_seeds
        degrees = 1 / (explained / own_degrees + (1 - explained) / (count - 1))
    error = float(np.sqrt(max(from_sets, from_seeds) / count))
    return Combined(within(value, error, degrees, *range_of(metric)), degrees, count)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for as many comparisons by Holm's step-down procedure, in the order given."""
    ranked = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    reached = 0.0
    for rank, position in enumerate(ranked):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[position]))
        corrected[position] = reached
    return [float(value) for value in corrected]

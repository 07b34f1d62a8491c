"""How well an attack tells deleted records from strangers, with intervals (paper section 4.5, REFERENCE section 7)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lib_unlearning.seeds import spawn

BOOTSTRAP_RESAMPLES = 2000
CONFIDENCE = 0.95
FPR_LEVELS = (0.001, 0.01, 0.1)
# Resampled ROC curves are computed in blocks of about this many numbers: memory stays bounded for any case count.
_BLOCK = 4_000_000

TPR_NAMES = {level: f"tpr_at_{level * 100:g}pct_fpr" for level in FPR_LEVELS}


class Cases(Protocol):
    """What metrics need to know of cases: label [m] and sample set [m]."""

    @property
    def member(self) -> np.ndarray:
        """1 for a positive, 0 for a negative."""

    @property
    def set(self) -> np.ndarray:
        """Number of the sample set."""


@dataclass(frozen=True)
class Estimate:
    """A measured value, the ends of its 95 % interval, and its standard error (None: one sample set allows neither)."""

    value: float
    low: float | None
    high: float | None
    error: float | None


def resampling_weights(num_sets: int, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Bootstrap weights [1 + resamples, num_sets]: how often each sample set was drawn; row 0 is the sample itself.

    Sets, not cases, are drawn: the cases of one set share a model and are not independent.
    """
    drawn = generator.multinomial(num_sets, np.full(num_sets, 1.0 / num_sets), size=resamples)
    return np.vstack([np.ones((1, num_sets)), drawn])


def roc_metrics(scores: np.ndarray, member: np.ndarray, sets: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """AUC, membership advantage and TPR at each FPR level, for every row of weights.

    Args:
        scores, member: [m] attack scores and labels.
        sets: [m] column of `weights` that each case belongs to.
        weights: [b, num_sets].

    Returns:
        metric name -> [b]. A rate finer than 1/negatives is left out: the cases cannot resolve it.
    """
    order, ends = _ranked(scores)
    positive, columns = member[order] == 1, sets[order]
    resolvable = resolvable_levels(int((~positive).sum()))
    blocks = []
    step = max(1, _BLOCK // len(scores))
    for start in range(0, len(weights), step):
        weight = weights[start : start + step][:, columns]
        tpr = _rates(np.where(positive, weight, 0.0), ends)
        fpr = _rates(np.where(positive, 0.0, weight), ends)
        blocks.append(_curve_metrics(fpr, tpr, resolvable))
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _ranked(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cases [m] by falling score, and where each run of equal scores ends: these are passed together."""
    order = np.argsort(-scores, kind="stable")
    return order, np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)


def plain_auc(scores: np.ndarray, member: np.ndarray) -> float:
    """AUC of scores [m] for labels [m], ties counted half."""
    whole = np.zeros(len(scores), dtype=int)
    return float(roc_metrics(scores, member, whole, np.ones((1, 1)))["auc"][0])


def roc_points(scores: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rate [points] at every threshold that the scores [m] offer, from (0, 0) to (1, 1)."""
    order, ends = _ranked(scores)
    positive = (member[order] == 1)[np.newaxis]
    return _rates((~positive).astype(float), ends)[0], _rates(positive.astype(float), ends)[0]


def resolvable_levels(negatives: int) -> list[float]:
    """The false-positive rates that a number of negatives can resolve."""
    return [level for level in FPR_LEVELS if level * negatives >= 1 - 1e-9]


def _rates(weight: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Share of all weight [b, points] reached at each threshold; the curve starts at 0."""
    reached = np.cumsum(weight, axis=1)[:, ends]
    return np.hstack([np.zeros((len(weight), 1)), reached / reached[:, -1:]])


def _curve_metrics(fpr: np.ndarray, tpr: np.ndarray, levels: list[float]) -> dict[str, np.ndarray]:
    area = (np.diff(fpr, axis=1) * (tpr[:, 1:] + tpr[:, :-1]) / 2).sum(axis=1)
    metrics = {"auc": area, "advantage": (tpr - fpr).max(axis=1)}
    rows = np.arange(len(tpr))
    for level in levels:
        last = (fpr <= level + 1e-12).sum(axis=1) - 1  # no interpolation: a threshold that really exists
        metrics[TPR_NAMES[level]] = tpr[rows, last]
    return metrics


def threshold_metrics(
    scores: np.ndarray, member: np.ndarray, sets: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Accuracy and balanced accuracy at score 0.5, for every row of weights [b, num_sets]."""
    correct = (scores > 0.5) == (member == 1)
    of_positive = weighted_mean(correct[member == 1], sets[member == 1], weights)
    of_negative = weighted_mean(correct[member == 0], sets[member == 0], weights)
    return {
        "accuracy": weighted_mean(correct, sets, weights),
        "balanced_accuracy": (of_positive + of_negative) / 2,
    }


def degradation_metrics(
    scores: np.ndarray, baseline: np.ndarray, member: np.ndarray, sets: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """DegCount and DegRate: what the attack adds to the classical attack's confidence in the true label."""
    gain = _confidence(scores, member) - _confidence(baseline, member)
    return {"deg_count": weighted_mean(gain > 0, sets, weights), "deg_rate": weighted_mean(gain, sets, weights)}


def _confidence(scores: np.ndarray, member: np.ndarray) -> np.ndarray:
    return np.where(member == 1, scores, 1.0 - scores)


def weighted_mean(values: np.ndarray, sets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of values [m] for every row of weights [b, num_sets]; sets [m] says whose weight a value gets."""
    num_sets = weights.shape[1]
    sums = np.bincount(sets, weights=values, minlength=num_sets)
    counts = np.bincount(sets, minlength=num_sets)
    return (weights @ sums) / (weights @ counts)


def estimate(values: np.ndarray, num_sets: int, lowest: float, highest: float) -> Estimate:
    """Value and interval from a metric on the sample (row 0) and on its resamples.

    The interval is value -+ t * standard error, with num_sets - 1 degrees of freedom and the bootstrap's error scaled
    by sqrt(S / (S - 1)): with ten sets the percentile bootstrap covers too seldom (`benchmarks/coverage.py`). The ends
    are kept within the metric's range.
    """
    value = float(values[0])
    if num_sets < 2:
        return Estimate(value, None, None, None)
    error = float(np.std(values[1:])) * math.sqrt(num_sets / (num_sets - 1))
    return within(value, error, num_sets - 1, lowest, highest)


def within(value: float, error: float, degrees: float, lowest: float, highest: float) -> Estimate:
    """An estimate whose interval is value -+ t * error, kept within [lowest, highest]."""
    reach = student_quantile(degrees) * error
    return Estimate(value, max(lowest, value - reach), min(highest, value + reach), error)


def auc_difference(
    scores: np.ndarray,
    others: np.ndarray,
    member: np.ndarray,
    sets: np.ndarray,
    generator: np.random.Generator,
    resamples: int = BOOTSTRAP_RESAMPLES,
) -> Estimate:
    """AUC of `scores` less that of `others` [m] on the same cases, both on the same resamples of sample sets."""
    names, columns = np.unique(sets, return_inverse=True)
    weights = resampling_weights(len(names), resamples, generator)
    first, second = (roc_metrics(part, member, columns, weights)["auc"] for part in (scores, others))
    return estimate(first - second, len(names), *range_of("auc_gain"))


def range_of(metric: str) -> tuple[float, float]:
    """The lowest and the highest value a metric can have."""
    return (-1.0, 1.0) if metric in ("deg_rate", "auc_gain") else (0.0, 1.0)


def student_quantile(degrees: float) -> float:
    """Two-sided quantile of Student's t at the project's confidence level."""
    from scipy.special import stdtrit  # scipy.stats would take longer to import than the whole evaluation

    return float(stdtrit(degrees, 0.5 + CONFIDENCE / 2))


def evaluate(
    scores: np.ndarray,
    baseline: np.ndarray | None,
    member: np.ndarray,
    sets: np.ndarray,
    generator: np.random.Generator,
    resamples: int = BOOTSTRAP_RESAMPLES,
) -> dict[str, Estimate]:
    """All metrics of one attack.

    Args:
        scores: [m] probability that a case is a positive.
        baseline: [m] the classical attack's scores; None leaves out what compares with it.
        member, sets: [m] label and sample set of each case. Every set has positives and negatives.
        generator: draws the bootstrap; equally seeded generators make attacks comparable draw by draw.

    Returns:
        metric name -> estimate. `auc_gain` is the AUC minus the classical attack's on the same resamples.
    """
    names, columns = np.unique(sets, return_inverse=True)
    weights = resampling_weights(len(names), resamples, generator)
    values = roc_metrics(scores, member, columns, weights) | threshold_metrics(scores, member, columns, weights)
    if baseline is not None:
        values |= degradation_metrics(scores, baseline, member, columns, weights)
        values["auc_gain"] = values["auc"] - roc_metrics(baseline, member, columns, weights)["auc"]
    return {name: estimate(sampled, len(names), *range_of(name)) for name, sampled in values.items()}


def evaluate_all(
    scores: Mapping[str, np.ndarray], cases: Cases, seed: int, baseline: str = "basic_mia"
) -> dict[str, dict[str, Estimate]]:
    """`evaluate` for several attacks on the same cases, all on the same resamples; one of them is the baseline."""
    return {
        name: evaluate(
            values, None if name == baseline else scores[baseline], cases.member, cases.set, spawn(seed, "bootstrap")
        )
        for name, values in scores.items()
    }

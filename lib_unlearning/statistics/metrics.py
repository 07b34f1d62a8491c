"""How well an attack tells deleted records from strangers, with intervals over sample sets (paper section 4.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from lib_unlearning.record_numbers import distinct
from lib_unlearning.statistics.intervals import OVERLAP, Estimate, estimate, leave_one_out, of_auc, of_share

FPR_LEVELS = (0.001, 0.01, 0.1)
# ROC curves of all subsamples are computed in blocks of about this many numbers: memory stays bounded.
_BLOCK = 500_000
_RECORD_GROUPS = 20

TPR_NAMES = {level: f"tpr_at_{level * 100:g}pct_fpr" for level in FPR_LEVELS}
_SIGNED = ("deg_rate", "auc_gain", "advantage")  # these range from -1 to 1


class Cases(Protocol):
    """What metrics need to know of cases: label [m], sample set [m] and record [m]."""

    @property
    def member(self) -> np.ndarray:
        """1 for a positive, 0 for a negative."""

    @property
    def set(self) -> np.ndarray:
        """Number of the sample set."""

    @property
    def record(self) -> np.ndarray:
        """Number of the record that is asked about."""


def range_of(metric: str) -> tuple[float, float]:
    """The lowest and the highest value a metric can have."""
    return (-1.0, 1.0) if metric in _SIGNED else (0.0, 1.0)


# ---------------------------------------------------------------- curves


def roc_metrics(scores: np.ndarray, member: np.ndarray, sets: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """AUC and TPR at each FPR level, for every row of weights.

    Between two thresholds the curve is what a coin between them gives: equal scores are no certainty.

    Args:
        scores, member: [m] attack scores and labels.
        sets: [m] column of `weights` that each case belongs to.
        weights: [b, num_sets].

    Returns:
        metric name -> [b]. A rate finer than 1/negatives is left out: the cases cannot resolve it.
    """
    order, ends = _ranked(scores)
    positive, columns = member[order] == 1, sets[order]
    levels = resolvable_levels(int((~positive).sum()))
    blocks = []
    step = max(1, _BLOCK // len(scores))
    for start in range(0, len(weights), step):
        weight = weights[start : start + step][:, columns]
        tpr = _rates(np.where(positive, weight, 0.0), ends)
        fpr = _rates(np.where(positive, 0.0, weight), ends)
        blocks.append(_curve_metrics(fpr, tpr, levels))
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _ranked(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cases [m] by falling score, and where each run of equal scores ends: these are passed together."""
    order = np.argsort(-scores, kind="stable")
    return order, np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)


def plain_auc(scores: np.ndarray, member: np.ndarray) -> float:
    """AUC of scores [m] for labels [m], ties counted half."""
    fpr, tpr = roc_points(scores, member)
    return float((np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2).sum())


def roc_points(scores: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rate [points] at every threshold that the scores [m] offer, from (0, 0) to (1, 1)."""
    order, ends = _ranked(scores)
    positive = (member[order] == 1)[np.newaxis]
    return _rates((~positive).astype(float), ends)[0], _rates(positive.astype(float), ends)[0]


def best_threshold(scores: np.ndarray, member: np.ndarray) -> float:
    """The score above which, taken for positive, TPR - FPR is largest; half way to the next lower score."""
    fpr, tpr = roc_points(scores, member)
    distinct = np.unique(scores)[::-1]
    best = int((tpr - fpr).argmax())
    if best == 0:
        return float("inf")
    following = distinct[best] if best < len(distinct) else -np.inf
    return float((distinct[best - 1] + following) / 2)


def resolvable_levels(negatives: int) -> list[float]:
    """The false-positive rates that a number of negatives can resolve."""
    return [level for level in FPR_LEVELS if level * negatives >= 1 - 1e-9]


def _rates(weight: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Share of all weight [b, points] reached at each threshold; the curve starts at 0."""
    reached = np.cumsum(weight, axis=1)[:, ends]
    return np.hstack([np.zeros((len(weight), 1)), reached / reached[:, -1:]])


def _curve_metrics(fpr: np.ndarray, tpr: np.ndarray, levels: list[float]) -> dict[str, np.ndarray]:
    metrics = {"auc": (np.diff(fpr, axis=1) * (tpr[:, 1:] + tpr[:, :-1]) / 2).sum(axis=1)}
    for level in levels:
        metrics[TPR_NAMES[level]] = np.array([_at(level, x, y) for x, y in zip(fpr, tpr, strict=True)])
    return metrics


def _at(level: float, fpr: np.ndarray, tpr: np.ndarray) -> float:
    """Height of a curve at a false positive rate: the highest point there, or between its neighbours."""
    last = int(np.searchsorted(fpr, level + 1e-12, side="right")) - 1
    if last == len(fpr) - 1:
        return float(tpr[last])
    share = max(0.0, (level - fpr[last]) / (fpr[last + 1] - fpr[last]))
    return float(tpr[last] + share * (tpr[last + 1] - tpr[last]))


# ---------------------------------------------------------------- shares and means


def weighted_mean(values: np.ndarray, sets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of values [m] for every row of weights [b, num_sets]; sets [m] says whose weight a value gets."""
    num_sets = weights.shape[1]
    sums = np.bincount(sets, weights=values, minlength=num_sets)
    counts = np.bincount(sets, minlength=num_sets)
    return np.asarray((weights @ sums) / (weights @ counts))


def mean_estimate(values: np.ndarray, sets: np.ndarray, overlap: float = 0.0) -> Estimate:
    """Mean of values [m] in 0 .. 1 with its interval over sample sets [m]."""
    names, columns = np.unique(sets, return_inverse=True)
    means = weighted_mean(values.astype(float), columns, leave_one_out(len(names)))
    return estimate(means, of_share(float(means[0]), len(values)), 0.0, 1.0, overlap)


def _rates_above(
    scores: np.ndarray, threshold: float, member: np.ndarray, sets: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """TPR and FPR [b] of the rule "above the threshold"."""
    above = scores > threshold
    rates = [weighted_mean(above[member == label], sets[member == label], weights) for label in (1, 0)]
    return rates[0], rates[1]


def _confidence(scores: np.ndarray, member: np.ndarray) -> np.ndarray:
    return np.where(member == 1, scores, 1.0 - scores)


def _placements(scores: np.ndarray, member: np.ndarray) -> np.ndarray:
    """For each case [m] the share of the other kind that it is on the right side of, ties half (DeLong, 1988)."""
    found = np.empty(len(scores))
    for label in (1, 0):
        own, other = scores[member == label], np.sort(scores[member != label])
        below = (np.searchsorted(other, own, "left") + np.searchsorted(other, own, "right")) / 2 / len(other)
        found[member == label] = below if label == 1 else 1 - below
    return found


def _gain_floor(scores: np.ndarray, baseline: np.ndarray, member: np.ndarray, areas: tuple[float, float]) -> float:
    """Least variance of a difference of two AUCs on the same cases."""
    if np.array_equal(scores, baseline):
        return 0.0  # exactly no difference, whatever the cases
    change = _placements(scores, member) - _placements(baseline, member)
    parts = [change[member == label] for label in (1, 0)]
    paired = sum(float(part.var(ddof=1)) / len(part) if len(part) > 1 else 0.0 for part in parts)
    return max(paired, min(of_auc(area, len(parts[0]), len(parts[1])) for area in areas))


# ---------------------------------------------------------------- everything


def evaluate(
    scores: np.ndarray,
    baseline: np.ndarray | None,
    member: np.ndarray,
    sets: np.ndarray,
    threshold: float | None = None,
    overlap: float = 0.0,
    groups: np.ndarray | None = None,
) -> dict[str, Estimate]:
    """All metrics of one attack.

    Args:
        scores: [m] probability that a case is a positive.
        baseline: [m] the classical attack's scores; None leaves out what compares with it.
        member, sets: [m] label and sample set of each case. Every set has positives and negatives.
        threshold: chosen on the shadow side; the advantage TPR - FPR is measured at it. None leaves that out.
        overlap: share of records that two sample sets have in common.
        groups: [m] `record_groups`, where intervals shall allow for so few records that they come again in many sets;
            None takes those that were drawn as given.

    Returns:
        metric name -> estimate. `auc_gain` is the AUC minus the classical attack's on the same cases.
    """
    columns = np.unique(sets, return_inverse=True)[1]
    judged = _Judged(scores, baseline, member, threshold)
    values = judged.without_each(columns)
    floors = judged.floors({name: float(found[0]) for name, found in values.items()})
    by_record = {} if groups is None else judged.without_each(groups)
    return {
        name: estimate(found, floors[name], *range_of(name), overlap, by_record.get(name))
        for name, found in values.items()
    }


def repeated_share(records: np.ndarray, sets: np.ndarray) -> float:
    """Share of cases [m] that are about a record which comes in other sets as well."""
    which, columns = (np.unique(names, return_inverse=True)[1].ravel() for names in (records, sets))
    width = int(columns.max()) + 1
    in_sets = np.bincount(distinct(which * width + columns) // width)
    return float((in_sets[which] > 1).mean())


def record_groups(records: np.ndarray, member: np.ndarray, sets: np.ndarray) -> np.ndarray | None:
    """Groups [m] of cases, all of a record in one, in each of them records with positive and with negative cases; None
    where no more than `OVERLAP` of the cases are about records that come in other sets as well."""
    if repeated_share(records, sets) <= OVERLAP:
        return None
    names, which = np.unique(records, return_inverse=True)
    which = which.ravel()
    has = [np.bincount(which[member == kind], minlength=len(names)) > 0 for kind in (0, 1)]
    # Strangers only, both, deleted only: whoever has cases of a kind stands together, and is dealt over all groups.
    order = np.argsort(has[1].astype(int) - has[0].astype(int), kind="stable")
    count = min(_RECORD_GROUPS, int(has[0].sum()), int(has[1].sum()))
    place = np.empty(len(names), dtype=np.int64)
    place[order] = np.arange(len(names)) % max(count, 1)
    return np.asarray(place[which])


@dataclass(frozen=True)
class _Judged:
    """One attack's cases, see `evaluate`."""

    scores: np.ndarray
    baseline: np.ndarray | None
    member: np.ndarray
    threshold: float | None

    def without_each(self, columns: np.ndarray) -> dict[str, np.ndarray]:
        """metric name -> its values [1 + G] for all cases and without each group; cases have the groups `columns`."""
        scores, member = self.scores, self.member
        weights = leave_one_out(int(columns.max()) + 1)
        values: dict[str, np.ndarray] = roc_metrics(scores, member, columns, weights)
        values["accuracy"] = weighted_mean((scores > 0.5) == (member == 1), columns, weights)
        at_half = _rates_above(scores, 0.5, member, columns, weights)
        values["balanced_accuracy"] = (at_half[0] + 1 - at_half[1]) / 2
        if self.threshold is not None:
            at_best = _rates_above(scores, self.threshold, member, columns, weights)
            values["advantage"] = at_best[0] - at_best[1]
        if self.baseline is not None:
            gain = self._gain(self.baseline)
            values["deg_count"], values["deg_rate"] = (weighted_mean(g, columns, weights) for g in (gain > 0, gain))
            values["auc_gain"] = values["auc"] - roc_metrics(self.baseline, member, columns, weights)["auc"]
        return values

    def floors(self, values: Mapping[str, float]) -> dict[str, float]:
        """metric name -> the least variance that so many cases allow, from the metrics' values."""
        scores, member = self.scores, self.member
        positives, negatives = int((member == 1).sum()), int((member == 0).sum())
        curve = roc_points(scores, member)
        names = ("auc", *TPR_NAMES.values())
        found = {name: _roc_floor(name, values[name], curve, positives, negatives) for name in names if name in values}
        found["accuracy"] = of_share(values["accuracy"], len(member))
        found["balanced_accuracy"] = self._of_rates(0.5) / 4
        if self.threshold is not None:
            found["advantage"] = self._of_rates(self.threshold)
        if self.baseline is not None:
            gain = self._gain(self.baseline)
            found["deg_count"] = of_share(values["deg_count"], len(gain))
            found["deg_rate"] = max(float(gain.var()), 1 / len(gain)) / len(gain)
            areas = (values["auc"], values["auc"] - values["auc_gain"])
            found["auc_gain"] = _gain_floor(scores, self.baseline, member, areas)
        return found

    def _gain(self, baseline: np.ndarray) -> np.ndarray:
        found: np.ndarray = _confidence(self.scores, self.member) - _confidence(baseline, self.member)
        return found

    def _of_rates(self, threshold: float) -> float:
        """Least variance of TPR - FPR."""
        above = self.scores > threshold
        parts = [above[self.member == label] for label in (1, 0)]
        return sum(of_share(float(part.mean()), len(part)) for part in parts)


def _roc_floor(
    metric: str, value: float, curve: tuple[np.ndarray, np.ndarray], positives: int, negatives: int
) -> float:
    """Least variance of one of the `roc_metrics`, from its value and the curve that it was read off."""
    if metric == "auc":
        return of_auc(value, positives, negatives)
    (level,) = (level for level, name in TPR_NAMES.items() if name == metric)
    return of_share(value, positives) + _of_threshold(level, *curve, negatives)


def _of_threshold(level: float, fpr: np.ndarray, tpr: np.ndarray, negatives: int) -> float:
    """Least variance of a TPR from where so many strangers put the threshold of an FPR (Hsieh and Turnbull, Annals of
    Statistics 1996): half the rise of the curve over two standard errors of the FPR, squared."""
    error = float(np.sqrt(of_share(level, negatives)))
    rise = _at(min(level + error, 1.0), fpr, tpr) - _at(max(level - error, 0.0), fpr, tpr)
    return float((rise / 2) ** 2)


def auc_difference(
    scores: np.ndarray, others: np.ndarray, member: np.ndarray, sets: np.ndarray, overlap: float = 0.0
) -> Estimate:
    """AUC of `scores` less that of `others` [m] on the same cases, both without the same sets."""
    return evaluate(scores, others, member, sets, overlap=overlap)["auc_gain"]


class Scored(NamedTuple):
    """Scores, labels and sample sets [m] of cases, and, where intervals shall allow for them, `record_groups` [m]."""

    scores: np.ndarray
    member: np.ndarray
    set: np.ndarray
    groups: np.ndarray | None = None


class _Resampled(NamedTuple):
    """Metrics of one attack on the whole sample and without each set, [1 + S], the same without each group of records,
    and the least variance of each."""

    values: dict[str, np.ndarray]
    by_record: dict[str, np.ndarray] | None
    floors: dict[str, float]


def _resampled(scored: Scored) -> _Resampled:
    scores, member, sets, groups = scored
    names, columns = np.unique(sets, return_inverse=True)
    values = roc_metrics(scores, member, columns, leave_one_out(len(names)))
    by_record = None
    if groups is not None:
        by_record = roc_metrics(scores, member, groups, leave_one_out(int(groups.max()) + 1))
    sizes, curve = (int((member == 1).sum()), int((member == 0).sum())), roc_points(scores, member)
    floors = {metric: _roc_floor(metric, float(found[0]), curve, *sizes) for metric, found in values.items()}
    return _Resampled(values, by_record, floors)


def changes(first: Scored, second: Scored, overlap: float = 0.0, same_is_exact: bool = True) -> dict[str, Estimate]:
    """Metrics of `roc_metrics` of one attack less those of another on cases of the same sample sets, both without the
    same sets; those that both resolve.

    Equal scores are the same attack twice, so that nothing lies between them, unless `same_is_exact` is false: two that
    happened to agree.
    """
    same = same_is_exact and all(np.array_equal(one, other) for one, other in zip(first[:3], second[:3], strict=True))
    one, other = _resampled(first), _resampled(second)
    found = {}
    for metric in one.values.keys() & other.values.keys():
        floor = 0.0 if same else min(one.floors[metric], other.floors[metric])
        again = None
        if one.by_record is not None and other.by_record is not None:
            again = one.by_record[metric] - other.by_record[metric]
        less = one.values[metric] - other.values[metric]
        found[metric] = estimate(less, floor, *range_of("auc_gain"), overlap, again)
    return found


def auc_change(first: Scored, second: Scored, overlap: float = 0.0) -> Estimate:
    """AUC of one attack less that of another (see `changes`)."""
    return changes(first, second, overlap)["auc"]


def evaluate_all(
    scores: Mapping[str, np.ndarray],
    cases: Cases,
    thresholds: Mapping[str, float] | None = None,
    overlap: float = 0.0,
    baseline: str = "basic_mia",
    by_record: bool = False,
) -> dict[str, dict[str, Estimate]]:
    """`evaluate` for several attacks on the same cases; one of them is the baseline.

    A rate finer than one of the strangers is left out, however often each of them is asked about. `by_record`: whether
    intervals allow for records that come again in many sets.
    """
    strangers = len(np.unique(cases.record[cases.member == 0]))
    fine = {TPR_NAMES[level] for level in FPR_LEVELS if level not in resolvable_levels(strangers)}
    groups = record_groups(cases.record, cases.member, cases.set) if by_record else None
    found = {
        name: evaluate(
            values,
            None if name == baseline else scores[baseline],
            cases.member,
            cases.set,
            (thresholds or {}).get(name),
            overlap,
            groups,
        )
        for name, values in scores.items()
    }
    return {
        name: {metric: part for metric, part in metrics.items() if metric not in fine}
        for name, metrics in found.items()
    }

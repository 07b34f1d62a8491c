"""Versions that were named the wrong way round."""

from __future__ import annotations

import numpy as np

from lib_unlearning.audit.class_mix import strata
from lib_unlearning.construct_feature import of_true_label, residuals
from lib_unlearning.errors import UserError
from lib_unlearning.posterior import PosteriorSet
from lib_unlearning.statistics.intervals import student_quantile

_SWAPPED = 0.9995  # confidence with which answers to deleted records must have become better


def check_order(cases: PosteriorSet, before: str, after: str) -> None:
    """Refuse versions that were named the wrong way round: forgetting does not make answers to the forgotten better.

    Records are compared with strangers of the same set and class only, as models and classes drift.
    """
    change = _fits_better(cases)
    classes = strata(cases.label, cases.original.shape[1] == 1)
    gone = cases.member == 1
    better = (change[gone] > 0).sum() > (change[gone] < 0).sum()  # not only less bad than strangers'
    ranks = _ranks_within(change, cases.set * (classes.max() + 1) + classes)  # no outlier rules them
    parts = [_a_record_once(ranks[rows], cases.record[rows]) for rows in (gone, ~gone)]
    fewest = min(map(len, parts))
    error = np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts)) + 1e-12 if fewest > 1 else np.inf
    if better and parts[0].mean() - parts[1].mean() > student_quantile(fewest - 1, _SWAPPED) * error:
        raise UserError(
            f"{before} and {after}: the answers after the deletion fit the deleted records better than those before "
            "it; are the two swapped? If they are not, add --in_order true"
        )


def _ranks_within(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Ranks [m] of values within their groups, between -1 and 1; equal values share one."""
    order = np.lexsort([values, groups])
    _, size = np.unique(groups[order], return_counts=True)
    first = np.repeat(np.cumsum(size) - size, size)
    value, group = values[order], groups[order]
    new = np.concatenate([[True], (np.diff(value) != 0) | (np.diff(group) != 0)])
    ties = np.cumsum(new) - 1
    middle = np.bincount(ties, np.arange(len(order)) - first) / np.bincount(ties)
    found = np.empty(len(order))
    found[order] = (2 * middle[ties] + 1) / np.repeat(size, size) - 1
    return found


def _a_record_once(values: np.ndarray, records: np.ndarray) -> np.ndarray:
    """Mean of the values [m] of each record."""
    which = np.unique(records, return_inverse=True)[1].ravel()
    found: np.ndarray = np.bincount(which, values) / np.bincount(which)
    return found


def _fits_better(cases: PosteriorSet) -> np.ndarray:
    """By how much the answers after fit the truth better, [m]: the label's posterior, or how near a prediction is."""
    if cases.original.shape[1] == 1:
        return -residuals(cases)[:, -1]
    before, after = of_true_label(cases)
    found: np.ndarray = (after - before)[:, 0]
    return found

"""What anybody's models answer, as probabilities: posteriors, logits, or labels alone."""

from __future__ import annotations

import numpy as np

from lib_unlearning.errors import UserError
from lib_unlearning.link import softmax

_SUM = 1e-3  # by which a row may miss 1
_MOST_CLASSES = 1000
_DIGITS = 6  # to which answers are rounded at the most, where that makes rows miss 1 by more
_LOOKED_AT = 1000  # rows that say how answers are rounded


def improbable(answers: np.ndarray) -> np.ndarray:
    """Numbers of the rows of answers [m, c] that are negative somewhere or do not sum to 1, as far as rounding lets
    them."""
    may_miss = max(_SUM, answers.shape[1] * _rounding(answers[:_LOOKED_AT])) + 1e-9
    wrong = (answers < -_SUM).any(axis=1) | (np.abs(answers.sum(axis=1) - 1) > may_miss)
    return np.flatnonzero(wrong)


def _rounding(answers: np.ndarray) -> float:
    """By how much rounding moved each of the answers at the most: half of their last digit, 0 where they have many."""
    for digits in range(1, _DIGITS + 1):
        if np.allclose(answers, answers.round(digits), rtol=0.0, atol=1e-9):
            return 0.5 * 10.0**-digits
    return 0.0


def as_posteriors(values: np.ndarray, kind: str, where: str, classes: int) -> np.ndarray:
    """Posteriors [m, c] of answers [m, k]; one column is a label, or tells of the second of two classes.

    Args:
        kind: see `settings.ANSWER_KINDS`. where: what an error names. classes: how many there are at least.

    Raises:
        UserError: they are not what `kind` says.
    """
    whole = values.shape[1] == 1 and np.array_equal(values, values.round()) and values.min() >= 0
    if kind == "labels" or (kind == "auto" and whole and classes > 1):
        if not whole:
            raise UserError(f"{where}: labels must be one column of whole numbers from 0 on")
        count = max(int(values.max()) + 1, classes)
        if count > _MOST_CLASSES:
            raise UserError(f"{where}: labels up to {values.max():.0f}; there may be {_MOST_CLASSES:,} classes")
        return np.asarray(np.eye(count)[values[:, 0].astype(int)])
    if values.shape[1] == 1:
        values = np.hstack([np.zeros_like(values) if kind == "logits" else 1 - values, values])
    if kind == "logits":
        return softmax(values)
    wrong = improbable(values)
    if len(wrong):
        row = values[wrong[0]]
        why = f"it holds {row.min():.4g}" if row.min() < -_SUM else f"it sums to {row.sum():.4g}"
        raise UserError(f"{where}: row {wrong[0] + 1} is no probability ({why}){_advice(values)}")
    return np.asarray(np.clip(values, 0, 1))


def _advice(values: np.ndarray) -> str:
    """What answers [m, c] that are no probabilities may be."""
    if values.min() >= 0 and abs(float(np.median(values.sum(axis=1))) - 100) < 1:
        return "; if these are per cent, divide them by 100"
    within = values.min() >= 0 and values.max() <= 1
    return "" if within else "; if these are logits, add --answers logits"

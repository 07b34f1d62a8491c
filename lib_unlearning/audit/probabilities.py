"""Whether anybody's answers are probabilities."""

from __future__ import annotations

import numpy as np

_SUM = 1e-3  # by which a row may miss 1


def improbable(answers: np.ndarray) -> np.ndarray:
    """Numbers of the rows of answers [m, c] that are negative somewhere or do not sum to 1."""
    wrong = (answers < -_SUM).any(axis=1) | (np.abs(answers.sum(axis=1) - 1) > _SUM)
    return np.flatnonzero(wrong)

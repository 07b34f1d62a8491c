"""Sets of record numbers: small whole numbers, so that a table of flags is faster than sorting."""

from __future__ import annotations

import numpy as np

_SPARSE = 64  # numbers of the range for each that is there, beyond which a table would be mostly empty


def among(records: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Mask [n] of the records [n] that are among others [m]."""
    found: np.ndarray = np.isin(records, others, kind="table" if _is_dense(records, others) else None)
    return found


def distinct(records: np.ndarray) -> np.ndarray:
    """The records [n] in order, each once; faster than `np.unique`, which hashes whole numbers."""
    ordered = np.sort(records)
    first = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def _is_dense(records: np.ndarray, others: np.ndarray) -> bool:
    if not len(others) or not len(records):
        return False
    return bool(others.max() - others.min() <= _SPARSE * (len(records) + len(others)))

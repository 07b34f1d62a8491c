"""Deleted records and strangers of the same classes: where these differ, whoever knows a label tells them apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lib_unlearning.seeds import spawn

_STRATA = (2, 20)  # that a regression's labels are divided into, the fewest and the most
_EACH = 20  # cases of each of these, about
_UNLIKE = 0.05  # chance of classes that differ so much, below which they are not taken to be alike
_DRAWN = 999  # permutations
_FAR = 0.01  # share of either kind that must be of another class for an AUC to show it
_NEARLY = 0.9  # of the most that can be told is enough, where more deleted records are kept for it


def strata(labels: np.ndarray, regression: bool) -> np.ndarray:
    """Numbers [m] of what counts as a class: each class, or a part of the range of the numbers that are predicted."""
    if not regression:
        return np.unique(labels, return_inverse=True)[1].ravel()
    parts = int(np.clip(len(labels) // _EACH, *_STRATA))
    bounds = np.quantile(labels, np.arange(1, parts) / parts)
    return np.unique(np.searchsorted(bounds, labels), return_inverse=True)[1].ravel()


def counts_of(classes: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Strangers (0) and deleted records (1) of each class, [2, c]."""
    return np.stack([np.bincount(classes[member == kind], minlength=classes.max() + 1) for kind in (0, 1)])


def differ(counts: np.ndarray, rng: np.random.Generator) -> bool:
    """Whether both kinds' classes [2, c] differ by what matters, and more than those of people drawn alike would
    (chi-squared by permutation, as classes may be many and small)."""
    counts = counts[:, counts.sum(axis=0) > 0]
    shares = counts / counts.sum(axis=1, keepdims=True)
    if np.abs(shares[1] - shares[0]).sum() / 2 < _FAR:
        return False
    each = counts.sum(axis=0)
    expected = each * counts[1].sum() / counts.sum()

    def distance(deleted: np.ndarray) -> np.ndarray:
        found: np.ndarray = ((deleted - expected) ** 2 / expected).sum(axis=-1)
        return found

    drawn = rng.multivariate_hypergeometric(each, counts[1].sum(), size=_DRAWN)
    as_far = int((distance(drawn) >= distance(counts[1]) - 1e-9).sum())
    return (1 + as_far) / (1 + _DRAWN) < _UNLIKE


def kept_alike(classes: np.ndarray, member: np.ndarray, sets: np.ndarray, seed: int, side: str) -> np.ndarray:
    """Mask [m] of the cases to keep so that each class has as many strangers to a deleted record as any other: as many
    of both kinds as tell most, those that are left out drawn evenly from the sample sets."""
    kept = np.zeros(len(member), dtype=bool)
    shares = _shares(counts_of(classes, member))
    for kind in (0, 1):
        for number in np.flatnonzero(shares[kind]):
            rows = np.flatnonzero((member == kind) & (classes == number))
            chosen = _evenly(sets[rows], shares[kind, number], spawn(seed, "alike in class", side, kind, int(number)))
            kept[rows[chosen]] = True
    return kept


def _shares(counts: np.ndarray) -> np.ndarray:
    """How many strangers and deleted records of each class to keep, [2, c].

    Of all ratios of strangers to deleted that one of the classes has, those that leave nearly as much to tell as the
    best (1 / (1 / deleted + 1 / strangers)), and of these the one that leaves out the fewest deleted records.
    """

    def left(kept: np.ndarray) -> float:
        strangers, deleted = map(int, kept.sum(axis=1))
        return strangers * deleted / max(strangers + deleted, 1)

    found = list(_kept_at(counts))
    if not found:
        return np.zeros_like(counts)
    most = max(map(left, found))
    return max((kept for kept in found if left(kept) >= _NEARLY * most), key=lambda kept: kept[1].sum())


def _kept_at(counts: np.ndarray) -> Iterator[np.ndarray]:
    strangers, deleted = counts
    for ratio in np.unique([there / gone for there, gone in counts.T if there and gone]):
        kept = np.stack([np.minimum(strangers, ratio * deleted), np.minimum(deleted, strangers / ratio)])
        kept = np.rint(kept).astype(np.int64)
        yield kept * (kept.min(axis=0) > 0)


def _evenly(sets: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Positions [count] of cases, as many from each set as possible."""
    order = rng.permutation(len(sets))
    order = order[np.argsort(sets[order], kind="stable")]
    first = np.searchsorted(sets[order], sets[order])  # where each one's set begins
    place = np.arange(len(order)) - first
    found: np.ndarray = order[np.lexsort([rng.random(len(order)), place])][:count]
    return found

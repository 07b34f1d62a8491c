"""Defenses that publish less than the full posterior (paper section 6).

They are applied to both models' answers before any feature is built: the adversary never sees what was withheld.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from lib_unlearning.posterior import PosteriorSet


def top_k(posteriors: np.ndarray, k: int) -> np.ndarray:
    """Publish the k largest entries of posteriors [m, c] and spread the other mass evenly over the other classes.

    `k` = 0 publishes the label alone, as a one-hot vector. Equal entries rank by class number.
    """
    num_classes = posteriors.shape[1]
    if k >= num_classes - 1 and k > 0:
        return posteriors  # one hidden entry is what the others leave, so nothing is hidden
    ranking = np.argsort(-posteriors, axis=1, kind="stable")
    published = np.zeros_like(posteriors)
    if k == 0:
        np.put_along_axis(published, ranking[:, :1], 1.0, axis=1)
        return published
    largest = np.take_along_axis(posteriors, ranking[:, :k], axis=1)
    rest = (1.0 - largest.sum(axis=1, keepdims=True)) / (num_classes - k)
    published[:] = rest
    np.put_along_axis(published, ranking[:, :k], largest, axis=1)
    return published


def defend(posteriors: PosteriorSet, k: int | None) -> PosteriorSet:
    """What the adversary sees of both models: everything (`k` None), or what `top_k` leaves."""
    if k is None:
        return posteriors
    return dataclasses.replace(
        posteriors, original=top_k(posteriors.original, k), unlearned=top_k(posteriors.unlearned, k)
    )

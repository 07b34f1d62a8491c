"""Defenses that publish less than the full posterior (paper section 6).

They are applied to both models' answers before any feature is built: the adversary never sees what was withheld.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lib_unlearning.errors import UserError
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


def soften(posteriors: np.ndarray, temperature: float) -> np.ndarray:
    """Publish softmax(log p / T) of posteriors [m, c]: flatter for T > 1, sharper for T < 1, zeros stay zeros.

    For a network this is softmax(logits / T), as its log posteriors are its logits less a constant.
    """
    largest = posteriors.max(axis=1, keepdims=True)
    powers = (posteriors / largest) ** (1.0 / temperature)
    found: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return found


# Defenses that plug-ins bring: name -> what it publishes of posteriors [m, c], each row by itself.
DEFENSES: dict[str, Callable[[np.ndarray], np.ndarray]] = {}


@dataclass(frozen=True)
class Publication:
    """What the adversary sees of an answer: softened by `temperature`, then what `top_k` leaves, rounded to
    `round_digits`, then what `defense`, one of DEFENSES, makes of it; None: as it is."""

    top_k: int | None = None
    temperature: float | None = None
    round_digits: int | None = None
    defense: str | None = None

    def of(self, posteriors: np.ndarray) -> np.ndarray:
        """What is published of posteriors [m, c]."""
        part = posteriors if self.temperature is None else soften(posteriors, self.temperature)
        part = part if self.top_k is None else top_k(part, self.top_k)
        part = part if self.round_digits is None else part.round(self.round_digits)
        return part if self.defense is None else self._defended(part)

    def _defended(self, posteriors: np.ndarray) -> np.ndarray:
        published = np.asarray(DEFENSES[str(self.defense)](posteriors), dtype=np.float64)
        if published.shape != posteriors.shape or not (np.isfinite(published) & (published >= 0)).all():
            raise UserError(
                f"--defense {self.defense}: of posteriors {list(posteriors.shape)} it must publish finite numbers of "
                "the same shape, none below 0"
            )
        return published

    def of_cases(self, cases: PosteriorSet) -> PosteriorSet:
        """What is published of both models' answers."""
        return dataclasses.replace(cases, original=self.of(cases.original), unlearned=self.of(cases.unlearned))

"""What is kept of one sample set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib_unlearning.unlearning.base import Ensemble


@dataclass(frozen=True)
class TrainedSet:
    """All models of one sample set.

    Attributes:
        original: trained on the whole set.
        unlearned: one model per deletion request.
        accuracy: [1 + requests, 2] on training and held-out records; row 0 is the original.
        epsilon: [1 + requests] privacy spent by DP-SGD, NaN without it.
    """

    original: Ensemble
    unlearned: list[Ensemble]
    accuracy: np.ndarray
    epsilon: np.ndarray

    @property
    def ensembles(self) -> list[Ensemble]:
        """The original, then the unlearned models."""
        return [self.original, *self.unlearned]

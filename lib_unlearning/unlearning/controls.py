"""Methods that do not forget: nothing, and noise. What an audit says of them is known beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lib_unlearning.seeds import integer_seed
from lib_unlearning.training.tasks import TrainingTask
from lib_unlearning.unlearning.base import Deletion, Ensemble, UnlearningMethod, Work


class Nothing(UnlearningMethod):
    """Gives the original back."""

    def work(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> Work:
        """Train once."""
        (model,) = yield [TrainingTask(records, integer_seed(seed, "shard", 0))]
        original = Ensemble([model], [records])
        return original, [original for _ in deletions]


class NoiseModel:
    """Answers at random, always alike to the same record."""

    facts: Mapping[str, Any] = {}

    def __init__(self, num_classes: int, seed: int) -> None:
        self.num_classes = num_classes
        self.seed = seed

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Posteriors [m, c] that depend on seed and record alone."""
        rows = np.asarray(features, dtype=np.float64).reshape(len(features), -1)
        mixed = np.sin(rows @ np.random.default_rng(self.seed).normal(size=(rows.shape[1], self.num_classes)) * 1e3)
        powers = np.exp(3 * mixed)
        found: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return found


class Noise(UnlearningMethod):
    """Gives noise for an unlearned model."""

    def work(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> Work:
        """Train the original only."""
        (model,) = yield [TrainingTask(records, integer_seed(seed, "shard", 0))]
        unlearned = [
            Ensemble([NoiseModel(self.dataset.num_classes, integer_seed(seed, "noise", number))], [records])
            for number, _ in enumerate(deletions)
        ]
        return Ensemble([model], [records]), unlearned

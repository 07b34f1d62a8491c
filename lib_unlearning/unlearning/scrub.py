"""SCRUB (Kurmanji et al., NeurIPS 2023): away from the original on the forgotten, towards it on the rest, in turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib_unlearning.options import number, option, whole
from lib_unlearning.training.tasks import TrainingTask
from lib_unlearning.unlearning.from_original import Forgetting, FromOriginal


@dataclass(frozen=True)
class ScrubOptions:
    """Of SCRUB; the temperature is 1."""

    scrub_max_steps: int = option(2, "passes away from the original, before as many towards it", kind=whole(1))
    scrub_min_steps: int = option(3, "passes over the kept records in all", kind=whole(1))
    scrub_alpha: float = option(0.1, "weight of the original's answers", kind=number(at_least=0))
    scrub_gamma: float = option(0.99, "weight of the labels", kind=number(at_least=0))
    scrub_lr: float = option(0.0005, "learning rate", kind=number(above=0))


class Scrub(FromOriginal):
    """Max steps come before min steps, one of each in turn, and the rest are min steps."""

    Options = ScrubOptions

    @property
    def phases(self) -> int:
        """One pass each."""
        return int(self.options.scrub_max_steps + self.options.scrub_min_steps)

    def phase(self, number: int, of: Forgetting) -> TrainingTask:
        """A pass over the forgotten, or over the rest."""
        options = self.options
        if number % 2 == 0 and number // 2 < options.scrub_max_steps:
            targets = self.answers(of.original, of.gone)
            weights = -np.ones(len(of.gone))
            return TrainingTask(of.gone, of.seed, of.current, 1, options.scrub_lr, weights=weights, targets=targets)
        plain = np.eye(self.dataset.num_classes)[self.dataset.labels[of.kept]]
        # Divergence from the original and cross-entropy have the gradient of a cross-entropy with mixed targets.
        total = options.scrub_alpha + options.scrub_gamma
        targets = (options.scrub_alpha * self.answers(of.original, of.kept) + options.scrub_gamma * plain) / total
        weights = np.full(len(of.kept), total)
        return TrainingTask(of.kept, of.seed, of.current, 1, options.scrub_lr, weights=weights, targets=targets)

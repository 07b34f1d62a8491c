"""Certified removal (Guo et al., ICML 2020): a Newton step on the kept records, hidden by a perturbed objective."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lib_unlearning.options import number, option, whole
from lib_unlearning.seeds import integer_seed
from lib_unlearning.training.tasks import TrainingTask
from lib_unlearning.unlearning.base import Deletion, Work
from lib_unlearning.unlearning.from_original import Forgetting, FromOriginal

if TYPE_CHECKING:  # needs scipy, which takes long to import
    from lib_unlearning.training.logistic import LogisticModel


@dataclass(frozen=True)
class NewtonRemovalOptions:
    """Of certified removal."""

    removal_steps: int = option(1, "Newton steps on the kept records", kind=whole(1), metavar="N")
    removal_sigma: float = option(
        0.0, "deviation of the objective's random linear term, 0 for none", kind=number(at_least=0), metavar="X"
    )
    removal_delta: float = option(1e-4, "delta of the certificate", kind=number(above=0, at_most=1), metavar="X")


class NewtonRemoval(FromOriginal):
    """For a logistic regression at its optimum (`--solver newton`). With two classes and a perturbed objective an
    unlearned model's `certificate` is the epsilon for which its weights are indistinguishable from those of a model
    trained without the records, in the coordinates of the original's standardisation; that this one saw the records is
    outside of it, and the value itself depends on them."""

    Options = NewtonRemovalOptions

    def work(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> Work:
        """As usual, then what is certified."""
        original, unlearned = yield from super().work(records, deletions, seed)
        return original, [replace(part, constituents=[self._certified(part.constituents[0])]) for part in unlearned]

    def first(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> TrainingTask:
        """With the linear term."""
        return TrainingTask(records, integer_seed(seed, "shard", 0), perturbation=(self.options.removal_sigma, seed))

    def phase(self, number: int, of: Forgetting) -> TrainingTask:
        """From the original on, the same linear term."""
        return TrainingTask(
            of.kept,
            of.seed,
            of.current,
            newton_steps=self.options.removal_steps,
            perturbation=(self.options.removal_sigma, of.first_seed),
        )

    def _certified(self, model: LogisticModel) -> LogisticModel:
        sigma = self.options.removal_sigma
        residual = model.facts.get("residual", math.nan)
        if not sigma or math.isnan(residual):
            return model
        certified = gaussian_epsilon(residual / sigma, self.options.removal_delta)
        return replace(model, facts={**model.facts, "certificate": certified})


def gaussian_epsilon(shift: float, delta: float) -> float:
    """The least epsilon of a Gaussian mechanism whose mean moves by `shift` standard deviations (Balle and Wang, ICML
    2018, theorem 8): exact for any epsilon, where the usual bound holds for small ones only."""
    from scipy.optimize import brentq
    from scipy.special import log_ndtr, ndtr

    def excess(epsilon: float) -> float:
        high, low = shift / 2 - epsilon / shift, -shift / 2 - epsilon / shift
        return float(ndtr(high) - math.exp(epsilon + float(log_ndtr(low))) - delta)

    if shift <= 0 or excess(0.0) <= 0:
        return 0.0
    most = 1.0
    while excess(most) > 0:
        most *= 2
    return float(brentq(excess, 0.0, most))

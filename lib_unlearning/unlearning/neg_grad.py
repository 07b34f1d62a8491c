"""Gradient ascent on the forgotten (NegGrad), and with descent on the rest beside it (NegGrad+, alpha 0.9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib_unlearning.options import number, option, whole
from lib_unlearning.training.tasks import TrainingTask
from lib_unlearning.unlearning.from_original import Forgetting, FromOriginal


@dataclass(frozen=True)
class NegGradOptions:
    """Of NegGrad."""

    ascent_epochs: int = option(5, "passes over the forgotten records", kind=whole(1), metavar="N")
    ascent_lr: float = option(0.001, "learning rate of the ascent", kind=number(above=0), metavar="X")


class NegGrad(FromOriginal):
    """Makes the loss of what is to be forgotten grow."""

    Options = NegGradOptions

    def phase(self, number: int, of: Forgetting) -> TrainingTask:
        """The forgotten records, their loss with a minus."""
        options = self.options
        return TrainingTask(
            of.gone, of.seed, of.current, options.ascent_epochs, options.ascent_lr, weights=-np.ones(len(of.gone))
        )


@dataclass(frozen=True)
class NegGradPlusOptions:
    """Of NegGrad+ (Kurmanji et al., NeurIPS 2023)."""

    plus_epochs: int = option(5, "passes over all records", kind=whole(1), metavar="N")
    plus_lr: float = option(0.001, "learning rate", kind=number(above=0), metavar="X")
    plus_alpha: float = option(0.9, "share of the kept records' loss", kind=number(above=0, at_most=1), metavar="X")


class NegGradPlus(FromOriginal):
    """Loss of the rest less that of the forgotten, alpha to 1 - alpha, as means over each."""

    Options = NegGradPlusOptions

    def phase(self, number: int, of: Forgetting) -> TrainingTask:
        """All records; the forgotten ones weigh as much as their share of the objective says."""
        options = self.options
        gone = -(1 - options.plus_alpha) * len(of.kept) / len(of.gone)
        weights = np.concatenate([np.full(len(of.kept), options.plus_alpha), np.full(len(of.gone), gone)])
        return TrainingTask(of.both, of.seed, of.current, options.plus_epochs, options.plus_lr, weights=weights)

"""Fine-tuning: go on with the records that stay, and let the others fade."""

from __future__ import annotations

from dataclasses import dataclass

from lib_unlearning.options import number, option, whole
from lib_unlearning.training.tasks import TrainingTask
from lib_unlearning.unlearning.from_original import Forgetting, FromOriginal


@dataclass(frozen=True)
class FineTuningOptions:
    """Of fine-tuning."""

    tuning_epochs: int = option(5, "passes over the kept records", kind=whole(1), metavar="N")
    tuning_lr: float = option(0.001, "learning rate", kind=number(above=0), metavar="X")


class FineTuning(FromOriginal):
    """Trains on the rest."""

    Options = FineTuningOptions

    def phase(self, number: int, of: Forgetting) -> TrainingTask:
        """The kept records."""
        return TrainingTask(of.kept, of.seed, of.current, self.options.tuning_epochs, self.options.tuning_lr)

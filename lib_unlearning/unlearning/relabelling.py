"""Learning something else about the forgotten: random labels, or what a bad teacher says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lib_unlearning.options import number, option, whole
from lib_unlearning.seeds import integer_seed, spawn
from lib_unlearning.training.tasks import TrainingTask
from lib_unlearning.unlearning.base import Deletion, Work
from lib_unlearning.unlearning.from_original import Forgetting, FromOriginal, inputs_of

_UNTRAINED_LR = 1e-12  # of the bad teacher: as good as its initial weights


@dataclass(frozen=True)
class RandomLabelOptions:
    """Of random labels."""

    label_epochs: int = option(5, "passes over all records", kind=whole(1), metavar="N")
    label_lr: float = option(0.001, "learning rate", kind=number(above=0), metavar="X")


class RandomLabels(FromOriginal):
    """The rest with its labels, the forgotten with others, drawn at random."""

    Options = RandomLabelOptions

    def phase(self, number: int, of: Forgetting) -> TrainingTask:
        """All records; a forgotten one gets any class but its own."""
        classes = self.dataset.num_classes
        shift = spawn(of.seed, "random labels").integers(1, classes, len(of.gone))
        labels = np.concatenate([self.dataset.labels[of.kept], (self.dataset.labels[of.gone] + shift) % classes])
        options = self.options
        targets = np.eye(classes)[labels]
        return TrainingTask(of.both, of.seed, of.current, options.label_epochs, options.label_lr, targets=targets)


@dataclass(frozen=True)
class SaliencyOptions(RandomLabelOptions):
    """Of SalUn: also those of random labels."""

    saliency: float = option(0.5, "share of the weights that may move", kind=number(above=0, at_most=1), metavar="X")


class Saliency(RandomLabels):
    """SalUn (Fan et al., ICLR 2024): random labels, learned by the weights that most change the forgotten's loss."""

    Options = SaliencyOptions

    def phase(self, number: int, of: Forgetting) -> TrainingTask:
        """As random labels, under the mask of the largest gradients of the forgotten records' loss."""
        gradient = of.original.gradient(inputs_of(of.original, self.dataset, of.gone), self.dataset.labels[of.gone])
        sizes = {name: np.abs(tensor.numpy()) for name, tensor in gradient.items()}
        least = np.quantile(np.concatenate([part.ravel() for part in sizes.values()]), 1 - self.options.saliency)
        # More than half of one record's gradient can be 0: such a weight is not salient, whatever the share.
        mask = {name: ((part >= least) & (part > 0)).astype(np.float32) for name, part in sizes.items()}
        return replace(super().phase(number, of), mask=mask)


@dataclass(frozen=True)
class BadTeacherOptions:
    """Of the bad teacher."""

    teacher_epochs: int = option(5, "passes over all records", kind=whole(1), metavar="N")
    teacher_lr: float = option(0.001, "learning rate", kind=number(above=0), metavar="X")


class BadTeacher(FromOriginal):
    """The rest as the original answers, the forgotten as an untrained network does (Chundawat et al., AAAI 2023)."""

    Options = BadTeacherOptions

    def work(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> Work:
        """An untrained network first, then as usual."""
        teacher_seed = integer_seed(seed, "bad teacher")
        (self._teacher,) = yield [TrainingTask(records[:2], teacher_seed, epochs=1, lr=_UNTRAINED_LR)]
        return (yield from super().work(records, deletions, seed))

    def phase(self, number: int, of: Forgetting) -> TrainingTask:
        """All records, with either teacher's answers."""
        good: Any = self.answers(of.original, of.kept)
        targets = np.concatenate([good, self.answers(self._teacher, of.gone)])
        options = self.options
        return TrainingTask(of.both, of.seed, of.current, options.teacher_epochs, options.teacher_lr, targets=targets)

"""Selective synaptic dampening, SSD (Foster et al., AAAI 2024): shrink what matters to the forgotten above all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib_unlearning.errors import UserError
from lib_unlearning.options import number, option
from lib_unlearning.seeds import integer_seed
from lib_unlearning.training.tasks import TrainingTask
from lib_unlearning.unlearning.base import Deletion, Ensemble, UnlearningMethod, Work
from lib_unlearning.unlearning.from_original import inputs_of, remaining


@dataclass(frozen=True)
class DampeningOptions:
    """Of SSD."""

    ssd_alpha: float = option(
        10.0, "how many times as important to the forgotten a weight must be", kind=number(above=0), metavar="X"
    )
    ssd_lambda: float = option(1.0, "how much of such a weight is left", kind=number(above=0), metavar="X")


class SelectiveDampening(UnlearningMethod):
    """Trains nothing after the original: importance is the mean squared gradient, of the forgotten against all."""

    Options = DampeningOptions

    def work(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> Work:
        """Importance to all records once, then a model a deletion."""
        if any(len(deletion.replacements) for deletion in deletions):
            raise UserError("--unlearning_method ssd learns nothing: online learning needs another method")
        (original,) = yield [TrainingTask(records, integer_seed(seed, "shard", 0))]
        if not hasattr(original, "importance"):
            raise UserError(
                "--unlearning_method ssd needs gradients of each record: LRTorch, MLPTorch or scnn, not this model"
            )
        to_all = self._importance(original, records)
        unlearned = []
        for deletion in deletions:
            model = original
            for turn, gone in enumerate(deletion.turns):
                everyone = self._importance(model, remaining(records, deletion, turn - 1)) if turn else to_all
                model = self._dampened(model, everyone, self._importance(model, gone))
            unlearned.append(Ensemble([model], [remaining(records, deletion)]))
        return Ensemble([original], [records]), unlearned

    def _importance(self, model: Any, records: np.ndarray) -> dict[str, Any]:
        found: dict[str, Any] = model.importance(inputs_of(model, self.dataset, records), self.dataset.labels[records])
        return found

    def _dampened(self, model: Any, to_all: dict[str, Any], to_gone: dict[str, Any]) -> Any:
        weights = {}
        for name, tensor in model.weights.items():
            everyone, gone = to_all[name], to_gone[name]
            left = (self.options.ssd_lambda * everyone / gone.clamp(min=1e-30)).clamp(max=1.0)
            weights[name] = tensor * left.where(gone > self.options.ssd_alpha * everyone, left.new_ones(()))
        return model.with_weights(weights)

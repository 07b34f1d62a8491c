"""DP-SGD for stacks of networks (paper section 6): as `private_training`, for many networks at once.

Each model has batches and noise of its own sources, whatever else is in the stack; what is accounted for is Opacus'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lib_unlearning.training.ensemble import StackTraining
from lib_unlearning.training.linear_gradients import LinearGradients
from lib_unlearning.training.network_stack import Stack, structure
from lib_unlearning.training.privacy_budget import Plan, randomness
from lib_unlearning.training.record_gradients import RecordGradients
from lib_unlearning.training.stacked_optimizer import as_models


class _PoissonBatches:
    """Batches in which each record stands with the sampling rate, independently of the others."""

    def __init__(self, counts: Sequence[int], plans: Sequence[Plan]) -> None:
        self._counts, self._plans = counts, plans

    def draw(self, sources: Sequence[torch.Generator]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers within each task's records, -1 for none [steps, M, b], and which models take a step [steps, M]."""
        found = []
        for count, plan, source in zip(self._counts, self._plans, sources, strict=True):
            step, record = np.nonzero((torch.rand(plan.steps, count, generator=source) < plan.rate).numpy())
            sizes = np.bincount(step, minlength=plan.steps)
            found.append((step, np.arange(len(step)) - np.repeat(np.cumsum(sizes) - sizes, sizes), record))
        widest = max((int(place.max()) + 1 for _, place, _ in found if len(place)), default=1)
        own_steps = np.array([plan.steps for plan in self._plans])
        held = np.full((own_steps.max(), len(found), widest), -1)
        for number, (step, place, record) in enumerate(found):
            held[step, number, place] = record
        return held, np.arange(len(held))[:, np.newaxis] < own_steps


class PrivateStackTraining(StackTraining):
    """A step clips each record's gradient, adds noise to their sum and divides by the batch size that is expected.

    See `private_training.train_private` for what is inside the guarantee and what is refused.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        assert self.settings.privacy is not None
        self.privacy = self.settings.privacy
        counts = [len(task.records) for task in self.tasks]
        self.plans = [Plan.of(count, self.settings, self.privacy) for count in counts]
        self.expected = torch.tensor([float(plan.expected) for plan in self.plans], device=self.device)
        self.batches = _PoissonBatches(counts, self.plans)
        drawn_from = [randomness(self.privacy, task, self.device) for task in self.tasks]
        self.sampling, self.sources = zip(*drawn_from, strict=True)
        weights = sum(tensor[0].numel() for tensor in self.weights.values())
        self.noise = torch.zeros(len(self.tasks), weights, device=self.device)

    def _gradients(self) -> Callable[..., torch.Tensor]:
        """Linear networks' buffers are as wide as an epoch's widest batch: `_batches` makes those that are used."""
        if self.architecture.linear:
            return super()._gradients()
        assert self.settings.privacy is not None
        module = structure(self.name, self.shape, self.num_classes)
        return RecordGradients(self.weights, module, self.settings.privacy.clip)

    def run(self) -> Stack:
        """As `StackTraining.run`; each network knows the epsilon it spent."""
        return replace(super().run(), epsilon=np.array([plan.epsilon for plan in self.plans]))

    def _batches(self, epoch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        drawn, stepping = self.batches.draw(self.sampling)
        held = torch.from_numpy(drawn).to(self.device)
        if self.architecture.linear:
            self.gradients = LinearGradients(self.weights, held.shape[2], self.privacy.clip)
        self.to_come = iter(stepping)
        return held, (held >= 0).float(), torch.from_numpy(stepping).to(self.device)

    def _move(self, batch: torch.Tensor, counts: torch.Tensor, stepping: torch.Tensor, everyone: bool) -> None:
        # A model draws for its own steps only, so that its noise is the same whoever trains on beside it.
        for own, source, plan, steps in zip(self.noise, self.sources, self.plans, next(self.to_come), strict=True):
            if steps:
                own.normal_(generator=source).mul_(plan.sigma * self.privacy.clip)
        sizes = [tensor[0].numel() for tensor in self.weights.values()]
        for tensor, noise in zip(self.weights.values(), self.noise.split(sizes, dim=1), strict=True):
            assert tensor.grad is not None
            tensor.grad.add_(noise.view_as(tensor)).div_(as_models(self.expected, tensor))
        super()._move(batch, counts, stepping, everyone)

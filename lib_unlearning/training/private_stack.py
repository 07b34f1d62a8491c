"""DP-SGD for stacks of linear networks (paper section 6): as `private_training`, for many networks at once.

Each model has batches and noise of its own sources, whatever else is in the stack; what is accounted for is Opacus'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from lib_unlearning.dataset import Dataset
from lib_unlearning.training.ensemble import StackTraining
from lib_unlearning.training.linear_gradients import LinearGradients
from lib_unlearning.training.network_stack import Stack
from lib_unlearning.training.privacy_budget import check_delta, noise_for, randomness, schedule, spent_epsilon
from lib_unlearning.training.tasks import Privacy, TrainingSettings, TrainingTask


class _PoissonBatches:
    """Batches in which each record stands with the sampling rate, independently of the others."""

    def __init__(self, counts: Sequence[int], rates: Sequence[float], steps: Sequence[int]) -> None:
        self._counts, self._rates, self._own_steps = counts, rates, np.array(steps)

    def draw(self, sources: Sequence[torch.Generator]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers within each task's records, -1 for none [steps, M, b], and which models take a step [steps, M]."""
        found = []
        for count, rate, own, source in zip(self._counts, self._rates, self._own_steps, sources, strict=True):
            step, record = np.nonzero((torch.rand(own, count, generator=source) < rate).numpy())
            sizes = np.bincount(step, minlength=own)
            found.append((step, np.arange(len(step)) - np.repeat(np.cumsum(sizes) - sizes, sizes), record))
        widest = max((int(place.max()) + 1 for _, place, _ in found if len(place)), default=1)
        held = np.full((self._own_steps.max(), len(found), widest), -1)
        for number, (step, place, record) in enumerate(found):
            held[step, number, place] = record
        return held, np.arange(len(held))[:, np.newaxis] < self._own_steps


class _PrivateStackTraining(StackTraining):
    """A step clips each record's gradient, adds noise to their sum and divides by the batch size that is expected."""

    def __init__(self, privacy: Privacy, *given: object) -> None:
        self.privacy = privacy
        super().__init__(*given)  # type: ignore[arg-type]
        counts = [len(task.records) for task in self.tasks]
        plans = [schedule(count, self.settings, privacy) for count in counts]
        for count in counts:
            check_delta(count, privacy)
        spent = [(rate, steps * self.settings.num_epochs) for rate, steps in plans]
        sigmas = [noise_for(privacy, *own) for own in spent]
        self.epsilon = np.array([spent_epsilon(privacy, sigma, *own) for sigma, own in zip(sigmas, spent, strict=True)])
        expected = [max(1, round(rate * count)) for (rate, _), count in zip(plans, counts, strict=True)]
        self.deviation = torch.tensor(sigmas, device=self.device) * privacy.clip  # [M]
        self.expected = torch.tensor(expected, dtype=torch.float32, device=self.device)
        self.batches = _PoissonBatches(counts, [rate for rate, _ in plans], [steps for _, steps in plans])
        sources = [randomness(privacy, task, self.device) for task in self.tasks]
        self.sampling, self.sources = zip(*sources, strict=True)
        weights = sum(tensor[0].numel() for tensor in self.weights.values())
        self.noise = torch.empty(len(self.tasks), weights, device=self.device)

    def _batches(self, epoch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        drawn, stepping = self.batches.draw(self.sampling)
        held = torch.from_numpy(drawn).to(self.device)
        self.gradients = LinearGradients(self.weights, held.shape[2], self.privacy.clip)
        self.to_come = iter(stepping)
        return held, (held >= 0).float(), torch.from_numpy(stepping).to(self.device)

    def _move(self, batch: torch.Tensor, counts: torch.Tensor, stepping: torch.Tensor, everyone: bool) -> None:
        # A model draws for its own steps only, so that its noise is the same whoever trains on beside it.
        for own, source, steps in zip(self.noise, self.sources, next(self.to_come), strict=True):
            if steps:
                own.normal_(generator=source)
        self.noise.mul_(self.deviation.unsqueeze(1))
        sizes = [tensor[0].numel() for tensor in self.weights.values()]
        for tensor, noise in zip(self.weights.values(), self.noise.split(sizes, dim=1), strict=True):
            assert tensor.grad is not None
            shares = self.expected.reshape(-1, *[1] * (tensor.dim() - 1))
            tensor.grad.add_(noise.view_as(tensor)).div_(shares)
        super()._move(batch, counts, stepping, everyone)


def train_private_stack(
    dataset: Dataset,
    name: str,
    tasks: Sequence[TrainingTask],
    settings: TrainingSettings,
    device: str,
    held_out: np.ndarray,
) -> Stack:
    """Train one network a task with DP-SGD, all of them together; each knows the epsilon it spent.

    See `private_training.train_private` for what is inside the guarantee and what is refused.
    """
    assert settings.privacy is not None
    training = _PrivateStackTraining(settings.privacy, dataset, name, tasks, settings, device, held_out)
    return replace(training.run(), epsilon=training.epsilon)

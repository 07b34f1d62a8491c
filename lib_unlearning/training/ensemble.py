"""Training many networks of one architecture at once, as stacked parameters (M models, b records a batch).

A leakage study trains hundreds of near-identical small networks. One by one, each step is too little work for the
machine; stacked, the same step serves them all. Each model keeps its own records, order, seed and step count, and its
result equals training it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch.nn import functional

from lib_unlearning.dataset import Dataset
from lib_unlearning.training.graphs import Replayed
from lib_unlearning.training.linear_gradients import LinearGradients
from lib_unlearning.training.network_stack import Stack, Weights, forward, standardised
from lib_unlearning.training.networks import ARCHITECTURES, fresh_weights
from lib_unlearning.training.orders import Orders, base_keys, dropout_masks, padded
from lib_unlearning.training.stacked_optimizer import StackedOptimizer, as_models
from lib_unlearning.training.steps import check_epoch, moments, records_of
from lib_unlearning.training.tasks import TrainingSettings, TrainingTask

_NOBODY = np.array([], dtype=np.int64)


class _Objective:
    """Weights and targets of tasks that have some, as padded arrays [M, n] and [M, n, c] on the device."""

    def __init__(self, weights: torch.Tensor, targets: torch.Tensor) -> None:
        self._weights, self._targets = weights, targets

    @staticmethod
    def of(tasks: Sequence[TrainingTask], dataset: Dataset, device: str) -> _Objective | None:
        """None where all tasks learn their labels."""
        if all(task.weights is None and task.targets is None for task in tasks):
            return None
        longest = max(len(task.records) for task in tasks)
        weights = np.zeros((len(tasks), longest), dtype=np.float32)
        targets = np.zeros((len(tasks), longest, dataset.num_classes), dtype=np.float32)
        for number, task in enumerate(tasks):
            count = len(task.records)
            weights[number, :count] = 1.0 if task.weights is None else task.weights
            plain = np.eye(dataset.num_classes, dtype=np.float32)
            targets[number, :count] = plain[dataset.labels[task.records]] if task.targets is None else task.targets
        return _Objective(torch.from_numpy(weights).to(device), torch.from_numpy(targets).to(device))

    def of_batch(self, within: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights [M, b] and targets [M, b, c] of each model's records, by their numbers within its task [M, b]."""
        models = torch.arange(len(within), device=within.device).unsqueeze(1)
        return self._weights[models, within], self._targets[models, within]


class _Watch:
    """Sums of the steps whose batch held a record of a group, for tasks that have groups: name -> [M, T, ...]."""

    def __init__(self, tasks: Sequence[TrainingTask], everyone: np.ndarray, weights: Weights) -> None:
        groups = max(len(task.watched) for task in tasks)
        held = np.zeros((len(tasks), len(everyone), groups), dtype=bool)
        for number, task in enumerate(tasks):
            for group, records in enumerate(task.watched):
                held[number, :, group] = np.isin(everyone, records)
        first = next(iter(weights.values()))
        self._held = torch.from_numpy(held).to(first.device)  # [M, E, T]
        self._models = torch.arange(len(tasks), device=first.device).unsqueeze(1)
        self.updates = {name: first.new_zeros(len(tasks), groups, *part.shape[1:]) for name, part in weights.items()}

    @torch.no_grad()
    def add(self, batch: torch.Tensor, counts: torch.Tensor, before: Weights, after: Weights) -> None:
        """A step on the inputs' rows [M, b] that count."""
        touched = (self._held[self._models, batch] & counts.unsqueeze(2)).any(dim=1)  # [M, T]
        if touched.any():
            for name, kept in self.updates.items():
                kept += as_models(touched, kept) * (after[name] - before[name]).unsqueeze(1)


class StackTraining:
    """Trains one network a task, all of them together; everything a step needs lies on the device.

    On a CUDA device steps are replayed from a graph (`graphs.Replayed`), as long as all models take them.
    """

    def __init__(
        self,
        dataset: Dataset,
        name: str,
        tasks: Sequence[TrainingTask],
        settings: TrainingSettings,
        device: str,
        held_out: np.ndarray,
    ) -> None:
        self.name, self.tasks, self.settings, self.device = name, tasks, settings, device
        self.architecture = ARCHITECTURES[name]
        self.shape, self.num_classes = tuple(dataset.features.shape[1:]), dataset.num_classes
        everyone = np.unique(np.concatenate([held_out, *(task.records for task in tasks)]))
        self.positions = [np.searchsorted(everyone, task.records) for task in tasks]
        self.rows = padded(self.positions, 0).to(device)  # [M, n]
        self.held_out = torch.from_numpy(np.searchsorted(everyone, held_out)).to(device)
        self.inputs = torch.from_numpy(records_of(dataset, self.architecture, everyone)).to(device)
        self.labels = torch.from_numpy(np.array(dataset.labels[everyone])).to(device)
        self.records = torch.from_numpy(everyone.astype(np.int64)).to(device)
        self.mean: torch.Tensor | None = None
        self.std: torch.Tensor | None = None
        if not self.architecture.for_images:
            self.mean, self.std = self._moments()
        self.objective = _Objective.of(tasks, dataset, device)
        self.weights = self._initial_weights()
        self.masks = self._masks()
        self.watch = _Watch(tasks, everyone, self.weights) if any(task.watched for task in tasks) else None
        self.rate = settings.lr or self.architecture.learning_rate
        self.optimizer = StackedOptimizer(settings.optim, self.rate, self.weights)
        self.gradients = self._gradients()
        self.seeds = [task.seed for task in tasks]
        self.dropout = base_keys(self.seeds).to(device) if self.architecture.dropout_units else None
        self.total = torch.zeros(len(tasks), 2, device=device)  # loss and right answers of an epoch
        # Watching looks at what a step did, and DP-SGD draws from each model's own source.
        graphed = device.startswith("cuda") and self.watch is None and settings.privacy is None
        self.step: Callable[..., None] = Replayed(self._whole_step, device) if graphed else self._whole_step

    def _gradients(self) -> Callable[..., torch.Tensor]:
        """What sets the weights' gradients and returns the logits; see `_autograd`."""
        if self.architecture.linear and not self.settings.amp:
            return LinearGradients(self.weights, self.settings.batch_size)
        return self._autograd

    def _moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation [M, d]; a network that is trained on keeps those that it began with."""
        mean, std = moments(self.inputs, self.positions)
        for number, task in enumerate(self.tasks):
            if task.start is not None:
                begun, row = task.start.stack, task.start.index
                mean[number], std[number] = begun.mean[row], begun.std[row]
        return mean, std

    def _initial_weights(self) -> Weights:
        fresh: dict[int, Weights] = {}
        begun = []
        for task in self.tasks:
            if task.start is None and task.seed not in fresh:
                own = fresh_weights(self.architecture, self.shape, self.num_classes, task.seed)
                fresh[task.seed] = {name: tensor.to(self.device) for name, tensor in own.items()}
            begun.append(fresh[task.seed] if task.start is None else task.start.weights)
        return {
            name: torch.stack([weights[name].to(self.device) for weights in begun]).requires_grad_()
            for name in begun[0]
        }

    def _masks(self) -> Weights | None:
        """Name -> [M, ...] of the weights that may move; None where all may."""
        if all(task.mask is None for task in self.tasks):
            return None
        found = {}
        for name, tensor in self.weights.items():
            own = [np.ones(tensor.shape[1:]) if task.mask is None else task.mask[name] for task in self.tasks]
            found[name] = torch.from_numpy(np.stack(own)).to(tensor)
        return found

    def run(self) -> Stack:
        """Train for all epochs; raises `UserError` when a loss is no longer finite."""
        history = np.zeros((len(self.tasks), self.settings.num_epochs, 3))
        try:
            for epoch in range(self.settings.num_epochs):
                history[:, epoch, :2] = self._epoch(epoch)
                history[:, epoch, 2] = self._held_out_accuracy()
                check_epoch(self.name, self.settings, self.rate, epoch, history[:, epoch])
        finally:
            del self.step, self.gradients  # they refer to this object, which would keep the device's memory
        kept = {key: tensor.detach().cpu() for key, tensor in self.weights.items()}
        mean, std = (None if part is None else part.cpu() for part in (self.mean, self.std))
        seeds = np.array([task.seed for task in self.tasks], dtype=np.int64)
        updates = None if self.watch is None else {name: part.cpu() for name, part in self.watch.updates.items()}
        found = Stack(self.name, self.shape, self.num_classes, kept, mean, std, seeds, history, self.device)
        return replace(found, updates=updates)

    @cached_property
    def _orders(self) -> Orders:
        return Orders(self.tasks, self.settings.batch_size, self.device)

    def _batches(self, epoch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Numbers within each task's records, -1 for none, weights of their losses [steps, M, b], and which models take
        a step [steps, M]."""
        held, share = self._orders.epoch(epoch)
        return held, share, (held >= 0).any(dim=2)

    def _epoch(self, epoch: int) -> np.ndarray:
        """One pass of every model over its records; mean loss and accuracy [M, 2]."""
        held, share, stepping = self._batches(epoch)
        self._begin(epoch)
        for number, everyone in enumerate(stepping.all(dim=1).tolist()):
            batch = held[number], share[number], stepping[number]
            if everyone and self.optimizer.in_step:
                self.step(*batch)
            else:
                self._one_step(*batch, everyone)
        seen = (held >= 0).sum(dim=(0, 2)).clamp(min=1).unsqueeze(1)
        found: np.ndarray = (self.total.double() / seen).cpu().numpy()
        return found

    def _begin(self, epoch: int) -> None:
        """What steps read and add to lies in the same place in all epochs."""
        self.total.zero_()
        if self.dropout is not None:
            self.dropout.copy_(base_keys(self.seeds, "dropout", epoch))

    def _whole_step(self, held: torch.Tensor, share: torch.Tensor, stepping: torch.Tensor) -> None:
        self._one_step(held, share, stepping, True)

    def _one_step(self, held: torch.Tensor, share: torch.Tensor, stepping: torch.Tensor, everyone: bool) -> None:
        """One step of all models.

        Args:
            held: [M, b] numbers within each task's records, -1 for none. share: [M, b] weights of their losses.
            stepping: [M] which models take the step; `everyone` says that all do, so that a device need not be asked.
        """
        counts, within = held >= 0, held.clamp(min=0)
        batch = self.rows.gather(1, within)
        records = standardised(self.inputs[batch], self.mean, self.std)  # [M, b, ...]
        labels = self.labels[batch]
        masks = None
        if self.dropout is not None:
            masks = dropout_masks(self.dropout, self.records[batch], self.architecture.dropout_units)
        if self.objective is None:
            logits = self.gradients(records, labels, share, masks)
        else:
            weights, targets = self.objective.of_batch(within)
            logits = self.gradients(records, labels, share * weights, masks, targets)
        self._move(batch, counts, stepping, everyone)
        self.total += _outcome(logits, labels, counts)

    def _move(self, batch: torch.Tensor, counts: torch.Tensor, stepping: torch.Tensor, everyone: bool) -> None:
        """One step of the optimizer, with what tasks ask for beside it."""
        for name, mask in (self.masks or {}).items():
            gradient = self.weights[name].grad
            assert gradient is not None
            gradient.mul_(mask)
        if self.watch is None:
            self.optimizer.step(stepping, everyone)
            return
        before = {name: tensor.detach().clone() for name, tensor in self.weights.items()}
        self.optimizer.step(stepping, everyone)
        self.watch.add(batch, counts, before, self.weights)

    def _autograd(
        self,
        records: torch.Tensor,
        labels: torch.Tensor,
        share: torch.Tensor,
        masks: torch.Tensor | None,
        targets: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Set the weights' gradients and return the logits [M, b, c]; `share` [M, b] weighs the records, `targets`
        [M, b, c] take the labels' place."""
        for tensor in self.weights.values():
            tensor.grad = None
        kind = torch.device(self.device).type
        # Without the cache of casted weights, which a CUDA graph would keep from its first step.
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=self.settings.amp, cache_enabled=False):
            logits = forward(self.name, self.shape, self.num_classes, self.weights, records, masks).float()
        losses = _losses(logits, labels) if targets is None else -(targets * logits.log_softmax(dim=2)).sum(dim=2)
        (losses * share).sum().backward()
        return logits.detach()

    @torch.no_grad()
    def _held_out_accuracy(self) -> np.ndarray:
        """Accuracy [M] on the held-out records; NaN without any."""
        if not len(self.held_out):
            return np.full(len(self.tasks), np.nan)
        records = self.inputs[self.held_out].expand(len(self.tasks), *[-1] * (self.inputs.dim()))
        records = standardised(records, self.mean, self.std)
        logits = forward(self.name, self.shape, self.num_classes, self.weights, records, None)
        right = logits.argmax(dim=2) == self.labels[self.held_out]
        accuracy: np.ndarray = right.double().mean(dim=1).cpu().numpy()
        return accuracy


def _losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy [M, b] of logits [M, b, c]."""
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)


@torch.no_grad()
def _outcome(logits: torch.Tensor, labels: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Summed loss and correct answers [M, 2] of a batch's counted records."""
    right = (logits.argmax(dim=2) == labels) & counts
    return torch.stack([(_losses(logits, labels) * counts).sum(dim=1), right.sum(dim=1).float()], dim=1)


def train_stack(
    dataset: Dataset,
    name: str,
    tasks: Sequence[TrainingTask],
    settings: TrainingSettings,
    device: str,
    held_out: np.ndarray = _NOBODY,
) -> Stack:
    """Train one network a task, all of them together; raises `UserError` when a loss is no longer finite."""
    return StackTraining(dataset, name, tasks, settings, device, held_out).run()

"""Training many networks of one architecture at once, as stacked parameters (M models, b records a batch).

A leakage study trains hundreds of near-identical small networks. One by one, each step is too little work for the
machine; stacked, the same step serves them all. Each model keeps its own records, order, seed and step count, and its
result equals training it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional

from lib_unlearning.dataset import Dataset
from lib_unlearning.training.linear_gradients import LinearGradients
from lib_unlearning.training.network_stack import Stack, Weights, forward, standardised
from lib_unlearning.training.networks import ARCHITECTURES, fresh_weights
from lib_unlearning.training.record_random import base_key, keys_of, record_order
from lib_unlearning.training.steps import check_epoch, moments, records_of
from lib_unlearning.training.tasks import TrainingSettings, TrainingTask

_DROPOUT = 0.5
_NOBODY = np.array([], dtype=np.int64)


# ---------------------------------------------------------------- batches


def _epoch_batches(
    tasks: Sequence[TrainingTask], positions: Sequence[np.ndarray], epoch: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the inputs, which of them count, and each one's weight in its batch's loss, all [steps, M, b].

    Short batches and models are padded; a gap keeps its place in the batch and its share of the mean.
    """
    owned = [task.filled() for task in tasks]
    steps = max(-(-len(places) // batch_size) for places, _ in owned)
    shape = (len(tasks), steps * batch_size)
    rows, counts, places_held = (np.zeros(shape, dtype=kind) for kind in (np.int64, bool, bool))
    for number, (task, (places, holds)) in enumerate(zip(tasks, owned, strict=True)):
        held = holds[record_order(task.seed, epoch, places)]
        rows[number, : len(held)] = np.where(held < 0, 0, positions[number][held])
        counts[number, : len(held)] = held >= 0
        places_held[number, : len(held)] = True
    by_step = [part.reshape(len(tasks), steps, batch_size).swapaxes(0, 1) for part in (rows, counts, places_held)]
    share = by_step[1] / np.maximum(by_step[2].sum(axis=2, keepdims=True), 1)
    return by_step[0], by_step[1], share.astype(np.float32)


def _dropout_masks(bases: torch.Tensor, records: torch.Tensor, units: int) -> torch.Tensor:
    """Masks [M, b, units] for the records [M, b] of each model's batch; they depend on seed, epoch and record."""
    keys = keys_of(bases.unsqueeze(1), records).unsqueeze(2)  # [M, b, 1]
    uniform = (keys_of(keys, torch.arange(units, device=records.device)) >> 40) & 0xFFFFFF
    found: torch.Tensor = (uniform >= _DROPOUT * 2**24).float() / (1 - _DROPOUT)
    return found


# ---------------------------------------------------------------- optimizers


class _StackedOptimizer:
    """Adam or SGD with a step count a model; a model without a batch keeps its weights and its moments.

    As long as every model has had every step, torch's own fused optimizer does the work: elementwise, it makes no
    difference whose weight an element is. Afterwards the models' bias corrections differ.
    """

    def __init__(self, kind: str, learning_rate: float, weights: Weights) -> None:
        self.kind, self.learning_rate, self.weights = kind, learning_rate, weights
        first = next(iter(weights.values()))
        self.steps = torch.zeros(len(first), device=first.device)
        self.in_step = True
        fused = first.device.type in ("cpu", "cuda")
        self.optimizer = getattr(torch.optim, kind)(list(weights.values()), lr=learning_rate, fused=fused)

    @torch.no_grad()
    def step(self, had_batch: torch.Tensor, everyone: bool) -> None:
        """Update the weights [M, ...] by their gradients; had_batch [M] marks the models that had a batch, `everyone`
        says the same of all, so that a device need not be asked."""
        self.in_step = self.in_step and everyone
        self.steps += had_batch
        if self.in_step:
            self.optimizer.step()
            return
        for tensor in self.weights.values():
            assert tensor.grad is not None
            share = _as(had_batch, tensor)
            update = self._adam(tensor, tensor.grad, share) if self.kind == "Adam" else tensor.grad
            tensor.sub_(update * share, alpha=self.learning_rate)

    def _adam(self, tensor: torch.Tensor, gradient: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        state = self.optimizer.state[tensor]
        if not state:  # not even the first step was everybody's
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        first, second = state["exp_avg"], state["exp_avg_sq"]
        first.add_((gradient - first) * share, alpha=1 - 0.9)
        second.add_((gradient * gradient - second) * share, alpha=1 - 0.999)
        steps = self.steps.clamp(min=1)
        corrected = (second / _as(1 - 0.999**steps, second)).sqrt_().add_(1e-8)
        found: torch.Tensor = first / _as(1 - 0.9**steps, first) / corrected
        return found


def _as(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Values of models [M], or of their groups [M, T], shaped to be multiplied with [M, ...] or [M, T, ...]."""
    return values.reshape(*values.shape, *[1] * (like.dim() - values.dim())).to(like.dtype)


# ---------------------------------------------------------------- a stack


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
                kept += _as(touched, kept) * (after[name] - before[name]).unsqueeze(1)


class _StackTraining:
    """Trains one network a task, all of them together; everything a step needs lies on the device."""

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
        self.optimizer = _StackedOptimizer(settings.optim, self.rate, self.weights)
        self.gradients: Callable[..., torch.Tensor] = (
            LinearGradients(self.weights, settings.batch_size)
            if self.architecture.linear and not settings.amp
            else self._autograd
        )

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
            if task.start is not None:
                begun.append(task.start.weights)
                continue
            if task.seed not in fresh:
                fresh[task.seed] = fresh_weights(self.architecture, self.shape, self.num_classes, task.seed)
            begun.append(fresh[task.seed])
        return {
            name: torch.stack([weights[name] for weights in begun]).to(self.device).requires_grad_()
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
        for epoch in range(self.settings.num_epochs):
            history[:, epoch, :2] = self._epoch(epoch)
            history[:, epoch, 2] = self._held_out_accuracy()
            check_epoch(self.name, self.settings, self.rate, epoch, history[:, epoch])
        kept = {key: tensor.detach().cpu() for key, tensor in self.weights.items()}
        mean, std = (None if part is None else part.cpu() for part in (self.mean, self.std))
        seeds = np.array([task.seed for task in self.tasks], dtype=np.int64)
        updates = None if self.watch is None else {name: part.cpu() for name, part in self.watch.updates.items()}
        found = Stack(self.name, self.shape, self.num_classes, kept, mean, std, seeds, history, self.device)
        return replace(found, updates=updates)

    def _epoch(self, epoch: int) -> np.ndarray:
        """One pass of every model over its records; mean loss and accuracy [M, 2]."""
        rows, counted, share = _epoch_batches(self.tasks, self.positions, epoch, self.settings.batch_size)
        within = None
        if self.objective is not None:
            own = [np.arange(len(task.records)) for task in self.tasks]
            within = torch.from_numpy(_epoch_batches(self.tasks, own, epoch, self.settings.batch_size)[0])
            within = within.to(self.device)
        active = np.asarray(counted.any(axis=2))  # [steps, M]
        arrays = (rows, counted, share, active)
        on_device = [torch.from_numpy(part).to(self.device) for part in arrays]
        units, bases = self.architecture.dropout_units, self._dropout_bases(epoch)
        total = torch.zeros(len(self.tasks), 2, device=self.device)
        for step, (batch, counts, weight, had_batch) in enumerate(zip(*on_device, strict=True)):
            records = standardised(self.inputs[batch], self.mean, self.std)  # [M, b, ...]
            labels = self.labels[batch]
            masks = None if bases is None else _dropout_masks(bases, self.records[batch], units)
            if self.objective is None or within is None:
                logits = self.gradients(records, labels, weight, masks)
            else:
                weights, targets = self.objective.of_batch(within[step])
                logits = self.gradients(records, labels, weight * weights, masks, targets)
            self._move(batch, counts, had_batch, bool(active[step].all()))
            total += _outcome(logits, labels, counts)
        found: np.ndarray = total.cpu().numpy() / np.array([[len(task.records)] for task in self.tasks])
        return found

    def _move(self, batch: torch.Tensor, counts: torch.Tensor, had_batch: torch.Tensor, everyone: bool) -> None:
        """One step of the optimizer, with what tasks ask for beside it."""
        for name, mask in (self.masks or {}).items():
            gradient = self.weights[name].grad
            assert gradient is not None
            gradient.mul_(mask)
        if self.watch is None:
            self.optimizer.step(had_batch, everyone)
            return
        before = {name: tensor.detach().clone() for name, tensor in self.weights.items()}
        self.optimizer.step(had_batch, everyone)
        self.watch.add(batch, counts, before, self.weights)

    def _dropout_bases(self, epoch: int) -> torch.Tensor | None:
        if not self.architecture.dropout_units:
            return None
        bases = [base_key(task.seed, "dropout", epoch) for task in self.tasks]
        return torch.tensor(bases, dtype=torch.int64, device=self.device)

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
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=self.settings.amp):
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
    return _StackTraining(dataset, name, tasks, settings, device, held_out).run()

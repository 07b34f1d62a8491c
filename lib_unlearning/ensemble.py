"""Training many networks of one architecture at once, as stacked parameters (M models, b records a batch).

A leakage study trains hundreds of near-identical small networks. One by one, each step is too little work for the
machine; stacked, the same step serves them all. Each model keeps its own records, order, seed and step count, and its
result equals training it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lib_unlearning.dataset import Dataset
from lib_unlearning.device import find_device, is_out_of_memory, make_reproducible, release, suitable_stack
from lib_unlearning.linear_gradients import LinearGradients
from lib_unlearning.network_stack import NetworkModel, Stack, Weights, forward, standardised
from lib_unlearning.networks import ARCHITECTURES, Architecture, fresh_weights
from lib_unlearning.record_random import base_key, keys_of, record_order
from lib_unlearning.unlearning import FitJob, ModelTrainer, TrainingSettings
from utils import LOGGER, UserError

_DROPOUT = 0.5
_NOBODY = np.array([], dtype=np.int64)


# ---------------------------------------------------------------- batches


def _epoch_batches(
    jobs: Sequence[FitJob], positions: Sequence[np.ndarray], epoch: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the inputs [steps, M, b] and which of them count [steps, M, b]; short batches and models are padded."""
    steps = max(-(-len(job.records) // batch_size) for job in jobs)
    rows = np.zeros((len(jobs), steps * batch_size), dtype=np.int64)
    counts = np.zeros((len(jobs), steps * batch_size), dtype=bool)
    for number, job in enumerate(jobs):
        size = len(job.records)
        rows[number, :size] = positions[number][record_order(job.seed, epoch, job.records)]
        counts[number, :size] = True
    shape = (len(jobs), steps, batch_size)
    return rows.reshape(shape).swapaxes(0, 1), counts.reshape(shape).swapaxes(0, 1)


def moments(inputs: torch.Tensor, positions: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation [M, d] of each model's training records; a constant column is left as it is."""
    means, deviations = [], []
    for rows in positions:
        part = inputs[torch.from_numpy(rows).to(inputs.device)].double()
        deviation = part.std(dim=0, correction=0)
        means.append(part.mean(dim=0))
        deviations.append(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))
    return torch.stack(means).float(), torch.stack(deviations).float()


def _dropout_masks(bases: torch.Tensor, records: torch.Tensor, units: int) -> torch.Tensor:
    """Masks [M, b, units] for the records [M, b] of each model's batch; they depend on seed, epoch and record."""
    keys = keys_of(bases.unsqueeze(1), records).unsqueeze(2)  # [M, b, 1]
    uniform = (keys_of(keys, torch.arange(units, device=records.device)) >> 40) & 0xFFFFFF
    return (uniform >= _DROPOUT * 2**24).float() / (1 - _DROPOUT)


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
        return first / _as(1 - 0.9**steps, first) / corrected


def _as(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A value a model [M], shaped to be multiplied with [M, ...]."""
    return values.reshape(-1, *[1] * (like.dim() - 1)).to(like.dtype)


# ---------------------------------------------------------------- a stack


class _StackTraining:
    """Trains one network a job, all of them together; everything a step needs lies on the device."""

    def __init__(
        self,
        dataset: Dataset,
        name: str,
        jobs: Sequence[FitJob],
        settings: TrainingSettings,
        device: str,
        held_out: np.ndarray,
    ) -> None:
        self.name, self.jobs, self.settings, self.device = name, jobs, settings, device
        self.architecture = ARCHITECTURES[name]
        self.shape, self.num_classes = tuple(dataset.features.shape[1:]), dataset.num_classes
        everyone = np.unique(np.concatenate([held_out, *(job.records for job in jobs)]))
        self.positions = [np.searchsorted(everyone, job.records) for job in jobs]
        self.held_out = torch.from_numpy(np.searchsorted(everyone, held_out)).to(device)
        self.inputs = torch.from_numpy(_look(dataset, self.architecture, everyone)).to(device)
        self.labels = torch.from_numpy(np.array(dataset.labels[everyone])).to(device)
        self.records = torch.from_numpy(everyone.astype(np.int64)).to(device)
        self.mean: torch.Tensor | None = None
        self.std: torch.Tensor | None = None
        if not self.architecture.for_images:
            self.mean, self.std = moments(self.inputs, self.positions)
        self.weights = self._initial_weights()
        self.rate = settings.lr or self.architecture.learning_rate
        self.optimizer = _StackedOptimizer(settings.optim, self.rate, self.weights)
        self.gradients: Callable[..., torch.Tensor] = (
            LinearGradients(self.weights, settings.batch_size)
            if self.architecture.linear and not settings.amp
            else self._autograd
        )

    def _initial_weights(self) -> Weights:
        seeds = [job.seed for job in self.jobs]
        fresh = {seed: fresh_weights(self.architecture, self.shape, self.num_classes, seed) for seed in set(seeds)}
        return {
            name: torch.stack([fresh[seed][name] for seed in seeds]).to(self.device).requires_grad_()
            for name in fresh[seeds[0]]
        }

    def run(self) -> Stack:
        """Train for all epochs; raises `UserError` when a loss is no longer finite."""
        history = np.zeros((len(self.jobs), self.settings.num_epochs, 3))
        for epoch in range(self.settings.num_epochs):
            history[:, epoch, :2] = self._epoch(epoch)
            history[:, epoch, 2] = self._held_out_accuracy()
            check_epoch(self.name, self.settings, self.rate, epoch, history[:, epoch])
        kept = {key: tensor.detach().cpu() for key, tensor in self.weights.items()}
        mean, std = (None if part is None else part.cpu() for part in (self.mean, self.std))
        seeds = np.array([job.seed for job in self.jobs], dtype=np.int64)
        return Stack(self.name, self.shape, self.num_classes, kept, mean, std, seeds, history, self.device)

    def _epoch(self, epoch: int) -> np.ndarray:
        """One pass of every model over its records; mean loss and accuracy [M, 2]."""
        rows, counted = _epoch_batches(self.jobs, self.positions, epoch, self.settings.batch_size)
        active = np.asarray(counted.any(axis=2))  # [steps, M]
        share = counted / np.maximum(counted.sum(axis=2, keepdims=True), 1)
        arrays = (rows, counted, share.astype(np.float32), active)
        on_device = [torch.from_numpy(part).to(self.device) for part in arrays]
        units, bases = self.architecture.dropout_units, self._dropout_bases(epoch)
        total = torch.zeros(len(self.jobs), 2, device=self.device)
        for step, (batch, counts, weight, had_batch) in enumerate(zip(*on_device, strict=True)):
            records = standardised(self.inputs[batch], self.mean, self.std)  # [M, b, ...]
            labels = self.labels[batch]
            masks = None if bases is None else _dropout_masks(bases, self.records[batch], units)
            logits = self.gradients(records, labels, weight, masks)
            self.optimizer.step(had_batch, bool(active[step].all()))
            total += _outcome(logits, labels, counts)
        return total.cpu().numpy() / np.array([[len(job.records)] for job in self.jobs])

    def _dropout_bases(self, epoch: int) -> torch.Tensor | None:
        if not self.architecture.dropout_units:
            return None
        bases = [base_key(job.seed, "dropout", epoch) for job in self.jobs]
        return torch.tensor(bases, dtype=torch.int64, device=self.device)

    def _autograd(
        self, records: torch.Tensor, labels: torch.Tensor, share: torch.Tensor, masks: torch.Tensor | None
    ) -> torch.Tensor:
        """Set the weights' gradients and return the logits [M, b, c]; `share` [M, b] weighs the records."""
        for tensor in self.weights.values():
            tensor.grad = None
        kind = torch.device(self.device).type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=self.settings.amp):
            logits = forward(self.name, self.shape, self.num_classes, self.weights, records, masks).float()
        (_losses(logits, labels) * share).sum().backward()
        return logits.detach()

    @torch.no_grad()
    def _held_out_accuracy(self) -> np.ndarray:
        """Accuracy [M] on the held-out records; NaN without any."""
        if not len(self.held_out):
            return np.full(len(self.jobs), np.nan)
        records = self.inputs[self.held_out].expand(len(self.jobs), *[-1] * (self.inputs.dim()))
        records = standardised(records, self.mean, self.std)
        logits = forward(self.name, self.shape, self.num_classes, self.weights, records, None)
        right = logits.argmax(dim=2) == self.labels[self.held_out]
        accuracy: np.ndarray = right.double().mean(dim=1).cpu().numpy()
        return accuracy


def _look(dataset: Dataset, architecture: Architecture, records: np.ndarray) -> np.ndarray:
    found = dataset.images(records) if architecture.for_images else dataset.rows(records)
    return np.ascontiguousarray(found, dtype=np.float32)


def _losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy [M, b] of logits [M, b, c]."""
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)


@torch.no_grad()
def _outcome(logits: torch.Tensor, labels: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Summed loss and correct answers [M, 2] of a batch's counted records."""
    right = (logits.argmax(dim=2) == labels) & counts
    return torch.stack([(_losses(logits, labels) * counts).sum(dim=1), right.sum(dim=1).float()], dim=1)


def check_epoch(name: str, settings: TrainingSettings, rate: float, epoch: int, measured: np.ndarray) -> None:
    """Log an epoch's loss and accuracies [M, 3]; raises `UserError` when the loss is not finite."""
    if not np.isfinite(measured[:, :2]).all():
        raise UserError(
            f"--original_model {name}: the loss is not finite in epoch {epoch + 1} "
            f"(--optim {settings.optim}, --lr {rate:g}, --batch_size {settings.batch_size}); lower --lr"
        )
    LOGGER.debug(
        "%s, epoch %d: training loss %.4f, accuracy %.3f, held out %.3f", name, epoch + 1, *measured.mean(axis=0)
    )


# ---------------------------------------------------------------- one by one


def train_alone(
    dataset: Dataset, name: str, job: FitJob, settings: TrainingSettings, device: str, held_out: np.ndarray
) -> Stack:
    """Train one network with batch norm by torch's own optimizer; a stack of one."""
    architecture = ARCHITECTURES[name]
    shape = dataset.features.shape[1:]
    module = architecture.build(shape, dataset.num_classes)
    module.load_state_dict(fresh_weights(architecture, shape, dataset.num_classes, job.seed))
    module.to(device)
    inputs = torch.from_numpy(dataset.images(job.records)).to(device)
    labels = torch.from_numpy(np.array(dataset.labels[job.records])).to(device)
    rate = settings.lr or architecture.learning_rate
    optimizer = getattr(torch.optim, settings.optim)(module.parameters(), lr=rate)
    history = np.zeros((1, settings.num_epochs, 3))
    for epoch in range(settings.num_epochs):
        order = torch.from_numpy(record_order(job.seed, epoch, job.records)).to(device)
        module.train()
        for batch in order.split(settings.batch_size):
            if len(batch) > 1:  # batch norm cannot learn from a single record
                history[0, epoch, :2] += module_step(module, optimizer, inputs[batch], labels[batch], settings.amp)
        history[0, epoch, :2] /= len(job.records)
        history[0, epoch, 2] = module_accuracy(module, dataset, name, held_out, device)
        check_epoch(name, settings, rate, epoch, history[:, epoch])
    weights = {key: tensor.detach().cpu().unsqueeze(0) for key, tensor in module.state_dict().items()}
    return Stack(name, tuple(shape), dataset.num_classes, weights, None, None, np.array([job.seed]), history, device)


def module_step(
    module: nn.Module, optimizer: torch.optim.Optimizer, records: torch.Tensor, labels: torch.Tensor, amp: bool = False
) -> np.ndarray:
    """One gradient step; summed loss and correct answers [2] of the batch [b, ...]."""
    optimizer.zero_grad()
    with torch.autocast(records.device.type, dtype=torch.bfloat16, enabled=amp):
        logits = module(records).float()
    loss = functional.cross_entropy(logits, labels)
    loss.backward()
    optimizer.step()
    return np.array([float(loss.detach()) * len(labels), float((logits.argmax(dim=1) == labels).sum())])


@torch.no_grad()
def module_accuracy(
    module: nn.Module,
    dataset: Dataset,
    name: str,
    held_out: np.ndarray,
    device: str,
    moments: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None),
) -> float:
    """Accuracy of a module on held-out records [h], moments [1, d] of a table's training records; NaN without any."""
    if not len(held_out):
        return float("nan")
    module.eval()
    records = torch.from_numpy(_look(dataset, ARCHITECTURES[name], held_out)).unsqueeze(0)
    logits = module(standardised(records, *moments)[0].to(device))
    return float((logits.argmax(dim=1).cpu().numpy() == dataset.labels[held_out]).mean())


# ---------------------------------------------------------------- many jobs


class NetworkTrainer(ModelTrainer):
    """Trains networks for any number of jobs, as many at a time as memory allows.

    Args:
        held_out: [h] records that are never trained on; each epoch's accuracy on them is part of the history.

    Raises:
        UserError: the network does not fit the kind of data, or the device is not there.
    """

    def __init__(
        self, dataset: Dataset, model_name: str, settings: TrainingSettings, held_out: np.ndarray = _NOBODY
    ) -> None:
        super().__init__(dataset, model_name)
        check_data(dataset, model_name)
        self.settings = settings
        self.held_out = held_out
        self.device = find_device(settings.device)
        self.size = settings.ensemble_size or suitable_stack(
            ARCHITECTURES[model_name], dataset.features.shape[1:], dataset.num_classes, settings.batch_size, self.device
        )

    def fit(self, jobs: Sequence[FitJob]) -> list[NetworkModel]:
        """One trained network a job; when a device runs out of memory, fewer at a time.

        Raises:
            UserError: not even one network fits, or a loss is no longer finite.
        """
        make_reproducible(self.device)
        stackable = ARCHITECTURES[self.model_name].stackable and self.settings.privacy is None
        models: list[NetworkModel] = []
        while len(models) < len(jobs):
            part = jobs[len(models) : len(models) + (self.size if stackable else 1)]
            try:
                stack = self._train(part, stackable)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._shrink(len(part))
                continue
            models += [NetworkModel(stack, index) for index in range(len(part))]
        return models

    def _train(self, jobs: Sequence[FitJob], stackable: bool) -> Stack:
        if stackable:
            return train_stack(self.dataset, self.model_name, jobs, self.settings, self.device, self.held_out)
        if self.settings.privacy is None:
            return train_alone(self.dataset, self.model_name, jobs[0], self.settings, self.device, self.held_out)
        from lib_unlearning.private_training import train_private

        return train_private(self.dataset, self.model_name, jobs[0], self.settings, self.device, self.held_out)

    def _shrink(self, tried: int) -> None:
        if tried == 1:
            raise UserError(
                f"--original_model {self.model_name}: not even one network fits into the memory of {self.device}; "
                "lower --batch_size"
            )
        release(self.device)
        self.size = tried // 2
        LOGGER.warning("out of memory on %s: going on with %d networks at a time", self.device, self.size)


def train_stack(
    dataset: Dataset,
    name: str,
    jobs: Sequence[FitJob],
    settings: TrainingSettings,
    device: str,
    held_out: np.ndarray = _NOBODY,
) -> Stack:
    """Train one network a job, all of them together; raises `UserError` when a loss is no longer finite."""
    return _StackTraining(dataset, name, jobs, settings, device, held_out).run()


def check_data(dataset: Dataset, name: str) -> None:
    """Refuse an image network on a table and the reverse."""
    images = dataset.features.ndim == 4
    if images and not ARCHITECTURES[name].for_images:
        raise UserError(f"--original_model {name} learns from tables; {dataset.name} holds images: use scnn")
    if ARCHITECTURES[name].for_images and not images:
        raise UserError(f"--original_model {name} learns from images; {dataset.name} is a table: use MLPTorch")

"""Training many networks of one architecture at once, as stacked parameters (M models, b records a batch).

A leakage study trains hundreds of near-identical small networks. One by one, each step is too little work for the
machine; stacked, the same step serves them all. Each model keeps its own records, order, seed and step count, and its
result equals training it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.nn import functional

import utils
from lib_unlearning.dataset import Dataset
from lib_unlearning.networks import ARCHITECTURES, Architecture, fresh_weights
from lib_unlearning.unlearning import FitJob, ModelTrainer, TrainingSettings
from utils import LOGGER, UserError

Weights = dict[str, torch.Tensor]

# More models in a stack do not pay on a CPU, whose caches they leave (benchmarks/ensemble.py).
_CPU_STACK = 8
_GPU_STACK = 128
_QUERY_ROWS = 512  # records a model is asked about at once
_DROPOUT = 0.5


@dataclass(frozen=True)
class Stack:
    """M trained networks of one architecture.

    Attributes:
        architecture: name in ARCHITECTURES.
        shape: of one record. num_classes: c.
        weights: name -> [M, ...] float32 on the CPU.
        mean, std: [M, d] of each model's training records for tables; None for images.
        history: [M, epochs, 2] mean loss and accuracy on the training batches.
        epsilon: [M] privacy spent by DP-SGD; None for none.
    """

    architecture: str
    shape: tuple[int, ...]
    num_classes: int
    weights: Weights
    mean: torch.Tensor | None
    std: torch.Tensor | None
    history: np.ndarray
    device: str = "cpu"
    epsilon: np.ndarray | None = None

    def posteriors(self, members: Sequence[int], inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Posteriors [n_i, c] of each member for its own inputs [n_i, ...], in passes over all members together."""
        longest = max(len(rows) for rows in inputs)
        results: list[list[np.ndarray]] = [[] for _ in members]
        for start in range(0, longest, _QUERY_ROWS):
            parts = [rows[start : start + _QUERY_ROWS] for rows in inputs]
            asked = [position for position, part in enumerate(parts) if len(part)]
            for position, answer in zip(asked, self._pass(members, parts, asked), strict=True):
                results[position].append(answer)
        return [np.concatenate(parts) if parts else np.zeros((0, self.num_classes)) for parts in results]

    @torch.no_grad()
    def _pass(self, members: Sequence[int], parts: list[np.ndarray], asked: list[int]) -> list[np.ndarray]:
        width = max(len(parts[position]) for position in asked)
        batch = np.zeros((len(asked), width, *self.shape), dtype=np.float32)
        for row, position in enumerate(asked):
            batch[row, : len(parts[position])] = parts[position]
        chosen = torch.tensor([members[position] for position in asked])
        weights = {name: tensor[chosen].to(self.device) for name, tensor in self.weights.items()}
        records = torch.from_numpy(batch).to(self.device)
        if self.mean is not None and self.std is not None:
            records = _standardised(records, self.mean[chosen].to(self.device), self.std[chosen].to(self.device))
        logits = self._logits(weights, records)
        answers = torch.softmax(logits.double(), dim=2).cpu().numpy()
        return [answers[row, : len(parts[position])] for row, position in enumerate(asked)]

    def _logits(self, weights: Weights, records: torch.Tensor) -> torch.Tensor:
        if _pays(ARCHITECTURES[self.architecture], self.device):
            return forward(self.architecture, self.shape, self.num_classes, weights, records, None)
        rows = [
            forward(
                self.architecture,
                self.shape,
                self.num_classes,
                {name: tensor[row : row + 1] for name, tensor in weights.items()},
                records[row : row + 1],
                None,
            )
            for row in range(len(records))
        ]
        return torch.cat(rows)


def _pays(architecture: Architecture, device: str) -> bool:
    """Whether many networks at once are faster: on a CPU, stacked convolutions are slower than single ones."""
    return architecture.linear or device != "cpu"


@dataclass(frozen=True)
class NetworkModel:
    """One network of a stack, as every experiment sees a model."""

    stack: Stack = field(repr=False)
    index: int

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Posteriors [m, c] for features [m, ...]."""
        return self.stack.posteriors([self.index], [features])[0]

    @staticmethod
    def predict_together(
        models: Sequence[NetworkModel], records: Sequence[np.ndarray], dataset: Dataset
    ) -> list[np.ndarray]:
        """Posteriors of each network for its own records of a data set, a stack at a time."""
        answers: dict[int, np.ndarray] = {}
        for stack in {id(model.stack): model.stack for model in models}.values():
            rows = [number for number, model in enumerate(models) if model.stack is stack]
            look = dataset.images if ARCHITECTURES[stack.architecture].for_images else dataset.rows
            inputs = [look(records[number]) for number in rows]
            found = stack.posteriors([models[number].index for number in rows], inputs)
            answers.update(zip(rows, found, strict=True))
        return [answers[number] for number in range(len(models))]


def forward(
    name: str,
    shape: Sequence[int],
    num_classes: int,
    weights: Weights,
    records: torch.Tensor,
    masks: torch.Tensor | None,
) -> torch.Tensor:
    """Logits [M, b, c] of M networks for records [M, b, ...]; masks [M, b, units] switch dropout on."""
    architecture = ARCHITECTURES[name]
    if architecture.linear:
        return _linear_forward(weights, records)
    with torch.device("meta"):  # the module only lends its structure
        module = architecture.build(shape, num_classes).eval()
    if len(records) == 1 or not architecture.stackable:
        alone = [{key: tensor[row] for key, tensor in weights.items()} for row in range(len(records))]
        given = [(part,) for part in records] if masks is None else list(zip(records, masks, strict=True))
        return torch.stack([functional_call(module, *both) for both in zip(alone, given, strict=True)])
    if masks is None:
        return vmap(lambda part, rows: functional_call(module, part, (rows,)))(weights, records)
    return vmap(lambda part, rows, mask: functional_call(module, part, (rows, mask)))(weights, records, masks)


def _linear_forward(weights: Weights, records: torch.Tensor) -> torch.Tensor:
    """Linear layers with ReLU between them, as one batched product a layer."""
    layers = [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]
    values = records
    for layer in layers:
        bias = weights[f"{layer}.bias"].unsqueeze(1)  # [M, 1, out]
        values = torch.baddbmm(bias, values, weights[f"{layer}.weight"].transpose(1, 2))  # [M, b, out]
        if layer != layers[-1]:
            values = functional.relu(values)
    return values


def _standardised(records: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    return (records - mean.unsqueeze(1)) / std.unsqueeze(1)


# ---------------------------------------------------------------- order and batches


def record_order(seed: int, epoch: int, records: np.ndarray, num_records: int) -> np.ndarray:
    """The order [n] in which an epoch visits a model's records, as positions in `records`.

    Every record of the data set has a random key of its own for this seed and epoch: taking one away leaves the order
    of the others as it was.
    """
    keys = utils.spawn(seed, "order", epoch).random(num_records)
    return np.argsort(keys[records], kind="stable")


def _epoch_batches(
    jobs: Sequence[FitJob], positions: Sequence[np.ndarray], epoch: int, num_records: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the inputs [steps, M, b] and which of them count [steps, M, b]; short batches and models are padded."""
    steps = max(-(-len(job.records) // batch_size) for job in jobs)
    rows = np.zeros((len(jobs), steps * batch_size), dtype=np.int64)
    counts = np.zeros((len(jobs), steps * batch_size), dtype=bool)
    for number, job in enumerate(jobs):
        size = len(job.records)
        rows[number, :size] = positions[number][record_order(job.seed, epoch, job.records, num_records)]
        counts[number, :size] = True
    shape = (len(jobs), steps, batch_size)
    return rows.reshape(shape).swapaxes(0, 1), counts.reshape(shape).swapaxes(0, 1)


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
    def step(self, active: torch.Tensor) -> None:
        """Update the weights [M, ...] by their gradients; active [M] marks the models that had a batch."""
        self.in_step = self.in_step and bool(active.all())
        self.steps += active
        if self.in_step:
            self.optimizer.step()
            return
        for tensor in self.weights.values():
            assert tensor.grad is not None
            share = _as(active, tensor)
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


# ---------------------------------------------------------------- training


def train_stack(dataset: Dataset, name: str, jobs: Sequence[FitJob], settings: TrainingSettings, device: str) -> Stack:
    """Train one network a job, all of them together.

    Raises:
        UserError: a loss is no longer finite.
    """
    architecture = ARCHITECTURES[name]
    shape = dataset.features.shape[1:]
    everyone = np.unique(np.concatenate([job.records for job in jobs]))
    positions = [np.searchsorted(everyone, job.records) for job in jobs]
    source = dataset.images(everyone) if architecture.for_images else dataset.rows(everyone)
    inputs = torch.from_numpy(np.ascontiguousarray(source, dtype=np.float32)).to(device)
    labels = torch.from_numpy(np.array(dataset.labels[everyone])).to(device)
    mean, std = (None, None) if architecture.for_images else _moments(inputs, positions)
    weights = _initial_weights(architecture, shape, dataset.num_classes, jobs, device)
    rate = settings.lr or architecture.learning_rate
    optimizer = _StackedOptimizer(settings.optim, rate, weights)
    masks = _Masks(architecture, [job.seed for job in jobs], settings.batch_size, device)
    history = np.zeros((len(jobs), settings.num_epochs, 2))
    for epoch in range(settings.num_epochs):
        rows, counted = _epoch_batches(jobs, positions, epoch, len(dataset), settings.batch_size)
        total = torch.zeros(len(jobs), 2, device=device)
        for batch, counts in zip(torch.from_numpy(rows).to(device), torch.from_numpy(counted).to(device), strict=True):
            records = inputs[batch]  # [M, b, ...]
            if mean is not None and std is not None:
                records = _standardised(records, mean, std)
            total += _step(name, shape, dataset, weights, optimizer, records, labels[batch], counts, masks)
        sizes = np.array([len(job.records) for job in jobs])
        history[:, epoch] = total.cpu().numpy() / sizes[:, None]
        _check_epoch(name, settings, rate, epoch, history[:, epoch])
    kept = {key: tensor.detach().cpu() for key, tensor in weights.items()}
    moments = [None if part is None else part.cpu() for part in (mean, std)]
    return Stack(name, tuple(shape), dataset.num_classes, kept, moments[0], moments[1], history, device)


def _moments(inputs: torch.Tensor, positions: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation [M, d] of each model's training records; a constant column is left as it is."""
    means, deviations = [], []
    for rows in positions:
        part = inputs[torch.from_numpy(rows).to(inputs.device)].double()
        deviation = part.std(dim=0, correction=0)
        means.append(part.mean(dim=0))
        deviations.append(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))
    return torch.stack(means).float(), torch.stack(deviations).float()


def _initial_weights(
    architecture: Architecture, shape: Sequence[int], num_classes: int, jobs: Sequence[FitJob], device: str
) -> Weights:
    by_seed = {job.seed: fresh_weights(architecture, shape, num_classes, job.seed) for job in jobs}
    names = next(iter(by_seed.values()))
    return {name: torch.stack([by_seed[job.seed][name] for job in jobs]).to(device).requires_grad_() for name in names}


class _Masks:
    """Dropout masks that depend on a model's seed and its own number of steps, not on who else is in the stack."""

    def __init__(self, architecture: Architecture, seeds: Sequence[int], batch_size: int, device: str) -> None:
        self.units, self.batch_size, self.device = architecture.dropout_units, batch_size, device
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds] if self.units else []

    def draw(self, active: torch.Tensor) -> torch.Tensor | None:
        """Masks [M, b, units] for the models that have a batch; None for networks without dropout."""
        if not self.units:
            return None
        masks = torch.zeros(len(self.generators), self.batch_size, self.units)
        for row in torch.nonzero(active.cpu()).flatten().tolist():
            masks[row] = torch.rand(self.batch_size, self.units, generator=self.generators[row]) >= _DROPOUT
        return (masks / (1 - _DROPOUT)).to(self.device)


def _step(
    name: str,
    shape: Sequence[int],
    dataset: Dataset,
    weights: Weights,
    optimizer: _StackedOptimizer,
    records: torch.Tensor,
    labels: torch.Tensor,
    counts: torch.Tensor,
    masks: _Masks,
) -> torch.Tensor:
    """One gradient step of all models; summed loss and correct answers [M, 2] of the batch."""
    active = counts.any(dim=1)
    logits = forward(name, shape, dataset.num_classes, weights, records, masks.draw(active))
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels) * counts
    per_model = losses.sum(dim=1)
    (per_model / counts.sum(dim=1).clamp(min=1)).sum().backward()
    optimizer.step(active)
    for tensor in weights.values():
        tensor.grad = None
    right = ((logits.argmax(dim=2) == labels) & counts).sum(dim=1)
    return torch.stack([per_model.detach(), right.to(per_model.dtype)], dim=1)


def _check_epoch(name: str, settings: TrainingSettings, rate: float, epoch: int, measured: np.ndarray) -> None:
    loss, accuracy = measured.mean(axis=0)
    LOGGER.debug("%s, epoch %d: training loss %.4f, accuracy %.3f", name, epoch + 1, loss, accuracy)
    if not np.isfinite(measured).all():
        raise UserError(
            f"--original_model {name}: the loss is not finite in epoch {epoch + 1} "
            f"(--optim {settings.optim}, --lr {rate:g}, --batch_size {settings.batch_size}); lower --lr"
        )


def train_alone(dataset: Dataset, name: str, job: FitJob, settings: TrainingSettings, device: str) -> Stack:
    """Train one network with batch norm by torch's own optimizer; a stack of one."""
    architecture = ARCHITECTURES[name]
    shape = dataset.features.shape[1:]
    module = architecture.build(shape, dataset.num_classes)
    module.load_state_dict(fresh_weights(architecture, shape, dataset.num_classes, job.seed))
    module.to(device).train()
    inputs = torch.from_numpy(dataset.images(job.records)).to(device)
    labels = torch.from_numpy(np.array(dataset.labels[job.records])).to(device)
    rate = settings.lr or architecture.learning_rate
    optimizer = getattr(torch.optim, settings.optim)(module.parameters(), lr=rate)
    history = np.zeros((1, settings.num_epochs, 2))
    for epoch in range(settings.num_epochs):
        order = torch.from_numpy(record_order(job.seed, epoch, job.records, len(dataset))).to(device)
        for batch in order.split(settings.batch_size):
            if len(batch) > 1:  # batch norm cannot learn from a single record
                history[0, epoch] += _module_step(module, optimizer, inputs[batch], labels[batch])
        history[0, epoch] /= len(job.records)
        _check_epoch(name, settings, rate, epoch, history[:, epoch])
    weights = {key: tensor.detach().cpu().unsqueeze(0) for key, tensor in module.state_dict().items()}
    return Stack(name, tuple(shape), dataset.num_classes, weights, None, None, history, device)


def _module_step(
    module: nn.Module, optimizer: torch.optim.Optimizer, records: torch.Tensor, labels: torch.Tensor
) -> np.ndarray:
    logits = module(records)
    loss = functional.cross_entropy(logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return np.array([float(loss.detach()) * len(labels), float((logits.argmax(dim=1) == labels).sum())])


# ---------------------------------------------------------------- many jobs


class NetworkTrainer(ModelTrainer):
    """Trains networks for any number of jobs, as many at a time as memory allows."""

    def __init__(self, dataset: Dataset, model_name: str, settings: TrainingSettings) -> None:
        super().__init__(dataset, model_name)
        check_data(dataset, model_name)
        self.settings = settings
        self.device = find_device(settings.device)
        self.size = settings.ensemble_size or self._suitable_size()

    def _suitable_size(self) -> int:
        if not _pays(ARCHITECTURES[self.model_name], self.device):
            return 1
        return _CPU_STACK if self.device == "cpu" else _GPU_STACK

    def fit(self, jobs: Sequence[FitJob]) -> list[NetworkModel]:
        """One trained network a job; when a device runs out of memory, fewer at a time."""
        if self.settings.privacy is not None:
            from lib_unlearning.private_training import train_private

            private = [train_private(self.dataset, self.model_name, job, self.settings, self.device) for job in jobs]
            return [NetworkModel(stack, 0) for stack in private]
        if not ARCHITECTURES[self.model_name].stackable:
            stacks = [train_alone(self.dataset, self.model_name, job, self.settings, self.device) for job in jobs]
            return [NetworkModel(stack, 0) for stack in stacks]
        models: list[NetworkModel] = []
        while len(models) < len(jobs):
            part = jobs[len(models) : len(models) + self.size]
            try:
                stack = train_stack(self.dataset, self.model_name, part, self.settings, self.device)
            except (torch.OutOfMemoryError, MemoryError):
                if self.size == 1:
                    raise
                self.size = max(1, min(self.size, len(part)) // 2)
                LOGGER.warning("out of memory on %s: going on with %d networks at a time", self.device, self.size)
                continue
            models += [NetworkModel(stack, index) for index in range(len(part))]
        return models


def check_data(dataset: Dataset, name: str) -> None:
    """Refuse an image network on a table and the reverse."""
    images = dataset.features.ndim == 4
    if images and not ARCHITECTURES[name].for_images:
        raise UserError(f"--original_model {name} learns from tables; {dataset.name} holds images: use scnn")
    if ARCHITECTURES[name].for_images and not images:
        raise UserError(f"--original_model {name} learns from images; {dataset.name} is a table: use MLPTorch")


def find_device(asked: str) -> str:
    """The torch device of "auto", "cpu", "mps" or "cuda:N"; raises `UserError` when it is not there."""
    cuda = torch.cuda.device_count()
    if asked == "auto":
        return "cuda:0" if cuda else "cpu"
    if asked.startswith("cuda") and int(asked.partition(":")[2] or 0) >= cuda:
        raise UserError(f"--cuda {asked.partition(':')[2]}: this machine has {cuda} GPUs for torch; leave it out")
    if asked == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device mps: not available on this machine; leave it out")
    return asked

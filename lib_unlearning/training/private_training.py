"""DP-SGD with Opacus (paper section 6), a network at a time: noisy, clipped gradients on Poisson-sampled batches.

For networks that no stack takes (see `private_stack`). Opacus gives per-record gradients, clipping, noise and
accounting. Batches are drawn here, so that the sampling rate that is accounted for is the one that was asked for, and a
step whose batch is empty adds noise and is counted.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer

from lib_unlearning.dataset import Dataset
from lib_unlearning.errors import LOGGER
from lib_unlearning.training.network_stack import Stack, standardised
from lib_unlearning.training.networks import ARCHITECTURES, PRIVATE, fresh_weights
from lib_unlearning.training.privacy_budget import Plan, randomness
from lib_unlearning.training.steps import check_epoch, module_accuracy, module_step, moments
from lib_unlearning.training.tasks import TrainingSettings, TrainingTask


def train_private(
    dataset: Dataset, name: str, task: TrainingTask, settings: TrainingSettings, device: str, held_out: np.ndarray
) -> Stack:
    """Train one network with DP-SGD; a stack of one that knows the epsilon it spent.

    Sampling and noise are drawn afresh for every set of training records: were they shared by the original and the
    unlearned model, the noise would cancel in their difference, and the guarantee with it. Standardisation of tables
    uses the training records' moments without noise: it is outside the guarantee.

    Raises:
        UserError: a secure generator was asked for and is not installed, delta or budget make no sense, or the loss is
            not finite.
    """
    privacy = settings.privacy
    assert privacy is not None
    if name + PRIVATE in ARCHITECTURES:
        _note_replacement(name)
        name += PRIVATE
    architecture, shape = ARCHITECTURES[name], dataset.features.shape[1:]
    records, mean, std = _inputs(dataset, task, architecture.for_images)
    labels = torch.from_numpy(np.array(dataset.labels[task.records]))
    plan = Plan.of(len(labels), settings, privacy)
    module = architecture.build(shape, dataset.num_classes)
    module.load_state_dict(fresh_weights(architecture, shape, dataset.num_classes, task.seed))
    sampling, noise = randomness(privacy, task, device)
    learning_rate = settings.lr or architecture.learning_rate
    wrapped = GradSampleModule(module.to(device).train())
    optimizer = DPOptimizer(
        getattr(torch.optim, settings.optim)(wrapped.parameters(), lr=learning_rate),
        noise_multiplier=plan.sigma,
        max_grad_norm=privacy.clip,
        expected_batch_size=plan.expected,
        generator=noise,
        secure_mode=privacy.secure_rng,
    )
    history = np.zeros((1, settings.num_epochs, 3))
    for epoch in range(settings.num_epochs):
        wrapped.train()
        seen = 0
        for _ in range(plan.steps):
            chosen = torch.rand(len(labels), generator=sampling) < plan.rate
            seen += int(chosen.sum())
            history[0, epoch, :2] += _private_step(
                wrapped, optimizer, records[chosen].to(device), labels[chosen].to(device)
            )
        history[0, epoch, :2] /= max(seen, 1)
        history[0, epoch, 2] = module_accuracy(wrapped, dataset, name, held_out, device, (mean, std))
        check_epoch(name, settings, learning_rate, epoch, history[:, epoch])
    weights = {key: tensor.detach().cpu().unsqueeze(0) for key, tensor in wrapped._module.state_dict().items()}
    epsilon, seeds = np.array([plan.epsilon]), np.array([task.seed])
    return Stack(name, tuple(shape), dataset.num_classes, weights, mean, std, seeds, history, device, epsilon)


def _private_step(module: Any, optimizer: DPOptimizer, records: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """One noisy step; summed loss and correct answers [2] of the batch. An empty batch is noise alone."""
    if len(records):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on hooks that see no gradient of the input
            return module_step(module, optimizer, records, labels)
    optimizer.zero_grad()
    for parameter in module.parameters():
        parameter.grad_sample = parameter.new_zeros((0, *parameter.shape))
    optimizer.step()
    return np.zeros(2)


@lru_cache(maxsize=8)  # said once a process
def _note_replacement(name: str) -> None:
    LOGGER.info("%s: Opacus' ModuleValidator replaces batch norm by group norm for DP-SGD", name)


def _inputs(
    dataset: Dataset, task: TrainingTask, for_images: bool
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    if for_images:
        return torch.from_numpy(dataset.images(task.records)), None, None
    rows = torch.from_numpy(np.array(dataset.rows(task.records), dtype=np.float32))
    mean, std = moments(rows, [np.arange(len(rows))])
    return standardised(rows.unsqueeze(0), mean, std)[0], mean, std

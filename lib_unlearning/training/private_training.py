"""DP-SGD with Opacus (paper section 6): noisy, clipped gradients on Poisson-sampled batches."""

from __future__ import annotations

import logging
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from opacus import PrivacyEngine
from torch.utils.data import DataLoader, TensorDataset

from lib_unlearning.cache.files import digest_arrays
from lib_unlearning.dataset import Dataset
from lib_unlearning.errors import LOGGER, UserError, error_text
from lib_unlearning.seeds import integer_seed
from lib_unlearning.training.network_stack import Stack, standardised
from lib_unlearning.training.networks import ARCHITECTURES, PRIVATE, fresh_weights
from lib_unlearning.training.steps import check_epoch, module_accuracy, module_step, moments
from lib_unlearning.training.tasks import Privacy, TrainingSettings, TrainingTask


def train_private(
    dataset: Dataset, name: str, task: TrainingTask, settings: TrainingSettings, device: str, held_out: np.ndarray
) -> Stack:
    """Train one network with DP-SGD; a stack of one that knows the epsilon it spent.

    Sampling and noise are drawn afresh for every set of training records: were they shared by the original and the
    unlearned model, the noise would cancel in their difference, and the guarantee with it. Standardisation of tables
    uses the training records' moments without noise: it is outside the guarantee.

    Raises:
        UserError: a secure generator was asked for and is not installed, the budget cannot be met, or the loss is not
            finite.
    """
    privacy = settings.privacy
    assert privacy is not None
    if name + PRIVATE in ARCHITECTURES:
        _note_replacement(name)
        name += PRIVATE
    architecture, shape = ARCHITECTURES[name], dataset.features.shape[1:]
    module = architecture.build(shape, dataset.num_classes)
    module.load_state_dict(fresh_weights(architecture, shape, dataset.num_classes, task.seed))
    module.to(device).train()
    records, mean, std = _inputs(dataset, task, architecture.for_images)
    labels = torch.from_numpy(np.array(dataset.labels[task.records]))
    own = digest_arrays(np.sort(task.records))
    loader = _loader(records, labels, integer_seed(task.seed, "sampling", own), settings, privacy)
    rate = settings.lr or architecture.learning_rate
    optimizer = getattr(torch.optim, settings.optim)(module.parameters(), lr=rate)
    noise_seed = integer_seed(task.seed, "noise", own)
    engine, module, optimizer, loader = _made_private(module, optimizer, loader, settings, noise_seed, device)
    history = np.zeros((1, settings.num_epochs, 3))
    for epoch in range(settings.num_epochs):
        module.train()
        for batch, truth in loader:
            if len(batch):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # on hooks that see no gradient of the input
                    history[0, epoch, :2] += module_step(module, optimizer, batch.to(device), truth.to(device))
        history[0, epoch, :2] /= len(task.records)
        history[0, epoch, 2] = module_accuracy(module, dataset, name, held_out, device, (mean, std))
        check_epoch(name, settings, rate, epoch, history[:, epoch])
    weights = {key: tensor.detach().cpu().unsqueeze(0) for key, tensor in module._module.state_dict().items()}
    epsilon = np.array([engine.get_epsilon(privacy.delta)])
    seeds = np.array([task.seed])
    return Stack(name, tuple(shape), dataset.num_classes, weights, mean, std, seeds, history, device, epsilon)


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


def _loader(
    records: torch.Tensor, labels: torch.Tensor, seed: int, settings: TrainingSettings, privacy: Privacy
) -> DataLoader[Any]:
    size = settings.batch_size if privacy.sample_rate is None else max(1, round(privacy.sample_rate * len(labels)))
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(TensorDataset(records, labels), batch_size=min(size, len(labels)), generator=generator)


def _made_private(
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: DataLoader[Any],
    settings: TrainingSettings,
    seed: int,
    device: str,
) -> tuple[Any, ...]:
    """The privacy engine and its wrapped model, optimizer and Poisson-sampling loader."""
    privacy = settings.privacy
    assert privacy is not None
    logging.getLogger("opacus").setLevel(logging.ERROR)
    noise = None if privacy.secure_rng else torch.Generator(device).manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on an insecure generator, which the user chose
        try:
            engine = PrivacyEngine(accountant=privacy.accountant, secure_mode=privacy.secure_rng)
        except ImportError as error:
            raise UserError(
                "--secure_rng true needs the package torchcsprng, which is not installed; leave it out"
            ) from error
        common = {
            "module": module,
            "optimizer": optimizer,
            "data_loader": loader,
            "max_grad_norm": privacy.clip,
            "noise_generator": noise,
        }
        if privacy.target_epsilon is None:
            return engine, *engine.make_private(noise_multiplier=privacy.sigma, **common)
        budget = {
            "target_epsilon": privacy.target_epsilon,
            "target_delta": privacy.delta,
            "epochs": settings.num_epochs,
        }
        try:
            return engine, *engine.make_private_with_epsilon(**budget, **common)
        except ValueError as error:
            raise UserError(
                f"--target_epsilon {privacy.target_epsilon:g}: {error_text(error)}; raise it, or train less"
            ) from error

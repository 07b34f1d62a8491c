"""What all ways of training networks share: records as arrays, a module's step, its accuracy, an epoch's check."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lib_unlearning.dataset import Dataset
from lib_unlearning.errors import LOGGER, UserError
from lib_unlearning.training.network_stack import standardised
from lib_unlearning.training.networks import ARCHITECTURES, ROWS_AT_ONCE, Architecture, channels_last
from lib_unlearning.training.tasks import TrainingSettings

_AT_ONCE = 2**25  # numbers that moments are computed of


def records_of(dataset: Dataset, architecture: Architecture, records: np.ndarray) -> np.ndarray:
    """Records [n, ...] float32 as an architecture sees them: images, or rows of a table."""
    found = dataset.images(records) if architecture.for_images else dataset.rows(records)
    return np.ascontiguousarray(found, dtype=np.float32)


def moments(inputs: torch.Tensor, positions: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation [M, d] of each model's training records; a constant column is left as it is."""
    mean, deviation = (torch.empty(len(positions), inputs.shape[1], device=inputs.device) for _ in range(2))
    alike: dict[int, list[int]] = {}
    for number, rows in enumerate(positions):
        alike.setdefault(len(rows), []).append(number)
    for length, numbers in alike.items():
        # A CPU is fastest with one model at a time; a GPU would wait for the host.
        together = 1 if inputs.device.type == "cpu" else max(1, _AT_ONCE // (length * inputs.shape[1]))
        for start in range(0, len(numbers), together):
            chosen = numbers[start : start + together]
            several = torch.from_numpy(np.stack([positions[number] for number in chosen])).to(inputs.device)
            part = inputs[several].double()  # [k, n, d]
            spread = part.std(dim=1, correction=0)
            mean[chosen] = part.mean(dim=1).float()
            deviation[chosen] = torch.where(spread > 0, spread, torch.ones_like(spread)).float()
    return mean, deviation


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
    records = torch.from_numpy(records_of(dataset, ARCHITECTURES[name], held_out)).unsqueeze(0)
    inputs = channels_last(standardised(records, *moments)[0].to(device))
    logits = torch.cat([module(part) for part in inputs.split(ROWS_AT_ONCE)])
    return float((logits.argmax(dim=1).cpu().numpy() == dataset.labels[held_out]).mean())

"""In which order the models of a stack visit their records, and how that falls into batches, on the device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lib_unlearning.training.record_random import base_key, keys_of
from lib_unlearning.training.tasks import TrainingTask

_LAST = torch.iinfo(torch.int64).max
_DROPOUT = 0.5


class Orders:
    """Batches of M tasks: the same for a task whatever else is in the stack (see `record_random.record_order`).

    Short batches and tasks are padded; a gap keeps its place in the batch and its share of the mean.
    """

    def __init__(self, tasks: Sequence[TrainingTask], batch_size: int, device: str) -> None:
        owned = [task.filled() for task in tasks]
        lengths = torch.tensor([len(places) for places, _ in owned]).unsqueeze(1)
        self.steps = -(-int(lengths.max()) // batch_size)
        self._seeds = [task.seed for task in tasks]
        self._places = padded([places for places, _ in owned], 0).to(device)
        self._holds = padded([holds for _, holds in owned], -1).to(device)
        self._beyond = (torch.arange(int(lengths.max())) >= lengths).to(device)
        slots = torch.arange(self.steps * batch_size)
        self._batch_size = batch_size
        taken = self._by_step(slots < lengths).sum(dim=2, keepdim=True)
        self._taken = taken.clamp(min=1).to(device)  # [steps, M, 1]

    def epoch(self, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Numbers within each task's records, -1 for none, and weights in the batch's loss, both [steps, M, b]."""
        bases = base_keys(self._seeds, "order", epoch).to(self._places.device)
        keys = keys_of(bases.unsqueeze(1), self._places).masked_fill_(self._beyond, _LAST)
        held = self._holds.gather(1, keys.argsort(dim=1, stable=True))
        missing = self.steps * self._batch_size - held.shape[1]
        held = self._by_step(torch.nn.functional.pad(held, (0, missing), value=-1))
        return held, (held >= 0) / self._taken

    def _by_step(self, slots: torch.Tensor) -> torch.Tensor:
        return slots.reshape(len(slots), self.steps, self._batch_size).transpose(0, 1).contiguous()


def padded(parts: Sequence[np.ndarray], value: int) -> torch.Tensor:
    """Integers of unequal lengths as [M, longest]."""
    found = torch.full((len(parts), max(len(part) for part in parts)), value, dtype=torch.int64)
    for row, part in zip(found, parts, strict=True):
        row[: len(part)] = torch.from_numpy(np.asarray(part, dtype=np.int64))
    return found


def base_keys(seeds: Sequence[int], *purpose: str | int) -> torch.Tensor:
    """The base key [M] of one purpose for each model; many share a seed."""
    known = {seed: base_key(seed, *purpose) for seed in set(seeds)}
    return torch.tensor([known[seed] for seed in seeds], dtype=torch.int64)


def dropout_masks(bases: torch.Tensor, records: torch.Tensor, units: int) -> torch.Tensor:
    """Masks [M, b, units] for the records [M, b] of each model's batch; they depend on seed, epoch and record."""
    keys = keys_of(bases.unsqueeze(1), records).unsqueeze(2)  # [M, b, 1]
    uniform = (keys_of(keys, torch.arange(units, device=records.device)) >> 40) & 0xFFFFFF
    found: torch.Tensor = (uniform >= _DROPOUT * 2**24).float() / (1 - _DROPOUT)
    return found

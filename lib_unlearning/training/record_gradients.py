"""Clipped gradients of single records for stacked networks of any layers: by `vmap`, over networks and records.

What Opacus does for one module at a time (its functorch way); `linear_gradients` needs no gradient of a record.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from lib_unlearning.training.linear_gradients import clip_factors
from lib_unlearning.training.network_stack import Weights

# Of single records' gradients held at once: a CPU needs few to be busy, a GPU many.
_FLOATS = {"cpu": 2**26, "cuda": 2**31}


class RecordGradients:
    """One forward and backward pass of M networks in which no record's gradient is longer than `clip`.

    Args:
        weights: name -> [M, ...]; their `grad` is set here once and filled by every call.
        structure: a module whose parameters these are; its own are not looked at.
    """

    def __init__(self, weights: Weights, structure: nn.Module, clip: float) -> None:
        self.weights, self.structure, self.clip = weights, structure, clip
        for tensor in weights.values():
            tensor.grad = torch.zeros_like(tensor)
        first = next(iter(weights.values()))
        floats = _FLOATS.get(first.device.type, _FLOATS["cpu"])
        self.at_once = max(1, floats // sum(tensor[0].numel() for tensor in weights.values()))
        self._each = vmap(vmap(grad(self._loss, has_aux=True), in_dims=(None, 0, 0)))

    def __call__(
        self, records: torch.Tensor, labels: torch.Tensor, share: torch.Tensor, masks: None, targets: None = None
    ) -> torch.Tensor:
        """Fill the gradients with the clipped sum over each network's records and return the logits [M, b, c].

        Args:
            records: [M, b, ...]. labels: [M, b]. share: [M, b], 0 for padding, else 1.
            masks, targets: none: no dropout under DP-SGD, and labels are what is learned.
        """
        own = {name: tensor.detach() for name, tensor in self.weights.items()}
        for tensor in self.weights.values():
            assert tensor.grad is not None
            tensor.grad.zero_()
        logits = [
            torch.cat([self._add(own, models, records, labels, share, rows) for rows in parts], dim=1)
            for models, parts in self._blocks(*labels.shape)
        ]
        return torch.cat(logits)

    def _blocks(self, models: int, rows: int) -> Iterator[tuple[slice, list[slice]]]:
        """Networks, and their rows in parts, whose gradients fit into memory together."""
        together = max(1, self.at_once // max(rows, 1))
        width = max(1, min(rows, self.at_once))
        parts = [slice(start, start + width) for start in range(0, max(rows, 1), width)]
        for start in range(0, models, together):
            yield slice(start, start + together), parts

    def _add(
        self,
        own: Weights,
        models: slice,
        records: torch.Tensor,
        labels: torch.Tensor,
        share: torch.Tensor,
        rows: slice,
    ) -> torch.Tensor:
        """Add a block's clipped gradients; its logits [m, r, c]."""
        of_block = {name: tensor[models] for name, tensor in own.items()}
        found, logits = self._each(of_block, records[models, rows], labels[models, rows])
        squares = sum(part.flatten(2).square().sum(dim=2) for part in found.values())  # [m, r]
        factors = clip_factors(squares, self.clip) * share[models, rows]
        for name, part in found.items():
            total = self.weights[name].grad
            assert total is not None
            total[models] += torch.bmm(factors.unsqueeze(1), part.flatten(2)).view_as(total[models])
        answered: torch.Tensor = logits.detach()
        return answered

    def _loss(self, weights: Weights, record: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss of one record and its logits [c]."""
        logits: torch.Tensor = functional_call(self.structure, weights, (record.unsqueeze(0),))[0]
        loss: torch.Tensor = functional.cross_entropy(logits, label)
        return loss, logits

"""Gradients of stacked linear networks by hand: batched products into buffers that are made once.

For networks this small, autograd's bookkeeping and fresh memory cost more than the arithmetic
(docs/PERFORMANCE.md); the derivative of a linear layer, ReLU and cross-entropy is three lines.
"""

from __future__ import annotations

import torch

from lib_unlearning.training.network_stack import Weights, layer_names


class LinearGradients:
    """One forward and backward pass of M networks of linear layers with ReLU between them.

    Args:
        weights: name -> [M, ...]; their `grad` is set here once and filled by every call.
        batch_size: b, records a call.
        clip: the norm that no record's part of the gradients exceeds; None for any.
    """

    def __init__(self, weights: Weights, batch_size: int, clip: float | None = None) -> None:
        self.clip = clip
        self.layers = [(weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in layer_names(weights)]
        self.outputs = [weight.new_empty(len(weight), batch_size, weight.shape[1]) for weight, _ in self.layers]
        self.deltas = [torch.empty_like(output) for output in self.outputs]
        self.classes = torch.arange(self.outputs[-1].shape[2], device=self.outputs[-1].device)
        for tensor in weights.values():
            tensor.grad = torch.empty_like(tensor)

    @torch.no_grad()
    def __call__(
        self,
        records: torch.Tensor,
        labels: torch.Tensor,
        share: torch.Tensor,
        masks: None,
        targets: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Fill the gradients of the weighted cross-entropy and return the logits [M, b, c].

        Args:
            records: [M, b, d]. labels: [M, b].
            share: [M, b] weight of each record's loss: 1 / records of its batch, 0 for padding.
            masks: none, as these networks have no dropout.
            targets: [M, b, c] posteriors to be learned in the labels' place.
        """
        values = [records]
        for (weight, bias), output in zip(self.layers, self.outputs, strict=True):
            if len(values) > 1:
                values[-1].relu_()
            torch.baddbmm(bias.unsqueeze(1), values[-1], weight.transpose(1, 2), out=output)
            values.append(output)
        delta = self.deltas[-1]
        torch.softmax(values[-1], dim=2, out=delta)
        if targets is None:
            delta.add_(labels.unsqueeze(2) == self.classes, alpha=-1)  # scatter_add_ has no order on a GPU
        else:
            delta.sub_(targets)
        delta.mul_(share.unsqueeze(2))
        for number in reversed(range(1, len(self.layers))):
            before = self.deltas[number - 1]
            torch.bmm(self.deltas[number], self.layers[number][0], out=before)
            torch.ops.aten.threshold_backward.grad_input(before, values[number], 0, grad_input=before)
        if self.clip is not None:
            self._clip(values, self.clip)
        for (weight, bias), delta, value in zip(self.layers, self.deltas, values, strict=False):
            assert weight.grad is not None
            assert bias.grad is not None
            torch.bmm(delta.transpose(1, 2), value, out=weight.grad)
            torch.sum(delta, dim=1, out=bias.grad)
        return values[-1]

    def _clip(self, values: list[torch.Tensor], norm: float) -> None:
        """Scale each record's part of the gradients to a norm of at most `norm`.

        A record's gradient of a linear layer is the outer product of its delta and its input (Goodfellow,
        arXiv 1510.01799), so that its norm needs no gradient.
        """
        squares = sum(
            delta.square().sum(dim=2) * (value.square().sum(dim=2) + 1)  # the 1 is the bias
            for delta, value in zip(self.deltas, values, strict=False)
        )
        assert isinstance(squares, torch.Tensor)
        factors = clip_factors(squares, norm).unsqueeze(2)
        for delta in self.deltas:
            delta.mul_(factors)


def clip_factors(squares: torch.Tensor, norm: float) -> torch.Tensor:
    """What gradients of these squared norms are multiplied with, so that none is longer than `norm`."""
    return (norm / (squares.sqrt() + 1e-6)).clamp_(max=1.0)  # Opacus' small number

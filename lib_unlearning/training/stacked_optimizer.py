"""Adam and SGD for stacked parameters [M, ...], of which some models may not take a step."""

from __future__ import annotations

import torch

from lib_unlearning.training.network_stack import Weights


class StackedOptimizer:
    """Adam or SGD with a step count a model; a model that takes no step keeps its weights and its moments.

    As long as every model has had every step, torch's own fused optimizer does the work: elementwise, it makes no
    difference whose weight an element is. Afterwards the models' bias corrections differ.
    """

    def __init__(self, kind: str, learning_rate: float, weights: Weights) -> None:
        self.kind, self.learning_rate, self.weights = kind, learning_rate, weights
        first = next(iter(weights.values()))
        self.steps = torch.zeros(len(first), device=first.device)
        self.in_step = True
        how: dict[str, bool] = {"fused": first.device.type in ("cpu", "cuda")}
        if kind == "Adam" and first.device.type == "cuda":
            how["capturable"] = True  # its step count lies on the device, so that a graph counts on
        self.optimizer = getattr(torch.optim, kind)(list(weights.values()), lr=learning_rate, **how)

    @torch.no_grad()
    def step(self, stepping: torch.Tensor, everyone: bool) -> None:
        """Update the weights [M, ...] by their gradients; stepping [M] marks the models that take the step, `everyone`
        says the same of all, so that a device need not be asked."""
        self.in_step = self.in_step and everyone
        self.steps += stepping
        if self.in_step:
            self.optimizer.step()
            return
        for tensor in self.weights.values():
            assert tensor.grad is not None
            share = as_models(stepping, tensor)
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
        corrected = (second / as_models(1 - 0.999**steps, second)).sqrt_().add_(1e-8)
        found: torch.Tensor = first / as_models(1 - 0.9**steps, first) / corrected
        return found


def as_models(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Values of models [M], or of their groups [M, T], shaped to be multiplied with [M, ...] or [M, T, ...]."""
    return values.reshape(*values.shape, *[1] * (like.dim() - values.dim())).to(like.dtype)

"""Trained networks of one architecture as stacked parameters, and how they answer (M models, b records a batch)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, jvp, vmap
from torch.nn import functional

from lib_unlearning.dataset import Dataset
from lib_unlearning.errors import UserError
from lib_unlearning.training.device import pays
from lib_unlearning.training.networks import ARCHITECTURES, ROWS_AT_ONCE, channels_last

Weights = dict[str, torch.Tensor]

_QUERY_ROWS = 512  # records a model is asked about at once
_GRADIENT_ROWS = 64  # records whose gradients are held at once


@dataclass(frozen=True)
class Stack:
    """M trained networks of one architecture.

    Attributes:
        architecture: name in ARCHITECTURES.
        shape: of one record. num_classes: c.
        weights: name -> [M, ...] float32 on the CPU.
        mean, std: [M, d] of each model's training records for tables; None for images.
        seeds: [M] that initial weights, order and dropout came from.
        history: [M, epochs, 3] mean loss and accuracy on the training batches, accuracy on held-out records.
        epsilon: [M] privacy spent by DP-SGD; None for none.
        updates: name -> [M, T, ...] sums of the steps that each task's T groups of records took part in (see
            `TrainingTask.watched`), as long as nobody wrote the networks to a file; None for none.
    """

    architecture: str
    shape: tuple[int, ...]
    num_classes: int
    weights: Weights
    mean: torch.Tensor | None
    std: torch.Tensor | None
    seeds: np.ndarray
    history: np.ndarray
    device: str = "cpu"
    epsilon: np.ndarray | None = None
    updates: Weights | None = None

    def posteriors(self, members: Sequence[int], inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Posteriors [n_i, c] of each member for its own inputs [n_i, ...], in passes over all members together."""
        longest = max(len(rows) for rows in inputs)
        chosen = torch.tensor(list(members))
        weights = {name: tensor[chosen].to(self.device) for name, tensor in self.weights.items()}
        results: list[list[np.ndarray]] = [[] for _ in members]
        for start in range(0, longest, _QUERY_ROWS):
            parts = [rows[start : start + _QUERY_ROWS] for rows in inputs]
            asked = [position for position, part in enumerate(parts) if len(part)]
            own = weights if len(asked) == len(members) else {name: part[asked] for name, part in weights.items()}
            answers = self._pass(own, chosen[asked], [parts[position] for position in asked])
            for position, answer in zip(asked, answers, strict=True):
                results[position].append(answer)
        return [np.concatenate(parts) if parts else np.zeros((0, self.num_classes)) for parts in results]

    @torch.no_grad()
    def _pass(self, weights: Weights, members: torch.Tensor, parts: list[np.ndarray]) -> list[np.ndarray]:
        batch = np.zeros((len(parts), max(len(part) for part in parts), *self.shape), dtype=np.float32)
        for row, part in zip(batch, parts, strict=True):
            row[: len(part)] = part
        records = torch.from_numpy(batch).to(self.device)
        mean, std = (None if part is None else part[members].to(self.device) for part in (self.mean, self.std))
        logits = self._logits(weights, standardised(records, mean, std))
        answers = torch.softmax(logits.double(), dim=2).cpu().numpy()
        return [row[: len(part)] for row, part in zip(answers, parts, strict=True)]

    def _logits(self, weights: Weights, records: torch.Tensor) -> torch.Tensor:
        architecture = (self.architecture, self.shape, self.num_classes)
        if pays(ARCHITECTURES[self.architecture], self.device):
            return forward(*architecture, weights, records, None)
        # One at a time: a CPU computes stacked convolutions slowly.
        rows = [
            forward(*architecture, {name: tensor[row : row + 1] for name, tensor in weights.items()}, part, None)
            for row, part in enumerate(records.split(1))
        ]
        return torch.cat(rows)


@dataclass(frozen=True)
class NetworkModel:
    """One network of a stack (see `tasks.Model`)."""

    stack: Stack = field(repr=False)
    index: int

    @property
    def weights(self) -> Weights:
        """Name -> its own weights."""
        return {name: tensor[self.index] for name, tensor in self.stack.weights.items()}

    @property
    def facts(self) -> dict[str, Any]:
        """`curve` [epochs, 3]: mean training loss, training and held-out accuracy; with DP-SGD also `epsilon`."""
        spent = {} if self.stack.epsilon is None else {"epsilon": float(self.stack.epsilon[self.index])}
        return {"curve": self.stack.history[self.index], **spent}

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Posteriors [m, c] for features [m, ...]."""
        return self.stack.posteriors([self.index], [features])[0]

    def effects(self, probes: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Change [k, P, c] of the logits at probes [P, d] for a step up each record's loss, records [k, d], labels [k].

        To first order, that is where the network goes when the record is taken from its training (TracIn, Pruthi et
        al., NeurIPS 2020, with the last weights only).
        """
        asked, weights, found = self.standardised_rows(probes), self.weights, []
        for record, label in zip(self.standardised_rows(rows), torch.from_numpy(np.asarray(labels)), strict=True):
            gradient = grad(self._loss)(weights, record, label)
            found.append(jvp(lambda moved: self._logits(moved, asked), (weights,), (gradient,))[1].numpy())
        return np.stack(found)

    def gradient(self, rows: np.ndarray, labels: np.ndarray) -> Weights:
        """Name -> gradient of the mean loss of records [k, ...] with labels [k]."""
        inputs, classes = self.standardised_rows(rows), torch.from_numpy(np.asarray(labels))
        return dict(
            grad(lambda weights: functional.cross_entropy(self._logits(weights, inputs), classes))(self.weights)
        )

    def importance(self, rows: np.ndarray, labels: np.ndarray) -> Weights:
        """Name -> mean squared gradient of each record's loss: the diagonal of the empirical Fisher information."""
        if not ARCHITECTURES[self.stack.architecture].stackable:
            raise UserError(
                f"--original_model {self.stack.architecture}: no gradients of single records, for batch norm"
            )
        each = vmap(grad(self._loss), in_dims=(None, 0, 0))
        inputs, classes = self.standardised_rows(rows), torch.from_numpy(np.asarray(labels))
        total = {name: torch.zeros_like(tensor) for name, tensor in self.weights.items()}
        for part, own in zip(inputs.split(_GRADIENT_ROWS), classes.split(_GRADIENT_ROWS), strict=True):
            for name, gradients in each(self.weights, part, own).items():
                total[name] += (gradients**2).sum(dim=0)
        return {name: tensor / len(rows) for name, tensor in total.items()}

    def with_weights(self, weights: Weights) -> NetworkModel:
        """A network that differs in its weights only."""
        alone = slice(self.index, self.index + 1)
        stack = self.stack
        mean, std = self._moments()
        spent = None if stack.epsilon is None else stack.epsilon[alone]
        own = {name: tensor.unsqueeze(0) for name, tensor in weights.items()}
        changed = replace(
            stack,
            weights=own,
            mean=mean,
            std=std,
            seeds=stack.seeds[alone],
            history=stack.history[alone],
            epsilon=spent,
            updates=None,
        )
        return NetworkModel(changed, 0)

    def module(self) -> nn.Module:
        """A torch module of its own with these weights; a table's rows it takes as `standardised_rows` gives them."""
        stack = self.stack
        found: nn.Module = ARCHITECTURES[stack.architecture].build(stack.shape, stack.num_classes)
        found.load_state_dict({name: tensor.clone() for name, tensor in self.weights.items()})
        return found

    def with_module(self, module: nn.Module) -> NetworkModel:
        """A network with the weights of such a module."""
        return self.with_weights({name: tensor.detach().cpu() for name, tensor in module.state_dict().items()})

    def standardised_rows(self, rows: np.ndarray) -> torch.Tensor:
        """What its layers see of records [k, ...]: tables by its own training records' moments, images as they are."""
        records = torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32))
        return standardised(records[None], *self._moments())[0]

    def less_updates(self, trained: NetworkModel, group: int, taken: int | None = None) -> NetworkModel:
        """The network less the steps of `trained` that one of that task's groups of records took part in, but for those
        that the group `taken` did."""
        updates = trained.stack.updates
        assert updates is not None
        steps = {name: part[trained.index, group] for name, part in updates.items()}
        if taken is not None:
            steps = {name: part - updates[name][trained.index, taken] for name, part in steps.items()}
        return self.with_weights({name: tensor - steps[name] for name, tensor in self.weights.items()})

    def _moments(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Its own mean and deviation [1, d]."""
        alone = slice(self.index, self.index + 1)
        stack = self.stack
        return None if stack.mean is None else stack.mean[alone], None if stack.std is None else stack.std[alone]

    def _logits(self, weights: Weights, inputs: torch.Tensor) -> torch.Tensor:
        stack = self.stack
        stacked = {name: tensor.unsqueeze(0) for name, tensor in weights.items()}
        return forward(stack.architecture, stack.shape, stack.num_classes, stacked, inputs.unsqueeze(0), None)[0]

    def _loss(self, weights: Weights, record: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(self._logits(weights, record.unsqueeze(0)), label.unsqueeze(0))

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
    module = structure(name, tuple(shape), num_classes)
    only_asked = masks is None and not torch.is_grad_enabled()
    if not architecture.stackable or (architecture.for_images and only_asked and records.device.type == "cpu"):
        return torch.stack([_forward_in_parts(module, weights, row, part) for row, part in enumerate(records)])
    if len(records) == 1:
        alone = [{key: tensor[row] for key, tensor in weights.items()} for row in range(len(records))]
        given = [(part,) for part in records] if masks is None else list(zip(records, masks, strict=True))
        return torch.stack([functional_call(module, *both) for both in zip(alone, given, strict=True)])
    if masks is None:
        whole: torch.Tensor = vmap(lambda part, rows: functional_call(module, part, (rows,)))(weights, records)
    else:
        whole = vmap(lambda part, rows, mask: functional_call(module, part, (rows, mask)))(weights, records, masks)
    return whole


def _forward_in_parts(module: nn.Module, weights: Weights, row: int, records: torch.Tensor) -> torch.Tensor:
    """Logits of one network for records [n, ...], so few at a time that a CPU's caches hold their maps."""
    own = {name: channels_last(tensor[row]) for name, tensor in weights.items()}
    return torch.cat([functional_call(module, own, (channels_last(part),)) for part in records.split(ROWS_AT_ONCE)])


@lru_cache(maxsize=8)
def structure(name: str, shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """A module without weights, which only lends its structure."""
    with torch.device("meta"):
        return ARCHITECTURES[name].build(shape, num_classes).eval()


def layer_names(weights: Weights) -> list[str]:
    """Linear layers in their order."""
    return [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]


def _linear_forward(weights: Weights, records: torch.Tensor) -> torch.Tensor:
    """Linear layers with ReLU between them, as one batched product a layer."""
    layers = layer_names(weights)
    values = records
    for layer in layers:
        bias = weights[f"{layer}.bias"].unsqueeze(1)  # [M, 1, out]
        values = torch.baddbmm(bias, values, weights[f"{layer}.weight"].transpose(1, 2))  # [M, b, out]
        if layer != layers[-1]:
            values = functional.relu(values)
    return values


def standardised(records: torch.Tensor, mean: torch.Tensor | None, std: torch.Tensor | None) -> torch.Tensor:
    """Records [M, b, d] less each model's mean, over its deviation [M, d]; images, without moments, as they are."""
    if mean is None or std is None:
        return records
    return (records - mean.unsqueeze(1)) / std.unsqueeze(1)

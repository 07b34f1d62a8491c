"""Trained networks on disk: one safetensors file a sample set, stacked tensors, nothing that could run code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import utils
from lib_unlearning.sealed_pickle import State
from utils import UserError


class NetworkFiles:
    """Keeps sample sets of networks; what is read answers on a device."""

    def __init__(self, device: str) -> None:
        self.device = device

    def write(self, path: Path, value: Any, context: str) -> None:
        """Keep a `TrainedSet`, bound to a context: a text that says what shaped it."""
        _write(path, value, context)

    def inspect(self, path: Path, context: str, trust: bool) -> State:
        """Whether a file exists and belongs to `context`; raises `UserError` when it is damaged."""
        return _verified(path, context)[0]

    def read(self, path: Path, context: str, trust: bool) -> Any:
        """The `TrainedSet` of a file that belongs to `context`, None when it is missing or stale.

        Raises:
            UserError: it is damaged.
        """
        state, arrays, about = _verified(path, context)
        return _assemble(arrays, about, self.device) if state is State.CURRENT else None


def _write(path: Path, value: Any, context: str) -> None:
    """Weights of the K distinct networks [K, ...], and who is made of which."""
    import torch
    from safetensors.numpy import save

    ensembles = [value.original, *value.unlearned]
    distinct = {id(model): model for ensemble in ensembles for model in ensemble.constituents}
    shards = {id(m): s for ensemble in ensembles for m, s in zip(ensemble.constituents, ensemble.shards, strict=True)}
    number = {key: position for position, key in enumerate(distinct)}
    models = list(distinct.values())
    stack = models[0].stack
    arrays = {
        f"weights.{name}": torch.stack([model.stack.weights[name][model.index] for model in models]).numpy()
        for name in stack.weights
    }
    for name in ("mean", "std"):
        if getattr(stack, name) is not None:
            arrays[name] = torch.stack([getattr(model.stack, name)[model.index] for model in models]).numpy()
    if stack.epsilon is not None:
        arrays["stack_epsilon"] = np.array([model.stack.epsilon[model.index] for model in models])
    arrays["seeds"] = np.array([model.stack.seeds[model.index] for model in models])
    arrays["history"] = np.stack([model.stack.history[model.index] for model in models])
    arrays["records"] = np.concatenate([shards[key] for key in distinct])
    arrays["lengths"] = np.array([len(shards[key]) for key in distinct])
    arrays["members"] = np.array([number[id(model)] for ensemble in ensembles for model in ensemble.constituents])
    arrays["member_counts"] = np.array([len(ensemble.constituents) for ensemble in ensembles])
    arrays["accuracy"], arrays["epsilon"] = value.accuracy, value.epsilon
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    about = {"architecture": stack.architecture, "shape": stack.shape, "num_classes": stack.num_classes}
    metadata = {"context": context, "checksum": _checksum(arrays), "about": json.dumps(about)}
    with utils.atomic_file(path) as handle:
        handle.write(save(arrays, metadata))


def _assemble(arrays: dict[str, np.ndarray], about: dict[str, Any], device: str) -> Any:
    import torch

    from lib_unlearning.model_store import TrainedSet
    from lib_unlearning.network_stack import NetworkModel, Stack
    from lib_unlearning.unlearning import Ensemble

    prefix = "weights."
    tensors = {
        name: torch.from_numpy(array) for name, array in arrays.items() if name.startswith((prefix, "mean", "std"))
    }
    stack = Stack(
        architecture=about["architecture"],
        shape=tuple(about["shape"]),
        num_classes=about["num_classes"],
        # safetensors sorts by name; the order of layers is the architecture's
        weights={name: tensors[prefix + name] for name in _layer_order(about)},
        mean=tensors.get("mean"),
        std=tensors.get("std"),
        seeds=arrays["seeds"],
        history=arrays["history"],
        device=device,
        epsilon=arrays.get("stack_epsilon"),
    )
    models = [NetworkModel(stack, index) for index in range(len(arrays["lengths"]))]
    shards = np.split(arrays["records"], np.cumsum(arrays["lengths"])[:-1])
    groups = np.split(arrays["members"], np.cumsum(arrays["member_counts"])[:-1])
    ensembles = [Ensemble([models[i] for i in group], [shards[i] for i in group]) for group in groups]
    return TrainedSet(ensembles[0], ensembles[1:], arrays["accuracy"], arrays["epsilon"])


def _layer_order(about: dict[str, Any]) -> list[str]:
    import torch

    from lib_unlearning.networks import ARCHITECTURES

    with torch.device("meta"):
        return list(ARCHITECTURES[about["architecture"]].build(about["shape"], about["num_classes"]).state_dict())


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    return utils.digest_arrays(*(arrays[name] for name in sorted(arrays)))


def _verified(path: Path, context: str) -> tuple[State, dict[str, np.ndarray], dict[str, Any]]:
    from safetensors import safe_open

    if not path.exists():
        return State.MISSING, {}, {}
    try:
        with safe_open(path, framework="np") as handle:
            metadata = handle.metadata() or {}
            arrays = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118  no mapping
        if metadata["checksum"] != _checksum(arrays):
            raise ValueError("its checksum differs")
        about = json.loads(metadata["about"])
    except Exception as error:  # safetensors has errors of its own for damaged headers
        raise UserError(f"{path} is damaged ({utils.error_text(error)}); delete it or add --retrain") from error
    return (State.CURRENT if metadata["context"] == context else State.STALE), arrays, about

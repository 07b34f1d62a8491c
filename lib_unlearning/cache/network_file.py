"""Trained networks on disk: one safetensors file a sample set, stacked tensors, nothing that could run code.

Networks that can share arrays (one architecture, equally many epochs) form a group. A set that holds any other model
is kept as a sealed pickle instead, under the same name.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.cache import sealed_pickle
from lib_unlearning.cache.files import atomic_file, check_regular, digest, digest_arrays
from lib_unlearning.cache.key import FORGED, check_seal, seal_of
from lib_unlearning.cache.sealed_pickle import State
from lib_unlearning.cache.trained_set import TrainedSet
from lib_unlearning.errors import UserError, error_text, pass_refusal
from lib_unlearning.unlearning.base import Ensemble


class NetworkFiles:
    """Keeps sample sets of networks; what is read answers on a device."""

    def __init__(self, device: str) -> None:
        self.device = device

    def write(self, path: Path, value: TrainedSet, context: str) -> None:
        """Keep a trained set, bound to a context: a text that says what shaped it."""
        from lib_unlearning.training.network_stack import NetworkModel

        models = [model for ensemble in value.ensembles for model in ensemble.constituents]
        if all(isinstance(model, NetworkModel) for model in models):
            _write(path, value, context)
        else:
            sealed_pickle.write(path, value, context)

    def inspect(self, path: Path, context: str, trust: bool) -> State:
        """Whether a file exists and belongs to `context`; raises `UserError` as `read`."""
        if sealed_pickle.is_sealed(path):
            return sealed_pickle.inspect(path, context, trust)
        return _verified(path, context, trust)[0]

    def read(self, path: Path, context: str, trust: bool) -> TrainedSet | None:
        """The trained set of a file that belongs to `context`, None when it is missing or stale.

        Raises:
            UserError: it is damaged.
        """
        if sealed_pickle.is_sealed(path):
            found: TrainedSet | None = sealed_pickle.read(path, context, trust)
            return found
        state, arrays, about = _verified(path, context, trust)
        return _assemble(arrays, about, self.device) if state is State.CURRENT else None


def _write(path: Path, value: TrainedSet, context: str) -> None:
    """Weights of the distinct networks, a group of them [K, ...] at a time, and who is made of which."""
    from safetensors.numpy import save

    members = [model for ensemble in value.ensembles for model in ensemble.constituents]
    shards = {id(m): s for e in value.ensembles for m, s in zip(e.constituents, e.shards, strict=True)}
    groups: dict[Hashable, list[Any]] = {}
    for model in {id(model): model for model in members}.values():
        groups.setdefault(_alike(model), []).append(model)
    arrays: dict[str, np.ndarray] = {}
    for number, group in enumerate(groups.values()):
        arrays |= {f"{number}.{name}": array for name, array in _group_arrays(group).items()}
    distinct = [model for group in groups.values() for model in group]
    position = {id(model): number for number, model in enumerate(distinct)}
    arrays["records"] = np.concatenate([shards[id(model)] for model in distinct])
    arrays["lengths"] = np.array([len(shards[id(model)]) for model in distinct])
    arrays["members"] = np.array([position[id(model)] for model in members])
    arrays["member_counts"] = np.array([len(ensemble.constituents) for ensemble in value.ensembles])
    arrays["accuracy"], arrays["epsilon"] = value.accuracy, value.epsilon
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    stacks = [group[0].stack for group in groups.values()]
    about = [{"architecture": s.architecture, "shape": s.shape, "num_classes": s.num_classes} for s in stacks]
    told = {"context": context, "about": json.dumps(about)}
    checksum = _checksum(arrays, told)
    metadata = {**told, "checksum": checksum, "seal": seal_of(checksum.encode()).hex()}
    with atomic_file(path) as handle:
        handle.write(save(arrays, metadata))


def _alike(model: Any) -> Hashable:
    """What networks must share to be kept as one array."""
    stack = model.stack
    return (stack.architecture, stack.shape, stack.num_classes, stack.history.shape[1:], stack.epsilon is None)


def _group_arrays(group: list[Any]) -> dict[str, np.ndarray]:
    import torch

    first = group[0].stack
    arrays = {f"weights.{name}": torch.stack([m.weights[name] for m in group]).numpy() for name in first.weights}
    for name in ("mean", "std"):
        if getattr(first, name) is not None:
            arrays[name] = torch.stack([getattr(model.stack, name)[model.index] for model in group]).numpy()
    for name in ("seeds", "history", *(["epsilon"] if first.epsilon is not None else [])):
        arrays[name] = np.array([getattr(model.stack, name)[model.index] for model in group])
    return arrays


def _assemble(arrays: dict[str, np.ndarray], about: list[dict[str, Any]], device: str) -> TrainedSet:
    from lib_unlearning.training.network_stack import NetworkModel

    models = []
    for number, described in enumerate(about):
        stack = _stack(arrays, f"{number}.", described, device)
        models += [NetworkModel(stack, index) for index in range(len(stack.seeds))]
    shards = np.split(arrays["records"], np.cumsum(arrays["lengths"])[:-1])
    groups = np.split(arrays["members"], np.cumsum(arrays["member_counts"])[:-1])
    ensembles = [Ensemble([models[i] for i in group], [shards[i] for i in group]) for group in groups]
    return TrainedSet(ensembles[0], ensembles[1:], arrays["accuracy"], arrays["epsilon"])


def _stack(arrays: dict[str, np.ndarray], prefix: str, about: dict[str, Any], device: str) -> Any:
    import torch

    from lib_unlearning.training.network_stack import Stack

    own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    tensors = {name: torch.from_numpy(a) for name, a in own.items() if name.startswith(("weights.", "mean", "std"))}
    return Stack(
        architecture=about["architecture"],
        shape=tuple(about["shape"]),
        num_classes=about["num_classes"],
        # safetensors sorts by name; the order of layers is the architecture's
        weights={name: tensors[f"weights.{name}"] for name in _layer_order(about)},
        mean=tensors.get("mean"),
        std=tensors.get("std"),
        seeds=own["seeds"],
        history=own["history"],
        device=device,
        epsilon=own.get("epsilon"),
    )


def _layer_order(about: dict[str, Any]) -> list[str]:
    import torch

    from lib_unlearning.training.networks import ARCHITECTURES

    with torch.device("meta"):
        return list(ARCHITECTURES[about["architecture"]].build(about["shape"], about["num_classes"]).state_dict())


def _checksum(arrays: dict[str, np.ndarray], told: dict[str, str]) -> str:
    """Of everything: names, arrays, and what is said of them."""
    return digest([told, [[name, digest_arrays(arrays[name])] for name in sorted(arrays)]])


def _verified(path: Path, context: str, trust: bool) -> tuple[State, dict[str, np.ndarray], list[dict[str, Any]]]:
    from safetensors import safe_open

    if not path.exists():
        return State.MISSING, {}, []
    try:
        check_regular(path)
        with safe_open(path, framework="np") as handle:
            metadata = handle.metadata() or {}
            arrays = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118  no mapping
        told = {name: metadata[name] for name in ("context", "about")}
        checksum, seal = metadata["checksum"], bytes.fromhex(metadata.get("seal", ""))
        if checksum != _checksum(arrays, told) or metadata.keys() - {*told, "checksum", "seal"}:
            raise ValueError("its checksum differs")
        about = json.loads(metadata["about"])
    except Exception as error:  # safetensors has errors of its own for damaged headers
        pass_refusal(error)
        raise UserError(f"{path} is damaged ({error_text(error)}); delete it or add --retrain") from error
    if metadata["context"] != context:
        return State.STALE, {}, []
    if not trust:
        check_seal(path, seal, checksum.encode(), FORGED)
    return State.CURRENT, arrays, about

"""The processed form of a data set: arrays on disk, memory-mapped, with a digest that guards them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import utils
from utils import UserError


@dataclass(frozen=True)
class Dataset:
    """A data set in memory (or mapped to it).

    Attributes:
        name, label: what it is called and which column is predicted.
        features: [N, d] float32.
        labels: [N] int64 in 0 .. num_classes - 1.
        num_classes: c, the columns of every posterior.
        digest: hex SHA-256 of features and labels; part of every cache address.
    """

    name: str
    label: str
    features: np.ndarray
    labels: np.ndarray
    num_classes: int
    digest: str

    def __len__(self) -> int:
        return len(self.labels)


def save_dataset(folder: Path, features: np.ndarray, labels: np.ndarray, description: dict[str, Any]) -> None:
    """Write features [N, d] and labels [N] as npy files and their description as JSON, which is written last."""
    for name, array in (("features", features), ("labels", labels)):
        with utils.atomic_file(folder / f"{name}.npy") as handle:
            np.save(handle, array, allow_pickle=False)
    utils.write_json(folder / "dataset.json", {**description, "digest": utils.digest_arrays(features, labels)})


def load_dataset(folder: Path) -> Dataset:
    """Map a processed data set into memory.

    Raises:
        UserError: an array is damaged or no longer what the description says.
    """
    description = utils.read_json(folder / "dataset.json")
    try:
        features = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / "labels.npy", mmap_mode="r", allow_pickle=False)
        found = utils.digest_arrays(features, labels)
        if found != description["digest"]:
            raise ValueError(f"its arrays have digest {found[:12]}, not {description['digest'][:12]}")
        name, label, classes = description["name"], description["label"], len(description["classes"])
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise UserError(
            f"the processed data set {folder} is damaged ({utils.error_text(error)}); delete the folder and run again"
        ) from error
    return Dataset(name, label, features, labels, classes, found)

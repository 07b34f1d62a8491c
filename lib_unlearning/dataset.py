"""The processed form of a data set: arrays on disk, memory-mapped, with a digest that guards them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError  # of numpy's headers
from typing import Any, Protocol

import numpy as np

from lib_unlearning.cache.arrays import write_array
from lib_unlearning.cache.files import check_regular, digest, digest_arrays, read_json, write_json
from lib_unlearning.errors import UserError, error_text, pass_refusal


class RecordTable(Protocol):
    """Records as models are trained on and asked about them: a `Dataset`, or anybody's own."""

    @property
    def labels(self) -> np.ndarray:
        """[N] class numbers, or the numbers of a regression."""

    @property
    def num_classes(self) -> int:
        """Columns of every answer."""

    def __len__(self) -> int: ...

    def rows(self, records: np.ndarray) -> Any:
        """Features of records [k], as models get them."""


@dataclass(frozen=True)
class Dataset:
    """A data set in memory (or mapped to it).

    Attributes:
        name, label: what it is called and which column is predicted.
        features: [N, d] float32, or [N, ch, h, w] uint8 for images.
        labels: [N] int64 in 0 .. num_classes - 1.
        num_classes: c, the columns of every posterior.
        normalisation: mean and standard deviation of each channel for images, of pixels in 0 .. 1; else None.
        synthetic: whether the records were invented; every table says so.
        digest: hex SHA-256 of features and labels; part of every cache address.
        columns: names of the features; none for images.
        categories: column -> texts that its codes 0, 1, ... stand for.
        classes: names of the classes.
    """

    name: str
    label: str
    features: np.ndarray
    labels: np.ndarray
    num_classes: int
    digest: str
    normalisation: tuple[np.ndarray, np.ndarray] | None = None
    synthetic: bool = False
    columns: tuple[str, ...] = ()
    categories: Mapping[str, Sequence[str]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def title(self) -> str:
        """Name and label as tables show them."""
        return f"{self.name} / {self.label}" + (" (synthetic)" if self.synthetic else "")

    def told(self, column: int, value: float) -> str:
        """A feature's value in words: a category's text, a number as short as it can be."""
        texts = self.categories.get(self.columns[column], ()) if self.columns else ()
        if texts and 0 <= value < len(texts):
            return str(texts[round(value)]) or "unknown"
        return f"{value:g}"

    def images(self, records: np.ndarray) -> np.ndarray:
        """Normalised images [n, ch, h, w] float32 of the records [n]; there is no random augmentation, so that a
        record has one posterior."""
        assert self.normalisation is not None
        mean, deviation = (part.reshape(-1, 1, 1) for part in self.normalisation)
        found: np.ndarray = (self.features[records].astype(np.float32) / 255 - mean) / deviation
        return found

    def rows(self, records: np.ndarray) -> np.ndarray:
        """Features [n, d] float32 of the records [n]; images as rows of normalised pixels."""
        if self.normalisation is None:
            found: np.ndarray = self.features[records]
            return found
        return self.images(records).reshape(len(records), -1)


def records_found_in(dataset: Dataset, other: Dataset, records: np.ndarray) -> np.ndarray:
    """Records of `dataset` whose features are, to the bit, those of one of the `records` [n] of another data set."""
    if dataset.features.shape[1:] != other.features.shape[1:] or dataset.features.dtype != other.features.dtype:
        return np.array([], dtype=np.int64)
    known = {row.tobytes() for row in other.features[records]}
    return np.flatnonzero([row.tobytes() in known for row in np.asarray(dataset.features)])


def save_dataset(folder: Path, features: np.ndarray, labels: np.ndarray, description: dict[str, Any]) -> None:
    """Write features [N, d] and labels [N] as npy files and their description as JSON, which is written last."""
    for name, array in (("features", features), ("labels", labels)):
        write_array(folder / f"{name}.npy", array)
    complete = {**description, "digest": digest_arrays(features, labels)}
    write_json(folder / "dataset.json", {**complete, "description_digest": digest(complete)})


def read_description(folder: Path) -> dict[str, Any]:
    """What dataset.json says; raises `UserError` when it is damaged or was edited."""
    description = read_json(folder / "dataset.json")
    stated = description.pop("description_digest", None) if isinstance(description, dict) else None
    if stated is None or stated != digest(description):
        raise UserError(
            f"{folder / 'dataset.json'} was edited or damaged (its digest differs); delete the folder and run again"
        )
    return dict(description)


def load_dataset(folder: Path) -> Dataset:
    """Map a processed data set into memory.

    Raises:
        UserError: an array is damaged or no longer what the description says.
    """
    description = read_description(folder)
    try:
        for name in ("features.npy", "labels.npy"):
            check_regular(folder / name)
        features = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / "labels.npy", mmap_mode="r", allow_pickle=False)
        found = digest_arrays(features, labels)
        if found != description["digest"]:
            raise ValueError(f"its arrays have digest {found[:12]}, not {description['digest'][:12]}")
        name, label, classes = description["name"], description["label"], len(description["classes"])
        constants = description.get("normalisation")
        normalisation = (_channels(constants["mean"]), _channels(constants["std"])) if constants else None
    except PermissionError as error:
        raise UserError(f"the processed data set {folder} cannot be read ({error_text(error)})") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, SyntaxError, TokenError) as error:
        pass_refusal(error)
        raise UserError(
            f"the processed data set {folder} is damaged ({error_text(error)}); delete the folder and run again"
        ) from error
    synthetic = bool(description.get("synthetic"))
    return Dataset(
        name,
        label,
        features,
        labels,
        classes,
        found,
        normalisation,
        synthetic,
        tuple(description.get("columns") or ()),
        description.get("category_codes") or {},
        tuple(map(str, description["classes"])),
    )


def _channels(values: list[float]) -> np.ndarray:
    return np.array(values, dtype=np.float32)

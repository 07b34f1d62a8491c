"""What every reader gives, and what must be true of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.errors import UserError


@dataclass(frozen=True)
class RawDataset:
    """A data set as read.

    Attributes:
        features: [N, d] float32, or [N, ch, h, w] uint8 for images.
        labels: [N] int64 in 0 .. len(classes) - 1.
        classes: names of the classes.
        details: JSON-serialisable: column names, category codes, source, licence, what was left out.
    """

    features: np.ndarray
    labels: np.ndarray
    classes: list[str]
    details: dict[str, Any] = field(default_factory=dict)


def check(raw: RawDataset, path: Path) -> RawDataset:
    """The same data set, if a study can be made of it.

    Raises:
        UserError: too few records, one class only, a class of one record, or features that are not finite.
    """
    if len(raw.labels) < 2:
        raise UserError(f"{path} holds {len(raw.labels)} usable record(s); a study needs many: give a larger file")
    counts = np.bincount(raw.labels, minlength=len(raw.classes))
    present = [name for name, count in zip(raw.classes, counts, strict=True) if count]
    if len(present) < 2:
        raise UserError(
            f"{path}: all {len(raw.labels)} records are of class {present[0]!r}; give a file with two or more"
        )
    for name, count in zip(raw.classes, counts, strict=True):
        if count < 2:
            raise UserError(f"{path}: class {name!r} has {count} record(s); give two or more, or drop the class")
    if raw.features.dtype != np.uint8:
        bad = np.argwhere(~np.isfinite(raw.features))
        if len(bad):
            row, column = bad[0].tolist()
            name = raw.details["columns"][column]
            raise UserError(f"{path}, record {row + 1}, column {name}: no finite 32-bit number; correct the file")
    return raw

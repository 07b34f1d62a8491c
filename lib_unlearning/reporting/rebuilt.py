"""Rebuilt records beside the true ones: attributes in the adversary's coordinates, or pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.dataset import Dataset
from lib_unlearning.reconstruct import Attempt, Reconstruction, examples
from lib_unlearning.reporting.style import Drawing, canvas, save

_SIDE = 1.5  # inches of a picture: three of them fit a phone
_REBUILT, _TRUE = "#D55E00", "#0072B2"


def draw_rebuilt(found: Reconstruction, dataset: Dataset, folder: Path) -> None:
    """Write `reconstruction.png` and `.svg`: the first deletion of three sample sets."""
    shown = examples(found)
    drawing = _attributes(shown, dataset) if dataset.normalisation is None else _pictures(shown, dataset)
    save(drawing, folder)


def _attributes(shown: list[Attempt], dataset: Dataset) -> Drawing:
    """Each attribute's value in standard deviations of the data set's: rebuilt and true."""
    figure, places = canvas([0.9 + 0.2 * len(dataset.columns)] * len(shown))
    features = np.asarray(dataset.features, dtype=np.float64)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1)
    rows = np.arange(len(dataset.columns))
    for place, attempt in zip(places, shown, strict=True):
        true, rebuilt = ((row - mean) / deviation for row in (features[attempt.record], attempt.guess.row))
        place.hlines(rows, np.minimum(true, rebuilt), np.maximum(true, rebuilt), color="#8c959f", linewidth=1)
        place.plot(true, rows, "o", color=_TRUE, label="deleted record", markersize=6)
        place.plot(rebuilt, rows, "x", color=_REBUILT, label="rebuilt", markersize=6)
        place.set_yticks(rows, dataset.columns)
        place.invert_yaxis()
        right = int((attempt.guess.row == features[attempt.record]).sum())
        place.set_title(f"{right} of {len(rows)} exact, rank {attempt.match.rank:,} by distance")
        place.set_xlabel("value, standard deviations from the mean")
    places[0].legend(loc="best", fontsize=8)
    caption = "Deleted records, rebuilt from the answers of both versions alone."
    return Drawing("reconstruction", figure, caption, caption)


def _pictures(shown: list[Attempt], dataset: Dataset) -> Drawing:
    """Deleted pictures, and below each what was rebuilt."""
    figure, places = canvas([_SIDE + 0.2] * (2 * len(shown)), len(shown), _SIDE)
    for attempt, above, below in zip(shown, places[: len(shown)], places[len(shown) :], strict=True):
        true = dataset.rows(np.array([attempt.record]))[0]
        _picture(above, true, dataset, f"deleted: {_class(dataset, int(dataset.labels[attempt.record]))}")
        _picture(below, attempt.guess.row, dataset, f"rebuilt: {_class(dataset, attempt.guess.label)}")
    caption = "Deleted pictures, and what was rebuilt of them from the answers of both versions alone."
    return Drawing("reconstruction", figure, caption, caption)


def _class(dataset: Dataset, label: int) -> str:
    return dataset.classes[label] if 0 <= label < len(dataset.classes) else "unknown"


def _picture(place: Any, row: np.ndarray, dataset: Dataset, title: str) -> None:
    channels = row.reshape(dataset.features.shape[1:])
    place.imshow(np.moveaxis(channels, 0, -1)[..., 0], cmap="gray")
    place.set_title(title)
    place.set_axis_off()

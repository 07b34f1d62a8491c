"""Raw files -> processed data sets. `python data_prepare.py --dataset_name adult` prepares one by hand."""

from __future__ import annotations

import argparse
import csv
import io
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import config
import utils
from lib_unlearning.dataset import Dataset, load_dataset, save_dataset
from utils import LOGGER, UserError

ADULT_NUMERIC = ("age", "fnlwgt", "educational-num", "capital-gain", "capital-loss", "hours-per-week")
ADULT_CATEGORICAL = (
    "workclass",
    "education",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "gender",
    "native-country",
)
ADULT_CLASSES = ("<=50K", ">50K")
ADULT_SOURCE = "UCI Machine Learning Repository, Adult, https://doi.org/10.24432/C5XW20"


def read_adult(raw_folder: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Adult from the shipped `adult.csv.xz`: features [48842, 14], labels [48842] and their description.

    Categories become their rank in alphabetical order; a missing value sorts first, as a category of its own.
    """
    path = raw_folder / "adult.csv.xz"
    columns = _read_columns(path)
    missing = sorted({*ADULT_NUMERIC, *ADULT_CATEGORICAL, "income"} - columns.keys())
    if missing:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}; restore the shipped file")
    names = [name for name in columns if name != "income"]
    codes = {name: sorted(set(columns[name])) for name in ADULT_CATEGORICAL}
    try:
        features = np.column_stack(
            [
                np.array(columns[name], dtype=np.float32)
                if name in ADULT_NUMERIC
                else np.searchsorted(np.array(codes[name]), np.array(columns[name])).astype(np.float32)
                for name in names
            ]
        )
        labels = np.array([ADULT_CLASSES.index(value) for value in columns["income"]], dtype=np.int64)
    except ValueError as error:
        raise UserError(
            f"{path} holds an unreadable value ({utils.error_text(error)}); restore the shipped file"
        ) from error
    description = {
        "classes": list(ADULT_CLASSES),
        "columns": names,
        "category_codes": codes,
        "records": len(labels),
        "source": ADULT_SOURCE,
        "licence": "CC BY 4.0",
    }
    return features, labels, description


def _read_columns(path: Path) -> dict[str, list[str]]:
    """Columns of an xz-compressed CSV file with a header."""
    try:
        text = lzma.decompress(path.read_bytes()).decode()
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({utils.error_text(error)}); restore the shipped file") from error
    rows = list(csv.reader(io.StringIO(text)))
    uneven = next((number for number, row in enumerate(rows, 1) if len(row) != len(rows[0])), None)
    if len(rows) < 2 or uneven:
        raise UserError(
            f"{path}, line {uneven or 1}: expected a header and rows of one length; restore the shipped file"
        )
    return {name: list(values) for name, *values in zip(*rows, strict=True)}


# name -> (its labels, the first being the default, and the reader of its raw files)
DATASETS: dict[str, tuple[tuple[str, ...], Callable[[Path], tuple[np.ndarray, np.ndarray, dict[str, Any]]]]] = {
    "adult": (("income",), read_adult),
}
PLANNED_DATASETS = ("accident", "location", "mnist", "cifar10", "stl10")


def default_label(name: str) -> str:
    """The label column a data set is predicted by when the user names none."""
    return DATASETS[name][0][0]


def obtain_dataset(name: str, label: str, temp_data: Path) -> Dataset:
    """Load a data set, preparing it first where that was not done yet.

    Raises:
        UserError: raw files are missing or damaged, or the processed form is.
    """
    folder = temp_data / config.PROCESSED_DATASET / f"{name}_{label}"
    if not (folder / "dataset.json").exists():
        prepare_dataset(name, label, temp_data)
    return load_dataset(folder)


def prepare_dataset(name: str, label: str, temp_data: Path) -> None:
    """Read the raw files of a data set and write its processed form under `temp_data`."""
    raw_folder = temp_data / config.DATASET
    if not raw_folder.exists():  # another --temp_data: the shipped files serve it as well
        raw_folder = config.TEMP_DATA_DIR / config.DATASET
    LOGGER.info("preparing %s from %s", name, raw_folder)
    features, labels, description = DATASETS[name][1](raw_folder)
    folder = temp_data / config.PROCESSED_DATASET / f"{name}_{label}"
    save_dataset(folder, features, labels, {**description, "name": name, "label": label})


def main() -> int:
    """Command line: prepare one data set and say what it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset_name", choices=sorted(DATASETS), default="adult")
    parser.add_argument("--temp_data", type=Path, default=config.TEMP_DATA_DIR, help="folder for what runs leave")
    arguments = parser.parse_args()
    utils.set_up_logging("info")
    label = default_label(arguments.dataset_name)
    try:
        prepare_dataset(arguments.dataset_name, label, arguments.temp_data)
        dataset = obtain_dataset(arguments.dataset_name, label, arguments.temp_data)
    except UserError as error:
        print(f"data_prepare.py: error: {error}", file=sys.stderr)
        return 2
    balance = np.bincount(dataset.labels, minlength=dataset.num_classes) / len(dataset)
    num_features = dataset.features.shape[1]
    shares = ", ".join(f"{share:.3f}" for share in balance)
    print(f"{dataset.name} / {label}: {len(dataset)} records, {num_features} features, class shares {shares}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

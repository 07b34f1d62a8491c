"""Adult: the shipped file, Kaggle's CSV, or UCI's `adult.data` and `adult.test`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib_unlearning.errors import UserError
from lib_unlearning.readers import safe_pickle, tables
from lib_unlearning.readers.columns import class_labels, encode
from lib_unlearning.readers.raw import RawDataset

MAX_PICKLE = 2**30
NUMERIC = ("age", "fnlwgt", "educational-num", "capital-gain", "capital-loss", "hours-per-week")
COLUMNS = (
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "educational-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "gender",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
    "income",
)
CLASSES = ["<=50K", ">50K"]
_WORDS = tuple(name for name in COLUMNS if name not in NUMERIC)
# Other names in the field: UCI's and OpenML's education-num, sex and class.
_ALIASES = {"educationalnum": "educationnum", "sex": "gender", "class": "income", "salary": "income"}
# UCI's test file ends its labels with a dot.
_SPELLINGS = {"<=50K": 0, ">50K": 1, "<=50K.": 0, ">50K.": 1}
_NUMBERED = {"0": 0, "1": 1}  # in processed tables
# Records of both halves together, of each, and the same less those with a missing value.
_PUBLISHED = (48842, 32561, 16281, 45222, 30162, 15060)


def recognise(path: Path) -> bool:
    """Whether a file is Adult in any of its forms."""
    return _has_header(path) or _is_uci(path) or (path.name.startswith("adult") and safe_pickle.is_pickle(path))


def read(path: Path) -> RawDataset:
    """Features [N, 14] and income; a missing value, `?` or empty, sorts first as a category of its own."""
    if safe_pickle.is_pickle(path):
        return _from_pickle(path)
    if path.is_dir():
        parts = [entry for name in ("adult.data", "adult.test") if (entry := path / name).exists()]
        if not parts:
            raise UserError(f"{path} holds neither adult.data nor adult.test; name the file with --source")
    else:
        parts = [path, *_partner(path)]
    table, *others = [_read_part(part) for part in parts]
    for other in others:
        table = {name: tables.joined(table[name], other[name]) for name in COLUMNS}
    columns = [name for name in COLUMNS if name != "income"]
    features, codes = encode(table, columns, NUMERIC, path)
    labels = class_labels(table["income"], _SPELLINGS | _NUMBERED, path, "income")
    return RawDataset(features, labels, CLASSES, {"columns": columns, "category_codes": codes, **_origin(labels)})


def _from_pickle(path: Path) -> RawDataset:
    """The authors' processed table: numbers throughout, income as 0 and 1 or by name."""
    features, values, columns = safe_pickle.table(path, ("income", "label"), MAX_PICKLE)
    labels = class_labels(tables.words_of(values), _SPELLINGS | _NUMBERED, path, "income")
    return RawDataset(features, labels, CLASSES, {"columns": columns, **_origin(labels)})


def _origin(labels: np.ndarray) -> dict[str, str]:
    """What the number of records says against the data set as it was published."""
    if len(labels) in _PUBLISHED:
        return {}
    return {"source": "a table with Adult's columns, not Adult as published", "licence": "not stated"}


def _read_part(path: Path) -> dict[str, tables.Column]:
    """A part's columns under the names in `COLUMNS`, however the file spells them."""
    if _is_uci(path):
        form = tables.Form(",", comment="|")
        return tables.read_columns(path, text=_WORDS, header=COLUMNS, form=form)
    own = tables.own_names(path, COLUMNS, _ALIASES)
    lacking = [name for name in COLUMNS if name not in own]
    if lacking:
        raise UserError(f"{path} lacks the column {', '.join(lacking)}; it has {', '.join(tables.first_fields(path))}")
    return tables.read_spelled(path, own, text=_WORDS)


def _partner(path: Path) -> list[Path]:
    """UCI publishes two halves: the one beside the file that was named."""
    names = {"adult.data": "adult.test", "adult.test": "adult.data"}
    other = path.with_name(names.get(path.name, path.name))
    return [other] if _is_uci(path) and other != path and other.exists() else []


def _has_header(path: Path) -> bool:
    return len(tables.own_names(path, ("age", "fnlwgt", "income"), _ALIASES)) == 3


def _is_uci(path: Path) -> bool:
    fields = tables.first_fields(path)
    return (len(fields) == 15 and fields[-1] in _SPELLINGS) or bool(fields and fields[0].startswith("|1x3 Cross"))

"""Tables that an audit is given: CSV, Parquet or npz, and what their columns hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.audit.probabilities import as_posteriors
from lib_unlearning.cache.files import check_regular
from lib_unlearning.errors import UNREADABLE, UserError, error_text
from lib_unlearning.readers.cells import is_nested

REQUIRED = ("label", "deleted")
NAMES = ("record", "set", "request")  # columns whose cells are names, whatever they look like
_COLUMNS = (*NAMES, *REQUIRED)
_MOST_BYTES = 8 * 2**30
# What pandas reads as no number, in columns of numbers; as a name it is one.
_MISSING = [
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
]
_OTHER_MARKS = (";", "\t", "|")  # between columns, in the place of commas
_LARGEST = 2**53  # whole number that a float holds
_LONGEST = 18  # digits of a whole number that 64 bits hold


def read_table(path: Path, flag: str, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Columns of a file by name; an npz array of two dimensions gives one column for each of its own.

    Cells of the columns `names` stay as they are written: 007 is neither 7 nor 7.0, and NA may be somebody's name.
    """
    import pandas as pd

    try:
        check_regular(path)
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{flag} {path}: larger than {_MOST_BYTES:,} bytes")
        if path.suffix == ".npz":
            return _npz(path)
        whole = path.suffix in (".parquet", ".pq")
        frame = pd.read_parquet(path) if whole else _csv(path, f"{flag} {path}", names)
    except UserError:
        raise
    except MemoryError:
        raise UserError(f"{flag} {path} holds, or says that it holds, more than memory does") from None
    except UNREADABLE as error:
        raise UserError(f"{flag} {path} cannot be read ({error_text(error)})") from error
    frame.columns = [str(name).strip() for name in frame.columns]
    _check_named_once(list(frame.columns), f"{flag} {path}")
    if not len(frame):
        raise UserError(f"{flag} {path} holds no rows")
    for name in frame.columns:
        if frame[name].dtype == object and frame[name].map(is_nested).any():
            raise UserError(f"{flag} {path}: column {name} holds lists; a cell is one value")
    return {name: frame[name].to_numpy() for name in frame.columns}


def _check_named_once(columns: Sequence[str], where: str) -> None:
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise UserError(f"{where} has two columns {twice[0]!r}; name them differently")


def _csv(path: Path, where: str, names: Sequence[str]) -> Any:
    import pandas as pd

    try:
        header = pd.read_csv(path, encoding="utf-8-sig", header=None, nrows=2, dtype=str, keep_default_na=False)
    except pd.errors.ParserError:  # else pandas takes the first of the cells for the row's name
        raise UserError(f"{where}: its rows have more cells than its header") from None
    written = [str(cell).strip() for cell in header.iloc[0]]
    other = [mark for mark in _OTHER_MARKS if mark in written[0]]
    if len(written) == 1 and other:
        raise UserError(
            f"{where}: its columns are separated by {other[0]!r}; save it with commas between columns, and points in "
            "numbers"
        )
    _check_named_once(written, where)  # before pandas names the second one anew
    columns = pd.read_csv(path, encoding="utf-8-sig", nrows=0).columns
    kinds = {name: str for name in columns if str(name).strip() in names}
    missing = {name: _MISSING for name in columns if name not in kinds}
    return pd.read_csv(path, encoding="utf-8-sig", dtype=kinds, keep_default_na=False, na_values=missing)


def _npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    found: dict[str, np.ndarray] = {}
    for name, values in arrays.items():
        if values.ndim == 1:
            found[name] = values
        elif values.ndim == 2:
            columns = {f"{name}{number}": column for number, column in enumerate(values.T)}
            if columns.keys() & arrays.keys():
                raise ValueError(f"the columns of its array {name} are called like other arrays")
            found |= columns
        else:
            raise ValueError(f"array {name} has {values.ndim} dimensions")
    if len({len(values) for values in found.values()}) > 1:
        raise ValueError("its arrays are not equally long")
    if not found or not len(next(iter(found.values()))):
        raise ValueError("it holds no rows")
    return found


def answers_in(
    path: Path, kind: str, flag: str, count: int, cases: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, list[str]]:
    """Posteriors [m, c] of a file of answers, its rows in the order of the cases, and the names of its columns."""
    table = read_table(path, flag, NAMES)
    for name in NAMES:
        if name in table and name in cases and not _same_names(table[name], cases[name], f"{flag} {path}: {name}"):
            raise UserError(
                f"{flag} {path}: its column {name} is not that of the cases; rows must be in the same order"
            )
    named = {name: values for name, values in table.items() if name not in _COLUMNS}
    if not named and kind == "labels" and "label" in table:
        named = {"label": table["label"]}
    for name, values in named.items():
        if len(named) > 1 and (name.startswith("Unnamed") or name in ("", "index") or _counts(values)):
            raise UserError(f"{flag} {path}: column {name!r} numbers the rows and is no answer; leave it out")
    columns = list(named.values())
    if any(column.dtype.kind == "c" for column in columns):
        raise UserError(f"{flag} {path}: answers must be numbers, found complex ones")
    if not columns:
        hint = "; if label holds them, add --answers labels" if "label" in table else ""
        raise UserError(f"{flag} {path}: no column of answers; it holds {listed(table)}{hint}")
    if len(columns[0]) != count:
        raise UserError(f"{flag} {path} has {len(columns[0]):,} rows, the cases {count:,}")
    try:
        values = np.column_stack([column.astype(np.float64) for column in columns])
    except ValueError as error:
        raise UserError(f"{flag} {path}: answers must be numbers ({error_text(error)})") from error
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise UserError(f"{flag} {path}: row {row + 1} holds NaN or infinity")
    classes = int(whole_numbers(cases["label"], "--cases: label").max()) + 1
    return as_posteriors(values, kind, f"{flag} {path}", classes), list(named)


def _counts(values: np.ndarray) -> bool:
    """Whether a column does nothing but count its rows."""
    number = np.issubdtype(values.dtype, np.number)
    return bool(number and len(values) > 2 and (np.diff(values) == 1).all())


def row_flags(values: np.ndarray, where: str) -> np.ndarray:
    """0 or 1 [m] of a column that says so in one of the usual words."""
    texts = {"1": 1, "true": 1, "yes": 1, "1.0": 1, "0": 0, "false": 0, "no": 0, "0.0": 0}
    distinct = {value: str(value).strip().lower() for value in np.unique(values.astype(str))}
    unknown = [value for value, text in distinct.items() if text not in texts]
    if unknown:
        raise UserError(f"{where}: deleted must be 0 or 1, found {str(unknown[0])!r}")
    lookup = {value: texts[text] for value, text in distinct.items()}
    return np.array([lookup[value] for value in values.astype(str)])


def whole_numbers(values: np.ndarray, where: str) -> np.ndarray:
    """Whole numbers [m] of a column that holds nothing else."""
    try:
        numbers = values.astype(np.float64)
    except ValueError as error:
        raise UserError(f"{where} must be whole numbers from 0 ({error_text(error)})") from error
    if not np.isfinite(numbers).all() or (numbers != numbers.round()).any() or (np.abs(numbers) > _LARGEST).any():
        raise UserError(f"{where} must be whole numbers from 0")
    return numbers.astype(np.int64)


def numbered(values: np.ndarray, where: str) -> np.ndarray:
    """Numbers [m] in the place of names, in their order: of whole numbers by value, of all others by letters."""
    absent = np.flatnonzero([value is None or value != value or value == "" for value in values.tolist()])
    if len(absent):
        raise UserError(f"{where}: row {absent[0] + 1} holds none")
    texts = as_texts(values, where)
    if all(_is_whole(text) for text in np.unique(texts).tolist()):
        texts = texts.astype(np.int64)
    return np.unique(texts, return_inverse=True)[1].ravel()


def _same_names(one: np.ndarray, other: np.ndarray, where: str) -> bool:
    """Whether two files name the same rows; numbers may be written in different ways."""
    texts = as_texts(one, where), as_texts(other, where)
    if np.array_equal(*texts):
        return True
    try:
        first, second = (part.astype(np.float64) for part in texts)
        return np.array_equal(first, second)
    except ValueError:
        return False


def as_texts(values: np.ndarray, where: str) -> np.ndarray:
    """Names [m] as texts, the same for a number in any kind of file."""
    if values.dtype.kind == "S":
        try:
            return np.char.decode(values, "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{where} holds bytes that are no UTF-8 text ({error_text(error)})") from error
    if values.dtype.kind == "f" and (values == np.round(values)).all() and (np.abs(values) < 2.0**53).all():
        values = values.astype(np.int64)
    return values.astype(str)


def _is_whole(text: str) -> bool:
    """Whether a text is a whole number as it is usually written: then no other text stands for it."""
    digits = text.removeprefix("-")
    plain = digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST
    return plain and (digits == "0" or not digits.startswith("0")) and text != "-0"


def listed(table: Mapping[str, Any]) -> str:
    names = list(table)
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")

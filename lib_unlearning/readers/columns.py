"""Columns -> features: numbers stay numbers, words become ranks, and nothing turns into something else in silence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.errors import LOGGER, UserError
from lib_unlearning.readers.tables import Column, Numbers, Words, plain_text

_CURRENCY = "$€£¥₹"
# How people write numbers: (name, what a cell looks like, what is taken out of it before it is read).
_STYLES: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("thousands separators", re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?"), ","),
    ("percent signs", re.compile(r"[+-]?\d{1,3}(,?\d{3})*(\.\d+)?\s?%"), ",%"),
    (
        "currency signs",
        re.compile(
            rf"[+-]?[{_CURRENCY}]\s?\d{{1,3}}(,?\d{{3}})*(\.\d+)?|[+-]?\d{{1,3}}(,?\d{{3}})*(\.\d+)?\s?[{_CURRENCY}]"
        ),
        f",{_CURRENCY}",
    ),
    ("decimal commas", re.compile(r"[+-]?\d+,\d+"), ""),
)
CODE = re.compile(r"0\d+")  # 007 is a code: as a number it would be another
_STRAY_SHARE, _STRAY_WORDS = 0.01, 10  # up to so many words among numbers are a mistake, more are codes
_KEPT = 0.95  # of the distinct values, after rounding to 32 bits


@dataclass(frozen=True)
class Encoded:
    """A column as it enters the features: values [N] or, one-hot, [N, k] float32, and what became of it in words."""

    values: np.ndarray
    kind: str
    distinct: int
    missing: int
    categories: list[str] | None = None
    names: tuple[str, ...] = ()


def parsed(word: str) -> float:
    """A cell as a number, NaN if it is none; Python would read 1_000 as one, people do not."""
    try:
        return float(word) if "_" not in word else float("nan")
    except ValueError:
        return float("nan")


def is_number(word: str) -> bool:
    """Whether a cell is meant as a number, be it finite or not."""
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


# ---------------------------------------------------------------- numbers


def numbers(column: Column, path: Path, name: str) -> np.ndarray:
    """A column as float32 [N]; a missing cell gets a code of its own, below the smallest number.

    Raises:
        UserError: a cell is no finite number that fits float32, or rounding would make different values equal.
    """
    if isinstance(column, Words):
        values = np.array([np.nan if word == "" else parsed(word) for word in column.distinct])[column.codes]
        absent = np.array([word == "" for word in column.distinct])[column.codes]
    else:
        values = column.values
        absent = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)
    bad = ~absent & ~np.isfinite(values.astype(np.float64))
    bad |= np.abs(np.where(absent, 0, values).astype(np.float64)) > np.finfo(np.float32).max
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        cell = column.distinct[column.codes[first]] if isinstance(column, Words) else plain_text(values[first].item())
        raise UserError(
            f"{path}, record {first + 1}, column {name}: {cell!r:.40} is no finite 32-bit number; correct it"
            f"{_ways(name)}"
        )
    return _rounded(values, absent, path, name)


def _ways(name: str) -> str:
    return f", or --categorical {name}, or --drop {name}"


def _rounded(values: np.ndarray, absent: np.ndarray, path: Path, name: str) -> np.ndarray:
    """Float32 [N] with as many distinct values; where only a large constant stands in the way, it is taken off."""
    known = values[~absent]
    if not len(known):
        return np.zeros(len(values), dtype=np.float32)
    distinct = np.unique(known)
    if len(np.unique(distinct.astype(np.float32))) < _KEPT * len(distinct):
        least = distinct[0]
        if len(np.unique((distinct - least).astype(np.float32))) < _KEPT * len(distinct):
            raise UserError(
                f"{path}, column {name}: {len(distinct)} different values would be "
                f"{len(np.unique(distinct.astype(np.float32)))} in 32-bit numbers; scale it{_ways(name)}"
            )
        LOGGER.warning("%s, column %s: %s was taken off, so that different values stay different", path, name, least)
        values = values - least
        known = values[~absent]
    found = values.astype(np.float32)
    if absent.any():
        found[absent] = _code_below(float(known.min()))
    return found


def _code_below(least: float) -> np.float32:
    """A number that is smaller than `least` in 32 bits as well."""
    step = 1.0
    while np.float32(least - step) == np.float32(least):
        step *= 2
    return np.float32(least - step)


def written_as(words: Sequence[str]) -> tuple[str, list[float]] | None:
    """How a column's words write numbers that Python does not read, and the numbers; None where they do not."""
    for style, pattern, taken in _STYLES:
        if any(pattern.fullmatch(word) for word in words) and all(
            pattern.fullmatch(word) or is_number(word) for word in words
        ):
            table = str.maketrans("", "", taken)
            plain = [word.replace(",", ".") if style == "decimal commas" else word.translate(table) for word in words]
            scale = 0.01 if style == "percent signs" else 1.0
            return style, [
                float(text) * (scale if "%" in word else 1.0) for text, word in zip(plain, words, strict=True)
            ]
    return None


# ---------------------------------------------------------------- words


def categories(column: Column) -> tuple[np.ndarray, list[str]]:
    """A column as ranks in alphabetical order [N] float32, and the categories; a missing cell's is ""."""
    words = column.words() if isinstance(column, Numbers) else column
    names = sorted(words.distinct)
    rank = {name: number for number, name in enumerate(names)}
    return np.array([rank[word] for word in words.distinct], dtype=np.float32)[words.codes], names


def encode(
    table: Mapping[str, Column], columns: Sequence[str], numeric: Iterable[str], path: Path
) -> tuple[np.ndarray, dict[str, list[str]]]:
    """Features [N, len(columns)] float32, and the codes of those that are categories."""
    numeric = set(numeric)
    features = np.empty((len(table[columns[0]]), len(columns)), dtype=np.float32)
    codes = {}
    for position, name in enumerate(columns):
        if name in numeric:
            features[:, position] = numbers(table[name], path, name)
        else:
            features[:, position], codes[name] = categories(table[name])
    return features, codes


def class_labels(column: Column, classes: Mapping[str, int], path: Path, name: str) -> np.ndarray:
    """A column as class numbers int64 [N]; raises `UserError` for a cell that names no class."""
    words = column.words() if isinstance(column, Numbers) else column
    codes = np.array([classes.get(word, -1) for word in words.distinct], dtype=np.int64)[words.codes]
    if (codes < 0).any():
        first = int(np.flatnonzero(codes < 0)[0])
        cell = words.distinct[words.codes[first]]
        raise UserError(
            f"{path}, record {first + 1}, column {name}: {cell!r:.40} is none of {', '.join(classes)}; correct it"
        )
    found: np.ndarray = codes
    return found


# ---------------------------------------------------------------- columns that nobody described


def guessed(column: Column, path: Path, name: str) -> Encoded:
    """A column as numbers where it is one of numbers, as a category otherwise; with a word where that is a guess.

    Raises:
        UserError: a few words stand among numbers.
    """
    if isinstance(column, Numbers):
        return as_numbers(column, path, name)
    words = [word for word in column.distinct if word]
    wrong = [word for word in words if not is_number(word)]
    if not words:
        return as_numbers(column, path, name)
    if not wrong:
        if sum(CODE.fullmatch(word) is not None for word in words) > len(words) / 2:
            LOGGER.warning("%s, column %s: codes with leading zeros; kept as a category", path, name)
            return as_category(column)
        return as_numbers(column, path, name)
    found = written_as(words)
    if found is not None:
        style, values = found
        LOGGER.warning("%s, column %s: %s words with %s, read as numbers", path, name, f"{len(words):,}", style)
        by_word = dict(zip(words, values, strict=True)) | {"": np.nan}
        return as_numbers(Numbers(np.array([by_word[word] for word in column.distinct])[column.codes]), path, name)
    stray = np.isin(column.codes, [number for number, word in enumerate(column.distinct) if word in set(wrong)])
    if len(wrong) < len(words) / 2:
        if len(wrong) < _STRAY_WORDS and stray.mean() <= max(_STRAY_SHARE, 1 / len(column)):
            return Encoded(numbers(column, path, name), "number", len(words), 0)  # names the cell that is no number
        LOGGER.warning(
            "%s, column %s: %d words such as %r among numbers; kept as a category (--numeric %s refuses them)",
            path,
            name,
            len(wrong),
            wrong[0],
            name,
        )
    return as_category(column)


def as_numbers(column: Column, path: Path, name: str) -> Encoded:
    """A column as numbers; raises `UserError` as `numbers` does."""
    values = numbers(column, path, name)
    if isinstance(column, Words):
        missing = int((column.codes == column.distinct.index("")).sum()) if "" in column.distinct else 0
    else:
        missing = int(np.isnan(column.values).sum()) if column.values.dtype.kind == "f" else 0
    return Encoded(values, "number", len(np.unique(values)) - (missing > 0), missing)


def as_category(column: Column, one_hot: bool = False) -> Encoded:
    """A column as ranks of its categories, or as one column of zeros and ones for each."""
    ranks, names = categories(column)
    missing = int((ranks == names.index("")).sum()) if "" in names else 0
    distinct = len(names) - (missing > 0)
    if not one_hot:
        return Encoded(ranks, "category", distinct, missing, names)
    values = (ranks[:, None] == np.arange(len(names))).astype(np.float32)
    return Encoded(values, "one-hot", distinct, missing, names, tuple(names))


def as_date(column: Column, path: Path, name: str) -> Encoded:
    """A column of dates as days since 1970, with fractions; raises `UserError` for a cell that is no date."""
    import pandas as pd

    words = column.words() if isinstance(column, Numbers) else column
    times = pd.to_datetime(pd.Series(words.distinct, dtype=object), errors="coerce", format="mixed", utc=True)
    bad = [number for number, word in enumerate(words.distinct) if word and pd.isna(times[number])]
    if bad:
        first = int(np.flatnonzero(np.isin(words.codes, bad))[0])
        cell = words.distinct[words.codes[first]]
        raise UserError(f"{path}, record {first + 1}, column {name}: {cell!r:.40} is no date; correct it{_ways(name)}")
    days = ((times - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)).to_numpy(dtype=np.float64)
    found = as_numbers(Numbers(days[words.codes]), path, name)
    return Encoded(found.values, "date, days", found.distinct, found.missing)


def _may_name_rows(found: Encoded) -> bool:
    """Words and whole numbers may; measurements differ from row to row as well."""
    return found.kind != "number" or bool(np.array_equal(found.values, np.round(found.values)))


def summary(name: str, found: Encoded, records: int) -> dict[str, Any]:
    """What became of a column, for people and for dataset.json."""
    return {
        "column": name,
        "kind": found.kind,
        "distinct": found.distinct,
        "missing": found.missing,
        "identifier": found.distinct == records and _may_name_rows(found),
    }

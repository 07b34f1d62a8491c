"""Columns -> features: numbers stay numbers, words become ranks, and nothing turns into something else in silence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.errors import LOGGER, UserError
from lib_unlearning.readers.cells import CODE, are_grouped, is_number, parsed, written_as
from lib_unlearning.readers.tables import Column, Numbers, Words, plain_text, words_of

_SURE = 15  # letters of a number that 64 bits tell from all others
_BEGINS_AS_NUMBER = re.compile(r"\W*\d")
_FIRST_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_FEW_NUMBERS = 2  # from which on distinct numbers among words are no accident
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


# ---------------------------------------------------------------- numbers


def numbers(column: Column, path: Path, name: str, own: bool = False) -> np.ndarray:
    """A column as float32 [N]; a missing cell gets a code of its own, below the smallest number.

    Args:
        own: whether it is of a table of one's own, which may be read otherwise if one says so.

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
            f"{ways_out(name, own)}"
        )
    if isinstance(column, Words) and len(np.unique(values[~absent])) < sum(map(bool, column.distinct)):
        values = _less_a_constant(column, path, name, own)
    return _rounded(values, absent, path, name, own)


def _less_a_constant(column: Words, path: Path, name: str, own: bool) -> np.ndarray:
    """Numbers [N] float64; where different ones have more digits than 64 bits hold and would be equal, the smallest is
    taken off first, digit by digit."""
    exact = {word: Decimal(word) for word in column.distinct if word}
    plain = {word: float(value) for word, value in exact.items()}
    different = len(set(exact.values()))
    if len(set(plain.values())) < different:
        least = min(exact.values())
        with localcontext() as context:
            context.prec = 60
            plain = {word: float(value - least) for word, value in exact.items()}
        if len(set(plain.values())) < different:
            raise UserError(
                f"{path}, column {name}: {different} different values would be {len(set(plain.values()))} in 64-bit "
                f"numbers, also less the smallest; scale it{ways_out(name, own)}"
            )
        _say_taken_off(path, name, least)
    found: np.ndarray = np.array([plain.get(word, np.nan) for word in column.distinct])[column.codes]
    return found


def _say_taken_off(path: Path, name: str, least: object) -> None:
    LOGGER.warning("%s, column %s: %s was taken off, so that different values stay different", path, name, least)


def ways_out(name: str, own: bool = True) -> str:
    """What a person may do about a column that cannot be read, for the end of a message; "" if no flag reaches it."""
    return f", or --categorical {name}, or --drop {name}" if own else ""


def _rounded(values: np.ndarray, absent: np.ndarray, path: Path, name: str, own: bool) -> np.ndarray:
    """Float32 [N] with as many distinct values; where only a large constant stands in the way, it is taken off."""
    known = values[~absent]
    if not len(known):
        return np.zeros(len(values), dtype=np.float32)
    distinct = np.unique(known)
    if len(np.unique(distinct.astype(np.float32))) < _KEPT * len(distinct):
        least = distinct[0]
        if len(np.unique((distinct - least).astype(np.float32))) < _KEPT * len(distinct):
            left = len(np.unique(distinct.astype(np.float32)))
            raise UserError(
                f"{path}, column {name}: {len(distinct)} different values would be {left} in 32-bit numbers; scale it"
                f"{ways_out(name, own)}"
            )
        _say_taken_off(path, name, least)
        values = values - least
        known = values[~absent]
    found = values.astype(np.float32)
    lost = len(distinct) - len(np.unique(found[~absent]))
    if lost:
        LOGGER.warning(
            "%s, column %s: %d of %d different values are equal to others in 32-bit numbers",
            path,
            name,
            lost,
            len(distinct),
        )
    if absent.any():
        found[absent] = _code_below(float(known.min()))
    return found


def _code_below(least: float) -> np.float32:
    """A number that is smaller than `least` in 32 bits as well."""
    step = 1.0
    while np.float32(least - step) == np.float32(least):
        step *= 2
    return np.float32(least - step)


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


def guessed(column: Column, path: Path, name: str, commas: bool = False) -> Encoded:
    """A column as numbers where it is one of numbers, as a category otherwise; with a word where that is a guess.

    Args:
        commas: whether the table writes decimal commas elsewhere (see `cells.written_as`).

    Raises:
        UserError: a few words stand among numbers.
    """
    if isinstance(column, Numbers):
        return as_numbers(column, path, name)
    column = _without_none(column, path, name)
    column = _one_spelling(column, path, name)
    words = [word for word in column.distinct if word]
    wrong = [word for word in words if not is_number(word)]
    if not words:
        return as_numbers(column, path, name)
    if not wrong and not (commas and are_grouped(words)):
        return _coded(column, words, path, name)
    plain = _plainly(column, path, name, commas)
    if plain is not None:
        return as_numbers(plain, path, name)
    if len(wrong) <= len(words) - _FEW_NUMBERS:
        bad = set(wrong)
        stray = np.isin(column.codes, [number for number, word in enumerate(column.distinct) if word in bad])
        if len(wrong) < _STRAY_WORDS and stray.mean() <= max(_STRAY_SHARE, 1 / len(column)):
            values = numbers(column, path, name, own=True)  # names the cell that is no number
            return Encoded(values, "number", len(words), 0)
        LOGGER.warning(
            "%s, column %s: %d words such as %r among numbers; kept as a category (--numeric %s refuses them)",
            path,
            name,
            len(wrong),
            wrong[0],
            name,
        )
    elif sum(_BEGINS_AS_NUMBER.match(word) is not None for word in words) > len(words) / 2 or _disordered(words):
        with_digits = [word for word in wrong if _FIRST_NUMBER.search(word)]
        LOGGER.warning(
            "%s, column %s: %d words such as %r have digits and are no numbers; kept as a category, in alphabetical "
            "order",
            path,
            name,
            len(with_digits),
            with_digits[0],
        )
    return as_category(column)


def _disordered(words: Sequence[str]) -> bool:
    """Whether the alphabet puts words in another order than the numbers in them have."""
    found = [_FIRST_NUMBER.search(word) for word in sorted(words)]
    values = [_roughly(part[0]) for part in found if part]
    return any(later < earlier for earlier, later in pairwise(values))


def _roughly(number: str) -> float:
    """Digits with points and commas as a number: the last mark, if it stands once, is the decimal one."""
    whole, mark, rest = number.rpartition("," if number.rfind(",") > number.rfind(".") else ".")
    digits = re.sub(r"[.,]", "", whole)
    return float(f"{digits}.{rest}" if mark and mark not in whole else digits + rest)


def _one_spelling(column: Words, path: Path, name: str) -> Words:
    """true, TRUE and True are one value, where a column holds nothing else but false."""
    known = {word for word in column.distinct if word}
    values = {word.casefold() for word in known}
    if not values <= {"true", "false"} or len(values) == len(known):
        return column
    LOGGER.warning("%s, column %s: %s are read as True and False", path, name, ", ".join(sorted(known)))
    return words_of(word.capitalize() for word in column.cells().tolist())


def _without_none(column: Words, path: Path, name: str) -> Words:
    """A column whose cells are numbers but for "None", which then says that there is none."""
    others = [word for word in column.distinct if word and not is_number(word)]
    if not others or {word.casefold() for word in others} != {"none"} or len(others) == len(column.distinct):
        return column
    LOGGER.warning("%s, column %s: %r among numbers is taken for a missing one", path, name, others[0])
    return words_of("" if word in others else word for word in column.cells().tolist())


def _coded(column: Words, words: Sequence[str], path: Path, name: str) -> Encoded:
    """Numbers, unless their leading zeros mean something: most have them, or they alone tell two cells apart."""
    codes = [word for word in words if CODE.fullmatch(word)]
    if not codes:
        return as_numbers(column, path, name)
    merged = len({parsed(word) for word in words}) < len({_without_fraction(word) for word in words})
    if merged or len(codes) > len(words) / 2:
        LOGGER.warning("%s, column %s: codes with leading zeros; kept as a category", path, name)
        return as_category(column)
    LOGGER.warning("%s, column %s: leading zeros, as of %r, are dropped", path, name, codes[0])
    return as_numbers(column, path, name)


def _without_fraction(word: str) -> str | float:
    """What tells cells apart if leading zeros do: 1.0 and 1 are the same, 01 and 1 are not."""
    return word if CODE.fullmatch(word) else parsed(word)


def _plainly(column: Words, path: Path, name: str, commas: bool) -> Words | None:
    """A column whose cells write numbers as people do, as Python writes them; None where they do not."""
    words = [word for word in column.distinct if word]
    found = written_as(words, commas)
    if found is None:
        return None
    style, plain = found
    shown = next(word for word, number in zip(words, plain, strict=True) if word != number)
    LOGGER.warning("%s, column %s: numbers with %s, such as %r, read as numbers", path, name, style, shown)
    by_word = dict(zip(words, plain, strict=True)) | {"": ""}
    return Words([by_word[word] for word in column.distinct], column.codes)


def as_stated(column: Column, path: Path, name: str, commas: bool = False) -> Encoded:
    """A column that a person says is of numbers, however they are written; raises `UserError` as `numbers` does."""
    if isinstance(column, Words) and (commas or not all(map(is_number, filter(None, column.distinct)))):
        return as_numbers(_plainly(column, path, name, commas) or column, path, name)
    return as_numbers(column, path, name)


def as_written(column: Column, path: Path, name: str) -> np.ndarray:
    """Numbers [N] of a column of a known data set, with decimal points or commas; raises `UserError` as `numbers`."""
    plain = _plainly(column, path, name, commas=True) if isinstance(column, Words) else None
    return numbers(plain or column, path, name)


def as_numbers(column: Column, path: Path, name: str) -> Encoded:
    """A column as numbers; raises `UserError` as `numbers` does."""
    values = numbers(column, path, name, own=True)
    if isinstance(column, Words):
        missing = int((column.codes == column.distinct.index("")).sum()) if "" in column.distinct else 0
    else:
        missing = int(np.isnan(column.values).sum()) if column.values.dtype.kind == "f" else 0
    return Encoded(values, "number", _different(column), missing)


def _different(column: Column) -> int:
    """Distinct values before any rounding, missing ones aside."""
    if isinstance(column, Words):
        return len({parsed(word) if len(word) < _SURE else word for word in column.distinct if word})
    return len(np.unique(column.values[~np.isnan(column.values)] if column.values.dtype.kind == "f" else column.values))


def as_category(column: Column, one_hot: bool = False) -> Encoded:
    """A column as ranks of its categories, or as one column of zeros and ones for each."""
    ranks, names = categories(column)
    missing = int((ranks == names.index("")).sum()) if "" in names else 0
    distinct = len(names) - (missing > 0)
    if not one_hot:
        return Encoded(ranks, "category", distinct, missing, names)
    values = (ranks[:, None] == np.arange(len(names))).astype(np.float32)
    return Encoded(values, "one-hot", distinct, missing, names, tuple(names))


def _may_name_rows(found: Encoded) -> bool:
    """Words and whole numbers may; measurements differ from row to row as well."""
    return found.kind != "number" or bool(np.array_equal(found.values, np.round(found.values)))


def _one_each(found: Encoded, records: int) -> bool:
    """Whether as good as every row has a value of its own."""
    return found.distinct + found.missing == records and found.missing <= records // 20


def summary(name: str, found: Encoded, records: int) -> dict[str, Any]:
    """What became of a column, for people and for dataset.json."""
    return {
        "column": name,
        "kind": found.kind,
        "distinct": found.distinct,
        "missing": found.missing,
        "identifier": _one_each(found, records) and _may_name_rows(found),
    }

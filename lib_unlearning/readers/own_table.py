"""Anybody's own table, CSV or Parquet: numbers stay numbers, words become categories, unless they say otherwise."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib_unlearning.cache.files import check_regular
from lib_unlearning.errors import LOGGER, UserError, error_text
from lib_unlearning.readers import cells, dates
from lib_unlearning.readers import columns as features_of
from lib_unlearning.readers.columns import Encoded
from lib_unlearning.readers.raw import RawDataset
from lib_unlearning.readers.tables import (
    LEGACY,
    Column,
    Form,
    Numbers,
    Words,
    fields_of,
    first_fields,
    form_of,
    open_bytes,
    read_columns,
    words_of,
)

MAX_CLASSES = 1000
_CODE_ROWS = 1000  # that tell whether a column's leading zeros mean something
_CODE_LINES = 10_000
_BETWEEN_LETTERS = re.compile(r"(?<=[^\W\d_])[-_ ]+(?=[^\W\d_])")


@dataclass(frozen=True)
class TableOptions:
    """What a person says of an own table: names of columns, and how the file is written.

    Attributes:
        label: the column to predict.
        categorical, numeric, one_hot, date: how columns are to be read, where not as they look.
        drop: columns to leave out.
    """

    label: str = ""
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    one_hot: tuple[str, ...] = ()
    date: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    delimiter: str | None = None
    encoding: str | None = None

    @property
    def named(self) -> dict[str, tuple[str, ...]]:
        """Flag -> the columns it names."""
        return {name: getattr(self, name) for name in ("categorical", "numeric", "one_hot", "date", "drop")}


def read(path: Path, options: TableOptions) -> RawDataset:
    """Features [N, d] of all columns but one, and that column's values as classes.

    Raises:
        UserError: a column is not there or not what the options say, or the file cannot be read as a table.
    """
    table = _table(path, options)
    _check_names(path, list(table), options)
    _check_header_stands_once(path, table)
    labels, classes = _labels(table.pop(options.label), path, options.label)
    chosen = {name: column for name, column in table.items() if name not in options.drop}
    if not chosen:
        raise UserError(f"{path} has no column beside {options.label}; give a table with features")
    commas = _decimal_commas(chosen, path)
    encoded = {name: _encoded(column, path, name, options, commas) for name, column in chosen.items()}
    parts = [part.values if part.values.ndim == 2 else part.values[:, None] for part in encoded.values()]
    names = [
        name
        for column, part in encoded.items()
        for name in ([f"{column}={value}" for value in part.names] if part.names else [column])
    ]
    told = [features_of.summary(name, part, len(labels)) for name, part in encoded.items()]
    _warn_of_columns(path, told)
    unique = {column["column"] for column in told if column["identifier"]}  # names of people: nothing is told by them
    codes = {
        name: part.categories for name, part in encoded.items() if part.categories is not None and name not in unique
    }
    details = {"columns": names, "category_codes": codes, "summary": told}
    return RawDataset(np.concatenate(parts, axis=1), labels, classes, details)


def _decimal_commas(table: Mapping[str, Column], path: Path) -> bool:
    """Whether a table writes decimal commas, told by a column that can be read in no other way; says what is a guess
    where none tells."""
    words = {
        name: [word for word in column.distinct if word] for name, column in table.items() if isinstance(column, Words)
    }
    if any(map(cells.writes_decimal_commas, words.values())):
        return True
    for name in (name for name, here in words.items() if cells.are_grouped(cells.without_units(here))):
        shown = next(word for word in words[name] if "." in word)
        LOGGER.warning(
            "%s, column %s: %r is read as a number with three decimals; if it is in thousands, take the point out",
            path,
            name,
            shown,
        )
    return False


def _encoded(column: Column, path: Path, name: str, options: TableOptions, commas: bool) -> Encoded:
    if name in options.date:
        return dates.as_date(column, path, name)
    if name in options.one_hot:
        return features_of.as_category(column, one_hot=True)
    if name in options.categorical:
        return features_of.as_category(column)
    if name in options.numeric:
        return features_of.as_stated(column, path, name, commas)
    found = features_of.guessed(column, path, name, commas)
    if found.kind == "category" and isinstance(column, Words) and dates.looks_like_dates(column):
        LOGGER.warning("%s, column %s: looks like dates; kept as a category (--date %s)", path, name, name)
    return found


def _check_names(path: Path, names: list[str], options: TableOptions) -> None:
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    if options.label not in names:
        cut = "; if that is several, --delimiter names what is between them" if len(names) == 1 else ""
        raise UserError(f"--label_column {options.label}: {path} has no such column; it has {shown}{cut}")
    told: dict[str, str] = {}
    for flag, columns in options.named.items():
        for name in columns:
            if told.setdefault(name, flag) != flag:
                raise UserError(f"--{flag} {name}: --{told[name]} names it as well; leave one out")
            if name not in names:
                raise UserError(f"--{flag} {name}: {path} has no such column; it has {shown}")
            if name == options.label:
                raise UserError(f"--{flag} {name}: this is the label column")


def _check_header_stands_once(path: Path, table: Mapping[str, Column]) -> None:
    """Raise `UserError` where files were put one behind the other, each with its first line."""
    same = np.ones(len(next(iter(table.values()))), dtype=bool)
    for name, column in table.items():
        if isinstance(column, Numbers) or name not in column.distinct:
            return
        same &= column.codes == column.distinct.index(name)
    if same.any():
        raise UserError(f"{path}, record {int(np.flatnonzero(same)[0]) + 1} is the header once more; take it out")


def _warn_of_columns(path: Path, told: Iterable[Mapping[str, object]]) -> None:
    for column in told:
        if column["identifier"]:
            LOGGER.warning(
                "%s, column %s: as many values as rows, an identifier? --drop %s",
                path,
                column["column"],
                column["column"],
            )
        elif not column["distinct"]:
            LOGGER.warning("%s, column %s: holds nothing; --drop %s", path, column["column"], column["column"])


# ---------------------------------------------------------------- label


def _labels(column: Column, path: Path, name: str) -> tuple[np.ndarray, list[str]]:
    """Class numbers int64 [N] and class names; spellings of one value are one class."""
    words = column.words() if isinstance(column, Numbers) else column
    missing = np.isin(words.codes, [number for number, word in enumerate(words.distinct) if word == ""])
    if missing.any():
        first = int(np.flatnonzero(missing)[0])
        raise UserError(f"{path}, record {first + 1}, column {name}: the label is missing; drop or fill the row")
    plain = _canonical(words.distinct)
    if plain != words.distinct:
        pairs = zip(words.distinct, plain, strict=True)
        merged = sorted({f"{word!r} as {text!r}" for word, text in pairs if word != text})
        LOGGER.warning("%s, column %s: read %s", path, name, ", ".join(merged[:5]))
    classes = sorted(set(plain))
    for alike in _alike(classes):
        shown = " and ".join(repr(text) for text in alike)
        LOGGER.warning("%s, column %s: classes %s differ in spelling only; are they one?", path, name, shown)
    if len(classes) > MAX_CLASSES:
        raise UserError(f"--label_column {name}: {len(classes)} classes; name a column of at most {MAX_CLASSES}")
    number = {text: code for code, text in enumerate(classes)}
    return np.array([number[text] for text in plain], dtype=np.int64)[words.codes], classes


def _alike(classes: list[str]) -> list[list[str]]:
    """Groups of classes that case, accents' form, blanks, quotes or hyphens between letters alone tell apart, or that
    are one number or truth value."""
    known: dict[str, list[str]] = {}
    truths = dict.fromkeys(("true", "yes", "t", "y"), "1") | dict.fromkeys(("false", "no", "f", "n"), "0")
    for text in classes:
        bare = cells.without_units([text])
        value = cells.exactly((cells.written_as(bare) or ("", bare))[1][0])
        plain = unicodedata.normalize("NFC", text).casefold()
        plain = _BETWEEN_LETTERS.sub("", re.sub(r"[\s'\"]", " ", plain)).replace(" ", "")
        known.setdefault(truths.get(plain, plain) if value is None else str(value), []).append(text)
    return [found for found in known.values() if len(found) > 1]


def _canonical(words: list[str]) -> list[str]:
    """One spelling for each value: 0.0 is 0, TRUE is True, and a final dot goes where the same word stands without;
    leading zeros stay."""
    known = set(words)
    booleans = {word.casefold() for word in words} <= {"true", "false"}
    plain = []
    for word in words:
        value = cells.parsed(word)
        if value.is_integer() and not cells.CODE.fullmatch(word):
            word = str(int(value)) if abs(value) < 2**53 else word
        elif booleans:
            word = word.capitalize()
        elif word.endswith(".") and word[:-1] in known:
            word = word[:-1]
        plain.append(word)
    return plain


# ---------------------------------------------------------------- files


def _table(path: Path, options: TableOptions) -> dict[str, Column]:
    if _is_parquet(path):
        return _read_parquet(path)
    form = Form(options.delimiter, options.encoding)
    text = {options.label, *options.categorical, *options.one_hot, *options.date}
    table = read_columns(path, text=text | _codes(path, form_of(path, form)), form=form)
    first = next(iter(table), "")
    if first == "unnamed_0" and isinstance(table[first], Numbers):
        values = table[first].values  # type: ignore[union-attr]
        if np.array_equal(values, np.arange(len(values))) or np.array_equal(values, np.arange(1, len(values) + 1)):
            LOGGER.warning("%s: the first column has no name and counts the rows; left out", path)
            del table[first]
    return table


def _codes(path: Path, form: Form) -> set[str]:
    """Columns in which a cell has leading zeros, more digits than numbers would keep, or points that may stand between
    thousands, as they do where commas are no separators."""
    names = [name or f"unnamed_{n}" for n, name in enumerate(first_fields(path, form))]
    sample = read_columns(path, text=names, max_rows=_CODE_ROWS, form=form)
    words = {
        name: [word for word in found.distinct if word] for name, found in sample.items() if isinstance(found, Words)
    }
    early = {
        name
        for name, here in words.items()
        if cells.must_stay_text(here) or (form.delimiter != "," and cells.are_grouped(here))
    }
    return early | _late_codes(path, form, names)


def _late_codes(path: Path, form: Form, names: list[str]) -> set[str]:
    """Columns in which whole numbers with leading zeros stand further down than all columns are looked at as text.

    Lines with such numbers are cut into fields until many in a row show no new column.
    """
    if form.encoding not in ("utf-8", "utf-8-sig", LEGACY):
        return set()
    mark = re.escape((form.delimiter or ",").encode())
    code = re.compile(rb'(?:^|%b) *"?0\d+"? *(?=%b|\r?$)' % (mark, mark))
    found: set[str] = set()
    nothing_new = 0
    with open_bytes(path) as handle:
        for number, line in enumerate(handle):
            if number > _CODE_ROWS and code.search(line.rstrip(b"\n")):
                fields = fields_of(line.decode(form.encoding, "replace"), form)
                here = {name for name, cell in zip(names, fields, strict=False) if cells.CODE.fullmatch(cell.strip())}
                nothing_new = nothing_new + 1 if here <= found else 0
                found |= here
                if nothing_new == _CODE_LINES:
                    break
    return found


def _is_parquet(path: Path) -> bool:
    try:
        check_regular(path)
        with open(path, "rb") as handle:
            return handle.read(4) == b"PAR1"
    except (OSError, ValueError):
        return False


def _read_parquet(path: Path) -> dict[str, Column]:
    import pandas as pd

    try:
        table = pd.read_parquet(path)
    except ImportError as error:
        raise UserError(
            f"{path} is a Parquet file, which needs pyarrow: pip install pyarrow, or export it as CSV"
        ) from error
    except Exception as error:  # pyarrow has errors of its own for damaged files
        raise UserError(f"{path} cannot be read ({error_text(error)}); write it again") from error
    if not len(table):
        raise UserError(f"{path} has a header and no rows; write it again")
    found: dict[str, Column] = {}
    for name in table.columns:
        part = table[name]
        if getattr(part.dtype, "kind", "O") in "iuf":
            whole = part.dtype.kind in "iu" and part.isna().any() and bool((part.abs() >= 2**53).any())
            if whole:  # floating-point numbers would round them
                found[str(name)] = words_of("" if pd.isna(cell) else str(cell) for cell in part)
                continue
            values = part.to_numpy(dtype=np.float64, na_value=np.nan) if part.isna().any() else part.to_numpy()
            found[str(name)] = Numbers(values)
        else:
            if part.map(cells.is_nested).any():
                raise UserError(f"{path}, column {name} holds lists, records or bytes, where a cell is one value")
            found[str(name)] = words_of("" if pd.isna(cell) else str(cell) for cell in part)
    return found

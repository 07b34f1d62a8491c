"""Tables as people have them: compressed or not, checked cell by cell, turned into numbers."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zipfile
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from lib_unlearning.errors import UserError, error_text

# A table may unpack to this many bytes, as all of it is read into memory.
MAX_BYTES = 2**30
MISSING = ("", "?")
# What reading damaged or hostile bytes may raise, beside OSError.
_DAMAGE = (ValueError, EOFError, lzma.LZMAError, zipfile.BadZipFile, UnicodeError, csv.Error)


class _Bounded(io.RawIOBase):
    """A stream that refuses to give more than `limit` bytes, so that a small archive cannot fill the memory."""

    def __init__(self, stream: IO[bytes], path: Path, limit: int) -> None:
        self._stream, self._path, self._limit, self._given = stream, path, limit, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._given += len(data)
        if self._given > self._limit:
            raise UserError(f"{self._path} unpacks to more than {self._limit} bytes; give a smaller file")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def open_text(path: Path, encoding: str = "utf-8", limit: int = MAX_BYTES) -> io.TextIOWrapper:
    """Open a text file that may be gzip, bzip2, xz or zip (of one file), told by its first bytes.

    Raises:
        UserError: missing, a folder, empty, or more than `limit` bytes when unpacked (while it is read).
    """
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder; name the file in it")
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty; fetch it again")
        with open(path, "rb") as handle:
            start = handle.read(6)
        stream = _decompressed(path, start)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; name an existing file with --source") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read ({error_text(error)}); fetch it again") from error
    return io.TextIOWrapper(io.BufferedReader(_Bounded(stream, path, limit)), encoding=encoding, newline="")


def _decompressed(path: Path, start: bytes) -> IO[bytes]:
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(path))
    if start.startswith(b"BZh"):
        return cast(IO[bytes], bz2.open(path))
    if start.startswith(b"\xfd7zXZ\x00"):
        return cast(IO[bytes], lzma.open(path))
    if start.startswith(b"PK\x03\x04"):
        archive = zipfile.ZipFile(path)
        files = [name for name in archive.namelist() if not name.endswith("/")]
        if len(files) != 1:
            raise UserError(f"{path} holds {len(files)} files; unpack it and name one with --source")
        return archive.open(files[0])
    return open(path, "rb")


def first_fields(path: Path, delimiter: str = ",", encoding: str = "utf-8") -> list[str]:
    """The fields of a table's first line; what cannot be read as text has none."""
    try:
        with open_text(path, encoding, limit=2**20) as handle:
            return [name.strip() for name in next(csv.reader([handle.readline(2**16)], delimiter=delimiter), [])]
    except (UserError, OSError, *_DAMAGE):
        return []


@dataclass(frozen=True)
class Column:
    """A column of text: its distinct cells and, for each row [N], which of them it holds."""

    distinct: list[str]
    codes: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)

    def cells(self) -> np.ndarray:
        """All cells [N]."""
        return np.array(self.distinct, dtype=object)[self.codes]


def column_of(cells: Iterable[str]) -> Column:
    """A column made of cells; blanks around them are dropped."""
    builder = _Builder()
    for cell in cells:
        builder.add(cell)
    return builder.column()


class _Builder:
    """Gathers a column cell by cell: a repeated text is kept once, however long the table."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        self.codes = array("i")

    def add(self, cell: str) -> None:
        self.codes.append(self.known.setdefault(cell.strip(), len(self.known)))

    def column(self) -> Column:
        return Column(list(self.known), np.array(self.codes, dtype=np.int32))


def joined(first: Column, second: Column) -> Column:
    """The rows of one column and then those of another."""
    return column_of([*first.cells(), *second.cells()])


def read_columns(
    path: Path,
    wanted: Sequence[str] | None = None,
    required: Iterable[str] = (),
    max_rows: int | None = None,
    delimiter: str = ",",
    header: Sequence[str] | None = None,
    encoding: str = "utf-8",
    comment: str | None = None,
    limit: int = MAX_BYTES,
) -> dict[str, Column]:
    """A table as columns of text, read row by row.

    Args:
        wanted: columns to keep, those that exist (None: all).
        required: columns that must exist.
        max_rows: rows to read (None: all).
        header: names of the columns of a file that has no header line.
        comment: a character that starts a line to be skipped.
        limit: bytes that the file may unpack to.

    Raises:
        UserError: the file cannot be read, lacks or repeats a column, or has rows of unequal length.
    """
    names = list(header) if header is not None else first_fields(path, delimiter, encoding)
    _check_header(path, names, required, delimiter, encoding)
    kept = [(position, _Builder()) for position, name in enumerate(names) if wanted is None or name in wanted]
    try:
        with open_text(path, encoding, limit) as handle:
            rows = _rows(handle, delimiter, comment)
            if header is None:
                next(rows)
            for row in islice(rows, max_rows):
                if len(row) != len(names):
                    record = len(kept[0][1].codes) + 1
                    raise UserError(f"{path}, record {record}: {len(row)} fields, not {len(names)}; correct it")
                for position, builder in kept:
                    builder.add(row[position])
    except (OSError, *_DAMAGE) as error:
        raise UserError(f"{path} cannot be read ({error_text(error)}); fetch it again or correct it") from error
    if not len(kept[0][1].codes):
        raise UserError(f"{path} has a header and no rows; fetch it again")
    return {names[position]: builder.column() for position, builder in kept}


def _rows(handle: io.TextIOWrapper, delimiter: str, comment: str | None) -> Iterator[list[str]]:
    """The rows of a table, without blank lines and comments."""
    if delimiter == "\t":  # in such files a quotation mark is a letter like any other
        reader = csv.reader(handle, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(handle, delimiter=delimiter, skipinitialspace=True)
    for row in reader:
        if row and not (comment and row[0].startswith(comment)):
            yield row


def _check_header(path: Path, names: list[str], required: Iterable[str], delimiter: str, encoding: str) -> None:
    if not names:
        open_text(path, encoding).close()  # says what is wrong with the file, if it does not exist or is empty
        raise UserError(f"{path} is not a text table; fetch it again or name another file with --source")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f"{path} has the column {repeated[0]!r} twice; correct its first line")
    lacking = sorted(set(required) - set(names))
    if lacking:
        shown = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
        hint = f" (its first line is one field: is it separated by {delimiter!r}?)" if len(names) == 1 else ""
        raise UserError(f"{path} lacks the column {shown}{hint}; give the complete file")


def numbers(column: Column, path: Path, name: str, missing: Iterable[str] = MISSING) -> np.ndarray:
    """A column of text as float32 [N]; a missing cell gets a code of its own, one below the smallest number.

    Raises:
        UserError: a cell is no finite number that fits float32.
    """
    absent = np.array([cell in missing for cell in column.distinct])
    parsed = np.array([0.0 if cell in missing else _number(cell) for cell in column.distinct])
    bad = ~np.isfinite(parsed) | (np.abs(parsed) > np.finfo(np.float32).max)
    if bad.any():
        first = int(np.flatnonzero(bad[column.codes])[0])
        found = column.distinct[column.codes[first]]
        raise UserError(f"{path}, record {first + 1}, column {name}: {found!r:.40} is no number; correct it")
    known = parsed[~absent]
    parsed[absent] = known.min() - 1 if len(known) else 0.0
    return parsed.astype(np.float32)[column.codes]


def _number(text: str) -> float:
    try:
        return float(text) if "_" not in text else float("nan")  # Python reads 1_000 as a number, people do not
    except ValueError:
        return float("nan")


def is_number(text: str) -> bool:
    """Whether a cell is meant as a number, be it finite or not."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def categories(column: Column, missing: Iterable[str] = MISSING) -> tuple[np.ndarray, list[str]]:
    """A column of text as ranks in alphabetical order [N] float32, and the categories; all missing marks are ''."""
    merged = ["" if cell in missing else cell for cell in column.distinct]
    names = sorted(set(merged))
    rank = {name: number for number, name in enumerate(names)}
    return np.array([rank[cell] for cell in merged], dtype=np.float32)[column.codes], names


def encode(
    table: Mapping[str, Column], columns: Sequence[str], numeric: Iterable[str], path: Path
) -> tuple[np.ndarray, dict[str, list[str]]]:
    """Features [N, len(columns)] float32 of text columns, and the codes of those that are categories."""
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
    """A column of text as class numbers int64 [N]; raises `UserError` for a cell that names no class."""
    codes = np.array([classes.get(cell, -1) for cell in column.distinct], dtype=np.int64)[column.codes]
    if (codes < 0).any():
        first = int(np.flatnonzero(codes < 0)[0])
        found = column.distinct[column.codes[first]]
        raise UserError(
            f"{path}, record {first + 1}, column {name}: {found!r:.40} is none of {', '.join(classes)}; correct it"
        )
    return codes

"""Tables as people have them: compressed or not, checked cell by cell, turned into numbers."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

import utils
from utils import UserError

if TYPE_CHECKING:
    import pandas as pd

# A table may unpack to this many bytes, as all of it is read into memory.
MAX_BYTES = 2**30
MISSING = ("", "?")
_CHUNK_ROWS = 50_000
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
        raise UserError(f"{path} cannot be read ({utils.error_text(error)}); fetch it again") from error
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
) -> pd.DataFrame:
    """A table as text, cells stripped of blanks, read in pieces.

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
    import pandas as pd

    names = list(header) if header is not None else first_fields(path, delimiter, encoding)
    _check_header(path, names, required, delimiter, encoding)
    keep = [name for name in names if wanted is None or name in wanted]
    try:
        with open_text(path, encoding, limit) as handle:
            pieces = list(_pieces(handle, path, names, keep, max_rows, delimiter, header is None, comment))
    except (OSError, *_DAMAGE) as error:
        raise UserError(f"{path} cannot be read ({utils.error_text(error)}); fetch it again or correct it") from error
    if not pieces:
        raise UserError(f"{path} has a header and no rows; fetch it again")
    return pd.concat(pieces, ignore_index=True)


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


def _pieces(
    handle: io.TextIOWrapper,
    path: Path,
    names: list[str],
    keep: list[str],
    max_rows: int | None,
    delimiter: str,
    skip_header: bool,
    comment: str | None,
) -> Iterator[pd.DataFrame]:
    import pandas as pd

    reader = pd.read_csv(
        handle,
        names=names,
        header=None,
        skiprows=1 if skip_header else 0,
        usecols=keep,
        dtype=object,
        keep_default_na=False,
        na_values=[],
        sep=delimiter,
        comment=comment,
        skipinitialspace=True,
        nrows=max_rows,
        chunksize=_CHUNK_ROWS,
        index_col=False,
        on_bad_lines="error",
        quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL,
    )
    with reader:
        for piece in reader:
            short = np.flatnonzero(piece[keep[-1]].isna().to_numpy())
            if len(short):
                line = int(piece.index[short[0]]) + 1 + skip_header
                raise UserError(f"{path}, line {line}: fewer fields than the {len(names)} columns; correct the line")
            yield piece


def numbers(values: Any, path: Path, column: str, missing: Iterable[str] = MISSING) -> np.ndarray:
    """Text cells [N] as float32; a missing cell gets a code of its own, one below the smallest number.

    Raises:
        UserError: a cell is no finite number that fits float32.
    """
    text = np.asarray(values, dtype=object)
    unique, inverse = _unique(text)
    absent = np.array([value in missing for value in unique])
    parsed = np.array([_number(value) for value in np.where(absent, "0", unique)])
    bad = ~np.isfinite(parsed.astype(np.float64)) | (np.abs(parsed) > np.finfo(np.float32).max)
    if bad.any():
        first = int(np.flatnonzero(bad[inverse])[0])
        raise UserError(f"{path}, record {first + 1}, column {column}: {text[first]!r:.40} is no number; correct it")
    known = parsed[~absent]
    parsed[absent] = known.min() - 1 if len(known) else 0.0
    return parsed.astype(np.float32)[inverse]


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


def categories(values: Any, missing: Iterable[str] = MISSING) -> tuple[np.ndarray, list[str]]:
    """Text cells [N] as ranks in alphabetical order (float32), and the categories; all missing marks are the one ''."""
    unique, inverse = _unique(np.asarray(values, dtype=object))
    merged = ["" if value in missing else value for value in unique]
    codes = sorted(set(merged))
    rank = {value: number for number, value in enumerate(codes)}
    return np.array([rank[value] for value in merged], dtype=np.float32)[inverse], codes


def _unique(text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct stripped cells and, for each cell [N], which of them it is."""
    import pandas as pd

    inverse, unique = pd.factorize(text, use_na_sentinel=False)
    stripped = np.array([str(value).strip() for value in unique], dtype=object)
    return stripped, inverse


def encode(
    table: pd.DataFrame, columns: Sequence[str], numeric: Iterable[str], path: Path
) -> tuple[np.ndarray, dict[str, list[str]]]:
    """Features [N, len(columns)] float32 of text columns, and the codes of those that are categories."""
    numeric = set(numeric)
    features = np.empty((len(table), len(columns)), dtype=np.float32)
    codes = {}
    for position, name in enumerate(columns):
        if name in numeric:
            features[:, position] = numbers(table[name], path, name)
        else:
            features[:, position], codes[name] = categories(table[name])
    return features, codes


def class_labels(values: Any, classes: dict[str, int], path: Path, column: str) -> np.ndarray:
    """Text cells [N] as class numbers int64; raises `UserError` for a cell that names no class."""
    unique, inverse = _unique(np.asarray(values, dtype=object))
    numbers_of = np.array([classes.get(value, -1) for value in unique])
    if (numbers_of < 0).any():
        first = int(np.flatnonzero(numbers_of[inverse] < 0)[0])
        found = unique[inverse[first]]
        raise UserError(
            f"{path}, record {first + 1}, column {column}: {found!r:.40} is none of {', '.join(classes)}; correct it"
        )
    return numbers_of[inverse].astype(np.int64)

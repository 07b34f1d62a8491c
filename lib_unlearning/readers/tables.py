"""Tables as people have them, read by pandas in chunks: compressed or not, in any usual encoding and separator.

A column arrives as numbers, or as words: its distinct texts and who holds which. `columns.py` makes features of them.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from lib_unlearning.errors import LOGGER, UserError, error_text
from lib_unlearning.readers.other_formats import other_format

if TYPE_CHECKING:
    import pandas as pd

# A table may unpack to this many bytes.
MAX_BYTES = 2**30


def _spellings(word: str) -> list[str]:
    """A word in all mixtures of small letters and capitals."""
    return ["".join(letters) for letters in product(*({letter.lower(), letter.upper()} for letter in word))]


# Cells that say that there is no value.
MISSING = (
    *("", "?", "#N/A", "#NA", "#DIV/0!", "<NA>", "NaT", "-", "--", ".", "\\N"),
    *(spelling for word in ("na", "n/a", "n.a.", "nan", "null") for spelling in sorted(_spellings(word))),
)
_BESIDE_PLUS = tuple(mark for mark in MISSING if mark != "-")  # a minus is a value where all others are plus
_CHUNK = 50_000  # rows
_EXACT = 2.0**53  # up to here, floating-point numbers hold every whole one
_PROBE = 2**16  # bytes that tell encoding and separator
_HEADER = 2**23  # bytes that a header may have
SEPARATORS = (",", ";", "\t", "|")
LEGACY = "cp1252"  # of text that is not UTF-8 and does not say what it is
_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_SAID = re.compile(r'\ufeff?"?sep=(.)"?\r?\n', re.IGNORECASE)  # a line for Excel, which says the separator
# What reading damaged or hostile bytes may raise, beside OSError.
_DAMAGE = (ValueError, EOFError, lzma.LZMAError, zipfile.BadZipFile, csv.Error, OverflowError)


# ---------------------------------------------------------------- columns


@dataclass(frozen=True)
class Words:
    """A column of text: its distinct cells, "" for missing ones, and which of them each row [N] holds."""

    distinct: list[str]
    codes: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)

    def cells(self) -> np.ndarray:
        """All cells [N]."""
        found: np.ndarray = np.array(self.distinct, dtype=object)[self.codes]
        return found


@dataclass(frozen=True)
class Numbers:
    """A column of which every cell is a number: [N] float64 or whole numbers, NaN for missing ones."""

    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def words(self) -> Words:
        """The same as text; 3.0 is "3"."""
        return words_of(plain_text(value) for value in self.values.tolist())


Column = Words | Numbers


def words_of(cells: Iterable[str]) -> Words:
    """A column made of cells; blanks around them are dropped, marks of missing values become ""."""
    known: dict[str, int] = {}
    codes = []
    texts = [cell.strip() for cell in cells]
    absent = _BESIDE_PLUS if {"+"} == set(texts).difference(MISSING) else MISSING
    for text in texts:
        codes.append(known.setdefault("" if text in absent else text, len(known)))
    return Words(list(known), np.array(codes, dtype=np.int32))


def plain_text(value: Any) -> str:
    """A cell as text: whole numbers without ".0", missing ones as ""."""
    if value is None or value != value:  # NaN
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else str(value)


def joined(first: Column, second: Column) -> Column:
    """The rows of one column and then those of another."""
    if isinstance(first, Numbers) and isinstance(second, Numbers):
        return Numbers(np.concatenate([first.values, second.values]))
    parts = [part.words() if isinstance(part, Numbers) else part for part in (first, second)]
    return words_of([*parts[0].cells(), *parts[1].cells()])


# ---------------------------------------------------------------- bytes


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


def open_bytes(path: Path, limit: int = MAX_BYTES) -> io.BufferedReader:
    """Open a file that may be gzip, bzip2, xz or zip (of one file), told by its first bytes.

    Raises:
        UserError: missing, no file, empty, or more than `limit` bytes when unpacked (while it is read).
    """
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder; name the file in it")
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is no regular file; name one with --source")
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty; fetch it again")
        with open(path, "rb") as handle:
            start = handle.read(6)
        stream = _decompressed(path, start)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; name an existing file with --source") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read ({error_text(error)}); fetch it again") from error
    return io.BufferedReader(_Bounded(stream, path, limit))


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
        if any(name.startswith("xl/") for name in files):
            raise UserError(f"{path} is a workbook; save the sheet as CSV and name that with --source")
        if len(files) != 1:
            raise UserError(f"{path} holds {len(files)} files; unpack it and name one with --source")
        return archive.open(files[0])
    return open(path, "rb")


# ---------------------------------------------------------------- form


@dataclass(frozen=True)
class Form:
    """How a table is written; what is None is found out.

    Attributes:
        quoted: whether a quotation mark is more than a letter, in tab-separated files too; always found out.
        skip: lines before the header; always found out: Excel's "sep=;" is one.
    """

    delimiter: str | None = None
    encoding: str | None = None
    comment: str | None = None
    quoted: bool = False
    skip: int = 0

    @property
    def plain(self) -> bool:
        """Whether a quotation mark is a letter like any other."""
        return self.delimiter == "\t" and not self.quoted


def form_of(path: Path, asked: Form) -> Form:
    """Encoding and separator of a table, from its first bytes."""
    try:
        with open_bytes(path) as handle:
            start = handle.read(_PROBE)
    except (OSError, *_DAMAGE) as error:
        raise UserError(f"{path} cannot be read ({error_text(error)}); fetch it again") from error
    encoding = asked.encoding or _encoding(start)
    try:
        text = start.decode(encoding, errors="replace")
    except (LookupError, UnicodeError) as error:
        raise UserError(f"--encoding {encoding}: there is no such encoding") from error
    other = other_format(start, text)
    if other is not None:
        raise UserError(f"{path} is {other}; save it as CSV or Parquet and name that with --source")
    said = _SAID.match(text)
    text = text[said.end() :] if said else text
    separator = asked.delimiter or (said[1] if said else _separator(text))
    return Form(separator, encoding, asked.comment, _whole_quoted(text), int(said is not None))


def _encoding(start: bytes) -> str:
    """The encoding that a file's first bytes announce or fit."""
    for mark, name in _MARKS.items():
        if start.startswith(mark):
            return name
    for name, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
        if len(start) > 8 and zeros.count(0) > len(zeros) / 2:
            return name  # without a mark: every other byte of Latin text is zero
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # a letter may be cut at the end
    except UnicodeDecodeError:
        return LEGACY
    return "utf-8"


def _whole_quoted(text: str) -> bool:
    """Whether the first line holds a field that is quoted as a whole, as R writes them."""
    first = text.lstrip().split("\n", 1)[0].rstrip("\r").split("\t")
    return any(len(field) > 1 and field.startswith('"') and field.endswith('"') for field in first)


def _separator(text: str) -> str:
    """The separator that cuts most lines into equally many fields, more than one; a comma where none does."""
    lines = [line for line in text.splitlines()[:50] if line.strip()]
    best, most = ",", 0
    for separator in SEPARATORS:
        try:
            counts = [len(row) for row in csv.reader(lines, delimiter=separator)]
        except csv.Error:
            continue
        agree = sum(count == counts[0] for count in counts) if counts and counts[0] > 1 else 0
        if agree > most and agree >= len(counts) / 2:
            best, most = separator, agree
    return best


def first_fields(path: Path, asked: Form | None = None) -> list[str]:
    """The fields of a table's first line; what cannot be read as text has none."""
    try:
        form = form_of(path, asked or Form())
        with io.TextIOWrapper(open_bytes(path, _HEADER), encoding=form.encoding, newline="") as handle:
            return [name.strip().strip("\ufeff").strip() for name in next(_rows(_after(handle, form), form), [])]
    except (UserError, OSError, *_DAMAGE):
        return []


def _after(handle: IO[str], form: Form) -> IO[str]:
    """The same stream, from the header on."""
    for _ in range(form.skip):
        handle.readline()
    return handle


def fields_of(line: str, form: Form) -> list[str]:
    """The fields of one line; none where it is not whole."""
    try:
        return next(_rows(io.StringIO(line, newline=""), form), [])
    except csv.Error:
        return []


def own_names(path: Path, wanted: Iterable[str], aliases: Mapping[str, str] | None = None) -> dict[str, str]:
    """Name -> how the file's header spells it, of those that are there; aliases are other plain names of columns.

    Raises:
        UserError: two of its columns are spellings of one name, and neither is that name itself.
    """

    def key(name: str) -> str:
        """As all spellings share it: capital.gain, Capital_Gain, capital-gain."""
        plain = "".join(letter for letter in name.lower() if letter.isalnum())
        return plain if aliases is None else aliases.get(plain, plain)

    header = first_fields(path)
    found = {}
    for name in wanted:
        spelled = [own for own in header if own and key(own) == key(name)]
        if len(spelled) > 1 and name not in spelled:
            raise UserError(f"{path}: {' and '.join(spelled)} are both {name}; leave one out")
        if spelled:
            found[name] = name if name in spelled else spelled[0]
    return found


# ---------------------------------------------------------------- reading


def read_columns(
    path: Path,
    wanted: Sequence[str] | None = None,
    required: Iterable[str] = (),
    text: Iterable[str] = (),
    max_rows: int | None = None,
    header: Sequence[str] | None = None,
    form: Form | None = None,
    limit: int = MAX_BYTES,
) -> dict[str, Column]:
    """A table as columns, read in chunks.

    Args:
        wanted: columns to keep, those that exist (None: all).
        required: columns that must exist.
        text: columns to keep as words though they may look like numbers.
        max_rows: rows to read (None: all).
        header: names of the columns of a file that has no header line.
        form: separator, encoding, comment mark; what it leaves open is found out.
        limit: bytes that the file may unpack to.

    Raises:
        UserError: the file cannot be read, lacks or repeats a column, or has rows of unequal length.
    """
    asked = form or Form()
    found = form_of(path, asked)
    if asked.encoding is None and found.encoding == LEGACY:
        line = _line_of(path, limit)
        LOGGER.warning("%s is not UTF-8 (line %s): read as Windows-1252; --encoding names another", path, line)
    try:
        return _Reading(path, found, limit).columns(wanted, set(required), set(text), max_rows, header)
    except UnicodeDecodeError as error:
        if asked.encoding or found.encoding != "utf-8":
            raise UserError(f"{path} is not {found.encoding} ({error.reason}); name its --encoding") from error
    LOGGER.warning(
        "%s is not UTF-8 (line %s): read as Windows-1252; --encoding names another", path, _line_of(path, limit)
    )
    legacy = replace(found, encoding=LEGACY)
    return read_columns(path, wanted, required, text, max_rows, header, legacy, limit)


def read_spelled(
    path: Path, own: Mapping[str, str], required: Iterable[str] = (), text: Iterable[str] = (), **more: Any
) -> dict[str, Column]:
    """Columns under names of ours, `own` saying how the file's header spells each (see `own_names`, `read_columns`)."""
    words = [own[name] for name in text if name in own]
    found = read_columns(path, tuple(own.values()), [own.get(name, name) for name in required], words, **more)
    return {name: found[spelled] for name, spelled in own.items()}


def _line_of(path: Path, limit: int) -> int:
    """Number of the first line that is not UTF-8."""
    with open_bytes(path, limit) as handle:
        for number, line in enumerate(handle, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 0


def _exactly(pandas: Any) -> dict[str, Any]:
    """Before pandas 3 numbers are read to the last bit only if one says so."""
    return {"float_precision": "round_trip"} if int(pandas.__version__.split(".")[0]) < 3 else {}


def _rows(handle: IO[str], form: Form) -> Iterator[list[str]]:
    """Rows of fields; in tab-separated files a quotation mark is a letter like any other, unless whole fields are
    quoted."""
    if form.plain:
        return csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
    return csv.reader(handle, delimiter=form.delimiter or ",", skipinitialspace=True)


class _Reading:
    """One pass over a table, and another over the columns that turned out to be text."""

    def __init__(self, path: Path, form: Form, limit: int) -> None:
        self.path, self.form, self.limit = path, form, limit

    def columns(
        self,
        wanted: Sequence[str] | None,
        required: set[str],
        text: set[str],
        max_rows: int | None,
        header: Sequence[str] | None,
    ) -> dict[str, Column]:
        names = list(header) if header is not None else first_fields(self.path, self.form)
        self._check_header(names, required)
        names = [name or f"unnamed_{number}" for number, name in enumerate(names)]
        kept = [name for name in names if wanted is None or name in wanted]
        builders = {name: _Builder(name in text) for name in kept}
        skip = 0 if header is not None else 1
        # All columns are parsed, wanted or not: with fewer, pandas would pass over rows that are too long.
        for chunk in self._chunks(names, None, text, max_rows, skip):
            for name, builder in builders.items():
                builder.add(chunk[name])
        self._check_rows(builders, names, skip)
        mixed = {name for name, builder in builders.items() if builder.mixed}
        if mixed:
            builders |= self._as_text(mixed, MISSING, names, max_rows, skip)
        signed = {name for name, builder in builders.items() if set(builder.known) == {"+", ""}}
        if signed:
            builders |= self._as_text(signed, _BESIDE_PLUS, names, max_rows, skip)
        return {name: builder.column() for name, builder in builders.items()}

    def _as_text(
        self, again: set[str], missing: Sequence[str], names: list[str], max_rows: int | None, skip: int
    ) -> dict[str, _Builder]:
        """Some columns read once more, as text, `missing` being cells without a value."""
        builders = {name: _Builder(True, missing) for name in again}
        for chunk in self._chunks(names, list(again), again, max_rows, skip, missing):
            for name, builder in builders.items():
                builder.add(chunk[name])
        return builders

    def _chunks(
        self,
        names: list[str],
        kept: list[str] | None,
        text: set[str],
        max_rows: int | None,
        skip: int,
        missing: Sequence[str] = MISSING,
    ) -> Iterator[pd.DataFrame]:
        """Data frames of the columns to be kept, None for all; `missing` are cells without a value."""
        import pandas as pd

        try:
            with warnings.catch_warnings(), open_bytes(self.path, self.limit) as handle:
                warnings.simplefilter("error", pd.errors.ParserWarning)
                warnings.simplefilter("ignore", pd.errors.DtypeWarning)
                chunks = pd.read_csv(
                    handle,
                    sep=self.form.delimiter,
                    encoding=self.form.encoding,
                    comment=self.form.comment,
                    quoting=csv.QUOTE_NONE if self.form.plain else csv.QUOTE_MINIMAL,
                    skiprows=self.form.skip,
                    header=0 if skip else None,
                    names=names,
                    usecols=kept,
                    index_col=False,
                    dtype=dict.fromkeys(text & set(kept or names), object),  # "category" would read numbers
                    na_values=list(missing),
                    keep_default_na=False,
                    skipinitialspace=True,
                    **_exactly(pd),
                    nrows=max_rows,
                    chunksize=_CHUNK,
                )
                yield from chunks
        except UnicodeDecodeError:
            raise
        except pd.errors.EmptyDataError:
            return
        except (pd.errors.ParserError, pd.errors.ParserWarning, IndexError) as error:
            self._check_lengths(names, skip)
            raise UserError(f"{self.path} cannot be read ({error_text(error)}); correct it") from error
        except (OSError, *_DAMAGE) as error:
            raise UserError(
                f"{self.path} cannot be read ({error_text(error)}); fetch it again or correct it"
            ) from error

    def _check_header(self, names: list[str], required: set[str]) -> None:
        if not names or any("\x00" in name for name in names):
            open_bytes(self.path, self.limit).close()  # says what is wrong with the file, if it is empty
            raise UserError(
                f"{self.path} is not a text table in {self.form.encoding}; --encoding names another, --source another "
                "file"
            )
        repeated = sorted({name for name in names if name and names.count(name) > 1})
        if repeated:
            raise UserError(f"{self.path} has the column {repeated[0]!r} twice; correct its first line")
        lacking = sorted(required - set(names))
        if lacking:
            shown = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
            found = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            raise UserError(f"{self.path} lacks the column {shown}; it has {found}; give the complete file")

    def _check_rows(self, builders: Mapping[str, _Builder], names: list[str], skip: int) -> None:
        """There are rows; and where a last field is missing, the row was not cut short."""
        if not len(next(iter(builders.values()))):
            raise UserError(f"{self.path} has a header and no rows; fetch it again")
        last = builders.get(names[-1])
        if last is None or last.has_missing:
            self._check_lengths(names, skip)

    def _check_lengths(self, names: list[str], skip: int) -> None:
        """Raise `UserError` for the first row that has other than the header's number of fields."""
        form = self.form
        with io.TextIOWrapper(open_bytes(self.path, self.limit), encoding=form.encoding, newline="") as handle:
            record = -skip
            try:
                for row in _rows(_after(handle, form), form):
                    if not row or (form.comment and row[0].startswith(form.comment)):
                        continue
                    record += 1
                    if record > 0 and len(row) != len(names):
                        raise UserError(
                            f"{self.path}, record {record}: {len(row)} fields, not {len(names)}; correct it"
                            f" (separated by {form.delimiter!r}; --delimiter names another){_why(record, row, names)}"
                        )
            except csv.Error as error:
                raise UserError(f"{self.path}, record {record}: {error_text(error)}; correct it") from error


def _why(record: int, row: Sequence[str], names: Sequence[str]) -> str:
    """What may have made a record longer or shorter than the header, for the end of a message."""
    if names[0].startswith(("#", "%", "//")):
        return "; if the first line is a comment, take it out"
    if record == 1 and len(row) == len(names) + 1:
        return "; if its first field names the row, give that column a name in the first line"
    if any("\n" in field for field in row):
        return "; a quotation mark may open in it that is not closed"
    return ""


class _Builder:
    """Gathers a column chunk by chunk: numbers as they are, each distinct word once."""

    def __init__(self, is_text: bool, missing: Sequence[str] = MISSING) -> None:
        self.is_text, self.missing = is_text, missing
        self.mixed = False
        self.has_missing = False
        self.known: dict[str, int] = {}
        self.parts: list[np.ndarray] = []
        self.length = 0

    def __len__(self) -> int:
        return self.length

    def add(self, part: pd.Series) -> None:
        """One chunk's cells. A column whose chunks differ in kind, or in whose chunk both kinds stand, is mixed."""
        self.length += len(part)
        self.has_missing = self.has_missing or bool(part.isna().any())
        if self.mixed:
            return
        if part.dtype.kind not in "iufb":
            self._add_words(part)
        elif part.dtype.kind == "b" or (self.known and not part.isna().all()):
            self.mixed = self.mixed or not self.is_text
        elif part.dtype.kind == "f" and bool((part.abs() >= _EXACT).any()):
            self.mixed = True  # whole numbers that 64 bits would round: read again as they are written
        else:
            self.parts.append(part.to_numpy())

    def _add_words(self, part: pd.Series) -> None:
        if not self.is_text:
            # Not known in advance to be text: read again, so that numbers among the words keep their spelling.
            self.mixed = True
            return
        found = part.astype("category").cat
        texts = ["" if (text := str(name).strip()) in self.missing else text for name in found.categories]
        remap = np.array([self.known.setdefault(text, len(self.known)) for text in texts] + [0], dtype=np.int32)
        codes = found.codes.to_numpy()
        if (codes < 0).any():
            remap[-1] = self.known.setdefault("", len(self.known))
        self.parts.append(remap[codes])

    def column(self) -> Column:
        if self.is_text:
            codes = np.concatenate(self.parts) if self.parts else np.zeros(0, dtype=np.int32)
            return Words(list(self.known), codes)
        return Numbers(np.concatenate(self.parts))

"""Columns of dates: days since 1970, all cells of a column read in one order of day and month."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib_unlearning.errors import LOGGER, UserError
from lib_unlearning.readers.columns import Encoded, as_numbers, ways_out
from lib_unlearning.readers.tables import Column, Numbers, Words

if TYPE_CHECKING:
    import pandas as pd

_SAMPLE = 50  # cells
_NUMERIC_DATE = re.compile(
    r"(?P<first>\d{1,2})(?P<mark>[./-])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2})\b(?P<rest>.*)"
)
_CLOCK = re.compile(r"\d:\d")
_ZONE = re.compile(r"\d:\d\d\S* ?(?:Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)$")
_HAS_YEAR = re.compile(r"(?<!\d)\d{4}|\d{1,2}[./-]\d{1,2}[./-]\d{2}")


def as_date(column: Column, path: Path, name: str) -> Encoded:
    """A column of dates as days since 1970, with fractions; raises `UserError` for a cell that is no date."""
    import pandas as pd

    words = column.words() if isinstance(column, Numbers) else column
    _warn_of_zones(words.distinct, path, name)
    texts = pd.Series(_one_order(words.distinct, path, name), dtype=object)
    times = _times(texts)
    # A cell without a year would be completed by today's.
    bad = [
        number
        for number, word in enumerate(words.distinct)
        if word and (pd.isna(times[number]) or not _HAS_YEAR.search(word))
    ]
    if bad:
        first = int(np.flatnonzero(np.isin(words.codes, bad))[0])
        cell = words.distinct[words.codes[first]]
        raise UserError(
            f"{path}, record {first + 1}, column {name}: {cell!r:.40} is no date; correct it{ways_out(name)}"
        )
    micros = times.dt.tz_convert(None).astype("datetime64[us]").astype("int64").to_numpy()
    days = np.where(times.isna(), np.nan, micros / 86_400e6)
    found = as_numbers(Numbers(days[words.codes]), path, name)
    return Encoded(found.values, "date, days", found.distinct, found.missing)


def _warn_of_zones(words: Sequence[str], path: Path, name: str) -> None:
    zoned = [word for word in words if _ZONE.search(word)]
    bare = [word for word in words if word and not _ZONE.search(word) and _CLOCK.search(word)]
    if zoned and bare:
        told = "%s, column %s: %r states a time zone and %r none, which is read as UTC"
        LOGGER.warning(told, path, name, zoned[0], bare[0])


def _times(texts: pd.Series) -> pd.Series:
    """Points in time, NaT for what is none, a year beyond 2262 included."""
    import pandas as pd

    try:
        return pd.to_datetime(texts, errors="coerce", format="mixed", utc=True)
    except (ValueError, OverflowError):  # of a single cell, in spite of "coerce"
        return pd.to_datetime(pd.Series([_iso(text) for text in texts]), errors="coerce", utc=True)


def _iso(text: str) -> str | None:
    """A cell as ISO writes it, None where pandas finds no time in it."""
    import pandas as pd

    try:
        return str(pd.Timestamp(text))
    except (ValueError, OverflowError):
        return None


def _one_order(words: Sequence[str], path: Path, name: str) -> list[str]:
    """Dates like 17/04/2020 as 2020-04-17, all of a column in the one order that fits them; other words as they are.

    Raises:
        UserError: no order fits all of them.
    """
    parts = [_NUMERIC_DATE.fullmatch(word) for word in words]
    found = [part for part in parts if part]
    if not found:
        return list(words)
    late = {place: any(int(part[place]) > 12 for part in found) for place in ("first", "second")}
    if all(late.values()):
        raise UserError(f"{path}, column {name}: day and month come in both orders; write them in one{ways_out(name)}")
    day_first = late["first"] or (not late["second"] and all(part["mark"] == "." for part in found))
    order = "day, month, year" if day_first else "month, day, year"
    if not any(late.values()):
        LOGGER.warning("%s, column %s: %r is read as %s; nothing in it says so", path, name, found[0][0], order)
    elif any(len(part["year"]) == 2 for part in found):
        told = "%s, column %s: %r is read as %s, years of two digits as 1969 to 2068"
        LOGGER.warning(told, path, name, found[0][0], order)

    def written(part: re.Match[str]) -> str:
        day, month = (part["first"], part["second"]) if day_first else (part["second"], part["first"])
        year = part["year"] if len(part["year"]) == 4 else f"{'19' if int(part['year']) >= 69 else '20'}{part['year']}"
        return f"{year}-{int(month):02d}-{int(day):02d}{part['rest']}"

    return [written(part) if part else word for part, word in zip(parts, words, strict=True)]


def looks_like_dates(column: Words) -> bool:
    """Whether the first distinct cells of a column of words are all dates, with a year."""
    import pandas as pd

    sample = [word for word in column.distinct if word][:_SAMPLE]
    if not sample or not all(map(_HAS_YEAR.search, sample)):
        return False
    return bool(_times(pd.Series(sample, dtype=object)).notna().all())

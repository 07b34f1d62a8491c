"""Location: when each venue is checked into over the week, and what kind of venue it is (paper section 5.1)."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib_unlearning.cache.files import atomic_file
from lib_unlearning.errors import LOGGER, UserError, error_text
from lib_unlearning.readers import safe_pickle, tables
from lib_unlearning.readers.columns import as_written, class_labels, numbers
from lib_unlearning.readers.raw import RawDataset
from lib_unlearning.seeds import spawn

if TYPE_CHECKING:
    import pandas as pd

HOURS = 168  # of a week, hour 0 being Monday 00:00 to 00:59 local time
HOUR_NAMES = [f"hour_{hour}" for hour in range(HOURS)]
CATEGORY_FILE = Path(__file__).with_name("venue_categories.json")
WHEEL_MEMBER = "matdata/assets/sample/Foursquare_Sample.csv"
MAX_PICKLE = 2**30
# Foursquare publishes its check-ins without a header line: dataset_TSMC2014_NYC.txt.
TSMC_COLUMNS = ("user", "venue", "category_id", "category", "latitude", "longitude", "offset_minutes", "utc_time")
KAGGLE_COLUMNS = (
    "userId",
    "venueId",
    "venueCategoryId",
    "venueCategory",
    "latitude",
    "longitude",
    "timezoneOffset",
    "utcTimestamp",
)
_PLACE = re.compile(r"\s*(-?\d+(?:\.\d+)?)[\s,;]+(-?\d+(?:\.\d+)?)\s*")  # latitude and longitude of a cell
_SAMPLE = "Foursquare check-ins in New York, 2012-2013"
SAMPLE_SOURCE = f"{_SAMPLE}, PyPI package mat-data 0.1rc6"
_WIDEST_CITY = 3.0  # degrees
_CITIES = {"New York": (40.3, 41.2, -74.6, -73.3), "Tokyo": (35.2, 36.1, 139.2, 140.4)}  # south, north, west, east


@dataclass(frozen=True)
class CheckInOptions:
    """Which venues and categories are kept when check-ins become a table of venues."""

    min_checkins: int = 2
    min_class_size: int = 10


# ---------------------------------------------------------------- tables of 168 hours


def recognise_hours(path: Path) -> bool:
    """Whether a file is a CSV of locid, 168 hours and a category, or a pickle, which is not opened for a guess."""
    return len(tables.first_fields(path)) == HOURS + 2 or safe_pickle.is_pickle(path)


def read_hours(path: Path) -> RawDataset:
    """`ny_withCatId.csv`, `la_withCatId.csv` or the pickles `Insta_ny`, `Insta_la`: features [N, 168]."""
    if safe_pickle.is_pickle(path):
        features, categories, _ = safe_pickle.table(path, ("category", "catid", "label"), MAX_PICKLE)
        if features.shape[1] != HOURS:
            raise UserError(f"{path} has {features.shape[1]} feature columns, not the {HOURS} hours of a week")
    else:
        names = tables.first_fields(path)
        if len(names) != HOURS + 2:
            raise UserError(f"{path} has {len(names)} columns, not locid, {HOURS} hours and a category")
        table = tables.read_columns(path, text=[names[0], names[-1]])
        features = np.column_stack([numbers(table[name], path, name) for name in names[1:-1]])
        categories = list(_cells(table[names[-1]]))
    classes = sorted(set(categories), key=_by_number)
    labels = class_labels(
        tables.words_of(categories), {name: code for code, name in enumerate(classes)}, path, "category"
    )
    return RawDataset(features, labels, classes, {"columns": HOUR_NAMES})


def _by_number(name: str) -> tuple[float, str]:
    try:
        return float(name), name
    except ValueError:
        return float("inf"), name


# ---------------------------------------------------------------- check-ins


@dataclass(frozen=True)
class CheckIns:
    """Check-ins [n]: venue, local hour of the week, category name; and where they come from, told by themselves."""

    venue: np.ndarray
    hour: np.ndarray
    category: np.ndarray
    source: str


def recognise_checkins(path: Path) -> bool:
    """Whether a file holds check-ins: the wheel, its CSV, Foursquare's text without a header, Kaggle's CSV of it."""
    return _is_wheel(path) or _is_sample(path) or _headless(path) is not None or _is_kaggle(path)


def read_checkins(path: Path, options: CheckInOptions) -> RawDataset:
    """Check-ins -> venues: features [N, 168], how often a venue was checked into in each hour of the week.

    Venues with fewer than `min_checkins` are left out, categories that have no root or whose root has fewer than
    `min_class_size` venues are named and left out.

    Raises:
        UserError: the file is no table of check-ins.
    """
    found = _checkins(path)
    venue, hour, category = found.venue, found.hour, found.category
    roots = _root_categories()
    unique, inverse = np.unique(category, return_inverse=True)
    unmapped = [name for name in unique if name not in roots]
    if unmapped:
        LOGGER.warning("%s: no root category for %s; left out", path, ", ".join(unmapped))
    root = np.array([roots.get(name, "") for name in unique], dtype=object)[inverse]
    kept, left_out = _without_small(venue, root, options)
    if left_out:
        LOGGER.warning("%s: fewer than %d venues in %s; left out", path, options.min_class_size, ", ".join(left_out))
    features, names = _venue_table(venue[kept], hour[kept], root[kept], options.min_checkins)
    classes = sorted(set(names))
    labels = np.searchsorted(np.array(classes, dtype=object), names).astype(np.int64)
    details = {
        "columns": HOUR_NAMES,
        "source": found.source,
        **({} if found.source == SAMPLE_SOURCE else {"licence": "not stated; cite the paper"}),
        "min_checkins": options.min_checkins,
        "venues_before_min_checkins": len(np.unique(venue[kept])),
        "left_out": [*unmapped, *left_out],
    }
    return RawDataset(features, labels, classes, details)


def _checkins(path: Path) -> CheckIns:
    """The check-ins of a file, in whichever form."""
    import pandas as pd

    if _is_wheel(path) or _is_sample(path):
        names = ("lat_lon", "date_time", "root_type")
        member = _extracted(path)
        found = tables.read_spelled(member, tables.own_names(member, names), names, names)
        local = _times(found["date_time"], path, "date_time")
        venue = _cells(found["lat_lon"])
        here = _source(local, _places(venue))
        source = SAMPLE_SOURCE if here == _SAMPLE else here
        return CheckIns(venue, _hour_of_week(local), _cells(found["root_type"]), source)
    headless = _headless(path)
    if not (headless or _is_kaggle(path)):
        raise UserError(
            f"{path} is no table of check-ins: neither Foursquare's 8 columns ({', '.join(KAGGLE_COLUMNS)}, with or "
            "without a header) nor lat_lon, date_time, root_type"
        )
    text = ("venue", "category", "utc_time")
    wanted = (*text, "offset_minutes", "latitude", "longitude")
    if headless is None:
        header = tables.own_names(path, KAGGLE_COLUMNS)
        own = {
            ours: header[theirs] for ours, theirs in zip(TSMC_COLUMNS, KAGGLE_COLUMNS, strict=True) if ours in wanted
        }
        table = tables.read_spelled(path, own, wanted, text)
    else:
        table = tables.read_columns(path, wanted, text=text, header=TSMC_COLUMNS, form=headless)
    offset = as_written(table["offset_minutes"], path, "offset_minutes").astype(np.float64)
    utc = _times(table["utc_time"], path, "utc_time", "%a %b %d %H:%M:%S %z %Y").dt.tz_localize(None)
    local = utc + pd.to_timedelta(offset, unit="min")
    places = np.column_stack([as_written(table[name], path, name) for name in ("latitude", "longitude")])
    return CheckIns(_cells(table["venue"]), _hour_of_week(local), _cells(table["category"]), _source(local, places))


def _source(local: pd.Series, places: np.ndarray) -> str:
    """Where and when check-ins were made, told by themselves."""
    years = "-".join(str(year) for year in dict.fromkeys((local.dt.year.min(), local.dt.year.max())))
    return f"Foursquare check-ins in {_city(places)}, {years}"


def _places(venues: np.ndarray) -> np.ndarray:
    """Latitudes and longitudes [k, 2] of the cells "40.7 -74.0" among venues [n]."""
    found = [_PLACE.fullmatch(str(cell)) for cell in np.unique(venues)]
    return np.array([(float(part[1]), float(part[2])) for part in found if part]).reshape(-1, 2)


def _cells(column: tables.Column) -> np.ndarray:
    return (column.words() if isinstance(column, tables.Numbers) else column).cells()


def _city(places: np.ndarray) -> str:
    """Where check-ins [k, 2] are, by their middle, if they are in one place."""
    if not len(places):
        return "an unnamed city"
    if (np.ptp(np.quantile(places, (0.02, 0.98), axis=0), axis=0) > _WIDEST_CITY).any():
        return "several cities"
    latitude, longitude = np.median(places, axis=0)
    for name, (south, north, west, east) in _CITIES.items():
        if south < latitude < north and west < longitude < east:
            return name
    return f"a city at {latitude:.1f}, {longitude:.1f}"


def _times(column: tables.Column, path: Path, name: str, form: str = "%Y-%m-%d %H:%M:%S") -> pd.Series:
    import pandas as pd

    cells = _cells(column)
    parsed = pd.Series(pd.to_datetime(cells, format=form, errors="coerce"))
    bad = np.flatnonzero(parsed.isna().to_numpy())
    if len(bad):
        raise UserError(f"{path}, record {bad[0] + 1}, column {name}: {cells[bad[0]]!r:.40} is no time; correct it")
    return parsed


def _hour_of_week(local: pd.Series) -> np.ndarray:
    found: np.ndarray = (local.dt.day_of_week * 24 + local.dt.hour).to_numpy(np.int64)
    return found


def _root_categories() -> dict[str, str]:
    """Category name -> root category; a root is its own root."""
    roots: dict[str, list[str]] = json.loads(CATEGORY_FILE.read_text(encoding="utf-8"))["roots"]
    return {name: root for root, names in roots.items() for name in (root, *names)}


def _without_small(venue: np.ndarray, root: np.ndarray, options: CheckInOptions) -> tuple[np.ndarray, list[str]]:
    """Mask of the check-ins whose root category has enough venues, and the roots that have not."""
    counts = {
        name: sum(np.unique(venue[root == name], return_counts=True)[1] >= options.min_checkins)
        for name in sorted(set(root) - {""})
    }
    small = [name for name, count in counts.items() if count < options.min_class_size]
    return ~np.isin(root, ["", *small]), small


def _venue_table(
    venue: np.ndarray, hour: np.ndarray, root: np.ndarray, min_checkins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Counts [N, 168] and root category [N] of the venues with enough check-ins, in the order of their names.

    A venue that people gave several categories has the one most of them gave, of equals the first in the alphabet.
    """
    venues, number = np.unique(venue, return_inverse=True)
    names, category = np.unique(root.astype(str), return_inverse=True)
    counts = np.zeros((len(venues), HOURS), dtype=np.float32)
    np.add.at(counts, (number, hour), 1)
    votes = np.zeros((len(venues), max(len(names), 1)), dtype=np.int64)
    np.add.at(votes, (number, category), 1)
    enough = counts.sum(axis=1) >= min_checkins
    return counts[enough], names[votes[enough].argmax(axis=1)].astype(object) if len(names) else names


def _is_sample(path: Path) -> bool:
    return len(tables.own_names(path, ("lat_lon", "date_time", "root_type"))) == 3


def _headless(path: Path) -> tables.Form | None:
    """How Foursquare's columns are separated in a file that begins with a check-in; None if it does not."""
    for separator in tables.SEPARATORS:
        fields = tables.first_fields(path, tables.Form(separator))
        if len(fields) == len(TSMC_COLUMNS) and "+0000" in fields[-1]:
            return tables.Form(separator)
    return None


def _is_kaggle(path: Path) -> bool:
    return len(tables.own_names(path, KAGGLE_COLUMNS)) == len(KAGGLE_COLUMNS)


def _is_wheel(path: Path) -> bool:
    try:
        return path.is_file() and zipfile.is_zipfile(path) and WHEEL_MEMBER in zipfile.ZipFile(path).namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _extracted(path: Path) -> Path:
    """The table itself: a wheel is a zip file, and the one member that is wanted is put beside it."""
    if not _is_wheel(path):
        return path
    member = path.with_name("Foursquare_Sample.csv")
    try:
        with zipfile.ZipFile(path) as wheel, wheel.open(WHEEL_MEMBER) as source:
            content = source.read(tables.MAX_BYTES)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read ({error_text(error)}); fetch it again with --download") from error
    with atomic_file(member) as handle:
        handle.write(content)
    return member


# ---------------------------------------------------------------- synthetic


SYNTHETIC_RECORDS = 20_000
SYNTHETIC_CLASSES = [f"synthetic_{number}" for number in range(9)]


def synthesise(seed: int = 0, records: int = SYNTHETIC_RECORDS) -> RawDataset:
    """Invented venues of nine kinds, each with a weekly rhythm that overlaps those of others: features [N, 168].

    A kind peaks at certain hours of weekdays and weekends; a venue mixes its kind's rhythm with one of its own and one
    that all share, and is checked into a heavy-tailed number of times (Pareto, at least 2, median 6, 99 % below 550).
    Trained on 2,000 records, a tree of 10 leaves reaches an accuracy of 0.28 on them and 0.24 on others, the forest of
    500 trees 0.38 and 0.32, the largest class being 0.22 of all (`python benchmarks/synthetic_location.py`).
    """
    rng = spawn(seed, "synthetic location")
    weights = np.array([22, 18, 15, 12, 10, 8, 6, 5, 4], dtype=float)
    labels = rng.choice(len(weights), records, p=weights / weights.sum())
    rhythms = np.array([_rhythm(kind) for kind in range(len(weights))])
    own = rng.dirichlet(np.full(HOURS, 0.3), records)
    chance = 0.6 * rhythms[labels] + 0.2 * rhythms.mean(axis=0) + 0.2 * own
    totals = np.minimum(2 + rng.pareto(0.9, records) * 4, 5_000).astype(int)
    features = rng.multinomial(totals, chance / chance.sum(axis=1, keepdims=True)).astype(np.float32)
    return RawDataset(features, labels.astype(np.int64), SYNTHETIC_CLASSES, {"columns": HOUR_NAMES, "synthetic": True})


def _rhythm(kind: int) -> np.ndarray:
    """Chance [168] of each hour for one kind of venue."""
    hour = np.arange(24)
    weekday_peak, weekend_peak = (7 + 2 * kind) % 24, (11 + 3 * kind) % 24
    share = 0.55 + 0.4 * ((kind * 4) % 9) / 8  # of all check-ins, those on weekdays
    days = [_bump(hour, weekday_peak) * share / 5] * 5 + [_bump(hour, weekend_peak) * (1 - share) / 2] * 2
    return np.concatenate(days)


def _bump(hour: np.ndarray, peak: int) -> np.ndarray:
    distance = np.minimum((hour - peak) % 24, (peak - hour) % 24)
    shape: Any = np.exp(-(distance**2) / (2 * 3.0**2))
    found: np.ndarray = shape / shape.sum()
    return found

"""US-Accidents (Moosavi et al., 2019): any release of the Kaggle CSV, 2016-2020 through March 2023."""

from __future__ import annotations

from pathlib import Path

from lib_unlearning.errors import LOGGER
from lib_unlearning.readers import safe_pickle, tables
from lib_unlearning.readers.columns import class_labels, encode
from lib_unlearning.readers.raw import RawDataset

MAX_ROWS = 600_000  # the paper's share of the file
MAX_BYTES = 8 * 2**30  # the largest release has 3.1 GB; only the first rows are kept in memory
MAX_PICKLE = 2 * 2**30
LABEL = "Severity"
CLASSES = ["severity 1-2", "severity 3-4"]
NUMERIC = (
    "TMC",
    "Start_Lat",
    "Start_Lng",
    "Distance(mi)",
    "Temperature(F)",
    "Wind_Chill(F)",
    "Humidity(%)",
    "Pressure(in)",
    "Visibility(mi)",
)
CATEGORICAL = (
    "Source",
    "Side",
    "State",
    "Timezone",
    "Wind_Direction",
    "Weather_Condition",
    "Amenity",
    "Bump",
    "Crossing",
    "Give_Way",
    "Junction",
    "No_Exit",
    "Railway",
    "Roundabout",
    "Station",
    "Stop",
    "Traffic_Calming",
    "Traffic_Signal",
    "Turning_Loop",
    "Sunrise_Sunset",
)
# The 29 columns of the 2016-2020 releases; later ones dropped some.
COLUMNS = (*NUMERIC, *CATEGORICAL)
_SEVERITIES = {f"{level}{dot}": int(level > 2) for dot in ("", ".0") for level in range(1, 5)}
_ALWAYS = (LABEL, "Start_Lat", "Start_Lng", "Distance(mi)", "State", "Weather_Condition")


def recognise(path: Path) -> bool:
    """Whether a file is a release of US-Accidents."""
    return len(tables.own_names(path, (LABEL, "Start_Lat", "Start_Lng"))) == 3 or (
        path.name.startswith("accident") and safe_pickle.is_pickle(path)
    )


def read(path: Path) -> RawDataset:
    """Features [N <= 600,000, d <= 29] and severity, {1, 2} against {3, 4}."""
    if safe_pickle.is_pickle(path):
        return from_pickle(path)
    own = tables.own_names(path, (*COLUMNS, LABEL))
    table = tables.read_spelled(path, own, _ALWAYS, (*CATEGORICAL, LABEL), max_rows=MAX_ROWS, limit=MAX_BYTES)
    columns = [name for name in COLUMNS if name in table]
    left_out = [name for name in COLUMNS if name not in table]
    if left_out:
        LOGGER.warning("%s: this release lacks %s; left out", path, ", ".join(left_out))
    labels = class_labels(table[LABEL], _SEVERITIES, path, LABEL)
    features, codes = encode(table, columns, NUMERIC, path)
    details = {"columns": columns, "category_codes": codes, "left_out": left_out}
    return RawDataset(features, labels, CLASSES, details)


def from_pickle(path: Path) -> RawDataset:
    """The authors' processed table: numbers throughout, severity merged or not."""
    features, values, columns = safe_pickle.table(path, (LABEL, "severity"), MAX_PICKLE)
    merged = {"0": 0, "1": 1} if set(values) <= {"0", "1"} else {"1": 0, "2": 0, "3": 1, "4": 1}
    return RawDataset(
        features, class_labels(tables.words_of(values), merged, path, LABEL), CLASSES, {"columns": columns}
    )

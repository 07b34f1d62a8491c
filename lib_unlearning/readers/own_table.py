"""Anybody's own table, CSV or Parquet: numbers stay numbers, everything else is a category."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib_unlearning.errors import UserError, error_text
from lib_unlearning.readers import tables
from lib_unlearning.readers.raw import RawDataset

MAX_CLASSES = 1000


def read(path: Path, label_column: str) -> RawDataset:
    """Features [N, d] of all columns but one, and that column's values as classes.

    Raises:
        UserError: the column is not there, or the file cannot be read as a table.
    """
    table = _read_parquet(path) if _is_parquet(path) else tables.read_columns(path)
    if label_column not in table:
        names = ", ".join(map(str, list(table)[:10]))
        raise UserError(f"--label_column {label_column}: {path} has no such column; it has {names}")
    columns = [name for name in table if name != label_column]
    if not columns:
        raise UserError(f"{path} has no column beside {label_column}; give a table with features")
    codes, classes = tables.categories(table[label_column])
    if "" in classes:
        empty = int(np.flatnonzero(codes == classes.index(""))[0])
        raise UserError(
            f"{path}, record {empty + 1}, column {label_column}: the label is missing; drop or fill the row"
        )
    if len(classes) > MAX_CLASSES:
        raise UserError(
            f"--label_column {label_column}: {len(classes)} classes; name a column of at most {MAX_CLASSES}"
        )
    numeric = [name for name in columns if _is_numeric(table[name])]
    features, category_codes = tables.encode(table, columns, numeric, path)
    details = {"columns": columns, "category_codes": category_codes}
    return RawDataset(features, codes.astype(np.int64), classes, details)


def _is_numeric(column: tables.Column) -> bool:
    """Whether most of a column's first distinct values are numbers; a stray word among them is then an error."""
    known = [value for value in column.distinct[:1000] if value not in tables.MISSING]
    parsed = sum(tables.is_number(value) for value in known)
    return bool(known) and parsed > len(known) / 2


def _is_parquet(path: Path) -> bool:
    try:
        with open(path, "rb") as handle:
            return handle.read(4) == b"PAR1"
    except OSError:
        return False


def _read_parquet(path: Path) -> dict[str, tables.Column]:
    import pandas as pd

    try:
        table = pd.read_parquet(path)
    except ImportError as error:
        raise UserError(
            f"{path} is a Parquet file, which needs pyarrow: pip install pyarrow, or export it as CSV"
        ) from error
    except Exception as error:  # pyarrow has errors of its own for damaged files
        raise UserError(f"{path} cannot be read ({error_text(error)}); write it again") from error
    text = table.astype(object).where(table.notna(), "")
    return {str(name): tables.column_of(map(str, text[name])) for name in text.columns}

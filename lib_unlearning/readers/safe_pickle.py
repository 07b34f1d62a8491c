"""Pickled data frames of other people, opened without running what they might contain."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib_unlearning.errors import UserError, error_text
from lib_unlearning.readers import tables
from lib_unlearning.readers.columns import numbers

if TYPE_CHECKING:
    import pandas as pd

# What a pickled data frame or array is made of, by the names that pandas 1 to 3 and numpy 1 to 2 have given it.
# Each only builds a value from its arguments; nothing here calls, imports or opens what a pickle names.
_ADMITTED = {
    "builtins": {"slice", "list", "dict", "set", "frozenset", "tuple", "int", "float", "str", "bool", "complex"},
    "collections": {"OrderedDict"},
    "copyreg": {"_reconstructor"},
    "_codecs": {"encode"},
    "numpy": {"ndarray", "dtype", "int64", "float64", "int32", "float32", "uint8", "bool_"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
    "pandas": {"DataFrame", "Series", "Index", "RangeIndex", "Categorical", "CategoricalDtype", "StringDtype"},
    "pandas.arrays": {"StringArray"},
    "__builtin__": {"slice"},
    "pandas.core.frame": {"DataFrame"},
    "pandas.core.series": {"Series"},
    "pandas.core.internals.managers": {"BlockManager", "SingleBlockManager"},
    "pandas.core.internals.blocks": {"new_block", "NumericBlock", "ObjectBlock"},
    "pandas._libs.internals": {"_unpickle_block", "BlockPlacement"},
    "pandas._libs.arrays": {"NDArrayBacked", "__pyx_unpickle_NDArrayBacked"},
    "pandas.core.indexes.base": {"_new_Index", "Index"},
    "pandas.core.indexes.range": {"RangeIndex"},
    "pandas.core.indexes.numeric": {"Int64Index", "UInt64Index", "Float64Index"},
    "pandas.core.arrays.categorical": {"Categorical"},
    "pandas.core.arrays.string_": {"StringArray", "ObjectStringArray"},
    "pandas.core.dtypes.dtypes": {"CategoricalDtype"},
}


def _restricted(stream: io.BytesIO, encoding: str) -> Any:
    """An unpickler for this stream; made here, so that pandas is imported only when a pickle is really opened."""
    from pandas.compat import pickle_compat

    class Restricted(pickle_compat.Unpickler):  # type: ignore[misc]  # pandas has no types
        def find_class(self, module: str, name: str) -> Any:
            if name not in _ADMITTED.get(module, ()):
                raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is no part of a table")
            return super().find_class(module, name)

    return Restricted(stream, encoding=encoding)


def is_pickle(path: Path) -> bool:
    """Whether a file starts as pickles of protocol 2 or later do."""
    try:
        with open(path, "rb") as handle:
            return handle.read(1) == b"\x80"
    except OSError:
        return False


def load(path: Path, limit: int) -> Any:
    """The value of a pickle file that holds data frames, arrays and plain Python values only.

    Raises:
        UserError: it cannot be read, is larger than `limit` bytes, or names anything else; nothing of it was run.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= limit else b""
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error_text(error)}); fetch it again") from error
    if size > limit:
        raise UserError(f"{path} has {size} bytes, more than the {limit} that are read; give a smaller file")
    return loads(io.BytesIO(content), path)


def loads(stream: io.BytesIO, path: Path, encoding: str = "ASCII") -> Any:
    """The value of a pickle in memory that came from `path`; see `load`."""
    try:
        return _restricted(stream, encoding).load()
    except Exception as error:  # damaged pickles raise anything
        raise UserError(
            f"{path} is not a pickled table that can be opened safely ({error_text(error)}); export it as CSV"
        ) from error


def table(path: Path, label_names: tuple[str, ...], limit: int) -> tuple[np.ndarray, list[str], list[str]]:
    """A pickled data frame of numbers: features [N, d] float32, label of each row as text, column names.

    The label is the first column of one of these names, or else the last column.

    Raises:
        UserError: it is no data frame of numbers, or cannot be opened safely.
    """
    import pandas as pd

    frame = load(path, limit)
    if not isinstance(frame, pd.DataFrame):
        raise UserError(f"{path} holds a {type(frame).__name__}, not a table of features and labels; export it as CSV")
    try:  # a damaged pickle can make a data frame whose parts are missing: touching them raises anything
        return _split_off_label(frame, path, label_names)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} holds a damaged table ({error_text(error)}); export it as CSV") from error


def _split_off_label(
    frame: pd.DataFrame, path: Path, label_names: tuple[str, ...]
) -> tuple[np.ndarray, list[str], list[str]]:
    """Features, labels as text and column names of a data frame; see `table`."""
    if frame.shape[1] < 2:
        raise UserError(f"{path} has fewer than two columns, no table of features and labels; export it as CSV")
    names = [str(name) for name in frame.columns]
    label = next((names.index(name) for name in label_names if name in names), len(names) - 1)
    kept = [position for position, name in enumerate(names) if position != label and name not in ("locid", "ID")]
    features = np.column_stack(
        [numbers(tables.words_of(map(str, frame.iloc[:, position])), path, names[position]) for position in kept]
    )
    labels = [tables.plain_text(cell) for cell in frame.iloc[:, label].tolist()]  # 3.0 and 3 are the same class
    return features, labels, [names[position] for position in kept]

"""Anybody's records as the library sees them: arrays, data frames or sparse matrices, classes or numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lib_unlearning.cache.files import digest_arrays
from lib_unlearning.errors import UserError
from lib_unlearning.link import Identity, Link, Softmax

_MOST_DENSE = 2000  # columns of a sparse matrix that is made dense for attacks that look at records
_MOST_CLASSES = 1000
_FAR = 1e100
_FEW_CLASSES = 10  # different whole numbers that look like classes


@dataclass(frozen=True)
class Unit:
    """In what a regression's numbers are counted: standard deviations of the labels from their middle, so that nothing
    depends on whether they are euros or cents, seconds from 1970 or from today."""

    middle: float
    deviation: float

    @staticmethod
    def of(labels: np.ndarray) -> Unit:
        """From labels [N]."""
        far = float(np.abs(labels).max(initial=0.0)) or 1.0  # whose square may be more than a float holds
        middle, deviation = float((labels / far).mean()) * far, float((labels / far).std()) * far
        return Unit(middle, deviation or 1.0)

    def __call__(self, numbers: np.ndarray) -> np.ndarray:
        found: np.ndarray = numbers / self.deviation - self.middle / self.deviation
        return found


@dataclass(frozen=True)
class Records:
    """Records [N] with their labels; stands in for `Dataset` where models come from outside.

    Attributes:
        features: [N, ...] array, data frame or sparse matrix, as models get it.
        labels: [N] class numbers 0 .. c - 1, or the numbers of a regression, in its `unit`.
        classes: [c] what the class numbers stand for; None for a regression.
        ids: [N] what reports call the records.
        target: [N] labels as the user gave them.
        unit: of a regression's numbers; None for classes.
    """

    features: Any
    labels: np.ndarray
    classes: np.ndarray | None
    ids: np.ndarray
    target: np.ndarray
    unit: Unit | None = None

    @staticmethod
    def of(features: Any, target: Any, ids: Any = None, regression: bool = False) -> Records:
        """From what a user has; raises `UserError` when it cannot be audited."""
        values = np.asarray(target)
        features = features if hasattr(features, "shape") else np.asarray(features)
        features = features.tocsr() if hasattr(features, "tocsr") else features
        if len(features.shape) < 2 or 0 in features.shape:
            raise UserError(f"X has the shape {features.shape}: a row a record, a column a feature")
        count = features.shape[0]
        if values.ndim != 1 or count != len(values):
            raise UserError(f"y must be one value a record: X has {count:,} records, y has shape {values.shape}")
        names = np.asarray(_ids_of(features) if ids is None else ids)
        if names.ndim != 1:
            raise UserError(f"ids have the shape {names.shape}: one for each of the {count:,} records")
        if len(names) != count:
            raise UserError(f"ids: {len(names):,} of them for {count:,} records")
        if _missing(names):
            raise UserError("ids hold missing values; name every record")
        if values.dtype.kind == "c":
            raise UserError("y holds complex numbers; make them classes or numbers")
        if _missing(values):
            raise UserError("y holds missing values; leave these records out")
        if regression:
            if values.dtype.kind in "iub" and len(np.unique(values)) <= _FEW_CLASSES < len(values):
                raise UserError(
                    f"y holds {len(np.unique(values))} whole numbers, and the model has no predict_proba; give it "
                    "one, or y as floats if this is a regression"
                )
            if not np.issubdtype(values.dtype, np.number) or not np.isfinite(values.astype(float)).all():
                raise UserError("y of a regression must be finite numbers")
            numbers = values.astype(np.float64)
            unit = Unit.of(numbers)
            return Records(features, unit(numbers), None, names, numbers, unit)
        try:
            classes, labels = np.unique(values, return_inverse=True)
        except TypeError:
            raise UserError("y mixes texts and numbers, or holds missing values; make it one kind") from None
        if len(classes) < 2:
            raise UserError(f"y holds one class only ({classes.tolist()[0]!r}); nothing can be learned")
        if len(classes) > min(_MOST_CLASSES, count // 2):
            raise UserError(f"y holds {len(classes):,} different values in {count:,} records; is it a regression?")
        return Records(features, labels.astype(np.int64), classes, names, classes[labels])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Columns of every answer."""
        return 1 if self.classes is None else len(self.classes)

    @property
    def link(self) -> Link:
        """What a linear model's scores would become."""
        return Identity() if self.classes is None else Softmax()

    def rows(self, records: np.ndarray) -> Any:
        """Features of records [k], as models get them."""
        if hasattr(self.features, "iloc"):
            return self.features.iloc[records]
        return self.features[records]

    @cached_property
    def numeric(self) -> np.ndarray | None:
        """[N, d] features as numbers, texts by their codes; None where that would be too wide."""
        if hasattr(self.features, "iloc"):
            return np.column_stack([_as_numbers(self.features.iloc[:, i]) for i in range(self.features.shape[1])])
        if hasattr(self.features, "toarray"):
            wide = self.features.shape[1] > _MOST_DENSE
            return None if wide else _bounded(np.array(self.features.toarray(), dtype=np.float64))
        flat = np.asarray(self.features).reshape(len(self), -1)
        try:
            return _bounded(flat.astype(np.float64))
        except (TypeError, ValueError):
            return np.column_stack([_as_numbers(column) for column in flat.T])

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of features, as they are, and labels."""
        features = self.features
        if hasattr(features, "iloc"):
            parts = [_texts(features.columns), *(_texts(features.iloc[:, i]) for i in range(features.shape[1]))]
        elif hasattr(features, "indptr"):
            parts = [features.data, features.indices, features.indptr, np.array(features.shape)]
        else:
            parts = [_texts(np.asarray(features).ravel()), np.array(features.shape)]
        return digest_arrays(*parts, _texts(self.target))


def _texts(column: Any) -> np.ndarray:
    """Values [N] as they can be hashed: numbers as they are, all else as it is written."""
    values = np.asarray(column)
    return values if values.dtype.kind in "biuf" else np.array([str(value) for value in values.tolist()])


def _ids_of(features: Any) -> Any:
    return features.index if hasattr(features, "iloc") else np.arange(features.shape[0])


def _missing(values: np.ndarray) -> bool:
    if values.dtype.kind == "f":
        return bool(np.isnan(values).any())
    return bool(values.dtype == object) and any(value is None or bool(value != value) for value in values.tolist())


def _as_numbers(column: Any) -> np.ndarray:
    import pandas as pd

    series = pd.Series(np.asarray(column)) if not isinstance(column, pd.Series) else column
    if pd.api.types.is_numeric_dtype(series):
        return _bounded(series.to_numpy(dtype=np.float64, na_value=np.nan))
    try:
        codes = pd.factorize(series, sort=False)[0]
    except TypeError:  # lists
        codes = pd.factorize(series.map(repr), sort=False)[0]
    return np.asarray(codes, dtype=np.float64)


def _bounded(numbers: np.ndarray) -> np.ndarray:
    """Numbers that attacks can calculate with: none missing, none so large that its square is infinite."""
    found: np.ndarray = np.clip(np.nan_to_num(numbers), -_FAR, _FAR)
    return found

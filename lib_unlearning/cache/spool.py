"""Arrays out of the way: some megabytes in memory, the rest in a temporary file without a name that goes with us."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lib_unlearning.errors import UserError, error_text

_IN_MEMORY = 8 * 2**20  # bytes a spool
_BLOCK = 4 * 2**20  # bytes of rows that are passed on at once


class Spool:
    """A place for bytes: they are appended, and read from where they begin."""

    def __init__(self) -> None:
        # Closed when nobody refers to it any more, as memory would be freed.
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self._end = 0

    def put(self, array: np.ndarray) -> int:
        """Append an array's contents; where they begin."""
        begin = self._end
        try:
            self._file.seek(begin)
            self._file.write(array.tobytes())
            self._file.flush()  # a full disk is told here
        except OSError as error:
            raise UserError(
                f"cannot keep arrays in the temporary folder: {error_text(error)}; free some space, or name another "
                "folder in TMPDIR"
            ) from error
        self._end += array.nbytes
        return begin

    def get(self, begin: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """An array that begins there."""
        self._file.seek(begin)
        found = np.frombuffer(self._file.read(math.prod(shape) * dtype.itemsize), dtype)
        return found.reshape(shape)


class Rows:
    """Rows [n, ...] of one shape in a spool."""

    def __init__(self, spool: Spool, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.row, self.dtype = shape, np.dtype(dtype)
        self._spool = spool
        self._begins: list[int] = []
        self.bytes_each = math.prod(shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self._begins)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all rows as one array."""
        return (len(self), *self.row)

    def add(self, rows: np.ndarray) -> None:
        """Append rows [k, ...]."""
        begin = self._spool.put(rows.astype(self.dtype, copy=False))
        self._begins += [begin + number * self.bytes_each for number in range(len(rows))]

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """Rows [k, ...] by their numbers [k]."""
        found = np.empty((len(numbers), *self.row), self.dtype)
        for place, number in enumerate(numbers):
            found[place] = self._spool.get(self._begins[number], self.row, self.dtype)
        return found

    def all(self) -> np.ndarray:
        """All rows [n, ...], where these are few."""
        return self.take(np.arange(len(self)))

    def part(self, number: int, first: int, last: int) -> np.ndarray:
        """Of one row [n, ...] what lies from `first` to before `last`."""
        step = self.bytes_each // max(self.row[0], 1)
        return self._spool.get(self._begins[number] + first * step, (last - first, *self.row[1:]), self.dtype)

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows in order, some megabytes at a time."""
        for first, last in spans(len(self), self.bytes_each):
            yield self.take(np.arange(first, last))


def spans(count: int, bytes_each: int) -> Iterator[tuple[int, int]]:
    """Where blocks of some megabytes begin and end, of so many rows of so many bytes."""
    size = max(1, _BLOCK // max(bytes_each, 1))
    for first in range(0, count, size):
        yield first, min(first + size, count)


class Memo:
    """What was made once, by what it was; arrays lie in a spool."""

    def __init__(self) -> None:
        self._spool = Spool()
        self._arrays: dict[Any, tuple[int, tuple[int, ...], np.dtype[Any]]] = {}
        self._others: dict[Any, Any] = {}

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """`make()`, or what it gave the first time for this key; of an array a copy that cannot be written to."""
        if key in self._others:
            return self._others[key]
        if key not in self._arrays:
            found = make()
            if not isinstance(found, np.ndarray):
                self._others[key] = found
                return found
            self._arrays[key] = (self._spool.put(found), found.shape, found.dtype)
        return self._spool.get(*self._arrays[key])

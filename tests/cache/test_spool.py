"""Arrays out of the way: what is put aside comes back as it was, from memory or from disk, and no name is left."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib_unlearning.cache import spool as module
from lib_unlearning.cache.arrays import read_arrays, read_rows, write_rows
from lib_unlearning.cache.spool import Memo, Rows, Spool
from lib_unlearning.errors import UserError


def filled(spool: Spool, values: np.ndarray, at_once: int = 7) -> Rows:
    rows = Rows(spool, values.shape[1:], values.dtype)
    for first in range(0, len(values), at_once):
        rows.add(values[first : first + at_once])
    return rows


@pytest.mark.parametrize("in_memory", [10, 2**20])
@pytest.mark.parametrize("shape", [(50,), (50, 3, 2), (50, 0, 2), (0, 4)])
def test_rows_come_back(monkeypatch: pytest.MonkeyPatch, in_memory: int, shape: tuple[int, ...]) -> None:
    monkeypatch.setattr(module, "_IN_MEMORY", in_memory)
    monkeypatch.setattr(module, "_BLOCK", 60)
    spool, rng = Spool(), np.random.default_rng(0)
    values, others = rng.normal(size=shape).astype(np.float32), rng.integers(0, 9, (20, 2))
    rows, beside = filled(spool, values), filled(spool, others)
    assert rows.shape == values.shape
    chosen = rng.permutation(len(values))[:9]
    np.testing.assert_array_equal(rows.take(chosen), values[chosen])
    np.testing.assert_array_equal(np.concatenate([*rows.blocks(), values[:0]]), values)
    np.testing.assert_array_equal(beside.take(np.arange(20)), others)


def test_parts_of_a_row() -> None:
    values = np.arange(60.0).reshape(3, 10, 2)
    rows = filled(Spool(), values)
    np.testing.assert_array_equal(rows.part(1, 4, 7), values[1, 4:7])


def test_a_file_of_rows_is_a_file_of_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 100)
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {
        "changes": rng.normal(size=(40, 5)),
        "group": np.arange(40),
        "effects": np.zeros((40, 0, 2), np.float32),
    }
    path = tmp_path / "own.npz"
    write_rows(path, {name: filled(Spool(), values) for name, values in arrays.items()})
    found, again = read_arrays(path), read_rows(path, Spool())
    assert found.keys() == again.keys() == arrays.keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)
        np.testing.assert_array_equal(again[name].take(np.arange(40)), values)


def test_every_byte_of_a_file_of_rows_counts(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    values = np.arange(6.0).reshape(3, 2)
    write_rows(path, {"changes": filled(Spool(), values)})
    whole = path.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 10)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="cannot be read"):
            read_rows(path, Spool())
    refused = 0
    for place in range(0, len(whole), 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            found = read_rows(path, Spool())
        except UserError:
            refused += 1
            continue
        np.testing.assert_array_equal(found["changes"].take(np.arange(3)), values)
    assert refused > len(whole) / 2 / 2


def test_no_temporary_folder_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IN_MEMORY", 10)
    spool = Spool()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(UserError, match=r"temporary folder.*TMPDIR"):
        spool.put(np.zeros(100))


def test_a_memo_makes_once_and_keeps_what_it_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IN_MEMORY", 10)
    memo, made = Memo(), []

    def make(value: Any) -> Any:
        made.append(value)
        return value

    for value in (np.arange(6).reshape(2, 3), "text", None, False):
        key = str(value)
        first, second = memo.once(key, lambda: make(value)), memo.once(key, lambda: make(value))  # noqa: B023
        np.testing.assert_array_equal(first, second)
        assert type(first) is type(value)
    assert len(made) == 4
    with pytest.raises(ValueError, match="read-only"):  # a reader cannot spoil it for the next
        memo.once(str(np.arange(6).reshape(2, 3)), lambda: None)[:] = 0

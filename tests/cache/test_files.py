"""Atomic files, stale temporaries, seeds, and a parallel map that keeps order."""

from __future__ import annotations

import os
import resource
import signal
import stat
from pathlib import Path

import numpy as np
import pytest

from lib_unlearning.cache.arrays import read_arrays, write_arrays
from lib_unlearning.cache.files import (
    HOST,
    atomic_file,
    read_json,
    read_sealed,
    remove_stale_temporaries,
    seal_folder,
    write_text,
)
from lib_unlearning.dataset import Dataset, load_dataset, save_dataset
from lib_unlearning.errors import UserError
from lib_unlearning.parallel import parallel_map
from lib_unlearning.seeds import spawn


def test_seeds_depend_on_purpose_only() -> None:
    first = spawn(0, "target", 3, "requests").integers(0, 2**60)
    assert first == spawn(0, "target", 3, "requests").integers(0, 2**60)
    others = [(1, "target", 3, "requests"), (0, "shadow", 3, "requests"), (0, "target", 4, "requests")]
    assert all(first != spawn(*other).integers(0, 2**60) for other in others)


def test_an_exception_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError):
        _write_half(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def _write_half(path: Path) -> None:
    with atomic_file(path) as handle:
        handle.write(b"half")
        raise ZeroDivisionError


def test_no_space_is_one_clear_line(tmp_path: Path) -> None:
    """A file-size limit makes the kernel refuse the write, as a full disk does."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(UserError, match=r"cannot write .*big\.npz: File too large; free some space"):
            write_arrays(tmp_path / "big.npz", {"zeros": np.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not [path for path in tmp_path.iterdir() if path.name != "state"]


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, what in ((tmp_path / "pipe", "device or a pipe"), (tmp_path, "folder")):
        with pytest.raises(UserError, match=f"it is a {what}; name a file"):
            write_text(path, "text")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_only_abandoned_temporaries_are_removed(tmp_path: Path) -> None:
    """Those of dead processes here, and old ones of other machines: a process number says nothing there."""
    names = [f".a.models.{HOST}.4194999.ab.tmp", f".b.models.{HOST}.{os.getpid()}.ab.tmp"]
    dead, alive = (tmp_path / name for name in names)
    elsewhere, abandoned = (tmp_path / f".{name}.models.0123abcd.4194999.ab.tmp" for name in "cd")
    for path in (dead, alive, elsewhere, abandoned):
        path.touch()
    os.utime(abandoned, (0, 0))
    remove_stale_temporaries(tmp_path)
    assert sorted(tmp_path.iterdir()) == [alive, elsewhere]


def test_every_byte_of_an_array_file_counts(tmp_path: Path) -> None:
    """Truncated anywhere or with any bit flipped, a file is refused or read as it was, never as something else."""
    path = tmp_path / "arrays.npz"
    arrays = {"mean": np.arange(6.0).reshape(2, 3), "names": np.array([1, 2, 3])}
    write_arrays(path, arrays)
    whole = path.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 10)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="cannot be read"):
            read_arrays(path)
    refused = 0
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            found = read_arrays(path)
        except UserError:
            refused += 1
            continue
        assert found.keys() == arrays.keys()
        for name, values in arrays.items():
            np.testing.assert_array_equal(found[name], values)
    assert refused > len(whole) / 3 / 2


def test_what_is_no_array_file_is_refused_in_a_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    np.savez(tmp_path / "foreign.npz", values=np.arange(3))
    for name, complaint in (("pipe", "no regular file"), ("foreign", "digest"), ("missing", "No such file")):
        with pytest.raises(UserError, match=complaint):
            read_arrays(tmp_path / f"{name}.npz")


def test_pipes_and_bottomless_texts_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "deep.json").write_text("[" * 100_000, encoding="utf-8")
    for name in ("pipe", "deep"):
        with pytest.raises(UserError, match="cannot be read"):
            read_json(tmp_path / f"{name}.json")
    (tmp_path / "results.json").write_text("[]", encoding="utf-8")
    seal_folder(tmp_path, ["results.json"])
    (tmp_path / "results.json").unlink()
    os.mkfifo(tmp_path / "results.json")
    with pytest.raises(UserError, match="no regular file"):
        read_sealed(tmp_path / "results.json")


@pytest.mark.parametrize("name", ["features.npy", "labels.npy", "dataset.json"])
def test_a_prepared_data_set_of_pipes_and_of_flipped_headers_is_refused(
    name: str, dataset: Dataset, tmp_path: Path
) -> None:
    description = {"name": "t", "label": "l", "classes": ["a", "b", "c"], "class_counts": [1, 1, 1]}
    save_dataset(tmp_path, dataset.features, dataset.labels, description)
    whole = (tmp_path / name).read_bytes()
    for place in range(min(len(whole), 128)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            (tmp_path / name).write_bytes(flipped)
            try:
                found = load_dataset(tmp_path)
            except UserError:
                continue
            np.testing.assert_array_equal(found.features, dataset.features)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match="no regular file"):
        load_dataset(tmp_path)


def test_sealed_folders_notice_every_change(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('[{"auc": 0.75}]', encoding="utf-8")
    seal_folder(tmp_path, ["results.json"])
    assert read_sealed(tmp_path / "results.json") == b'[{"auc": 0.75}]'
    (tmp_path / "results.json").write_text('[{"auc": 0.95}]', encoding="utf-8")
    with pytest.raises(UserError, match="digest differs"):
        read_sealed(tmp_path / "results.json")
    with pytest.raises(UserError):
        read_sealed(tmp_path / "scores.csv")


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_parallel_map_keeps_order(workers: int) -> None:
    assert list(parallel_map(abs, [-3, 2, -1], workers, "", True)) == [3, 2, 1]


def _fail(item: int) -> int:
    if item == 1:
        raise UserError("item 1 is bad")
    return item


def _die(item: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return item


def _die_once(path: Path) -> str:
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def test_a_task_whose_worker_was_killed_is_tried_once_more(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(6)]
    for path in paths[:2] + paths[3:]:
        path.touch()
    assert list(parallel_map(_die_once, paths, 2, "", True)) == [path.name for path in paths]


def test_parallel_map_passes_errors_on() -> None:
    with pytest.raises(UserError, match="item 1 is bad"):
        list(parallel_map(_fail, [0, 1, 2], 2, "", True))
    with pytest.raises(UserError, match="worker process was killed twice while it worked on task 1 of 3"):
        list(parallel_map(_die, [0, 1, 2], 2, "", True))


def test_the_bar_counts_models(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert list(parallel_map(len, [[1, 2], [3]], 1, "training", False, lambda item: 10 * len(item))) == [2, 1]
    assert "/30 [" in capsys.readouterr().err

"""Atomic files, stale temporaries, seeds, and a parallel map that keeps order."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from lib_unlearning.cache.files import atomic_file, remove_stale_temporaries, write_arrays, write_text
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
    assert list(tmp_path.iterdir()) == []


def test_only_dead_processes_temporaries_are_removed(tmp_path: Path) -> None:
    dead, alive = tmp_path / ".a.models.4194999.tmp", tmp_path / f".b.models.{os.getpid()}.tmp"
    dead.touch()
    alive.touch()
    remove_stale_temporaries(tmp_path)
    assert list(tmp_path.iterdir()) == [alive]


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

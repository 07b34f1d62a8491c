"""Any `concurrent.futures.Executor` in the place of local processes, mpi4py's among them.

An executor sends what it is given with every task. So the work (settings, splits, prepared data) is written once,
sealed, to a folder that all workers see, and tasks name the file.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from lib_unlearning.cache import sealed_pickle
from lib_unlearning.cache.files import HOST, remove_stale_temporaries
from lib_unlearning.errors import UserError, error_text
from lib_unlearning.plugins import load_plugins, sources

AHEAD = 4  # tasks a worker that are handed out at a time
_ROUNDS = 128  # of tasks a worker, before tasks are put together
TOGETHER = 64


class ExecutorMapper:
    """Results of a task for each item, in order; see `parallel.carried_out_by`.

    Args:
        executor: of processes; what a thread may use of the cores is limited for all of a process.
        workers: how many it has.
        folder: that all of them see.
    """

    def __init__(self, executor: Executor, workers: int, folder: Path) -> None:
        self._executor, self._workers, self._folder = executor, workers, folder

    def __call__(self, task: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """Raises `UserError` when the executor's workers are gone."""
        self._folder.mkdir(parents=True, exist_ok=True)
        remove_stale_temporaries(self._folder)
        path = self._folder / f".work.{HOST}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
        sealed_pickle.write(path, (sources(), _dumped(task)), path.name)
        try:
            yield from in_order(
                lambda group: self._executor.submit(apply_kept, path, group),
                groups_of(items, self._workers),
                lambda: AHEAD * self._workers,
            )
        except (BrokenExecutor, CancelledError) as error:
            raise UserError(
                f"the workers are gone ({error_text(error)}); what was finished is kept, run the command again"
            ) from error
        finally:
            path.unlink(missing_ok=True)


def groups_of(items: Sequence[Any], workers: int) -> Iterator[Sequence[Any]]:
    """Items that are sent together: one by one, unless there are so many that sending them would be the work."""
    size = min(TOGETHER, max(1, len(items) // (workers * _ROUNDS)))
    return (items[start : start + size] for start in range(0, len(items), size))


def in_order(
    submit: Callable[[Sequence[Any]], Any], groups: Iterator[Sequence[Any]], limit: Callable[[], int]
) -> Iterator[Any]:
    """Results of all items in their order, `limit` groups being handed out at a time."""
    waiting: deque[Any] = deque()
    try:
        for group in groups:
            waiting.append(submit(group))
            if len(waiting) >= limit():
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        for future in waiting:  # after an error, or when nobody wants the rest
            future.cancel()


def apply_kept(path: Path, items: Sequence[Any]) -> list[Any]:
    """The results for some items of the work that lies in a file."""
    return apply(_kept(path), items)


def apply(task: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """`task(item)` of each on one core."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return [task(item) for item in items]


@lru_cache(maxsize=1)
def _kept(path: Path) -> Any:
    found = sealed_pickle.read(path, path.name, False)
    if found is None:
        raise UserError(f"{path}: not there; workers must see the folder of --temp_data")
    plugins, work = found
    load_plugins(plugins)  # whose classes the work may name
    return pickle.loads(work)


class _Pickler(pickle.Pickler):
    """Modules go by their names."""

    def reducer_override(self, value: Any) -> Any:
        """How a value is made again; the usual way for all but modules."""
        return (import_module, (value.__name__,)) if isinstance(value, ModuleType) else NotImplemented


def _dumped(value: Any) -> bytes:
    found = io.BytesIO()
    _Pickler(found, pickle.HIGHEST_PROTOCOL).dump(value)
    return found.getvalue()


@contextlib.contextmanager
def mpi_mapper(folder: Path) -> Iterator[ExecutorMapper]:
    """The workers of `mpiexec -n N python -m mpi4py.futures main.py ...`.

    Raises:
        UserError: the command was not started so, or without workers.
    """
    from mpi4py import MPI
    from mpi4py.futures import MPIPoolExecutor, _core

    workers = MPI.COMM_WORLD.Get_size() - 1
    if workers < 1 or MPI.COMM_WORLD.Get_rank() != 0 or getattr(_core, "SharedPool", True) is None:
        raise UserError("--cluster mpi: start it as mpiexec -n N python -m mpi4py.futures main.py ..., N at least 2")
    with MPIPoolExecutor() as executor:
        yield ExecutorMapper(executor, workers, folder)

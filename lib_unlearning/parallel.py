"""A map over worker processes, and how long its stages took."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from lib_unlearning.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

_TASK: Callable[[Any], Any] | None = None


def usable_cores() -> int:
    """Number of cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel_map(
    task: Callable[[Item], Result], items: Sequence[Item], workers: int, description: str, quiet: bool
) -> Iterator[Result]:
    """Yield `task(item)` in the order of `items`, from `workers` processes with one BLAS thread each.

    With one worker the work stays in this process. Raises `UserError` when a worker is killed from outside.
    """
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # its monitor thread would be alive while worker processes are forked
    hidden = True if quiet else None  # None: shown on a terminal only
    workers = min(workers, len(items))
    results = _run_here(task, items) if workers <= 1 else _run_in_processes(task, items, workers)
    yield from tqdm(results, total=len(items), desc=description, disable=hidden, leave=False)


def _run_here(task: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        for item in items:
            yield task(item)


def _run_in_processes(task: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    # A forked worker shares the data set and the libraries that are already in memory.
    method = "fork" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(method)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(task,))
    try:
        yield from pool.map(_work, items)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, most likely for want of memory; lower --num_process and run again: "
            "what was finished is kept"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(task: Callable[[Any], Any]) -> None:
    import signal

    from threadpoolctl import threadpool_limits

    global _TASK
    _TASK = task
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the pool
    threadpool_limits(1)


def _work(item: Any) -> Any:
    assert _TASK is not None
    return _TASK(item)


class Stopwatch:
    """Wall time [s] and peak memory [MiB] of named stages."""

    def __init__(self) -> None:
        self.stages: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block; peak memory is that of the largest process so far, workers included."""
        start = time.perf_counter()
        yield
        self.stages.append(
            {"stage": name, "wall_seconds": round(time.perf_counter() - start, 3), "peak_memory_mib": _peak_memory()}
        )


def _peak_memory() -> float | None:
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)

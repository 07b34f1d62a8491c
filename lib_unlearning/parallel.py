"""A map over worker processes, and how long its stages took."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from lib_unlearning.errors import LOGGER, UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

# What asks a command to end, where the system knows it.
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_TASK: Callable[[Any], Any] | None = None
_AHEAD = 4  # tasks a worker that are handed out before their results are wanted
_LONG = 80
_POOL_THREADS = 2  # that a pool starts beside its workers
_PATIENCE = 1.0  # seconds for a killed process to be gone
_PR_SET_PDEATHSIG = 1


# (task, items) -> results in order: a cluster that takes the place of local processes, see `carried_out_by`.
Carrier = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]
_CARRIER: Carrier | None = None


@contextlib.contextmanager
def carried_out_by(carrier: Carrier) -> Iterator[None]:
    """Let something else than local processes carry out what `parallel_map` is asked for while the block runs."""
    global _CARRIER
    before, _CARRIER = _CARRIER, carrier
    try:
        yield
    finally:
        _CARRIER = before


def usable_cores() -> int:
    """Number of cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel_map(
    task: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    description: str,
    quiet: bool,
    models: Callable[[Item], int] | None = None,
) -> Iterator[Result]:
    """Yield `task(item)` in the order of `items`, from `workers` processes with one BLAS thread each.

    With one worker the work stays in this process. Raises `UserError` when a task's worker is killed twice.

    Args:
        models: how many an item stands for; the bar counts them then, and else items.
    """
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # its monitor thread would be alive while worker processes are forked
    hidden = True if quiet else None  # None: shown on a terminal only
    workers = min(workers, len(items))
    if workers > 1 and _CARRIER is None:
        workers = workers if _semaphores() else 1
    if _CARRIER is not None and len(items) > 1:
        results = _CARRIER(task, items)
    else:
        results = _run_here(task, items) if workers <= 1 else _run_in_processes(task, items, workers)
    sizes = [1 if models is None else models(item) for item in items]
    unit = "it" if models is None else "model"
    with tqdm(total=sum(sizes), desc=description, unit=unit, disable=hidden, leave=False, smoothing=0) as bar:
        for size, result in zip(sizes, results, strict=True):
            bar.update(size)
            yield result


@lru_cache(maxsize=1)
def _semaphores() -> bool:
    """Whether the system has what processes wait with; without /dev/shm Linux has not."""
    import multiprocessing

    try:
        multiprocessing.Semaphore()
    except (OSError, ImportError) as error:
        LOGGER.warning("no worker processes here, as there are no semaphores (%s; /dev/shm?): one does the work", error)
        return False
    return True


def _run_here(task: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        for item in items:
            yield task(item)


def _run_in_processes(task: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Results in order. A task whose worker was killed from outside is tried once more."""
    from concurrent.futures.process import BrokenProcessPool

    tried: dict[int, int] = {}
    done: dict[int, Result] = {}
    given = 0
    while given < len(items):
        todo = [number for number in range(given, len(items)) if number not in done]
        with _Workers(task, workers) as pool:
            waiting: dict[int, Any] = {}
            try:
                for number in todo:
                    waiting[number] = pool.submit(items[number])
                    if len(waiting) < _AHEAD * workers:
                        continue
                    yield _first(waiting, done, given)
                    given += 1
                while given in waiting or given in done:
                    yield _first(waiting, done, given)
                    given += 1
            except BrokenProcessPool:
                lost = [number for number, future in waiting.items() if not _is_done(future)][:workers]
                for number in lost:
                    tried[number] = tried.get(number, 0) + 1
                    if tried[number] > 1:
                        raise UserError(
                            f"a worker process was killed twice while it worked on task {number + 1} of {len(items)} "
                            f"({_shown(items[number])}), most likely for want of memory; ask for fewer processes "
                            "(--num_process, n_jobs) and run again: a command keeps what was finished"
                        ) from None
                done |= {number: future.result() for number, future in waiting.items() if _is_done(future)}
                while given in done:
                    yield done.pop(given)
                    given += 1


def _first(waiting: dict[int, Any], done: dict[int, Any], number: int) -> Any:
    """A result, waited for where no earlier pool has left it."""
    return done.pop(number) if number in done else _waited(waiting, number)


def _waited(waiting: dict[int, Any], number: int) -> Any:
    found = waiting[number].result()
    del waiting[number]
    return found


def _is_done(future: Any) -> bool:
    return bool(future.done() and not future.cancelled() and future.exception() is None)


def _shown(item: object) -> str:
    text = repr(item)
    return text if len(text) <= _LONG else f"{text[:_LONG]} ..."


class _Workers:
    """A pool of processes that ends at once when its block is left in haste.

    The processes ignore Ctrl-C, which is the parent's to handle, and die with the parent.
    """

    def __init__(self, task: Callable[[Any], Any], workers: int) -> None:
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        _check_room(workers + _POOL_THREADS)
        # A forked worker shares the data set and the libraries that are already in memory.
        method = "fork" if sys.platform == "linux" else "spawn"
        context = multiprocessing.get_context(method)
        self._pool = ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start_worker, initargs=(task, os.getpid())
        )
        self._started = False

    def __enter__(self) -> _Workers:
        return self

    def submit(self, item: Any) -> Any:
        """A future for one task; while the first one starts the processes, Ctrl-C waits."""
        if self._started:
            return self._pool.submit(_work, item)
        self._started = True
        with _signals_held():
            return self._pool.submit(_work, item)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self._pool.shutdown(wait=True)
            return
        processes = list((getattr(self._pool, "_processes", None) or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
        for process in processes:
            process.join(timeout=_PATIENCE)


def _check_room(count: int) -> None:
    """Raise `OSError` where the system would not start so many processes and threads: a pool that learns of it later,
    in a thread of its own, waits for ever."""
    import errno
    import threading

    enough = threading.Event()
    started = []
    try:
        for _ in range(count):
            started.append(threading.Thread(target=enough.wait, daemon=True))
            started[-1].start()
    except RuntimeError:
        started.pop()
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
    finally:
        enough.set()
        for thread in started:
            thread.join()


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(task: Callable[[Any], Any], parent: int) -> None:
    from threadpoolctl import threadpool_limits

    global _TASK
    _TASK = task
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the pool
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
    _die_with(parent)
    threadpool_limits(1)


def _die_with(parent: int) -> None:
    """End this process when its parent is gone, whatever it is doing."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before
            os._exit(1)
        return
    import threading

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(item: Any) -> Any:
    assert _TASK is not None
    try:
        return _TASK(item)
    except Exception as error:
        if _travels(error):
            raise
        # Else the pool breaks on it, as if the worker had been killed.
        raise RuntimeError(f"{type(error).__name__}: {error}") from None


def _travels(error: Exception) -> bool:
    """Whether an error can be sent to another process: its class may be made of more than its message."""
    import pickle

    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True


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

"""Things any project would need: errors, logging, seeds, atomic files, digests, a parallel map."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeVar

import numpy as np

Item = TypeVar("Item")
Result = TypeVar("Result")

LOGGER = logging.getLogger("unlearning")


class UserError(Exception):
    """A mistake the user can mend: reported on one line, exit code 2, without a traceback."""


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def whole_number(lowest: int) -> Callable[[str], int]:
    """An argparse type: a whole number that is at least `lowest`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}") from None
        if value < lowest:
            raise argparse.ArgumentTypeError(f"must be at least {lowest}, found {value}")
        return value

    return parse


def run_program(command: Sequence[str], quiet: bool) -> None:
    """Run another program; raises `UserError` with its last words when it fails."""
    done = subprocess.run(command, stdout=subprocess.DEVNULL if quiet else None, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{Path(command[0]).name} failed: {last}")


def set_up_logging(level: str) -> None:
    """Send the project's log to standard error at `level` ("debug", "info", "warning", "error")."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(level.upper())
    # Warnings of libraries ("not converged after 300 rounds") are for those who debug, not for the result table.
    logging.captureWarnings(True)
    warnings_log = logging.getLogger("py.warnings")
    warnings_log.handlers[:] = [handler]
    warnings_log.setLevel(logging.DEBUG if level == "debug" else logging.ERROR)


# ---------------------------------------------------------------- seeds


def seed_sequence(seed: int, *purpose: str | int) -> np.random.SeedSequence:
    """Seed sequence that belongs to one purpose, e.g. ("target", set_index, "requests").

    Every random choice names what it is for, so it does not depend on how many others were made before it.
    """
    key = [
        int.from_bytes(hashlib.sha256(part.encode()).digest()[:4], "little") if isinstance(part, str) else part
        for part in purpose
    ]
    return np.random.SeedSequence(seed, spawn_key=key)


def spawn(seed: int, *purpose: str | int) -> np.random.Generator:
    """Random generator that belongs to one purpose (see `seed_sequence`)."""
    return np.random.default_rng(seed_sequence(seed, *purpose))


def integer_seed(seed: int, *purpose: str | int) -> int:
    """A 32-bit seed for libraries that want an integer."""
    return int(seed_sequence(seed, *purpose).generate_state(1)[0])


# ---------------------------------------------------------------- digests and files


def digest(value: Any) -> str:
    """Hex SHA-256 of a JSON-serialisable value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def digest_arrays(*arrays: np.ndarray) -> str:
    """Hex SHA-256 of arrays: their types, shapes and contents."""
    state = hashlib.sha256()
    for array in arrays:
        state.update(f"{array.dtype.str}{array.shape}".encode())
        state.update(np.ascontiguousarray(array).data)
    return state.hexdigest()


def library_versions(*names: str) -> dict[str, str]:
    """Versions of installed distributions, without importing them."""
    return {name: metadata.version(name) for name in names}


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name only once it is complete.

    Raises `UserError` naming the file when it cannot be written (full disk, read-only folder); nothing is left then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; free some space or name another folder with --temp_data"
        ) from error
    finally:
        # Leaving it behind would be the half-written file that this function exists to prevent.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def file_name(text: str) -> str:
    """A name for files: letters, digits, - and _; a text that loses others gets a digest, so names stay distinct."""
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in text)
    return safe if safe == text else f"{safe}-{digest(text)[:6]}"


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_file(path) as handle:
        handle.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON with sorted keys, atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; raises `UserError` naming the file when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error_text(error)}); delete it and run the command again") from error


@contextlib.contextmanager
def unfinished(path: Path, about: dict[str, Any]) -> Iterator[None]:
    """Keep a marker file at `path` until the block ends well; it stays when the block fails or is killed."""
    write_json(path, about)
    yield
    path.unlink(missing_ok=True)


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays as an npz file that holds no pickles, atomically."""
    with atomic_file(path) as handle:
        np.savez(handle, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an npz file without pickles; raises `UserError` naming the file when it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # zipfile, zlib and numpy raise many kinds for damaged bytes
        raise UserError(f"{path} cannot be read ({error_text(error)}); delete it and run the command again") from error


def error_text(error: BaseException) -> str:
    """The first line of an error's message."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0]


def remove_stale_temporaries(folder: Path) -> None:
    """Delete the temporary files that a killed process left in `folder`; those of living processes stay."""
    import psutil

    for path in folder.glob(".*.tmp"):
        pid = path.name.split(".")[-2]
        if not (pid.isdigit() and psutil.pid_exists(int(pid))):
            path.unlink(missing_ok=True)


# ---------------------------------------------------------------- parallel map

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


# ---------------------------------------------------------------- timing


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

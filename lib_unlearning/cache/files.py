"""Files: digests, atomic writes, locks, and reading that names what is damaged."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lib_unlearning.errors import UserError, error_text, pass_refusal

SEAL = "digests.json"  # of a folder's files
_ABANDONED = 86_400  # seconds after which another machine's temporary file is nobody's
_PARTS = 4


def digest(value: Any) -> str:
    """Hex SHA-256 of a JSON-serialisable value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def digest_arrays(*arrays: np.ndarray) -> str:
    """Hex SHA-256 of arrays: their types, shapes and contents."""
    state = hashlib.sha256()
    for array in arrays:
        _take_in(state, array.dtype, array.shape, [array])
    return state.hexdigest()


def digest_blocks(dtype: np.dtype[Any], shape: tuple[int, ...], blocks: Iterable[np.ndarray]) -> str:
    """What `digest_arrays` gives for the one array that blocks of rows make."""
    state = hashlib.sha256()
    _take_in(state, dtype, shape, blocks)
    return state.hexdigest()


def _take_in(state: Any, dtype: np.dtype[Any], shape: tuple[int, ...], blocks: Iterable[np.ndarray]) -> None:
    state.update(f"{dtype.str}{shape}".encode())
    for block in blocks:
        state.update(np.ascontiguousarray(block).data)


def digest_file(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file's bytes."""
    state = hashlib.new(algorithm)
    with open(path, "rb") as handle:
        while block := handle.read(2**20):
            state.update(block)
    return state.hexdigest()


def library_versions(*names: str) -> dict[str, str]:
    """Versions of installed distributions, without importing them."""
    return {name: metadata.version(name) for name in names}


def _host() -> str:
    """This machine since it was started: process numbers mean nothing on another, or in another container."""
    import platform

    boot = Path("/proc/sys/kernel/random/boot_id")
    started = boot.read_text(encoding="ascii").strip() if boot.exists() else ""
    return digest([platform.node(), started])[:8]


HOST = _host()


def _check_no_other(path: Path) -> None:
    if path.exists() and not path.is_file():  # a device or a pipe would be replaced by a file
        raise UserError(
            f"cannot write {path}: it is a {'folder' if path.is_dir() else 'device or a pipe'}; name a file"
        )


def check_writable(path: Path) -> None:
    """Raise `UserError` where a file that is to be written at the end of long work could not be."""
    _check_no_other(path)
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {path}: {folder} is no folder that may be written to; name another place")


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name only once it is complete.

    Raises `UserError` naming the file when it cannot be written (full disk, read-only folder); nothing is left then.
    """
    _check_no_other(path)
    temporary = path.with_name(f".{path.name}.{HOST}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        mend = "free some space or name another folder with --temp_data"
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            mend = "name another place"
        raise UserError(f"cannot write {path}: {error.strerror or error}; {mend}") from error
    finally:
        # Leaving it behind would be the half-written file that this function exists to prevent.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of `path` (a file `.NAME.lock` beside it): one process at a time passes; a dead owner's is free."""
    import filelock

    lock = path.with_name(f".{path.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(lock)
        held.acquire()
    except OSError as error:
        raise UserError(f"cannot lock {lock}: {error_text(error)}; name a folder you can write to") from error
    try:
        yield
    finally:
        held.release()


def file_name(text: str) -> str:
    """A name for files: letters, digits, - and _; a text that loses others gets a digest, so names stay distinct."""
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in text)
    return safe if safe == text else f"{safe}-{digest(text)[:6]}"


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_file(path) as handle:
        handle.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented strict JSON with sorted keys, atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def check_regular(path: Path) -> None:
    """Raise `ValueError` for a pipe, a device or a folder, which would be waited for, or never end."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")


def read_json(path: Path) -> Any:
    """Read a JSON file; raises `UserError` naming the file when it is missing or damaged."""
    try:
        check_regular(path)
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        pass_refusal(error)
        raise UserError(f"{path} cannot be read ({error_text(error)}); delete it and run the command again") from error


@contextlib.contextmanager
def unfinished(path: Path, about: dict[str, Any]) -> Iterator[None]:
    """Keep a marker file at `path` until the block ends well; it stays when the block fails or is killed."""
    write_json(path, about)
    yield
    path.unlink(missing_ok=True)


def seal_folder(folder: Path, names: Sequence[str]) -> None:
    """Write the digests of a folder's files beside them; what is read later is held against them."""
    write_json(folder / SEAL, {name: digest_file(folder / name) for name in names})


def read_sealed(path: Path) -> bytes:
    """A file's bytes; raises `UserError` when it is not what `seal_folder` saw."""
    try:
        for part in (path, path.parent / SEAL):
            check_regular(part)
        stated = json.loads((path.parent / SEAL).read_text(encoding="utf-8"))
        content = path.read_bytes()
        if stated.get(path.name) != hashlib.sha256(content).hexdigest():
            raise ValueError("its digest differs")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        pass_refusal(error)
        raise UserError(
            f"{path} is damaged, was edited, or is of another release ({error_text(error)}); delete its folder and run "
            "the command again"
        ) from error
    return content


def remove_stale_temporaries(folder: Path) -> None:
    """Delete the temporary files that a killed process left in `folder`; those of living processes stay."""
    import psutil

    for path in folder.glob(".*.tmp"):
        host, pid = path.name.split(".")[-4:-2] if path.name.count(".") >= _PARTS else ("", "")
        with contextlib.suppress(OSError):
            old = time.time() - path.stat().st_mtime > _ABANDONED
            ours = host == HOST and pid.isdigit()
            if old or (ours and not psutil.pid_exists(int(pid))):
                path.unlink(missing_ok=True)

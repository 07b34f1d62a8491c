"""Arrays as files without pickles: npy for one, npz for several, which digest and seal make whole and ours."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lib_unlearning.cache.files import atomic_file, check_regular, digest, digest_arrays, digest_blocks
from lib_unlearning.cache.key import FORGED, check_seal, seal_of
from lib_unlearning.cache.spool import Rows, Spool, spans
from lib_unlearning.errors import UserError, error_text, pass_refusal

_DIGEST, _SEAL = "digest", "seal"  # as arrays' names
_MOST_BYTES = 64 * 2**30
_DIFFERS = "its digest differs"


class _Writer:
    """A file that numpy does not recognise as one: by its own way it says how many bytes failed, and not why."""

    def __init__(self, handle: BinaryIO) -> None:
        self.write = handle.write


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as an npy file that holds no pickles, atomically."""
    with atomic_file(path) as handle:
        np.save(_Writer(handle), array, allow_pickle=False)


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays as an npz file that holds no pickles, atomically; digest and seal cover names and contents."""
    about = _about(_whole_digest(arrays))
    with atomic_file(path) as handle:
        np.savez(handle, **arrays, **about)  # type: ignore[arg-type]


def write_rows(path: Path, parts: Mapping[str, Rows]) -> None:
    """Write named rows as `write_arrays` would write arrays, without ever holding all of them."""
    whole = _digest_of({name: _digest_of_blocks(part) for name, part in parts.items()})
    with atomic_file(path) as handle, zipfile.ZipFile(handle, "w") as archive:
        for name, part in parts.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                about = {"descr": part.dtype.str, "fortran_order": False, "shape": part.shape}
                np.lib.format.write_array_header_1_0(member, about)
                for block in part.blocks():
                    member.write(block.tobytes())
        for name, found in _about(whole).items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, found, allow_pickle=False)


def read_rows(path: Path, spool: Spool, trust: bool = False) -> dict[str, Rows]:
    """Named rows of such a file, brought into a spool; raises `UserError` as `read_arrays` does."""
    with _readable(path) as archive:
        found = {name.removesuffix(".npy"): _rows_in(archive, name, spool) for name in archive.namelist()}
        whole, seal = (_bytes_of(found.pop(name, None)) for name in (_DIGEST, _SEAL))
        if whole != _digest_of({name: _digest_of_blocks(part) for name, part in found.items()}):
            raise ValueError(_DIFFERS)
    if not trust:
        check_seal(path, seal, whole, FORGED)
    return found


def _rows_in(archive: zipfile.ZipFile, name: str, spool: Spool) -> Rows:
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        if version != (1, 0):
            raise ValueError(f"npy version {version} is not ours")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
        if fortran or dtype.hasobject or not shape:
            raise ValueError("not rows of numbers")
        found = Rows(spool, shape[1:], dtype)
        for first, last in spans(shape[0], found.bytes_each):
            content = member.read((last - first) * found.bytes_each)
            found.add(np.frombuffer(content, dtype).reshape(last - first, *shape[1:]))
        if member.read(1):
            raise ValueError("there is more than its header says")
        return found


def _bytes_of(rows: Rows | None) -> bytes:
    return b"" if rows is None else rows.all().tobytes()


def read_arrays(path: Path, trust: bool = False) -> dict[str, np.ndarray]:
    """Read an npz file without pickles; raises `UserError` naming the file when it is damaged, or not sealed with this
    user's key (`trust` accepts the latter)."""
    with _readable(path), np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
        whole, seal = arrays.pop(_DIGEST).tobytes(), arrays.pop(_SEAL, np.array([], np.uint8)).tobytes()
        if whole != _whole_digest(arrays):
            raise ValueError(_DIFFERS)
    if not trust:
        check_seal(path, seal, whole, FORGED)
    return arrays


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[zipfile.ZipFile]:
    """The file as an archive; whatever is wrong with it within the block becomes a `UserError` that names it."""
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > _MOST_BYTES:
                raise ValueError(f"unpacked it is larger than {_MOST_BYTES:,} bytes")
            yield archive
    except UserError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many kinds for damaged bytes
        pass_refusal(error)
        raise UserError(f"{path} cannot be read ({error_text(error)}); delete it and run the command again") from error


def _about(whole: bytes) -> dict[str, np.ndarray]:
    """Digest and seal as arrays of their own."""
    return {name: np.frombuffer(part, np.uint8) for name, part in ((_DIGEST, whole), (_SEAL, seal_of(whole)))}


def _whole_digest(arrays: Mapping[str, np.ndarray]) -> bytes:
    return _digest_of({name: digest_arrays(array) for name, array in arrays.items()})


def _digest_of_blocks(rows: Rows) -> str:
    return digest_blocks(rows.dtype, rows.shape, rows.blocks())


def _digest_of(digests: Mapping[str, str]) -> bytes:
    return bytes.fromhex(digest([[name, digests[name]] for name in sorted(digests)]))

"""Arrays as files without pickles: npy for one, npz for several, which digest and seal make whole and ours."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lib_unlearning.cache.files import atomic_file, check_regular, digest, digest_arrays
from lib_unlearning.cache.key import FORGED, check_seal, seal_of
from lib_unlearning.errors import UserError, error_text

_DIGEST, _SEAL = "digest", "seal"  # as arrays' names
_MOST_BYTES = 64 * 2**30


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
    whole = _whole_digest(arrays)
    about = {name: np.frombuffer(part, np.uint8) for name, part in ((_DIGEST, whole), (_SEAL, seal_of(whole)))}
    with atomic_file(path) as handle:
        np.savez(handle, **arrays, **about)  # type: ignore[arg-type]


def read_arrays(path: Path, trust: bool = False) -> dict[str, np.ndarray]:
    """Read an npz file without pickles; raises `UserError` naming the file when it is damaged, or not sealed with this
    user's key (`trust` accepts the latter)."""
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > _MOST_BYTES:
                raise ValueError(f"unpacked it is larger than {_MOST_BYTES:,} bytes")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        whole, seal = arrays.pop(_DIGEST).tobytes(), arrays.pop(_SEAL, np.array([], np.uint8)).tobytes()
        if whole != _whole_digest(arrays):
            raise ValueError("its digest differs")
    except Exception as error:  # zipfile, zlib and numpy raise many kinds for damaged bytes
        raise UserError(f"{path} cannot be read ({error_text(error)}); delete it and run the command again") from error
    if not trust:
        check_seal(path, seal, whole, FORGED)
    return arrays


def _whole_digest(arrays: dict[str, np.ndarray]) -> bytes:
    return bytes.fromhex(digest([[name, digest_arrays(arrays[name])] for name in sorted(arrays)]))

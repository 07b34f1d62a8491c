"""This user's secret key, and the seals made with it.

`temp_data` is a folder people copy, share and unpack, and a digest says that a file is whole, not who wrote it. So what
is trained or asked carries a seal made with a key that lies outside `temp_data`: who lacks the key cannot write one.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from lib_unlearning.cache.files import check_regular, locked
from lib_unlearning.errors import UserError, error_text

FORGED = "hold anything"  # what a file without code could do
_STATE_FOLDER = "unlearning-leakage"
_BYTES = 32


def key_path() -> Path:
    """Where this user's key lies: the state folder of the operating system's user, never `temp_data`."""
    import platformdirs

    return platformdirs.user_state_path(_STATE_FOLDER) / "key"


def obtain_key() -> bytes:
    """The user's secret key [32 bytes], made at first use; raises `UserError` when it cannot be kept."""
    path = key_path()
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with locked(path):
                if not path.exists():
                    _make_key(path)
        check_regular(path)
        found = path.stat()
        key = path.read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(
            f"the key of the model cache {path} is not available ({error_text(error)}); "
            "set XDG_STATE_HOME to a folder you can write to"
        ) from error
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o077):
        raise UserError(
            f"the key of the model cache {path} is another user's, or others may read or write it, and who has it can "
            f"write models that run what they like; chown it to yourself and chmod 600 {path}"
        )
    if len(key) != _BYTES:
        raise UserError(f"the key of the model cache {path} is damaged ({len(key)} bytes, not {_BYTES}); delete it")
    return key


def _make_key(path: Path) -> None:
    fresh = path.with_name(".key.tmp")
    fresh.unlink(missing_ok=True)  # of a process that died; the lock is ours
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
        handle.write(secrets.token_bytes(_BYTES))
    os.replace(fresh, path)


def seal_of(content: bytes) -> bytes:
    """HMAC-SHA-256 [32 bytes] of content under this user's key."""
    return hmac.new(obtain_key(), content, hashlib.sha256).digest()


def check_seal(path: Path, seal: bytes, content: bytes, danger: str) -> None:
    """Raise `UserError` where a file's seal was not made with this user's key; `danger` is what it could do."""
    if not hmac.compare_digest(seal, seal_of(content)):
        raise UserError(
            f"{path} was not written by this installation and could {danger}; "
            "delete it to have it made anew, or add --trust_cache if you know where it comes from"
        )

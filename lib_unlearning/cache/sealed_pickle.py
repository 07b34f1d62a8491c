"""Pickles that are opened only when this installation wrote them.

Opening a pickle can run any command, and `temp_data` is a folder people copy, share and unpack. So each file carries
a digest made with a secret key that lies outside `temp_data`: without the key nobody can write one that opens.

Layout: MAGIC, SHA-256 of the body, HMAC-SHA-256 of context and body, SHA-256 of the context, body (zlib of a pickle).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import pickle
import secrets
import zlib
from enum import Enum
from pathlib import Path
from typing import Any

from lib_unlearning.cache.files import atomic_file, check_regular, locked
from lib_unlearning.errors import UserError, error_text

# The key lies outside temp_data, so that a copied folder never brings its own authority along.
_STATE_FOLDER = "unlearning-leakage"
MAGIC = b"unlearning-leakage 1\n"
_DIGEST = hashlib.sha256().digest_size
_HEADER = len(MAGIC) + 3 * _DIGEST


class State(Enum):
    """What a sealed file is, seen from outside."""

    MISSING = "missing"
    STALE = "stale"
    CURRENT = "current"


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
    if len(key) != 32:
        raise UserError(f"the key of the model cache {path} is damaged ({len(key)} bytes, not 32); delete it")
    return key


def _make_key(path: Path) -> None:
    fresh = path.with_name(".key.tmp")
    fresh.unlink(missing_ok=True)  # of a process that died; the lock is ours
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
        handle.write(secrets.token_bytes(32))
    os.replace(fresh, path)


def write(path: Path, value: Any, context: str) -> None:
    """Write a value, bound to a context: a text that says what shaped it.

    Raises:
        UserError: the file cannot be written.
    """
    body = zlib.compress(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL), level=1)
    with atomic_file(path) as handle:
        handle.write(MAGIC + hashlib.sha256(body).digest() + _seal(context, body))
        handle.write(hashlib.sha256(context.encode()).digest())
        handle.write(body)


def is_sealed(path: Path) -> bool:
    """Whether a file starts as sealed pickles do."""
    try:
        check_regular(path)
        with open(path, "rb") as handle:
            return handle.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError):
        return False


def inspect(path: Path, context: str, trust: bool) -> State:
    """Whether a file exists and belongs to `context`, without opening its pickle.

    Raises:
        UserError: it is damaged, or not sealed with this user's key (`trust` accepts the latter).
    """
    return _verified(path, context, trust)[0]


def read(path: Path, context: str, trust: bool) -> Any:
    """The value of a sealed file that belongs to `context`; None when it is missing or stale.

    Raises:
        UserError: it is damaged, or not sealed with this user's key (`trust` accepts the latter).
    """
    state, body = _verified(path, context, trust)
    if state is not State.CURRENT:
        return None
    try:
        return pickle.loads(zlib.decompress(body))
    except Exception as error:  # a trusted pickle of other library versions may fail in any way
        raise UserError(f"{path} cannot be opened ({error_text(error)}); delete it or add --retrain") from error


def _verified(path: Path, context: str, trust: bool) -> tuple[State, bytes]:
    try:
        check_regular(path)
        content = path.read_bytes()
    except FileNotFoundError:
        return State.MISSING, b""
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error_text(error)}); delete it or add --retrain") from error
    checksum, seal, bound = (content[start : start + _DIGEST] for start in range(len(MAGIC), _HEADER, _DIGEST))
    body = content[_HEADER:]
    if not content.startswith(MAGIC) or checksum != hashlib.sha256(body).digest():
        raise UserError(f"{path} is damaged ({len(content)} bytes, checksum differs); delete it or add --retrain")
    if bound != hashlib.sha256(context.encode()).digest():
        return State.STALE, b""
    if not trust and not hmac.compare_digest(seal, _seal(context, body)):
        raise UserError(
            f"{path} was not written by this installation and could run commands when opened; "
            "add --retrain to replace it, or --trust_cache if you know where it comes from"
        )
    return State.CURRENT, body


def _seal(context: str, body: bytes) -> bytes:
    return hmac.new(obtain_key(), context.encode() + b"\0" + body, hashlib.sha256).digest()

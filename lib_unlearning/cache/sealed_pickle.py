"""Pickles that are opened only when this installation wrote them.

Opening a pickle can run any command. So each file carries a seal (see `key.py`): without the key nobody can write one
that opens.

Layout: MAGIC, SHA-256 of the body, HMAC-SHA-256 of context and body, SHA-256 of the context, body (zlib of a pickle).
"""

from __future__ import annotations

import hashlib
import pickle
import zlib
from enum import Enum
from pathlib import Path
from typing import Any

from lib_unlearning.cache.files import atomic_file, check_regular
from lib_unlearning.cache.key import check_seal, seal_of
from lib_unlearning.errors import UserError, error_text, pass_refusal

MAGIC = b"unlearning-leakage 1\n"
_DIGEST = hashlib.sha256().digest_size
_HEADER = len(MAGIC) + 3 * _DIGEST


class State(Enum):
    """What a sealed file is, seen from outside."""

    MISSING = "missing"
    STALE = "stale"
    CURRENT = "current"


def write(path: Path, value: Any, context: str) -> None:
    """Write a value, bound to a context: a text that says what shaped it.

    Raises:
        UserError: the file cannot be written.
    """
    body = zlib.compress(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL), level=1)
    with atomic_file(path) as handle:
        handle.write(MAGIC + hashlib.sha256(body).digest() + seal_of(_sealed(context, body)))
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
        pass_refusal(error)
        raise UserError(f"{path} cannot be opened ({error_text(error)}); delete it or add --retrain") from error


def _verified(path: Path, context: str, trust: bool) -> tuple[State, bytes]:
    try:
        check_regular(path)
        content = path.read_bytes()
    except FileNotFoundError:
        return State.MISSING, b""
    except (OSError, ValueError) as error:
        pass_refusal(error)
        raise UserError(f"{path} cannot be read ({error_text(error)}); delete it or add --retrain") from error
    checksum, seal, bound = (content[start : start + _DIGEST] for start in range(len(MAGIC), _HEADER, _DIGEST))
    body = content[_HEADER:]
    if not content.startswith(MAGIC) or checksum != hashlib.sha256(body).digest():
        raise UserError(f"{path} is damaged ({len(content)} bytes, checksum differs); delete it or add --retrain")
    if bound != hashlib.sha256(context.encode()).digest():
        return State.STALE, b""
    if not trust:
        check_seal(path, seal, _sealed(context, body), "run commands when opened")
    return State.CURRENT, body


def _sealed(context: str, body: bytes) -> bytes:
    return context.encode() + b"\0" + body

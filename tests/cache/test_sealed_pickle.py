"""Sealed pickles open only for those who wrote them, and never when damaged."""

from __future__ import annotations

import hashlib
import os
import pickle
import zlib
from pathlib import Path

import pytest

from lib_unlearning.cache import key, sealed_pickle
from lib_unlearning.cache.sealed_pickle import State
from lib_unlearning.errors import UserError


class Malicious:
    """A pickle that makes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_round_trip_and_states(tmp_path: Path) -> None:
    path = tmp_path / "set.models"
    assert sealed_pickle.inspect(path, "a", False) is State.MISSING
    assert sealed_pickle.read(path, "a", False) is None
    sealed_pickle.write(path, {"value": [1, 2]}, "a")
    assert sealed_pickle.inspect(path, "a", False) is State.CURRENT
    assert sealed_pickle.read(path, "a", False) == {"value": [1, 2]}
    assert sealed_pickle.inspect(path, "b", False) is State.STALE
    assert sealed_pickle.read(path, "b", False) is None
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "state"] == ["set.models"]


@pytest.mark.parametrize("position", [0, 25, 130, -1])
def test_every_damaged_byte_is_noticed(tmp_path: Path, position: int) -> None:
    path = tmp_path / "set.models"
    sealed_pickle.write(path, list(range(100)), "a")
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"set\.models is damaged"):
        sealed_pickle.read(path, "a", False)


@pytest.mark.parametrize("size", [0, 10, 100, 200])
def test_truncated_file_is_noticed(tmp_path: Path, size: int) -> None:
    path = tmp_path / "set.models"
    sealed_pickle.write(path, os.urandom(500), "a")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match="is damaged"):
        sealed_pickle.inspect(path, "a", False)


def test_a_foreign_pickle_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, proof = tmp_path / "set.models", tmp_path / "proof"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "attacker"))
    sealed_pickle.write(path, Malicious(proof), "a")  # all right in itself, sealed with another key
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "victim"))
    for look in (sealed_pickle.inspect, sealed_pickle.read):
        with pytest.raises(UserError, match="not written by this installation"):
            look(path, "a", False)
    assert not proof.exists()
    sealed_pickle.read(path, "a", True)
    assert proof.exists()  # --trust_cache means what it says


def test_a_plain_pickle_is_not_opened(tmp_path: Path) -> None:
    path, proof = tmp_path / "set.models", tmp_path / "proof"
    body = zlib.compress(pickle.dumps(Malicious(proof)))
    context = hashlib.sha256(b"a").digest()
    path.write_bytes(sealed_pickle.MAGIC + hashlib.sha256(body).digest() + bytes(32) + context + body)
    with pytest.raises(UserError, match="not written by this installation"):
        sealed_pickle.read(path, "a", False)
    assert not proof.exists()


def test_the_key_is_private_and_kept(tmp_path: Path) -> None:
    assert key.obtain_key() == key.obtain_key()
    assert key.key_path().stat().st_mode & 0o777 == 0o600
    for mode in (0o644, 0o660, 0o602):
        key.key_path().chmod(mode)
        with pytest.raises(UserError, match="others may read or write it"):
            key.obtain_key()
    key.key_path().chmod(0o600)
    key.key_path().write_bytes(b"short")
    with pytest.raises(UserError, match=r"damaged \(5 bytes"):
        key.obtain_key()

"""Packs with other numbers, and packs that were made to deceive or to break."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lib_unlearning.audit.pack import verify_pack
from lib_unlearning.errors import UserError
from tests.audit.doors import audited, write_side
from tests.audit.packs import parts_of, put_together
from tests.test_commands import run


def test_a_pack_with_other_numbers_does_not_verify(tmp_path: Path) -> None:
    audited(tmp_path, *write_side(tmp_path, 0.5), "--pack", str(tmp_path / "audit.zip"), code=3)
    told = run(tmp_path / "out", "--exp", "audit", "--verify", str(tmp_path / "audit.zip"), small=False)
    assert "agrees with itself" in told
    parts = parts_of(tmp_path / "audit.zip")
    verdict = json.loads(parts["verdict.json"])
    verdict["verdict"] = "below"
    verdict["attacks"]["label_logit"]["auc"]["value"] = 0.51
    parts["verdict.json"] = json.dumps(verdict).encode()
    found = verify_pack(put_together(parts, tmp_path / "forged.zip"))
    assert any("verdict.verdict" in line for line in found.complaints)
    assert any("label_logit.auc.value" in line for line in found.complaints)


def test_packs_that_were_made_to_deceive_or_to_break(tmp_path: Path) -> None:
    """Two parts of one name, more than an audit, endless nesting, and bits that fell over: refused in a line."""
    audited(tmp_path, *write_side(tmp_path, 0.5), "--pack", str(tmp_path / "audit.zip"), code=3)
    honest = parts_of(tmp_path / "audit.zip")
    whole = (tmp_path / "audit.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        for name, part in {"verdict.jso_": b"{}", **honest}.items():
            archive.writestr(name, part)
    twice = (tmp_path / "twice.zip").read_bytes().replace(b"verdict.jso_", b"verdict.json")
    (tmp_path / "twice.zip").write_bytes(twice)
    forged = [tmp_path / "twice.zip"]
    settings = json.loads(honest["settings.json"]) | {"more": 1}
    arrays = dict(np.load(io.BytesIO(honest["answers.npz"])))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, more=np.zeros(3))
    for number, (name, part) in enumerate(
        (
            *((name, b"[" * 100_000) for name in ("settings.json", "verdict.json")),
            ("settings.json", json.dumps(settings).encode()),
            ("answers.npz", buffer.getvalue()),
        )
    ):
        forged.append(put_together({**honest, name: part}, tmp_path / f"forged{number}.zip"))
    deep = tmp_path / "deep.zip"
    with zipfile.ZipFile(deep, "w") as archive:
        for name, part in {**honest, "manifest.json": b"[" * 100_000}.items():
            archive.writestr(name, part)
    for path in (*forged, deep):
        with pytest.raises(UserError, match=path.name):
            verify_pack(path)
    inner = honest["answers.npz"]
    for place in range(7, len(inner), len(inner) // 40):
        part = inner[:place] + bytes([inner[place] ^ 4]) + inner[place + 1 :]
        path = put_together({**honest, "answers.npz": part}, tmp_path / "flipped.zip")
        try:
            found = verify_pack(path)
        except UserError:
            continue
        assert not found.agrees or (parts_of(path) and _same_arrays(part, inner))
    for place in range(5, len(whole), len(whole) // 40):
        (tmp_path / "flipped.zip").write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            assert verify_pack(tmp_path / "flipped.zip").agrees
        except UserError:
            continue
        assert parts_of(tmp_path / "flipped.zip") == honest


def _same_arrays(one: bytes, other: bytes) -> bool:
    both = [np.load(io.BytesIO(content)) for content in (one, other)]
    return both[0].files == both[1].files and all(
        np.array_equal(both[0][name], both[1][name]) for name in both[0].files
    )

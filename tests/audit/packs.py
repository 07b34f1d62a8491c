"""Packs taken apart and put together again, with a manifest that fits: as whoever forges one would."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

MANIFEST = "manifest.json"


def parts_of(path: Path) -> dict[str, bytes]:
    """Name -> content of all parts."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def put_together(parts: Mapping[str, bytes], path: Path) -> Path:
    """Write parts as a pack, their hashes made anew."""
    hashes = {name: hashlib.sha256(part).hexdigest() for name, part in parts.items() if name != MANIFEST}
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in {**parts, MANIFEST: json.dumps(hashes).encode()}.items():
            archive.writestr(name, part)
    return path

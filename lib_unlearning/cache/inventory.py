"""What lies under `temp_data`: caches, results, prepared data sets, with their sizes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lib_unlearning.cache.layout import UNFINISHED, Layout
from lib_unlearning.errors import UserError, error_text
from lib_unlearning.record_split import SIDES

_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Entry:
    """A file or folder that a run left.

    Attributes:
        kind: what it holds, in words.
        size: bytes of all its files.
        files: how many there are.
        unfinished: whether the run that makes it has not ended.
    """

    kind: str
    path: Path
    size: int
    files: int
    unfinished: bool

    def __str__(self) -> str:
        state = ", unfinished" if self.unfinished else ""
        files = "1 file" if self.files == 1 else f"{self.files} files"
        return f"{self.kind}: {self.path.name} ({files}, {size_text(self.size)}{state})"


def inventory(layout: Layout) -> Iterator[Entry]:
    """Everything that could be made again: models, answers, attacks, results, reports, splits, prepared data sets."""
    places = [(f"{side} models", layout.models(side)) for side in SIDES]
    places += [("prepared data", layout.processed_data), ("answers", layout.posteriors)]
    places += [("fitted attacks", layout.attack_models), ("splits", layout.splits), ("results", layout.attack_data)]
    places += [("audits", layout.audits)]
    apart = {layout.posteriors, layout.report}
    for kind, folder in places:
        for path in sorted(folder.glob("*")) if folder.is_dir() else ():
            if path not in apart and not path.name.startswith("."):
                yield _entry(kind, path)
    if layout.report.is_dir():
        yield _entry("report", layout.report)


def _entry(kind: str, path: Path) -> Entry:
    files = [part for part in path.rglob("*") if part.is_file()] if path.is_dir() else [path]
    size = sum(part.stat().st_size for part in files)
    return Entry(kind, path, size, len(files), (path / UNFINISHED).exists())


def delete(entry: Entry) -> None:
    """Delete a file or folder with all it holds; raises `UserError` when it cannot be deleted."""
    try:
        if entry.path.is_dir() and not entry.path.is_symlink():
            shutil.rmtree(entry.path)
        else:
            entry.path.unlink()
        entry.path.with_name(f".{entry.path.name}.lock").unlink(missing_ok=True)  # its name tells of the other's
    except OSError as error:
        raise UserError(f"cannot delete {entry.path}: {error_text(error)}") from error


def size_text(size: float) -> str:
    """Bytes for people: 1.2 MB."""
    rank = 0
    while size >= 1000 and rank < len(_UNITS) - 1:
        size, rank = size / 1000, rank + 1
    return f"{size:.0f} {_UNITS[rank]}" if rank == 0 else f"{size:.3g} {_UNITS[rank]}"

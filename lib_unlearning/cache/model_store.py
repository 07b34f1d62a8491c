"""Cached models: one sealed file a sample set, a manifest beside them, resumed where a run was broken off."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from lib_unlearning.cache import sealed_pickle
from lib_unlearning.cache.files import digest, read_json, write_json
from lib_unlearning.cache.trained_set import TrainedSet
from lib_unlearning.errors import LOGGER, UserError
from lib_unlearning.record_split import SampleSet

MANIFEST = "manifest.json"
# What shapes models and is no setting.
_SURROUNDINGS = {"libraries", "plugins", "dataset_digest", "cache_version", "revision"}


class Files(Protocol):
    """How a sample set's models are kept; the module `sealed_pickle` and `NetworkFiles` are the two ways."""

    def write(self, path: Path, value: Any, context: str) -> None:
        """Keep a trained set, bound to a context."""

    def inspect(self, path: Path, context: str, trust: bool) -> sealed_pickle.State:
        """Whether a file is there and belongs to the context."""

    def read(self, path: Path, context: str, trust: bool) -> Any:
        """The trained set, None when it is missing or stale."""


class ModelStore:
    """The cache folder of one side, addressed by everything that shaped its models.

    Args:
        parent: folder of all caches of the side.
        readable: start of the folder's name, for people.
        shaped_by: settings, data digest and library versions; their digest completes the name.
        trust: open files that this installation did not write.
        files: how models are kept.
    """

    def __init__(
        self, parent: Path, readable: str, shaped_by: Mapping[str, Any], trust: bool, files: Files = sealed_pickle
    ) -> None:
        self.files = files
        self.shaped_by = dict(shaped_by)
        self.folder = parent / f"{readable}-{digest(self.shaped_by)[:12]}"
        self.trust = trust

    def prepare(self) -> None:
        """Make the folder, and say why nothing could be reused, if so."""
        if not self.folder.exists():
            self._explain_new_folder()
        if not (self.folder / MANIFEST).exists():
            write_json(self.folder / MANIFEST, self.shaped_by)

    def variant(self, name: str) -> ModelStore:
        """A folder of its own for another selection of the same models."""
        found = copy.copy(self)
        found.folder = self.folder.with_name(f"{self.folder.name}-{name}")
        return found

    def has(self, index: int) -> bool:
        """Whether there are models of sample set `index`, of whichever records."""
        return self._path(index).exists()

    def is_current(self, index: int, sample_set: SampleSet) -> bool:
        """Whether the models of sample set `index` are there and were trained on exactly these records.

        Raises:
            UserError: the file is damaged or foreign.
        """
        path = self._path(index)
        state = self.files.inspect(path, self._context(sample_set), self.trust)
        if state is sealed_pickle.State.STALE:
            LOGGER.info("%s was made from other records or settings: trained again", path)
        return state is sealed_pickle.State.CURRENT

    def save(self, index: int, sample_set: SampleSet, trained: TrainedSet) -> None:
        """Keep the models of sample set `index`."""
        self.files.write(self._path(index), trained, self._context(sample_set))

    def load(self, index: int, sample_set: SampleSet) -> TrainedSet | None:
        """The models of sample set `index`, or None when they were not trained on these records."""
        found: TrainedSet | None = self.files.read(self._path(index), self._context(sample_set), self.trust)
        return found

    def save_part(self, index: int, sample_set: SampleSet, call: int, start: int, trained: TrainedSet) -> None:
        """Keep some models of sample set `index` until all of them are there (see `parts.py`)."""
        self.files.write(self._part(index, call, start), trained, f"{self._context(sample_set)} {call} {start}")

    def load_part(self, index: int, sample_set: SampleSet, call: int, start: int) -> TrainedSet | None:
        """Such models, or None where there are none of these records."""
        path = self._part(index, call, start)
        found: TrainedSet | None = self.files.read(path, f"{self._context(sample_set)} {call} {start}", self.trust)
        return found

    def forget_parts(self, index: int) -> None:
        """Delete what was kept of sample set `index` until all of it was there."""
        for path in self.folder.glob(f"set_{index:04d}.part-*"):
            path.unlink(missing_ok=True)

    def _part(self, index: int, call: int, start: int) -> Path:
        return self.folder / f"set_{index:04d}.part-{call}-{start}"

    def _path(self, index: int) -> Path:
        return self.folder / f"set_{index:04d}.models"

    def _context(self, sample_set: SampleSet) -> str:
        return f"{digest(self.shaped_by)} {sample_set.digest()}"

    def _explain_new_folder(self) -> None:
        """Log in which settings the most similar cache differs."""
        others = []
        for path in sorted(self.folder.parent.glob(f"*/{MANIFEST}")):
            try:
                found = read_json(path)
            except UserError as error:  # of other models: these do not depend on it
                LOGGER.warning("%s", error)
                continue
            others += [found] if isinstance(found, dict) else []
        if not others:
            return
        closest = min(others, key=lambda other: len(self._differing(other)))
        names = self._differing(closest)
        # That other settings have other models is no news; that an update makes all of them anew is.
        level = logging.INFO if set(names) <= _SURROUNDINGS else logging.DEBUG
        told = ", ".join(f"{name} {closest.get(name)} instead of {self.shaped_by.get(name)}" for name in names)
        LOGGER.log(level, "%s: no cached models to reuse; the closest have %s", self.folder.name, told)

    def _differing(self, other: Mapping[str, Any]) -> list[str]:
        names = sorted(self.shaped_by.keys() | other.keys())
        return [name for name in names if other.get(name) != self.shaped_by.get(name)]

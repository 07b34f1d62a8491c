"""Where runs leave what: the sub-folders of `temp_data`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Marks the folder of a run that has begun and not ended.
UNFINISHED = "unfinished.json"
# Raised whenever code changes what a cached file would contain.
CACHE_VERSION = 8


@dataclass(frozen=True)
class Layout:
    """The folders under `root` (`--temp_data`)."""

    root: Path

    @property
    def raw_data(self) -> Path:
        """Raw files of data sets, put there by hand or downloaded."""
        return self.root / "dataset"

    @property
    def processed_data(self) -> Path:
        """Data sets as arrays, one folder each."""
        return self.root / "processed_dataset"

    @property
    def splits(self) -> Path:
        """Who holds which records."""
        return self.root / "split_indices"

    def models(self, side: str) -> Path:
        """Cached models of the "shadow" or the "target" side, one folder a setting."""
        return self.root / f"{side}_models"

    @property
    def attack_models(self) -> Path:
        """Fitted attacks."""
        return self.root / "attack_models"

    @property
    def attack_data(self) -> Path:
        """Results, one folder a run."""
        return self.root / "attack_data"

    @property
    def posteriors(self) -> Path:
        """What models answered."""
        return self.attack_data / "posteriors"

    @property
    def audits(self) -> Path:
        """Audits of answers from elsewhere, one folder each."""
        return self.root / "audits"

    @property
    def written(self) -> list[Path]:
        """All folders that files are written into."""
        kept = [self.splits, self.attack_models, self.posteriors, self.processed_data]
        grouped = [self.models("shadow"), self.models("target"), self.attack_data, self.audits, self.processed_data]
        return [*kept, *(folder for parent in grouped for folder in parent.glob("*") if folder.is_dir())]

    @property
    def report(self) -> Path:
        """Page, tables and figures on all results."""
        return self.attack_data / "report"

"""A sample set that was broken off goes on from its last part, and ends at the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib_unlearning.cache import parts
from lib_unlearning.cache.model_store import ModelStore
from lib_unlearning.cache.parts import KeptInParts
from lib_unlearning.cache.trained_set import TrainedSet
from lib_unlearning.dataset import Dataset
from lib_unlearning.errors import UserError
from lib_unlearning.record_split import SampleSet
from lib_unlearning.training.tasks import Trainer, TrainingSettings, TrainingTask
from lib_unlearning.unlearning.base import Deletion, train_and_unlearn
from lib_unlearning.unlearning.registry import UNLEARNING_METHODS
from models import TARGET_MODELS

RECORDS = np.arange(0, 600, 4)
REQUESTS = np.arange(0, 40).reshape(10, 4) * 4
SAMPLE_SET = SampleSet(RECORDS, REQUESTS, np.zeros((len(REQUESTS), 0), dtype=np.int64))
BRIEF = TrainingSettings(num_epochs=2, batch_size=32, device="cpu", ensemble_size=3)


class Breaking(Trainer):
    """Another trainer that counts what it is asked for, and breaks off when it has trained so many."""

    def __init__(self, trainer: Trainer, after: int) -> None:
        self.dataset, self.title, self.capabilities = trainer.dataset, trainer.title, trainer.capabilities
        self.size, self.device, self.in_pieces = trainer.size, trainer.device, trainer.in_pieces
        self.trainer, self.after, self.trained = trainer, after, 0

    def fit(self, tasks: Sequence[TrainingTask]) -> list[Any]:
        if self.trained >= self.after:
            raise KeyboardInterrupt
        self.trained += len(tasks)
        return self.trainer.fit(tasks)


def trainer_of(name: str, dataset: Dataset) -> Trainer:
    options = BRIEF if name == "MLPTorch" else TARGET_MODELS[name].Options()
    return TARGET_MODELS[name].trainer(dataset, options, np.zeros(0, dtype=np.int64))


def store_in(folder: Path, name: str) -> ModelStore:
    store = ModelStore(folder, name, {"model": name}, False, TARGET_MODELS[name].files("cpu"))
    store.prepare()
    return store


def trained(method: str, trainer: Trainer, dataset: Dataset) -> TrainedSet:
    kind = UNLEARNING_METHODS[method]
    deletions = [Deletion(records, np.zeros(0, dtype=np.int64)) for records in REQUESTS]
    original, unlearned = train_and_unlearn(kind(kind.Options(), dataset), trainer, RECORDS, deletions, 0)
    return TrainedSet(original, unlearned, np.zeros((11, 2)), np.zeros(11))


CASES = [("DT", "scratch"), ("DT", "sisa"), ("MLPTorch", "scratch"), ("MLPTorch", "scrub")]


@pytest.mark.parametrize(("name", "method"), CASES)
def test_a_broken_set_goes_on_from_its_last_part(
    name: str, method: str, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_SECONDS", 0.0)
    whole, broken = (store_in(tmp_path / part, name) for part in ("whole", "broken"))
    whole.save(0, SAMPLE_SET, trained(method, trainer_of(name, dataset), dataset))
    counted = 0
    for after in (4, 3, 7, 10**6):
        breaking = Breaking(trainer_of(name, dataset), after)
        kept = KeptInParts(breaking, broken, 0, SAMPLE_SET)
        try:
            broken.save(0, SAMPLE_SET, trained(method, kept, dataset))
        except KeyboardInterrupt:
            assert list(broken.folder.glob("set_0000.part-*"))
        counted += breaking.trained
    alone = Breaking(trainer_of(name, dataset), 10**6)
    trained(method, alone, dataset)
    again = 3 * alone.size * (5 if method == "scrub" else 1)  # at most the piece at hand is lost, a call
    assert alone.trained <= counted <= alone.trained + again
    broken.forget_parts(0)
    assert not list(broken.folder.glob("set_0000.part-*"))
    names = [entry.name for entry in whole.folder.iterdir()]
    assert sorted(names) == sorted(entry.name for entry in broken.folder.iterdir())
    first, second = (store.load(0, SAMPLE_SET) for store in (whole, broken))
    assert first is not None
    assert second is not None
    rows = dataset.rows(np.arange(600))
    for one, other in zip(first.ensembles, second.ensembles, strict=True):
        np.testing.assert_array_equal(one.predict_proba(rows), other.predict_proba(rows))


def test_parts_of_other_records_are_not_used(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_SECONDS", 0.0)
    store = store_in(tmp_path, "DT")
    trained("scratch", KeptInParts(trainer_of("DT", dataset), store, 0, SAMPLE_SET), dataset)
    other = SampleSet(RECORDS + 1, SAMPLE_SET.requests, SAMPLE_SET.replacements)
    counting = Breaking(trainer_of("DT", dataset), 10**6)
    trained("scratch", KeptInParts(counting, store, 0, other), dataset)
    assert counting.trained == 11


def test_a_damaged_part_is_named(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_SECONDS", 0.0)
    store = store_in(tmp_path, "DT")
    trained("scratch", KeptInParts(trainer_of("DT", dataset), store, 0, SAMPLE_SET), dataset)
    (first, *_) = sorted(store.folder.glob("set_0000.part-0-0"))
    first.write_bytes(first.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"part-0-0 .*--retrain"):
        trained("scratch", KeptInParts(trainer_of("DT", dataset), store, 0, SAMPLE_SET), dataset)


def test_short_sets_leave_no_parts(dataset: Dataset, tmp_path: Path) -> None:
    store = store_in(tmp_path, "DT")
    trained("scratch", KeptInParts(trainer_of("DT", dataset), store, 0, SAMPLE_SET), dataset)
    assert not list(store.folder.glob("set_0000.part-*"))

"""A study: the data of both sides, who holds which record, how models are trained, and where they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

import config
import utils
from lib_unlearning import sealed_pickle
from lib_unlearning.dataset import Dataset, records_found_in
from lib_unlearning.evaluation_cases import SAMPLES_TO_EVALUATE
from lib_unlearning.model_store import ModelStore
from lib_unlearning.network_file import NetworkFiles
from lib_unlearning.posterior import evenly_spaced
from lib_unlearning.record_split import (
    SIDES,
    SampleSet,
    SideSplit,
    draw_side,
    load_split,
    save_split,
    side_records,
)
from lib_unlearning.settings import Settings
from lib_unlearning.unlearning import UNLEARNING_METHODS, ModelTrainer, UnlearningMethod
from models import NETWORKS
from utils import UserError

_LIBRARIES = ("numpy", "scikit-learn", "scipy")


@dataclass(frozen=True)
class Study:
    """What both experiments work on; everything but the settings has one entry a side: "shadow" and "target"."""

    settings: Settings
    dataset: dict[str, Dataset]
    split: dict[str, SideSplit]
    trainer: dict[str, ModelTrainer]
    method: dict[str, UnlearningMethod]
    store: dict[str, ModelStore]

    @property
    def online(self) -> bool:
        """Whether new records take the place of deleted ones."""
        return SAMPLES_TO_EVALUATE[self.settings.samples_to_evaluate].online_learning

    @property
    def processes(self) -> int:
        """Worker processes: a GPU is used by one, which keeps it busy with stacks; it would not survive a fork."""
        on_cpu = all(trainer.device == "cpu" for trainer in self.trainer.values())
        return self.settings.num_process if on_cpu else 1

    def sets(self) -> list[tuple[str, int]]:
        """(side, index) of every sample set."""
        return [(side, index) for side in SIDES for index in range(len(self.split[side].sample_sets))]

    def sample_set(self, side: str, index: int) -> SampleSet:
        """One sample set."""
        return self.split[side].sample_sets[index]

    def untrained(self) -> list[tuple[str, int]]:
        """The sample sets whose models are not cached, or all that are to be trained again."""
        for store in self.store.values():
            store.prepare()
        return [
            (side, index)
            for side, index in self.sets()
            if self.settings.retrain or not self.store[side].is_current(index, self.sample_set(side, index))
        ]

    def grouped(self, which: Sequence[tuple[str, int]]) -> list[list[tuple[str, int]]]:
        """Sample sets of one side that are trained together: each alone on a CPU, whose processes share the work; on a
        GPU as many as fill a stack."""
        groups = []
        for side in SIDES:
            mine = [key for key in which if key[0] == side]
            drawn, trainer = self.settings.sides[side], self.trainer[side]
            together = 1 if trainer.device == "cpu" else max(1, trainer.size // (1 + drawn.unlearning_size))
            groups += [mine[start : start + together] for start in range(0, len(mine), together)]
        return groups


def open_study(settings: Settings, dataset: dict[str, Dataset]) -> Study:
    """Draw or load the record split of each side's data set and find the caches.

    Raises:
        UserError: a pool is too small, a network does not fit the data, or a device is not there.
    """
    split = _obtain_split(settings, dataset)
    trainer = {side: _trainer(settings, side, dataset[side], split[side]) for side in SIDES}
    factory = UNLEARNING_METHODS[settings.unlearning_method]
    return Study(
        settings=settings,
        dataset=dataset,
        split=split,
        trainer=trainer,
        method={side: factory(trainer[side], settings.sides[side].num_shard) for side in SIDES},
        store={side: _store(settings, side, dataset, trainer[side], split[side]) for side in SIDES},
    )


def _trainer(settings: Settings, side: str, dataset: Dataset, split: SideSplit) -> ModelTrainer:
    name = settings.origins[side].original_model
    if name not in NETWORKS:
        return ModelTrainer(dataset, name, settings.max_leaf_nodes)
    from lib_unlearning.ensemble import NetworkTrainer  # needs torch

    held_out = evenly_spaced(split.negative, config.CURVE_RECORDS)
    return NetworkTrainer(dataset, name, settings.training, held_out)


def _obtain_split(settings: Settings, dataset: dict[str, Dataset]) -> dict[str, SideSplit]:
    path = settings.temp_data / config.SPLIT_INDICES / f"{_split_name(settings)}.npz"
    if settings.is_sample:
        split = {side: _draw_side(settings, side, dataset) for side in SIDES}
        save_split(path, split)
        return split
    if not path.exists():
        raise UserError(f"--is_sample false: {path} does not exist; run once with --is_sample true")
    split = load_split(path)
    for side in SIDES:
        if max(part.records.max() for part in split[side].sample_sets) >= len(dataset[side]):
            raise UserError(
                f"--is_sample false: {path} names records that {dataset[side].name} lacks; run with --is_sample true"
            )
    return split


def _split_name(settings: Settings) -> str:
    sizes = "_".join(
        f"{side}-{part.set_num}x{part.set_size}-{part.unlearning_size}x{part.unlearning_num}"
        for side, part in settings.sides.items()
    )
    return utils.file_name(f"{settings.named_by('dataset_name', 'original_label', joint='-')}_{sizes}")


def _draw_side(settings: Settings, side: str, dataset: dict[str, Dataset]) -> SideSplit:
    """A side's half of its data set; a shadow side that learns on other data has none of the target's records."""
    records = side_records(len(dataset[side]), side, settings.seed)
    if side == "shadow" and settings.other_data:
        target = side_records(len(dataset["target"]), "target", settings.seed)
        known = records_found_in(dataset["shadow"], dataset["target"], target)
        records = records[~np.isin(records, known)]
    return draw_side(records, side, settings.sides[side], settings.seed)


def _store(
    settings: Settings, side: str, datasets: dict[str, Dataset], trainer: ModelTrainer, split: SideSplit
) -> ModelStore:
    dataset, drawn, model = datasets[side], settings.sides[side], settings.origins[side].original_model
    sharded = settings.unlearning_method != "scratch"
    whole = len(split.positive) + len(split.negative) + len(split.replacement) == len(
        side_records(len(dataset), side, settings.seed)
    )
    shaped_by: dict[str, Any] = {
        "dataset": dataset.title,
        "dataset_digest": dataset.digest,
        "side": side,
        "original_model": model,
        "max_leaf_nodes": settings.max_leaf_nodes,
        "unlearning_method": settings.unlearning_method,
        "set_size": drawn.set_size,
        "unlearning_size": drawn.unlearning_size,
        "unlearning_num": drawn.unlearning_num,
        "num_shard": drawn.num_shard if sharded else None,
        "online_learning": SAMPLES_TO_EVALUATE[settings.samples_to_evaluate].online_learning,
        "fresh_retrain_seed": settings.fresh_retrain_seed,
        "seed": settings.seed,
        # Transfer between data sets that share records takes the target side's out of the shadow side's pools.
        "apart_from": None if whole else datasets["target"].digest,
        "libraries": utils.library_versions(*_LIBRARIES),
        "cache_version": config.CACHE_VERSION,
    }
    parent = settings.temp_data / config.SIDE_MODELS[side]
    readable = utils.file_name(f"{dataset.name}-{dataset.label}_{model}_{settings.unlearning_method}")
    if model not in NETWORKS:
        return ModelStore(parent, readable, shaped_by, settings.trust_cache, sealed_pickle)
    # How many train together changes rounding only, and no result that an attack could use.
    shaped_by["training"] = asdict(replace(settings.training, ensemble_size=None))
    shaped_by["libraries"] |= utils.library_versions("torch", "torchvision", "opacus")
    return ModelStore(parent, readable, shaped_by, settings.trust_cache, NetworkFiles(trainer.device))

"""A study: the data of both sides, who holds which record, how models are trained, and where they are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.cache.files import file_name, library_versions
from lib_unlearning.cache.layout import CACHE_VERSION
from lib_unlearning.cache.model_store import ModelStore
from lib_unlearning.dataset import Dataset, records_found_in
from lib_unlearning.errors import UserError
from lib_unlearning.family import Family
from lib_unlearning.options import shaping
from lib_unlearning.posterior import evenly_spaced
from lib_unlearning.record_split import (
    SIDES,
    SampleSet,
    SideSplit,
    check_replacements,
    draw_side,
    load_split,
    save_split,
    side_records,
    suitable_size,
)
from lib_unlearning.seeds import integer_seed
from lib_unlearning.settings import Settings
from lib_unlearning.training.tasks import Trainer
from lib_unlearning.unlearning.base import Deletion, UnlearningMethod

_LIBRARIES = ("numpy", "scikit-learn", "scipy")
# A network's accuracy after each epoch is measured on at most this many held-out records, and no more than a set holds.
_CURVE_RECORDS = 250
_MOST_MODELS = 5_000_000


@dataclass(frozen=True)
class Study:
    """What all experiments work on; everything but the settings has one entry a side: "shadow" and "target"."""

    settings: Settings
    dataset: dict[str, Dataset]
    split: dict[str, SideSplit]
    trainer: dict[str, Trainer]
    method: dict[str, UnlearningMethod]
    store: dict[str, ModelStore]

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

    def training_of(self, side: str, index: int) -> tuple[np.ndarray, list[Deletion], int]:
        """Training records [n] of a sample set, what is deleted from it, and the seed of its original model."""
        settings, sample_set = self.settings, self.sample_set(side, index)
        fresh = settings.retrain_randomness == "fresh"
        deletions = [
            Deletion(
                records=records,
                replacements=newcomers if settings.online else newcomers[:0],
                seed=integer_seed(settings.seed, side, index, "retrained model", request) if fresh else None,
                leaves_gap=settings.retrain_randomness == "matched",
                one_by_one=settings.one_by_one,
            )
            for request, (records, newcomers) in enumerate(
                zip(sample_set.requests, sample_set.replacements, strict=True)
            )
        ]
        return sample_set.records, deletions, integer_seed(settings.seed, side, index, "model")

    @property
    def privacy_used(self) -> dict[str, float]:
        """What DP-SGD of the target's original models draws and adds where settings leave it open: `sample_rate` and
        `sigma`; nothing without DP-SGD."""
        options, sample_set = self.settings.origins["target"].options, self.sample_set("target", 0)
        if getattr(options, "privacy", None) is None:
            return {}
        from lib_unlearning.training.privacy_budget import Plan  # needs opacus

        shards = getattr(self.method["target"], "num_shard", 1)
        plan = Plan.of(-(-len(sample_set.records) // shards), options, options.privacy)
        return {"sample_rate": round(plan.rate, 6), "sigma": round(plan.sigma, 6)}

    def keep_split(self) -> None:
        """Write who holds which records, for `--is_sample false`."""
        if self.settings.is_sample:
            save_split(_split_path(self.settings), self.split)

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

    def models_of(self, group: Sequence[tuple[str, int]]) -> int:
        """How many models the sample sets of a group have."""
        return sum(1 + len(self.sample_set(*key).requests) for key in group)

    def shaped_answers(self) -> dict[str, Any]:
        """All that shapes what the models answer to the cases."""
        return {
            "models": {side: self.store[side].shaped_by for side in SIDES},
            "records": [self.sample_set(side, index).digest() for side, index in self.sets()],
            "samples_to_evaluate": self.settings.samples_to_evaluate,
            "placebo": self.settings.placebo,
        }


def open_study(
    settings: Settings,
    dataset: dict[str, Dataset],
    families: Mapping[str, Family],
    methods: Mapping[str, type[UnlearningMethod]],
) -> Study:
    """Draw or load the record split of each side's data set and find the caches.

    Args:
        families, methods: the registries that the settings' names are looked up in.

    Raises:
        UserError: a pool is too small, a network does not fit the data, or a device is not there.
    """
    settings = sized(settings, dataset, methods[settings.unlearning_method])
    split = _obtain_split(settings, dataset)
    family = {side: families[settings.origins[side].original_model] for side in SIDES}
    trainer = {}
    for side in SIDES:
        watched = min(_CURVE_RECORDS, len(split[side].sample_sets[0].records))
        held_out = evenly_spaced(split[side].negative, watched)
        trainer[side] = family[side].trainer(dataset[side], settings.origins[side].options, held_out)
    method = methods[settings.unlearning_method]
    return Study(
        settings=settings,
        dataset=dataset,
        split=split,
        trainer=trainer,
        method={side: method(settings.method_options[side], dataset[side]) for side in SIDES},
        store={
            side: _store(settings, side, dataset, family[side], trainer[side], split[side], method.libraries)
            for side in SIDES
        },
    )


def _obtain_split(settings: Settings, dataset: dict[str, Dataset]) -> dict[str, SideSplit]:
    path = _split_path(settings)
    if settings.is_sample:
        return _draw_sides(settings, dataset)
    if not path.exists():
        raise UserError(f"--is_sample false: {path} does not exist; run once with --is_sample true")
    split = load_split(path)
    for side in SIDES:
        if max(part.records.max() for part in split[side].sample_sets) >= len(dataset[side]):
            raise UserError(
                f"--is_sample false: {path} names records that {dataset[side].name} lacks; run with --is_sample true"
            )
        if _draw_side(settings, side, dataset).digest() != split[side].digest():
            raise UserError(
                f"--is_sample false: {path} does not hold what --seed {settings.seed} draws of these data; it is "
                "another seed's, or another version's: run with --is_sample true"
            )
    return split


def sized(settings: Settings, dataset: Mapping[str, Dataset], method: type[UnlearningMethod]) -> Settings:
    """The settings with set sizes that suit the data where none were asked for; raises `UserError` as `check_sizes`."""
    sides = {
        side: replace(part, set_size=part.set_size or suitable_size(len(dataset[side])))
        for side, part in settings.sides.items()
    }
    found = replace(settings, sides=sides)
    check_sizes(found, method)
    return found


def check_sizes(settings: Settings, method: type[UnlearningMethod]) -> None:
    """Raise `UserError` when requests, shards or batches do not fit sample sets whose size is known, or when so many
    models are asked for that no machine would end."""
    for side, part in settings.sides.items():
        models = part.set_num * (1 + part.unlearning_size)
        if models > _MOST_MODELS:
            raise UserError(
                f"--{side}_set_num {part.set_num} with --{side}_unlearning_size {part.unlearning_size} asks for "
                f"{models:,} models; more than {_MOST_MODELS:,} a side are not attempted"
            )
        if part.set_size is None:
            continue
        if part.unlearning_num >= part.set_size:
            raise UserError(
                f"--{side}_unlearning_num {part.unlearning_num}: a set holds {part.set_size} records and must keep "
                f"one; lower it or raise --{side}_set_size"
            )
        complaint = method.complaint(settings.method_options[side], side, part.set_size)
        if complaint:
            raise UserError(complaint)
        batch = getattr(settings.origins[side].options, "batch_size", 1)
        if batch > part.set_size:
            raise UserError(f"--batch_size {batch}: a set holds {part.set_size} records; lower it")


def _draw_sides(settings: Settings, dataset: dict[str, Dataset]) -> dict[str, SideSplit]:
    """Both sides; what is wrong with them is said of both at once."""
    drawn, complaints = {}, []
    for side in SIDES:
        try:
            drawn[side] = _draw_side(settings, side, dataset)
        except UserError as error:
            complaints.append(str(error))
    if complaints:
        raise UserError("; ".join(complaints))
    return drawn


def _split_path(settings: Settings) -> Path:
    sizes = f"seed{settings.seed}_" + "_".join(
        f"{side}-{part.set_num}x{part.set_size}-{part.unlearning_size}x{part.unlearning_num}"
        for side, part in settings.sides.items()
    )
    name = file_name(f"{settings.named_by('dataset_name', 'original_label', joint='-')}_{sizes}")
    return settings.layout.splits / f"{name}.npz"


def _draw_side(settings: Settings, side: str, dataset: dict[str, Dataset]) -> SideSplit:
    """A side's half of its data set; a shadow side that learns on other data has none of the target's records."""
    records = side_records(len(dataset[side]), side, settings.seed)
    if side == "shadow" and settings.other_data:
        target = side_records(len(dataset["target"]), "target", settings.seed)
        known = records_found_in(dataset["shadow"], dataset["target"], target)
        records = records[~np.isin(records, known)]
    drawn = draw_side(records, side, settings.sides[side], settings.seed)
    _check_online(settings, side, drawn)
    return drawn


def _check_online(settings: Settings, side: str, split: SideSplit) -> None:
    if settings.online:
        check_replacements(side, settings.sides[side], split)


def _store(
    settings: Settings,
    side: str,
    datasets: dict[str, Dataset],
    family: Family,
    trainer: Trainer,
    split: SideSplit,
    libraries: tuple[str, ...],
) -> ModelStore:
    dataset, drawn, origin = datasets[side], settings.sides[side], settings.origins[side]
    whole = len(split.positive) + len(split.negative) + len(split.replacement) == len(
        side_records(len(dataset), side, settings.seed)
    )
    shaped_by: dict[str, Any] = {
        "dataset": dataset.title,
        "dataset_digest": dataset.digest,
        "side": side,
        "original_model": origin.original_model,
        "model_options": shaping(origin.options),
        "unlearning_method": settings.unlearning_method,
        "method_options": shaping(settings.method_options[side]),
        "set_size": drawn.set_size,
        "unlearning_size": drawn.unlearning_size,
        "unlearning_num": drawn.unlearning_num,
        "online_learning": settings.online,
        "retrain_randomness": settings.retrain_randomness,
        "seed": settings.seed,
        # Transfer between data sets that share records takes the target side's out of the shadow side's pools.
        "apart_from": None if whole else datasets["target"].digest,
        "libraries": library_versions(
            *_LIBRARIES, *family.libraries, *getattr(origin.options, "libraries", ()), *libraries
        ),
        "plugins": settings.plugins,
        "cache_version": CACHE_VERSION,
    }
    if family.revision:
        shaped_by["revision"] = family.revision
    if settings.one_by_one:
        shaped_by["one_by_one"] = True
    readable = file_name(f"{dataset.name}-{dataset.label}_{origin.original_model}_{settings.unlearning_method}")
    parent = settings.layout.models(side)
    return ModelStore(parent, readable, shaped_by, settings.trust_cache, family.files(trainer.device))

"""How long a sweep takes on this machine: its models are counted, and one of each kind is fitted to see.

Reads settings from standard input, a line of main.py's flags each.
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import argparse
import logging
import sys
import time
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import data_prepare
import utils
from lib_unlearning.attack import ATTACK_MODELS
from lib_unlearning.evaluation_cases import SAMPLES_TO_EVALUATE
from lib_unlearning.record_split import SIDES
from lib_unlearning.settings import Settings
from lib_unlearning.unlearning import FitJob, ModelTrainer
from models import NETWORKS
from parameter_parser import parse_settings

_STACK = 8
_START = 1.2  # seconds that a process spends before and after its work
_FITS = 24  # attack models an attack fits: eight features, each also on two halves of the shadow side


def fit_seconds(settings: Settings, side: str, size: int) -> float:
    """Time to fit one model of a side on `size` records."""
    origin = settings.origins[side]
    dataset = data_prepare.obtain_dataset(origin.dataset_name, origin.original_label, settings.temp_data)
    records = np.random.default_rng(0).permutation(len(dataset))[:size]
    if origin.original_model not in NETWORKS:
        return _timed(ModelTrainer(dataset, origin.original_model, settings.max_leaf_nodes), records, 1)
    from lib_unlearning.ensemble import NetworkTrainer

    together = _STACK if settings.training.privacy is None else 1
    times = []
    for epochs in (1, 3):
        trainer = NetworkTrainer(dataset, origin.original_model, replace(settings.training, num_epochs=epochs))
        times.append(_timed(trainer, records, together))
    one, three = times
    # What a network costs before its first epoch, DP-SGD's set-up above all, is not paid again with every epoch.
    return one + (settings.training.num_epochs - 1) * max(0.0, three - one) / 2


def _timed(trainer: ModelTrainer, records: np.ndarray, together: int) -> float:
    jobs = [FitJob(np.delete(records, number), 0) for number in range(together)]
    trainer.fit(jobs[:1])  # imports are not fitting
    start = time.perf_counter()
    trainer.fit(jobs)
    return (time.perf_counter() - start) / together


def attack_seconds(settings: Settings) -> float:
    """Time of one attack on models that are there: start of the process, attack models, evaluation."""
    side = settings.sides["shadow"]
    asked = side.unlearning_num if settings.samples_to_evaluate in ("in_out", "online_learning") else 1
    cases = 2 * side.set_num * side.unlearning_size * asked
    rng = np.random.default_rng(0)
    features, member = rng.normal(size=(cases, 4)), rng.permutation(np.arange(cases) % 2)
    start = time.perf_counter()
    ATTACK_MODELS[settings.attack_model](0).fit(features, member)
    return _START + _FITS * (time.perf_counter() - start) + cases / 4000


def models_of(settings: Settings, side: str) -> tuple[Hashable, int, int]:
    """What tells these models from others, how many fits they take, and on how many records each."""
    drawn, sharded = settings.sides[side], settings.unlearning_method == "sisa"
    online = SAMPLES_TO_EVALUATE[settings.samples_to_evaluate].online_learning
    shards = drawn.num_shard if sharded else 1
    touched = min(shards, drawn.unlearning_num)
    fits = drawn.set_num * (shards + drawn.unlearning_size * touched)
    sizes = (drawn.set_size, drawn.set_num, drawn.unlearning_size, drawn.unlearning_num, shards)
    training = settings.training if settings.origins[side].original_model in NETWORKS else None
    kind = (side, settings.origins[side], sizes, sharded, online, training, settings.max_leaf_nodes)
    return kind, fits, max(2, drawn.set_size // shards)


def estimate(plan: list[Settings]) -> tuple[float, int]:
    """Seconds and fits that a plan takes for one seed; models that settings share are counted once."""
    seconds, total = 0.0, 0
    known: dict[Hashable, float] = {}
    counted: set[Hashable] = set()
    for settings in plan:
        key = ("attack", settings.attack_model, settings.sides["shadow"], settings.samples_to_evaluate)
        if key not in known:
            known[key] = attack_seconds(settings)
        seconds += known[key]
        for side in SIDES:
            kind, fits, size = models_of(settings, side)
            if kind in counted:
                continue
            counted.add(kind)
            unit = (settings.origins[side], size, str(settings.training), settings.max_leaf_nodes)
            if unit not in known:
                known[unit] = fit_seconds(settings, side, size)
            seconds += fits * known[unit] / settings.num_process
            total += fits
    return seconds, total


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--temp_data", default="temp_data")
    arguments = parser.parse_args()
    utils.set_up_logging("error")
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
    common = ["--exp", "mem_inf", "--temp_data", arguments.temp_data]
    plan = [parse_settings([*common, *line.split()]) for line in sys.stdin if line.strip()]
    seconds, fits = estimate(plan)
    seeds = len(arguments.seeds.split(","))
    minutes = max(1, round(seeds * seconds / 60))
    print(
        f"{arguments.name}: the full form has {len(plan)} settings x {seeds} seeds, {fits * seeds:,} models; "
        f"from nothing it takes about {minutes} min with {plan[0].num_process} processes here"
    )


if __name__ == "__main__":
    main()

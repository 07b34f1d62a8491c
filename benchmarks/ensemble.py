"""Networks trained together against one by one: models per second on the device at hand.

    python benchmarks/ensemble.py --original_model MLPTorch --dataset_name adult

Three ways to train the same networks on the same records: as one stack; one by one through the same code (stacks of
one); and one by one as it is commonly written, a module, torch's Adam, batches sliced from tensors in memory.
"""

from __future__ import annotations

import os

# As main.py does: it uses one process a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch.nn import functional

import config
import data_prepare
from lib_unlearning.cache.layout import Layout
from lib_unlearning.dataset import Dataset
from lib_unlearning.training import graphs
from lib_unlearning.training.device import make_reproducible
from lib_unlearning.training.network_trainer import NetworkTrainer
from lib_unlearning.training.networks import ARCHITECTURES, fresh_weights
from lib_unlearning.training.record_random import record_order
from lib_unlearning.training.tasks import Privacy, TrainingSettings, TrainingTask

SIZE = 2000
ALONE = 8  # networks that are timed one by one; the others would take as long each


def train_plainly(dataset: Dataset, name: str, job: TrainingTask, settings: TrainingSettings, device: str) -> None:
    """The usual loop over batches of one network."""
    architecture, shape = ARCHITECTURES[name], dataset.features.shape[1:]
    module = architecture.build(shape, dataset.num_classes)
    module.load_state_dict(fresh_weights(architecture, shape, dataset.num_classes, job.seed))
    module.to(device).train()
    look = dataset.images if architecture.for_images else dataset.rows
    inputs = torch.from_numpy(np.array(look(job.records), dtype=np.float32)).to(device)
    if not architecture.for_images:
        inputs = (inputs - inputs.mean(dim=0)) / inputs.std(dim=0).clamp(min=1e-6)
    labels = torch.from_numpy(np.array(dataset.labels[job.records])).to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=architecture.learning_rate)
    for epoch in range(settings.num_epochs):
        for batch in torch.from_numpy(record_order(job.seed, epoch, job.records)).to(device).split(settings.batch_size):
            optimizer.zero_grad()
            functional.cross_entropy(module(inputs[batch]), labels[batch]).backward()
            optimizer.step()


def train_privately(trainer: NetworkTrainer, tasks: Sequence[TrainingTask]) -> None:
    """Opacus' own way, a network at a time."""
    from lib_unlearning.training.private_training import train_private

    for task in tasks:
        train_private(trainer.dataset, trainer.title, task, trainer.settings, trainer.device, trainer.held_out)


def train_privately_stacked(trainer: NetworkTrainer, tasks: Sequence[TrainingTask]) -> None:
    """In stacks on any device; model_train leaves convolutions on a CPU to Opacus."""
    from lib_unlearning.training.private_stack import PrivateStackTraining

    make_reproducible(trainer.device)
    for start in range(0, len(tasks), trainer.size):
        part = tasks[start : start + trainer.size]
        where = trainer.settings, trainer.device, trainer.held_out
        PrivateStackTraining(trainer.dataset, trainer.title, part, *where).run()


def models_per_second(
    train: Callable[[Sequence[TrainingTask]], object], jobs: Sequence[TrainingTask], device: str
) -> float:
    """Rate of training the jobs, after a warm-up."""
    train(jobs[:1])  # libraries, kernels
    _wait(device)
    start = time.perf_counter()
    train(jobs)
    _wait(device)
    return len(jobs) / (time.perf_counter() - start)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def main() -> None:
    """Print one Markdown row a number of models and stack size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original_model", default="MLPTorch", choices=list(ARCHITECTURES))
    parser.add_argument("--dataset_name", default="adult")
    parser.add_argument("--original_label")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--models", default="1,8,32,128", help="comma-separated numbers of models")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--amp", action="store_true", help="products in bfloat16")
    parser.add_argument("--no_graphs", action="store_true", help="on a GPU: launch each step's kernels one by one")
    parser.add_argument("--private", action="store_true", help="DP-SGD; the usual loop is Opacus'")
    parser.add_argument("--sizes", default="", help="stack sizes (default: what model_train would choose)")
    arguments = parser.parse_args()
    name = arguments.original_model
    layout = Layout(config.TEMP_DATA_DIR)
    name_and_label = data_prepare.resolve(arguments.dataset_name, arguments.original_label, layout)
    dataset = data_prepare.obtain_dataset(*name_and_label, layout)

    settings = TrainingSettings(
        num_epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        device=arguments.device,
        amp=arguments.amp,
        privacy=Privacy() if arguments.private else None,
    )
    if arguments.no_graphs:
        graphs.WARM_UP = 10**9

    def trainer(size: int | None) -> NetworkTrainer:
        return NetworkTrainer(dataset, name, replace(settings, ensemble_size=size))

    def fit(size: int | None, jobs: Sequence[TrainingTask]) -> None:
        if arguments.private:
            train_privately_stacked(trainer(size), jobs)
        else:
            trainer(size).fit(jobs)

    def one_by_one(jobs: Sequence[TrainingTask]) -> None:
        if arguments.private:
            train_privately(trainer(1), jobs)
            return
        for job in jobs:
            train_plainly(dataset, name, job, settings, device)

    device = trainer(None).device
    cpu = f"CPU, {torch.get_num_threads()} thread, {platform.machine()}"
    title = torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu
    how = ", DP-SGD" * arguments.private + ", bfloat16" * arguments.amp + ", no graphs" * arguments.no_graphs
    print(
        f"{name}, {dataset.title}, {SIZE} records, {arguments.epochs} epochs, batches of {settings.batch_size}{how}, "
        f"{title}; models per second:"
    )
    print("| models | stack | stacked | stacks of one | usual loop | ratio to stacks of one | ratio to usual loop |")
    print("|---|---|---|---|---|---|---|")
    everyone = np.random.default_rng(0).permutation(len(dataset))[: SIZE + 1]
    sizes = [int(size) for size in arguments.sizes.split(",") if size]
    for count in map(int, arguments.models.split(",")):
        jobs = [TrainingTask(np.delete(everyone, number % SIZE), number // SIZE) for number in range(count)]
        ones = models_per_second(partial(fit, 1), jobs[:ALONE], device)
        usual = models_per_second(one_by_one, jobs[:ALONE], device)
        for size in sizes or [min(count, trainer(None).size)]:
            stacked = models_per_second(partial(fit, size), jobs, device)
            ratios = f"{stacked / ones:.2f} | {stacked / usual:.2f}"
            print(f"| {count} | {size} | {stacked:.3g} | {ones:.3g} | {usual:.3g} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()

"""Networks trained together against one by one: models per second on the device at hand.

python benchmarks/ensemble.py --original_model MLPTorch --dataset_name adult
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

import config
import data_prepare
from lib_unlearning.dataset import Dataset
from lib_unlearning.ensemble import NetworkTrainer
from lib_unlearning.unlearning import FitJob, TrainingSettings

SIZE = 2000


def seconds(dataset: Dataset, name: str, jobs: Sequence[FitJob], size: int, arguments: argparse.Namespace) -> float:
    """Wall time to train the jobs, `size` networks at a time."""
    trainer = NetworkTrainer(
        dataset, name, TrainingSettings(num_epochs=arguments.epochs, device=arguments.device, ensemble_size=size)
    )
    trainer.fit(jobs[:1])  # warm-up: libraries, kernels
    if trainer.device.startswith("cuda"):
        torch.cuda.synchronize()
    start = time.perf_counter()
    trainer.fit(jobs)
    if trainer.device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Print one Markdown row a stack size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original_model", default="MLPTorch")
    parser.add_argument("--dataset_name", default="adult")
    parser.add_argument("--original_label")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--models", default="1,8,32,128", help="comma-separated numbers of models")
    parser.add_argument("--sizes", default="", help="stack sizes (default: all models together)")
    arguments = parser.parse_args()
    label = data_prepare.resolve_label(arguments.dataset_name, arguments.original_label)
    dataset = data_prepare.obtain_dataset(arguments.dataset_name, label, config.TEMP_DATA_DIR)
    on_gpu = torch.cuda.is_available() and arguments.device != "cpu"
    device = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads, {platform.machine()}"
    print(f"{arguments.original_model}, {dataset.title}, {SIZE} records, {arguments.epochs} epochs, batch 64, {device}")
    print("| models | stack | stacked, models/s | one by one, models/s | ratio |\n|---|---|---|---|---|")
    everyone = np.random.default_rng(0).permutation(len(dataset))[:SIZE]
    for count in map(int, arguments.models.split(",")):
        jobs = [FitJob(np.delete(everyone, number), 0) for number in range(count)]
        alone = seconds(dataset, arguments.original_model, jobs[: min(count, 8)], 1, arguments)
        alone *= count / min(count, 8)
        for size in map(int, filter(None, arguments.sizes.split(","))) if arguments.sizes else (count,):
            together = seconds(dataset, arguments.original_model, jobs, size, arguments)
            rates = f"{count / together:.2f} | {count / alone:.2f} | {alone / together:.2f}"
            print(f"| {count} | {size} | {rates} |", flush=True)


if __name__ == "__main__":
    main()

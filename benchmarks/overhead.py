"""What `model_train` costs beyond fitting: its wall time against the pure fitting time divided by the processes.

python benchmarks/overhead.py --original_model RF
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import numpy as np
from threadpoolctl import threadpool_limits

import config
import data_prepare
import models
from lib_unlearning.cache.layout import Layout
from lib_unlearning.parallel import usable_cores
from lib_unlearning.training.tasks import TrainingTask

SETS = 4  # a side
REQUESTS = 20
SIZE = 2000


def pure_fit_seconds(model_name: str, repeats: int) -> float:
    """Mean time of one scikit-learn fit on 2,000 Adult records, one thread, nothing else running."""
    dataset = data_prepare.obtain_dataset("adult", "income", Layout(config.TEMP_DATA_DIR))
    family = models.TARGET_MODELS[model_name]
    trainer = family.trainer(dataset, family.Options(), np.array([]))
    tasks = [TrainingTask(np.arange(SIZE), seed) for seed in range(repeats + 1)]
    with threadpool_limits(1):
        trainer.fit(tasks[:1])  # imports are not fitting
        start = time.perf_counter()
        trainer.fit(tasks[1:])
    return (time.perf_counter() - start) / repeats


def command_seconds(model_name: str) -> float:
    """Wall time of `model_train` as a process, start-up, accuracy and saving included."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--exp", "model_train", "--quiet", "--original_model", model_name, "--temp_data", folder]
        flags += [f"--shadow_set_num={SETS}", f"--target_set_num={SETS}"]
        start = time.perf_counter()
        subprocess.run([sys.executable, "main.py", *flags], cwd=PROJECT, check=True, capture_output=True)
        return time.perf_counter() - start


def main() -> None:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--original_model",
        default="RF",
        choices=[name for name, family in models.TARGET_MODELS.items() if not family.network],
    )
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    fits = 2 * SETS * (1 + REQUESTS)
    one_fit = pure_fit_seconds(arguments.original_model, arguments.repeats)
    wall = command_seconds(arguments.original_model)
    pure = fits * one_fit / usable_cores()
    print(f"{arguments.original_model}: {fits} models, one fit {one_fit:.4f} s, on {usable_cores()} cores:")
    print(f"pure fitting {pure:.1f} s, model_train {wall:.1f} s, ratio {wall / pure:.2f}")


if __name__ == "__main__":
    main()

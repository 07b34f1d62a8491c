"""What a cluster costs: seconds of scheduling a task, and how much two workers gain over one.

    python benchmarks/cluster.py --tasks 20000 --one_by_one
    python benchmarks/cluster.py --tasks 1000000 --only dask

Empty tasks go through the maps that studies go through; then one study is trained and attacked with one and with two
workers of a local Dask cluster.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from lib_unlearning import executors
from lib_unlearning.cluster import cluster
from lib_unlearning.executors import ExecutorMapper
from lib_unlearning.parallel import carried_out_by, parallel_map

_STUDY = (
    "--exp all --original_model RF --shadow_set_num 4 --target_set_num 4 --shadow_set_size 2000 "
    "--target_set_size 2000 --shadow_unlearning_size 10 --target_unlearning_size 10 --quiet"
)


def nothing(number: int) -> int:
    """An empty task."""
    return number


def empty_tasks(where: Any, tasks: Sequence[int], workers: int) -> tuple[float, float]:
    """Milliseconds a task, and how much the memory of this process (scheduler included) grew [MiB]."""
    import psutil

    with where:
        list(parallel_map(nothing, tasks[: 10 * workers], workers, "", True))  # workers start
        before, start = psutil.Process().memory_info().rss, time.perf_counter()
        for _ in parallel_map(nothing, tasks, workers, "", True):
            pass
        spent = time.perf_counter() - start
        grown = psutil.Process().memory_info().rss - before
    return 1000 * spent / len(tasks), grown / 2**20


def a_study(workers: int) -> float:
    """Seconds of one study on so many workers, their start included."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "main.py", *_STUDY.split(), "--temp_data", folder, "--cluster", f"local:{workers}"]
        (Path(folder) / "dataset").symlink_to(PROJECT / "temp_data" / "dataset")
        start = time.perf_counter()
        subprocess.run(command, check=True, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - start


def main() -> None:
    """Print a row a map, then the study's two times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=("processes", "executor", "dask"))
    parser.add_argument("--one_by_one", action="store_true", help="one task a message, however many there are")
    parser.add_argument("--study", action="store_true", help="time a study of forests with one and two workers, too")
    arguments = parser.parse_args()
    if arguments.one_by_one:
        executors.TOGETHER = 1
    count, folder = arguments.workers, Path(tempfile.gettempdir())
    executor = ProcessPoolExecutor(count)
    places = {
        "processes": nullcontext(),
        "executor": carried_out_by(ExecutorMapper(executor, count, folder)),
        "dask": cluster(f"local:{count}", folder),
    }
    print("| map | tasks | workers | ms a task | memory grew by [MiB] |\n|---|---|---|---|---|")
    for name, where in places.items():
        if arguments.only in (None, name):
            spent, grown = empty_tasks(where, range(arguments.tasks), count)
            print(f"| {name} | {arguments.tasks:,} | {count} | {spent:.3f} | {grown:.0f} |", flush=True)
    executor.shutdown()
    if arguments.study:
        one, two = a_study(1), a_study(2)
        print(f"study: {one:.1f} s with one worker, {two:.1f} s with two: efficiency {one / two / 2:.2f}")


if __name__ == "__main__":
    main()

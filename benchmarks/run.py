"""Whole studies timed: `main.py --exp all` beside the pure work in it, and beside the straightforward way.

    python benchmarks/run.py --models DT,LR --sets 4 --json runs.json

Each row is one study of `--sets` sample sets of 2,000 records a side and 20 requests each. *Overhead*: wall time of the
command, times its processes, over the time that fitting and asking the same models takes in one process.
*Straightforward*: one process, one model at a time, each pickled with the strongest compression, asked one record at a
time, rows appended to a file; its attack is left out. Start-up is that of `python main.py --exp status`.
"""

from __future__ import annotations

import argparse
import csv
import json
import lzma
import os
import pickle
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import data_prepare
import models
from benchmarks.runs import opened
from lib_unlearning.cache.layout import Layout
from lib_unlearning.evaluation_cases import SAMPLES_TO_EVALUATE, EvaluationCases, evaluation_cases
from lib_unlearning.posterior import accuracies, obtain_posteriors
from lib_unlearning.study import Study
from lib_unlearning.unlearning.base import train_and_unlearn
from parameter_parser import parse_settings


@dataclass(frozen=True)
class Row:
    """One study.

    Attributes:
        models: how many were trained. wall, startup, pure, straightforward: seconds.
        memory: peak of its largest process [MiB]. disk: models [MiB].
    """

    study: str
    models: int
    processes: int
    wall: float
    startup: float
    pure: float
    straightforward: float
    memory: float
    disk: float

    def cells(self) -> list[str]:
        """As a table shows them."""
        overhead, gain = self.wall * self.processes / self.pure, self.straightforward / self.wall
        seconds = [f"{value:.1f}" for value in (self.wall, self.startup, self.pure, self.straightforward)]
        return [
            self.study,
            str(self.models),
            *seconds,
            f"{overhead:.2f}",
            f"{gain:.1f}",
            f"{self.memory:.0f}",
            f"{self.disk:.1f}",
        ]


COLUMNS = (
    "study",
    "models",
    "wall [s]",
    "start-up [s]",
    "pure work, one process [s]",
    "straightforward [s]",
    "overhead",
    "times faster than that",
    "peak memory [MiB]",
    "models on disk [MiB]",
)


def measured(name: str, flags: list[str], prepared: Path, straight: bool) -> Row:
    """One study, from a folder that holds nothing but prepared data."""
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        (folder / "processed_dataset").symlink_to(prepared / "processed_dataset")
        words = [*flags, "--quiet", "--temp_data", str(folder)]
        startup = _timed(["--exp", "status", "--temp_data", str(folder)])
        wall = _timed(["--exp", "all", *words])
        stages = [
            stage
            for path in folder.glob("attack_data/*/timing.json")
            for stage in json.loads(path.read_text())["stages"]
        ]
        memory = max(stage["peak_memory_mib"] for stage in stages)
        disk = sum(path.stat().st_size for path in folder.rglob("*.models")) / 2**20
        settings = parse_settings(["--exp", "mem_inf", *words])
        study = opened(settings)
        pure = _pure(study)
        slow = _straightforward(study, folder) if straight else float("nan")
    count = sum(len(part.sample_sets) for part in study.split.values()) * (1 + settings.sides["target"].unlearning_size)
    return Row(name, count, study.processes, wall, startup, pure, slow, memory, disk)


def _timed(words: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "main.py", *words], cwd=PROJECT, check=True, capture_output=True)
    return time.perf_counter() - start


def _pure(study: Study) -> float:
    """Seconds of fitting all models, asking their cases, and their accuracies."""
    for trainer in study.trainer.values():
        trainer.warm_up()
    start = time.perf_counter()
    for side, index in study.sets():
        original, unlearned = train_and_unlearn(
            study.method[side], study.trainer[side], *study.training_of(side, index)
        )
        cases = _cases(study, side, index)
        obtain_posteriors(original, unlearned, cases, study.dataset[side], index)
        records, negative = study.sample_set(side, index).records, study.split[side].negative
        accuracies([original, *unlearned], records, negative, study.dataset[side])
    return time.perf_counter() - start


def _cases(study: Study, side: str, index: int) -> EvaluationCases:
    settings = study.settings
    positives = SAMPLES_TO_EVALUATE[settings.samples_to_evaluate].positives
    sample_set, negative = study.sample_set(side, index), study.split[side].negative
    return evaluation_cases(sample_set, negative, positives, settings.seed, side, index, settings.placebo)


def _straightforward(study: Study, folder: Path) -> float:
    """Seconds of the way that one would write it down first."""
    start = time.perf_counter()
    for side, index in study.sets():
        dataset, negative = study.dataset[side], study.split[side].negative
        records, deletions, seed = study.training_of(side, index)
        strangers = iter(negative)
        original, unlearned = train_and_unlearn(study.method[side], study.trainer[side], records, deletions, seed)
        for model in (original, *unlearned):
            (folder / "model.xz").write_bytes(lzma.compress(pickle.dumps(model)))
        with open(folder / "rows.csv", "a", newline="", encoding="utf-8") as handle:
            rows = csv.writer(handle)
            for deletion, model in zip(deletions, unlearned, strict=True):
                for record in (*deletion.records, next(strangers)):
                    features = dataset.rows(deletion.records[:1] * 0 + record)
                    rows.writerow([*original.predict_proba(features)[0], *model.predict_proba(features)[0]])
    return time.perf_counter() - start


def main() -> None:
    """Print a Markdown row a study, and write all of them as JSON where that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="DT,LR,RF,MLP,MLPTorch", help="comma-separated")
    parser.add_argument("--data", default="adult,location", help="comma-separated")
    parser.add_argument("--methods", default="scratch,sisa", help="comma-separated")
    parser.add_argument("--flags", default="", help="more flags of each study, e.g. --flags=--accelerate")
    parser.add_argument("--sets", type=int, default=4, help="sample sets a side")
    parser.add_argument("--temp_data", type=Path, default=PROJECT / "temp_data", help="where the data lie")
    parser.add_argument("--straightforward", action="store_true", help="measure that way too")
    parser.add_argument("--json", type=Path, help="file for the rows")
    arguments = parser.parse_args()
    layout, found = Layout(arguments.temp_data.absolute()), []
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for data in arguments.data.split(","):
        data_prepare.obtain_dataset(*data_prepare.resolve(data, None, layout), layout)
        for model in arguments.models.split(","):
            for method in arguments.methods.split(","):
                flags = ["--dataset_name", data, "--original_model", model, "--unlearning_method", method]
                flags += arguments.flags.split()
                flags += ["--num_epochs", "5"] if models.TARGET_MODELS[model].network else []
                flags += [
                    f"--{side}_{name}"
                    for side in ("shadow", "target")
                    for name in (f"set_num={arguments.sets}", "set_size=2000")
                ]
                name = " ".join([f"{model}, {data}, {method}", *arguments.flags.split()])
                found.append(measured(name, flags, layout.processed_data.parent, arguments.straightforward))
                print(f"| {' | '.join(found[-1].cells())} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in found], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

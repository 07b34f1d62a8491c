"""Runs of `main.py` for benchmarks, and where they left their results."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import data_prepare
import models
from lib_unlearning.settings import Settings
from lib_unlearning.statistics.intervals import Estimate
from lib_unlearning.study import Study, open_study
from lib_unlearning.unlearning.registry import UNLEARNING_METHODS
from lib_unlearning.wording import with_interval


def attacked(flags: Sequence[str]) -> list[Path]:
    """Train what is missing and attack with the RF attack model; the folder of each seed's results."""
    always = ["--exp", "mem_inf", "--train_missing", "--quiet", "--attack_model", "RF"]
    command = [sys.executable, "main.py", *always, *flags]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return [Path(line.rpartition("Results: ")[2]) for line in done.stdout.splitlines() if "Results: " in line]


def told_alone(outcomes: Mapping[str, float | None]) -> str:
    """What the unlearned models give away by themselves, with its interval, of a run's outcomes."""
    value, low, high = (outcomes[f"still_there_auc{end}"] for end in ("", "_low", "_high"))
    assert value is not None
    return with_interval(Estimate(value, low, high, None))


def opened(settings: Settings) -> Study:
    """The study of such runs, whose sides have one data set."""
    origin = settings.origins["target"]
    dataset = data_prepare.obtain_dataset(origin.dataset_name, origin.original_label, settings.layout)
    return open_study(settings, dict.fromkeys(("shadow", "target"), dataset), models.TARGET_MODELS, UNLEARNING_METHODS)

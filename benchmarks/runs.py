"""Runs of `main.py` for benchmarks, and where they left their results."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def attacked(flags: Sequence[str]) -> list[Path]:
    """Train what is missing and attack with the RF attack model; the folder of each seed's results."""
    always = ["--exp", "mem_inf", "--train_missing", "--quiet", "--attack_model", "RF"]
    command = [sys.executable, "main.py", *always, *flags]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return [Path(line.rpartition("Results: ")[2]) for line in done.stdout.splitlines() if "Results: " in line]

"""Stopped at once, safe at any moment: signals, killed parents, closed pipes, full devices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.test_commands import PROJECT, result_rows, run

LONG = ["--exp", "model_train", "--original_model", "RF", "--num_process", "2", "--quiet"]
SHORT = [
    f"--{side}_{name}={value}"
    for side in ("shadow", "target")
    for name, value in (("set_num", 3), ("set_size", 200), ("unlearning_size", 4))
]


def started(folder: Path, *flags: str) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A training at work, with its worker processes."""
    command = [sys.executable, str(PROJECT / "main.py"), *flags, "--temp_data", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder.parent)
    parent = psutil.Process(process.pid)
    limit = time.monotonic() + 60
    while not (workers := parent.children()) and time.monotonic() < limit:
        time.sleep(0.05)
    time.sleep(0.5)
    return process, workers


def gone(workers: list[psutil.Process], seconds: float) -> bool:
    _, alive = psutil.wait_procs(workers, timeout=seconds)
    return not [worker for worker in alive if worker.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_at_once(tmp_path: Path, number: signal.Signals) -> None:
    process, workers = started(tmp_path / "out", *LONG)
    assert workers
    start = time.monotonic()
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert time.monotonic() - start < 5  # the goal is 2; a busy machine gets some grace
    assert process.returncode == 128 + number
    assert told.strip().endswith("run the command again to go on")
    assert "Traceback" not in told
    assert gone(workers, 2)


def test_workers_go_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    process, workers = started(tmp_path / "out", *LONG)
    process.kill()
    process.wait()
    assert workers
    assert gone(workers, 5)


def test_what_was_broken_off_goes_on_to_the_same_result(tmp_path: Path) -> None:
    flags = ["--exp", "model_train", *SHORT, "--original_model", "LR", "--num_process", "1"]
    command = [sys.executable, str(PROJECT / "main.py"), *flags, "--temp_data", str(tmp_path / "broken")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    while process.poll() is None and not list((tmp_path / "broken").rglob("set_0001.models")):
        time.sleep(0.01)
    process.kill()
    process.wait()
    attack = ["--exp", "mem_inf", "--train_missing", *SHORT, "--original_model", "LR"]
    both = [result_rows(run(tmp_path / name, *attack, small=False)) for name in ("broken", "whole")]
    assert both[0] == both[1]
    assert not list((tmp_path / "broken").rglob("*.tmp"))


def test_a_reader_that_goes_and_a_device_that_is_full(tmp_path: Path) -> None:
    flags = ["--exp", "status", "--temp_data", str(tmp_path)]
    command = [sys.executable, str(PROJECT / "main.py"), *flags]
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert "Traceback" not in done.stderr

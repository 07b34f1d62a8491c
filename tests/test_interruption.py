"""Stopped at once, safe at any moment: signals, killed parents, closed pipes, full devices."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

import utils
from lib_unlearning import parallel
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


_DROPPED = """
import gc, os, signal, sys, time, utils

def interrupted(*_):
    gc.callbacks[:] = []
    os.kill(os.getpid(), {number})
    time.sleep(0.1)

class Left:
    __del__ = interrupted

def command():
    {where}
    time.sleep(60)

sys.exit(utils.run_command("main.py", command))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "where",
    [
        "Left()",
        "gc.callbacks.append(interrupted); gc.collect()",
        "os.register_at_fork(after_in_parent=interrupted); os.fork() or os._exit(0)",
    ],
)
def test_a_signal_is_heeded_where_python_drops_exceptions(where: str, number: signal.Signals) -> None:
    command = [sys.executable, "-c", _DROPPED.format(where=where, number=int(number))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, timeout=30)
    assert done.returncode == 128 + number
    assert done.stderr.strip() == "main.py: interrupted; what was finished is kept, run the command again to go on"


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    """As nohup starts a command: whoever logs out does not end it."""
    words = ["--exp", "all", "--original_model", "DT", "--num_process", "1", "--quiet", *SHORT]
    command = [sys.executable, str(PROJECT / "main.py"), *words, "--temp_data", str(tmp_path / "out")]
    program = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    time.sleep(1)
    for _ in range(5):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
    process.communicate(timeout=100)
    assert process.returncode == 0


@pytest.mark.parametrize("kept", ["none", "originals"])
def test_two_at_once_that_keep_no_models_both_end_well(tmp_path: Path, kept: str) -> None:
    words = ["--exp", "all", "--original_model", "LR", "--num_process", "1", "--quiet", "--keep_models", kept, *SHORT]
    command = [sys.executable, str(PROJECT / "main.py"), *words, "--temp_data", str(tmp_path / "out")]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    told = [run.communicate(timeout=100) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], told
    assert len({out for out, _ in told}) == 1


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


@pytest.mark.parametrize(
    ("before", "flags", "told"),
    [
        ("ulimit -n 12", "", "Too many open files; raise the limit of open files"),
        ("ulimit -v 400000", "", "memory ran out"),
        ("ulimit -f 1", "", "File too large; free some space"),
        ("true", f"--temp_data /tmp/{'a' * 300}", "File name too long; name a shorter folder"),
        ("true", f"--max_leaf_nodes {10**30}", "--max_leaf_nodes: must be at most 2147483647"),
        ("export XDG_STATE_HOME=/proc/x", "", "set XDG_STATE_HOME to a folder you can write to"),
        ("exec >/dev/full", "", "the output cannot be written"),
    ],
)
def test_what_the_system_refuses_is_one_line(tmp_path: Path, before: str, flags: str, told: str) -> None:
    words = f"{sys.executable} {PROJECT / 'main.py'} --exp all {' '.join(SHORT)} --quiet --temp_data {tmp_path / 'td'}"
    done = subprocess.run(["bash", "-c", f"{before}; {words} {flags}"], capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("INFO", "WARNING"))]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1
    assert told in lines[0]


@pytest.mark.parametrize("before", ["exec >&-", "exec 2>&-", "exec <&-", "export MPLBACKEND=nonsense", "ulimit -n 30"])
def test_surroundings_that_do_not_matter(tmp_path: Path, before: str) -> None:
    words = f"{sys.executable} {PROJECT / 'main.py'} --exp all {' '.join(SHORT)} --quiet --temp_data {tmp_path / 'td'}"
    done = subprocess.run(["bash", "-c", f"{before}; {words}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "td").glob("attack_data/*/results.csv"))


def test_a_limit_of_processes_is_told_before_any_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `ulimit -u` shows itself to whoever is not root: a pool that met it later would wait for ever."""
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def refuses_the_third(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuses_the_third)
    with pytest.raises(OSError, match=re.escape(os.strerror(errno.EAGAIN))) as refused:
        list(parallel.parallel_map(abs, [-1, 2, -3], 2, "", True))
    assert refused.value.errno == errno.EAGAIN
    assert not any(thread.is_alive() for thread in started)
    assert "ulimit -u" in str(utils._refusal(RuntimeError("can't start new thread")))


def _in_container(name: str, command: list[str], folder: Path) -> subprocess.Popen[str]:
    """A command in process and host namespaces of its own, as a container has them."""
    inside = f'hostname {name} && exec "$@"'
    words = ["unshare", "--pid", "--fork", "--mount-proc", "--uts", "--kill-child", "sh", "-c", inside, "sh", *command]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)


def test_two_containers_over_one_folder(tmp_path: Path) -> None:
    """Both have a process 1, and neither can see the other's."""
    probe = _in_container("one", ["true"], tmp_path) if shutil.which("unshare") else None
    if probe is None or probe.wait():
        pytest.skip("needs the right to make namespaces")
    flags = ["--exp", "all", *SHORT, "--original_model", "LRTorch", "--num_epochs", "3", "--num_process", "1"]
    command = [sys.executable, str(PROJECT / "main.py"), *flags, "--temp_data"]
    alone = result_rows(run(tmp_path / "alone", *flags, small=False))
    killed = _in_container("three", [*command, str(tmp_path / "shared")], tmp_path)
    while killed.poll() is None and not list((tmp_path / "shared").rglob("set_0001*")):
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    both = [_in_container(name, [*command, str(tmp_path / "shared")], tmp_path) for name in ("one", "two")]
    for process in both:
        printed, complaints = process.communicate(timeout=120)
        assert process.returncode == 0, complaints
        assert result_rows(printed) == alone


def test_without_semaphores_one_process_does_the_work(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused() -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("multiprocessing.Semaphore", refused)
    parallel._semaphores.cache_clear()
    with caplog.at_level("WARNING", logger="unlearning"):
        assert list(parallel.parallel_map(abs, [-1, 2, -3], 2, "", True)) == [1, 2, 3]
    assert "one does the work" in caplog.text
    parallel._semaphores.cache_clear()

"""A real scheduler and worker processes on loopback: the same bytes, whoever dies on the way."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib_unlearning import cluster as cluster_module
from lib_unlearning.cluster import cluster
from lib_unlearning.errors import UserError
from lib_unlearning.parallel import parallel_map
from tests.test_commands import PROJECT, run

SIZES = [
    f"--{side}_{name}={value}"
    for side in ("shadow", "target")
    for name, value in (("set_num", 4), ("set_size", 300), ("unlearning_size", 5))
]
RUN = ["--exp", "all", "--original_model", "LR", "--quiet", *SIZES]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def dask(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


def a_worker(address: str) -> subprocess.Popen[bytes]:
    return dask("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")


@pytest.fixture
def scheduler() -> Iterator[str]:
    """Address of a running scheduler; its workers are the test's."""
    port = free_port()
    process = dask("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield f"tcp://127.0.0.1:{port}"
    process.kill()
    process.wait()


def results(folder: Path) -> bytes:
    (found,) = folder.glob("attack_data/*/results.csv")
    return found.read_bytes()


def test_a_cluster_gives_the_same_bytes_though_a_worker_dies_and_one_comes_late(tmp_path: Path, scheduler: str) -> None:
    run(tmp_path / "here", *RUN, "--num_process", "1", small=False)
    workers = [a_worker(scheduler)]
    command = [sys.executable, str(PROJECT / "main.py"), *RUN, "--cluster", scheduler]
    started = subprocess.Popen([*command, "--temp_data", str(tmp_path / "there")], stderr=subprocess.PIPE, text=True)
    while started.poll() is None and not list((tmp_path / "there").rglob("set_0000.models")):
        time.sleep(0.02)
    workers.append(a_worker(scheduler))
    time.sleep(2)
    workers[0].kill()
    told = started.communicate(timeout=120)[1]
    for worker in workers:
        worker.kill()
        worker.wait()
    assert started.returncode == 0, told
    assert results(tmp_path / "here") == results(tmp_path / "there")


def test_workers_of_other_versions_are_refused(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = a_worker(scheduler)
    monkeypatch.setattr(cluster_module, "_expected", lambda: {**cluster_module._versions(), "numpy": "1.0"})
    with pytest.raises(UserError, match=r"numpy .* instead of 1\.0"), cluster(scheduler):
        pass
    worker.kill()
    worker.wait()


def test_a_scheduler_without_workers_and_none_at_all(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_PATIENCE", 1)
    with pytest.raises(UserError, match="has no workers"), cluster(scheduler):
        pass
    with pytest.raises(UserError, match="no scheduler answers"), cluster(f"tcp://127.0.0.1:{free_port()}"):
        pass
    for wrong in ("local:none", "mesh:3"):
        with pytest.raises(UserError, match="--cluster"), cluster(wrong):
            pass


def test_without_a_cluster_nothing_changes() -> None:
    with cluster(None):
        assert list(parallel_map(abs, [-1, 2], 1, "", True)) == [1, 2]

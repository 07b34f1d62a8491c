"""A real scheduler and worker processes on loopback: the same bytes, whoever dies on the way."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from lib_unlearning import cluster as cluster_module
from lib_unlearning.cluster import cluster
from lib_unlearning.errors import UserError
from lib_unlearning.executors import ExecutorMapper
from lib_unlearning.parallel import carried_out_by, parallel_map
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


def a_scheduler(port: int, *flags: str) -> subprocess.Popen[bytes]:
    process = dask("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", *flags)
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    return process


def end(*processes: subprocess.Popen[bytes]) -> None:
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def scheduler() -> Iterator[str]:
    """Address of a running scheduler; its workers are the test's."""
    port = free_port()
    process = a_scheduler(port)
    yield f"tcp://127.0.0.1:{port}"
    end(process)


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
    end(*workers)
    assert started.returncode == 0, told
    assert results(tmp_path / "here") == results(tmp_path / "there")


def test_workers_of_other_versions_are_refused(tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = a_worker(scheduler)
    monkeypatch.setattr(cluster_module, "_expected", lambda: {**cluster_module._versions(), "numpy": "1.0"})
    with pytest.raises(UserError, match=r"numpy .* instead of 1\.0"), cluster(scheduler, tmp_path):
        pass
    end(worker)


def test_a_scheduler_without_workers_and_none_at_all(
    tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "_PATIENCE", 1)
    with pytest.raises(UserError, match="has no workers"), cluster(scheduler, tmp_path):
        pass
    with pytest.raises(UserError, match="no scheduler answers"), cluster(f"tcp://127.0.0.1:{free_port()}", tmp_path):
        pass
    for wrong in ("local:none", "mesh:3"):
        with pytest.raises(UserError, match="--cluster"), cluster(wrong, tmp_path):
            pass


def test_without_a_cluster_nothing_changes(tmp_path: Path) -> None:
    with cluster(None, tmp_path):
        assert list(parallel_map(abs, [-1, 2], 1, "", True)) == [1, 2]


def test_a_scheduler_that_dies_ends_the_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    run(tmp_path / "here", *RUN, "--num_process", "1", small=False)
    port, there = free_port(), tmp_path / "there"
    words = [*RUN, "--cluster", f"tcp://127.0.0.1:{port}", "--temp_data", str(there)]
    first, worker = a_scheduler(port), a_worker(f"tcp://127.0.0.1:{port}")
    started = subprocess.Popen([sys.executable, str(PROJECT / "main.py"), *words], stderr=subprocess.PIPE, text=True)
    while started.poll() is None and not list(there.rglob("set_0000.models")):
        time.sleep(0.02)
    end(first)
    told = started.communicate(timeout=120)[1]
    end(worker)
    assert started.returncode == 2, told
    complaint = [line for line in told.splitlines() if line.startswith("main.py: error:")]
    assert len(complaint) == 1
    assert "the scheduler is gone" in complaint[0]
    second, worker = a_scheduler(port), a_worker(f"tcp://127.0.0.1:{port}")
    subprocess.run([sys.executable, str(PROJECT / "main.py"), *words], check=True, capture_output=True)
    end(worker, second)
    assert results(tmp_path / "here") == results(there)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_workers_behind_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the certificate, as Dask's configuration names it; without, nobody gets in."""
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    made = f"req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 1 -subj /CN=127.0.0.1"
    subprocess.run(["openssl", *made.split()], check=True, capture_output=True)
    port = free_port()
    flags = ["--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key]
    address = f"tls://127.0.0.1:{port}"
    first = a_scheduler(port, "--protocol", "tls", *flags)
    worker = dask("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", *flags)
    run(tmp_path / "here", *RUN, "--num_process", "1", small=False)
    for name, path in (("CA_FILE", certificate), ("CLIENT__CERT", certificate), ("CLIENT__KEY", key)):
        monkeypatch.setenv(f"DASK_DISTRIBUTED__COMM__TLS__{name}", path)
    command = [sys.executable, str(PROJECT / "main.py"), *RUN, "--cluster", address, "--temp_data"]
    subprocess.run([*command, str(tmp_path / "there")], check=True, capture_output=True)
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT", str(tmp_path / "none.pem"))
    refused = subprocess.run([*command, str(tmp_path / "elsewhere")], capture_output=True, text=True)
    end(worker, first)
    assert results(tmp_path / "here") == results(tmp_path / "there")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr


_SBATCH = """#!/bin/sh
# Runs a job on this machine at once, as its own group of processes.
copy=$(mktemp) && cp "$1" "$copy"
setsid sh "$copy" > "$copy.out" 2>&1 &
echo "Submitted batch job $!"
echo $! >> "$(dirname "$0")/jobs"
"""


def test_slurms_jobs_carry_the_work_and_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm's two commands played by scripts; dask-jobqueue, its job scripts, scheduler and workers are real."""
    pytest.importorskip("dask_jobqueue")
    described = tmp_path / "cluster.yaml"
    described.write_text("workers: 2\ncores: 1\nmemory: 2GB\nscheduler_options: {host: 127.0.0.1}\n", encoding="utf-8")
    command = [sys.executable, str(PROJECT / "main.py"), *RUN, "--cluster", f"slurm:{described}", "--temp_data"]
    lacking = subprocess.run([*command, str(tmp_path / "none")], capture_output=True, text=True, cwd=tmp_path)
    assert lacking.returncode == 2
    assert "there is no sbatch on this machine" in lacking.stderr
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (
        ("sbatch", _SBATCH),
        ("scancel", '#!/usr/bin/env bash\nkill -KILL -- "-$1" && echo "$1" >> "$(dirname "$0")/ended"\n'),
    ):
        (commands / name).write_text(text, encoding="utf-8")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    run(tmp_path / "here", *RUN, "--num_process", "1", small=False)
    done = subprocess.run([*command, str(tmp_path / "there")], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "here") == results(tmp_path / "there")
    forests = [*command, str(tmp_path / "broken"), "--original_model", "RF", "--target_unlearning_size", "40"]
    started = subprocess.Popen(forests, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    while started.poll() is None and not list((tmp_path / "broken").rglob("manifest.json")):
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    told = started.communicate(timeout=60)[1]
    assert started.returncode == 130, told
    jobs = [int(job) for job in (commands / "jobs").read_text(encoding="utf-8").split()]
    assert len(jobs) == 4
    limit = time.monotonic() + 20
    while any(map(psutil.pid_exists, jobs)) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not any(map(psutil.pid_exists, jobs))


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor_carries_the_work(tmp_path: Path, kind: type[Executor]) -> None:
    with kind(2) as executor, carried_out_by(ExecutorMapper(executor, 2, tmp_path / "shared")):  # type: ignore[call-arg]
        assert list(parallel_map(abs, range(-40, 0), 2, "", True)) == list(range(40, 0, -1))
        many = range(20_000)  # so many that they travel in groups
        assert list(parallel_map(abs, many, 2, "", True)) == list(many)
    assert not list((tmp_path / "shared").iterdir())


def test_an_executor_whose_workers_die_is_one_line(tmp_path: Path) -> None:
    with (
        ProcessPoolExecutor(1) as executor,
        carried_out_by(ExecutorMapper(executor, 1, tmp_path)),
        pytest.raises(UserError, match="the workers are gone"),
    ):
        list(parallel_map(os._exit, [1, 2], 2, "", True))


_MPI = importlib.util.find_spec("mpi4py") is not None and shutil.which("mpiexec") is not None


@pytest.mark.skipif(_MPI, reason="mpi4py is here")
def test_what_mpi_needs_is_told(tmp_path: Path) -> None:
    assert "run: python -m pip install mpi4py" in run(tmp_path / "there", *RUN, "--cluster", "mpi", code=2)


@pytest.mark.skipif(not _MPI, reason="needs mpi4py and an MPI")
def test_mpi(tmp_path: Path) -> None:
    run(tmp_path / "here", *RUN, "--num_process", "1", small=False)
    plainly = ["mpiexec", "-n", "2", sys.executable, "main.py", *RUN, "--cluster", "mpi"]
    plain = subprocess.run([*plainly, "--temp_data", str(tmp_path / "no")], capture_output=True, text=True, cwd=PROJECT)
    assert "start it as mpiexec -n N python -m mpi4py.futures" in plain.stderr
    started = ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures", "main.py", *RUN, "--cluster", "mpi"]
    there = [*started, "--temp_data", str(tmp_path / "there")]
    subprocess.run(there, check=True, capture_output=True, cwd=PROJECT, timeout=120)
    assert results(tmp_path / "here") == results(tmp_path / "there")


def test_plug_ins_are_loaded_by_workers_elsewhere(tmp_path: Path) -> None:
    """By Dask's workers, and by an executor's that were not forked from this process."""
    (tmp_path / "mine.py").write_text(
        "from sklearn.tree import DecisionTreeClassifier\n"
        "from lib_unlearning.family import estimator_family\nfrom models import TARGET_MODELS\n"
        "class Mine(DecisionTreeClassifier):\n    pass\n"
        "def make(labels, seed, options):\n    return Mine(max_leaf_nodes=5, random_state=seed)\n"
        "TARGET_MODELS['MINE'] = estimator_family('MINE', make)\n"
    )
    words = [*RUN, "--plugin", str(tmp_path / "mine.py"), "--original_model", "MINE"]
    run(tmp_path / "here", *words, "--num_process", "1", small=False)
    run(tmp_path / "there", *words, "--cluster", "local:1", small=False)
    assert results(tmp_path / "here") == results(tmp_path / "there")
    code = (
        "import multiprocessing, sys\n"
        "from concurrent.futures import ProcessPoolExecutor\nfrom pathlib import Path\n"
        "from lib_unlearning.executors import ExecutorMapper\nfrom lib_unlearning.parallel import carried_out_by\n"
        "import main\n"
        "if __name__ == '__main__':\n"
        "    spawned = multiprocessing.get_context('spawn')\n"
        "    with ProcessPoolExecutor(1, mp_context=spawned) as pool:\n"
        f"        with carried_out_by(ExecutorMapper(pool, 1, Path({str(tmp_path)!r}))):\n"
        "            sys.exit(main.main())\n"
    )
    (tmp_path / "spawn.py").write_text(code)
    command = [sys.executable, str(tmp_path / "spawn.py"), *words, "--temp_data", str(tmp_path / "spawned")]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "here") == results(tmp_path / "spawned")


@pytest.mark.parametrize("moment", ["starting", "working"])
def test_a_local_cluster_is_left_at_once(tmp_path: Path, moment: str) -> None:
    """No process stays, and one line says what happened, whether its workers are half started or at work."""
    words = ["--exp", "all", "--original_model", "RF", "--cluster", "local:2", "--temp_data", str(tmp_path)]
    done = subprocess.Popen(
        [sys.executable, "main.py", *words, "--quiet"], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    own = psutil.Process(done.pid)
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        if moment == "starting" and len(own.children()) > 1:
            break
        if moment == "working" and list(tmp_path.rglob("manifest.json")):
            break
        time.sleep(0.02)
    workers = own.children(recursive=True)
    done.send_signal(signal.SIGTERM)
    _, told = done.communicate(timeout=60)
    assert done.returncode == 128 + signal.SIGTERM
    assert told.decode().splitlines()[-1].endswith("run the command again to go on")
    assert b"Traceback" not in told
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


@pytest.mark.parametrize("count", ["0", "-1", "²", "1025", "9" * 20, "1_0", ""])
def test_numbers_of_local_workers_that_cannot_be(tmp_path: Path, count: str) -> None:
    assert "expected a number of workers" in run(tmp_path, "--exp", "all", f"--cluster=local:{count}", code=2)

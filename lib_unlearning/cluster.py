"""Workers on other machines in the place of local processes: Dask's scheduler, or MPI.

`local:N` starts a scheduler and N worker processes here, `tcp://host:8786` and `tls://host:8786` connect to a scheduler
(certificates as Dask's configuration names them), `slurm:FILE` starts workers by dask-jobqueue with the options of a
YAML file, `mpi` takes those of `mpiexec -n N python -m mpi4py.futures main.py`. What is trained, and with which seed,
never depends on where it runs: results are those of a local run, byte by byte. Models are written by the workers into
`--temp_data`, which must lie on a file system that all share.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import logging
import shlex
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lib_unlearning import parallel
from lib_unlearning.cache.files import digest
from lib_unlearning.errors import LOGGER, UNREADABLE, UserError, error_text
from lib_unlearning.executors import AHEAD, apply, groups_of, in_order, mpi_mapper
from lib_unlearning.plugins import sources
from lib_unlearning.yaml_file import read_yaml

KINDS = "local:N, tcp://HOST:PORT, tls://HOST:PORT, slurm:FILE or mpi"
_RETRIES = 1  # of a task whose worker died
_PATIENCE = 30  # seconds for a scheduler to answer
_CHECKOUT = Path(__file__).resolve().parent.parent
_MOST_LOCAL, _DIGITS = 1024, 4  # workers of a local cluster
_LAST_PORT = 65535
_TRIES = 5  # to send a task to workers of which one goes at that moment
_NOISY = ("distributed", "asyncio", "tornado")  # loggers
_LOOK_AGAIN = 5.0  # seconds until workers are counted anew


@contextlib.contextmanager
def cluster(spec: str | None, folder: Path) -> Iterator[None]:
    """Let `parallel_map` work on a cluster while the block runs; `None` leaves it to local processes.

    Args:
        folder: that all workers see.

    Raises:
        UserError: the cluster cannot be reached, or its workers have other versions.
    """
    if spec is None:
        yield
        return
    if spec == "mpi":
        with mpi_mapper(folder) as mapper, parallel.carried_out_by(mapper):
            yield
        return
    with _client(spec) as client:
        _check_versions(client)
        LOGGER.info("cluster: %d workers at %s", len(client.nthreads()), client.scheduler.address)
        with parallel.carried_out_by(_Mapper(client)):
            yield


@contextlib.contextmanager
def _client(spec: str) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    kind, _, rest = spec.partition(":")
    workers: Any = None
    try:
        if kind == "local":
            _start_tracker()
            workers = LocalCluster(n_workers=_count(rest), threads_per_worker=1, dashboard_address=None)
        elif kind == "slurm":
            workers = _slurm(Path(rest))
        elif kind in ("tcp", "tls"):
            _check_address(rest)
        else:
            raise UserError(f"--cluster {spec}: expected {KINDS}")
        client = Client(workers or spec, timeout=_PATIENCE)
    except (OSError, ValueError, TypeError, TimeoutError, RuntimeError) as error:
        raise UserError(f"--cluster {spec}: no scheduler answers there ({error_text(error)})") from error
    except KeyboardInterrupt:
        _hush()
        if kind == "local":
            _abandon()
        raise  # Slurm's jobs are ended at the exit
    _hush()
    abandoned = False
    try:
        if kind == "slurm":
            LOGGER.info("cluster: waiting for Slurm to start the first of the jobs")
        client.wait_for_workers(1, timeout=None if kind == "slurm" else _PATIENCE)
        if kind == "local":
            client.run(_hush, on_error="ignore")  # Ctrl-C in a terminal reaches them too
        yield client
    except TimeoutError as error:
        raise UserError(f"--cluster {spec}: the scheduler has no workers") from error
    except BaseException:
        if kind == "local":  # closing would wait for what the workers are doing
            abandoned = True
            _abandon(client)
        raise
    finally:
        if not abandoned:
            _close(client, workers, kind)


def _close(client: Any, workers: Any, kind: str) -> None:
    if kind == "local":
        client.run(_hush, on_error="ignore")  # workers that took others' places
    client.close()
    if workers is not None:
        workers.close()


@contextlib.contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep the signals' handlers while a package is imported that sets others (dask-jobqueue: exit with 0)."""
    kept = [signal.getsignal(number) for number in parallel.ENDING]
    yield
    for number, handler in zip(parallel.ENDING, kept, strict=True):
        signal.signal(number, handler)


def _abandon(client: Any = None) -> None:
    """End a local cluster at once: half made or busy it cannot be closed, at the exit neither."""
    import distributed
    import psutil

    _hush()
    atexit.unregister(distributed.deploy.spec.close_clusters)
    atexit.unregister(distributed.client._close_global_client)
    if client is not None:
        client.status = "closed"  # so that nothing else closes it
        client.loop.add_callback(client.loop.stop)  # else workers that are gone would be replaced
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if not any("resource_tracker" in word for word in process.cmdline()):  # it cleans up, and ends with us
                process.kill()


def _start_tracker() -> None:
    """Start what tracks semaphores so that SIGHUP to a whole terminal spares it, as Ctrl-C and SIGTERM do: one that is
    made in its place would complain of each of them."""
    from multiprocessing import resource_tracker

    if not hasattr(signal, "SIGHUP"):
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        resource_tracker.ensure_running()
    finally:
        signal.signal(signal.SIGHUP, before)


def _hush() -> None:
    """What closing, a scheduler that goes, or Ctrl-C in a terminal breaks between both ends is said in our own line."""
    for name in [*_NOISY, *logging.root.manager.loggerDict]:
        if name.startswith(_NOISY):  # many have levels of their own
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _check_address(rest: str) -> None:
    """Raise what is wrong with //HOST:PORT at once: Dask would ask for half a minute."""
    host, _, port = rest.removeprefix("//").rpartition(":")
    if not (port.isascii() and port.isdigit()):
        raise ValueError("expected HOST:PORT")
    socket.getaddrinfo(host.strip("[]"), None)
    if not 0 < int(port) <= _LAST_PORT:
        raise ValueError(f"there is no port {port}")


def _count(text: str) -> int:
    digits = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    if not digits or not 1 <= int(text) <= _MOST_LOCAL:
        raise UserError(f"--cluster local:{text}: expected a number of workers, 1 to {_MOST_LOCAL}")
    return int(text)


def _slurm(path: Path) -> Any:
    with _own_handlers():
        from dask_jobqueue import SLURMCluster

    if shutil.which(SLURMCluster.job_cls.submit_command) is None:
        raise UserError(f"--cluster slurm:{path}: there is no {SLURMCluster.job_cls.submit_command} on this machine")
    try:
        options = read_yaml(path, f"--cluster slurm:{path}")
        count = options.pop("workers")
        found_here = f"export PYTHONPATH={shlex.quote(str(_CHECKOUT))}:$PYTHONPATH"
        options["job_script_prologue"] = [found_here, *options.get("job_script_prologue", [])]
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"workers: {count!r} is no number of jobs")
        found: Any = SLURMCluster(**options)
    except UNREADABLE as error:
        raise UserError(
            f"--cluster slurm:{path}: {error_text(error)}; it needs `workers` and SLURMCluster's options"
        ) from error
    found.scale(jobs=count)
    return found


def _check_versions(client: Any) -> None:
    """Refuse workers whose libraries would give other numbers."""
    ours = _expected()
    try:
        found = client.run(_versions)
    except Exception as error:  # a worker's own, as it comes
        raise _not_in_a_checkout(error) from error
    for address, theirs in found.items():
        differing = [
            f"{name} {theirs.get(name)} instead of {ours[name]}" for name in ours if theirs.get(name) != ours[name]
        ]
        if differing:
            raise UserError(f"worker {address} has {', '.join(differing)}; install the same versions everywhere")


def _not_in_a_checkout(error: Exception) -> UserError:
    return UserError(
        f"the scheduler or a worker cannot do this work ({error_text(error)}); start each in a checkout, with "
        "PYTHONPATH=. before its command"
    )


def _expected() -> dict[str, str]:
    return _versions()


def _versions() -> dict[str, str]:
    import platform

    from lib_unlearning import __version__
    from lib_unlearning.cache.files import library_versions

    found = {"unlearning-leakage": __version__, "python": ".".join(platform.python_version_tuple()[:2])}
    return {**found, **library_versions("numpy", "scipy", "scikit-learn")}


def _bring_plugins(client: Any) -> None:
    """Load our plug-ins in all workers, also in those that come later."""
    from distributed import WorkerPlugin

    names = sources()
    if not names:
        return

    class Loader(WorkerPlugin):
        name = f"unlearning-{digest(names)[:8]}"

        def setup(self, worker: Any) -> None:
            from lib_unlearning.plugins import load_plugins

            load_plugins(names)

    client.register_plugin(Loader())


class _Mapper:
    """Results of a task for each item, in order; the task itself is sent once to each worker."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._counted, self._workers = float("-inf"), 1

    def _limit(self) -> int:
        """Tasks that are handed out at a time; workers come and go."""
        if time.monotonic() - self._counted > _LOOK_AGAIN:
            self._counted, self._workers = time.monotonic(), max(1, len(self._client.nthreads()))
        return AHEAD * self._workers

    def _sent(self, task: Callable[[Any], Any]) -> Any:
        """The task on every worker; one that goes while it is sent is forgotten, and the others are asked again."""
        for left in itertools.count(_TRIES - 1, -1):
            try:
                return self._client.scatter(task, broadcast=True, hash=False)
            except (KeyError, OSError, TimeoutError) as error:
                if not left or self._client.status != "running":
                    raise UserError(f"workers go while work is sent ({error_text(error)}); run again") from error
                time.sleep(1)

    def __call__(self, task: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        from distributed import CancelledError, KilledWorker

        _bring_plugins(self._client)
        sent = self._sent(task)

        def submit(group: Sequence[Any]) -> Any:
            return self._client.submit(apply, sent, group, pure=False, retries=_RETRIES)

        try:
            yield from in_order(submit, groups_of(items, self._limit() // AHEAD), self._limit)
        except RuntimeError as error:
            if "deserializ" not in str(error):
                raise
            raise _not_in_a_checkout(error) from error  # the scheduler lacks the library
        except KilledWorker as error:
            raise UserError(
                f"a task's workers died more than once ({error_text(error)}); run again to go on"
            ) from error
        except (CancelledError, OSError) as error:
            raise UserError(
                f"the scheduler is gone, or the last worker ({error_text(error)}); what was finished is kept, run the "
                "command again"
            ) from error

"""Workers on other machines: Dask's scheduler in the place of local processes.

`local:N` starts a scheduler and N worker processes here, `tcp://host:8786` and `tls://host:8786` connect to a scheduler
(certificates as Dask's configuration names them), `slurm:FILE` starts workers by dask-jobqueue with the options of a
YAML file. What is trained, and with which seed, never depends on where it runs: results are those of a local run, byte
by byte. Models are written by the workers into `--temp_data`, which must lie on a file system that all share.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lib_unlearning import parallel
from lib_unlearning.errors import LOGGER, UserError, error_text

KINDS = "local:N, tcp://HOST:PORT, tls://HOST:PORT or slurm:FILE"
_AHEAD = 4  # tasks a worker that are handed out at a time
_RETRIES = 1  # of a task whose worker died
_PATIENCE = 30  # seconds for a scheduler to answer


@contextlib.contextmanager
def cluster(spec: str | None) -> Iterator[None]:
    """Let `parallel_map` work on a cluster while the block runs; `None` leaves it to local processes.

    Raises:
        UserError: the cluster cannot be reached, or its workers have other versions.
    """
    if spec is None:
        yield
        return
    with _client(spec) as client:
        _check_versions(client)
        LOGGER.info("cluster: %d workers at %s", len(client.scheduler_info()["workers"]), client.scheduler.address)
        with parallel.carried_out_by(_Mapper(client)):
            yield


@contextlib.contextmanager
def _client(spec: str) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    kind, _, rest = spec.partition(":")
    try:
        if kind == "local":
            workers = LocalCluster(n_workers=_count(rest), threads_per_worker=1, dashboard_address=None)
        elif kind == "slurm":
            workers = _slurm(Path(rest))
        elif kind in ("tcp", "tls"):
            workers = None
        else:
            raise UserError(f"--cluster {spec}: expected {KINDS}")
        client = Client(workers or spec, timeout=_PATIENCE)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(f"--cluster {spec}: no scheduler answers there ({error_text(error)})") from error
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
        yield client
    except TimeoutError as error:
        raise UserError(f"--cluster {spec}: the scheduler has no workers") from error
    finally:
        client.close()
        if workers is not None:
            workers.close()


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"--cluster local:{text}: expected a number of workers")
    return int(text)


def _slurm(path: Path) -> Any:
    import yaml
    from dask_jobqueue import SLURMCluster

    try:
        options = yaml.safe_load(path.read_text(encoding="utf-8"))
        count = options.pop("workers")
        found = SLURMCluster(**options)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UserError(
            f"--cluster slurm:{path}: {error_text(error)}; it needs `workers` and SLURMCluster's options"
        ) from error
    found.scale(jobs=count)
    return found


def _check_versions(client: Any) -> None:
    """Refuse workers whose libraries would give other numbers."""
    ours = _expected()
    for address, theirs in client.run(_versions).items():
        differing = [
            f"{name} {theirs.get(name)} instead of {ours[name]}" for name in ours if theirs.get(name) != ours[name]
        ]
        if differing:
            raise UserError(f"worker {address} has {', '.join(differing)}; install the same versions everywhere")


def _expected() -> dict[str, str]:
    return _versions()


def _versions() -> dict[str, str]:
    import platform

    from lib_unlearning import __version__
    from lib_unlearning.cache.files import library_versions

    found = {"unlearning-leakage": __version__, "python": ".".join(platform.python_version_tuple()[:2])}
    return {**found, **library_versions("numpy", "scipy", "scikit-learn")}


class _Mapper:
    """Results of a task for each item, in order; the task itself is sent once to each worker."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __call__(self, task: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        from distributed import CancelledError, KilledWorker

        sent = self._client.scatter(task, broadcast=True, hash=False)
        limit = _AHEAD * max(1, len(self._client.scheduler_info()["workers"]))
        waiting: deque[Any] = deque()
        try:
            for item in items:
                waiting.append(self._client.submit(_apply, sent, item, pure=False, retries=_RETRIES))
                if len(waiting) >= limit:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except KilledWorker as error:
            raise UserError(
                f"a task's workers died more than once ({error_text(error)}); run again to go on"
            ) from error
        except (CancelledError, OSError) as error:
            raise UserError(
                f"the scheduler is gone ({error_text(error)}); what was finished is kept, run the command again"
            ) from error


def _apply(task: Callable[[Any], Any], item: Any) -> Any:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return task(item)

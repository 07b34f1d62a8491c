"""Commands in processes of their own, forked from one that has imported what they need: most of a short run's time.

What is imported when, and what signals and broken pipes do, is tested with real ones (test_architecture.py,
test_interruption.py).
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
_IMPORTED = (
    "exp",
    "data_prepare",
    "lib_unlearning.report",
    "lib_unlearning.reporting.figures",
    "lib_unlearning.training.private_training",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.neural_network",
    "sklearn.pipeline",
    "sklearn.tree",
)
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(list(_IMPORTED))


def command(
    program: str, arguments: Sequence[str], cwd: Path, timeout: float = 200
) -> subprocess.CompletedProcess[str]:
    """`python PROGRAM ARGUMENTS` in a folder, and what became of it."""
    with tempfile.TemporaryDirectory() as kept:
        outputs = [Path(kept) / name for name in ("out", "err")]
        given = (program, list(arguments), dict(os.environ), str(cwd), [str(path) for path in outputs])
        process = _FORKS.Process(target=_as_a_program, args=given)
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired([program, *arguments], timeout)
        out, err = (path.read_text(encoding="utf-8") for path in outputs)
    assert process.exitcode is not None
    return subprocess.CompletedProcess([program, *arguments], process.exitcode, out, err)


def _as_a_program(
    program: str, arguments: list[str], environment: Mapping[str, str], cwd: str, outputs: list[str]
) -> None:
    for descriptor, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [program, *arguments]
    try:
        runpy.run_path(str(PROJECT / program), run_name="__main__")
    finally:
        atexit._run_exitfuncs()

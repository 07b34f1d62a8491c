"""Small data and settings that tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# As main.py does; threads that wait for each other by spinning make a busy machine far slower.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# Commands leave signals ignored that were; a suite that runs in the background, or under nohup, still sends them.
for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

import numpy as np
import pytest
from hypothesis import settings

from lib_unlearning.dataset import Dataset
from lib_unlearning.posterior import PosteriorSet

# The same examples in every run: a suite that passed must pass again. New examples are sought by
# hand, with `pytest --hypothesis-profile=default`.
settings.register_profile("suite", derandomize=True)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the key of the model cache out of the home folder, and lines as long as they are."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def dataset() -> Dataset:
    """600 records, 4 features, 3 classes; class 2 has ten records only."""
    rng = np.random.default_rng(7)
    labels = np.repeat([0, 1, 2], [300, 290, 10])
    features = (rng.normal(size=(600, 4)) + labels[:, None]).astype(np.float32)
    return Dataset("toy", "class", features, labels, 3, "0" * 64)


@pytest.fixture
def three_cases() -> PosteriorSet:
    """Three cases of three classes with posteriors that are easy to compute with."""
    return PosteriorSet(
        original=np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]]),
        unlearned=np.array([[0.4, 0.4, 0.2], [0.6, 0.3, 0.1], [0.3, 0.1, 0.6]]),
        member=np.array([1, 0, 1]),
        record=np.array([10, 11, 12]),
        label=np.array([1, 0, 2]),
        set=np.array([0, 0, 1]),
        request=np.array([0, 0, 0]),
    )

"""Pictures for networks."""

from __future__ import annotations

import numpy as np
import pytest

from lib_unlearning.dataset import Dataset


@pytest.fixture
def pictures() -> Dataset:
    """200 pictures of 3 x 12 x 12 whose brightness tells their class."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    pixels = (rng.integers(0, 120, (200, 3, 12, 12)) + 30 * labels[:, None, None, None]).astype(np.uint8)
    half = np.full(3, 0.5, dtype=np.float32)
    return Dataset("toy", "class", pixels, labels, 4, "0" * 64, (half, half))

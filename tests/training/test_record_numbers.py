"""Sets of record numbers, by a table or by sorting: what numpy says of them."""

from __future__ import annotations

import numpy as np
import pytest

from lib_unlearning.record_numbers import among, distinct


@pytest.mark.parametrize("highest", [5, 5000, 10**12])
@pytest.mark.parametrize("count", [0, 1, 300])
def test_they_are_numpys(highest: int, count: int) -> None:
    rng = np.random.default_rng(0)
    records, others = rng.integers(0, highest, 200), rng.integers(0, highest, count)
    np.testing.assert_array_equal(among(records, others), np.isin(records, others))
    np.testing.assert_array_equal(among(others, records), np.isin(others, records))
    np.testing.assert_array_equal(distinct(others), np.unique(others))

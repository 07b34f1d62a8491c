"""How far the unlearned model's answers lie from those of a retrained one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib_unlearning.attacks.still_there import total_variation
from lib_unlearning.posterior import PosteriorSet


def test_distance_to_retrained_by_hand(three_cases: PosteriorSet) -> None:
    """Of the deleted alone: cases 0 and 2."""
    retrained = replace(three_cases, unlearned=three_cases.original)
    assert total_variation(three_cases, three_cases) == 0
    expected = ((0.2 + 0.1 + 0.1) / 2 + (0.2 + 0.0 + 0.2) / 2) / 2
    assert total_variation(three_cases, retrained) == pytest.approx(expected)

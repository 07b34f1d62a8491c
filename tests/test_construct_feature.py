"""Features and defenses against numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lib_unlearning.construct_feature import FEATURES
from lib_unlearning.defense import defend, top_k
from lib_unlearning.posterior import PosteriorSet

EXPECTED: dict[str, list[list[float]]] = {
    "direct_diff": [[-0.2, 0.1, 0.1], [0, 0, 0], [-0.2, 0, 0.2]],
    "sorted_diff": [[0.1, 0.1, -0.2], [0, 0, 0], [0.2, -0.2, 0]],
    "direct_concat": [[0.2, 0.5, 0.3, 0.4, 0.4, 0.2], [0.6, 0.3, 0.1, 0.6, 0.3, 0.1], [0.1, 0.1, 0.8, 0.3, 0.1, 0.6]],
    "sorted_concat": [[0.5, 0.3, 0.2, 0.4, 0.2, 0.4], [0.6, 0.3, 0.1, 0.6, 0.3, 0.1], [0.8, 0.1, 0.1, 0.6, 0.3, 0.1]],
    "l2_distance": [[math.sqrt(0.06)], [0], [math.sqrt(0.08)]],
    "basic_mia": [[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]],
    "label_diff": [[0.1, math.sqrt(0.06)], [0, 0], [0.2, math.sqrt(0.08)]],
    "label_logit": [
        [0, math.log(2 / 3), math.log(3 / 2), 0.5, 0.4, 0.1, math.sqrt(0.06)],
        [math.log(1.5), math.log(1.5), 0, 0.6, 0.6, 0, 0],
        [math.log(4), math.log(1.5), math.log(4 / 1.5), 0.8, 0.6, 0.2, math.sqrt(0.08)],
    ],
}


def test_every_feature_has_an_expected_value() -> None:
    assert EXPECTED.keys() == FEATURES.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_feature(name: str, three_cases: PosteriorSet) -> None:
    np.testing.assert_allclose(FEATURES[name](three_cases), EXPECTED[name], atol=1e-9)


@pytest.mark.parametrize("name", EXPECTED)
def test_features_of_certain_posteriors_are_finite(name: str, three_cases: PosteriorSet) -> None:
    assert np.isfinite(FEATURES[name](defend(three_cases, 0))).all()


@pytest.mark.parametrize(
    ("k", "expected"),
    [(0, [0, 0.0, 1, 0]), (1, [0.2, 0.2, 0.4, 0.2]), (2, [0.15, 0.3, 0.4, 0.15]), (3, [0.2, 0.3, 0.4, 0.1])],
)
def test_top_k(k: int, expected: list[float]) -> None:
    np.testing.assert_allclose(top_k(np.array([[0.2, 0.3, 0.4, 0.1]]), k), [expected])


def test_top_k_of_equal_entries_keeps_the_first_class() -> None:
    np.testing.assert_array_equal(top_k(np.array([[0.5, 0.5]]), 0), [[1, 0]])


def test_no_feature_sees_past_a_defense(three_cases: PosteriorSet) -> None:
    """Two posteriors with the same published labels are the same to every feature, the classical one included."""
    published = defend(three_cases, 0)
    blurred = PosteriorSet(**{**vars(three_cases), "original": published.original, "unlearned": published.unlearned})
    for feature in FEATURES.values():
        np.testing.assert_array_equal(feature(published), feature(blurred))
    assert set(np.unique(FEATURES["basic_mia"](published))) == {0.0, 1.0}

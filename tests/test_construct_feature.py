"""Features and defenses against numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lib_unlearning.construct_feature import FEATURES
from lib_unlearning.defense import Publication, soften, top_k
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
    # Of a regression: the first column is the prediction, the label 1, 0, 2 the truth.
    "residuals": [[-0.8, -0.6, 0.8, 0.6, -0.2, -0.2], [0.6, 0.6, 0.6, 0.6, 0, 0], [-1.9, -1.7, 1.9, 1.7, -0.2, -0.2]],
}


def test_every_feature_has_an_expected_value() -> None:
    assert EXPECTED.keys() == FEATURES.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_feature(name: str, three_cases: PosteriorSet) -> None:
    np.testing.assert_allclose(FEATURES[name](three_cases), EXPECTED[name], atol=1e-9)


@pytest.mark.parametrize("name", EXPECTED)
def test_features_of_certain_posteriors_are_finite(name: str, three_cases: PosteriorSet) -> None:
    assert np.isfinite(FEATURES[name](Publication(0, None).of_cases(three_cases))).all()


@pytest.mark.parametrize(
    ("k", "expected"),
    [(0, [0, 0.0, 1, 0]), (1, [0.2, 0.2, 0.4, 0.2]), (2, [0.15, 0.3, 0.4, 0.15]), (3, [0.2, 0.3, 0.4, 0.1])],
)
def test_top_k(k: int, expected: list[float]) -> None:
    np.testing.assert_allclose(top_k(np.array([[0.2, 0.3, 0.4, 0.1]]), k), [expected])


def test_temperature() -> None:
    posteriors = np.array([[0.8, 0.2, 0.0], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(soften(posteriors, 1.0), posteriors)
    np.testing.assert_allclose(soften(posteriors, 2.0)[0], [2 / 3, 1 / 3, 0])  # square roots: 2 to 1
    np.testing.assert_allclose(soften(posteriors, 0.5)[0], [16 / 17, 1 / 17, 0])
    np.testing.assert_allclose(soften(posteriors, 1e6)[0, :2], [0.5, 0.5], atol=1e-5)


def test_defenses_reach_both_models(three_cases: PosteriorSet) -> None:
    seen = Publication(1, 2.0).of_cases(three_cases)
    for name in ("original", "unlearned"):
        np.testing.assert_allclose(getattr(seen, name), top_k(soften(getattr(three_cases, name), 2.0), 1))


def test_top_k_of_equal_entries_keeps_the_first_class() -> None:
    np.testing.assert_array_equal(top_k(np.array([[0.5, 0.5]]), 0), [[1, 0]])


def test_no_feature_sees_past_a_defense(three_cases: PosteriorSet) -> None:
    """Two posteriors with the same published labels are the same to every feature, the classical one included."""
    published = Publication(0, None).of_cases(three_cases)
    blurred = PosteriorSet(**{**vars(three_cases), "original": published.original, "unlearned": published.unlearned})
    for feature in FEATURES.values():
        np.testing.assert_array_equal(feature(published), feature(blurred))
    assert set(np.unique(FEATURES["basic_mia"](published))) == {0.0, 1.0}

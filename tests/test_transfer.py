"""Attacks that learn on other data: no shared record, no class that means the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import models
from lib_unlearning.attacks.still_there import attack_alone
from lib_unlearning.construct_feature import CLASS_BOUND, FEATURES
from lib_unlearning.dataset import Dataset, records_found_in
from lib_unlearning.errors import UserError
from lib_unlearning.posterior import PosteriorSet, in_order_of_original, in_order_of_unlearned
from lib_unlearning.record_split import draw_split, side_records
from lib_unlearning.study import open_study
from lib_unlearning.unlearning.registry import UNLEARNING_METHODS
from parameter_parser import parse_settings


def test_order_of_the_original_by_hand(three_cases: PosteriorSet) -> None:
    ordered = in_order_of_original(three_cases)
    np.testing.assert_allclose(ordered.original[0], [0.5, 0.3, 0.2])
    np.testing.assert_allclose(ordered.unlearned[0], [0.4, 0.2, 0.4])
    np.testing.assert_array_equal(ordered.label, [0, 0, 0])  # each case's true class has the largest posterior


def test_features_of_ordered_cases_forget_what_classes_were_called(three_cases: PosteriorSet) -> None:
    """Renaming the classes changes no feature but those left out of transfer between data sets."""
    renamed = replace(
        three_cases,
        original=three_cases.original[:, [2, 0, 1]],
        unlearned=three_cases.unlearned[:, [2, 0, 1]],
        label=np.array([1, 2, 0])[three_cases.label],
    )
    for name, feature in FEATURES.items():
        np.testing.assert_allclose(feature(in_order_of_original(renamed)), feature(in_order_of_original(three_cases)))
        if name in CLASS_BOUND:
            assert not np.allclose(feature(renamed), feature(three_cases))


def test_the_unlearned_model_alone_tells_nothing_of_the_original() -> None:
    """Its answers are drawn without a look at who was deleted; the original's, which give that away, order nothing."""
    rng, count = np.random.default_rng(0), 400
    member, label = np.tile([1, 0], count // 2), rng.integers(0, 4, count)
    sure = 0.9 * np.eye(4)[label] + 0.025
    original = np.where(member[:, None] == 1, sure, rng.dirichlet(np.ones(4), count))
    rest = np.arange(count), label, np.arange(count) // 40, np.arange(count) % 20
    cases = PosteriorSet(original, rng.dirichlet(np.ones(4), count), member, *rest)
    sides = {
        order: {
            "shadow": order(cases.select(cases.set % 2 == 0)),
            "target": order(cases.select(cases.set % 2 == 1)),
        }
        for order in (in_order_of_original, in_order_of_unlearned)
    }
    assert attack_alone(sides[in_order_of_original], "RF", 0, 0.0).value > 0.65
    found = attack_alone(sides[in_order_of_unlearned], "RF", 0, 0.0)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.5 < found.high


def test_records_found_in(dataset: Dataset) -> None:
    other = replace(dataset, features=np.concatenate([dataset.features[100:110] + 1, dataset.features[40:50]]))
    np.testing.assert_array_equal(records_found_in(dataset, other, np.arange(10)), [])
    np.testing.assert_array_equal(records_found_in(dataset, other, np.arange(12)), [40, 41])
    images = replace(dataset, features=np.zeros((5, 1, 2, 2), dtype=np.uint8))
    assert len(records_found_in(dataset, images, np.arange(5))) == 0


@pytest.fixture
def two_datasets(dataset: Dataset) -> dict[str, Dataset]:
    """A shadow data set that consists of records of the target's."""
    return {"target": dataset, "shadow": replace(dataset, features=dataset.features[:400], labels=dataset.labels[:400])}


def test_a_shadow_side_of_other_data_has_no_record_of_the_target_side(two_datasets: dict[str, Dataset]) -> None:
    sizes = "--shadow_set_num=2 --target_set_num=2 --shadow_set_size=50 --target_set_size=50"
    flags = [*sizes.split(), "--shadow_unlearning_size=3", "--target_unlearning_size=3"]
    settings = parse_settings(["--exp=mem_inf", "--dataset_name=location", "--shadow_original_label=synthetic", *flags])
    study = open_study(settings, two_datasets, models.TARGET_MODELS, UNLEARNING_METHODS)
    shadow, target = (study.split[side] for side in ("shadow", "target"))
    everyone = np.concatenate([shadow.positive, shadow.negative, shadow.replacement])
    assert len(everyone) > 50
    assert not np.isin(everyone, side_records(600, "target", 0)).any()
    # The target side is the one of an attack without transfer: its models are reused.
    alone = draw_split(600, settings.sides, 0)["target"]
    np.testing.assert_array_equal(target.sample_sets[0].records, alone.sample_sets[0].records)


def test_settings_of_the_shadow_side() -> None:
    settings = parse_settings(["--exp=mem_inf", "--original_model=LR"])
    assert settings.origins["shadow"] == settings.origins["target"]
    assert not settings.other_data
    settings = parse_settings(["--exp=mem_inf", "--shadow_dataset_name=accident", "--shadow_original_model=RF"])
    assert settings.other_data
    assert settings.origins["shadow"].names == {
        "dataset_name": "accident",
        "original_label": "severity",
        "original_model": "RF",
    }
    with pytest.raises(UserError, match=r"--shadow_original_label income: location has"):
        parse_settings(["--exp=mem_inf", "--shadow_dataset_name=location", "--shadow_original_label=income"])

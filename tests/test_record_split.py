"""Splits and evaluation cases: disjoint, sized, and dependent on nothing but seed and position."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib_unlearning.errors import UserError
from lib_unlearning.evaluation_cases import SAMPLES_TO_EVALUATE, evaluation_cases
from lib_unlearning.record_split import (
    SIDES,
    SideSettings,
    check_replacements,
    draw_split,
    load_split,
    save_split,
    suitable_size,
)

SMALL = SideSettings(set_num=3, set_size=50, unlearning_size=4, unlearning_num=3)


@settings(max_examples=60, deadline=None)
@given(
    num_records=st.integers(200, 2000),
    set_num=st.integers(1, 4),
    set_size=st.integers(2, 80),
    unlearning_size=st.integers(1, 30),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_pools_and_sets_are_disjoint_and_sized(
    num_records: int, set_num: int, set_size: int, unlearning_size: int, seed: int, data: st.DataObject
) -> None:
    unlearning_num = data.draw(st.integers(1, min(set_size - 1, 3)))
    asked = SideSettings(set_num, set_size, unlearning_size, unlearning_num)
    split = draw_split(num_records, {"shadow": asked, "target": asked}, seed)
    pools = [pool for side in split.values() for pool in (side.positive, side.negative, side.replacement)]
    everyone = np.concatenate(pools)
    assert sorted(everyone) == list(range(num_records))
    for side in split.values():
        assert abs(len(side.positive) / num_records - 0.4) < 0.01
        assert len(side.sample_sets) == set_num
        for sample_set in side.sample_sets:
            assert len(set(sample_set.records)) == set_size
            assert set(sample_set.records) <= set(side.positive)
            for requests, pool in (
                (sample_set.requests, sample_set.records),
                (sample_set.replacements, side.replacement),
            ):
                assert requests.shape == (unlearning_size, unlearning_num)
                assert all(len(set(request)) == unlearning_num for request in requests)
                assert set(requests.ravel()) <= set(pool)


@pytest.mark.parametrize("name", SAMPLES_TO_EVALUATE)
@pytest.mark.parametrize("placebo", [False, True])
def test_cases_are_what_they_claim(name: str, placebo: bool) -> None:
    split = draw_split(1000, dict.fromkeys(SIDES, SMALL), 0)["target"]
    sample_set = split.sample_sets[1]
    rule = SAMPLES_TO_EVALUATE[name].positives
    cases = evaluation_cases(sample_set, split.negative, rule, 0, "target", 1, placebo)
    negatives = cases.record[cases.member == 0]
    assert set(negatives) <= set(split.negative)
    assert len(set(negatives)) == len(negatives)
    assert (cases.member.mean(), len(cases.record)) == (0.5, 24 if name in ("in_out", "online_learning") else 8)
    for record, request in zip(cases.record[cases.member == 1], cases.request[cases.member == 1], strict=True):
        in_set, deleted = record in sample_set.records, record in sample_set.requests[request]
        assert (in_set, deleted) == (not placebo, not placebo and name != "in_in")
    if placebo:
        assert len(set(cases.record)) == len(cases.record)


def test_more_sets_leave_the_first_ones_as_they_were() -> None:
    few = draw_split(1000, dict.fromkeys(SIDES, SMALL), 5)
    many = draw_split(1000, dict.fromkeys(SIDES, SideSettings(6, 50, 4, 3)), 5)
    for side in SIDES:
        for before, after in zip(few[side].sample_sets, many[side].sample_sets, strict=False):
            assert before.digest() == after.digest()


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (SideSettings(1, 500, 1, 1), "--target_set_size 500: the target positive pool holds 400"),
        (SideSettings(1, 400, 1, 90), "--target_unlearning_num 90: the target negative pool holds 85"),
    ],
)
def test_asking_for_too_much_names_pool_and_flag(asked: SideSettings, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        draw_split(1000, {"shadow": SMALL, "target": asked}, 0)


def test_a_small_pool_of_replacements_is_in_the_way_of_online_learning_only() -> None:
    asked = SideSettings(1, 400, 3, 20)
    split = draw_split(1000, {"shadow": SMALL, "target": asked}, 0)["target"]
    assert split.sample_sets[0].replacements.shape == (3, 0)
    with pytest.raises(UserError, match="--target_unlearning_num 20: the target replacement pool holds 15"):
        check_replacements("target", asked, split)


@pytest.mark.parametrize(("records", "size"), [(20, 8), (60, 20), (178, 20), (600, 40), (100_000, 2000)])
def test_automatic_sizes_fit_their_pool(records: int, size: int) -> None:
    assert suitable_size(records) == size
    draw_split(records, dict.fromkeys(SIDES, SideSettings(2, size, 2, 1)), 0)


def test_saved_split_is_the_same(tmp_path: Path) -> None:
    split = draw_split(1000, dict.fromkeys(SIDES, SMALL), 0)
    save_split(tmp_path / "split.npz", split)
    again = load_split(tmp_path / "split.npz")
    for side in SIDES:
        np.testing.assert_array_equal(split[side].negative, again[side].negative)
        assert [part.digest() for part in split[side].sample_sets] == [
            part.digest() for part in again[side].sample_sets
        ]


def test_damaged_split_is_named(tmp_path: Path) -> None:
    path = tmp_path / "split.npz"
    save_split(path, draw_split(1000, dict.fromkeys(SIDES, SMALL), 0))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"split\.npz cannot be read"):
        load_split(path)

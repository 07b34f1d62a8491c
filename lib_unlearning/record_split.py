"""Who holds which records: pools, sample sets and deletion requests, as indices (paper section 4.2).

Everything here is a pure function of the number of records, the settings and the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib_unlearning.cache.arrays import read_arrays, write_arrays
from lib_unlearning.cache.files import digest, digest_arrays
from lib_unlearning.errors import UserError
from lib_unlearning.seeds import spawn

SIDES = ("shadow", "target")
# Of all records, of a side's, of its strangers.
_SHADOW_SHARE = 0.5
_POSITIVE_SHARE = 0.8
_REPLACEMENT_SHARE = 0.15
_USUAL_SET, _SMALLEST_SET = 2000, 20


@dataclass(frozen=True)
class SideSettings:
    """How many records one side (shadow or target) draws; no `set_size` leaves it to the size of the data set."""

    set_num: int
    set_size: int | None
    unlearning_size: int
    unlearning_num: int

    @property
    def cases(self) -> int:
        """Deleted records, and as many strangers, that models are asked about."""
        return 2 * self.set_num * self.unlearning_size * self.unlearning_num


@dataclass(frozen=True)
class SampleSet:
    """The training records of one original model and what is done to them.

    Attributes:
        records: [set_size] training records.
        requests: [unlearning_size, unlearning_num] records to delete, one row per deletion request.
        replacements: [unlearning_size, unlearning_num] new records that online learning adds in their place;
            [unlearning_size, 0] where the pool holds too few of them.
    """

    records: np.ndarray
    requests: np.ndarray
    replacements: np.ndarray

    def digest(self) -> str:
        """Hex SHA-256 of all indices."""
        return digest_arrays(self.records, self.requests, self.replacements)


@dataclass(frozen=True)
class SideSplit:
    """The records of one side: three disjoint pools and the sample sets drawn from the positive one."""

    positive: np.ndarray
    negative: np.ndarray
    replacement: np.ndarray
    sample_sets: list[SampleSet]

    def digest(self) -> str:
        """Hex SHA-256 of all indices."""
        return digest(
            [digest_arrays(self.positive, self.negative, self.replacement), *map(SampleSet.digest, self.sample_sets)]
        )


def mean_overlap(sample_sets: Sequence[SampleSet]) -> float:
    """Mean share of records that two of the sample sets have in common; 0 for a single one."""
    if len(sample_sets) < 2:
        return 0.0
    counts = np.unique(np.concatenate([part.records for part in sample_sets]), return_counts=True)[1]
    pairs = len(sample_sets) * (len(sample_sets) - 1)
    return float((counts * (counts - 1)).sum() / (pairs * len(sample_sets[0].records)))


def most_records(num_records: int) -> int:
    """Records that a sample set may hold at most: those of a side that are no strangers."""
    return int(int(num_records * _SHADOW_SHARE) * _POSITIVE_SHARE)


def suitable_size(num_records: int) -> int:
    """Records a sample set for a data set of `num_records`: 2,000, or so few that two sets share about a sixth, but 20
    at the least, as far as there are so many."""
    pool = most_records(num_records)
    return max(min(_SMALLEST_SET, pool), min(_USUAL_SET, pool // 6))


def draw_without_replacement(
    pool: np.ndarray, count: int, generator: Callable[[int], np.random.Generator]
) -> np.ndarray:
    """Draw `count` records [count] from a pool [n], no record twice before the pool is used up.

    `generator(round)` gives the generator that shuffles the pool for each round through it.
    """
    rounds = -(-count // len(pool))
    return np.concatenate([generator(index).permutation(pool) for index in range(rounds)])[:count]


def draw_split(num_records: int, settings: dict[str, SideSettings], seed: int) -> dict[str, SideSplit]:
    """Divide all records of one data set between shadow and target side and draw both sides' sample sets.

    Args:
        num_records: N.
        settings: side -> what it draws.
        seed: the run's seed.

    Returns:
        side -> its split; the two share no record.

    Raises:
        UserError: a side asks for more records than its pools hold.
    """
    return {side: draw_side(side_records(num_records, side, seed), side, settings[side], seed) for side in SIDES}


def side_records(num_records: int, side: str, seed: int) -> np.ndarray:
    """The half [N / 2] of a data set's records that a side works with, shuffled."""
    shuffled = spawn(seed, "split").permutation(num_records)
    boundary = int(num_records * _SHADOW_SHARE)
    return shuffled[:boundary] if side == "shadow" else shuffled[boundary:]


def draw_side(records: np.ndarray, side: str, settings: SideSettings, seed: int) -> SideSplit:
    """Cut a side's records [n] into pools and draw its sample sets; raises `UserError` when a pool is too small."""
    num_positive = int(len(records) * _POSITIVE_SHARE)
    assert settings.set_size is not None
    positive, stranger = records[:num_positive], records[num_positive:]
    num_replacement = int(len(stranger) * _REPLACEMENT_SHARE)
    replacement, negative = stranger[:num_replacement], stranger[num_replacement:]
    _check_pools(side, settings, positive, negative)
    sets = [_draw_set(side, index, settings, positive, replacement, seed) for index in range(settings.set_num)]
    return SideSplit(positive, negative, replacement, sets)


def _check_pools(side: str, settings: SideSettings, positive: np.ndarray, negative: np.ndarray) -> None:
    complaints = []
    if (settings.set_size or 0) > len(positive):
        complaints.append(
            f"--{side}_set_size {settings.set_size}: the {side} positive pool holds {len(positive)} records; "
            f"lower --{side}_set_size"
        )
    if settings.unlearning_num > len(negative):
        complaints.append(_too_few(side, settings.unlearning_num, "negative", len(negative)))
    if complaints:
        raise UserError("; ".join(complaints))


def check_replacements(side: str, settings: SideSettings, split: SideSplit) -> None:
    """Raise `UserError` where online learning finds fewer new records than a request deletes."""
    if settings.unlearning_num > len(split.replacement):
        raise UserError(_too_few(side, settings.unlearning_num, "replacement", len(split.replacement)))


def _too_few(side: str, wanted: int, pool: str, held: int) -> str:
    mend = f"lower --{side}_unlearning_num" if wanted > 1 and held else "the data set is too small for it"
    return f"--{side}_unlearning_num {wanted}: the {side} {pool} pool holds {held} records; {mend}"


def _draw_set(
    side: str, index: int, settings: SideSettings, positive: np.ndarray, replacement: np.ndarray, seed: int
) -> SampleSet:
    records = spawn(seed, side, index, "records").choice(positive, settings.set_size or 0, replace=False)
    shape = (settings.unlearning_size, settings.unlearning_num)
    return SampleSet(
        records=records,
        requests=_draw_groups(records, shape, seed, side, index, "requests"),
        replacements=(
            _draw_groups(replacement, shape, seed, side, index, "replacements")
            if len(replacement) >= settings.unlearning_num
            else np.zeros((settings.unlearning_size, 0), dtype=replacement.dtype)
        ),
    )


def _draw_groups(pool: np.ndarray, shape: tuple[int, int], seed: int, *purpose: str | int) -> np.ndarray:
    """Groups [shape] of distinct records; groups are disjoint as long as the pool lasts."""
    count, size = shape
    usable = len(pool) // size * size
    per_round = usable // size
    rounds = -(-count // per_round)
    groups = [
        spawn(seed, *purpose, size, number).permutation(pool)[:usable].reshape(per_round, size)
        for number in range(rounds)
    ]
    return np.concatenate(groups)[:count]


def save_split(path: Path, split: dict[str, SideSplit]) -> None:
    """Write a split as one npz file."""
    arrays = {}
    for side, part in split.items():
        for pool in ("positive", "negative", "replacement"):
            arrays[f"{side}_{pool}"] = getattr(part, pool)
        for field in ("records", "requests", "replacements"):
            arrays[f"{side}_{field}"] = np.stack([getattr(sample_set, field) for sample_set in part.sample_sets])
    write_arrays(path, arrays)


def load_split(path: Path) -> dict[str, SideSplit]:
    """Read a split that `save_split` wrote, whoever ran it: the caller holds it against what he would draw.

    Raises:
        UserError: the file is missing or damaged.
    """
    arrays = read_arrays(path, trust=True)
    try:
        return {side: _assemble(arrays, side) for side in SIDES}
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is no saved split (lacks {error}); run once with --is_sample true") from error


def _assemble(arrays: dict[str, np.ndarray], side: str) -> SideSplit:
    fields = (arrays[f"{side}_{field}"] for field in ("records", "requests", "replacements"))
    sets = [SampleSet(*parts) for parts in zip(*fields, strict=True)]
    pools = {pool: arrays[f"{side}_{pool}"] for pool in ("positive", "negative", "replacement")}
    return SideSplit(**pools, sample_sets=sets)

"""Random numbers that belong to a record: taking one record away changes nobody else's.

A generator hands out numbers in sequence, so a deleted record would shift those of all that follow, and two trainings
would differ by more than the deletion. Here a number is a hash of its seed and the record (SplitMix64's finaliser), the
same on every device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lib_unlearning.seeds import seed_sequence

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


# Values are int64 arrays of numpy or tensors of torch, which share these operators; their products wrap around.


def scramble(values: Any) -> Any:
    """Well mixed 64-bit integers, of the shape and kind of `values`."""
    mixed = (values ^ _shifted(values, 30)) * _FIRST
    mixed = (mixed ^ _shifted(mixed, 27)) * _SECOND
    return mixed ^ _shifted(mixed, 31)


def _shifted(values: Any, bits: int) -> Any:
    """A shift to the right that ignores the sign."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


def keys_of(base: Any, numbers: Any) -> Any:
    """A 64-bit integer for each of `numbers` under a base key; bases and numbers broadcast."""
    return scramble(base + (numbers + 1) * _GOLDEN)


def base_key(seed: int, *purpose: str | int) -> int:
    """The base key of one purpose, as a signed 64-bit integer."""
    return int(seed_sequence(seed, *purpose).generate_state(1, np.uint64).view(np.int64)[0])


def record_order(seed: int, epoch: int, records: np.ndarray) -> np.ndarray:
    """The order [n] in which an epoch visits a model's records [n], as positions in `records`."""
    return np.argsort(keys_of(base_key(seed, "order", epoch), records.astype(np.int64)), kind="stable")

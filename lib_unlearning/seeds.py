"""Random generators that belong to a purpose: no choice depends on how many others were made before it."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_sequence(seed: int, *purpose: str | int) -> np.random.SeedSequence:
    """Seed sequence of one purpose, e.g. ("target", set_index, "requests")."""
    key = [
        int.from_bytes(hashlib.sha256(part.encode()).digest()[:4], "little") if isinstance(part, str) else part
        for part in purpose
    ]
    return np.random.SeedSequence(seed, spawn_key=key)


def spawn(seed: int, *purpose: str | int) -> np.random.Generator:
    """Random generator of one purpose (see `seed_sequence`)."""
    return np.random.default_rng(seed_sequence(seed, *purpose))


def integer_seed(seed: int, *purpose: str | int) -> int:
    """A 32-bit seed for libraries that want an integer."""
    return int(seed_sequence(seed, *purpose).generate_state(1)[0])

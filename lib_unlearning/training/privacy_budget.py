"""What DP-SGD draws and spends: its schedule, its sources of randomness, noise for a budget, Opacus' accounting."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from opacus.accountants import create_accountant

from lib_unlearning.cache.files import digest_arrays
from lib_unlearning.errors import UserError, error_text
from lib_unlearning.seeds import integer_seed
from lib_unlearning.training.tasks import Privacy, TrainingSettings, TrainingTask

_NO_NOISE = 1e-6  # below, accountants search long for a bound that says nothing


@dataclass(frozen=True)
class Plan:
    """How one network is trained.

    Attributes:
        rate: share of the records a step. steps: an epoch. expected: records a step.
        sigma: noise multiplier. epsilon: that all epochs spend.
    """

    rate: float
    steps: int
    expected: int
    sigma: float
    epsilon: float

    @staticmethod
    def of(count: int, settings: TrainingSettings, privacy: Privacy) -> Plan:
        """For `count` records; raises `UserError` when delta or budget make no sense."""
        rate, steps = schedule(count, settings, privacy)
        check_delta(count, privacy)
        sigma = noise_for(privacy, rate, steps * settings.num_epochs)
        epsilon = spent_epsilon(privacy, sigma, rate, steps * settings.num_epochs)
        return Plan(rate, steps, max(1, round(rate * count)), sigma, epsilon)


def schedule(count: int, settings: TrainingSettings, privacy: Privacy) -> tuple[float, int]:
    """Share of `count` records a step, as asked for or batch_size / count, and steps an epoch."""
    rate = privacy.sample_rate if privacy.sample_rate is not None else min(1.0, settings.batch_size / count)
    return rate, max(1, round(1 / rate))


def check_delta(count: int, privacy: Privacy) -> None:
    """Refuse a delta that a mechanism which publishes one record outright would satisfy."""
    if privacy.delta >= 1 / count:
        raise UserError(
            f"--delta {privacy.delta:g}: must be below 1 / {count}, the number of training records; at that delta, "
            "publishing a record at random counts as private"
        )


@lru_cache(maxsize=64)
def spent_epsilon(privacy: Privacy, sigma: float, rate: float, steps: int) -> float:
    """Epsilon of all steps at the privacy's delta, at least 0; infinite where the accountant finds no bound."""
    if sigma < _NO_NOISE:
        return math.inf
    accountant = create_accountant(privacy.accountant)
    accountant.history = [(sigma, rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the range of orders
        try:
            found = float(accountant.get_epsilon(privacy.delta))
        except (ArithmeticError, ValueError, RuntimeError, MemoryError):
            return math.inf  # so little noise that the accountant gives up
    return max(0.0, found) if not math.isnan(found) else math.inf


@lru_cache(maxsize=64)
def noise_for(privacy: Privacy, rate: float, steps: int) -> float:
    """Sigma as given, or the least that meets the budget; searched once a process for equal rates and steps."""
    if privacy.target_epsilon is None:
        return privacy.sigma
    from opacus.accountants.utils import get_noise_multiplier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return float(
                get_noise_multiplier(
                    target_epsilon=privacy.target_epsilon,
                    target_delta=privacy.delta,
                    sample_rate=rate,
                    steps=steps,
                    accountant=privacy.accountant,
                )
            )
        except ValueError as error:
            raise UserError(
                f"--target_epsilon {privacy.target_epsilon:g}: {error_text(error)}; raise it, or train less"
            ) from error


def randomness(privacy: Privacy, task: TrainingTask, device: str) -> tuple[torch.Generator, torch.Generator]:
    """Where a task's batches and its noise are drawn from: its seed and its set of records, so that no two sets share.

    Raises:
        UserError: a secure generator was asked for and is not installed.
    """
    own = digest_arrays(np.sort(task.records))
    sampling = torch.Generator().manual_seed(integer_seed(task.seed, "sampling", own))
    return sampling, _noise(privacy, integer_seed(task.seed, "noise", own), device)


def _noise(privacy: Privacy, seed: int, device: str) -> torch.Generator:
    if not privacy.secure_rng:
        return torch.Generator(device).manual_seed(seed)
    try:
        import torchcsprng
    except ImportError as error:
        raise UserError(
            "--secure_rng true needs the package torchcsprng, which is not installed; leave it out"
        ) from error
    generator: torch.Generator = torchcsprng.create_random_device_generator("/dev/urandom")
    return generator

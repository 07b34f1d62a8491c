"""What an attack shows of single records, and of the mechanism: who stands out, and the deletion's epsilon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lib_unlearning.posterior import PosteriorSet
from lib_unlearning.statistics.privacy import (
    EpsilonBound,
    can_discover,
    epsilon_bound,
    exposed_by,
    halves,
    one_of_each,
    one_run_epsilon,
)


@dataclass(frozen=True)
class Exposure:
    """What one attack shows of single records, and of the mechanism.

    Attributes:
        exposed: [m] cases that stand out from the adversary's own strangers at a false discovery rate of 5 %; none
            where the target's strangers show that the rate is not kept.
        epsilon, one_run: lower bounds on the deletion's epsilon, of a rule and of the surest guesses; of each record
            one case counts.
        own_strangers: how many of these there were.
        wrong: strangers among the cases that would stand out, and how many these would be, where the rate is not kept.
    """

    exposed: np.ndarray
    epsilon: EpsilonBound
    one_run: EpsilonBound
    own_strangers: int
    wrong: tuple[int, int] | None = None

    def may_name(self, member: np.ndarray) -> bool:
        """Whether single records can be judged at all."""
        return self.wrong is None and (
            bool(self.exposed.any()) or can_discover(self.own_strangers, int((member == 1).sum()), len(member))
        )

    def columns(self, member: np.ndarray) -> dict[str, Any]:
        """Columns of a result row (see `EXPOSURE`); numbers of cases are None where none may be named."""
        counts = [found if self.may_name(member) else None for found, _ in exposed_counts(self.exposed, member)]
        return dict(
            zip(EXPOSURE, (round(self.epsilon.epsilon, 4), round(self.one_run.epsilon, 4), *counts), strict=True)
        )


def exposed_counts(exposed: np.ndarray, member: np.ndarray) -> list[tuple[int, int]]:
    """How many deleted records, then how many strangers stand out, and of how many."""
    return [(int((exposed & (member == kind)).sum()), int((member == kind).sum())) for kind in (1, 0)]


def exposure(scores: np.ndarray, cases: PosteriorSet, strangers: np.ndarray) -> Exposure:
    """What scores [m] of target cases show, beside those of the adversary's own strangers [n]."""
    exposed, wrong = exposed_by(scores, strangers, cases.member)
    once = one_of_each(cases.record, cases.member)
    chosen_on = halves(cases.set, cases.request)[once]
    return Exposure(
        exposed,
        epsilon_bound(scores[once], cases.member[once], chosen_on),
        one_run_epsilon(scores[once], cases.member[once], chosen_on),
        len(strangers),
        wrong,
    )


# Columns of `Exposure`.
EXPOSURE = ("empirical_epsilon", "one_run_epsilon", "exposed_deleted", "exposed_strangers")

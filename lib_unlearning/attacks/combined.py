"""Everything that today's adversary sees of a case, in one classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lib_unlearning.attack import CLASSES, OWN_MODELS, POSTERIORS, Joined, KnownLabel, LearnedAttack, View
from lib_unlearning.attacks.probes import ProbeGradient, ProbeMatched, ProbeNewton
from lib_unlearning.attacks.residual_gradient import ResidualGradient, Residuals
from lib_unlearning.attacks.worlds import log_ratios


@dataclass(frozen=True)
class Ratios:
    """Sees the log likelihood ratio of deleted against never trained on, [m, 1], on a scale that no outlier rules."""

    seed: int

    def __call__(self, view: View) -> np.ndarray:
        found: np.ndarray = np.arcsinh(log_ratios(view, self.seed))
        return found[:, None]


class Combined(LearnedAttack):
    """Residual gradient, agreement of probes, likelihood ratio and `label_logit`, as far as the view allows each."""

    name = "combined"
    needs = frozenset({POSTERIORS})

    def applies(self, shadow: View, seed: int) -> bool:
        """There must be something to combine with `label_logit`."""
        return {OWN_MODELS, CLASSES} <= shadow.offers or bool(self._parts(shadow, seed))

    def _parts(self, shadow: View, seed: int) -> list[LearnedAttack]:
        """The attacks that apply."""
        found = [kind(self.attack_model) for kind in (ResidualGradient, ProbeNewton, ProbeMatched, ProbeGradient)]
        return [attack for attack in found if attack.needs <= shadow.offers and attack.applies(shadow, seed)]

    def prepare(self, shadow: View, seed: int) -> Joined:
        """What each part learns on the shadow side."""
        parts: list[Callable[[View], np.ndarray]] = [
            Residuals(seed) if isinstance(attack, ResidualGradient) else attack.prepare(shadow, seed)
            for attack in self._parts(shadow, seed)
        ]
        if {OWN_MODELS, CLASSES} <= shadow.offers:
            parts.append(Ratios(seed))
        return Joined((*parts, KnownLabel()))

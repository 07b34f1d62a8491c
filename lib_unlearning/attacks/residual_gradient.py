"""The residual gradient of a deletion, from answers alone (after Bertran et al., NeurIPS 2024, arXiv 2405.20272).

A model that is linear in its inputs is known from a few answers: centred log posteriors are a linear function of the
record. At the optimum, removing records moves the parameters by the inverse Hessian times the sum of their gradients;
so the Hessian of a public sample times the change of the parameters gives that sum back, and the candidate whose own
gradient explains it was deleted. No shadow model is needed for that; the shadow side only says how well it must fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib_unlearning.attack import BOTH_VERSIONS, Joined, KnownLabel, LearnedAttack, View
from lib_unlearning.attacks.linear import Extraction, is_linear, loss_gradients

_TINY = 1e-12
_HUGE = 1e9  # what a classifier can take


def fit_of(gradients: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """How well each gradient [m, ...] explains a residual [...]: cosine, projections, lengths, [m, 5]."""
    flat, target = gradients.reshape(len(gradients), -1), residual.ravel()
    product, own, total = flat @ target, (flat**2).sum(axis=1), float(target @ target)
    cosine = product / np.sqrt(np.maximum(own * total, _TINY**2))
    scale = product / np.maximum(own, _TINY)
    found: np.ndarray = np.column_stack(
        [cosine, scale, product / max(total, _TINY), np.log(own + _TINY), np.full(len(flat), np.log(total + _TINY))]
    )
    return np.asarray(np.clip(found, -_HUGE, _HUGE))


@dataclass(frozen=True)
class Residuals:
    """Sees how well a candidate's gradient fits what its request left, [m, 5]; the seed chooses the probes."""

    seed: int

    def __call__(self, view: View) -> np.ndarray:
        return np.concatenate([self._of(block) for block in view.blocks()])

    def _of(self, view: View) -> np.ndarray:
        plan = Extraction.plan(view, self.seed)
        fits = np.zeros((len(view.cases), 5))
        for found in plan.versions(view):
            asked = plan.coordinates(view.rows(view.cases.record[found.cases]))
            gradients = loss_gradients(asked, view.cases.label[found.cases], found.before, plan.link)
            fits[found.cases] = fit_of(gradients, plan.left_by(view, found))
        return fits


class ResidualGradient(LearnedAttack):
    """Extracts both versions, and judges candidates by how their gradient explains the change, beside `label_logit`."""

    name = "residual_gradient"
    needs = BOTH_VERSIONS

    def applies(self, shadow: View, seed: int) -> bool:
        """Whether the shadow models are linear in their inputs."""
        return is_linear(shadow, seed)

    def prepare(self, shadow: View, seed: int) -> Joined:
        """Nothing is learned beside the classifier."""
        return Joined((Residuals(seed), KnownLabel()))


class ResidualAlone(ResidualGradient):
    """The same by the gradient's fit alone: what the models' difference says, without the answer to the candidate."""

    name = "residual_alone"

    def prepare(self, shadow: View, seed: int) -> Joined:
        """Nothing is learned beside the classifier."""
        return Joined((Residuals(seed),))

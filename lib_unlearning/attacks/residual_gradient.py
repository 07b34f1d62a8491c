"""The residual gradient of a deletion, from answers alone (after Bertran et al., NeurIPS 2024, arXiv 2405.20272).

A model that is linear in its inputs is known from a few answers: centred log posteriors are a linear function of the
record. At the optimum, removing records moves the parameters by the inverse Hessian times the sum of their gradients;
so the Hessian of a public sample times the change of the parameters gives that sum back, and the candidate whose own
gradient explains it was deleted. No shadow model is needed for that; the shadow side only says how well it must fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lib_unlearning.attack import (
    ASK,
    ATTACK_MODELS,
    ORIGINAL,
    POSTERIORS,
    Attack,
    FittedAttack,
    View,
    positive_probability,
)
from lib_unlearning.construct_feature import label_logit
from lib_unlearning.seeds import integer_seed, spawn

_PROBES_A_PARAMETER = 3  # answers per unknown: more than enough if they are exact, and some redundancy if not
_CHECKED = 50  # answers that must agree with the linear function found from the others
_LINEAR = 1e-3  # largest share of the answers' variance that it may leave unexplained
_TINY = 1e-12


@dataclass(frozen=True)
class Coordinates:
    """Records as the adversary standardises them, by his own: [n, d + 1], a one at the end."""

    mean: np.ndarray
    deviation: np.ndarray

    @staticmethod
    def of(rows: np.ndarray) -> Coordinates:
        """From the adversary's own records [n, d]."""
        deviation = rows.std(axis=0)
        return Coordinates(rows.mean(axis=0), np.where(deviation > 0, deviation, 1.0))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        standard = (rows - self.mean) / self.deviation
        return np.hstack([standard, np.ones((len(rows), 1))])


def centred_logs(posteriors: np.ndarray) -> np.ndarray:
    """Log posteriors [m, c] less their mean: for a linear model, a linear function of the record."""
    logs = np.log(np.clip(posteriors, _TINY, None))
    found: np.ndarray = logs - logs.mean(axis=1, keepdims=True)
    return found


def extract(probes: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Parameters [d + 1, c] of the linear function that gives the answers [P, c] at the probes [P, d + 1]."""
    return np.asarray(np.linalg.lstsq(probes, centred_logs(answers), rcond=None)[0])


def unexplained(probes: np.ndarray, answers: np.ndarray, theta: np.ndarray) -> float:
    """Share of the variance of the answers' centred logs that a linear function leaves unexplained."""
    logs = centred_logs(answers)
    left: float = float(((logs - probes @ theta) ** 2).sum() / max(((logs - logs.mean(axis=0)) ** 2).sum(), _TINY))
    return left


def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax of [m, c] along classes."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return found


def hessian_times(inputs: np.ndarray, theta: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Mean softmax Hessian over inputs [n, d + 1] at theta, times a change of parameters, both [d + 1, c]."""
    p = softmax(inputs @ theta)
    moved = inputs @ change
    curved = p * (moved - (p * moved).sum(axis=1, keepdims=True))  # (diag(p) - p p') times the change of the scores
    found: np.ndarray = inputs.T @ curved / len(inputs)
    return found


def loss_gradients(inputs: np.ndarray, labels: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Gradients [m, d + 1, c] of the cross-entropy of records [m, d + 1]."""
    residual = softmax(inputs @ theta)
    residual[np.arange(len(labels)), labels] -= 1
    return np.asarray(inputs[:, :, None] * residual[:, None, :])


def fit_of(gradients: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """How well each gradient [m, ...] explains a residual [...]: cosine, projections, lengths, [m, 5]."""
    flat, target = gradients.reshape(len(gradients), -1), residual.ravel()
    product, own, total = flat @ target, (flat**2).sum(axis=1), float(target @ target)
    cosine = product / np.sqrt(np.maximum(own * total, _TINY**2))
    scale = product / np.maximum(own, _TINY)
    return np.column_stack(
        [cosine, scale, product / max(total, _TINY), np.log(own + _TINY), np.full(len(flat), np.log(total + _TINY))]
    )


class ResidualGradient(Attack):
    """Extracts both versions, and judges candidates by how their gradient explains the change, beside `label_logit`."""

    name = "residual_gradient"
    needs = frozenset({POSTERIORS, ASK})

    def __init__(self, attack_model: str) -> None:
        self.attack_model = attack_model

    def applies(self, shadow: View, seed: int) -> bool:
        """Whether the shadow models are linear in their inputs, found by asking one of them."""
        coordinates, probes = _probes(shadow, seed)
        inputs = coordinates(shadow.rows(probes))
        answers = shadow.ask(int(shadow.cases.set[0]), ORIGINAL, probes)
        theta = extract(inputs[:-_CHECKED], answers[:-_CHECKED])
        return unexplained(inputs[-_CHECKED:], answers[-_CHECKED:], theta) < _LINEAR

    def fit(self, shadow: View, seed: int) -> FittedResidualGradient:
        """Learn on shadow cases how well a deleted record's gradient fits."""
        classifier = ATTACK_MODELS[self.attack_model](integer_seed(seed, "attack", self.name))
        return FittedResidualGradient(classifier.fit(features(shadow, seed), shadow.cases.member), seed)


@dataclass(frozen=True)
class FittedResidualGradient(FittedAttack):
    """The classifier, and the seed that chooses the probes."""

    classifier: Any
    seed: int

    def score(self, view: View) -> np.ndarray:
        """Probability [m] of a positive."""
        return positive_probability(self.classifier, features(view, self.seed))


def features(view: View, seed: int) -> np.ndarray:
    """Fit of each case's gradient to its request's residual, and `label_logit`, [m, 12]."""
    cases = view.cases
    coordinates, probes = _probes(view, seed)
    inputs, public = coordinates(view.rows(probes)), coordinates(view.rows(view.own))
    fits = np.zeros((len(cases), 5))
    originals: dict[int, np.ndarray] = {}
    for number, request, chosen in view.requests():
        if number not in originals:
            originals = {number: extract(inputs, view.ask(number, ORIGINAL, probes))}
        before = originals[number]
        after = extract(inputs, view.ask(number, request, probes))
        residual = hessian_times(public, before, after - before)
        asked = coordinates(view.rows(cases.record[chosen]))
        fits[chosen] = fit_of(loss_gradients(asked, cases.label[chosen], before), residual)
    return np.hstack([fits, label_logit(cases)])


def _probes(view: View, seed: int) -> tuple[Coordinates, np.ndarray]:
    """The adversary's coordinates, and records of his own that he asks both versions about."""
    own = view.rows(view.own)
    count = min(len(view.own), _PROBES_A_PARAMETER * (own.shape[1] + 1) + _CHECKED)
    return Coordinates.of(own), spawn(seed, "probes").choice(view.own, count, replace=False)

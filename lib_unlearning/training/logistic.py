"""Logistic regressions at their optimum: many at once that share most of their records.

The objective is scikit-learn's: the summed cross-entropy of standardised records plus half the squared weights, the
intercept free; with two classes one column of weights, with more one a class. Records deleted from n move the optimum
by O(1 / n). So the first model's Hessian is factorised once, at its optimum; every other gets a low-rank update of it,
for the records it lacks or has beyond the first one's (Woodbury), and a few steps with that, one matrix product a step
for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import linalg, optimize

from lib_unlearning.link import Softmax, softmax
from lib_unlearning.training.tasks import over_all_classes

STRENGTH = 1.0  # of the data against the penalty: scikit-learn's C
_CLOSE = 1e-12  # largest gradient, over the number of records, of an optimum
_GOOD = 1e-9  # what rounding may leave of it where records are few and weights large
_STEPS = 50  # with one Hessian, before a model gets its own
_HESSIANS = 30
_BLOCK = 2**24  # scores held at once: 128 MB
_LIPSCHITZ = 0.25  # of the second derivative of the logistic loss
_SOFTMAX = Softmax()


@dataclass(frozen=True)
class LogisticModel:
    """A fitted model (see `tasks.Model`).

    Attributes:
        classes: [k] that its records were of; one class makes a constant model.
        num_classes: c, columns of its posteriors.
        mean, deviation: [d] that records are standardised by.
        theta: [d + 1, K] weights of standardised records, intercept last; K is 1 for two classes, else k.
        facts: `gradient`, the largest entry of the objective's gradient over the number of records.
    """

    classes: np.ndarray
    num_classes: int
    mean: np.ndarray
    deviation: np.ndarray
    theta: np.ndarray
    facts: Mapping[str, Any] = field(default_factory=dict)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Posteriors [m, c] for features [m, d]; a class absent from the training records has probability 0."""
        return over_all_classes(features, self.classes, self.num_classes, self._of_known)

    def _of_known(self, features: np.ndarray) -> np.ndarray:
        standard = (np.asarray(features, dtype=np.float64) - self.mean) / self.deviation
        return _probabilities(standard @ self.theta[:-1] + self.theta[-1])


@dataclass(frozen=True)
class Problems:
    """What T models are fitted to, in coordinates that they share.

    Attributes:
        inputs: [n, d + 1] all their records, standardised, a one at the end. labels: [n] positions among the classes.
        columns: of the parameters, K.
        counts: [T, n] 1 where a record is among a model's own, 0 elsewhere.
        penalty: [T, d + 1] what half the squared parameters weigh: the squared ratio of a model's own deviations to the
            shared ones, 0 for the intercept.
        tilt: [T, d + 1, K] of a linear term (objective perturbation), zeros for none.
    """

    inputs: np.ndarray
    labels: np.ndarray
    columns: int
    counts: np.ndarray
    penalty: np.ndarray
    tilt: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    def only(self, which: Sequence[int] | np.ndarray) -> Problems:
        """Some of the models."""
        chosen = np.asarray(which)
        return Problems(
            self.inputs, self.labels, self.columns, self.counts[chosen], self.penalty[chosen], self.tilt[chosen]
        )

    @property
    def sizes(self) -> np.ndarray:
        """[T] records of each model."""
        return np.asarray(self.counts.sum(axis=1))

    def gradients(self, thetas: np.ndarray) -> np.ndarray:
        """[T, d + 1, K] of the objectives at parameters [T, d + 1, K], over each model's number of records."""
        block = max(1, _BLOCK // (len(self.inputs) * self.columns))
        data = [self._data(thetas[start : start + block], start) for start in range(0, len(thetas), block)]
        whole = STRENGTH * np.concatenate(data) + self.penalty[:, :, None] * thetas + self.tilt
        return np.asarray(whole / self.sizes[:, None, None])

    def _data(self, thetas: np.ndarray, start: int) -> np.ndarray:
        models, width, columns = thetas.shape
        scores = self.inputs @ thetas.transpose(1, 0, 2).reshape(width, models * columns)
        labels = np.repeat(self.labels, models)
        errors = _errors(scores.reshape(-1, columns), labels).reshape(len(self.inputs), models, columns)
        errors *= self.counts[start : start + models].T[:, :, None]
        found = self.inputs.T @ errors.reshape(len(self.inputs), models * columns)
        return np.asarray(found.reshape(width, models, columns).transpose(1, 0, 2))

    def value(self, model: int, theta: np.ndarray) -> float:
        """A model's objective at parameters [d + 1, K], over its number of records."""
        own = self.counts[model] > 0
        scores, labels = self.inputs[own] @ theta, self.labels[own]
        if self.columns == 1:
            losses = np.logaddexp(0, np.where(labels == 1, -scores[:, 0], scores[:, 0]))
        else:
            top = scores.max(axis=1)
            losses = top + np.log(np.exp(scores - top[:, None]).sum(axis=1)) - scores[np.arange(len(scores)), labels]
        penalty = (self.penalty[model][:, None] * theta**2).sum() / 2 + (self.tilt[model] * theta).sum()
        return float((STRENGTH * losses.sum() + penalty) / own.sum())

    def hessian(self, model: int, theta: np.ndarray) -> np.ndarray:
        """[(d + 1) K, (d + 1) K] of a model's objective, over its number of records."""
        width, columns = theta.shape
        own = self.inputs[self.counts[model] > 0]
        curvature = _curvature(own @ theta)
        found = np.zeros((width, columns, width, columns))
        for one in range(columns):
            for other in range(one, columns):
                part = STRENGTH * (own * curvature[:, one, other, None]).T @ own
                found[:, one, :, other] = found[:, other, :, one] = part
        diagonal = np.arange(width)
        for column in range(columns):
            found[diagonal, column, diagonal, column] += self.penalty[model]
        if columns > 1:  # the same number added to all intercepts changes nothing
            found[-1, :, -1, :] += 1.0
        return np.asarray(found.reshape(width * columns, width * columns) / len(own))


def _probabilities(scores: np.ndarray) -> np.ndarray:
    """Class probabilities [n, k] of scores [n, 1] (two classes) or [n, k]."""
    return softmax(np.hstack([np.zeros_like(scores), scores]) if scores.shape[1] == 1 else scores)


def _errors(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Derivative [n, K] of the cross-entropy by the scores [n, K]."""
    if scores.shape[1] == 1:
        return np.asarray(_probabilities(scores)[:, 1:] - (labels == 1)[:, None])
    return _SOFTMAX.errors(scores, labels)


def _curvature(scores: np.ndarray) -> np.ndarray:
    """Second derivative [n, K, K]."""
    if scores.shape[1] == 1:
        likely = _probabilities(scores)
        return np.asarray((likely[:, 0] * likely[:, 1])[:, None, None])
    return _SOFTMAX.curvature(scores)


def residual_bound(problems: Problems, step: np.ndarray) -> float:
    """What the first model's gradient (not over its number of records) can be at most after a Newton step [d + 1, K]:
    the data-dependent bound of Guo et al. (ICML 2020, corollary 1), for records of any length; NaN for more than two
    classes."""
    if problems.columns > 1:
        return float("nan")
    own = problems.inputs[problems.counts[0] > 0]
    moved = own @ step[:, 0]
    return float(STRENGTH * _LIPSCHITZ * np.linalg.norm(own, ord=2) * np.abs(moved).max() * np.linalg.norm(moved))


class Factor:
    """The factorised Hessian of one model of some problems, and what the records of others change in it."""

    def __init__(self, problems: Problems, model: int, theta: np.ndarray) -> None:
        self.at = theta
        self._problems, self._model = problems, model
        self._factor = linalg.cho_factor(problems.hessian(model, theta), overwrite_a=True, check_finite=False)

    def solve(self, flat: np.ndarray) -> np.ndarray:
        """The inverse Hessian times [(d + 1) K, s]."""
        return np.asarray(linalg.cho_solve(self._factor, flat, check_finite=False))

    def steps(self, gradients: np.ndarray, _: np.ndarray) -> np.ndarray:
        """[t, (d + 1) K] of gradients [t, d + 1, K]."""
        return self.solve(gradients.reshape(len(gradients), -1).T).T

    def update(self, other: int) -> tuple[np.ndarray, np.ndarray]:
        """The low-rank update for another model: V [(d + 1) K, r] and M [r, r], so that its inverse Hessian is near
        to this one less V M^-1 V^T; r is 0 where records that differ are too many for that to pay."""
        problems = self._problems
        differs = np.flatnonzero(problems.counts[other] != problems.counts[self._model])
        size = self.at.size
        rank = len(differs) * problems.columns
        if rank == 0 or 4 * rank > size:
            return np.zeros((size, 0)), np.zeros((0, 0))
        rows = problems.inputs[differs]
        values, vectors = np.linalg.eigh(_curvature(rows @ self.at))
        roots = vectors * np.sqrt(np.clip(values, 0, None))[:, None, :]  # [r', K, K], a root of each curvature
        spread = np.einsum("rd,rkq->dkrq", rows, roots).reshape(size, rank)
        spread *= np.sqrt(STRENGTH / problems.sizes[self._model])
        signs = np.where(problems.counts[other][differs] > 0, 1.0, -1.0).repeat(problems.columns)
        solved = self.solve(spread)
        return solved, np.diag(signs) + spread.T @ solved


# (gradients [t, d + 1, K], numbers [t] of their models) -> steps [t, (d + 1) K]
_Steps = Callable[[np.ndarray, np.ndarray], np.ndarray]


def optimum(problems: Problems, model: int, start: np.ndarray) -> tuple[np.ndarray, Factor]:
    """A model's minimum [d + 1, K] and its Hessian's factor there: L-BFGS for the way, Newton's method for the end."""
    alone, shape = problems.only([model]), start.shape
    near = optimize.minimize(
        lambda flat: (problems.value(model, flat.reshape(shape)), alone.gradients(flat.reshape(1, *shape)).ravel()),
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 500, "gtol": 1e-6, "ftol": 0.0},
    )
    theta = near.x.reshape(shape)
    for _ in range(_HESSIANS):
        factor = Factor(problems, model, theta)
        (theta,), (left,) = _stepped(alone, theta[None], factor.steps)
        if left < _GOOD:
            break
    return theta, factor


def optima(problems: Problems) -> np.ndarray:
    """The minimum [T, d + 1, K] of every model, all from the first one's."""
    first, factor = optimum(problems, 0, np.zeros((problems.inputs.shape[1], problems.columns)))
    thetas = np.repeat(first[None], len(problems), axis=0)
    if len(problems) == 1:
        return thetas
    rest = problems.only(range(1, len(problems)))
    updates = [factor.update(number) for number in range(1, len(problems))]

    def steps(gradients: np.ndarray, which: np.ndarray) -> np.ndarray:
        found = factor.steps(gradients, which)
        for row, number in enumerate(which):
            solved, middle = updates[number]
            if solved.shape[1]:
                found[row] -= solved @ np.linalg.solve(middle, solved.T @ gradients[row].ravel())
        return found

    thetas[1:], left = _stepped(rest, thetas[1:], steps)
    for number in np.flatnonzero(left >= _GOOD):
        thetas[1 + number] = optimum(problems, 1 + int(number), first)[0]
    return thetas


def _stepped(problems: Problems, thetas: np.ndarray, steps: _Steps) -> tuple[np.ndarray, np.ndarray]:
    """Parameters [T, d + 1, K] after steps until their gradients vanish or grow, and what is left of these [T]."""
    best, left = thetas.copy(), np.full(len(thetas), np.inf)
    going, current = np.arange(len(thetas)), thetas.copy()
    for _ in range(_STEPS):
        gradients = problems.only(going).gradients(current[going])
        size = np.abs(gradients).max(axis=(1, 2))
        better = size < left[going]
        best[going[better]], left[going[better]] = current[going[better]], size[better]
        on = better & (size >= _CLOSE)
        going, gradients = going[on], gradients[on]
        if not len(going):
            break
        current[going] -= steps(gradients, going).reshape(gradients.shape)
    return best, left

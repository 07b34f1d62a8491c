"""Probe-matched attack: a deletion moves the whole model, and the adversary knows how a record would move his own.

He asks both versions about records of his own, the probes, and sees how their answers change. For each candidate he
knows what change to expect: from pairs of models of his own with and without it, trained by the target's method, or,
for linear models, from one Newton step. Where the two agree, the candidate was deleted. One classifier, fitted on
shadow cases, judges the agreement beside `label_logit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from lib_unlearning.attack import BOTH_VERSIONS, ORIGINAL, OWN_MODELS, LearnedAttack, View
from lib_unlearning.attacks.linear import Extraction, Versions, hessian, is_linear, loss_gradients
from lib_unlearning.construct_feature import of_known_label
from lib_unlearning.training.tasks import GRADIENTS

_RIDGE = 1e-3  # of the largest variance, when changes are whitened
_MOST_PARAMETERS = 2000  # whose Hessian is solved
_TINY = 1e-12
_HUGE = 1e9


@dataclass(frozen=True)
class Whitening:
    """Coordinates in which the shadow side's changes have no preferred direction.

    Attributes:
        directions: [k, P c] in which it changed, orthonormal. scales: [k] what changes along each are divided by.
        rest: what all other directions, in which nothing changed so far, are divided by; they are no less telling.
    """

    directions: np.ndarray
    scales: np.ndarray
    rest: float

    @staticmethod
    def of(blocks: Iterable[np.ndarray]) -> Whitening:
        """From changes [n, P c], some rows after others, by their principal components with a ridge."""
        parts = iter(blocks)
        kept = next(parts)
        count = len(kept)
        for changes in parts:
            # A triangle has the singular values and directions of all rows that went into it.
            kept = np.asarray(np.linalg.qr(np.vstack([kept, changes]), mode="r"))
            count += len(changes)
        _, lengths, rows = np.linalg.svd(kept, full_matrices=False)
        variances = lengths**2 / count
        ridge = _RIDGE * variances.max() + _TINY
        return Whitening(rows, np.sqrt(variances + ridge), float(np.sqrt(ridge)))

    def __call__(self, changes: np.ndarray) -> np.ndarray:
        """Changes [m, P c] in these coordinates, [m, k] or, where there are other directions, [m, k + P c]."""
        found: np.ndarray = changes @ (self.directions / self.scales[:, None]).T
        if self.directions.shape[0] == self.directions.shape[1]:
            return found
        left = changes - (changes @ self.directions.T) @ self.directions
        return np.hstack([found, left / self.rest])


def agreement(seen: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """How well expected changes [m, k] explain those seen: cosine, projections, what is left, lengths, [m, 7]."""
    product = (seen * expected).sum(axis=1)
    total, own = (np.maximum((part**2).sum(axis=1), _TINY**2) for part in (seen, expected))
    left = ((seen - expected) ** 2).sum(axis=1)
    with np.errstate(over="ignore", invalid="ignore"):  # nothing moved: bounded below
        columns = [product / np.sqrt(total * own), product / own, product / total, np.sqrt(left / total)]
    found: np.ndarray = np.column_stack([*columns, np.log(total), np.log(own), total - left])
    return np.asarray(
        np.clip(np.nan_to_num(found), -_HUGE, _HUGE)
    )  # nothing moved: ratios are not numbers that a classifier could take


# (view, seed) -> changes of the probes' centred log posteriors, seen and expected, [m, P c] each
Changes = Callable[[View, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Agreement:
    """Sees how well expected changes agree with those seen, plain and whitened, beside `label_logit`, [m, 21]."""

    changes: Changes
    whitening: Whitening
    seed: int

    def __call__(self, view: View) -> np.ndarray:
        return np.concatenate([self._of(block) for block in view.blocks()])

    def _of(self, view: View) -> np.ndarray:
        seen, expected = self.changes(view, self.seed)
        white = agreement(self.whitening(seen), self.whitening(expected))
        return np.hstack([agreement(seen, expected), white, of_known_label(view.cases)])


class ProbeMatched(LearnedAttack):
    """What to expect comes from own pairs of models: any family, any unlearning method."""

    name = "probe_matched"
    needs = BOTH_VERSIONS | {OWN_MODELS}

    def prepare(self, shadow: View, seed: int) -> Agreement:
        """Learn in which directions answers change anyway."""
        return Agreement(changes_of_pairs, _whitening(shadow, seed), seed)


class ProbeGradient(LearnedAttack):
    """What to expect comes from the candidate's gradient on own models: networks, one model a group of candidates."""

    name = "probe_gradient"
    needs = BOTH_VERSIONS | {OWN_MODELS, GRADIENTS}

    def applies(self, shadow: View, seed: int) -> bool:
        """Whether own models have gradients: an unlearning method may put something else in a network's place."""
        return bool(next(shadow.blocks()).own_worlds(seed).effects.shape[1])

    def prepare(self, shadow: View, seed: int) -> Agreement:
        """Learn in which directions answers change anyway."""
        return Agreement(changes_of_gradients, _whitening(shadow, seed), seed)


class ProbeNewton(LearnedAttack):
    """What to expect comes from one Newton step at the extracted parameters: linear models, and nothing is trained."""

    name = "probe_newton"
    needs = BOTH_VERSIONS

    def applies(self, shadow: View, seed: int) -> bool:
        """Whether the shadow models are linear, and their Hessian can be solved."""
        width = shadow.rows(shadow.own[:1]).shape[1] + 1
        return width * shadow.cases.original.shape[1] <= _MOST_PARAMETERS and is_linear(shadow, seed)

    def prepare(self, shadow: View, seed: int) -> Agreement:
        """Learn in which directions answers change anyway."""
        whitening = Whitening.of(changes_of_newton(block, seed)[0] for block in shadow.blocks())
        return Agreement(changes_of_newton, whitening, seed)


def _whitening(shadow: View, seed: int) -> Whitening:
    probes = shadow.probe_records(seed)
    return Whitening.of(seen_changes(block, probes) for block in shadow.blocks())


def seen_changes(view: View, probes: np.ndarray) -> np.ndarray:
    """Change [m, P c] of the probes' centred log posteriors (or predictions) between both versions, for each case."""
    seen = np.empty((len(view.cases), len(probes) * view.cases.original.shape[1]), dtype=np.float32)
    for number, request, chosen in view.requests():
        key = ("seen", len(probes), int(probes[0]), number, request)
        seen[chosen] = view.once(key, lambda: _change(view, number, request, probes))  # noqa: B023
    return seen


def _change(view: View, sample_set: int, request: int, probes: np.ndarray) -> np.ndarray:
    """[P c] of one request."""

    def signal(version: int) -> np.ndarray:
        return view.link.signal(view.ask(sample_set, version, probes))

    before = view.once(("before", len(probes), int(probes[0]), sample_set), lambda: signal(ORIGINAL))
    return np.asarray(before - signal(request), dtype=np.float32).ravel()


def changes_of_pairs(view: View, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Changes seen, and those that own pairs of models show."""
    probes = view.probe_records(seed)
    return seen_changes(view, probes), view.own_worlds(seed).changes


def changes_of_gradients(view: View, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Changes seen, and those that a step up each candidate's loss makes in own models."""
    return seen_changes(view, view.probe_records(seed)), -view.own_worlds(seed).effects


def changes_of_newton(view: View, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Changes of the extracted linear functions at the probes, and those of one Newton step without the candidate."""
    plan, probes = Extraction.plan(view, seed), view.probe_records(seed)
    seen = np.empty((len(view.cases), len(probes) * view.cases.original.shape[1]), dtype=np.float32)
    expected = np.empty_like(seen)
    steps = _NewtonSteps(plan, plan.coordinates(view.rows(probes)))
    for found in plan.versions(view):
        records = view.cases.record[found.cases]
        key = ("newton", len(plan.probes), len(probes), int(probes[0]), found.sample_set, found.request)
        moved = view.once(
            (*key, records.tobytes(), view.cases.label[found.cases].tobytes()),
            lambda: steps.of(view, found),  # noqa: B023
        )
        seen[found.cases], expected[found.cases] = moved[0], moved[1:]
    return seen, expected


@dataclass
class _NewtonSteps:
    """Changes at probes [P, d + 1], seen and expected; the last sample set's Hessian stays solved."""

    plan: Extraction
    probes: np.ndarray
    _solved: tuple[int, np.ndarray] = (-1, np.empty(0))

    def of(self, view: View, found: Versions) -> np.ndarray:
        """[1 + k, P c] what is seen of one request, and what is expected of its k cases."""
        plan = self.plan
        if found.sample_set != self._solved[0]:
            curvature = hessian(plan.public, found.before, plan.link)
            self._solved = (found.sample_set, np.linalg.pinv(curvature, rcond=1e-8, hermitian=True))
        asked = plan.coordinates(view.rows(view.cases.record[found.cases]))
        gradients = loss_gradients(asked, view.cases.label[found.cases], found.before, plan.link)
        moved = gradients.reshape(len(asked), -1) @ self._solved[1] / max(view.set_size, 1)
        steps = moved.reshape(len(asked), *found.before.shape)  # the parameters' way when the candidate goes
        seen = (self.probes @ (found.before - found.after)).ravel()
        expected = -np.einsum("pd,kdc->kpc", self.probes, steps).reshape(len(asked), -1)
        return np.vstack([seen, expected]).astype(np.float32)

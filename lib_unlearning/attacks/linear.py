"""What answers alone tell of a model that is linear in its inputs: parameters, gradients, the effect of a deletion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lib_unlearning.attack import ORIGINAL, View
from lib_unlearning.link import Link, Softmax
from lib_unlearning.seeds import spawn

_PROBES_A_PARAMETER = 3  # answers per unknown: more than enough if they are exact, and some redundancy if not
_CHECKED = 50  # answers that must agree with the linear function found from the others
_FEWEST_CHECKED = 20
_RANK, _NEARLY = 1e-9, 1e-6  # of the largest singular value, of a record's length: what counts as none
_MOST_SPANNED = 400  # columns up to which spanning records are sought
_FEW_ANSWERS = 10
_LINEAR = 1e-3  # largest share of the answers' variance that it may leave unexplained
_TINY = 1e-12
_SOFTMAX = Softmax()


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

    def back(self, standard: np.ndarray) -> np.ndarray:
        """Records [n, d] of standardised ones [n, d]."""
        found: np.ndarray = standard * self.deviation + self.mean
        return found


def extract(probes: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """Parameters [d + 1, c] of the linear function that gives a signal [P, c] at the probes [P, d + 1]."""
    return np.asarray(np.linalg.lstsq(probes, signal, rcond=None)[0])


def unexplained(probes: np.ndarray, signal: np.ndarray, theta: np.ndarray) -> float:
    """Share of a signal's variance that a linear function leaves unexplained."""
    return float(((signal - probes @ theta) ** 2).sum() / _variance(signal))


def _variance(signal: np.ndarray) -> float:
    return float(max(((signal - signal.mean(axis=0)) ** 2).sum(), _TINY))


def hessian_times(inputs: np.ndarray, theta: np.ndarray, change: np.ndarray, link: Link = _SOFTMAX) -> np.ndarray:
    """Mean Hessian over inputs [n, d + 1] at theta, times a change of parameters, both [d + 1, c]."""
    curved = np.einsum("ncd,nd->nc", link.curvature(inputs @ theta), inputs @ change)
    found: np.ndarray = inputs.T @ curved / len(inputs)
    return found


def hessian(inputs: np.ndarray, theta: np.ndarray, link: Link = _SOFTMAX) -> np.ndarray:
    """Mean Hessian [(d + 1) c, (d + 1) c] over inputs [n, d + 1] at theta [d + 1, c]."""
    curvature = link.curvature(inputs @ theta)
    width, classes = theta.shape
    found = np.zeros((width, classes, width, classes))
    for one in range(classes):
        for other in range(one, classes):
            weight = curvature[:, one, other]
            found[:, one, :, other] = found[:, other, :, one] = (inputs * weight[:, None]).T @ inputs / len(inputs)
    return found.reshape(width * classes, width * classes)


def loss_gradients(inputs: np.ndarray, labels: np.ndarray, theta: np.ndarray, link: Link = _SOFTMAX) -> np.ndarray:
    """Gradients [m, d + 1, c] of the loss of records [m, d + 1]."""
    return np.asarray(inputs[:, :, None] * link.errors(inputs @ theta, labels)[:, None, :])


@dataclass(frozen=True)
class Extraction:
    """Both versions of linear models, found by asking about records of the adversary's own.

    Attributes:
        coordinates: in which the parameters are.
        inputs: [P, d + 1] the records that are asked about.
        probes: [P] their numbers.
        public: [n, d + 1] all records of his own.
        link: what the models' scores become.
    """

    coordinates: Coordinates
    inputs: np.ndarray
    probes: np.ndarray
    public: np.ndarray
    link: Link

    @staticmethod
    def plan(view: View, seed: int) -> Extraction:
        """What to ask: enough records for exact answers, as many as the budget allows where it names a number."""
        found: Extraction = view.once(
            ("extraction", seed, view.budget.queries), lambda: Extraction._planned(view, seed)
        )
        return found

    @staticmethod
    def _planned(view: View, seed: int) -> Extraction:
        own = view.rows(view.own)
        coordinates = Coordinates.of(own)
        public = coordinates(own)
        if view.budget.queries is None:
            probes = view.own[_chosen(public, spawn(seed, "probes"))]
        else:
            probes = view.questions(seed, view.budget.queries)
        return Extraction(coordinates, coordinates(view.rows(probes)), probes, public, view.link)

    def theta(self, view: View, sample_set: int, version: int) -> np.ndarray:
        """Parameters [d + 1, c] of one version of one sample set's model."""
        key = ("theta", len(self.probes), int(self.probes[0]), sample_set, version)
        found: np.ndarray = view.once(key, lambda: self._solved(view, view.ask(sample_set, version, self.probes)))
        return found

    def _solved(self, view: View, answers: np.ndarray) -> np.ndarray:
        """From answers [P, c]; those that are so small that they were cut off say nothing."""
        kept = view.link.whole(answers)
        if kept.sum() < self.inputs.shape[1]:
            kept = np.ones(len(answers), dtype=bool)
        return extract(self.inputs[kept], view.link.signal(answers[kept]))

    def residual(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """[d + 1, c] sum of the loss gradients of what was deleted, over the number of training records."""
        return hessian_times(self.public, before, after - before, self.link)

    def left_by(self, view: View, versions: Versions) -> np.ndarray:
        """The `residual` of one request."""
        key = ("residual", len(self.probes), int(self.probes[0]), versions.sample_set, versions.request)
        found: np.ndarray = view.once(key, lambda: self.residual(versions.before, versions.after))
        return found

    def versions(self, view: View) -> list[Versions]:
        """Both versions of every request of a view, in its order."""
        return [
            Versions(number, request, chosen, *(self.theta(view, number, version) for version in (ORIGINAL, request)))
            for number, request, chosen in view.requests()
        ]


def _chosen(public: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Numbers among records [n, d + 1] of those to ask about: drawn at random, and where these leave out a direction,
    such as a column that is nearly always the same, before them as many as span all of them."""
    width = public.shape[1]
    enough = min(len(public), _PROBES_A_PARAMETER * width + _CHECKED)
    drawn: np.ndarray = rng.choice(len(public), enough, replace=False)
    if width > _MOST_SPANNED or np.linalg.matrix_rank(public[drawn]) == np.linalg.matrix_rank(public):
        return drawn
    from scipy.linalg import qr

    spanning = qr(public.T, mode="r", pivoting=True, check_finite=False)[1][:width]
    return np.concatenate([np.setdiff1d(spanning, drawn), drawn])


@dataclass(frozen=True)
class Versions:
    """Parameters [d + 1, c] of both versions of one request, and the indices [k] of its cases."""

    sample_set: int
    request: int
    cases: np.ndarray
    before: np.ndarray
    after: np.ndarray


def is_linear(view: View, seed: int) -> bool:
    """Whether one of a side's models is linear in its inputs, found by asking it."""
    found: bool = view.once(("linear", seed), lambda: _fits_a_line(view, seed))
    return found


def _fits_a_line(view: View, seed: int) -> bool:
    plan = Extraction.plan(_free(view), seed)
    answers = view.ask(int(view.cases.set[0]), ORIGINAL, plan.probes)
    kept = view.link.whole(answers)
    inputs, answers = plan.inputs[kept], answers[kept]
    if plan.inputs.shape[1] + _CHECKED > len(inputs):
        return False  # too few records to tell
    if len(np.unique(answers.round(12), axis=0)) <= _FEW_ANSWERS:
        return False  # a tree: whatever has few values may lie on a plane
    signal = view.link.signal(answers)
    known, checked = slice(None, -_CHECKED), slice(-_CHECKED, None)
    theta = extract(inputs[known], signal[known])
    judged = _within(inputs[known], inputs[checked])
    if judged.sum() < _FEWEST_CHECKED:
        return False  # too few directions were seen to tell
    return unexplained(inputs[checked][judged], signal[checked][judged], theta) < _tolerance(answers, view.link)


def _within(inputs: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of other records [m, d + 1] lie in the span of the inputs [P, d + 1]: of no others do these tell."""
    _, lengths, directions = np.linalg.svd(inputs, full_matrices=False)
    basis = directions[lengths > _RANK * lengths.max()]
    left = others - (others @ basis.T) @ basis
    found: np.ndarray = np.linalg.norm(left, axis=1) <= _NEARLY * np.linalg.norm(others, axis=1)
    return found


def _free(view: View) -> View:
    """A view of models of the adversary's own: nobody counts what he asks these."""
    return replace(view, budget=replace(view.budget, queries=None))


def _tolerance(answers: np.ndarray, link: Link) -> float:
    """What a linear function may leave unexplained, where posteriors are rounded also what rounding makes of them."""
    if answers.shape[1] == 1:
        return _LINEAR
    rounded = (digits for digits in range(1, 7) if np.allclose(answers, answers.round(digits), rtol=0, atol=1e-9))
    step = next((10.0**-digits for digits in rounded), 0)
    if not step:
        return _LINEAR
    noise = (step / np.clip(answers, step, None)) ** 2 / 12  # variance of a rounded answer's logarithm
    return _LINEAR + float(3 * noise.sum() / _variance(link.signal(answers)))

"""The trainer of logistic regressions at their optimum: `--solver newton`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lib_unlearning.dataset import RecordTable
from lib_unlearning.errors import LOGGER, UserError
from lib_unlearning.record_numbers import among, distinct
from lib_unlearning.seeds import spawn
from lib_unlearning.training.logistic import Factor, LogisticModel, Problems, optima, residual_bound
from lib_unlearning.training.tasks import NEWTON_STEPS, Trainer, TrainingTask

_MOST_PARAMETERS = 5_000  # of a Hessian: 200 MB, half a minute
_CONSTANT = 10 * np.finfo(np.float64).eps  # deviation over size of a column that says nothing
_CONSTANT_STANDARD = 1e-7  # and of one that said something before some records left
_FAR = 1e-6  # a gradient that is no optimum's
_ALIKE = 0.3  # largest share of a set's records that a model may lack to start from the set's optimum


class NewtonTrainer(Trainer):
    """Fits logistic regressions until their gradient is below 1e-9, those that share most records from one Hessian."""

    capabilities = frozenset({NEWTON_STEPS})

    def __init__(self, dataset: RecordTable, title: str) -> None:
        self.dataset = dataset
        self.title = title

    def fit(self, tasks: Sequence[TrainingTask]) -> list[LogisticModel]:
        """One model a task.

        Raises:
            UserError: the Hessian would be too large.
        """
        self.check(tasks)
        models: dict[int, LogisticModel] = {}
        for group in _groups(tasks, self.dataset.labels):
            models.update(zip(group, self._fit_alike([tasks[number] for number in group]), strict=True))
        return [models[number] for number in range(len(tasks))]

    def _fit_alike(self, tasks: Sequence[TrainingTask]) -> list[LogisticModel]:
        """Models of tasks that share classes and most records; the first one's are the shared coordinates."""
        if tasks[0].newton_steps is not None:
            return [self._continued(task) for task in tasks]
        frame = _Frame.of(self.dataset, tasks[0])
        if len(frame.classes) == 1:
            return [frame.constant() for _ in tasks]
        self._check_size(frame)
        problems, moments = frame.problems(self.dataset, tasks)
        thetas = optima(problems)
        left = np.abs(problems.gradients(thetas)).max(axis=(1, 2))
        if left.max() > _FAR:
            LOGGER.warning("--solver newton: a gradient of %.1e is left; this is not the optimum", left.max())
        return [
            frame.model(theta, *own, {"gradient": float(rest)})
            for theta, own, rest in zip(thetas, moments, left, strict=True)
        ]

    def _check_size(self, frame: _Frame) -> None:
        parameters = (frame.mean.size + 1) * frame.columns
        if parameters > _MOST_PARAMETERS:
            raise UserError(
                f"--solver newton: {frame.mean.size} features and {len(frame.classes)} classes make {parameters:,} "
                f"parameters, and {_MOST_PARAMETERS:,} are the most; use --solver lbfgs"
            )

    def _continued(self, task: TrainingTask) -> LogisticModel:
        """A model after a few Newton steps on other records, in the coordinates that it had."""
        start: LogisticModel = task.start
        if len(start.classes) == 1:
            return start
        frame = _Frame(start.classes, self.dataset.num_classes, start.mean, start.deviation)
        problems = frame.problems(self.dataset, [task], standardise=False)[0]
        theta, step = start.theta, np.zeros_like(start.theta)
        for _ in range(task.newton_steps or 0):
            step = Factor(problems, 0, theta).solve(problems.gradients(theta[None]).reshape(-1, 1)).reshape(theta.shape)
            theta = theta - step
        left = float(np.abs(problems.gradients(theta[None])).max())
        facts = {"gradient": left, "residual": residual_bound(problems, step)}
        return frame.model(theta, start.mean, start.deviation, facts)


def _groups(tasks: Sequence[TrainingTask], labels: np.ndarray) -> list[list[int]]:
    """Numbers of tasks that are solved together: equal classes, and most records of the first one's."""
    groups: list[list[int]] = []
    for number, task in enumerate(tasks):
        for group in groups:
            if _are_alike(tasks[group[0]], task, labels):
                group.append(number)
                break
        else:
            groups.append([number])
    return groups


def _are_alike(one: TrainingTask, other: TrainingTask, labels: np.ndarray) -> bool:
    if (one.newton_steps is None) != (other.newton_steps is None):
        return False
    shared = int(among(one.records, other.records).sum())
    if max(len(one.records), len(other.records)) - shared > _ALIKE * len(one.records):
        return False
    return np.array_equal(distinct(labels[one.records]), distinct(labels[other.records]))


@dataclass(frozen=True)
class _Frame:
    """Classes [k] and coordinates [d] that several models are fitted in."""

    classes: np.ndarray
    num_classes: int
    mean: np.ndarray
    deviation: np.ndarray

    @property
    def columns(self) -> int:
        """Of the parameters: one for two classes."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    @staticmethod
    def of(dataset: RecordTable, task: TrainingTask) -> _Frame:
        """A task's own; a constant column keeps its scale, as in scikit-learn's StandardScaler."""
        rows = _rows(dataset, task.records)
        mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        constant = deviation <= _CONSTANT * np.abs(rows).max(axis=0, initial=0)
        return _Frame(
            np.unique(dataset.labels[task.records]), dataset.num_classes, mean, np.where(constant, 1.0, deviation)
        )

    def problems(
        self, dataset: RecordTable, tasks: Sequence[TrainingTask], standardise: bool = True
    ) -> tuple[Problems, list[tuple[np.ndarray, np.ndarray]]]:
        """What the tasks' models are fitted to, and the mean and deviation [d] of each one's own records.

        A label that the frame does not know does not count.
        """
        everyone = np.unique(np.concatenate([task.records for task in tasks]))
        standard = (_rows(dataset, everyone) - self.mean) / self.deviation
        known = np.isin(dataset.labels[everyone], self.classes)
        counts = np.stack([among(everyone, task.records) for task in tasks])
        counts = (counts * known).astype(np.float64)
        moments = [self._moments(part, standard) if standardise else (self.mean, self.deviation) for part in counts]
        problems = Problems(
            inputs=np.hstack([standard, np.ones((len(everyone), 1))]),
            labels=np.searchsorted(self.classes, np.where(known, dataset.labels[everyone], self.classes[0])),
            columns=self.columns,
            counts=counts,
            penalty=np.stack([np.append((deviation / self.deviation) ** 2, 0.0) for _, deviation in moments]),
            tilt=np.stack([self._tilt(task, *own) for task, own in zip(tasks, moments, strict=True)]),
        )
        return problems, moments

    def _moments(self, counts: np.ndarray, standard: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation [d] of the records that count [n], from standardised ones [n, d]."""
        mean = counts @ standard / counts.sum()
        deviation = np.sqrt(np.maximum(counts @ standard**2 / counts.sum() - mean**2, 0.0))
        own = np.where(deviation > _CONSTANT_STANDARD, deviation * self.deviation, 1.0)
        return mean * self.deviation + self.mean, own

    def _tilt(self, task: TrainingTask, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """[d + 1, K] of a task's linear term, which is drawn for its own coordinates, in the shared ones."""
        shape = (self.mean.size + 1, self.columns)
        if task.perturbation is None:
            return np.zeros(shape)
        size, seed = task.perturbation
        drawn = spawn(seed, "objective perturbation").normal(scale=size, size=shape)
        if self.columns > 1:  # the same for all intercepts would have no minimum
            drawn[-1] -= drawn[-1].mean()
        found = drawn.copy()
        found[:-1] = drawn[:-1] * (deviation / self.deviation)[:, None]
        found[:-1] += ((mean - self.mean) / self.deviation)[:, None] * drawn[-1]
        return found

    def model(
        self, theta: np.ndarray, mean: np.ndarray, deviation: np.ndarray, facts: Mapping[str, float]
    ) -> LogisticModel:
        """From the shared coordinates to the model's own."""
        slopes = theta[:-1] / self.deviation[:, None]
        own = np.vstack([slopes * deviation[:, None], theta[-1:] + (mean - self.mean) @ slopes])
        return LogisticModel(self.classes, self.num_classes, mean, deviation, own, facts)

    def constant(self) -> LogisticModel:
        """Of records of one class."""
        return LogisticModel(self.classes, self.num_classes, self.mean, self.deviation, np.zeros((0, 0)))


def _rows(dataset: RecordTable, records: np.ndarray) -> np.ndarray:
    return np.asarray(dataset.rows(records), dtype=np.float64)

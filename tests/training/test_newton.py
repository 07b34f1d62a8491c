"""Logistic regressions at their optimum: equal to what scikit-learn converges to; certified removal keeps its bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lib_unlearning.dataset import Dataset
from lib_unlearning.errors import UserError
from lib_unlearning.training.logistic import LogisticModel
from lib_unlearning.training.newton import NewtonTrainer
from lib_unlearning.training.tasks import TrainingTask
from lib_unlearning.unlearning.base import Deletion, train_and_unlearn
from lib_unlearning.unlearning.newton_removal import NewtonRemoval, NewtonRemovalOptions, gaussian_epsilon

NOBODY = np.array([], dtype=np.int64)
FIRST = np.arange(500)


def table(classes: int, width: int = 6, records: int = 900) -> Dataset:
    """Columns of very different sizes, one of them constant, one nearly."""
    rng = np.random.default_rng(classes)
    rows = rng.normal(size=(records, width)) * 10.0 ** np.arange(-2, width - 2) + 5
    rows[:, 0] = 3.5
    rows[:, 1] = 0
    rows[4, 1] = 1  # gone with its record
    standard = rows / 10.0 ** np.arange(-2, width - 2)
    noise = rng.normal(size=(records, classes))
    labels = np.argmax(standard[:, [2 + k % 4 for k in range(classes)]] * rng.normal(size=classes) + noise, axis=1)
    labels[:classes] = np.arange(classes)
    return Dataset("table", "class", rows, labels.astype(np.int64), classes, "0" * 64)


def converged(dataset: Dataset, records: np.ndarray) -> np.ndarray:
    """Posteriors [N, c] of scikit-learn's own, as far as it goes."""
    fit = make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cholesky", tol=1e-13, max_iter=1000))
    fit.fit(dataset.rows(records), dataset.labels[records])
    found = np.zeros((len(dataset), dataset.num_classes))
    found[:, fit.classes_] = fit.predict_proba(dataset.rows(np.arange(len(dataset))))
    return found


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_they_are_what_scikit_learn_converges_to(classes: int) -> None:
    dataset = table(classes)
    few = FIRST[dataset.labels[FIRST] > 0] if classes > 2 else FIRST  # a class that is absent
    wanted = [
        FIRST,
        np.delete(FIRST, 4),
        np.delete(FIRST, [0, 7, 99]),
        FIRST[100:],
        np.concatenate([FIRST[100:], np.arange(700, 800)]),
        np.arange(600, 900),
        few,
    ]
    models = NewtonTrainer(dataset, "LR").fit([TrainingTask(records, 0) for records in wanted])
    for records, model in zip(wanted, models, strict=True):
        answers = model.predict_proba(dataset.rows(np.arange(len(dataset))))
        np.testing.assert_allclose(answers, converged(dataset, records), atol=1e-8)
        assert model.facts["gradient"] < 1e-9


def test_alone_or_together_they_are_the_same() -> None:
    dataset = table(3)
    tasks = [TrainingTask(np.delete(FIRST, number), 0) for number in range(5)]
    together = NewtonTrainer(dataset, "LR").fit([TrainingTask(FIRST, 0), *tasks])[1:]
    for task, model in zip(tasks, together, strict=True):
        (alone,) = NewtonTrainer(dataset, "LR").fit([task])
        rows = dataset.rows(FIRST)
        np.testing.assert_allclose(alone.predict_proba(rows), model.predict_proba(rows), atol=1e-9)


def test_one_class_is_a_constant_and_too_many_parameters_are_refused() -> None:
    dataset = table(2)
    records = np.flatnonzero(dataset.labels == 1)[:5]
    (model,) = NewtonTrainer(dataset, "LR").fit([TrainingTask(records, 0)])
    assert (model.predict_proba(dataset.rows(FIRST)) == [0, 1]).all()
    wide = Dataset("wide", "class", np.ones((20, 6000)), np.arange(20) % 2, 2, "0" * 64)
    with pytest.raises(UserError, match="--solver newton: 6000 features and 2 classes make 6,001 parameters"):
        NewtonTrainer(wide, "LR").fit([TrainingTask(np.arange(20), 0)])


@pytest.mark.parametrize("gone", [1, 20])
def removed(dataset: Dataset, gone: int, steps: int, sigma: float) -> tuple[LogisticModel, LogisticModel]:
    """The original and, after Newton steps without its first records, the unlearned model."""
    removal = NewtonRemoval(NewtonRemovalOptions(removal_steps=steps, removal_sigma=sigma), dataset)
    trainer = NewtonTrainer(dataset, "LR")
    original, (unlearned,) = train_and_unlearn(removal, trainer, FIRST, [Deletion(FIRST[:gone], NOBODY)], 3)
    return original.constituents[0], unlearned.constituents[0]


@pytest.mark.parametrize("gone", [1, 20])
def test_a_newton_step_goes_nearly_to_the_end_and_its_gradient_is_within_the_bound(gone: int) -> None:
    dataset = table(2)
    before, after = removed(dataset, gone, 1, 2.0)
    end = removed(dataset, gone, 8, 2.0)[1]
    rows = dataset.rows(FIRST)
    far, near = (np.abs(part.predict_proba(rows) - end.predict_proba(rows)).max() for part in (before, after))
    assert near < 0.1 * far
    largest = after.facts["gradient"] * (len(FIRST) - gone)
    assert 0 < largest < after.facts["residual"]
    assert after.facts["certificate"] == gaussian_epsilon(after.facts["residual"] / 2.0, 1e-4)
    assert "certificate" not in before.facts


def test_the_epsilon_of_a_gaussian_is_exact() -> None:
    """Delta by integrating the density above e^epsilon times the other one."""
    points = np.linspace(-60, 60, 2_000_001)
    for shift in (0.05, 0.5, 3.0):
        epsilon = gaussian_epsilon(shift, 1e-4)
        one, other = (np.exp(-((points - at) ** 2) / 2) / np.sqrt(2 * np.pi) for at in (shift, 0.0))
        excess = np.clip(one - np.exp(epsilon) * other, 0, None).sum() * (points[1] - points[0])
        assert excess == pytest.approx(1e-4, rel=1e-3)
    assert gaussian_epsilon(1e-6, 1e-4) == 0.0
    assert gaussian_epsilon(0.0, 1e-4) == 0.0


@pytest.mark.parametrize("classes", [2, 3])
def test_perturbed_models_are_the_same_alone_and_together(classes: int) -> None:
    dataset, trainer = table(classes), NewtonTrainer(table(classes), "LR")
    tasks = [TrainingTask(FIRST, 0), TrainingTask(FIRST[:-30], 0)]
    tasks = [replace(task, perturbation=(1.0, seed)) for seed, task in enumerate(tasks)]
    rows = dataset.rows(FIRST)
    for task, model in zip(tasks, trainer.fit(tasks), strict=True):
        assert model.facts["gradient"] < 1e-8
        (alone,) = trainer.fit([task])
        np.testing.assert_allclose(alone.predict_proba(rows), model.predict_proba(rows), atol=1e-7)


def test_without_a_perturbed_objective_nothing_is_certified() -> None:
    assert "certificate" not in removed(table(2), 1, 1, 0.0)[1].facts

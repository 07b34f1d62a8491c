"""What a GPU computes, beside the CPU; skipped without one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib_unlearning.dataset import Dataset
from lib_unlearning.training import graphs
from lib_unlearning.training.network_trainer import NetworkTrainer
from lib_unlearning.training.tasks import Privacy, TrainingSettings, TrainingTask
from tests.training.test_ensemble import BRIEF, jobs_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def _answers(data: Dataset, name: str, settings: TrainingSettings, tasks: list[TrainingTask]) -> list[np.ndarray]:
    models = NetworkTrainer(data, name, settings).fit(tasks)
    return list(models[0].predict_together(models, [np.arange(len(data))] * len(models), data))


@pytest.mark.parametrize("optim", ["Adam", "SGD"])
@pytest.mark.parametrize("name", ["LRTorch", "MLPTorch", "LRTorch_peer", "scnn"])
def test_a_gpu_gives_what_the_cpu_gives(dataset: Dataset, pictures: Dataset, name: str, optim: str) -> None:
    data = pictures if name == "scnn" else dataset
    tasks = jobs_of(data)
    settings = replace(BRIEF, optim=optim)
    on_cpu = _answers(data, name, settings, tasks)
    on_gpu = _answers(data, name, replace(settings, device="cuda:0"), tasks)
    for one, other in zip(on_cpu, on_gpu, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)


@pytest.mark.parametrize("name", ["MLPTorch", "scnn"])
def test_replayed_steps_are_the_steps(
    dataset: Dataset, pictures: Dataset, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal numbers of steps, so that all are replayed; with weights of records, too."""
    data = pictures if name == "scnn" else dataset
    everyone = np.random.default_rng(1).permutation(len(data))
    plain = [TrainingTask(everyone[:100], 5), TrainingTask(everyone[50:149], 6)]
    weighted = [replace(task, weights=np.linspace(-0.1, 1, len(task.records))) for task in plain]
    for tasks in (plain, weighted):
        settings = replace(BRIEF, device="cuda:0")
        replayed = _answers(data, name, settings, tasks)
        with monkeypatch.context() as patched:
            patched.setattr(graphs, "WARM_UP", 10**9)
            stepped = _answers(data, name, settings, tasks)
        for one, other in zip(replayed, stepped, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_twice_the_same(dataset: Dataset) -> None:
    settings = replace(BRIEF, device="cuda:0")
    for one, other in zip(*(_answers(dataset, "MLPTorch", settings, jobs_of(dataset)) for _ in range(2)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_private_stacks(dataset: Dataset) -> None:
    tasks = [TrainingTask(np.arange(100), 0), TrainingTask(np.arange(99), 0)]
    private = replace(BRIEF, privacy=Privacy(1e-9, 1.0, 1e-5, None, None, False))
    on_cpu = _answers(dataset, "MLPTorch", private, tasks)
    on_gpu = _answers(dataset, "MLPTorch", replace(private, device="cuda:0"), tasks)
    for one, other in zip(on_cpu, on_gpu, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)

"""DP-SGD, in stacks and a network at a time: what is drawn, what is spent, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lib_unlearning.dataset import Dataset
from lib_unlearning.errors import UserError
from lib_unlearning.training import networks, privacy_budget, private_training
from lib_unlearning.training.network_trainer import NetworkTrainer
from lib_unlearning.training.private_stack import PrivateStackTraining
from lib_unlearning.training.private_training import train_private
from lib_unlearning.training.tasks import Privacy, TrainingSettings, TrainingTask
from tests.training.test_ensemble import BRIEF, NOBODY


def private(**changes: Any) -> TrainingSettings:
    return replace(BRIEF, num_epochs=1, privacy=replace(Privacy(1.0, 1.0, 1e-5, None, None, False), **changes))


@pytest.mark.parametrize("optim", ["Adam", "SGD"])
@pytest.mark.parametrize("name", ["LRTorch", "LRTorch_peer", "MLPTorch", "scnn"])
@pytest.mark.parametrize("clip", [0.05, 100.0])  # all records are clipped, none is
def test_a_private_stack_takes_the_steps_that_opacus_takes(
    dataset: Dataset, pictures: Dataset, name: str, clip: float, optim: str
) -> None:
    """Without noise to speak of; tasks of unequal sizes, rates and numbers of steps."""
    dataset = pictures if name == "scnn" else dataset
    settings = replace(private(sigma=1e-15, clip=clip), num_epochs=2, optim=optim)
    everyone = np.random.default_rng(1).permutation(len(dataset))
    tasks = [TrainingTask(everyone[:100], 5), TrainingTask(everyone[50:110], 6), TrainingTask(everyone[:99], 5)]
    together = PrivateStackTraining(dataset, name, tasks, settings, "cpu", NOBODY).run()
    for number, task in enumerate(tasks):
        alone = train_private(dataset, name, task, settings, "cpu", NOBODY)
        for key, weights in alone.weights.items():
            torch.testing.assert_close(together.weights[key][number], weights[0], atol=2e-5, rtol=1e-4)
        np.testing.assert_allclose(together.history[number, :, :2], alone.history[0, :, :2], atol=1e-4)


def test_a_private_model_is_the_same_whatever_else_is_in_the_stack(dataset: Dataset) -> None:
    """Beside one that takes more steps an epoch, with noise, over two epochs."""
    settings = replace(private(sigma=1.0), num_epochs=2)
    few, many = TrainingTask(np.arange(60), 5), TrainingTask(np.arange(100), 6)
    alone = PrivateStackTraining(dataset, "LRTorch", [few], settings, "cpu", NOBODY).run()
    together = PrivateStackTraining(dataset, "LRTorch", [many, few], settings, "cpu", NOBODY).run()
    torch.testing.assert_close(together.weights["0.weight"][1], alone.weights["0.weight"][0], atol=1e-6, rtol=1e-5)


def test_a_model_that_waits_for_others_is_not_drowned(dataset: Dataset) -> None:
    """Nine steps an epoch beside three, with much noise: what it last drew does not grow while it waits."""
    settings = replace(private(sigma=1e8), num_epochs=2)
    few, many = TrainingTask(np.arange(40), 5), TrainingTask(np.arange(150), 6)
    for optim in ("Adam", "SGD"):
        together = PrivateStackTraining(
            dataset, "LRTorch", [few, many], replace(settings, optim=optim, lr=1e-9), "cpu", NOBODY
        ).run()
        assert torch.isfinite(together.weights["0.weight"]).all()


@pytest.mark.parametrize("train", ["stack", "alone"])
def test_noise_is_as_large_as_it_is_accounted_for(dataset: Dataset, train: str) -> None:
    """Records that are clipped to nothing leave noise alone: sigma x clip / batch a step, over many weights."""
    settings = replace(private(sigma=1e6, clip=1e-6), num_epochs=2, optim="SGD", lr=1.0)
    task = TrainingTask(np.arange(100), 3)
    if train == "stack":
        found = PrivateStackTraining(
            dataset, "MLPTorch", [task, TrainingTask(np.arange(90), 3)], settings, "cpu", NOBODY
        ).run()
    else:
        found = train_private(dataset, "MLPTorch", task, settings, "cpu", NOBODY)
    fresh = networks.fresh_weights(networks.ARCHITECTURES["MLPTorch"], (4,), 3, 3)
    moved = torch.cat([(found.weights[name][0] - fresh[name]).flatten() for name in fresh])
    _, steps = privacy_budget.schedule(100, settings, settings.privacy or Privacy())
    expected = 1.0 / 16 * (2 * steps) ** 0.5
    assert float(moved.std()) == pytest.approx(expected, rel=0.02)
    assert abs(float(moved.mean())) < 4 * expected / len(moved) ** 0.5


@pytest.mark.parametrize("name", ["LRTorch", "MLPTorch", "scnn", "resnet50"])
def test_private_training(dataset: Dataset, pictures: Dataset, name: str) -> None:
    data = pictures if name in ("scnn", "resnet50") else dataset
    job = TrainingTask(np.arange(16 if name == "resnet50" else 64), 0)
    epsilons = []
    for sigma in (0.8, 4.0):
        privacy = Privacy(sigma, 1.0, 1e-5, None, None, False)
        (model,) = NetworkTrainer(data, name, replace(BRIEF, num_epochs=1, privacy=privacy)).fit([job])
        (answer,) = model.predict_together([model], [np.arange(20)], data)
        assert np.isfinite(answer).all()
        assert model.stack.epsilon is not None
        epsilons.append(float(model.stack.epsilon[0]))
    assert 0 < epsilons[1] < epsilons[0]


def test_a_budget_chooses_the_noise(dataset: Dataset) -> None:
    privacy = Privacy(1.0, 1.0, 1e-5, 0.1, 2.0, False)
    trainer = NetworkTrainer(dataset, "LRTorch", replace(BRIEF, privacy=privacy))
    (model,) = trainer.fit([TrainingTask(np.arange(300), 0)])
    assert model.stack.epsilon is not None
    assert 1.5 < float(model.stack.epsilon[0]) <= 2.0


def test_noise_is_not_shared_by_original_and_unlearned(dataset: Dataset) -> None:
    """With the same noise in both, the difference of two models whose gradients are drowned in it would be small."""
    records = np.arange(0, 600, 5)
    jobs = [TrainingTask(records, 0), TrainingTask(np.delete(records, 7), 0), TrainingTask(records, 0)]
    before, after, again = NetworkTrainer(dataset, "MLPTorch", private(sigma=1000.0)).fit(jobs)
    weight = [model.weights["0.weight"] for model in (before, after, again)]
    torch.testing.assert_close(weight[0], weight[2])  # the same records, the same model
    moved = [
        (part - networks.fresh_weights(networks.ARCHITECTURES["MLPTorch"], (4,), 3, 0)["0.weight"]).flatten()
        for part in weight
    ]
    assert abs(float(torch.nn.functional.cosine_similarity(moved[0], moved[1], dim=0))) < 4 / 1024**0.5


def test_both_accountants_agree_roughly_and_a_hopeless_budget_is_one_line(dataset: Dataset) -> None:
    spent = {}
    for accountant in ("rdp", "prv"):
        (model,) = NetworkTrainer(dataset, "LRTorch", private(accountant=accountant)).fit(
            [TrainingTask(np.arange(200), 0)]
        )
        spent[accountant] = model.facts["epsilon"]
    assert 0 < spent["prv"] <= spent["rdp"] < 2 * spent["prv"]  # rdp only bounds what prv computes
    with pytest.raises(UserError, match="--target_epsilon 1e-05"):
        NetworkTrainer(dataset, "LRTorch", private(target_epsilon=1e-5)).fit([TrainingTask(np.arange(200), 0)])


def test_empty_batches_add_noise_and_are_counted(dataset: Dataset) -> None:
    """n 200, rate 0.005: a batch in three is empty. Epsilon is what Opacus accounts for 200 steps an epoch."""
    from opacus.accountants import RDPAccountant
    from opacus.grad_sample import GradSampleModule
    from opacus.optimizers import DPOptimizer

    trainer = NetworkTrainer(dataset, "LRTorch", replace(private(sample_rate=0.005), num_epochs=2))
    (model,) = trainer.fit([TrainingTask(np.arange(200), 0)])
    accountant = RDPAccountant()
    for _ in range(400):
        accountant.step(noise_multiplier=1.0, sample_rate=0.005)
    assert model.facts["epsilon"] == pytest.approx(accountant.get_epsilon(1e-5))
    module = GradSampleModule(torch.nn.Linear(4, 3))
    optimizer = DPOptimizer(
        torch.optim.SGD(module.parameters(), lr=1.0),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        expected_batch_size=1,
        generator=torch.Generator().manual_seed(0),
    )
    before = module._module.weight.detach().clone()
    private_training._private_step(module, optimizer, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    moved = module._module.weight.detach() - before
    assert 0.5 < float(moved.std()) < 1.6  # noise of standard deviation sigma * clip / batch


@pytest.mark.parametrize(("delta", "accepted"), [(0.9, False), (1.0, False), (0.005, False), (0.0049, True)])
def test_a_delta_that_makes_no_sense_is_refused(dataset: Dataset, delta: float, accepted: bool) -> None:
    trainer = NetworkTrainer(dataset, "LRTorch", private(delta=delta, sigma=20.0))
    if accepted:
        assert trainer.fit([TrainingTask(np.arange(200), 0)])[0].facts["epsilon"] >= 0
        return
    with pytest.raises(UserError, match=r"--delta .*: must be below 1 / 200"):
        trainer.fit([TrainingTask(np.arange(200), 0)])


def test_next_to_no_noise_is_an_unbounded_epsilon_and_no_error(dataset: Dataset) -> None:
    for sigma in (1e-6, 1e-300):
        (model,) = NetworkTrainer(dataset, "LRTorch", private(sigma=sigma)).fit([TrainingTask(np.arange(200), 0)])
        assert model.facts["epsilon"] > 1e6


def test_the_noise_of_a_budget_is_searched_once(dataset: Dataset) -> None:
    privacy_budget.noise_for.cache_clear()
    trainer = NetworkTrainer(dataset, "LRTorch", private(target_epsilon=5.0, sample_rate=0.2))
    trainer.fit([TrainingTask(np.arange(number, number + 200), number) for number in range(5)])
    found = privacy_budget.noise_for.cache_info()
    assert (found.misses, found.hits) == (1, 4)


@pytest.mark.parametrize("sigma", [1e-160, 1e-30, 1e-7])
def test_next_to_no_noise_is_unbounded_at_once(sigma: float) -> None:
    assert privacy_budget.spent_epsilon(Privacy(sigma=sigma), sigma, 0.1, 100) == np.inf

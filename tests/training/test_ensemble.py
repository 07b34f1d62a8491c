"""Networks trained as a stack: equal to training alone, for ragged sets, on tables and pictures."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import config
import data_prepare
import models as zoo
from lib_unlearning.cache.layout import Layout
from lib_unlearning.cache.network_file import NetworkFiles
from lib_unlearning.cache.sealed_pickle import State
from lib_unlearning.cache.trained_set import TrainedSet
from lib_unlearning.dataset import Dataset
from lib_unlearning.errors import UserError
from lib_unlearning.training import device, ensemble, network_trainer, networks, orders
from lib_unlearning.training.linear_gradients import LinearGradients
from lib_unlearning.training.network_stack import forward
from lib_unlearning.training.network_trainer import NetworkTrainer
from lib_unlearning.training.record_random import base_key, keys_of, record_order
from lib_unlearning.training.tasks import TrainingSettings, TrainingTask
from lib_unlearning.unlearning.base import Deletion, train_and_unlearn
from lib_unlearning.unlearning.registry import OURS, UNLEARNING_METHODS
from lib_unlearning.unlearning.sharded import ShardOptions

NOBODY = np.array([], dtype=int)
FILES = NetworkFiles("cpu")
BRIEF = TrainingSettings(num_epochs=3, batch_size=16, device="cpu")


def jobs_of(dataset: Dataset) -> list[TrainingTask]:
    """Jobs of unequal sizes, some of which share a seed."""
    everyone = np.random.default_rng(1).permutation(len(dataset))
    return [
        TrainingTask(everyone[:100], 5),
        TrainingTask(np.delete(everyone[:100], 7), 5),
        TrainingTask(everyone[50:83], 6),  # fewer steps an epoch than the others
        TrainingTask(everyone[100:196], 7),
    ]


@pytest.mark.parametrize("optim", ["Adam", "SGD"])
@pytest.mark.parametrize(
    ("name", "dropout"), [("LRTorch", False), ("MLPTorch", False), ("scnn", False), ("scnn", True)]
)
def test_a_stack_equals_training_alone(
    dataset: Dataset, pictures: Dataset, name: str, dropout: bool, optim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pictures if name == "scnn" else dataset
    if not dropout:
        without = replace(networks.ARCHITECTURES[name], dropout_units=0)
        monkeypatch.setitem(networks.ARCHITECTURES, name, without)
    trainer = NetworkTrainer(data, name, replace(BRIEF, optim=optim, ensemble_size=4))
    jobs, asked = jobs_of(data), [np.arange(len(data))]
    together = trainer.fit(jobs)
    assert together[0].stack is together[3].stack
    for job, model in zip(jobs, together, strict=True):
        (alone,) = trainer.fit([job])
        expected, found = (part.predict_together([part], asked, data)[0] for part in (alone, model))
        np.testing.assert_allclose(found, expected, atol=1e-4)
    first, other = (model.predict_together([model], asked, data)[0] for model in (together[0], together[3]))
    assert np.abs(first - other).max() > 1e-3  # they are different models


def test_a_network_equals_torchs_own_training(dataset: Dataset) -> None:
    """The stacked Adam against torch.optim.Adam in a plain loop."""
    job = TrainingTask(np.arange(0, 600, 7), 3)
    (model,) = NetworkTrainer(dataset, "MLPTorch", BRIEF).fit([job])
    architecture = networks.ARCHITECTURES["MLPTorch"]
    module = architecture.build((4,), 3)
    module.load_state_dict(networks.fresh_weights(architecture, (4,), 3, 3))
    rows = dataset.features[job.records].astype(np.float64)
    mean, std = rows.mean(axis=0), rows.std(axis=0)
    inputs = torch.from_numpy(((rows - mean) / std).astype(np.float32))
    labels = torch.from_numpy(dataset.labels[job.records])
    optimizer = torch.optim.Adam(module.parameters(), lr=architecture.learning_rate)
    for epoch in range(3):
        for batch in torch.from_numpy(record_order(3, epoch, job.records)).split(16):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(module(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    everyone = torch.from_numpy(((dataset.features - mean) / std).astype(np.float32))
    expected = torch.softmax(module(everyone), dim=1).detach().numpy()
    np.testing.assert_allclose(model.predict_proba(dataset.features), expected, atol=1e-5)


def test_logistic_regression_agrees_with_scikit_learn() -> None:
    """On Adult, trained to convergence: held-out accuracies within one point."""
    data = data_prepare.obtain_dataset("adult", "income", Layout(config.TEMP_DATA_DIR))
    order = np.random.default_rng(0).permutation(len(data))
    records, held_out = order[:2000], order[2000:12000]
    family = zoo.TARGET_MODELS["LR"]
    theirs = family.trainer(data, family.Options(), NOBODY).fit([TrainingTask(records, 0)])[0]
    ours = NetworkTrainer(data, "LRTorch", replace(BRIEF, num_epochs=60, batch_size=64)).fit(
        [TrainingTask(records, 0)]
    )[0]
    accuracies = [
        (model.predict_proba(data.rows(held_out)).argmax(axis=1) == data.labels[held_out]).mean()
        for model in (theirs, ours)
    ]
    assert abs(accuracies[0] - accuracies[1]) < 0.01


@pytest.mark.parametrize("batch_size", [7, 16, 200])
def test_batches_follow_each_tasks_order_with_its_gaps(batch_size: int) -> None:
    """On the device, against `record_order` one task at a time."""
    everyone = np.random.default_rng(1).permutation(500)
    gone = np.delete(np.arange(100), [3, 50])
    tasks = [
        TrainingTask(everyone[:100], 5),
        TrainingTask(everyone[gone], 5, places=everyone[:100], at=gone),
        TrainingTask(everyone[200:233], 6),
    ]
    held, share = orders.Orders(tasks, batch_size, "cpu").epoch(4)
    for number, task in enumerate(tasks):
        places, holds = task.filled()
        expected = holds[record_order(task.seed, 4, places)]
        found = held[:, number].flatten().numpy()
        np.testing.assert_array_equal(found[: len(expected)], expected)
        assert (found[len(expected) :] == -1).all()
        for step in range(-(-len(expected) // batch_size)):
            batch = expected[step * batch_size : (step + 1) * batch_size]
            weights = share[step, number, : len(batch)].numpy()
            np.testing.assert_array_equal(weights, np.where(batch < 0, 0, np.float32(1 / len(batch))))


def test_deleting_a_record_leaves_the_order_of_the_others() -> None:
    records = np.random.default_rng(0).permutation(500)[:100]
    before = records[record_order(3, 8, records)]
    remaining = np.delete(records, 40)
    after = remaining[record_order(3, 8, remaining)]
    np.testing.assert_array_equal(after, before[before != records[40]])
    assert not np.array_equal(before, records[record_order(3, 9, records)])


def test_a_stack_is_forgotten_as_soon_as_it_is_trained(dataset: Dataset) -> None:
    """Without waiting for the garbage collector: on a GPU it would keep the memory of the next."""
    training = ensemble.StackTraining(dataset, "MLPTorch", jobs_of(dataset), BRIEF, "cpu", NOBODY)
    left = weakref.ref(training)
    gc.disable()
    try:
        training.run()
        del training
        assert left() is None
    finally:
        gc.enable()


def test_networks_learn(dataset: Dataset, pictures: Dataset) -> None:
    for name, data in (("LRTorch", dataset), ("MLPTorch", dataset), ("scnn", pictures)):
        (model,) = NetworkTrainer(data, name, replace(BRIEF, num_epochs=25)).fit(
            [TrainingTask(np.arange(0, len(data), 2), 0)]
        )
        held_out = np.arange(1, len(data), 2)
        (answer,) = model.predict_together([model], [held_out], data)
        assert (answer.argmax(axis=1) == data.labels[held_out]).mean() > 0.7
        assert model.stack.history[0, -1, 0] < model.stack.history[0, 0, 0]


@pytest.mark.parametrize("name", ["resnet50", "densenet"])
def test_batch_norm_networks(pictures: Dataset, name: str) -> None:
    trainer = NetworkTrainer(pictures, name, replace(BRIEF, num_epochs=1))
    (model,) = trainer.fit([TrainingTask(np.arange(33), 0)])  # the last batch has a single record
    together = model.predict_together([model], [np.arange(20)], pictures)[0]
    alone = model.predict_together([model], [np.arange(3, 4)], pictures)[0]
    np.testing.assert_allclose(alone, together[3:4], atol=1e-5)  # not in training mode: neighbours do not matter
    np.testing.assert_allclose(together.sum(axis=1), 1)


@pytest.mark.parametrize("method", [name for name in OURS if name != "newton_removal"])
def test_file_round_trip_and_damage(dataset: Dataset, tmp_path: Path, method: str) -> None:
    kind = UNLEARNING_METHODS[method]
    unlearner = kind(ShardOptions(3) if method == "sisa" else kind.Options(), dataset)
    records = np.arange(0, 600, 5)
    deletions = [Deletion(records[[number]], NOBODY) for number in (1, 70)]
    trainer = NetworkTrainer(dataset, "MLPTorch", BRIEF)
    original, unlearned = train_and_unlearn(unlearner, trainer, records, deletions, 0)
    path = tmp_path / "set.models"
    FILES.write(path, TrainedSet(original, unlearned, np.ones((3, 2)), np.full(3, np.nan)), "a")
    assert FILES.inspect(path, "a", False) is State.CURRENT
    assert FILES.read(path, "b", False) is None
    again = FILES.read(path, "a", False)
    assert again is not None
    pairs = zip([original, *unlearned], [again.original, *again.unlearned], strict=True)
    for before, after in pairs:
        np.testing.assert_allclose(
            after.predict_proba(dataset.features), before.predict_proba(dataset.features), atol=1e-7
        )
        for shard, same in zip(before.shards, after.shards, strict=True):
            np.testing.assert_array_equal(shard, same)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"set\.models is damaged"):
        FILES.read(path, "a", False)
    path.write_bytes(content[:50])
    with pytest.raises(UserError, match=r"set\.models is damaged"):
        FILES.inspect(path, "a", False)


def test_out_of_memory_halves_the_stack_and_goes_on(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    train = ensemble.train_stack

    def small_device(dataset: Dataset, name: str, jobs: Any, *rest: Any) -> Any:
        if len(jobs) > 2:
            raise torch.OutOfMemoryError("no memory")
        return train(dataset, name, jobs, *rest)

    monkeypatch.setattr(network_trainer, "train_stack", small_device)
    trainer = NetworkTrainer(dataset, "LRTorch", replace(BRIEF, ensemble_size=4))
    with caplog.at_level("WARNING", logger="unlearning"):
        models = trainer.fit(jobs_of(dataset) * 2)
    assert len(models) == 8
    assert trainer.size == 2
    assert len([record for record in caplog.records if "out of memory" in record.message]) == 1


@pytest.mark.parametrize(("name", "kind"), [("MLPTorch", "pictures"), ("scnn", "dataset"), ("resnet50", "dataset")])
def test_wrong_kind_of_data(name: str, kind: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(UserError, match=f"--original_model {name} learns from"):
        NetworkTrainer(request.getfixturevalue(kind), name, BRIEF)


def test_absent_devices_and_diverging_training(dataset: Dataset) -> None:
    with pytest.raises(UserError, match=r"--device cuda:99 .or --cuda.: this machine has"):
        NetworkTrainer(dataset, "LRTorch", replace(BRIEF, device="cuda:99"))
    with pytest.raises(UserError, match=r"the loss is not finite in epoch .*--lr 1e"):
        NetworkTrainer(dataset, "MLPTorch", replace(BRIEF, lr=1e30, optim="SGD")).fit(jobs_of(dataset))


# ---------------------------------------------------------------- what belongs to a record


def test_random_numbers_belong_to_a_record_on_every_kind_of_array() -> None:
    numbers = np.arange(-5, 100_000)
    keys = keys_of(base_key(3, "order", 1), numbers)
    np.testing.assert_array_equal(keys_of(base_key(3, "order", 1), torch.from_numpy(numbers)).numpy(), keys)
    assert len(np.unique(keys)) == len(keys)
    bits = (keys[:, None] >> np.arange(64)) & 1
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.01  # each bit is a fair coin
    assert np.abs(np.corrcoef(keys[:-1], keys[1:])[0, 1]) < 0.02
    assert not np.array_equal(keys, keys_of(base_key(3, "order", 2), numbers))


def test_a_dropout_mask_depends_on_the_record_and_not_on_its_neighbours() -> None:
    bases = torch.tensor([11, 12])
    records = torch.tensor([[5, 900, 7], [5, 900, 7]])
    masks = orders.dropout_masks(bases, records, 2000)
    moved = orders.dropout_masks(bases, records[:, [2, 0]], 2000)
    torch.testing.assert_close(moved, masks[:, [2, 0]])
    assert set(masks.unique().tolist()) == {0.0, 2.0}
    assert abs(float(masks.mean()) - 1) < 0.05
    different = float((masks[0] != masks[1]).float().mean())
    assert 0.45 < different < 0.55
    assert 0.45 < float((masks[0, 0] != masks[0, 1]).float().mean()) < 0.55


def test_gradients_by_hand_are_those_of_autograd() -> None:
    architecture = networks.ARCHITECTURES["MLPTorch"]
    fresh = [networks.fresh_weights(architecture, (6,), 3, seed) for seed in (0, 1)]
    weights = {name: torch.stack([part[name] for part in fresh]).requires_grad_() for name in fresh[0]}
    records, labels, share = torch.randn(2, 8, 6), torch.randint(0, 3, (2, 8)), torch.rand(2, 8)
    logits = forward("MLPTorch", (6,), 3, weights, records, None)
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    (losses.view(2, 8) * share).sum().backward()
    expected = {name: tensor.grad for name, tensor in weights.items()}
    found = LinearGradients(weights, 8)(records, labels, share, None)
    torch.testing.assert_close(found, logits)
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor.grad, expected[name], msg=name)


def test_history_tells_what_was_learned(dataset: Dataset) -> None:
    held_out = np.arange(1, 600, 2)
    trainer = NetworkTrainer(dataset, "MLPTorch", replace(BRIEF, num_epochs=4), held_out)
    (model,) = trainer.fit([TrainingTask(np.arange(0, 600, 2), 0)])
    assert model.facts["curve"].shape == (4, 3)
    (answer,) = model.predict_together([model], [held_out], dataset)
    accuracy = (answer.argmax(axis=1) == dataset.labels[held_out]).mean()
    assert model.facts["curve"][-1, 2] == pytest.approx(accuracy)
    assert model.facts["curve"][-1, 0] < model.facts["curve"][0, 0]


def test_mixed_precision_stays_close(dataset: Dataset, pictures: Dataset) -> None:
    for name, data in (("MLPTorch", dataset), ("scnn", pictures)):
        jobs = [TrainingTask(np.arange(60), 0)]
        full, half = (NetworkTrainer(data, name, replace(BRIEF, amp=amp)).fit(jobs)[0] for amp in (False, True))
        answers = [model.predict_together([model], [np.arange(50)], data)[0] for model in (full, half)]
        assert 0 < np.abs(answers[0] - answers[1]).max() < 0.2


# ---------------------------------------------------------------- memory


def test_stacks_fit_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def size(free: float, name: str = "MLPTorch", shape: tuple[int, ...] = (14,), where: str = "cpu") -> int:
        monkeypatch.setattr(device, "_free_bytes", lambda _: free)
        return device.suitable_stack(networks.ARCHITECTURES[name], shape, 2, 64, where)

    assert size(1e12) == 32
    assert size(0) == 1
    weights = sum(
        tensor.numel() for tensor in networks.fresh_weights(networks.ARCHITECTURES["MLPTorch"], (14,), 2, 0).values()
    )
    assert 4 < size(4 * weights * 100) < 10  # six copies of the weights, activations, half of what is free
    assert size(1e12, "scnn", (1, 28, 28)) == 1
    assert size(4e9, "scnn", (3, 32, 32), "cuda:0") < size(8e9, "scnn", (3, 32, 32), "cuda:0")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_no_room_for_a_single_network_is_one_line(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def full(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(network_trainer, "train_stack", full)
    with pytest.raises(UserError, match="not even one network fits into the memory of cpu; lower --batch_size"):
        NetworkTrainer(dataset, "LRTorch", BRIEF).fit(jobs_of(dataset))


def test_other_errors_of_torch_are_not_taken_for_full_memory(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(network_trainer, "train_stack", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        NetworkTrainer(dataset, "LRTorch", BRIEF).fit(jobs_of(dataset))


def test_no_byte_of_a_network_files_header_may_change(dataset: Dataset, tmp_path: Path) -> None:
    """Names of arrays, their places and what is said of them: every flip is refused."""
    records = np.arange(0, 600, 10)
    kind = UNLEARNING_METHODS["scratch"]
    trainer = NetworkTrainer(dataset, "LRTorch", BRIEF)
    original, unlearned = train_and_unlearn(kind(kind.Options(), dataset), trainer, records, [], 0)
    path = tmp_path / "set.models"
    FILES.write(path, TrainedSet(original, unlearned, np.ones((1, 2)), np.full(1, np.nan)), "a")
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in range(0, header, 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            assert FILES.read(path, "a", False) is not None
        except UserError:
            continue
        assert whole[place : place + 1] == b" "  # padding at the end of the header

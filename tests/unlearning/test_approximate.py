"""Approximate unlearning on networks: objectives against plain training, and what each method must do to a loss."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lib_unlearning.dataset import Dataset
from lib_unlearning.errors import UserError
from lib_unlearning.options import NoOptions
from lib_unlearning.seeds import integer_seed
from lib_unlearning.training.network_trainer import NetworkTrainer
from lib_unlearning.training.tasks import TrainingSettings, TrainingTask
from lib_unlearning.unlearning.amnesiac import Amnesiac, AmnesiacOptions
from lib_unlearning.unlearning.base import Deletion, train_and_unlearn
from lib_unlearning.unlearning.dampening import DampeningOptions, SelectiveDampening
from lib_unlearning.unlearning.fine_tuning import FineTuning, FineTuningOptions
from lib_unlearning.unlearning.neg_grad import NegGrad, NegGradOptions, NegGradPlus, NegGradPlusOptions
from lib_unlearning.unlearning.registry import OURS, UNLEARNING_METHODS
from lib_unlearning.unlearning.relabelling import Saliency, SaliencyOptions
from lib_unlearning.unlearning.scrub import Scrub, ScrubOptions
from models import TARGET_MODELS

RECORDS = np.arange(0, 600, 4)
NOBODY = np.array([], dtype=np.int64)
GONE = RECORDS[[3, 40, 90]]
BRIEF = TrainingSettings(num_epochs=6, batch_size=32, device="cpu")


def trainer_of(dataset: Dataset, model: str = "MLPTorch") -> NetworkTrainer:
    return NetworkTrainer(dataset, model, BRIEF)


def loss(model: Any, dataset: Dataset, records: np.ndarray) -> float:
    answers = model.predict_proba(dataset.rows(records))
    return float(-np.log(answers[np.arange(len(records)), dataset.labels[records]] + 1e-12).mean())


def forgotten(dataset: Dataset, method: type, options: Any) -> tuple[Any, Any]:
    original, unlearned = train_and_unlearn(
        method(options, dataset), trainer_of(dataset), RECORDS, [Deletion(GONE, NOBODY)], 0
    )
    return original, unlearned[0]


@pytest.mark.parametrize("model", ["LRTorch", "MLPTorch"])
def test_the_labels_as_targets_and_weights_of_one_change_nothing(dataset: Dataset, model: str) -> None:
    plain = TrainingTask(RECORDS, 5)
    same = replace(plain, weights=np.ones(len(RECORDS)), targets=np.eye(3)[dataset.labels[RECORDS]])
    one, other = (trainer_of(dataset, model).fit([task])[0] for task in (plain, same))
    rows = dataset.rows(np.arange(600))
    np.testing.assert_allclose(one.predict_proba(rows), other.predict_proba(rows), atol=1e-6)


def test_a_weight_of_two_is_the_record_twice(dataset: Dataset) -> None:
    """With batches of everything and SGD, whose steps are linear in the gradient."""
    settings = replace(BRIEF, batch_size=1000, optim="SGD", lr=0.05)
    weighted = TrainingTask(RECORDS[:20], 5, weights=np.full(20, 2.0))
    faster = TrainingTask(RECORDS[:20], 5, lr=0.1)
    one, other = (NetworkTrainer(dataset, "LRTorch", settings).fit([task])[0] for task in (weighted, faster))
    rows = dataset.rows(np.arange(600))
    np.testing.assert_allclose(one.predict_proba(rows), other.predict_proba(rows), atol=1e-6)


def test_ascent_makes_the_forgotten_worse_and_the_plus_spares_the_rest(dataset: Dataset) -> None:
    original, after = forgotten(dataset, NegGrad, NegGradOptions(ascent_epochs=8, ascent_lr=0.005))
    kept = np.setdiff1d(RECORDS, GONE)
    assert loss(after, dataset, GONE) > 2 * loss(original, dataset, GONE)
    spared = forgotten(dataset, NegGradPlus, NegGradPlusOptions(plus_epochs=3))[1]
    assert loss(spared, dataset, kept) < loss(after, dataset, kept)
    assert loss(spared, dataset, GONE) > loss(original, dataset, GONE)


def test_no_step_leaves_the_original(dataset: Dataset) -> None:
    original, after = forgotten(dataset, FineTuning, FineTuningOptions(tuning_lr=1e-12))
    rows = dataset.rows(np.arange(600))
    np.testing.assert_allclose(original.predict_proba(rows), after.predict_proba(rows), atol=1e-5)


def test_max_steps_come_before_min_steps(dataset: Dataset) -> None:
    method = Scrub(ScrubOptions(scrub_max_steps=2, scrub_min_steps=3), dataset)
    work = method.work(RECORDS, [Deletion(GONE, NOBODY)], 0)
    trainer = trainer_of(dataset)
    models, sizes = trainer.fit(next(work)), []
    for _ in range(method.phases):
        (task,) = work.send(models)
        assert task.weights is not None
        sizes.append((len(task.records), bool(task.weights[0] < 0)))
        models = trainer.fit([task])
    with pytest.raises(StopIteration):
        work.send(models)
    kept = len(RECORDS) - len(GONE)
    assert sizes == [(3, True), (kept, False), (3, True), (kept, False), (kept, False)]


def test_dampening_shrinks_what_matters_to_the_forgotten_alone(dataset: Dataset) -> None:
    original, after = forgotten(dataset, SelectiveDampening, DampeningOptions(ssd_alpha=3.0, ssd_lambda=0.5))
    (model,), (less,) = original.constituents, after.constituents
    to_all = model.importance(dataset.rows(RECORDS), dataset.labels[RECORDS])
    to_gone = model.importance(dataset.rows(GONE), dataset.labels[GONE])
    moved = 0
    for name, tensor in model.weights.items():
        chosen = to_gone[name] > 3 * to_all[name]
        wanted = torch.where(chosen, tensor * (0.5 * to_all[name] / to_gone[name]).clamp(max=1), tensor)
        np.testing.assert_allclose(less.weights[name].numpy(), wanted.numpy(), atol=1e-7)
        moved += int(chosen.sum())
    assert moved > 0
    assert loss(after, dataset, GONE) > loss(original, dataset, GONE)


def test_dampening_says_what_it_cannot_do(dataset: Dataset) -> None:
    method = SelectiveDampening(DampeningOptions(), dataset)
    tree = TARGET_MODELS["DT"].trainer(dataset, TARGET_MODELS["DT"].Options(), NOBODY)
    with pytest.raises(UserError, match="needs gradients of each record"):
        train_and_unlearn(method, tree, RECORDS, [Deletion(GONE, NOBODY)], 0)
    with pytest.raises(UserError, match="learns nothing"):
        train_and_unlearn(method, trainer_of(dataset), RECORDS, [Deletion(GONE, np.arange(1, 4))], 0)


def test_importance_is_the_mean_squared_gradient_of_each_record(dataset: Dataset) -> None:
    (model,) = trainer_of(dataset).fit([TrainingTask(RECORDS, 0)])
    rows, labels = dataset.rows(RECORDS[:70]), dataset.labels[RECORDS[:70]]
    single = [model.gradient(rows[number : number + 1], labels[number : number + 1]) for number in range(70)]
    for name, found in model.importance(rows, labels).items():
        wanted = np.mean([gradient[name].numpy() ** 2 for gradient in single], axis=0)
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-9)


def test_saliency_moves_its_share_of_the_weights_and_no_other(dataset: Dataset) -> None:
    original, after = forgotten(dataset, Saliency, SaliencyOptions(saliency=0.3, label_epochs=1))
    (model,), (moved,) = original.constituents, after.constituents
    changed = [(model.weights[name] != moved.weights[name]).numpy().ravel() for name in model.weights]
    assert 0.1 < np.concatenate(changed).mean() <= 0.301
    original, after = forgotten(dataset, Saliency, SaliencyOptions(saliency=1.0, label_epochs=1))
    (model,), (moved,) = original.constituents, after.constituents
    slopes = model.gradient(dataset.rows(GONE), dataset.labels[GONE])
    for name, tensor in slopes.items():  # what the forgotten do not touch stays, even where all may move
        assert not ((model.weights[name] != moved.weights[name]) & (tensor == 0)).any()
    assert any((tensor == 0).any() for tensor in slopes.values())


def test_amnesiac_takes_back_the_steps_that_saw_the_record(dataset: Dataset) -> None:
    """In one batch of everything every step saw it: what is left are the initial weights."""
    settings = replace(BRIEF, batch_size=1000)
    trainer = NetworkTrainer(dataset, "MLPTorch", settings)
    task = TrainingTask(RECORDS, 5, watched=[GONE, np.array([599])])
    (model,) = trainer.fit([task])
    (untouched,) = trainer.fit([TrainingTask(RECORDS, 5, epochs=1, lr=1e-12)])
    (plain,) = trainer.fit([TrainingTask(RECORDS, 5)])
    rows = dataset.rows(np.arange(600))
    answers = [part.predict_proba(rows) for part in (model.less_updates(model, 0), model.less_updates(model, 1), model)]
    for found, wanted in zip(answers, (untouched, plain, plain), strict=True):
        np.testing.assert_allclose(found, wanted.predict_proba(rows), atol=1e-5)


def test_smaller_batches_lose_less(dataset: Dataset) -> None:
    original, after = forgotten(dataset, Amnesiac, AmnesiacOptions())
    assert loss(after, dataset, GONE) > loss(original, dataset, GONE)


OF_NETWORKS = [name for name in OURS if not UNLEARNING_METHODS[name].exact and name != "newton_removal"]


@pytest.mark.parametrize("name", OF_NETWORKS)
def test_deletions_do_not_know_of_each_other(dataset: Dataset, name: str) -> None:
    """Alone or together, a deletion leaves the same model."""
    method = UNLEARNING_METHODS[name](UNLEARNING_METHODS[name].Options(), dataset)
    deletions = [Deletion(GONE[:1], NOBODY), Deletion(GONE[1:], NOBODY)]
    together = train_and_unlearn(method, trainer_of(dataset), RECORDS, deletions, 0)[1]
    alone = train_and_unlearn(method, trainer_of(dataset), RECORDS, deletions[:1], 0)[1]
    rows = dataset.rows(np.arange(600))
    np.testing.assert_allclose(together[0].predict_proba(rows), alone[0].predict_proba(rows), atol=1e-5)


@pytest.mark.parametrize("name", OF_NETWORKS)
def test_one_by_one(dataset: Dataset, name: str) -> None:
    """One record in turn is one record at once; of several, each turn goes on from what the last one left."""

    def after(records: np.ndarray, one_by_one: bool) -> Any:
        method = UNLEARNING_METHODS[name](UNLEARNING_METHODS[name].Options(), dataset)
        deletion = Deletion(records, NOBODY, one_by_one=one_by_one)
        return train_and_unlearn(method, trainer_of(dataset), RECORDS, [deletion], 0)[1][0]

    rows = dataset.rows(np.arange(600))
    alone, in_turn = (after(GONE[:1], one_by_one).predict_proba(rows) for one_by_one in (False, True))
    np.testing.assert_array_equal(alone, in_turn)
    together, in_turns = (after(GONE, one_by_one) for one_by_one in (False, True))
    np.testing.assert_array_equal(together.shards[0], in_turns.shards[0])
    if name not in ("nothing", "noise"):
        assert not np.allclose(together.predict_proba(rows), in_turns.predict_proba(rows), atol=1e-6)


def test_a_turn_goes_on_from_the_one_before(dataset: Dataset) -> None:
    trainer, method = trainer_of(dataset), FineTuning(FineTuningOptions(), dataset)
    deletion = Deletion(GONE[:2], NOBODY, one_by_one=True)
    original, (found,) = train_and_unlearn(method, trainer, RECORDS, [deletion], 0)
    model = original.constituents[0]
    for turn in range(2):
        kept = RECORDS[~np.isin(RECORDS, GONE[: turn + 1])]
        seed = integer_seed(0, "forget", 0, 0, *([turn] if turn else []))
        (model,) = trainer.fit([TrainingTask(kept, seed, model, 5, 0.001)])
    rows = dataset.rows(np.arange(600))
    np.testing.assert_array_equal(found.predict_proba(rows), model.predict_proba(rows))


def test_no_step_is_taken_back_twice(dataset: Dataset) -> None:
    """What both turns take back is what is taken back at once, though the records shared batches."""
    task = TrainingTask(RECORDS, 0, watched=[GONE[:1], GONE[:2]])
    (model,) = trainer_of(dataset).fit([task])
    in_turn = model.less_updates(model, 0).less_updates(model, 1, 0)
    rows = dataset.rows(np.arange(600))
    np.testing.assert_allclose(in_turn.predict_proba(rows), model.less_updates(model, 1).predict_proba(rows), atol=1e-5)


def test_what_cannot_start_from_a_model_says_so(dataset: Dataset) -> None:
    trainer = TARGET_MODELS["DT"].trainer(dataset, TARGET_MODELS["DT"].Options(), NOBODY)
    method = UNLEARNING_METHODS["neg_grad"](NegGradOptions(), dataset)
    with pytest.raises(UserError, match="no objective, schedule, warm_start"):
        train_and_unlearn(method, trainer, RECORDS, [Deletion(GONE, NOBODY)], 0)
    assert UNLEARNING_METHODS["nothing"].Options is NoOptions

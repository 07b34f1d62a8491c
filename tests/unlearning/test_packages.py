"""Methods of other packages: what goes in and comes out, and the packages themselves where they are installed."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lib_unlearning.dataset import Dataset
from lib_unlearning.errors import UserError
from lib_unlearning.options import NoOptions
from lib_unlearning.unlearning.base import Deletion, train_and_unlearn
from lib_unlearning.unlearning.erasus import STRATEGIES, Erasus, ErasusOptions
from lib_unlearning.unlearning.on_modules import OnModules
from lib_unlearning.unlearning.supreme import METHODS, Supreme, SupremeOptions
from tests.test_commands import run
from tests.unlearning.test_approximate import GONE, NOBODY, RECORDS, forgotten, loss, trainer_of


class Shaken(OnModules):
    """Gives the module back, its weights shaken by each generator that packages draw from."""

    package = "torch"
    strength = 0.0
    seen: list[tuple[Any, Any]]

    def forget(self, module: Any, kept: Any, gone: Any) -> Any:
        self.seen = [*getattr(self, "seen", []), (kept, gone)]
        with torch.no_grad():
            for tensor in module.parameters():
                drawn = torch.randn(()) + random.random() + np.random.rand()  # noqa: NPY002
                tensor += self.strength * drawn
        return module.train()


class Strongly(Shaken):
    strength = 0.1


@pytest.mark.parametrize("model", ["LRTorch", "MLPTorch"])
def test_an_untouched_module_is_the_original(dataset: Dataset, model: str) -> None:
    method = Shaken(NoOptions(), dataset)
    original, unlearned = train_and_unlearn(method, trainer_of(dataset, model), RECORDS, [Deletion(GONE, NOBODY)], 0)
    rows = dataset.rows(np.arange(600))
    np.testing.assert_array_equal(original.predict_proba(rows), unlearned[0].predict_proba(rows))
    ((kept, gone),) = method.seen
    assert (len(kept), len(gone)) == (len(RECORDS) - 3, 3)
    network = original.constituents[0]
    logits = network.module().eval()(gone.tensors[0])
    np.testing.assert_allclose(torch.softmax(logits, 1).detach(), network.predict_proba(dataset.rows(GONE)), atol=1e-6)
    np.testing.assert_array_equal(gone.tensors[1], dataset.labels[GONE])


def test_what_a_package_draws_depends_on_the_deletion_alone(dataset: Dataset) -> None:
    def answers(number: int) -> np.ndarray:
        random.seed(number)
        np.random.seed(number)  # noqa: NPY002
        torch.manual_seed(number)
        deletions = [Deletion(GONE, NOBODY), Deletion(RECORDS[:2], NOBODY)]
        unlearned = train_and_unlearn(Strongly(NoOptions(), dataset), trainer_of(dataset), RECORDS, deletions, 0)[1]
        return np.stack([found.predict_proba(dataset.rows(RECORDS)) for found in unlearned])

    first, second = answers(1), answers(2)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first[0], first[1])


def test_generators_are_left_as_they_were(dataset: Dataset) -> None:
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    expected = random.random(), np.random.rand(), float(torch.rand(()))  # noqa: NPY002
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    forgotten(dataset, Strongly, NoOptions())
    assert (random.random(), np.random.rand(), float(torch.rand(()))) == expected  # noqa: NPY002


def test_trees_are_refused(dataset: Dataset) -> None:
    from models import TARGET_MODELS

    trainer = TARGET_MODELS["DT"].trainer(dataset, TARGET_MODELS["DT"].Options(), NOBODY)
    with pytest.raises(UserError, match="needs a network"):
        train_and_unlearn(Shaken(NoOptions(), dataset), trainer, RECORDS, [Deletion(GONE, NOBODY)], 0)


@pytest.mark.parametrize("name", ["erasus", "supreme"])
def test_a_package_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(name) is not None:
        pytest.skip(f"{name} is installed")
    flags = ["--exp", "model_train", "--original_model", "MLPTorch", "--unlearning_method", name]
    assert f"needs the package {name}" in run(tmp_path / "td", *flags, code=2)


@pytest.mark.parametrize("name", STRATEGIES)
def test_erasus_forgets_alike_every_time(name: str, dataset: Dataset) -> None:
    pytest.importorskip("erasus")
    options = ErasusOptions(erasus_strategy=name, erasus_epochs=2)
    answers = [forgotten(dataset, Erasus, options)[1].predict_proba(dataset.rows(RECORDS)) for _ in range(2)]
    np.testing.assert_array_equal(*answers)
    assert np.isfinite(answers[0]).all()


def test_ascent_of_erasus_raises_the_loss(dataset: Dataset) -> None:
    pytest.importorskip("erasus")
    original, unlearned = forgotten(dataset, Erasus, ErasusOptions("negative_gradient", 5, 0.1))
    assert loss(unlearned, dataset, GONE) > loss(original, dataset, GONE) + 0.1


@pytest.mark.parametrize("name", METHODS)
def test_supreme_forgets_alike_every_time(name: str, dataset: Dataset) -> None:
    pytest.importorskip("supreme")
    pytest.importorskip("lightning")
    options = SupremeOptions(supreme_method=name)
    answers = [forgotten(dataset, Supreme, options)[1].predict_proba(dataset.rows(RECORDS)) for _ in range(2)]
    np.testing.assert_array_equal(*answers)
    original, unlearned = forgotten(dataset, Supreme, options)
    if name == "neg_grad":
        assert loss(unlearned, dataset, GONE) > loss(original, dataset, GONE) + 0.1

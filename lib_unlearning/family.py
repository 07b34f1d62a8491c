"""Families of target models: what trains them, what can be chosen about them, how they are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib_unlearning.cache import sealed_pickle
from lib_unlearning.cache.model_store import Files
from lib_unlearning.dataset import Dataset
from lib_unlearning.options import NoOptions
from lib_unlearning.training.estimators import EstimatorTrainer
from lib_unlearning.training.tasks import Trainer, TrainingSettings


@dataclass(frozen=True)
class Family:
    """One family of target models.

    Attributes:
        trainer: (data set, options, held-out records [h] to watch the training on) -> trainer.
        Options: frozen dataclass of what can be chosen; its fields become flags, and go into the cache address.
        libraries: distributions, beside numpy and scikit-learn, whose versions shape the models.
        files: how trained models are kept, for their device.
        network: whether it is trained by gradient descent in torch, so that DP-SGD applies.
        revision: raised when its training changes, so that models of an earlier one are not taken for its own.
    """

    trainer: Callable[[Dataset, Any, np.ndarray], Trainer]
    Options: type = NoOptions
    libraries: tuple[str, ...] = ()
    files: Callable[[str], Files] = lambda device: sealed_pickle
    network: bool = False
    revision: int = 0


@dataclass(frozen=True)
class Chosen:
    """A maker of estimators with its options; unlike a function that is made on the way, it can be sent to a worker."""

    make: Callable[[np.ndarray, int, Any], Any]
    options: Any

    def __call__(self, labels: np.ndarray, seed: int) -> Any:
        return self.make(labels, seed, self.options)


def estimator_family(name: str, make: Callable[[np.ndarray, int, Any], Any], options: type = NoOptions) -> Family:
    """A family of scikit-learn's interface.

    Args:
        make: (training labels [n], seed, options) -> unfitted classifier with `fit` and `predict_proba`.
    """

    def trainer(dataset: Dataset, chosen: Any, held_out: np.ndarray) -> Trainer:
        return EstimatorTrainer(dataset, Chosen(make, chosen), name)

    return Family(trainer, options)


def network_family(name: str) -> Family:
    """A family of lib_unlearning/training/networks.py; torch is imported when it is trained or read."""

    def trainer(dataset: Dataset, chosen: TrainingSettings, held_out: np.ndarray) -> Trainer:
        from lib_unlearning.training.network_trainer import NetworkTrainer

        return NetworkTrainer(dataset, name, chosen, held_out)

    def files(device: str) -> Files:
        from lib_unlearning.cache.network_file import NetworkFiles

        return NetworkFiles(device)

    return Family(trainer, TrainingSettings, ("torch", "torchvision", "opacus"), files, network=True)

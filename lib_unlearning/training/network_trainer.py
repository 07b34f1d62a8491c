"""Trains networks for any number of tasks: in stacks where they can be stacked, one by one where not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lib_unlearning.dataset import Dataset
from lib_unlearning.errors import LOGGER, UserError
from lib_unlearning.training.device import (
    find_device,
    is_out_of_memory,
    make_reproducible,
    pays,
    release,
    suitable_stack,
)
from lib_unlearning.training.ensemble import train_stack
from lib_unlearning.training.network_stack import NetworkModel, Stack
from lib_unlearning.training.networks import ARCHITECTURES, fresh_weights
from lib_unlearning.training.single import train_alone
from lib_unlearning.training.tasks import (
    GRADIENTS,
    MASKS,
    OBJECTIVE,
    SCHEDULE,
    UPDATES,
    WARM_START,
    Trainer,
    TrainingSettings,
    TrainingTask,
)

NOBODY = np.array([], dtype=np.int64)
_SAMPLE = 8  # networks that an estimate is made from


class NetworkTrainer(Trainer):
    """Trains networks of one architecture, as many at a time as memory allows.

    Args:
        held_out: [h] records that are never trained on; each epoch's accuracy on them is part of the history.

    Raises:
        UserError: the network does not fit the kind of data, or the device is not there.
    """

    dataset: Dataset
    in_pieces = True

    def __init__(
        self, dataset: Dataset, model_name: str, settings: TrainingSettings, held_out: np.ndarray = NOBODY
    ) -> None:
        check_data(dataset, model_name)
        self.dataset = dataset
        self.title = model_name
        self.settings = settings
        self.held_out = held_out
        # The budget of DP-SGD is counted from fresh weights on.
        stackable = ARCHITECTURES[model_name].stackable
        own = {WARM_START, SCHEDULE} | ({OBJECTIVE, MASKS, UPDATES} if stackable else set())
        own |= {GRADIENTS} if ARCHITECTURES[model_name].linear else set()
        self.capabilities = frozenset() if settings.privacy else frozenset(own)
        self.device = find_device(settings.device)
        rows = settings.batch_size
        if settings.privacy is not None and settings.privacy.sample_rate is not None:
            rows = max(rows, round(settings.privacy.sample_rate * len(dataset)))  # at most
        self.size = settings.ensemble_size or suitable_stack(
            ARCHITECTURES[model_name], dataset.features.shape[1:], dataset.num_classes, rows, self.device
        )

    def fit(self, tasks: Sequence[TrainingTask]) -> list[NetworkModel]:
        """One trained network a task; when a device runs out of memory, fewer at a time.

        Raises:
            UserError: not even one network fits, or a loss is no longer finite.
        """
        self.check(tasks)
        make_reproducible(self.device)
        alike: dict[tuple[int | None, float | None], list[int]] = {}
        for number, task in enumerate(tasks):
            alike.setdefault((task.epochs, task.lr), []).append(number)
        models: dict[int, NetworkModel] = {}
        for (epochs, rate), numbers in alike.items():
            settings = replace(
                self.settings, num_epochs=epochs or self.settings.num_epochs, lr=rate or self.settings.lr
            )
            models.update(zip(numbers, self._fit_alike([tasks[n] for n in numbers], settings), strict=True))
        return [models[number] for number in range(len(tasks))]

    def seconds_a_task(self, tasks: Sequence[TrainingTask]) -> float:
        """Seconds of one task, from one and three epochs: what is paid before the first is not paid again."""
        few = tasks[: min(self.size, _SAMPLE)]
        times = []
        for epochs in (1, 3):
            short = NetworkTrainer(self.dataset, self.title, replace(self.settings, num_epochs=epochs), self.held_out)
            short.fit(few[:1])  # imports and kernels
            start = time.perf_counter()
            short.fit(few)
            times.append((time.perf_counter() - start) / len(few))
        return times[0] + (self.settings.num_epochs - 1) * max(0.0, times[1] - times[0]) / 2

    def bytes_a_model(self, task: TrainingTask) -> int:
        """Four for each weight."""
        architecture = ARCHITECTURES[self.title]
        weights = fresh_weights(architecture, self.dataset.features.shape[1:], self.dataset.num_classes, task.seed)
        return 4 * sum(tensor.numel() for tensor in weights.values())

    def _fit_alike(self, tasks: Sequence[TrainingTask], settings: TrainingSettings) -> list[NetworkModel]:
        """Networks of tasks with one schedule."""
        architecture = ARCHITECTURES[self.title]
        stackable = architecture.stackable
        if settings.privacy is not None:  # Opacus guards noise from a secure generator against its rounding
            stackable = stackable and not settings.privacy.secure_rng and pays(architecture, self.device)
        models: list[NetworkModel] = []
        while len(models) < len(tasks):
            part = tasks[len(models) : len(models) + (self.size if stackable else 1)]
            stack: Stack | None
            try:
                stack = self._train(part, settings, stackable)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                stack = None  # outside this block, nothing refers to what was too large
            if stack is None:
                self._shrink(len(part))
                continue
            models += [NetworkModel(stack, index) for index in range(len(part))]
        return models

    def _train(self, tasks: Sequence[TrainingTask], settings: TrainingSettings, stackable: bool) -> Stack:
        where = settings, self.device, self.held_out
        if settings.privacy is None:
            if stackable:
                return train_stack(self.dataset, self.title, tasks, *where)
            return train_alone(self.dataset, self.title, tasks[0], *where)
        if stackable:
            from lib_unlearning.training.private_stack import PrivateStackTraining  # needs opacus

            return PrivateStackTraining(self.dataset, self.title, tasks, *where).run()
        from lib_unlearning.training.private_training import train_private

        return train_private(self.dataset, self.title, tasks[0], *where)

    def _shrink(self, tried: int) -> None:
        if tried == 1:
            raise UserError(
                f"--original_model {self.title}: not even one network fits into the memory of {self.device}; "
                "lower --batch_size"
            )
        release(self.device)
        self.size = tried // 2
        LOGGER.warning("out of memory on %s: going on with %d networks at a time", self.device, self.size)


def check_data(dataset: Dataset, name: str) -> None:
    """Refuse an image network on a table and the reverse."""
    images = dataset.features.ndim == 4
    if images and not ARCHITECTURES[name].for_images:
        raise UserError(f"--original_model {name} learns from tables; {dataset.name} holds images: use scnn")
    if ARCHITECTURES[name].for_images and not images:
        raise UserError(f"--original_model {name} learns from images; {dataset.name} is a table: use MLPTorch")

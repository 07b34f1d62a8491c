"""Methods of other packages: a torch module goes in with its records, a module that forgot some of them comes out."""

from __future__ import annotations

import importlib
import random
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from lib_unlearning.errors import UserError
from lib_unlearning.seeds import integer_seed
from lib_unlearning.training.tasks import TrainingTask
from lib_unlearning.unlearning.base import Deletion, Ensemble, UnlearningMethod, Work
from lib_unlearning.unlearning.from_original import inputs_of, remaining

if TYPE_CHECKING:  # torch takes long to import
    from torch import nn
    from torch.utils.data import DataLoader, Dataset, TensorDataset

    from lib_unlearning.dataset import RecordTable

_BATCH = 64  # records


class OnModules(UnlearningMethod):
    """Trains the original, and hands a copy of it to the package for each deletion, one after another."""

    package: str  # its name, here and at PyPI

    def work(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> Work:
        """The original in the stack of all, then module by module."""
        importlib.import_module(self.package)  # before anything is trained
        (original,) = yield [TrainingTask(records, integer_seed(seed, "shard", 0))]
        if not hasattr(original, "with_module"):
            raise UserError(
                f"--unlearning_method {self.package} needs a network: LRTorch, MLPTorch or scnn, not this model"
            )
        unlearned = []
        for number, deletion in enumerate(deletions):
            model = original
            for turn, gone in enumerate(deletion.turns):
                staying = remaining(records, deletion, turn)
                kept, forgotten = (labelled_tensors(original, self.dataset, part) for part in (staying, gone))
                with _seeded(integer_seed(seed if deletion.seed is None else deletion.seed, "forget", number, turn)):
                    module = self.forget(model.module(), kept, forgotten)
                model = original.with_module(module.eval())
            unlearned.append(Ensemble([model], [remaining(records, deletion)]))
        return Ensemble([original], [records]), unlearned

    @abstractmethod
    def forget(self, module: nn.Module, kept: TensorDataset, gone: TensorDataset) -> nn.Module:
        """A module that forgot the records of `gone`; both hold (inputs [...], label)."""


def labelled_tensors(model: Any, dataset: RecordTable, records: np.ndarray) -> TensorDataset:
    """Records [k] as the module of a network takes them, and their labels."""
    import torch
    from torch.utils.data import TensorDataset

    inputs = model.standardised_rows(inputs_of(model, dataset, records))
    return TensorDataset(inputs, torch.from_numpy(np.array(dataset.labels[records])))


def in_batches(part: Dataset[Any]) -> DataLoader[Any]:
    """Records in batches, in a new order each time."""
    from torch.utils.data import DataLoader

    return DataLoader(part, batch_size=_BATCH, shuffle=True)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """All global generators, which other packages draw from, set for a while."""
    import torch

    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002

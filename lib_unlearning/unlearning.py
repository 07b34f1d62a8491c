"""Unlearning methods: how a model is trained, and how it forgets (paper section 2.2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import models
import utils
from lib_unlearning.dataset import Dataset


@dataclass(frozen=True)
class FitJob:
    """One constituent model to be trained: its records [n], in order, and its seed."""

    records: np.ndarray
    seed: int


@dataclass(frozen=True)
class Privacy:
    """DP-SGD: noise multiplier sigma, clip norm C, delta, share of records a step (None: batch_size / n), budget that
    sigma is chosen for (None: sigma as given), whether noise comes from a secure generator, and Opacus' accountant."""

    sigma: float
    clip: float
    delta: float
    sample_rate: float | None
    target_epsilon: float | None
    secure_rng: bool
    accountant: str = "rdp"


@dataclass(frozen=True)
class TrainingSettings:
    """How networks are trained; scikit-learn's models have no use for it.

    Attributes:
        num_epochs: full passes over the training records.
        lr: learning rate, None for the architecture's own.
        device: "auto", "cpu", "mps" or "cuda:N".
        ensemble_size: networks trained together, None for as many as suit the device.
        amp: whether products are computed in bfloat16.
        privacy: DP-SGD, None for none.
    """

    num_epochs: int = 100
    batch_size: int = 64
    optim: str = "Adam"
    lr: float | None = None
    device: str = "auto"
    ensemble_size: int | None = None
    amp: bool = False
    privacy: Privacy | None = None


class ModelTrainer:
    """Trains target models of one family on records of one data set; trees with at most `max_leaf_nodes` leaves
    (None: the zoo's own number)."""

    device = "cpu"
    size = 1  # models trained together

    def __init__(self, dataset: Dataset, model_name: str, max_leaf_nodes: int | None = None) -> None:
        self.dataset = dataset
        self.model_name = model_name
        self.max_leaf_nodes = max_leaf_nodes

    def fit(self, jobs: Sequence[FitJob]) -> list[Any]:
        """One fitted model per job."""
        return [self._fit_one(job) for job in jobs]

    def _fit_one(self, job: FitJob) -> models.TargetModel:
        features, labels = self.dataset.rows(job.records), self.dataset.labels[job.records]
        model = models.make_target_model(
            self.model_name, self.dataset.num_classes, labels, job.seed, self.max_leaf_nodes
        )
        return model.fit(features, labels)


@dataclass(frozen=True)
class Ensemble:
    """A trained model of any unlearning method: its posterior is the mean over its constituents.

    Attributes:
        constituents: fitted models; one for retraining from scratch, one per shard for SISA.
        shards: training records of each constituent.
    """

    constituents: list[Any]
    shards: list[np.ndarray]

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Posteriors [m, c] for features [m, d]."""
        return np.mean([constituent.predict_proba(features) for constituent in self.constituents], axis=0)


@dataclass(frozen=True)
class Deletion:
    """Records to forget [k], new records to learn in their place ([k], or [0] when there are none), and the
    seed that the retrained model gets (None: the original's)."""

    records: np.ndarray
    replacements: np.ndarray
    seed: int | None = None


@dataclass(frozen=True)
class Plan:
    """All training that a sample set needs, known before any of it is done.

    Attributes:
        jobs: one a constituent.
        assemble: fitted models of the jobs, in their order -> original and unlearned models.
    """

    jobs: list[FitJob]
    assemble: Callable[[Sequence[Any]], tuple[Ensemble, list[Ensemble]]]


class UnlearningMethod(ABC):
    """What every unlearning method can do; experiments know nothing else of it."""

    def __init__(self, trainer: ModelTrainer) -> None:
        self.trainer = trainer

    @abstractmethod
    def train(self, records: np.ndarray, seed: int) -> Ensemble:
        """The original model, trained on records [n]."""

    @abstractmethod
    def unlearn(self, original: Ensemble, deletions: Sequence[Deletion], seed: int) -> list[Ensemble]:
        """One unlearned model per deletion, each starting from `original`, which was trained with `seed`."""

    def plan(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> Plan | None:
        """The work of `train` and `unlearn`, so that the jobs of many sample sets can be trained together; None for a
        method that must see a model before it knows what to train."""
        return None

    def train_and_unlearn(
        self, records: np.ndarray, deletions: Sequence[Deletion], seed: int
    ) -> tuple[Ensemble, list[Ensemble]]:
        """Original and unlearned models, by the method's plan where it has one."""
        plan = self.plan(records, deletions, seed)
        if plan is not None:
            return plan.assemble(self.trainer.fit(plan.jobs))
        original = self.train(records, seed)
        return original, self.unlearn(original, deletions, seed)


class ShardedRetraining(UnlearningMethod):
    """Exact unlearning by retraining the shards that held a deleted record.

    With one shard this is retraining from scratch; with more it is SISA without slicing (Bourtoule et al.,
    IEEE S&P 2021).
    """

    def __init__(self, trainer: ModelTrainer, num_shard: int) -> None:
        super().__init__(trainer)
        self.num_shard = num_shard

    def train(self, records: np.ndarray, seed: int) -> Ensemble:
        """Cut records into shards whose sizes differ by at most one, and train a constituent on each."""
        shards = np.array_split(records, self.num_shard)
        return Ensemble(self.trainer.fit(self._jobs(dict(enumerate(shards)), seed)), shards)

    def unlearn(self, original: Ensemble, deletions: Sequence[Deletion], seed: int) -> list[Ensemble]:
        """Retrain the shards a deletion touches; all other constituents are shared with `original`.

        A new record joins the shard that lost the one it replaces. A shard left without records has no vote.
        """
        changed = [self._changed_shards(original.shards, deletion) for deletion in deletions]
        fitted = iter(self.trainer.fit(self._retraining(changed, deletions, seed)))
        return [self._assemble(original, shards, fitted) for shards in changed]

    def plan(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> Plan:
        """Every shard of the original, then every shard that a deletion touches."""
        shards = np.array_split(records, self.num_shard)
        changed = [self._changed_shards(shards, deletion) for deletion in deletions]

        def assemble(models: Sequence[Any]) -> tuple[Ensemble, list[Ensemble]]:
            fitted = iter(models)
            original = Ensemble([next(fitted) for _ in shards], shards)
            return original, [self._assemble(original, parts, fitted) for parts in changed]

        return Plan([*self._jobs(dict(enumerate(shards)), seed), *self._retraining(changed, deletions, seed)], assemble)

    def _retraining(
        self, changed: Sequence[Mapping[int, np.ndarray]], deletions: Sequence[Deletion], seed: int
    ) -> list[FitJob]:
        return [
            job
            for shards, deletion in zip(changed, deletions, strict=True)
            for job in self._jobs(shards, seed if deletion.seed is None else deletion.seed)
        ]

    @staticmethod
    def _jobs(shards: Mapping[int, np.ndarray], seed: int) -> list[FitJob]:
        """A job per shard that has records; a shard keeps its seed whatever happens to the others."""
        return [
            FitJob(records, utils.integer_seed(seed, "shard", number))
            for number, records in shards.items()
            if len(records)
        ]

    @staticmethod
    def _changed_shards(shards: list[np.ndarray], deletion: Deletion) -> dict[int, np.ndarray]:
        """Number of each shard that held a deleted record -> its records afterwards, in their old order."""
        changed = {}
        for number, shard in enumerate(shards):
            leaving = np.isin(shard, deletion.records)
            if leaving.any():
                newcomers = deletion.replacements[np.isin(deletion.records, shard)[: len(deletion.replacements)]]
                changed[number] = np.concatenate([shard[~leaving], newcomers])
        return changed

    @staticmethod
    def _assemble(original: Ensemble, changed: Mapping[int, np.ndarray], fitted: Iterator[Any]) -> Ensemble:
        constituents, shards = [], []
        for number, (constituent, shard) in enumerate(zip(original.constituents, original.shards, strict=True)):
            records = changed.get(number, shard)
            if len(records):
                constituents.append(next(fitted) if number in changed else constituent)
                shards.append(records)
        return Ensemble(constituents, shards)


# To add an unlearning method: a subclass of UnlearningMethod and one line here.
UNLEARNING_METHODS: dict[str, Callable[[ModelTrainer, int], UnlearningMethod]] = {
    "scratch": lambda trainer, num_shard: ShardedRetraining(trainer, 1),
    "sisa": ShardedRetraining,
}

"""What is to be trained, who trains it, and what a trained model is."""

from __future__ import annotations

import pickle
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lib_unlearning.dataset import RecordTable
from lib_unlearning.errors import UserError
from lib_unlearning.options import boolean, number, option, whole

# What a trainer may be able to do beyond training from scratch.
WARM_START = "warm_start"  # `TrainingTask.start`
SCHEDULE = "schedule"  # `TrainingTask.epochs` and `.lr`
GRADIENTS = "gradients"  # its models have `effects`, see `network_stack.NetworkModel`
OBJECTIVE = "objective"  # `TrainingTask.weights` and `.targets`
NEWTON_STEPS = "newton_steps"  # `TrainingTask.newton_steps` and `.perturbation`
MASKS = "masks"  # `TrainingTask.mask`
UPDATES = "updates"  # `TrainingTask.watched`


class Model(Protocol):
    """A trained model.

    It may also have a static `predict_together(models, records, dataset)`, posteriors of each of several models of its
    type for its own records: asked at once, they answer faster. What it knows of itself (`epsilon` spent by DP-SGD,
    `curve` [epochs, 3] of training loss, training and held-out accuracy) is in `facts`.
    """

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name -> what the model knows of itself."""

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Posteriors [m, c] for features [m, ...]."""


def over_all_classes(
    features: np.ndarray,
    known: Sequence[int] | np.ndarray,
    num_classes: int,
    answer: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Posteriors [m, num_classes] of a model that knows some classes [k] for features [m, ...].

    Args:
        answer: features -> posteriors [m, k]; not asked about nothing, nor where one class is all there is.
    """
    posteriors = np.zeros((len(features), num_classes))
    if len(known) == 1:
        posteriors[:, known[0]] = 1.0
    elif len(features):
        posteriors[:, known] = answer(features)
    return posteriors


@dataclass(frozen=True)
class TrainingTask:
    """One model to be trained.

    Attributes:
        records: [n] its records, in order.
        seed: of all its randomness.
        start: the model whose training is continued; None for fresh weights.
        epochs, lr: other than the trainer's own.
        places: [s] the records that the order of training was made for, and `at` [n] each record's place among them: a
            deleted record leaves a gap, and nothing else moves. None: the records themselves.
        weights: [n] of each record's loss, negative for one that shall grow. None: 1.
        targets: [n, c] posteriors to be learned in the labels' place. None: the labels.
        newton_steps: that many from `start`, in the place of training to the end.
        perturbation: standard deviation of a linear term of the objective, and the seed that it is drawn from.
        mask: name -> [...] of the weights that may move; None for all.
        watched: the sum of the steps whose batch held one of these records, a group each, is kept (see
            `NetworkModel.less_updates`).
    """

    records: np.ndarray
    seed: int
    start: Any = None
    epochs: int | None = None
    lr: float | None = None
    places: np.ndarray | None = None
    at: np.ndarray | None = None
    weights: np.ndarray | None = None
    targets: np.ndarray | None = None
    newton_steps: int | None = None
    perturbation: tuple[float, int] | None = None
    mask: Mapping[str, np.ndarray] | None = None
    watched: Sequence[np.ndarray] = ()

    def filled(self) -> tuple[np.ndarray, np.ndarray]:
        """The records that own the places [s], and for each place which of `records` fills it, -1 for a gap [s]."""
        if self.places is None or self.at is None:
            return self.records, np.arange(len(self.records))
        holds = np.full(len(self.places), -1)
        holds[self.at] = np.arange(len(self.at))
        return self.places, holds


class Trainer(ABC):
    """Trains models of one family on records of one data set.

    Attributes:
        dataset: the records.
        title: the family's name, for messages.
        capabilities: what tasks may ask for beyond training from scratch.
        device: where it trains; "cpu" may be used by several processes.
        size: models trained together.
        in_pieces: whether tasks may be handed over `size` at a time, at no cost.
    """

    dataset: RecordTable
    title: str
    capabilities: frozenset[str] = frozenset()
    device: str = "cpu"
    size: int = 1
    in_pieces: bool = False

    @abstractmethod
    def fit(self, tasks: Sequence[TrainingTask]) -> list[Any]:
        """One trained model a task, in their order; see `check` for what it refuses."""

    def warm_up(self) -> None:  # noqa: B027  most have nothing to do
        """Import what training and answering need, so that worker processes forked afterwards inherit it."""

    def seconds_a_task(self, tasks: Sequence[TrainingTask]) -> float:
        """Seconds that one of these tasks takes, measured on a few of them."""
        self.fit(tasks[:1])  # imports are not training
        few = tasks[:3]
        start = time.perf_counter()
        self.fit(few)
        return (time.perf_counter() - start) / len(few)

    def bytes_a_model(self, task: TrainingTask) -> int:
        """Bytes that a model of such a task takes on disk."""
        return len(zlib.compress(pickle.dumps(self.fit([task])[0]), 1))

    def check(self, tasks: Sequence[TrainingTask]) -> None:
        """Raise `UserError` when a task asks for what this trainer cannot do."""
        asked = set()
        for task in tasks:
            asked |= {WARM_START} if task.start is not None and task.newton_steps is None else set()
            asked |= {SCHEDULE} if (task.epochs, task.lr) != (None, None) else set()
            asked |= {OBJECTIVE} if task.weights is not None or task.targets is not None else set()
            asked |= {NEWTON_STEPS} if task.newton_steps is not None or task.perturbation is not None else set()
            asked |= {MASKS} if task.mask is not None else set()
            asked |= {UPDATES} if task.watched else set()
        lacking = sorted(asked - self.capabilities)
        if lacking:
            raise UserError(
                f"--original_model {self.title}: its training has no {', '.join(lacking)}, which the unlearning method "
                "asks for; name another model or method"
            )


@dataclass(frozen=True)
class Privacy:
    """DP-SGD; `sample_rate` None is batch_size / n, `target_epsilon` None leaves sigma as given."""

    sigma: float = option(1.0, "DP-SGD noise multiplier", kind=number(above=0), metavar="X")
    clip: float = option(
        1.0,
        "DP-SGD clip norm",
        kind=number(above=0),
        metavar="X",
        flags=("-c", "--max-per-sample-grad_norm"),
    )
    delta: float = option(1e-5, "DP-SGD delta", kind=number(above=0, at_most=1), metavar="X")
    sample_rate: float | None = option(
        None,
        "DP-SGD share of records a step (batch_size / n)",
        kind=number(at_least=1e-6, at_most=1),
        metavar="X",
        flags=("-sr", "--sample-rate"),
    )
    target_epsilon: float | None = option(
        None, "privacy budget: --sigma is then chosen to meet it", kind=number(above=0, at_most=1e6), metavar="X"
    )
    secure_rng: bool = option(False, "DP-SGD noise from a secure generator", kind=boolean, metavar="BOOL")
    accountant: str = option("rdp", "how spent privacy is computed", choices=("rdp", "prv"))


@dataclass(frozen=True)
class TrainingSettings:
    """How networks are trained.

    Attributes:
        num_epochs: full passes over the training records.
        lr: learning rate, None for the architecture's own.
        device: "auto", "cpu", "mps" or "cuda:N".
        ensemble_size: networks trained together, None for as many as suit the device; it changes rounding only.
        amp: whether products are computed in bfloat16.
        privacy: DP-SGD, None for none.
    """

    num_epochs: int = option(100, "passes over the training records", kind=whole(1, 100_000), metavar="N")
    batch_size: int = option(64, "records a gradient step", kind=whole(1), metavar="N")
    optim: str = option("Adam", "optimizer", choices=("Adam", "SGD"))
    lr: float | None = option(None, "learning rate (the model's own)", kind=number(above=0), metavar="X")
    device: str = option(
        "auto", "where networks are trained (auto: a GPU if there is one)", choices=("auto", "cpu", "cuda", "mps")
    )
    ensemble_size: int | None = option(
        None, "networks trained together (as many as suit)", kind=whole(1), metavar="N", shapes=False
    )
    amp: bool = option(False, "compute products in bfloat16 (mixed precision)", kind=boolean, metavar="BOOL")
    privacy: Privacy | None = None

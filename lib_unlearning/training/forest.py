"""Random forests whose bootstrap draws places: a deleted record leaves a gap in them, and nothing else moves.

The trees are scikit-learn's, and a forest without gaps is its `RandomForestClassifier` bit by bit. Its way to leave a
record out, a weight of 0, draws from all the others anew (from version 1.9 on), which moves half of every tree's draws.
Here the draws of a tree are those of its seed (Breiman, Machine Learning 45, 2001: n of n places, with replacement),
whoever stands there. So a tree that drew nobody who left or came is the tree that there was, (1 - 1/n)^n or 37 % of
them where one record does, and is not grown again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lib_unlearning.dataset import Dataset
from lib_unlearning.training.tasks import Trainer, TrainingTask, over_all_classes

TREES = 500
LEAST_IN_LEAF = 30
_MOST_NODES = 2**20  # of trees that are kept to be used again, some 100 MB
_SEEDS = np.iinfo(np.int32).max


@dataclass(frozen=True)
class ForestModel:
    """A grown forest (see `tasks.Model`).

    Attributes:
        classes: [k] that its records' places were of; one class makes a constant model without trees.
        num_classes: c, columns of its posteriors.
        trees: scikit-learn's `DecisionTreeClassifier`s.
    """

    classes: np.ndarray
    num_classes: int
    trees: Sequence[Any]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Posteriors [m, c] for features [m, d], the trees' mean; a class absent from the records has probability 0."""
        return over_all_classes(features, self.classes, self.num_classes, self._mean)

    def _mean(self, features: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(features, dtype=np.float32)
        total = np.zeros((len(rows), len(self.classes)))
        for tree in self.trees:
            total += tree.predict_proba(rows, check_input=False)
        return total / len(self.trees)


@dataclass(frozen=True)
class _Plot:
    """Where trees grow: the record that stands on each place [n], or stood there, and whether it still does [n]."""

    standing: np.ndarray
    present: np.ndarray

    @staticmethod
    def of(task: TrainingTask) -> _Plot:
        places, holds = task.filled()
        return _Plot(np.where(holds >= 0, task.records[holds], places), holds >= 0)

    def drawn(self, seed: int) -> np.ndarray:
        """How often a tree of this seed draws each place [n]; gaps are drawn in vain."""
        count = len(self.standing)
        draws = np.random.RandomState(seed).randint(0, count, count)
        counts: np.ndarray = np.bincount(draws, minlength=count) * self.present
        return counts

    def met(self, counts: np.ndarray) -> np.ndarray:
        """The records [n] that such draws met, -1 elsewhere."""
        return np.where(counts > 0, self.standing, -1).astype(np.int32)


@dataclass(frozen=True)
class _Grown:
    """A forest whose trees may be used again: each tree, the records that it met [n], and among which classes."""

    trees: list[Any]
    met: list[np.ndarray]
    classes: np.ndarray

    @property
    def nodes(self) -> int:
        return sum(tree.tree_.node_count for tree in self.trees)


class ForestTrainer(Trainer):
    """Grows one forest a task.

    Args:
        max_leaf_nodes: of a tree; None for as many as its records allow.
    """

    in_pieces = True

    def __init__(self, dataset: Dataset, title: str, max_leaf_nodes: int | None) -> None:
        self.dataset = dataset
        self.title = title
        self.max_leaf_nodes = max_leaf_nodes
        self._kept: dict[int, _Grown] = {}  # of each seed the first forest without gaps

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": {}}  # a worker grows its own

    def fit(self, tasks: Sequence[TrainingTask]) -> list[ForestModel]:
        """One grown forest a task."""
        self.check(tasks)
        return [self._fit_one(task) for task in tasks]

    def warm_up(self) -> None:
        """Import scikit-learn's trees."""
        self._tree(0)

    def _fit_one(self, task: TrainingTask) -> ForestModel:
        plot = _Plot.of(task)
        known = np.unique(self.dataset.labels[plot.standing[plot.present]])
        if len(known) == 1:
            return ForestModel(known, self.dataset.num_classes, [])
        grown = self._grow(plot, task.seed)
        if plot.present.all() and task.seed not in self._kept:
            self._keep(task.seed, grown)
        return ForestModel(grown.classes, self.dataset.num_classes, grown.trees)

    def _grow(self, plot: _Plot, forest_seed: int) -> _Grown:
        import sklearn

        labels = self.dataset.labels[plot.standing]
        rows = np.ascontiguousarray(self.dataset.rows(plot.standing), dtype=np.float32)
        found = _Grown([], [], np.unique(labels))
        before = self._kept.get(forest_seed)
        if before is not None and not np.array_equal(before.classes, found.classes):
            before = None
        seeds = np.random.RandomState(forest_seed).randint(_SEEDS, size=TREES)
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            for number, seed in enumerate(seeds.tolist()):
                counts = plot.drawn(seed)
                met = plot.met(counts)
                if before is not None and np.array_equal(before.met[number], met):
                    tree = before.trees[number]
                else:
                    tree = self._tree(seed).fit(rows, labels, sample_weight=counts, check_input=False)
                found.trees.append(tree)
                found.met.append(met)
        return found

    def _tree(self, seed: int) -> Any:
        from sklearn.tree import DecisionTreeClassifier

        return DecisionTreeClassifier(
            min_samples_leaf=LEAST_IN_LEAF,
            max_features="sqrt",
            max_leaf_nodes=self.max_leaf_nodes,
            random_state=seed,
        )

    def _keep(self, seed: int, grown: _Grown) -> None:
        self._kept[seed] = grown
        while len(self._kept) > 1 and sum(found.nodes for found in self._kept.values()) > _MOST_NODES:
            del self._kept[next(iter(self._kept))]

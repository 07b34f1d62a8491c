"""How well the synthetic location data can be told apart: the accuracies in `location.synthesise`.

python benchmarks/synthetic_location.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import models
from lib_unlearning.dataset import Dataset
from lib_unlearning.readers import location
from lib_unlearning.seeds import spawn
from lib_unlearning.training.tasks import TrainingTask

TRAINING = 2000
REPEATS = 5


def main() -> None:
    """Print training and held-out accuracy of a tree and a forest, mean over repeats."""
    data = location.synthesise()
    print(f"largest class: {np.bincount(data.labels).max() / len(data.labels):.3f}")
    print(f"check-ins a record, median and 99 %: {np.quantile(data.features.sum(axis=1), [0.5, 0.99])}")
    dataset = Dataset("location", "synthetic", data.features, data.labels, 9, "")
    for name in ("DT", "RF"):
        family = models.TARGET_MODELS[name]
        trainer = family.trainer(dataset, family.Options(), np.array([]))
        accuracies = []
        for repeat in range(REPEATS):
            order = spawn(repeat, "order").permutation(len(data.labels))
            chosen, held_out = order[:TRAINING], order[TRAINING : 2 * TRAINING]
            (model,) = trainer.fit([TrainingTask(chosen, repeat)])
            accuracies.append(
                [(model.predict_proba(data.features[r]).argmax(1) == data.labels[r]).mean() for r in (chosen, held_out)]
            )
        training, held = np.mean(accuracies, axis=0)
        print(f"{name}: training {training:.3f}, held out {held:.3f}")


if __name__ == "__main__":
    main()

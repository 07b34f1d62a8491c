"""Logistic regression by scikit-learn's default solver and by Newton steps: how long, how far from the optimum.

python benchmarks/solvers.py --dataset_name adult --requests 100
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import data_prepare
import models
from lib_unlearning.cache.layout import Layout
from lib_unlearning.seeds import spawn
from lib_unlearning.training.tasks import TrainingTask


def main() -> None:
    """Print one Markdown row a solver."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_name", default="adult")
    parser.add_argument("--temp_data", type=Path, default=PROJECT / "temp_data")
    parser.add_argument("--set_size", type=int, default=2000)
    parser.add_argument("--requests", type=int, default=100)
    arguments = parser.parse_args()
    layout = Layout(arguments.temp_data.absolute())
    name, label = data_prepare.resolve(arguments.dataset_name, None, layout)
    dataset = data_prepare.obtain_dataset(name, label, layout)
    records = spawn(0, "solvers").choice(len(dataset), arguments.set_size, replace=False)
    tasks = [TrainingTask(records, 0), *(TrainingTask(np.delete(records, i), 0) for i in range(arguments.requests))]
    rows = np.asarray(dataset.rows(records), dtype=np.float64)
    last = make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cholesky", tol=1e-13, max_iter=1000))
    kept = np.arange(arguments.requests)[-1]
    last.fit(np.delete(rows, kept, axis=0), dataset.labels[np.delete(records, kept)])
    wanted = np.zeros((len(rows), dataset.num_classes))
    wanted[:, last.classes_] = last.predict_proba(rows)
    print("| solver | ms a model | largest difference of a posterior from the optimum |\n|---|---|---|")
    for solver in ("lbfgs", "newton"):
        family = models.TARGET_MODELS["LR"]
        trainer = family.trainer(dataset, family.Options(solver=solver), np.array([], dtype=np.int64))
        trainer.warm_up()
        start = time.perf_counter()
        fitted = trainer.fit(tasks)
        each = (time.perf_counter() - start) / len(tasks)
        away = np.abs(fitted[-1].predict_proba(rows) - wanted).max()
        print(f"| {solver} | {1000 * each:.1f} | {away:.1e} |", flush=True)


if __name__ == "__main__":
    main()

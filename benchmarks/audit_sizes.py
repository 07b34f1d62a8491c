"""`DeletionAudit` on well-known tables, a large one, and boosted trees: what it finds, its seconds and its memory.

    python benchmarks/audit_sizes.py --cases "breast cancer,wine,XGBoost"

Each audit runs in a process of its own, with the defaults but for the number of sets and requests that the row says.
Memory is that of the largest process. Packages that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from lib_unlearning.statistics.intervals import Estimate
from lib_unlearning.wording import with_interval

COLUMNS = ("table", "model", "sets x requests", "AUC", "verdict", "seconds", "largest process [MiB]")
_ROWS, _COLUMNS = 200_000, 30


def _scaled(model: str, **options: Any) -> Any:
    from sklearn import linear_model
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), getattr(linear_model, model)(**options))


def _large() -> tuple[Any, Any]:
    from sklearn.datasets import make_classification

    made: tuple[Any, Any] = make_classification(_ROWS, _COLUMNS, n_informative=10, flip_y=0.1, random_state=0)
    return made


def _known(name: str) -> tuple[Any, Any]:
    from sklearn import datasets

    found: tuple[Any, Any] = getattr(datasets, f"load_{name}")(return_X_y=True)
    return found


def _foreign(package: str, name: str, **options: Any) -> Any:
    return getattr(importlib.import_module(package), name)(**options)


@dataclass(frozen=True)
class Case:
    """One audit: a table, a model, how many sets and requests."""

    table: str
    model: str
    load: Callable[[], tuple[Any, Any]]
    make: Callable[[], Any]
    sets: int = 10
    requests: int = 20


def _boosted(model: str, make: Callable[[], Any]) -> Case:
    return Case("breast cancer", model, lambda: _known("breast_cancer"), make, 5, 10)


def _logistic() -> Any:
    return _scaled("LogisticRegression", max_iter=1000)


CASES = {
    "breast cancer": Case("breast cancer, 569 x 30", "logistic regression", lambda: _known("breast_cancer"), _logistic),
    "digits": Case("digits, 1,797 x 64", "logistic regression", lambda: _known("digits"), _logistic),
    "wine": Case("wine, 178 x 13", "logistic regression", lambda: _known("wine"), _logistic),
    "diabetes": Case(
        "diabetes, 442 x 10", "linear regression", lambda: _known("diabetes"), lambda: _scaled("LinearRegression")
    ),
    "large": Case(f"generated, {_ROWS:,} x {_COLUMNS}", "logistic regression", _large, _logistic, 5, 10),
    "XGBoost": _boosted("XGBoost, 50 trees", lambda: _foreign("xgboost", "XGBClassifier", n_estimators=50)),
    "LightGBM": _boosted("LightGBM", lambda: _foreign("lightgbm", "LGBMClassifier", verbose=-1)),
    "CatBoost": _boosted("CatBoost", lambda: _foreign("catboost", "CatBoostClassifier", verbose=False)),
}


def audited(case: Case) -> list[str]:
    """Audit in this process; the cells of its row."""
    from lib_unlearning import DeletionAudit

    data, labels = case.load()
    began = time.perf_counter()
    audit = DeletionAudit(case.make(), n_sets=case.sets, n_requests=case.requests).fit(data, labels)
    seconds = time.perf_counter() - began
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    low, high = audit.interval_
    auc = with_interval(Estimate(audit.auc_, low, high, None))
    shape = f"{case.sets} x {case.requests}"
    return [case.table, case.model, shape, auc, audit.verdict_, f"{seconds:.0f}", f"{peak / 1024:.0f}"]


def main() -> None:
    """Print one Markdown row a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help="comma-separated")
    parser.add_argument("--one", choices=CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(audited(CASES[arguments.one])))
        return
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for name in arguments.cases.split(","):
        command = [sys.executable, __file__, "--one", name]
        done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False)
        if done.returncode:
            print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            continue
        print(f"| {' | '.join(json.loads(done.stdout.splitlines()[-1]))} |", flush=True)


if __name__ == "__main__":
    main()

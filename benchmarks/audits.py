"""Audits of methods whose answer is known by construction: how often each verdict is given.

    python benchmarks/audits.py --audits 13

Each audit has as many sample sets as `plan` says settle the margin, a seed and records of its own
(`make_classification`, 12,000 x 8, a tenth of the labels at random). LR: a logistic regression; DT: a tree of ten
leaves; the paper's features, or all attacks with `--attacks all`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from lib_unlearning import DeletionAudit
from lib_unlearning.statistics.intervals import Estimate, upper_rate
from lib_unlearning.statistics.planner import sets_for
from lib_unlearning.wording import with_interval

Part = tuple[np.ndarray, np.ndarray]
_END = 0.975  # of each end of an interval
_STEP, _SHORT_STEP = 5.0, 0.5  # of gradient ascent, in units of the summed gradient


def retrained(model: Any, keep: Part, forget: Part, seed: int) -> Any:
    """What it should be."""
    return clone(model).fit(*keep)


def flipped(model: Any, keep: Part, forget: Part, seed: int) -> Any:
    """Trained on all, the forgotten with the other label."""
    rows = [np.concatenate(parts) for parts in zip(keep, (forget[0], 1 - forget[1]), strict=True)]
    return clone(model).fit(*rows)


def ascended(model: Any, keep: Part, forget: Part, seed: int, step: float = _STEP) -> Any:
    """A logistic regression after one step up the forgotten records' loss."""
    found = clone(model).fit(keep[0][:50], keep[1][:50])  # fitted, so that it has all its attributes
    errors = model.predict_proba(forget[0])[:, 1] - forget[1]
    found.coef_ = model.coef_ + step * errors @ forget[0]
    found.intercept_ = model.intercept_ + step * errors.sum()
    return found


class Noise:
    """Answers at random, always alike to the same record."""

    classes_ = np.array([0, 1])

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """Posteriors [m, 2]."""
        likely = 1 / (1 + np.exp(-3 * np.sin(1e3 * rows @ np.arange(1, rows.shape[1] + 1))))
        return np.column_stack([1 - likely, likely])


def noise(model: Any, keep: Part, forget: Part, seed: int) -> Any:
    """No model at all."""
    return Noise()


LR, DT = LogisticRegression(max_iter=1000), DecisionTreeClassifier(max_leaf_nodes=10, random_state=0)
FULL = DecisionTreeClassifier(random_state=0)  # a leaf a record, so that it answers with the label it was given
# Name -> model, unlearn, and the verdict that it should get where sets are enough; None where the construction does
# not say by how much the method differs from retraining.
KNOWN: dict[str, tuple[Any, str | Callable[..., Any], str | None]] = {
    "retraining a tree, against the margin": (DT, "retrain", "leaks"),
    "retraining LR, against the margin": (LR, "retrain", "leaks"),
    "retraining a tree, against retraining": (DT, retrained, "equivalent"),
    "retraining LR, against retraining": (LR, retrained, "equivalent"),
    "nothing (LR)": (LR, "nothing", "leaks"),
    "noise (LR)": (LR, noise, "undecided"),
    "label flipping (full tree)": (FULL, flipped, "leaks"),
    "gradient ascent (LR)": (LR, ascended, "leaks"),
    "label flipping (LR)": (LR, flipped, None),
    "a tenth of that ascent (LR)": (LR, partial(ascended, step=_SHORT_STEP), None),
}


def audited(model: Any, unlearn: Any, seed: int, arguments: argparse.Namespace) -> str:
    """The verdict of one audit."""
    rows, labels = make_classification(12_000, 8, n_informative=5, flip_y=0.1, random_state=seed)
    audit = DeletionAudit(
        model,
        unlearn=unlearn,
        n_sets=sets_for(arguments.margin, arguments.requests, relative=True),
        n_requests=arguments.requests,
        set_size=300,
        margin=arguments.margin,
        attacks=arguments.attacks,
        attack_model="DT",
        random_state=seed,
        n_jobs=1,
    )
    return audit.fit(rows, labels).verdict_


def _against(wanted: str, verdicts: Counter[str]) -> int:
    """How many verdicts say the opposite, which no number of sets excuses."""
    opposite = {"leaks": ("equivalent", "below"), "equivalent": ("leaks",), "undecided": ("equivalent",)}
    return sum(verdicts[name] for name in opposite[wanted])


def _judged(wanted: str | None, verdicts: Counter[str], count: int) -> tuple[str, ...]:
    """What it should be, how often it was, that share with its interval, and how often the opposite."""
    if wanted is None:
        return "not known", "-", "-", "-"
    right = verdicts[wanted]
    low, high = 1 - upper_rate(count - right, count, _END), upper_rate(right, count, _END)
    share = with_interval(Estimate(right / count, low, high, None))
    return wanted, f"{right} of {count}", share, str(_against(wanted, verdicts))


def main() -> None:
    """Print one Markdown row a method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audits", type=int, default=13, help="of each method")
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--margin", type=float, default=0.15)
    parser.add_argument("--attacks", default="paper")
    arguments = parser.parse_args()
    columns = ("method", "should be", "was", "share [95 %]", "contradicted", "verdicts", "seconds an audit")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    count = arguments.audits
    for name, (model, unlearn, wanted) in KNOWN.items():
        start = time.perf_counter()
        verdicts = Counter(audited(model, unlearn, seed, arguments) for seed in range(count))
        each = (time.perf_counter() - start) / count
        told = ", ".join(f"{verdict} {many}" for verdict, many in verdicts.most_common())
        print(f"| {' | '.join((name, *_judged(wanted, verdicts, count), told, f'{each:.1f}'))} |", flush=True)


if __name__ == "__main__":
    main()

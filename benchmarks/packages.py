"""Unlearning methods of other packages on networks trained here: what each package's own measure says, and what leaks.

    pip install --no-deps erasus supreme-unlearning; pip install lightning wandb debugpy
    python benchmarks/packages.py --original_model MLPTorch --num_epochs 10

Of erasus that is the AUC of its `MIAMetric` (0.5 is its aim), the deleted record against the kept ones; of
supreme-unlearning the accuracy on the deleted records: its membership attack needs an older scikit-learn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks.methods import COLUMNS, row
from benchmarks.runs import opened
from lib_unlearning.statistics.metrics import mean_estimate
from lib_unlearning.unlearning.erasus import STRATEGIES
from lib_unlearning.unlearning.on_modules import labelled_tensors
from lib_unlearning.unlearning.supreme import METHODS
from lib_unlearning.wording import with_interval
from parameter_parser import parse_settings

FLAGS = [["--unlearning_method", "erasus", "--erasus_strategy", name] for name in STRATEGIES]
FLAGS += [["--unlearning_method", "supreme", "--supreme_method", name] for name in METHODS]
Measure = Callable[[Any, Any, Any], float]


def erasus_measure(module: Any, kept: Any, gone: Any) -> float:
    """The package's AUC of membership inference."""
    from erasus.metrics.forgetting.mia import MIAMetric
    from torch.utils.data import DataLoader

    return float(MIAMetric().compute(module, DataLoader(gone, 512), DataLoader(kept, 512))["mia_auc"])


def supreme_measure(module: Any, kept: Any, gone: Any) -> float:
    """The package's accuracy on the deleted records."""
    from supreme.eval_metrics.accuracy import accuracy

    inputs, labels = gone.tensors
    return float(accuracy(module(inputs), labels)) / 100


def own_measure(flags: list[str], measure: Measure) -> tuple[str, str]:
    """What a package says of the original models and of the unlearned ones, with intervals over the sample sets."""
    import torch

    settings = parse_settings(["--exp", "mem_inf", *flags])
    study = opened(settings)
    before: list[float] = []
    after: list[float] = []
    sets: list[int] = []
    for index, sample_set in enumerate(study.split["target"].sample_sets):
        trained = study.store["target"].load(index, sample_set)
        assert trained is not None
        for request, ensemble in zip(sample_set.requests, trained.unlearned, strict=True):
            kept = sample_set.records[~np.isin(sample_set.records, request)]
            for found, model in ((before, trained.original.constituents[0]), (after, ensemble.constituents[0])):
                parts = [labelled_tensors(model, study.dataset["target"], records) for records in (kept, request)]
                with torch.no_grad():
                    found.append(measure(model.module().eval(), *parts))
            sets.append(index)
    told = (with_interval(mean_estimate(np.array(values), np.array(sets), 0.0)) for values in (before, after))
    return next(told), next(told)


def main() -> None:
    """Print one Markdown row a method."""
    columns = (*COLUMNS, "its own measure, original", "its own measure, unlearned")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for method in FLAGS:
        package, name = method[1], method[3]
        cells = row(package, [*method[2:], *sys.argv[1:]])
        measure = erasus_measure if package == "erasus" else supreme_measure
        both = own_measure([*method, *sys.argv[1:]], measure)
        print(f"| {' | '.join([f'{package}: {name}', *cells[1:], *both])} |", flush=True)


if __name__ == "__main__":
    main()

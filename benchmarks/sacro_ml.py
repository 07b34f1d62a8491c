"""SACRO-ML's attacks on unlearned models, beside this project's on both versions of the same models.

    pip install sacroml
    python benchmarks/sacro_ml.py --original_model LR

Adult, 10 target sets of 2,000 records, one request of 20 records a set, so that its attacks, which judge one model at
a time, have cases to learn from. Its attacks get the deleted records as "training" data and as many strangers as "test"
data of the unlearned model.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks.runs import attacked, opened, told_alone
from lib_unlearning.reporting.archive import CHOSEN, read_run
from lib_unlearning.run_files import RESULTS
from lib_unlearning.statistics.intervals import interval
from lib_unlearning.wording import with_interval
from parameter_parser import parse_settings

SIZES = [f"--{side}_{name}" for side in ("shadow", "target") for name in ("unlearning_num=20", "unlearning_size=1")]
LIRA_MODELS = 50


def their_attacks() -> dict[str, Any]:
    """Name -> attack."""
    from sacroml.attacks.likelihood_attack import LIRAAttack
    from sacroml.attacks.worst_case_attack import WorstCaseAttack

    folder = tempfile.mkdtemp()
    return {
        "worst case": WorstCaseAttack(output_dir=folder, write_report=False),
        "LiRA": LIRAAttack(output_dir=folder, write_report=False, n_shadow_models=LIRA_MODELS),
    }


def area(attack: Any, target: Any) -> float:
    """Mean AUC of an attack's repetitions on one model."""
    with contextlib.redirect_stdout(io.StringIO()):
        found = attack.attack(target)
    instances = found["attack_experiment_logger"]["attack_instance_logger"].values()
    return float(np.mean([instance["AUC"] for instance in instances]))


def main() -> None:
    """Print one Markdown row an attack."""
    flags = [*SIZES, *sys.argv[1:]]
    (folder,) = attacked([*flags, "--attacks", "all"])
    run = read_run(folder / RESULTS)
    from sacroml.attacks.target import Target

    logging.disable(logging.WARNING)
    settings = parse_settings(["--exp", "mem_inf", *flags])
    study = opened(settings)
    dataset = study.dataset["target"]
    found: dict[str, list[float]] = {name: [] for name in their_attacks()}
    for index, sample_set in enumerate(study.split["target"].sample_sets):
        trained = study.store["target"].load(index, sample_set)
        assert trained is not None
        deleted = sample_set.requests[0]
        rng = np.random.default_rng(index)
        strangers = rng.choice(study.split["target"].negative, len(deleted), replace=False)
        model = trained.unlearned[0].constituents[0].estimator
        rows = [np.asarray(dataset.rows(part), dtype=np.float64) for part in (deleted, strangers)]
        if hasattr(model, "steps"):  # its likelihood-ratio attack cannot train a pipeline again
            rows, model = [model[:-1].transform(part) for part in rows], model[-1]
        labels = [dataset.labels[part] for part in (deleted, strangers)]
        target = Target(
            model=model,
            dataset_name="adult",
            X_train=rows[0],
            y_train=labels[0],
            X_test=rows[1],
            y_test=labels[1],
            X_train_orig=rows[0],
            y_train_orig=labels[0],
            X_test_orig=rows[1],
            y_test_orig=labels[1],
        )
        for name, attack in their_attacks().items():
            found[name].append(area(attack, target))
    print("| attack | sees | AUC |\n|---|---|---|")
    for name, values in found.items():
        error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
        mean = interval(float(np.mean(values)), error, len(values) - 1, 0.0, 1.0)
        print(f"| SACRO-ML, {name} | unlearned model | {with_interval(mean)} |")
    print(f"| here, alone | unlearned model | {told_alone(run.outcomes)} |")
    print(f"| here, classical | original | {with_interval(run.features['basic_mia']['auc'])} |")
    print(f"| here, {run.chosen} | both | {with_interval(run.features[CHOSEN]['auc'])} |")


if __name__ == "__main__":
    main()

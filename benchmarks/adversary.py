"""Today's attacks beside the paper's, on the same cases: AUC and TPR at 1 % FPR, each run through `main.py`.

python benchmarks/adversary.py --seeds 0,1,2
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks.reference_figures import results

ATTACKS = ("direct_diff", "label_logit", "residual_gradient", "probe_matched")
GROUP = "--shadow_unlearning_num {0} --target_unlearning_num {0}"
SETTINGS = {
    "LR, scratch": "--original_model LR",
    "LR, scratch, 2 records a request": f"--original_model LR {GROUP.format(2)}",
    "LR, scratch, 10 records a request": f"--original_model LR {GROUP.format(10)}",
    "LR, online learning, 1 exchanged": "--original_model LR --samples_to_evaluate online_learning",
    "LR, SISA, 10 shards": "--original_model LR --unlearning_method sisa",
    "DT, scratch": "--original_model DT",
    "LR, scratch, location / foursquare": "--original_model LR --dataset_name location",
    "LRTorch, 60 epochs, scratch": "--original_model LRTorch --num_epochs 60",
    "MLPTorch, 30 epochs, scratch": "--original_model MLPTorch --num_epochs 30",
}


def main() -> None:
    """Print one Markdown row a setting; a dash where an attack does not apply."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--only", default="", help="part of the names of the settings to run")
    arguments = parser.parse_args()
    print(f"| target, setting | {' | '.join(ATTACKS)} |\n|---|{'---|' * len(ATTACKS)}")
    for name, flags in SETTINGS.items():
        if arguments.only not in name:
            continue
        always = ["--attack_model", "RF", "--attacks", "all"]
        runs = [results([*always, *flags.split(), "--seed", seed]) for seed in arguments.seeds.split(",")]
        cells = [_cell([rows[attack] for rows in runs]) if attack in runs[0] else "-" for attack in ATTACKS]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _cell(rows: list[dict[str, str]]) -> str:
    area, rate = (np.mean([float(row[column]) for row in rows]) for column in ("auc", "tpr_at_1pct_fpr"))
    return f"{area:.3f} / {rate:.2f}"


if __name__ == "__main__":
    main()

"""AUCs by which a right implementation is known: eight settings on Adult, mean over seeds, each through `main.py`.

python benchmarks/reference_figures.py --seeds 0,1,2
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
FEATURES = ("direct_diff", "sorted_diff", "l2_distance", "label_diff", "label_logit", "basic_mia")
GROUP = "--shadow_unlearning_num 10 --target_unlearning_num 10"
VARIANTS = {
    "scratch": "",
    "scratch, 10 records a request": GROUP,
    "scratch, online learning": "--samples_to_evaluate online_learning",
    "SISA, 10 shards": "--unlearning_method sisa",
}


def results(flags: list[str]) -> dict[str, dict[str, str]]:
    """Train, attack, and read the result rows: feature -> columns."""
    for experiment in ("model_train", "mem_inf"):
        command = [sys.executable, "main.py", "--exp", experiment, "--quiet", *flags]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
    folder = Path(done.stdout.strip().rpartition("Results: ")[2])
    with open(folder / "results.csv", newline="", encoding="utf-8") as handle:
        return {row["feature"]: row for row in csv.DictReader(handle)}


def main() -> None:
    """Print one Markdown row a setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--original_model", default="DT,LR", help="comma-separated")
    parser.add_argument("--attack_model", default="DT")
    parser.add_argument("--peer_models", action="store_true", help="with the released code's hyperparameters")
    arguments = parser.parse_args()
    print(f"| target, setting | {' | '.join(FEATURES)} |\n|---|{'---|' * len(FEATURES)}")
    for model in arguments.original_model.split(","):
        for name, flags in VARIANTS.items():
            means = []
            for seed in arguments.seeds.split(","):
                fixed = ["--original_model", model, "--attack_model", arguments.attack_model, "--seed", seed]
                fixed += ["--peer_models"] if arguments.peer_models else []
                rows = results([*fixed, *flags.split()])
                means.append([float(rows[feature]["auc"]) for feature in FEATURES])
            cells = " | ".join(f"{value:.2f}" for value in np.mean(means, axis=0))
            print(f"| {model}, {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()

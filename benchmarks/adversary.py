"""Today's attacks beside the paper's, on the same cases: AUC and TPR at 1 % FPR, each run through `main.py`.

python benchmarks/adversary.py --seeds 0,1,2
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks.runs import attacked
from lib_unlearning.construct_feature import BASELINE
from lib_unlearning.reporting.archive import CHOSEN, Finding, combine_runs, paired_difference, read_run
from lib_unlearning.run_files import RESULTS
from lib_unlearning.statistics.metrics import TPR_NAMES
from lib_unlearning.wording import with_interval

ATTACKS = (
    "direct_diff",
    "label_logit",
    "residual_gradient",
    "probe_newton",
    "probe_matched",
    "likelihood_ratio",
    "rmia_difference",
    "label_only",
    "combined",
)
GROUP = "--shadow_unlearning_num {0} --target_unlearning_num {0}"
SETTINGS = {
    "LR, scratch": "--original_model LR",
    "LR, scratch, 2 records a request": f"--original_model LR {GROUP.format(2)}",
    "LR, scratch, 10 records a request": f"--original_model LR {GROUP.format(10)}",
    "LR, online learning, 1 exchanged": "--original_model LR --samples_to_evaluate online_learning",
    "LR, SISA, 10 shards": "--original_model LR --unlearning_method sisa",
    "DT, scratch": "--original_model DT",
    "DT, SISA, 10 shards": "--original_model DT --unlearning_method sisa",
    "LR, scratch, location / foursquare": "--original_model LR --dataset_name location",
    "LRTorch, 60 epochs, scratch": "--original_model LRTorch --num_epochs 60",
    "MLPTorch, 30 epochs, scratch": "--original_model MLPTorch --num_epochs 30",
    "RF, scratch": "--original_model RF",
}
COLUMNS = ("target, setting", *ATTACKS, "chosen on shadow data", "chosen less direct_diff", "classical")


def measured(flags: list[str], seeds: str) -> Finding:
    """All seeds of one setting, combined."""
    folders = attacked(["--skip_finished", "--attacks", "all", "--seeds", seeds, *flags])
    (finding,) = combine_runs([read_run(folder / RESULTS) for folder in folders])
    return finding


def cells(name: str, finding: Finding) -> list[str]:
    """A row: AUC / TPR at 1 % FPR of each attack, a dash where it does not apply."""
    row = [name]
    for attack in ATTACKS:
        found = finding.features.get(attack)
        row.append(f"{found['auc'].estimate.value:.3f} / {_tpr(finding, attack)}" if found else "-")
    gain = paired_difference(finding, CHOSEN, "direct_diff")
    row.append(f"{with_interval(finding.features[CHOSEN]['auc'].estimate)} / {_tpr(finding, CHOSEN)}")
    row.append(with_interval(gain.estimate, "+"))
    row.append(f"{finding.features[BASELINE]['auc'].estimate.value:.3f}")
    return row


def _tpr(finding: Finding, attack: str) -> str:
    found = finding.features[attack].get(TPR_NAMES[0.01])
    return f"{found.estimate.value:.2f}" if found is not None else "-"  # too few strangers for it


def main() -> None:
    """Print one Markdown row a setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--only", default="", help="part of the names of the settings to measure")
    parser.add_argument("flags", nargs="*", help="further flags of main.py, after --")
    arguments = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for name, flags in SETTINGS.items():
        if arguments.only in name:
            found = measured([*flags.split(), *arguments.flags], arguments.seeds)
            print(f"| {' | '.join(cells(name, found))} |", flush=True)


if __name__ == "__main__":
    main()

"""Unlearning methods beside retraining, on the same records: what they leak, what they cost.

python benchmarks/methods.py --original_model MLPTorch --num_epochs 30
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks.runs import attacked, told_alone
from lib_unlearning.reporting.archive import CHOSEN, read_run
from lib_unlearning.run_files import RESULTS
from lib_unlearning.unlearning.registry import OURS
from lib_unlearning.wording import with_interval

COLUMNS = (
    "method",
    "deletion shows: AUC",
    "unlearned alone: AUC",
    "retrained alone",
    "told from retrained: AUC",
    "distance to retrained",
    "accuracy kept / held out",
    "training [s]",
)


def row(name: str, flags: list[str]) -> list[str]:
    """Train and attack one method; its cells."""
    (folder,) = attacked(["--unlearning_method", name, *flags])
    run = read_run(folder / RESULTS)
    stages = json.loads((folder / "timing.json").read_text(encoding="utf-8"))["stages"]
    training = [stage["wall_seconds"] for stage in stages if stage["stage"].startswith("train models")]
    found = run.outcomes

    def plain(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    return [
        name,
        with_interval(run.features[CHOSEN]["auc"]),
        told_alone(found),
        plain(found["still_there_retrained_auc"]),
        plain(found["still_there_efficacy_auc"]),
        plain(found["still_there_distance"]),
        f"{found['unlearned_training_accuracy']:.3f} / {found['unlearned_held_out_accuracy']:.3f}",
        f"{training[0]:.0f}" if training else "-",
    ]


def main() -> None:
    """Print one Markdown row a method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(OURS), help="comma-separated")
    arguments, flags = parser.parse_known_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for name in arguments.methods.split(","):
        try:
            print(f"| {' | '.join(row(name, flags))} |", flush=True)
        except SystemExit as refused:  # a method of another family
            print(f"{name}: {refused}", file=sys.stderr)


if __name__ == "__main__":
    main()

"""How well the change that own pairs of models lead one to expect agrees with the one that is seen, family by family.

    python benchmarks/expected_changes.py --original_model MLPTorch --num_epochs 30

Adult, the target side: the cosine of both changes at 200 probes, of deleted records and of strangers, and the AUC of
that cosine alone. Near 0 for both: an own pair does not tell where the record's deletion moves another model.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks.runs import attacked, opened
from lib_unlearning import run_files
from lib_unlearning.attacks.probes import agreement, changes_of_pairs
from lib_unlearning.audit.sources import StudySource
from lib_unlearning.parallel import Stopwatch
from lib_unlearning.statistics.metrics import evaluate
from lib_unlearning.wording import with_interval
from parameter_parser import parse_settings


def main() -> None:
    """Print one Markdown row."""
    flags = ["--attacks", "all", *sys.argv[1:]]
    attacked([*flags, "--skip_finished"])
    settings = parse_settings(["--exp", "mem_inf", "--attack_model", "RF", *flags])
    study = opened(settings)
    view = StudySource(study, run_files.answers_name(study.settings), Stopwatch()).views()["target"]
    cosine = agreement(*changes_of_pairs(view, settings.seed))[:, 0]
    member = view.cases.member
    auc = evaluate(cosine, None, member, view.cases.set)["auc"]
    deleted, strangers = (float(np.median(cosine[member == kind])) for kind in (1, 0))
    print("| target | median cosine, deleted | strangers | AUC of the cosine alone |\n|---|---|---|---|")
    print(f"| {' '.join(sys.argv[1:])} | {deleted:.3f} | {strangers:.3f} | {with_interval(auc)} |")


if __name__ == "__main__":
    main()

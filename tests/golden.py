"""The runs whose results must never move by accident, and how they are made: `python -m tests.golden` prints digests.

`golden_results.json` holds the SHA-256 of each run's `results.csv`, less the columns that were added or redefined
later, and what it was made with: other library versions or another processor may round otherwise.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from importlib import metadata
from pathlib import Path

from tests.processes import command

DIGESTS = Path(__file__).with_name("golden_results.json")
SIZES = [
    f"--{side}_{name}={value}"
    for side in ("shadow", "target")
    for name, value in (("set_num", 3), ("set_size", 300), ("unlearning_size", 5))
]
GROUP = "--shadow_unlearning_num 10 --target_unlearning_num 10"
# The README's commands: every mem_inf with what it needs trained first.
QUESTIONS = {
    "scratch": "",
    "sisa": "--unlearning_method sisa",
    "multi_version": "--samples_to_evaluate in_out_multi_version",
    "group": GROUP,
    "group_multi_version": f"{GROUP} --samples_to_evaluate in_out_multi_version",
    "online_learning": "--samples_to_evaluate online_learning",
    "in_in": "--samples_to_evaluate in_in",
    "sisa_in_in": "--unlearning_method sisa --samples_to_evaluate in_in",
}
RUNS = {
    f"{model}_{name}": f"--original_model {model} {flags}"
    for model in ("DT", "LR")
    for name, flags in QUESTIONS.items()
}
RUNS |= {
    "transfer": "--original_model LR --shadow_original_model DT",
    "label_only": "--top_k 0",
    "temperature": "--temperature 5 --attack_model RF",
    "placebo": "--placebo",
    "MLPTorch": "--original_model MLPTorch --num_epochs 3 --retrain_randomness shared",
}
# Columns that came after the golden file, and those whose definition was changed since; CHANGELOG.md names both.
ADDED = re.compile(
    r"shadow_(auc|accuracy|deg_count|deg_rate)|solver|accelerate|answers_only|retrain_randomness|attacks|still_there.*|set_overlap|stranger_reuse"
    r"|round_digits|defense|own_models|probes|queries|versions|label_known|(empirical|one_run)_epsilon|exposed_.*"
)
MOVED = re.compile(r".*_(low|high|se)|(tpr_at_|advantage).*")


def made_with() -> dict[str, str]:
    """Library versions and the BLAS kernel that results depend on."""
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    kernels = sorted({str(part.get("architecture")) for part in threadpool_info() if part["user_api"] == "blas"})
    versions = {name: metadata.version(name) for name in ("numpy", "scipy", "scikit-learn", "torch")}
    return {**versions, "blas": ", ".join(kernels)}


def digest(results: Path) -> str:
    """Hex SHA-256 of a results.csv without the columns that were added or redefined later."""
    with open(results, newline="", encoding="utf-8") as handle:
        rows = list(csv.reader(handle))
    kept = [number for number, name in enumerate(rows[0]) if not (ADDED.fullmatch(name) or MOVED.fullmatch(name))]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([[row[number] for number in kept] for row in rows])
    return hashlib.sha256(buffer.getvalue().encode()).hexdigest()


def results_of(name: str, folder: Path) -> Path:
    """Train, attack, and return the results.csv of a golden run."""
    words = ["--exp", "mem_inf", "--train_missing", "--quiet", "--num_process=1", *SIZES, *RUNS[name].split()]
    done = command("main.py", [*words, "--temp_data", str(folder)], folder)
    assert done.returncode == 0, done.stderr
    return Path(re.findall(r"Results: (\S+)", done.stdout)[-1]) / "results.csv"


def main() -> None:
    """Make all golden runs and print their file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        found = {name: digest(results_of(name, Path(folder))) for name in RUNS}
    print(json.dumps({"made_with": made_with(), "digests": found}, indent=2))


if __name__ == "__main__":
    main()

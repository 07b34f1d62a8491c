"""Whether a record's deletion moves two models alike that share their seed, or their other records, or neither.

    python benchmarks/moved_alike.py --original_model MLPTorch --num_epochs 30

Adult, the target side's first sample sets. For each deleted record the change of the answers at 200 probes, in the
model itself and in one more that was trained with and without the record: with another seed and the same records, with
the same seed and other records around it in the same order, and with both other. Told are the mean cosine of the two
changes with its standard error over sample sets, and, in the place of chance, the cosine with the change that another
record of the set makes in the other model.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks.runs import opened
from lib_unlearning.link import centred_logs
from lib_unlearning.posterior import query
from lib_unlearning.record_numbers import among
from lib_unlearning.seeds import integer_seed, spawn
from lib_unlearning.study import Study
from lib_unlearning.unlearning.base import train_and_unlearn
from parameter_parser import parse_settings

SETS = 5
PROBES = 200
SHARED = ("seed and records", "records", "seed", "neither")


@dataclass(frozen=True)
class Moved:
    """Changes [k, P c] that the deletion of each of k records makes at the probes, by what a model shares."""

    study: Study
    index: int

    def __call__(self, shared: str) -> np.ndarray:
        """Of one more training that shares so much with the first."""
        study, index = self.study, self.index
        records, deletions, seed = study.training_of("target", index)
        if shared in ("seed", "neither"):
            records = self._among_others(records, np.concatenate([part.records for part in deletions]))
        if shared in ("records", "neither"):
            seed = integer_seed(seed, "another")
        method, trainer = study.method["target"], study.trainer["target"]
        original, unlearned = train_and_unlearn(method, trainer, records, deletions, seed)
        probes = spawn(study.settings.seed, "probes").choice(study.split["shadow"].negative, PROBES, replace=False)
        models = [original, *unlearned]
        before, *after = (
            centred_logs(found) for found in query(models, [probes] * len(models), study.dataset["target"])
        )
        return np.array([(before - found).ravel() for found in after])

    def _among_others(self, records: np.ndarray, deleted: np.ndarray) -> np.ndarray:
        """The same records in the same places, all others replaced by the adversary's own."""
        kept = among(records, deleted)
        others = spawn(self.study.settings.seed, "others", self.index).choice(
            self.study.split["shadow"].positive, len(records), replace=False
        )
        return np.where(kept, records, others)


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[k, k] cosines of changes [k, w]; those of nothing are 0."""
    first, second = (part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12) for part in (first, second))
    found: np.ndarray = first @ second.T
    return found


def agreements(study: Study, index: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of one sample set, for each of what another model may share: each record's cosine with itself [k], and with its
    neighbour [k]."""
    moved = Moved(study, index)
    first = moved(SHARED[0])
    for shared in SHARED[1:]:
        found = cosines(first, moved(shared))
        yield np.diag(found), np.diag(np.roll(found, 1, axis=1))


def told(parts: Sequence[np.ndarray]) -> str:
    """Mean of the sample sets' means, and its standard error."""
    means = np.array([part.mean() for part in parts])
    return f"{means.mean():.3f} ± {means.std(ddof=1) / np.sqrt(len(means)):.3f}"


def main() -> None:
    """Print one Markdown row for each way to share."""
    settings = parse_settings(
        ["--exp", "model_train", "--target_set_num", str(SETS), "--shadow_set_num", "1", *sys.argv[1:]]
    )
    study = opened(settings)
    title = " ".join(sys.argv[1:])
    print("| target | the other model shares | mean cosine, same record | another record |\n|---|---|---|---|")
    by_set = [list(agreements(study, index)) for index in range(study.settings.sides["target"].set_num)]
    for shared, pairs in zip(SHARED[1:], zip(*by_set, strict=True), strict=True):
        same, another = zip(*pairs, strict=True)
        print(f"| {title} | {shared} | {told(same)} | {told(another)} |", flush=True)


if __name__ == "__main__":
    main()

"""The adversary's own models: pairs with and without a candidate, trained by the target's method on his own records.

Candidates are taken in groups: one model is trained on own records and a group of candidates, and each of them is
deleted from it in turn. That costs one training a candidate and one a group, in stacks and processes like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib_unlearning.attacks.residual_gradient import centred_logs
from lib_unlearning.cache.files import digest, digest_arrays, read_arrays, write_arrays
from lib_unlearning.defense import Publication
from lib_unlearning.parallel import parallel_map
from lib_unlearning.posterior import query
from lib_unlearning.seeds import integer_seed, spawn
from lib_unlearning.study import Study
from lib_unlearning.study_models import warm_up
from lib_unlearning.unlearning.base import Deletion, train_and_unlearn

_NOBODY = np.array([], dtype=np.int64)


@dataclass(frozen=True)
class _Pairs:
    """Changes [g, P c] of own models at the probes when each candidate of a group is deleted; runs in a worker."""

    study: Study
    probes: np.ndarray
    publication: Publication
    seed: int

    def __call__(self, group: np.ndarray) -> np.ndarray:
        study = self.study
        size = study.settings.sides["shadow"].set_size or 0
        pool = study.split["shadow"].positive
        others = pool[~np.isin(pool, group)]
        rng = spawn(self.seed, "own records", *map(int, group[:2]))
        kept = rng.choice(others, min(max(size - len(group), 1), len(others)), replace=False)
        records = rng.permutation(np.concatenate([kept, group]))
        deletions = [
            Deletion(np.array([record]), _NOBODY, leaves_gap=study.settings.retrain_randomness == "matched")
            for record in group
        ]
        seed = integer_seed(self.seed, "own model", *map(int, group[:2]))
        original, unlearned = train_and_unlearn(
            study.method["shadow"], study.trainer["shadow"], records, deletions, seed
        )
        answers = query([original, *unlearned], [self.probes] * (1 + len(group)), study.dataset["shadow"])
        before, *after = (centred_logs(self.publication.of(answer)) for answer in answers)
        return np.stack([(before - later).ravel() for later in after]).astype(np.float32)


def own_changes(
    study: Study, candidates: np.ndarray, probes: np.ndarray, publication: Publication, seed: int, folder: Path
) -> np.ndarray:
    """Change [m, P c] of centred log posteriors at probes [P] when own models lose each candidate [m]; kept on disk."""
    key = digest(
        [
            study.store["shadow"].shaped_by,
            digest_arrays(candidates, probes),
            seed,
            publication.top_k,
            publication.temperature,
        ]
    )
    path = folder / f"own-{key[:16]}.npz"
    if path.exists():
        return read_arrays(path)["changes"]
    together = study.settings.sides["shadow"].unlearning_size
    groups = np.array_split(candidates, -(-len(candidates) // together))
    warm_up(study, len(groups))
    task = _Pairs(study, probes, publication, seed)
    parts = list(parallel_map(task, groups, study.processes, "own models", study.settings.quiet))
    found = np.concatenate(parts)
    write_arrays(path, {"changes": found})
    return found

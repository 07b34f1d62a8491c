"""The results that runs left behind, and those that agree in everything but the seed as one."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib_unlearning.cache.files import digest, read_json, read_sealed
from lib_unlearning.cache.layout import UNFINISHED, Layout
from lib_unlearning.construct_feature import BASELINE
from lib_unlearning.errors import LOGGER, UserError, error_text
from lib_unlearning.exposed_records import EXPOSURE
from lib_unlearning.record_split import SIDES
from lib_unlearning.run_files import (
    ADDED,
    EXPOSED,
    METRICS,
    OUTCOMES,
    PARTS,
    RESULTS,
    SCORES,
    SETTINGS,
    SHADOW_METRICS,
    TIMING,
)
from lib_unlearning.statistics.combine import Combined, Corrected, combine, corrected
from lib_unlearning.statistics.intervals import Estimate
from lib_unlearning.statistics.metrics import Scored, auc_change, auc_difference
from lib_unlearning.statistics.privacy import stability
from lib_unlearning.wording import plural, with_interval

if TYPE_CHECKING:
    import pandas as pd

CHOSEN = "chosen"  # as a feature: the one that each seed's shadow side chose


@dataclass(frozen=True)
class Run:
    """One finished attack.

    Attributes:
        settings: name -> value, all that shaped it, the seed included.
        outcomes: what all its features share: numbers of cases, accuracies, epsilon.
        features: feature -> metric -> estimate; `chosen` repeats the one that did best on the shadow side.
        chosen: that feature's name.
        made: when and by which command and version it was made, as far as known.
        origin: data digests, library and cache versions of its models: what must agree for runs to be pooled.
    """

    folder: Path
    settings: dict[str, Any]
    outcomes: dict[str, Any]
    features: dict[str, dict[str, Estimate]]
    chosen: str
    made: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """Runs that agree in everything but the seed, combined.

    Attributes:
        settings: what they agree in, without the seed.
        runs: in the order of their seeds.
        outcomes: means over the runs (cases: sums; epsilon: the largest).
        features: feature -> metric -> mean with interval, of the features that all runs have.
    """

    settings: dict[str, Any]
    runs: list[Run]
    outcomes: dict[str, Any]
    features: dict[str, dict[str, Combined]]

    @property
    def seeds(self) -> list[int]:
        """Of the runs, ascending."""
        return [run.settings["seed"] for run in self.runs]

    @property
    def folders(self) -> list[Path]:
        """Of the runs."""
        return [run.folder for run in self.runs]

    @property
    def chosen(self) -> list[str]:
        """What each run's shadow side chose."""
        return [run.chosen for run in self.runs]

    @property
    def usual_choice(self) -> str:
        """The feature that most seeds chose, of equals the first in the alphabet."""
        return max(sorted(set(self.chosen)), key=self.chosen.count)

    @property
    def overfitting_level(self) -> float:
        """Accuracy of the original models on training records less that on held-out ones."""
        return float(self.outcomes["original_training_accuracy"] - self.outcomes["original_held_out_accuracy"])

    @property
    def overlap(self) -> float:
        """Mean share of records that two of a run's sample sets have in common."""
        return float(self.outcomes["set_overlap"])

    @property
    def cases(self) -> int:
        """Deleted records and strangers that were asked about, over all runs."""
        return int(self.outcomes["positives"] + self.outcomes["negatives"])


# ---------------------------------------------------------------- reading


def read_runs(attack_data: Path) -> list[Run]:
    """All finished attacks under a folder, in the order of their names; a damaged file is named and left out."""
    runs = []
    for path in sorted(attack_data.glob(f"*/{RESULTS}")):
        if (path.parent / UNFINISHED).exists():
            continue
        try:
            runs.append(read_run(path))
        except UserError as error:
            LOGGER.warning("%s", error)
    return runs


def read_run(path: Path) -> Run:
    """The attack that a results.json tells of; raises `UserError` when the file is damaged or of an older release."""
    try:
        rows = json.loads(read_sealed(path))
        chosen = next(row["feature"] for row in rows if row["chosen"])
        features = {row["feature"]: _estimates(row) for row in rows}
        measured = {name + suffix for name in METRICS for suffix in PARTS} | {"feature", "chosen", *OUTCOMES}
        measured |= {f"shadow_{name}" for name in SHADOW_METRICS} | set(EXPOSURE)
        return Run(
            folder=path.parent,
            settings={name: value for name, value in rows[0].items() if name not in measured},
            outcomes={name: rows[0].get(name) if name in ADDED else rows[0][name] for name in OUTCOMES},
            features={**features, CHOSEN: features[chosen]},
            chosen=chosen,
            made=_made(path.with_name(TIMING)),
            origin=_origin(json.loads(read_sealed(path.with_name(SETTINGS)))),
        )
    except (KeyError, TypeError, StopIteration, AttributeError, IndexError, ValueError) as error:
        raise UserError(f"{path} is not of this release; delete its folder and run the attack again") from error


def _made(path: Path) -> dict[str, Any]:
    found = read_json(path) if path.exists() else {}
    return found if isinstance(found, dict) else {}


def _origin(described: dict[str, Any]) -> dict[str, Any]:
    models = described.get("models", {})
    names = ("dataset_digest", "libraries", "plugins", "cache_version", "revision")
    return {side: {name: shaped.get(name) for name in names} for side, shaped in models.items()}


def _estimates(row: dict[str, Any]) -> dict[str, Estimate]:
    return {
        name: Estimate(**{attribute: row[name + suffix] for suffix, attribute in PARTS.items()})
        for name in METRICS
        if row[name] is not None
    }


def read_scores(folder: Path) -> pd.DataFrame:
    """A run's scores, a row a target case; raises `UserError` when they are missing or damaged."""
    import pandas as pd

    path = folder / SCORES
    try:
        table = pd.read_csv(io.BytesIO(read_sealed(path)))
        table[["set", "member"]].astype(int)
        return table
    except (OSError, ValueError, KeyError, pd.errors.ParserError) as error:
        raise UserError(f"{path} cannot be read ({error_text(error)}); run the attack again") from error


def read_unfinished(layout: Layout) -> list[tuple[Path, dict[str, Any]]]:
    """Folder and settings of runs that began and did not end: interrupted, or still at work."""
    found = []
    for parent in (layout.attack_data, *(layout.models(side) for side in SIDES)):
        for path in sorted(parent.glob(f"*/{UNFINISHED}")):
            try:
                found.append((path.parent, dict(read_json(path))))
            except UserError as error:
                LOGGER.warning("%s", error)
    return found


# ---------------------------------------------------------------- combining


def combine_runs(runs: Sequence[Run]) -> list[Finding]:
    """Runs grouped by all that shaped them but the seed, in the order in which each group's first run came.

    A seed counts once: of several runs with the same one, the latest.
    """
    groups: dict[str, dict[int, Run]] = {}
    for run in runs:
        key = digest([{name: value for name, value in run.settings.items() if name != "seed"}, run.origin])
        group = groups.setdefault(key, {})
        seed = run.settings["seed"]
        if seed in group:
            LOGGER.warning("%s repeats seed %d of %s: counted once", run.folder, seed, group[seed].folder.name)
        if seed not in group or str(run.made.get("date", "")) > str(group[seed].made.get("date", "")):
            group[seed] = run
    return [_finding([group[seed] for seed in sorted(group)]) for group in groups.values()]


def _finding(runs: list[Run]) -> Finding:
    sets = [run.settings["target_set_num"] for run in runs]
    outcomes = {name: _together(name, [run.outcomes[name] for run in runs]) for name in OUTCOMES}
    features = {
        feature: {
            metric: combine([run.features[feature][metric] for run in runs], sets, metric, outcomes["set_overlap"])
            for metric in found
            if all(metric in run.features.get(feature, {}) for run in runs)
        }
        for feature, found in runs[0].features.items()
        if all(feature in run.features for run in runs)  # an attack may apply to the models of some seeds only
    }
    return Finding(
        settings={name: value for name, value in runs[0].settings.items() if name != "seed"},
        runs=runs,
        outcomes=outcomes,
        features=features,
    )


def _together(name: str, values: Sequence[Any]) -> Any:
    known = [value for value in values if value is not None]
    if not known:
        return None
    if name in ("positives", "negatives"):
        return sum(known)
    return max(known) if name == "epsilon" else sum(known) / len(known)


def holm_corrected(findings: Sequence[Finding]) -> list[dict[str, Corrected]]:
    """feature -> p-value of "as good as the classical attack", corrected over all features of all findings."""
    places = [
        (number, feature, found["auc_gain"])
        for number, finding in enumerate(findings)
        for feature, found in finding.features.items()
        if feature != CHOSEN and "auc_gain" in found and found["auc_gain"].p_value is not None
    ]
    told: list[dict[str, Corrected]] = [{} for _ in findings]
    for (number, feature, _), value in zip(places, corrected([gain for *_, gain in places]), strict=True):
        told[number][feature] = value
    for finding, found in zip(findings, told, strict=True):
        if len(set(finding.chosen)) == 1 and finding.chosen[0] in found:
            found[CHOSEN] = found[finding.chosen[0]]
    return told


def seed_summary(folders: Sequence[Path]) -> list[str]:
    """Lines of a table over seeds: one run's settings, mean AUC with interval, and the test against the baseline."""
    (finding,) = combine_runs([read_run(folder / RESULTS) for folder in folders])
    (p_values,) = holm_corrected([finding])
    exposed = stability(out for folder in folders if (out := _exposed(folder)) is not None)
    header = f"{'feature':<19}{'AUC, mean [95 % interval]':<27}{'against classical':<24}{'p (Holm)':>12}"
    lines = ["", f"Over seeds {', '.join(map(str, finding.seeds))}:", "", header, "-" * len(header)]
    for feature, found in finding.features.items():
        if feature == CHOSEN:
            continue
        gain = "-" if feature == BASELINE else with_interval(found["auc_gain"].estimate, "+")
        p_value = p_values[feature].told if feature in p_values else "-"
        lines.append(f"{feature:<19}{with_interval(found['auc'].estimate):<27}{gain:<24}{p_value:>12}")
    if exposed.judged:
        told = f"Of {plural(exposed.judged, 'record')} that several seeds judged, all of them agree on {exposed.agreed}"
        lines += ["", f"{told}, exposed in all or in none; by chance they would on {exposed.by_chance:.1f}."]
    return lines


def _exposed(folder: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Deleted records of a run, and which of them stand out; None where that could not be judged."""
    table = read_scores(folder)
    if table[EXPOSED].isna().any():
        return None
    deleted = table[table["member"] == 1]
    return deleted["record"].to_numpy(), deleted[EXPOSED].to_numpy(dtype=bool)


def paired_difference(finding: Finding, feature: str, other: str) -> Combined:
    """AUC of one feature less that of another of the same finding, over seeds, from the scores that its runs left.

    `CHOSEN` stands for what each run's shadow side chose.
    """
    parts = []
    for run in finding.runs:
        table = read_scores(run.folder)
        names = [run.chosen if name == CHOSEN else name for name in (feature, other)]
        first, second, member, sets = (table[name].to_numpy() for name in (*names, "member", "set"))
        parts.append(auc_difference(first, second, member, sets, finding.overlap))
    return combine(parts, [finding.settings["target_set_num"]] * len(parts), "auc_gain", finding.overlap)


def over_common_seeds(findings: Sequence[Finding]) -> list[Finding]:
    """The same settings over the seeds that all of them have; nothing where they share none."""
    shared = set.intersection(*(set(finding.seeds) for finding in findings))
    return [of_seeds(finding, shared) for finding in findings] if shared else []


def of_seeds(finding: Finding, seeds: Set[int]) -> Finding:
    """A finding over some of its seeds."""
    if seeds == set(finding.seeds):
        return finding
    return _finding([run for run in finding.runs if run.settings["seed"] in seeds])


def paired_between(first: Finding, second: Finding) -> Combined:
    """AUC of the chosen attack in one finding less that in another of the same sets and seeds, set by set."""
    parts, overlap = [], max(first.overlap, second.overlap)
    for one, other in zip(first.runs, second.runs, strict=True):
        tables = [read_scores(run.folder) for run in (one, other)]
        scored = [
            Scored(table[run.chosen].to_numpy(), table["member"].to_numpy(), table["set"].to_numpy())
            for table, run in zip(tables, (one, other), strict=True)
        ]
        parts.append(auc_change(scored[0], scored[1], overlap))
    return combine(parts, [first.settings["target_set_num"]] * len(parts), "auc_gain", overlap)

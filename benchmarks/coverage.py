"""How often the intervals hold the truth, by simulation with known truth.

    python benchmarks/coverage.py [--studies 500] [--processes 2]

Scores of strangers are standard normal, those of deleted records lie a distance higher, which differs from sample set
to sample set by a spread (standard deviation); "yes / no" scores say only on which side of the middle they lie. The
truth follows from the distance. A row is the worst of five true AUCs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import norm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib_unlearning.seeds import spawn
from lib_unlearning.statistics import metrics
from lib_unlearning.statistics.combine import combine
from lib_unlearning.statistics.intervals import CAUTION, Estimate

CASES = (20, 200)  # deleted records a set, and as many strangers
SPREADS = (0.0, 1.0, 2.0)
AREAS = (0.5, 0.75, 0.9, 0.98, 0.995)
SETS = (2, 3, 5, 10, 20)
LEVELS = {"tpr_at_10pct_fpr": 0.1, "tpr_at_1pct_fpr": 0.01}
MEASURES = ("auc", "advantage", *LEVELS)


@dataclass(frozen=True)
class World:
    """How scores come about: true AUC of continuous scores, spread over sets, whether only yes or no is told."""

    area: float
    spread: float = 0.0
    tied: bool = False

    @property
    def distance(self) -> float:
        """Mean distance of the deleted records."""
        return float(norm.ppf(self.area) * np.sqrt(2 + self.spread**2))

    @property
    def threshold(self) -> float:
        """Half way between both kinds."""
        return self.distance / 2

    def draw(self, num_sets: int, rng: np.random.Generator, cases: int) -> tuple[np.ndarray, ...]:
        """Scores, labels and sets [m] of one study."""
        sets = np.repeat(np.arange(num_sets), 2 * cases)
        member = np.tile(np.repeat([1, 0], cases), num_sets)
        shift = self.distance + self.spread * rng.normal(size=num_sets)[sets]
        scores = rng.normal(size=len(sets)) + member * shift
        return (scores > self.threshold).astype(float) if self.tied else scores, member, sets

    def truth(self) -> dict[str, float]:
        """What a study of endless size would measure."""
        scale = float(np.sqrt(1 + self.spread**2))

        def above(threshold: float) -> tuple[float, float]:
            return float(norm.sf((threshold - self.distance) / scale)), float(norm.sf(threshold))

        true, false = above(self.threshold)
        found = {"auc": (1 + true - false) / 2 if self.tied else self.area, "advantage": true - false}
        for name, level in LEVELS.items():
            if not self.tied:
                found[name] = above(float(norm.isf(level)))[0]
            elif false > level:
                found[name] = true * level / false
            else:
                found[name] = true + (1 - true) * (level - false) / (1 - false)
        return found


def coverage(world: World, num_sets: int, cases: int, studies: int, seed: int) -> dict[str, tuple[float, float]]:
    """measure -> share of studies whose interval holds the truth, and share of intervals of width 0.

    Measures that so few strangers cannot resolve are left out.
    """
    truth = world.truth()
    held, flat = dict.fromkeys(truth, 0), dict.fromkeys(truth, 0)
    for study in range(studies):
        scores, member, sets = world.draw(num_sets, spawn(seed, f"{world} {num_sets}", study), cases)
        found = metrics.evaluate(scores, None, member, sets, 0.5 if world.tied else world.threshold)
        for name in found.keys() & truth.keys():
            low, high = found[name].low, found[name].high
            assert low is not None
            assert high is not None
            held[name] += low <= truth[name] <= high
            flat[name] += low == high
    return {name: (held[name] / studies, flat[name] / studies) for name in truth if name in found}


def coverage_over_seeds(num_seeds: int, spread: float, studies: int, seed: int) -> float:
    """Share of simulated studies of several seeds, ten sets each, whose interval holds the true value.

    A seed's value varies with its sets (standard error 1) and, beyond that, from seed to seed by `spread`.
    """
    rng, sets, held = spawn(seed, "seeds"), 10, 0
    for _ in range(studies):
        measured = rng.normal(scale=np.sqrt(sets), size=(num_seeds, sets)) + spread * rng.normal(size=(num_seeds, 1))
        scale = CAUTION / np.sqrt(sets) / 100
        runs = [Estimate(part.mean() / 100, None, None, scale * part.std(ddof=1)) for part in measured]
        interval = combine(runs, [sets] * num_seeds, "auc_gain").estimate
        assert interval.low is not None
        assert interval.high is not None
        held += interval.low <= 0 <= interval.high
    return held / studies


Cell = tuple[float, int, int, bool, float, int]  # spread, sets, deleted a set, tied, AUC, studies


def _cell(cell: Cell) -> dict[str, tuple[float, float]]:
    spread, num_sets, cases, tied, area, studies = cell
    return coverage(World(area, spread, tied), num_sets, cases, studies, seed=0)


def main() -> None:
    """Print one Markdown row a setting, the worst of its true AUCs: intervals of one seed, then of several."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    rows = list(itertools.product(SPREADS, SETS, CASES, (False, True)))
    print(
        "| spread over sets | sets | deleted a set (and strangers) | scores | AUC | advantage | TPR at 10 % FPR "
        "| at 1 % FPR | width 0 |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    worst: dict[float, tuple[float, str]] = {}
    with ProcessPoolExecutor(options.processes) as workers:
        cells = workers.map(_cell, [(*row, area, options.studies) for row in rows for area in AREAS])
        fives = zip(*[iter(cells)] * len(AREAS), strict=True)
        for (spread, num_sets, cases, tied), found in zip(rows, fives, strict=True):
            kind = "yes / no" if tied else "continuous"
            least = {name: min(part[name][0] for part in found) for name in MEASURES if name in found[0]}
            flat = max(part[name][1] for part in found for name in part)
            shares = " | ".join(f"{least[name]:.3f}" if name in least else "-" for name in MEASURES)
            print(f"| {spread:g} | {num_sets} | {cases} | {kind} | {shares} | {flat:.3f} |", flush=True)
            for name, share in least.items() if num_sets > 2 else ():
                where = f"{name}, {num_sets} sets of {cases} cases, {kind}"
                worst[spread] = min(worst.get(spread, (1.0, "")), (share, where))
    print("\n| seeds | spread over seeds, in standard errors of one | coverage |\n|---|---|---|")
    for num_seeds, spread in itertools.product((2, 3, 5), (0.0, 0.5, 1.0, 2.0, 5.0)):
        print(f"| {num_seeds} | {spread} | {coverage_over_seeds(num_seeds, spread, 4 * options.studies, seed=0):.3f} |")
    for spread, (share, where) in worst.items():
        print(f"\nWorst cell from 3 sets on, spread {spread:g}: {share:.3f} ({where})")


if __name__ == "__main__":
    main()

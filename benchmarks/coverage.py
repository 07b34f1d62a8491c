"""How often the intervals hold the truth, by simulation with known truth.

    python benchmarks/coverage.py [--studies 1000]

Scores of strangers are standard normal, those of deleted records lie a distance higher, which in half of the settings
differs from sample set to sample set (standard deviation 1); "yes / no" scores say only on which side of the middle
they lie. The truth follows from the distance. The interval of `metrics.evaluate` is compared
with the plain percentile bootstrap over sample sets.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import norm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib_unlearning.seeds import spawn
from lib_unlearning.statistics import metrics
from lib_unlearning.statistics.combine import combine
from lib_unlearning.statistics.intervals import Estimate

CASES = 20  # deleted records a set, and as many strangers
AREAS = (0.5, 0.75, 0.9, 0.98, 0.995)
SETS = (2, 3, 5, 10, 20)
MEASURES = ("auc", "advantage", "tpr_at_10pct_fpr")


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

    def draw(self, num_sets: int, rng: np.random.Generator, cases: int = CASES) -> tuple[np.ndarray, ...]:
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
        if not self.tied:
            return {"auc": self.area, "advantage": true - false, "tpr_at_10pct_fpr": above(float(norm.isf(0.1)))[0]}
        at_level = true * 0.1 / false if false > 0.1 else true + (1 - true) * (0.1 - false) / (1 - false)
        return {"auc": (1 + true - false) / 2, "advantage": true - false, "tpr_at_10pct_fpr": at_level}


def coverage(world: World, num_sets: int, studies: int, seed: int) -> dict[str, tuple[float, float]]:
    """measure -> share of studies whose interval holds the truth, and share of intervals of width 0."""
    truth = world.truth()
    held, flat = dict.fromkeys(truth, 0), dict.fromkeys(truth, 0)
    for study in range(studies):
        scores, member, sets = world.draw(num_sets, spawn(seed, f"{world} {num_sets}", study))
        found = metrics.evaluate(scores, None, member, sets, 0.5 if world.tied else world.threshold)
        for name, value in truth.items():
            low, high = found[name].low, found[name].high
            assert low is not None
            assert high is not None
            held[name] += low <= value <= high
            flat[name] += low == high
    return {name: (held[name] / studies, flat[name] / studies) for name in truth}


def percentile_coverage(world: World, num_sets: int, studies: int, seed: int, resamples: int = 400) -> float:
    """The same of the AUC's percentile bootstrap over sample sets."""
    truth, held = world.truth()["auc"], 0
    for study in range(studies):
        scores, member, sets = world.draw(num_sets, spawn(seed, f"{world} {num_sets}", study))
        drawn = spawn(seed, "bootstrap", study).multinomial(num_sets, np.full(num_sets, 1 / num_sets), size=resamples)
        sampled = metrics.roc_metrics(scores, member, sets, drawn.astype(float))["auc"]
        low, high = np.quantile(sampled, [0.025, 0.975])
        held += low <= truth <= high
    return held / studies


def coverage_over_seeds(num_seeds: int, spread: float, studies: int, seed: int) -> float:
    """Share of simulated studies of several seeds, ten sets each, whose interval holds the true value.

    A seed's value varies with its sets (standard error 1) and, beyond that, from seed to seed by `spread`.
    """
    rng, sets, held = spawn(seed, "seeds"), 10, 0
    for _ in range(studies):
        measured = rng.normal(scale=np.sqrt(sets), size=(num_seeds, sets)) + spread * rng.normal(size=(num_seeds, 1))
        runs = [Estimate(part.mean() / 100, None, None, part.std(ddof=1) / np.sqrt(sets) / 100) for part in measured]
        interval = combine(runs, [sets] * num_seeds, "auc_gain").estimate
        assert interval.low is not None
        assert interval.high is not None
        held += interval.low <= 0 <= interval.high
    return held / studies


def main() -> None:
    """Print one Markdown row a setting: intervals of one seed, then of several; at last the worst cells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    studies = parser.parse_args().studies
    print("| sets | scores | spread over sets | true AUC | AUC | advantage | TPR at 10 % FPR | width 0 | percentile |")
    print("|---|---|---|---|---|---|---|---|---|")
    worst = {name: (1.0, "") for name in MEASURES}
    for num_sets in SETS:
        for tied in (False, True):
            for spread in (0.0, 1.0):
                for area in AREAS:
                    world = World(area, spread, tied)
                    found = coverage(world, num_sets, studies, seed=0)
                    old = percentile_coverage(world, num_sets, max(1, studies // 20), seed=0)
                    kind = "yes / no" if tied else "continuous"
                    where = f"{num_sets} sets, {kind}, spread {spread:g}, AUC {world.truth()['auc']:.3f}"
                    cells = " | ".join(f"{found[name][0]:.3f}" for name in MEASURES)
                    flat = max(found[name][1] for name in MEASURES)
                    true = world.truth()["auc"]
                    print(
                        f"| {num_sets} | {kind} | {spread:g} | {true:.3f} | {cells} | {flat:.3f} | {old:.2f} |",
                        flush=True,
                    )
                    for name in MEASURES if num_sets > 2 else ():
                        worst[name] = min(worst[name], (found[name][0], where))
    print("\n| seeds | spread over seeds, in standard errors of one | coverage |\n|---|---|---|")
    for num_seeds in (2, 3, 5):
        for spread in (0.0, 0.5, 1.0, 2.0):
            print(f"| {num_seeds} | {spread} | {coverage_over_seeds(num_seeds, spread, 4 * studies, seed=0):.3f} |")
    print(
        "\nWorst cells from 3 sets on: "
        + "; ".join(f"{name} {share:.3f} ({at})" for name, (share, at) in worst.items())
    )


if __name__ == "__main__":
    main()

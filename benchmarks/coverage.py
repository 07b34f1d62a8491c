"""How often the intervals hold the truth, by simulation with known truth, for ten and fewer sample sets.

    python benchmarks/coverage.py

Each simulated study draws a set effect and scores whose true AUC follows from the distance of two normal
distributions; the interval of `metrics.evaluate` is compared with the plain percentile bootstrap.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.stats import norm

from lib_unlearning.seeds import spawn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib_unlearning.statistics import metrics
from lib_unlearning.statistics.combine import combine
from lib_unlearning.statistics.metrics import Estimate

STUDIES = 1000
RESAMPLES = 400
CASES = 20  # positives a set, and as many negatives


def simulate(num_sets: int, distance: float, spread: float, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Scores, labels and sets [m] of one study; positives lie `distance` higher, give or take `spread` a set."""
    sets = np.repeat(np.arange(num_sets), 2 * CASES)
    member = np.tile(np.repeat([1, 0], CASES), num_sets)
    shift = distance + spread * rng.normal(size=num_sets)[sets]
    return rng.normal(size=len(sets)) + member * shift, member, sets


def coverage(num_sets: int, distance: float, spread: float, seed: int) -> tuple[float, float]:
    """Share of studies whose interval holds the true AUC: the project's interval, and the percentile bootstrap."""
    truth = norm.cdf(distance / np.sqrt(2 + spread**2))
    held = np.zeros(2)
    for study in range(STUDIES):
        scores, member, sets = simulate(num_sets, distance, spread, spawn(seed, "study", study))
        generator = spawn(seed, "bootstrap", study)
        weights = metrics.resampling_weights(num_sets, RESAMPLES, generator)
        sampled = metrics.roc_metrics(scores, member, sets, weights)["auc"]
        interval = metrics.estimate(sampled, num_sets, 0.0, 1.0)
        assert interval.low is not None
        assert interval.high is not None
        low, high = np.quantile(sampled[1:], [0.025, 0.975])
        held += [interval.low <= truth <= interval.high, low <= truth <= high]
    return held[0] / STUDIES, held[1] / STUDIES


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
    """Print one Markdown row a setting: intervals of one seed, then of several."""
    print("| sets | true distance | spread over sets | this project | percentile bootstrap |\n|---|---|---|---|---|")
    for num_sets in (3, 5, 10, 20):
        for distance, spread in ((0.0, 0.0), (1.0, 0.0), (1.0, 0.5)):
            ours, percentile = coverage(num_sets, distance, spread, seed=0)
            print(f"| {num_sets} | {distance} | {spread} | {ours:.3f} | {percentile:.3f} |", flush=True)
    print("\n| seeds | spread over seeds, in standard errors of one | this project |\n|---|---|---|")
    for num_seeds in (2, 3, 5):
        for spread in (0.0, 0.5, 1.0, 2.0):
            print(f"| {num_seeds} | {spread} | {coverage_over_seeds(num_seeds, spread, 4000, seed=0):.3f} |")


if __name__ == "__main__":
    main()

"""What an attack's success says of differential privacy, and of single records.

A deletion that is (epsilon, delta)-indistinguishable from no deletion allows no rule whose rates exceed
TPR <= exp(epsilon) FPR + delta; so rates that do exceed it bound epsilon from below (Kairouz et al., ICML 2015).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lib_unlearning.seeds import spawn
from lib_unlearning.statistics.intervals import CONFIDENCE

DELTA = 1e-5
FALSE_DISCOVERIES = 0.05
_GUESSED = (0.02, 0.05, 0.1, 0.25, 0.5)  # shares of all cases that are guessed on either side
_MOST_EPSILON = 20.0


@dataclass(frozen=True)
class EpsilonBound:
    """A lower bound on epsilon that holds in 95 % of repetitions, and the rule that gives it.

    Attributes:
        epsilon: 0 where nothing is shown.
        hits, cases: of `cases` decisions `hits` were right.
    """

    epsilon: float
    hits: int
    cases: int


def halves(sets: np.ndarray, request: np.ndarray) -> np.ndarray:
    """Mask [m] of the half of the cases on which a rule is chosen: every other sample set, or request of a single."""
    group = sets if len(np.unique(sets)) > 1 else request
    found: np.ndarray = np.searchsorted(np.unique(group), group) % 2 == 0
    return found


def epsilon_bound(scores: np.ndarray, member: np.ndarray, chosen_on: np.ndarray, delta: float = DELTA) -> EpsilonBound:
    """A rule "above" or "below a threshold" is chosen on one half of the cases, and its rates are bounded on the other.

    Both of Clopper and Pearson's bounds hold together in 95 %. Cases are taken to be independent.

    Args:
        scores, member: [m] attack scores and labels.
        chosen_on: [m] mask of the half on which the rule is chosen.
    """
    threshold, positives = _best_rule(scores[chosen_on], member[chosen_on], delta)
    judged = ~chosen_on
    caught = (scores[judged] > threshold) if positives else (scores[judged] <= threshold)
    wanted = member[judged] == (1 if positives else 0)
    hits, alarms = int((caught & wanted).sum()), int((caught & ~wanted).sum())
    low = _least(np.array([hits]), int(wanted.sum()))
    high = 1 - _least(np.array([int((~wanted).sum()) - alarms]), int((~wanted).sum()))
    return EpsilonBound(float(_epsilon(low, high, delta)[0]), hits, hits + alarms)


def _best_rule(scores: np.ndarray, member: np.ndarray, delta: float) -> tuple[float, bool]:
    """Threshold and direction whose bound would be largest on these cases."""
    order = np.sort(np.unique(scores))
    thresholds = np.concatenate([[-np.inf], (order[1:] + order[:-1]) / 2]) if len(order) > 1 else order
    kinds = [np.sort(scores[member == kind]) for kind in (1, 0)]
    best = (-1.0, 0.0, True)
    above = [len(part) - np.searchsorted(part, thresholds, "right") for part in kinds]  # positives, negatives
    for positives in (True, False):
        hits, alarms = above if positives else (len(kinds[1]) - above[1], len(kinds[0]) - above[0])
        wanted, others = (len(kinds[0]), len(kinds[1])) if positives else (len(kinds[1]), len(kinds[0]))
        found = _epsilon(_least(hits, wanted), 1 - _least(others - alarms, others), delta)
        if found.max() > best[0]:
            best = (float(found.max()), float(thresholds[found.argmax()]), positives)
    return best[1], best[2]


def _epsilon(low: np.ndarray, high: np.ndarray, delta: float) -> np.ndarray:
    shown = (low - delta > high) & (high > 0)
    found: np.ndarray = np.log(np.where(shown, low - delta, 1.0) / np.where(shown, high, 1.0))
    return found


def _least(events: np.ndarray, trials: int) -> np.ndarray:
    """Clopper and Pearson's lower bounds on rates [n], so that two of them hold together."""
    from scipy.special import betaincinv

    bounds: np.ndarray = betaincinv(np.maximum(events, 1), trials - np.maximum(events, 1) + 1, (1 - CONFIDENCE) / 2)
    return np.where(events > 0, bounds, 0.0)


def one_run_epsilon(
    scores: np.ndarray, member: np.ndarray, chosen_on: np.ndarray, delta: float = DELTA
) -> EpsilonBound:
    """The bound of Steinke, Nasr and Jagielski (NeurIPS 2023, arXiv 2305.08846) from the surest guesses of one run.

    How many guesses are made is chosen on one half of the cases, the bound is of the other. It takes every case to be
    deleted or not by an independent fair coin.
    """
    tried = [(_guessing(scores[chosen_on], member[chosen_on], share, delta).epsilon, share) for share in _GUESSED]
    return _guessing(scores[~chosen_on], member[~chosen_on], max(tried)[1], delta)


def _guessing(scores: np.ndarray, member: np.ndarray, share: float, delta: float) -> EpsilonBound:
    """Guesses about a share of the cases at either end; of those that tie with others none, as no order is theirs."""
    count = min(max(1, int(share * len(scores))), len(scores) // 2)
    ranked = np.sort(scores)
    high_end, low_end = (scores > ranked[-count - 1], scores < ranked[count]) if count else (scores < 0, scores < 0)
    guesses = int(high_end.sum() + low_end.sum())
    if not guesses:
        return EpsilonBound(0.0, 0, 0)
    hits = int((member[high_end] == 1).sum() + (member[low_end] == 0).sum())
    low, high = 0.0, _MOST_EPSILON
    if _chance(hits, guesses, len(scores), low, delta) > 1 - CONFIDENCE:
        return EpsilonBound(0.0, hits, guesses)
    for _ in range(40):
        middle = (low + high) / 2
        shown = _chance(hits, guesses, len(scores), middle, delta) <= 1 - CONFIDENCE
        low, high = (middle, high) if shown else (low, middle)
    return EpsilonBound(low, hits, guesses)


def _chance(hits: int, guesses: int, cases: int, epsilon: float, delta: float) -> float:
    """How likely so many right guesses are at most, if the mechanism is (epsilon, delta)-private."""
    from scipy.special import bdtrc, gammaln, xlog1py, xlogy  # scipy.stats would take longer to import

    right = 1 / (1 + np.exp(-epsilon))
    beta = float(bdtrc(hits - 1, guesses, right)) if hits else 1.0
    counts = np.arange(hits - 1, -1, -1)
    ways = gammaln(guesses + 1) - gammaln(counts + 1) - gammaln(guesses - counts + 1)
    below = np.cumsum(
        np.exp(ways + xlogy(counts, right) + xlog1py(guesses - counts, -right))
    )  # of hits - i .. hits - 1
    alpha = float((below / np.arange(1, hits + 1)).max()) if hits else 0.0
    return min(1.0, beta + 2 * alpha * delta * cases)


# ---------------------------------------------------------------- single records


def conformal_p_values(scores: np.ndarray, strangers: np.ndarray) -> np.ndarray:
    """[m] how often one of the adversary's own strangers [n] scores at least as high: 1 / (n + 1) at the least."""
    ranked = np.sort(strangers)
    above = len(ranked) - np.searchsorted(ranked, scores, "left")
    found: np.ndarray = (1 + above) / (len(ranked) + 1)
    return found


def discoveries(p_values: np.ndarray, level: float = FALSE_DISCOVERIES) -> np.ndarray:
    """Mask [m] of the cases that stand out at a false discovery rate (Benjamini and Hochberg, JRSS B 1995)."""
    order = np.argsort(p_values, kind="stable")
    steps = level * np.arange(1, len(p_values) + 1) / len(p_values)
    passed = np.flatnonzero(p_values[order] <= steps + 1e-12)
    found = np.zeros(len(p_values), dtype=bool)
    found[order[: passed[-1] + 1 if len(passed) else 0]] = True
    return found


def judged_exposed(exposed: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, tuple[int, int] | None]:
    """Cases [m] that stand out, none where too many of them are strangers: then how many were, and of how many.

    A false discovery rate supposes that the adversary's strangers and the target's answer alike; sets that differ, and
    strangers who are asked about again and again, break that, and the target's own strangers show it (one-sided, at
    5 %).
    """
    from scipy.special import bdtrc

    strangers, named = int((exposed & (member == 0)).sum()), int(exposed.sum())
    if not strangers or float(bdtrc(strangers - 1, named, FALSE_DISCOVERIES)) >= 1 - CONFIDENCE:
        return exposed, None
    return np.zeros_like(exposed), (strangers, named)


def exposed_by(
    scores: np.ndarray, strangers: np.ndarray, member: np.ndarray
) -> tuple[np.ndarray, tuple[int, int] | None]:
    """Cases [m] whose scores stand out from those of the adversary's own strangers [n] (see `judged_exposed`)."""
    return judged_exposed(discoveries(conformal_p_values(scores, strangers)), member)


def one_of_each(records: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Numbers of one case about each record of either kind: the others tell nothing of their own.

    Which one, and their order, are drawn by lot: the first ones would empty late sample sets of strangers, and their
    order would decide between equal scores.
    """
    rng = spawn(0, "one case a record")
    drawn = rng.permutation(len(records))
    pairs = np.column_stack([records, member])[drawn]
    found: np.ndarray = rng.permutation(drawn[np.unique(pairs, axis=0, return_index=True)[1]])
    return found


def distinct_strangers(records: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Numbers of one case about each stranger (see `one_of_each`)."""
    once = one_of_each(records, member)
    found: np.ndarray = once[member[once] == 0]
    return found


def can_discover(strangers: int, promising: int, cases: int, level: float = FALSE_DISCOVERIES) -> bool:
    """Whether `promising` of the cases could stand out, were all of them above every one of so many own strangers."""
    return promising > 0 and 1 / (strangers + 1) <= level * promising / cases + 1e-12


@dataclass(frozen=True)
class Stability:
    """Of how many records that several runs judged all of them agree whether they are exposed, and of how many they
    would if each run had exposed as large a share of its records at random."""

    agreed: int
    judged: int
    by_chance: float


def stability(lists: Iterable[tuple[np.ndarray, np.ndarray]]) -> Stability:
    """Whether several runs expose the same records.

    Args:
        lists: (records [m], exposed [m]) of each run; a record that stands in it more than once is exposed if it is in
            one of its cases.
    """
    judged: dict[int, list[tuple[bool, float]]] = {}
    for records, exposed in lists:
        names, which = np.unique(records, return_inverse=True)
        out = np.bincount(which, exposed) > 0
        for record, found in zip(names.tolist(), out.tolist(), strict=True):
            judged.setdefault(record, []).append((found, float(out.mean())))
    repeated = [found for found in judged.values() if len(found) > 1]
    chances = [math.prod(share for _, share in part) + math.prod(1 - share for _, share in part) for part in repeated]
    agreed = sum(len({found for found, _ in part}) == 1 for part in repeated)
    return Stability(agreed, len(repeated), sum(chances))

"""Controls of an audit: cases whose answer is known, made from its own answers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lib_unlearning.audit.evidence import Options, Sides, judged, metrics, scored_cases
from lib_unlearning.construct_feature import of_known_label
from lib_unlearning.posterior import PosteriorSet
from lib_unlearning.seeds import spawn
from lib_unlearning.statistics.intervals import Estimate, interval
from lib_unlearning.statistics.metrics import changes

PASSED, FAILED, NOT_JUDGED = "passed", "failed", "not judged"
_TELLING = 0.5  # width of an interval, from which on it tells nothing
_SURE = 0.99  # confidence of controls: in one audit of a hundred a sound control fails


@dataclass(frozen=True)
class Control:
    """A case with a known answer: what was expected, what was found, and whether that is "passed", "failed", or, where
    the sets are too few to say, "not judged"."""

    name: str
    expected: str
    found: Estimate
    outcome: str


def run_controls(cases: Sides, options: Options) -> list[Control]:
    """Cases whose answer is known, made from the audit's own answers; an audit whose controls fail has no verdict."""
    null = {side: _null(part, options.seed, side) for side, part in cases.items()}
    planted = {side: _planted(part) for side, part in cases.items()}
    shuffled = {side: _shuffled(part, options.seed, side) for side, part in cases.items()}
    idle = {side: replace(part, unlearned=part.original) for side, part in cases.items()}
    noisy = {side: _noisy(part, options.seed, side) for side, part in cases.items()}
    blind = [
        _blind("nothing deleted", "strangers in the deleted records' place: 0.5", null, options),
        _blind("shuffled membership", "0.5", shuffled, options),
    ]
    scores = _scored(planted, options)
    leak = _auc(scores, planted, options)
    learned = np.ptp(scores) > 0  # one score for all: so few cases that nothing is learned
    told = leak.low is not None and leak.high is not None and leak.high - leak.low < _TELLING
    seen = PASSED if (leak.low or 0.0) > 0.5 else FAILED if leak.value <= 0.5 and learned and told else NOT_JUDGED
    found = Control("planted leak", "found: above 0.5", leak, seen)
    alone = [
        _no_more("do nothing", "no more than the original alone, by what was learned here", cases, idle, options),
        _no_more("noise for an unlearned model", "no more than the original alone", noisy, noisy, options),
    ]
    return [*blind, found, *alone]


def _auc(scores: np.ndarray, sides: Sides, options: Options) -> Estimate:
    return metrics(scored_cases(scores, sides["target"]), options)["auc"]


def _scored(sides: Sides, options: Options) -> np.ndarray:
    shadow = sides["shadow"]
    return judged(shadow, shadow.member, sides["target"], of_known_label, options, "control")


def _blind(name: str, expected: str, sides: Sides, options: Options) -> Control:
    found = _auc(_scored(sides, options), sides, options)
    if found.error is None or found.degrees is None:
        return Control(name, expected, found, NOT_JUDGED)
    wide = interval(found.value, found.error, found.degrees, 0.0, 1.0, level=_SURE)
    assert wide.low is not None
    assert wide.high is not None
    return Control(name, expected, found, PASSED if wide.low <= 0.5 <= wide.high else FAILED)


def _no_more(name: str, expected: str, learned: Sides, sides: Sides, options: Options) -> Control:
    """What a classifier that learned on some cases makes of others: its gain over the original alone must not lie above
    the margin."""
    both = _scored({"shadow": learned["shadow"], "target": sides["target"]}, options)
    original = {side: replace(cases, unlearned=cases.original) for side, cases in sides.items()}
    alone = _scored(original, options)
    pair = [scored_cases(scores, sides["target"]) for scores in (both, alone)]
    gain = changes(pair[0], pair[1], options.overlap, same_is_exact=False)["auc"]
    outcome = NOT_JUDGED if gain.low is None else PASSED if gain.low <= options.margin else FAILED
    return Control(name, expected, gain, outcome)


def _null(cases: PosteriorSet, seed: int, side: str) -> PosteriorSet:
    """Strangers only, every other one of each sample set in a deleted record's place."""
    strangers = cases.select(cases.member == 0)
    member = np.zeros(len(strangers), dtype=int)
    if np.bincount(strangers.set).max() < 2:  # one a set: every other one of all, the sets taken in pairs
        strangers = replace(strangers, set=strangers.set // 2)
    for number in np.unique(strangers.set):
        rows = np.flatnonzero(strangers.set == number)
        member[spawn(seed, "null control", side, int(number)).permutation(rows)[::2]] = 1
    return replace(strangers, member=member)


def _shuffled(cases: PosteriorSet, seed: int, side: str) -> PosteriorSet:
    member = cases.member.copy()
    for number in np.unique(cases.set):
        rows = np.flatnonzero(cases.set == number)
        member[rows] = spawn(seed, "shuffled control", side, int(number)).permutation(member[rows])
    return replace(cases, member=member)


def _planted(cases: PosteriorSet) -> PosteriorSet:
    """Nothing changes but the answers to deleted records: a tenth of each goes, or a tenth of the truth's spread."""
    unlearned = cases.original.copy()
    rows = np.flatnonzero(cases.member == 1)
    if cases.original.shape[1] == 1:
        unlearned[rows, 0] += 0.1 * (float(cases.label.std()) or 1.0)
    else:
        taken = 0.1 * unlearned[rows, cases.label[rows]] + 0.01
        unlearned[rows, cases.label[rows]] = np.maximum(unlearned[rows, cases.label[rows]] - taken, 0.0)
    return replace(cases, unlearned=unlearned)


def _noisy(cases: PosteriorSet, seed: int, side: str) -> PosteriorSet:
    rng = spawn(seed, "noise control", side)
    if cases.original.shape[1] == 1:
        return replace(cases, unlearned=rng.permutation(cases.unlearned))
    return replace(cases, unlearned=rng.dirichlet(np.ones(cases.original.shape[1]), len(cases)))

"""Examines both sides' views: the attacks, what they show, controls, and a verdict. The same for every door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lib_unlearning.attack import ATTACK_MODELS, View, positive_probability
from lib_unlearning.attacks.choice import chosen_attack, cross_fitted_scores
from lib_unlearning.attacks.registry import attacks_on
from lib_unlearning.construct_feature import of_known_label, unlearned_alone
from lib_unlearning.posterior import PosteriorSet, alike_answers, evenly_spaced
from lib_unlearning.seeds import integer_seed, spawn
from lib_unlearning.statistics.intervals import Estimate, equivalent, interval, upper_rate
from lib_unlearning.statistics.metrics import (
    TPR_NAMES,
    Scored,
    best_threshold,
    change,
    evaluate,
    evaluate_all,
    range_of,
    record_groups,
    resolvable_levels,
)
from lib_unlearning.statistics.privacy import distinct_strangers, exposed_by, halves
from lib_unlearning.statistics.verdict import TPR_MARGIN, Verdict, judge

Views = Mapping[str, View]
Sides = Mapping[str, PosteriorSet]

LEARNED = 20_000  # cases that a control's classifier learns from
_TELLING = 0.5  # width of an interval, from which on it tells nothing
_SURE = 0.99  # confidence of controls: in one audit of a hundred a sound control fails


@dataclass(frozen=True)
class Options:
    """How an audit is made.

    Attributes:
        margin: AUC above one half that counts as none, and difference of AUCs that does.
        tpr_margin: the same of the TPR at 1 % FPR, above one in a hundred.
        attack_model, today: see `attacks_on`.
    """

    margin: float = 0.05
    attack_model: str = "RF"
    today: bool = True
    seed: int = 0
    overlap: float = 0.0
    tpr_margin: float = TPR_MARGIN


@dataclass(frozen=True)
class Question:
    """One question about the deletion, and its answer.

    Attributes:
        measured: AUC or TPR of the audited method. reference: of retraining on the same records.
        difference: of the two, set by set; None where nothing is compared.
        verdict: "leaks", "equivalent" (to retraining), "less" (than retraining), "below" (the margin), "differs",
            "alike" (both versions, so that nothing can show), "reversed" (deleted records and strangers are told apart
            the wrong way round), or "undecided".
        margin: that it was judged by.
    """

    name: str
    asks: str
    measured: Estimate
    reference: Estimate | None
    difference: Estimate | None
    verdict: str
    margin: float


PASSED, FAILED, NOT_JUDGED = "passed", "failed", "not judged"


@dataclass(frozen=True)
class Control:
    """A case with a known answer: what was expected, what was found, and whether that is "passed", "failed", or, where
    the sets are too few to say, "not judged"."""

    name: str
    expected: str
    found: Estimate
    outcome: str


@dataclass(frozen=True)
class Examination:
    """Everything an audit found.

    Attributes:
        results: attack -> metric -> estimate.
        chosen: the attack that the shadow side chose. scores: [m] what it gives target cases.
        exposed: [m] target cases that stand out one by one at a false discovery rate of 5 %.
        wrong: see `judged_exposed`: where the rate is not kept, strangers among so many that would stand out.
        unchanged: whether both versions answered alike in every case, and retrained models do not.
        silent: whether both versions answered alike, and so do retrained models, as far as there are any.
        verdict: "leaks", "equivalent", "below", "undecided", or "no verdict" where a control failed.
    """

    results: dict[str, dict[str, Estimate]]
    chosen: str
    scores: np.ndarray
    exposed: np.ndarray
    wrong: tuple[int, int] | None
    questions: list[Question]
    controls: list[Control]
    unchanged: bool
    silent: bool
    verdict: str

    @property
    def auc(self) -> Estimate:
        """Of the chosen attack."""
        return self.results[self.chosen]["auc"]


@dataclass(frozen=True)
class Attacked:
    """One pair of views, attacked: scores on the target side, cross-fitted ones on the shadow side, the chosen."""

    scores: dict[str, np.ndarray]
    tried: dict[str, np.ndarray]
    chosen: str


@dataclass(frozen=True)
class Evidence:
    """What an audit rests on: both sides' answers, and the scores of the attacks on them.

    Attributes:
        retrained, other: the same of models retrained without the deleted records; None where nothing is compared.
    """

    cases: Sides
    found: Attacked
    retrained: Sides | None
    other: Attacked | None


def attacked(views: Views, options: Options) -> Attacked:
    """All attacks that the views allow, fitted on the shadow side."""
    shadow, target, seed = views["shadow"], views["target"], options.seed
    attacks = attacks_on(shadow, options.attack_model, seed, options.today)
    scores = {name: attack.fit(shadow, seed).score(target) for name, attack in attacks.items()}
    tried = {name: cross_fitted_scores(attack, shadow, seed) for name, attack in attacks.items()}
    return Attacked(scores, tried, chosen_attack(tried, shadow))


def examine(views: Views, retrained: Views | None, options: Options) -> tuple[Evidence, Examination]:
    """Attack a deletion, and conclude.

    Args:
        retrained: the same cases with models retrained without the deleted records in the unlearned ones' place; the
            verdict is then relative to them. None: the verdict is against the margin.
    """
    evidence = Evidence(
        {side: view.cases for side, view in views.items()},
        attacked(views, options),
        None if retrained is None else {side: view.cases for side, view in retrained.items()},
        None if retrained is None else attacked(retrained, options),
    )
    return evidence, conclude(evidence, options)


def conclude(evidence: Evidence, options: Options) -> Examination:
    """Everything that follows from answers and scores; no model is needed, so anybody can do it again."""
    cases, found = evidence.cases, evidence.found
    target, shadow = cases["target"], cases["shadow"]
    alone = same_cases(cases)  # a threshold, or strangers to compare with, would be those that are judged
    thresholds = {} if alone else {name: best_threshold(part, shadow.member) for name, part in found.tried.items()}
    results = evaluate_all(found.scores, target, thresholds, options.overlap, by_record=True)
    learned = _apart(cases, alone)
    again = None if evidence.retrained is None else evidence.retrained["target"]
    if evidence.retrained is None or evidence.other is None:
        questions = _against_margin(learned, results[found.chosen], options)
    else:
        questions = _against_retraining(evidence, learned, _apart(evidence.retrained, alone), options)
    alike = alike_answers(target.original, target.unlearned) and not _shown_by_digits(learned, options)
    unchanged = alike and again is not None and not alike_answers(again.original, again.unlearned)
    silent = alike and not unchanged
    if alike:
        questions = [replace(part, verdict="alike") if part.asks == _SHOWS else part for part in questions]
    controls = run_controls(learned, options)
    strangers = found.tried[found.chosen][distinct_strangers(shadow.record, shadow.member)]
    exposed, wrong = np.zeros(len(target), dtype=bool), None
    if not alone:
        exposed, wrong = exposed_by(found.scores[found.chosen], strangers, target.member)
    return Examination(
        results,
        found.chosen,
        found.scores[found.chosen],
        exposed,
        wrong,
        questions,
        controls,
        unchanged,
        silent,
        _overall(questions, controls, unchanged, silent),
    )


def same_cases(cases: Sides) -> bool:
    """Whether there is no shadow side of its own: both are the same cases, in everything but their records' numbers."""
    sides = [vars(replace(part, record=part.member)).values() for part in (cases["target"], cases["shadow"])]
    return all(np.array_equal(one, other) for one, other in zip(*sides, strict=True))


def _shown_by_digits(cases: Sides, options: Options) -> bool:
    """Whether what looks like rounding tells deleted records from strangers by itself: then it is none."""
    found = _metrics(_by_digits(cases, options), options)["auc"]
    return found.low is not None and found.low > 0.5 + options.margin


def _by_digits(cases: Sides, options: Options) -> Scored:
    """Scores by nothing but how large the change is, however small."""
    shadow, target = cases["shadow"], cases["target"]
    return _scored_cases(_judged(shadow, shadow.member, target, _sizes_of_change, options, "digits"), target)


def _sizes_of_change(cases: PosteriorSet) -> np.ndarray:
    """Logarithms of how far the answers moved, of the label's and at the most, and the sign of the former, [m, 3]."""
    moved = np.asarray(cases.original - cases.unlearned, dtype=np.float64)
    label = moved if moved.shape[1] == 1 else np.take_along_axis(moved, cases.label[:, None], axis=1)
    sizes = np.hstack([np.abs(label), np.abs(moved).max(axis=1, keepdims=True)])
    return np.hstack([np.log(sizes + _NOTHING), np.sign(label)])


def _apart(cases: Sides, alone: bool) -> Sides:
    """Both sides, or where there is but one, two halves of it by sample sets: nothing is judged on what it learned
    from."""
    if not alone:
        return cases
    target = cases["target"]
    first = halves(target.set, target.request)
    return {"shadow": target.select(first), "target": target.select(~first)}


def _overall(questions: list[Question], controls: list[Control], unchanged: bool, silent: bool) -> str:
    if any(control.outcome == FAILED for control in controls):
        return "no verdict"
    verdicts = {question.verdict for question in questions}
    if unchanged or "leaks" in verdicts:
        return "leaks"
    for settled in ("equivalent", "below"):
        if verdicts == {settled} and not silent:
            return settled
    return "undecided"


# ---------------------------------------------------------------- questions

STILL_THERE = "still there"
_SHOWS = "does the deletion show, to whoever asks both versions?"
_STILL = "is the record still in the unlearned model, asked alone?"
TPR_NAME = "TPR at 1 % FPR"
_TPR = f", {TPR_NAME}"
_DIGITS = "shows, by the size of the change alone"  # a question only where that leaks
_NOTHING = 1e-300  # in the place of no change, whose logarithm nothing has
_KINDS = {
    Verdict.LEAKS: "leaks",
    Verdict.BELOW: "below",
    Verdict.REVERSED: "reversed",
    Verdict.UNDECIDED: "undecided",
}
_SAME = "can the unlearned model be told from a retrained one by its answers to deleted records?"


def _against_margin(cases: Sides, shows: Mapping[str, Estimate], options: Options) -> list[Question]:
    """AUC against a half, and TPR at 1 % FPR, where cases resolve it, against one in a hundred."""
    target = cases["target"]
    alone = _metrics(_alone(cases, options), options)
    count = len(np.unique(target.set))
    if 0.01 not in resolvable_levels(len(distinct_strangers(target.record, target.member))):
        alone.pop(TPR_NAMES[0.01], None)
    questions = []
    for name, asks, found in (("shows", _SHOWS, shows), (STILL_THERE, _STILL, alone)):
        verdict = _KINDS[judge(found["auc"], count, 0.5 + options.margin, options.overlap).verdict]
        questions.append(Question(name, asks, found["auc"], None, None, verdict, options.margin))
        if TPR_NAMES[0.01] in found:
            tpr, margin = found[TPR_NAMES[0.01]], options.tpr_margin
            questions.append(Question(f"{name}{_TPR}", asks, tpr, None, None, _rate_verdict(tpr, margin), margin))
    digits = _metrics(_by_digits(cases, options), options)["auc"]
    if _KINDS[judge(digits, count, 0.5 + options.margin, options.overlap).verdict] == "leaks":
        questions.append(Question(_DIGITS, _SHOWS, digits, None, None, "leaks", options.margin))
    return questions


def _rate_verdict(tpr: Estimate, margin: float) -> str:
    if tpr.low is not None and tpr.low > 0.01 + margin:
        return "leaks"
    return "below" if tpr.high is not None and tpr.high < 0.01 + margin else "undecided"


def _against_retraining(evidence: Evidence, cases: Sides, retrained: Sides, options: Options) -> list[Question]:
    """`cases`, `retrained`: what the attacks on the unlearned models alone learn from, and what they judge."""
    target = evidence.cases["target"]
    both = [part for part in (evidence.found, evidence.other) if part is not None]
    chosen = [_scored_cases(part.scores[part.chosen], target) for part in both]
    alone = [_alone(part, options) for part in (cases, retrained)]
    questions = []
    strangers = min(len(distinct_strangers(part.record, part.member)) for part in (target, cases["target"]))
    for name, asks, scored, judged, metric, margin in (
        ("shows", _SHOWS, chosen, target, "auc", options.margin),
        (f"shows{_TPR}", _SHOWS, chosen, target, TPR_NAMES[0.01], options.tpr_margin),
        (STILL_THERE, _STILL, alone, cases["target"], "auc", options.margin),
        (f"{STILL_THERE}{_TPR}", _STILL, alone, cases["target"], TPR_NAMES[0.01], options.tpr_margin),
    ):
        if metric != "auc" and 0.01 not in resolvable_levels(strangers):
            continue
        difference = change(scored[0], scored[1], metric, options.overlap)
        if difference is None:
            continue  # so few questions about strangers do not resolve it
        if difference.error == 0:
            difference = _alike_so_far(judged, 0.0)
        values = [_metrics(part, options)[metric] for part in scored]
        verdict, high = relative(difference, margin), values[0].high
        if metric == "auc" and high is not None and high < 0.5 - margin:
            verdict = "reversed"
        questions.append(Question(name, asks, values[0], values[1], difference, verdict, margin))
    digits = [_by_digits(part, options) for part in (cases, retrained)]
    more = change(digits[0], digits[1], "auc", options.overlap)
    if more is not None and relative(more, options.margin) == "leaks":
        values = [_metrics(part, options)["auc"] for part in digits]
        questions.append(Question(_DIGITS, _SHOWS, values[0], values[1], more, "leaks", options.margin))
    told = efficacy(cases, retrained, options)
    low, high = (None if end is None else end - 0.5 for end in (told.low, told.high))
    away = Estimate(told.value - 0.5, low, high, told.error, told.degrees)
    verdict = relative(away, options.margin)
    verdict = "differs" if verdict in ("leaks", "less") else verdict
    return [*questions, Question("same as retrained", _SAME, told, None, away, verdict, options.margin)]


def relative(difference: Estimate, margin: float) -> str:
    """ "leaks" where a difference is clearly above the margin, "less" where clearly below it on the other side,
    "equivalent" by two one-sided tests, or "undecided"."""
    if difference.low is not None and difference.low > margin:
        return "leaks"
    if difference.high is not None and difference.high < -margin:
        return "less"
    if difference.low is None or difference.high is None:
        return "undecided"
    if difference.error is None or difference.degrees is None:  # bounds of their own
        shown = -margin < difference.low and difference.high < margin
    else:
        shown = equivalent(difference, difference.degrees, margin, *range_of("auc_gain"))
    return "equivalent" if shown else "undecided"


def spread(member: np.ndarray, limit: int) -> np.ndarray:
    """At most about `limit` cases, as many of each kind in proportion, evenly spaced."""
    share = min(1.0, limit / len(member))
    kinds = [np.flatnonzero(member == kind) for kind in np.unique(member)]
    return np.sort(np.concatenate([evenly_spaced(rows, max(1, int(share * len(rows)))) for rows in kinds]))


def _alone(cases: Sides, options: Options) -> Scored:
    shadow, target = cases["shadow"], cases["target"]
    return _scored_cases(_judged(shadow, shadow.member, target, unlearned_alone, options, "alone"), target)


def _scored_cases(scores: np.ndarray, cases: PosteriorSet) -> Scored:
    return Scored(scores, cases.member, cases.set, record_groups(cases.record, cases.member, cases.set))


def _metrics(scored: Scored, options: Options) -> dict[str, Estimate]:
    scores, member, sets, groups = scored
    return evaluate(scores, None, member, sets, overlap=options.overlap, groups=groups)


def _judged(
    shadow: PosteriorSet,
    truth: np.ndarray,
    target: PosteriorSet,
    see: Callable[[PosteriorSet], np.ndarray],
    options: Options,
    purpose: str,
) -> np.ndarray:
    """Scores [m] of target cases by a classifier that learned a truth [n] on shadow cases."""
    classifier = ATTACK_MODELS[options.attack_model](integer_seed(options.seed, "audit", purpose))
    learned = spread(truth, LEARNED)
    return positive_probability(classifier.fit(see(shadow.select(learned)), truth[learned]), see(target))


def efficacy(cases: Sides, retrained: Sides, options: Options) -> Estimate:
    """AUC of telling unlearned from retrained models by both versions' answers to deleted records (RULI's game).

    Where these answers are the same in every case it is a half; see `_alike_so_far`.
    """
    if _same_answers(cases["target"], retrained["target"]):
        return _alike_so_far(cases["target"], 0.5)
    parts = {}
    for side in ("shadow", "target"):
        pair = [part[side].select(part[side].member == 1) for part in (cases, retrained)]
        see = np.concatenate([of_known_label(part) for part in pair])
        parts[side] = see, np.repeat([1, 0], len(pair[0])), np.tile(pair[0].set, 2), np.tile(pair[0].record, 2)
    classifier = ATTACK_MODELS[options.attack_model](integer_seed(options.seed, "audit", "efficacy"))
    classifier.fit(*parts["shadow"][:2])
    see, truth, sets, records = parts["target"]
    groups = record_groups(records, truth, sets)
    return _metrics(Scored(positive_probability(classifier, see), truth, sets, groups), options)["auc"]


def _alike_so_far(cases: PosteriorSet, value: float) -> Estimate:
    """What no difference in any of n deletions shows: a share of 1 - 0.05^(1 / n) of deletions could still differ (95
    %), and an AUC or a TPR could differ by as much."""
    gone = cases.select(cases.member == 1)
    # A record that several requests delete from one model is one deletion.
    deletions = min(len(np.unique(np.column_stack([gone.set, which]), axis=0)) for which in (gone.request, gone.record))
    share = upper_rate(0, deletions)
    return Estimate(value, value - share, value + share, None)


def _same_answers(one: PosteriorSet, other: PosteriorSet) -> bool:
    """Whether both say the same of every deleted record."""
    gone = one.member == 1
    pairs = ((one.original, other.original), (one.unlearned, other.unlearned))
    return all(alike_answers(part[gone], twin[gone]) for part, twin in pairs)


# ---------------------------------------------------------------- controls


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
    return _metrics(_scored_cases(scores, sides["target"]), options)["auc"]


def _scored(sides: Sides, options: Options) -> np.ndarray:
    shadow = sides["shadow"]
    return _judged(shadow, shadow.member, sides["target"], of_known_label, options, "control")


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
    pair = [_scored_cases(scores, sides["target"]) for scores in (both, alone)]
    gain = change(pair[0], pair[1], "auc", options.overlap, same_is_exact=False)
    assert gain is not None
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


def plain(value: Any) -> Any:
    """Dataclasses, arrays and numpy numbers as JSON has them."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value

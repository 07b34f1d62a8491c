"""The questions of an audit, and their answers: against a margin, or beside retraining."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lib_unlearning.attack import ATTACK_MODELS, positive_probability
from lib_unlearning.audit.evidence import Evidence, Options, Sides, judged, metrics, scored_cases
from lib_unlearning.construct_feature import BASELINE, logit, of_known_label, of_true_label, residuals, unlearned_alone
from lib_unlearning.posterior import PosteriorSet, alike_answers
from lib_unlearning.seeds import integer_seed
from lib_unlearning.statistics.intervals import CONFIDENCE, Estimate, equivalent, interval, upper_rate
from lib_unlearning.statistics.metrics import (
    TPR_NAMES,
    Scored,
    changes,
    range_of,
    record_groups,
    resolvable_levels,
)
from lib_unlearning.statistics.privacy import distinct_strangers
from lib_unlearning.statistics.verdict import Verdict, judge

STILL_THERE = "still there"
SHOWS = "does the deletion show, to whoever asks both versions?"
_STILL = "is the record still in the unlearned model, asked alone?"
_SAME = "can the unlearned model be told from a retrained one by its answers to deleted records?"
TPR_NAME = "TPR at 1 % FPR"
_TPR = f", {TPR_NAME}"
_BY_SIZE = "the size of the change alone"
_BY_LABEL = "a threshold on the label's answer"
_NO_CHANGE = 1e-300  # in the place of no change, whose logarithm nothing has
_KINDS = {
    Verdict.LEAKS: "leaks",
    Verdict.BELOW: "below",
    Verdict.REVERSED: "reversed",
    Verdict.UNDECIDED: "undecided",
}


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


def against_margin(
    cases: Sides, results: Mapping[str, Mapping[str, Estimate]], chosen: str, options: Options
) -> list[Question]:
    """AUC against a half, and TPR at 1 % FPR, where cases resolve it, against one in a hundred.

    Args:
        results: attack -> metric -> estimate; of the chosen attack all are asked, of the others whether they see more.
    """
    target = cases["target"]
    alone = metrics(_alone(cases, options), options)
    count = len(np.unique(target.set))
    if 0.01 not in resolvable_levels(len(distinct_strangers(target.record, target.member))):
        alone.pop(TPR_NAMES[0.01], None)
    questions = []
    for name, asks, found in (("shows", SHOWS, results[chosen]), (STILL_THERE, _STILL, alone)):
        verdict = _KINDS[judge(found["auc"], count, 0.5 + options.margin, options.overlap).verdict]
        questions.append(Question(name, asks, found["auc"], None, None, verdict, options.margin))
        if TPR_NAMES[0.01] in found:
            tpr, margin = found[TPR_NAMES[0.01]], options.tpr_margin
            questions.append(Question(f"{name}{_TPR}", asks, tpr, None, None, _rate_verdict(tpr, margin), margin))
    others = {name: results[name] for name in _others(results, chosen)}
    others |= {name: metrics(scored, options) for name, scored in _simple(cases, options).items()}
    for metric, nothing, margin in _judged_by(results[chosen], options):
        best = _best_of({name: part[metric] for name, part in others.items() if metric in part}, nothing, margin)
        if best is not None:
            questions.append(Question(best.asked(metric), SHOWS, best.found, None, None, best.verdict, margin))
    return questions


def _judged_by(resolved: Container[str], options: Options) -> Iterator[tuple[str, float, float]]:
    """What attacks are judged by: the metric, what nothing gives, and the margin; TPR where cases resolve it."""
    yield "auc", 0.5, options.margin
    if TPR_NAMES[0.01] in resolved:
        yield TPR_NAMES[0.01], 0.01, options.tpr_margin


def _simple(cases: Sides, options: Options) -> dict[str, Scored]:
    """Scores of attacks that nobody would leave out: by the size of the change, and a threshold that learns nothing."""
    target = cases["target"]
    return {_BY_SIZE: _by_size_of_change(cases, options), _BY_LABEL: scored_cases(_lost_by_label(target), target)}


def _others(attacks: Iterable[str], chosen: str) -> list[str]:
    """Attacks that see the deletion and do not count."""
    return [name for name in attacks if name not in (chosen, BASELINE)]


def _named(question: str, metric: str) -> str:
    return question if metric == "auc" else f"{question}{_TPR}"


class _Best(NamedTuple):
    """What one of several attacks sees, with its interval at the level that their number asks for."""

    name: str
    of: int
    found: Estimate
    verdict: str

    def asked(self, metric: str) -> str:
        """What its question is called."""
        return f"{_named('shows', metric)}, by {self.name}, best of {self.of}"


def _best_of(others: Mapping[str, Estimate], nothing: float, margin: float, lowest: float = 0.0) -> _Best | None:
    """The attack, of those that do not count, that is surest to see more than nothing, where that is more than the
    margin ("leaks") or may be ("undecided", so that nobody is told that nothing shows).

    Each is judged at a level divided by their number (Bonferroni), as none of them was named beforehand. `lowest`: what
    they can be at the least.
    """
    level = 1 - (1 - CONFIDENCE) / len(others)
    best: _Best | None = None
    for name, one in others.items():
        if one.error is None or one.degrees is None:
            continue
        found = interval(one.value, one.error, one.degrees, lowest, 1.0, level=level)
        assert found.low is not None
        assert found.high is not None
        assert one.high is not None
        if found.low <= nothing or one.high <= nothing + margin:
            continue
        if best is None or found.low > (best.found.low or 0.0):
            verdict = "leaks" if found.low > nothing + margin else "undecided"
            best = _Best(name, len(others), found, verdict)
    return best


def _rate_verdict(tpr: Estimate, margin: float) -> str:
    if tpr.low is not None and tpr.low > 0.01 + margin:
        return "leaks"
    return "below" if tpr.high is not None and tpr.high < 0.01 + margin else "undecided"


def against_retraining(evidence: Evidence, cases: Sides, retrained: Sides, options: Options) -> list[Question]:
    """`cases`, `retrained`: what the attacks on the unlearned models alone learn from, and what they judge."""
    target = evidence.cases["target"]
    both = [part for part in (evidence.found, evidence.other) if part is not None]
    chosen = [scored_cases(part.scores[part.chosen], target) for part in both]
    alone = [_alone(part, options) for part in (cases, retrained)]
    strangers = min(len(distinct_strangers(part.record, part.member)) for part in (target, cases["target"]))
    judged_by = list(_judged_by((TPR_NAMES[0.01],) if 0.01 in resolvable_levels(strangers) else (), options))
    questions: list[Question] = []
    for name, asks, scored, asked in (
        ("shows", SHOWS, chosen, target),
        (STILL_THERE, _STILL, alone, cases["target"]),
    ):
        questions += _beside(name, asks, scored, asked, judged_by, options)
    questions += _others_beside(evidence, cases, retrained, judged_by, options)
    return [*questions, _told_from_retrained(cases, retrained, options)]


def _beside(
    name: str,
    asks: str,
    scored: Sequence[Scored],
    asked: PosteriorSet,
    judged_by: Iterable[tuple[str, float, float]],
    options: Options,
) -> Iterator[Question]:
    """A question for each metric that cases resolve, see `_judged_by`.

    Args:
        scored: what the attacks on the method's and on retrained models gave the cases that are asked about.
    """
    differences = changes(scored[0], scored[1], options.overlap)
    measured, reference = (metrics(part, options) for part in scored)
    for metric, _, margin in judged_by:
        if metric not in differences:
            continue  # so few questions about strangers do not resolve it
        difference, found = differences[metric], measured[metric]
        if difference.error == 0:  # equal scores
            difference = _alike_so_far(asked, 0.0)
        upside_down = metric == "auc" and found.high is not None and found.high < 0.5 - margin
        verdict = "reversed" if upside_down else relative(difference, margin)
        yield Question(_named(name, metric), asks, found, reference[metric], difference, verdict, margin)


def _others_beside(
    evidence: Evidence,
    cases: Sides,
    retrained: Sides,
    judged_by: Iterable[tuple[str, float, float]],
    options: Options,
) -> Iterator[Question]:
    """What attacks that do not count see more of the method than of retraining; see `_best_of`."""
    assert evidence.other is not None
    target, scores = evidence.cases["target"], (evidence.found.scores, evidence.other.scores)
    pairs = {
        name: (scored_cases(scores[0][name], target), scored_cases(scores[1][name], target))
        for name in _others(scores[0], evidence.found.chosen)
        if name in scores[1]
    }
    simple = _simple(cases, options), _simple(retrained, options)
    pairs |= {name: (simple[0][name], simple[1][name]) for name in simple[0]}
    more = {name: changes(*pair, overlap=options.overlap) for name, pair in pairs.items()}
    for metric, _, margin in judged_by:
        resolved = {name: found[metric] for name, found in more.items() if metric in found}
        best = _best_of(resolved, 0.0, margin, lowest=-1.0)
        if best is not None:
            measured, reference = (metrics(part, options)[metric] for part in pairs[best.name])
            yield Question(best.asked(metric), SHOWS, measured, reference, best.found, best.verdict, margin)


def _told_from_retrained(cases: Sides, retrained: Sides, options: Options) -> Question:
    told = efficacy(cases, retrained, options)
    low, high = (None if end is None else end - 0.5 for end in (told.low, told.high))
    away = Estimate(told.value - 0.5, low, high, told.error, told.degrees)
    verdict = relative(away, options.margin)
    verdict = "differs" if verdict in ("leaks", "less") else verdict
    return Question("same as retrained", _SAME, told, None, away, verdict, options.margin)


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


def efficacy(cases: Sides, retrained: Sides, options: Options) -> Estimate:
    """AUC of telling unlearned from retrained models by both versions' answers to deleted records (RULI's game).

    Where these answers are the same in every case it is a half; see `_alike_so_far`.
    """
    if _same_answers(cases["target"], retrained["target"]):
        return _alike_so_far(cases["target"], 0.5)
    parts = {}
    for side in ("shadow", "target"):
        pair = [part[side].select(part[side].member == 1) for part in (cases, retrained)]
        see = np.concatenate([_of_all_classes(part) for part in pair])
        parts[side] = see, np.repeat([1, 0], len(pair[0])), np.tile(pair[0].set, 2), np.tile(pair[0].record, 2)
    classifier = ATTACK_MODELS[options.attack_model](integer_seed(options.seed, "audit", "efficacy"))
    classifier.fit(*parts["shadow"][:2])
    see, truth, sets, records = parts["target"]
    groups = record_groups(records, truth, sets)
    return metrics(Scored(positive_probability(classifier, see), truth, sets, groups), options)["auc"]


def _of_all_classes(cases: PosteriorSet) -> np.ndarray:
    """`of_known_label`, and where more than two classes leave something to see beside the label, all answers."""
    known = of_known_label(cases)
    if cases.original.shape[1] <= 2:
        return known
    return np.hstack([known, cases.unlearned, cases.original - cases.unlearned])


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


def _alone(cases: Sides, options: Options) -> Scored:
    shadow, target = cases["shadow"], cases["target"]
    return scored_cases(judged(shadow, shadow.member, target, unlearned_alone, options, "alone"), target)


def shown_by_size(cases: Sides, options: Options) -> bool:
    """Whether what looks like rounding tells deleted records from strangers by itself: then it is none."""
    found = metrics(_by_size_of_change(cases, options), options)["auc"]
    return found.low is not None and found.low > 0.5 + options.margin


def _by_size_of_change(cases: Sides, options: Options) -> Scored:
    """Scores by nothing but how large the change is, however small."""
    shadow, target = cases["shadow"], cases["target"]
    return scored_cases(judged(shadow, shadow.member, target, _sizes_of_change, options, "digits"), target)


def _lost_by_label(cases: PosteriorSet) -> np.ndarray:
    """What the answer to the true label lost, [m]: of its logit, or how much a regression's error grew."""
    if cases.original.shape[1] == 1:
        return residuals(cases)[:, -1]
    before, after = of_true_label(cases)
    found: np.ndarray = (logit(before) - logit(after))[:, 0]
    return found


def _sizes_of_change(cases: PosteriorSet) -> np.ndarray:
    """Logarithms of how far the answers moved, of the label's and at the most, and the sign of the former, [m, 3]."""
    moved = np.asarray(cases.original - cases.unlearned, dtype=np.float64)
    label = moved if moved.shape[1] == 1 else np.take_along_axis(moved, cases.label[:, None], axis=1)
    sizes = np.hstack([np.abs(label), np.abs(moved).max(axis=1, keepdims=True)])
    return np.hstack([np.log(sizes + _NO_CHANGE), np.sign(label)])

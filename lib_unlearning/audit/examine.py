"""Examines both sides' views: the attacks, what they show, controls, and a verdict. The same for every door."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lib_unlearning.audit.controls import FAILED, Control, run_controls
from lib_unlearning.audit.evidence import Evidence, Options, Views, apart, attacked, same_cases
from lib_unlearning.audit.questions import SHOWS, Question, against_margin, against_retraining, shown_by_size
from lib_unlearning.posterior import alike_answers
from lib_unlearning.statistics.intervals import Estimate
from lib_unlearning.statistics.metrics import best_threshold, evaluate_all
from lib_unlearning.statistics.privacy import distinct_strangers, exposed_by


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
    learned = apart(cases, alone)
    again = None if evidence.retrained is None else evidence.retrained["target"]
    if evidence.retrained is None or evidence.other is None:
        questions = against_margin(learned, results, found.chosen, options)
    else:
        questions = against_retraining(evidence, learned, apart(evidence.retrained, alone), options)
    alike = alike_answers(target.original, target.unlearned) and not shown_by_size(learned, options)
    unchanged = alike and again is not None and not alike_answers(again.original, again.unlearned)
    silent = alike and not unchanged
    if alike:
        questions = [replace(part, verdict="alike") if part.asks == SHOWS else part for part in questions]
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

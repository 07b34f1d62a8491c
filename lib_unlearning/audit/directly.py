"""What two models give away by themselves, without anything learned: who was deleted, and what that record was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import rankdata

from lib_unlearning.attack import View
from lib_unlearning.attacks.linear import is_linear
from lib_unlearning.attacks.residual_gradient import Residuals
from lib_unlearning.dataset import RecordTable
from lib_unlearning.posterior import alike_answers
from lib_unlearning.reconstruct import Attempt, reconstruct


def direct_notes(view: View, table: RecordTable, seed: int) -> list[str]:
    """A sentence each on the deleted records' place among all cases, and on the record that is rebuilt.

    Args:
        view: of one pair of models. table: the records that its cases and own records are numbers of.
    """
    if view.answer is None:
        why = "Features hold text, or answers are labels alone"
        return [f"{why}: no record is compared or rebuilt, and no stranger is the adversary's own."]
    if alike_answers(view.cases.original, view.cases.unlearned):
        return ["Both models answer alike in every case: nothing tells who was deleted, or what."]
    linear = is_linear(view, seed)
    notes = [_place(view, seed)] if linear else []
    return [*notes, _rebuilt(view, table, seed, linear)] if linear or table.num_classes > 1 else notes


def _place(view: View, seed: int) -> str:
    cases, cosines = view.cases, Residuals(seed)(view)[:, 0]
    places = rankdata(-cosines, method="average")[cases.member == 1]
    if len(places) > 1:
        told = f"the deleted records' median place is {np.median(places):,.0f}"
    else:
        told = f"the deleted record is number {places[0]:,.0f}"
    return (
        f"Both models are linear in their inputs: by how their gradient explains the models' difference, {told} among "
        f"{len(cases):,} cases, without anything learned."
    )


def _rebuilt(view: View, table: RecordTable, seed: int, linear: bool) -> str:
    """How near what is rebuilt comes to what was deleted, by each way of guessing; no value of anybody's."""
    cases = view.cases
    whole = replace(view, cases=replace(cases, set=np.zeros_like(cases.set), request=np.zeros_like(cases.request)))
    deleted = cases.record[cases.member == 1]
    found = reconstruct(whole, table, cases.record, [deleted[None]], seed, linear)
    told = "; ".join(f"{attempt.way}: {_fit(attempt, table, found.population)}" for attempt in found.attempts)
    nearest = " (of several, the one that fits best)" if len(deleted) > 1 else ""
    return f"A record rebuilt from both models alone, beside the deleted one{nearest}, and other guesses: {told}."


def _fit(attempt: Attempt, table: RecordTable, population: int) -> str:
    match = attempt.match
    label = [f"class {'right' if match.label else 'wrong'}"] if table.num_classes > 1 else []
    exact = f"{round(match.exact * len(attempt.guess.row))} of {len(attempt.guess.row)} attributes exact"
    return ", ".join(
        [*label, exact, f"cosine {match.cosine:.3f}", f"number {match.rank:,} of {population:,} by distance"]
    )

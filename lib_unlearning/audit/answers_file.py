"""An audit of two files of answers, without any model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lib_unlearning.attack import CLASS_ORDER, CLASSES, POSTERIORS, View
from lib_unlearning.attacks.choice import cross_fitted_scores
from lib_unlearning.attacks.registry import attacks_on
from lib_unlearning.audit.dossier import Dossier
from lib_unlearning.audit.evidence import LEARNED, Attacked, Evidence, Options, attacked, spread
from lib_unlearning.audit.examine import conclude
from lib_unlearning.audit.side import INSTEAD, AnswerFiles, Side, check_sides, read_side
from lib_unlearning.errors import UserError
from lib_unlearning.posterior import PosteriorSet
from lib_unlearning.record_split import SIDES
from lib_unlearning.settings import AuditInputs
from lib_unlearning.statistics.intervals import OVERLAP

# The attack that counts where there is nothing to choose it on: the first that can be used.
_UNCHOSEN = ("residual_gradient", "label_logit", "residuals")


def evidence_of(
    target: Side, shadow: Side | None, options: Options, whole: View | None = None
) -> tuple[Evidence, list[str]]:
    """Answers and the scores of attacks on them, and what a reader must know.

    Args:
        shadow: the adversary's own cases; None to learn on one half of the target's sample sets and judge the other,
            in turn, with an attack that is named beforehand.
        whole: the view of the target side where more can be seen of it than these answers; there is no shadow side.
    """
    target, notes = target.with_few_sets, []
    if target.cases.original.shape[1] > 1 and np.ptp(target.cases.label) == 0:
        notes.append(f"All cases are of one class (label {target.cases.label[0]}): what was found holds for it alone.")
    if shadow is None:
        found = _cross_fitted(target.cases, options, whole)
        other = None if target.retrained is None else _cross_fitted(target.retrained, options, None)
        notes.append(
            "There is no shadow side: attacks learned on one half of the sample sets and were judged on the other, in "
            f"turn, and the one that counts ({found.chosen}) was named beforehand. Controls and the unlearned model "
            "alone learned on one half and were judged on the other."
        )
        sides = {side: target for side in SIDES}
    else:
        learned = shadow.select(spread(shadow.cases.member, LEARNED)).with_few_sets
        if len(learned.cases) < len(shadow.cases):
            notes.append(
                f"Attacks learned on {len(learned.cases):,} of {len(shadow.cases):,} shadow cases, evenly spaced."
            )
        sides = {"shadow": learned, "target": target}
        found = attacked({side: _view(part.cases) for side, part in sides.items()}, options)
        twins = {side: _view(part.retrained) for side, part in sides.items() if part.retrained is not None}
        other = attacked(twins, options) if twins else None
    retrained = {side: part.retrained for side, part in sides.items() if part.retrained is not None}
    return Evidence({side: part.cases for side, part in sides.items()}, found, retrained or None, other), notes


def _cross_fitted(cases: PosteriorSet, options: Options, whole: View | None) -> Attacked:
    """Attacks that learned on some sample sets and judge others, in turn."""
    view = _view(cases) if whole is None else replace(whole, cases=cases)
    attacks = attacks_on(view, options.attack_model, options.seed, today=whole is not None)
    scores = {name: cross_fitted_scores(part, view, options.seed) for name, part in attacks.items()}
    return Attacked(scores, scores, first_choice(scores))


def first_choice(scores: Mapping[str, np.ndarray]) -> str:
    """The attack that counts where there is nothing to choose it on."""
    return next(name for name in _UNCHOSEN if name in scores)


def _view(cases: PosteriorSet) -> View:
    """What an adversary sees who has nothing but these answers."""
    return View(cases, frozenset({POSTERIORS, CLASSES, CLASS_ORDER}), candidates=np.unique(cases.record))


def audit_files(inputs: AuditInputs, options: Options) -> Dossier:
    """Audit the files that `--before`, `--after`, `--cases` and their shadow twins name; raises `UserError` as
    `read_side`, and where one is missing."""
    sides: dict[str, Side] = {}
    digests: dict[str, str] = {}
    notes: list[str] = []
    for side, prefix in (("target", ""), ("shadow", "shadow_")):
        named = {name: getattr(inputs, f"{prefix}{name}") for name in ("before", "after", "cases", "retrained")}
        if not any(named.values()) and side == "shadow":
            continue
        lacking = [f"--{prefix}{name}" for name in ("before", "after", "cases") if named[name] is None]
        if lacking:
            raise UserError(f"--exp audit: {', '.join(lacking)} missing; name answers before, after, and the cases")
        files = AnswerFiles(**named)
        sides[side] = read_side(files, inputs.answers, options.seed, prefix, inputs.in_order)
        digests |= files.digests(side)
    alone = "shadow" not in sides
    for side, part in sides.items():
        sides[side] = part.by_record(options.seed, 0.0 if alone else OVERLAP)
        if sides[side].sets:
            notes.append(INSTEAD[sides[side].sets].format(flag="shadow_" if side == "shadow" else ""))
        if part.left_out:
            notes.append(part.left_out if side == "target" else f"On the shadow side: {part.left_out}")
    target, shadow = sides["target"], sides.get("shadow")
    if shadow is not None:
        check_sides(target, shadow)
    evidence, more = evidence_of(target, shadow, options)
    deleted = int(target.cases.member.sum())
    return Dossier(
        title=f"answers in {inputs.before} and {inputs.after}",
        settings={name: getattr(inputs, name) for name in vars(inputs) if name not in ("pack", "show_ids")},
        digests=digests,
        evidence=evidence,
        options=options,
        examination=conclude(evidence, options),
        ids=target.names,
        notes=[f"{len(target.cases):,} cases, {deleted:,} deleted records.", *notes, *more],
    )

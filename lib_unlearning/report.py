"""What one run prints: a table, and sentences in plain words that are computed from it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lib_unlearning.attack import Budget
from lib_unlearning.attacks.still_there import StillThere
from lib_unlearning.attacks.three_classes import CLASSES, ThreeClasses
from lib_unlearning.construct_feature import BASELINE
from lib_unlearning.evaluation_cases import SAMPLES_TO_EVALUATE
from lib_unlearning.exposed_records import Exposure, exposed_counts
from lib_unlearning.posterior import Answers
from lib_unlearning.run_files import Results, Sharing
from lib_unlearning.settings import Settings
from lib_unlearning.statistics.intervals import OVERLAP, Estimate, effective_sets, equivalent, upper_rate
from lib_unlearning.statistics.metrics import TPR_NAMES, range_of, resolvable_levels
from lib_unlearning.statistics.privacy import (
    DELTA,
    FALSE_DISCOVERIES,
    can_discover,
)
from lib_unlearning.statistics.verdict import Verdict, judge
from lib_unlearning.terminal import fitted, table_lines, terminal_width
from lib_unlearning.wording import outwards, plural, with_interval

# A difference of AUCs within this, shown by two one-sided tests, counts as none.
EQUIVALENCE = 0.05

# What an adversary learns who sees one version alone.
_ONE_VERSION = {"original": "membership in the original", "unlearned": "traces of the deleted in the unlearned models"}
_FEW_CASES = 100  # that an attack model may be unable to learn from
_REUSE = 1.5  # questions a stranger, from which on their number is worth a word


def console(
    title: str,
    settings: Settings,
    answers: Answers,
    shared: Sharing,
    alone: StillThere,
    results: Results,
    headline: str,
    exposed: Exposure,
    one_score: Sequence[str] = (),
) -> str:
    """What a run prints: what was attacked, accuracies, the table, one sentence.

    `one_score` names the attacks that give all target cases the same.
    """
    width = terminal_width()
    unchanged = alone.unchanged and settings.budget.versions == "both"
    asked = asked_about(settings)
    if asked == "deleted" and (unchanged or settings.budget.versions == "original"):
        asked = "members"
    parts = [
        fitted(heading(title, settings, answers, shared), width),
        "\n".join(utility_table(answers.utility)),
        "\n".join(result_table(results, headline, width)),
        *(fitted(note, width) for note in notes(settings, answers, () if unchanged else one_score)),
        fitted(exposure_sentence(exposed, answers.cases.member, headline, asked), width),
        fitted(verdict(results, headline, settings, len(answers.utility), shared.overlap, unchanged), width),
        fitted(still_there_sentence(alone, settings, len(answers.utility), shared.overlap), width),
    ]
    return "\n\n".join(parts)


def notes(settings: Settings, answers: Answers, one_score: Sequence[str] = ()) -> list[str]:
    """What a reader of the table must know beside it."""
    found = []
    strangers = answers.cases.record[answers.cases.member == 0]
    negatives, different = len(strangers), len(np.unique(strangers))
    if 0.01 in resolvable_levels(different):
        allowed = int(0.01 * negatives + 1e-9)
        bound = upper_rate(min(allowed, different), different)  # each of them about another stranger, at worst
        among = plural(different, "stranger")
        among = among if different == negatives else f"{negatives} questions about {among}"
        found.append(
            f"TPR at 1 % FPR: at most {plural(allowed, 'false alarm')} among {among}; the "
            f"true rate of such a rule is below {math.ceil(1000 * bound) / 10:.1f} % (95 %). "
            "Between thresholds the curve is interpolated."
        )
    learned_from = settings.sides["shadow"].cases
    if one_score and learned_from < _FEW_CASES:
        found.append(
            f"One score for all cases from {', '.join(one_score)}: {settings.attack_model} learned nothing from "
            f"{plural(learned_from, 'shadow case')} to tell them by, so that 0.5 says little of the deletion."
        )
    if _no_versions(settings):
        found.append("With one record a request there are no intermediate versions: this equals in_out.")
    return found


def asked_about(settings: Settings) -> str:
    """What the positive cases of a run are."""
    kept = "remaining" if settings.samples_to_evaluate == "in_in" else "deleted"
    return f"strangers in the place of {kept} records" if settings.placebo else kept


def _stored(value: float) -> str:
    """Three digits of a value as it is stored, so that console, page and files agree to the last one."""
    return f"{round(value, 6):.3f}"


def _no_versions(settings: Settings) -> bool:
    """Whether there are no intermediate versions between the two that are asked."""
    return settings.samples_to_evaluate == "in_out_multi_version" and settings.sides["target"].unlearning_num == 1


def exposure_sentence(found: Exposure, member: np.ndarray, headline: str, asked: str) -> str:
    """How many records stand out one by one, and what the attack shows of the epsilon of what is asked about."""
    told = single_records(found.exposed, member, found.own_strangers, headline, found.wrong, asked)
    bound = max(found.epsilon.epsilon, found.one_run.epsilon)
    epsilon = "epsilon of the deletion" if asked == "deleted" else "epsilon"
    if not bound:
        return f"{told} No {epsilon} is shown to be exceeded."
    return (
        f"{told} {epsilon.capitalize()}, lower bounds (95 % each, delta {DELTA:g}, rule chosen on the other half): "
        f"{found.epsilon.epsilon:.2f} by a threshold, {found.one_run.epsilon:.2f} by the surest guesses."
    )


def single_records(
    exposed: np.ndarray,
    member: np.ndarray,
    own_strangers: int,
    attack: str,
    wrong: tuple[int, int] | None = None,
    asked: str = "deleted",
) -> str:
    """How many cases stand out one by one, or why none could, or why none is named (see `judged_exposed`).

    `asked` says what the positive cases are.
    """
    counts = exposed_counts(exposed, member)
    level = f"at a false discovery rate of {FALSE_DISCOVERIES:.0%}"
    if wrong is not None:
        return (
            f"Single records cannot be judged {level}: of {plural(wrong[1], 'case')} that {attack} would name, "
            f"{wrong[0]} {'is a stranger' if wrong[0] == 1 else 'are strangers'}, more than that rate allows."
        )
    if not exposed.any() and not can_discover(own_strangers, counts[0][1], len(member)):
        return (
            f"Single records cannot be judged {level}: {plural(own_strangers, 'stranger')} of the adversary's own "
            f"{'is' if own_strangers == 1 else 'are'} too few for any to stand out."
        )
    return (
        f"Exposed one by one by {attack}, {level}: {counts[0][0]} of {counts[0][1]} {asked}, {counts[1][0]} of "
        f"{plural(counts[1][1], 'other stranger' if 'strangers' in asked else 'stranger')}."
    )


def heading(title: str, settings: Settings, answers: Answers, shared: Sharing) -> str:
    """What was attacked, how, how many cases there are, and what they share: two lines or three."""
    positives, sets = int(answers.cases.member.sum()), len(answers.utility)
    lines = [
        described_study(title, settings),
        f"{plural(sets, 'target sample set')} of {settings.sides['target'].set_size:,} records, "
        f"{positives} {asked_about(settings)}, {plural(len(answers.cases) - positives, 'stranger')}",
    ]
    if shared.overlap > OVERLAP:
        worth = effective_sets(sets, shared.overlap)
        lines.append(
            f"Two of these sets share {shared.overlap:.0%} of their records: they are worth {worth:.1f} separate ones, "
            + ("so intervals are widened." if worth >= 2 else "so no interval is given. Lower --target_set_size.")
        )
    if shared.reuse > _REUSE:
        lines.append(
            f"Strangers are few: each is asked about {shared.reuse:.1f} times on average, and intervals do not allow "
            "for who they are."
        )
    return "\n".join(lines)


def described_study(title: str, settings: Settings, attacked: bool = True) -> str:
    """What is attacked, and how, on a line; `attacked` says whether by an attack that learns."""
    target, shadow = settings.origins["target"], settings.origins["shadow"]
    learned = f"{shadow.dataset_name} / {shadow.original_label} with {shadow.original_model}"
    origin = "" if shadow == target else f"attack learned on {learned}, "
    seen = published(settings.top_k, settings.temperature, settings.round_digits, settings.defense)
    return (
        f"{title}, {target.original_model} target, {origin}"
        f"{settings.unlearning_method}{_randomness(settings)}, {settings.samples_to_evaluate}, "
        f"{f'{settings.attack_model} attack, ' if attacked else ''}"
        f"{seen}{known(settings.budget)}, seed {settings.seed}"
        f"{', placebo' if settings.placebo else ''}"
    )


def _randomness(settings: Settings) -> str:
    """What retraining of networks and forests shares with the original, in a word; other families draw nothing."""
    draws = "num_epochs" in settings.flat() or any(hasattr(o.options, "leaves_gap") for o in settings.origins.values())
    return f" ({settings.retrain_randomness})" if draws else ""


def published(
    top_k: int | None, temperature: float | None, round_digits: int | None = None, defense: str | None = None
) -> str:
    """What a defense lets through, in words."""
    entries = {None: "full posteriors", 0: "label only"}.get(top_k, f"top {top_k} posteriors")
    entries += "" if temperature is None else f" at temperature {temperature:g}"
    entries += "" if round_digits is None else f" rounded to {round_digits} digits"
    return entries if defense is None else f"{entries} after {defense}"


def known(budget: Budget) -> str:
    """How an adversary differs from the usual one, in words; nothing where he does not."""
    usual, parts = Budget(), []
    if budget.own_models != usual.own_models:
        parts.append(f"{plural(budget.own_models, 'round')} of own models")
    if budget.probes != usual.probes:
        parts.append(plural(budget.probes, "probe"))
    if budget.queries is not None:
        parts.append(f"{plural(budget.queries, 'question')} a version")
    if budget.versions != "both":
        parts.append(f"sees the {budget.versions} model only")
    if not budget.label_known:
        parts.append("labels unknown")
    return "".join(f", {part}" for part in parts)


def utility_table(utility: np.ndarray) -> list[str]:
    """Lines on accuracy and spent epsilon from [sets, 1 + requests, 3]: means over models."""
    lines = [f"{'accuracy':<12}{'training':>10}{'held out':>10}{'gap':>9}"]
    for name, part in (("original", utility[:, :1]), ("unlearned", utility[:, 1:])):
        training, held_out = np.nanmean(part[..., :2], axis=(0, 1))
        training, held_out = round(float(training), 6), round(float(held_out), 6)  # as they are stored
        lines.append(f"{name:<12}{training:>10.3f}{held_out:>10.3f}{training - held_out:>+9.3f}")
    if not np.isnan(utility[..., 2]).all():
        spent = [np.nanmax(part[..., 2]) for part in (utility[:, :1], utility[:, 1:])]
        told = [f"{value:.3g}" if np.isfinite(value) else "unbounded" for value in (*spent, sum(spent))]
        seen = f"DP-SGD: epsilon spent {told[0]} (original), {told[1]} (unlearned); who sees both versions has at most"
        lines.append(seen)
        lines.append(f"{told[2]} on a record that is in both (basic composition, delta twice as large)")
    return lines


def result_table(results: Results, headline: str, width: int | None = None) -> list[str]:
    """Lines of the main table: a row a feature; a star marks the feature chosen on the shadow side.

    Where a terminal of `width` columns is too narrow, the last columns are left out, which is said.
    """
    columns = {
        "AUC [95 % interval]": [_with_interval(found["auc"]) for found in results.values()],
        "TPR at 1 % FPR": [_with_interval(found.get(TPR_NAMES[0.01])) for found in results.values()],
        "bal. accuracy": [_with_interval(found["balanced_accuracy"]) for found in results.values()],
        "DegCount": [_plain(found.get("deg_count")) for found in results.values()],
        "DegRate": [_plain(found.get("deg_rate")) for found in results.values()],
    }
    names = [f"{feature} *" if feature == headline else feature for feature in results]
    return table_lines({"feature": names}, columns, width, "results.csv")


def _plain(estimate: Estimate | None) -> str:
    return "-" if estimate is None else _stored(estimate.value)


def _with_interval(estimate: Estimate | None) -> str:
    return "not resolvable" if estimate is None else with_interval(estimate)


def verdict(
    results: Results, headline: str, settings: Settings, sets: int, overlap: float, unchanged: bool = False
) -> str:
    """What the run shows, in sentences about the feature that was chosen without a look at the target side.

    `unchanged` says that both versions gave the same answers in every case.
    """
    auc, gain = results[headline]["auc"], results[headline].get("auc_gain")
    asked = "in_out" if _no_versions(settings) else settings.samples_to_evaluate
    question = _ONE_VERSION.get(settings.budget.versions, SAMPLES_TO_EVALUATE[asked].question)
    figures = f"AUC {with_interval(auc)} with {headline}"
    if auc.low is None or auc.high is None:
        mend = "raise --target_set_num" if sets < 2 else "lower --target_set_size, the sets share too many records"
        return f"{figures}. So few separate sample sets allow no interval, so no verdict: {mend}."
    if settings.placebo:
        if auc.low <= 0.5 <= auc.high:
            most = outwards(auc)[1]
            return f"Placebo: {figures} holds 0.5, as at least 19 of 20 placebos do; up to {most} is not excluded."
        return f"Placebo: {figures} misses 0.5; at most one placebo in twenty does, more mean a leak in the evaluation."
    if unchanged:
        seen = f"What is seen is membership: {figures}" if auc.low > 0.5 else figures
        return f"No deletion shows: both versions answer alike in every case. {seen}."
    found = judge(auc, sets, settings.margin, overlap)
    if found.verdict is Verdict.LEAKS:
        sentence = f"Leaks: the models make {question} visible, {figures}, above the margin of {settings.margin:g}."
    elif found.verdict is Verdict.BELOW:
        sentence = f"Below the margin: {figures}; {question} shows less than an AUC of {settings.margin:g} would."
    elif found.verdict is Verdict.REVERSED:
        sentence = f"The wrong way round: {figures}; {question} shows, to an attack that is turned round."
    else:
        more = (
            f"about {plural(found.more_sets, 'more sample set')} would settle it"
            if found.more_sets is not None
            else "no practical number of sample sets would settle it"
        )
        sentence = (
            f"Undecided: {figures}; the data allow anything from {' to '.join(outwards(auc))}, "
            f"against a margin of {settings.margin:g}; {more}."
        )
    if settings.budget.versions != "both":
        classical = _stored(results[BASELINE]["auc"].value)
        return f"{sentence} The classical attack on the {settings.budget.versions} model reads {classical}."
    return f"{sentence} {_against_classical(results, gain, effective_sets(sets, overlap))}"


def three_class_table(found: ThreeClasses, attack: str) -> list[str]:
    """Lines: how each class is told from the others, and what it is taken for."""
    lines = [f"{attack}: {with_interval(found.accuracy)} of the cases told right (a guess: 0.333)", ""]
    lines.append(f"{'class':<12}{'AUC against the others':<26}" + "".join(f"{f'as {name}':>14}" for name in CLASSES))
    lines.append("-" * len(lines[-1]))
    for name, shares in zip(CLASSES, found.confusion, strict=True):
        lines.append(f"{name:<12}{with_interval(found.auc[name]):<26}" + "".join(f"{share:>14.3f}" for share in shares))
    return lines


def still_there_sentence(found: StillThere, settings: Settings, sets: int, overlap: float) -> str:
    """Whether the record is still in the unlearned model, told by that model alone."""
    if settings.budget.versions == "original":
        return "Unlearned model alone: this adversary never sees it."
    if settings.placebo or settings.samples_to_evaluate == "in_in":
        return f"Unlearned model alone: AUC {with_interval(found.alone)}."
    told = f"Unlearned model alone (deleted against strangers): AUC {with_interval(found.alone)}"
    if found.retrained is not None:
        told += f", models retrained without them {with_interval(found.retrained)}"
    if found.efficacy is not None:
        told += f"; telling one from the other by their answers to deleted records {with_interval(found.efficacy)}"
    if found.distance is not None:
        told += f" (in total variation these differ by {found.distance:.3f} on average)"
    if found.unchanged and settings.budget.versions == "both":
        if (settings.top_k, settings.round_digits, settings.defense) == (None, None, None):
            return f"{told}. Both versions answer alike in every case, as if nothing had been deleted."
        return f"{told}. What is published of both versions is alike in every case: comparing them tells nothing."
    judged = judge(found.alone, sets, settings.margin, overlap)
    meaning = {
        Verdict.LEAKS: "the deleted records are still there",
        Verdict.BELOW: f"this attack finds no trace of them above an AUC of {settings.margin:g}",
        Verdict.UNDECIDED: "undecided whether they are still there",
        Verdict.REVERSED: "the attack tells them apart the wrong way round, so something of them shows",
    }
    return f"{told}: {meaning[judged.verdict]}."


def _against_classical(results: Results, gain: Estimate | None, sets: float) -> str:
    """Whether both versions together give away more than the classical attack finds in the original alone."""
    classical = _stored(results[BASELINE]["auc"].value)
    if gain is None or gain.low is None or gain.high is None:
        return f"The classical attack reads {classical}."
    told = f"gain {with_interval(gain, '+')}"
    if gain.low > 0:
        return f"That is more than the classical attack makes of the original alone ({classical}, {told})."
    if gain.high < 0:
        return f"The classical attack makes more of the original alone ({classical}, {told})."
    if equivalent(gain, sets - 1, EQUIVALENCE, *range_of("auc_gain")):
        return f"It is not more than the classical attack makes of the original alone ({classical}, {told})."
    return (
        "Whether that is more than the classical attack makes of the original alone, these cases cannot tell "
        f"({classical}, {told})."
    )

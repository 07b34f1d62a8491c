"""The paper's claims, each held against all findings that bear on it.

A claim about pairs of findings (with and without shards, a defense, ...) is counted pair by pair: a pair speaks for
it where the difference of AUCs has the claimed sign and its 95 % interval excludes 0, and against it where the
interval lies on the other side or two one-sided tests show the difference within a margin. Findings are compared set
by set over the seeds that both have. Pairs that cannot differ (top-k of two classes, temperature 1) are left out.
Three quarters of the pairs for it make it "holds", three quarters against it "does not hold"; where more than half
speak neither way it is "undecided", all else is "partly". A claim that something does not help is held by differences
within the margin, and spoken against by those whose whole interval lies beyond it. A wide interval never says
anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lib_unlearning.cache.files import digest
from lib_unlearning.construct_feature import BASELINE
from lib_unlearning.report import EQUIVALENCE
from lib_unlearning.reporting.archive import CHOSEN, Finding, over_common_seeds, paired_between, paired_difference
from lib_unlearning.reporting.comparisons import (
    COMPARISONS,
    Panel,
    alike_but_for,
    data_label,
    is_papers,
    model_label,
    panels,
    usual_budget,
)
from lib_unlearning.statistics.combine import Combined, difference
from lib_unlearning.statistics.intervals import Estimate
from lib_unlearning.wording import outwards, plural, with_interval

_ALWAYS, _HALF = 0.75, 0.5


@dataclass(frozen=True)
class Verdict:
    """One claim, its verdict, what was measured, and what today's attacker makes of it."""

    claim: str
    verdict: str
    measured: str
    today: str = "not in these runs at the usual budget"

    @property
    def tone(self) -> str:
        """How the page colours it."""
        return {"holds": "holds", "does not hold": "fails"}.get(self.verdict, "soft")


@dataclass(frozen=True)
class _Pair:
    """Two AUCs, what tells them apart in words, and their difference."""

    name: str
    difference: Combined

    @property
    def estimate(self) -> Estimate:
        return self.difference.estimate

    @property
    def can_differ(self) -> bool:
        """Whether the two are not the same thing twice."""
        return (self.estimate.value, self.estimate.error) != (0.0, 0.0)


def judge(findings: Sequence[Finding]) -> list[Verdict]:
    """A verdict on every claim that the findings bear on."""
    known = [finding for finding in findings if is_papers(finding.settings)]
    today = {verdict.claim: verdict for verdict in _judged([_as_papers(part) for part in known if _is_today(part)])}
    return [
        replace(verdict, today=f"{today[verdict.claim].verdict}: {today[verdict.claim].measured}")
        if verdict.claim in today
        else verdict
        for verdict in _judged(known)
    ]


def _judged(findings: Sequence[Finding]) -> list[Verdict]:
    found = {name: panels(comparison, findings) for name, comparison in COMPARISONS.items()}
    return [verdict for claim in _CLAIMS if (verdict := claim(found)) is not None]


def _is_today(finding: Finding) -> bool:
    return bool(finding.settings["attacks"] == "all" and usual_budget(finding.settings))


def _as_papers(finding: Finding) -> Finding:
    """A finding of today's attacks in the place of the paper's: the same claims are held against it."""
    return replace(finding, settings={**finding.settings, "attacks": "paper"})


def sentences(findings: Sequence[Finding]) -> list[str]:
    """What else the findings on the project's data sets say beside the claims, each computed from all of them."""
    known = [part for part in findings if is_papers(part.settings) and part.settings["attacks"] == "paper"]
    placebo = [part for part in known if part.settings["placebo"]]
    remaining = [part for part in known if _asks_remaining(part)]
    deletions = [part for part in known if part not in placebo and part not in remaining]
    told = [_classical_range(deletions), _remaining_sentence(remaining), _placebo_sentence(placebo)]
    return [sentence for sentence in told if sentence]


def _asks_remaining(finding: Finding) -> bool:
    return bool(finding.settings["samples_to_evaluate"] == "in_in" and not finding.settings["placebo"])


def _classical_range(findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    aucs = [(finding.features[BASELINE]["auc"].estimate, finding) for finding in findings]
    values = [auc.value for auc, _ in aucs]
    highest, where = max(aucs, key=lambda pair: pair[0].value)
    clear = sum((auc.low or 0) > 0.5 for auc, _ in aucs)
    return (
        f"The classical attack reads {min(values):.2f} to {max(values):.2f} in {plural(len(findings), 'setting')} with "
        f"deletions, clearly above 0.5 in {clear} of them; highest {with_interval(highest)} ({_described(where)}, "
        f"{where.settings['attack_model']} attack)."
    )


def _remaining_sentence(findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    aucs = [(finding, finding.features[CHOSEN]["auc"].estimate) for finding in findings]
    clear = [f"{_described(finding)} {with_interval(auc)}" for finding, auc in aucs if (auc.low or 0) > 0.5]
    shown = f": {'; '.join(clear)}" if clear else ""
    number = plural(len(findings), "setting")
    return f"Remaining records are told from strangers clearly in {len(clear)} of {number}{shown}."


def _placebo_sentence(findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    aucs = [finding.features[CHOSEN]["auc"].estimate for finding in findings]
    ends = [(auc.low, auc.high) for auc in aucs if auc.low is not None and auc.high is not None]
    if not ends:
        return ""
    held = sum(low <= 0.5 <= high for low, high in ends)
    highest = max((auc for auc in aucs if auc.high is not None), key=lambda auc: auc.high or 0.0)
    told = f"Placebo: {held} of {plural(len(ends), 'interval')} hold{'s' if len(ends) == 1 else ''} 0.5"
    return f"{told}; up to {outwards(highest)[1]} is not excluded."


def _described(finding: Finding) -> str:
    settings = finding.settings
    return f"{data_label(settings)}, {model_label(settings)}, {settings['unlearning_method']}"


Panels = dict[str, list[Panel]]


# ---------------------------------------------------------------- pairs


def _pair(name: str, more: Finding, less: Finding) -> list[_Pair]:
    """AUC of the chosen attack in one finding less that in another over the seeds that both have, set by set where sets
    are the same; no pair where they share no seed."""
    shared = over_common_seeds([more, less])
    if not shared:
        return []
    more, less = shared
    same = all(more.settings[name] == less.settings[name] for name in ("target_set_num", "target_set_size"))
    if same:
        return [_Pair(name, paired_between(more, less))]
    return [_Pair(name, difference(more.features[CHOSEN]["auc"], less.features[CHOSEN]["auc"]))]


def _counted(claim: str, pairs: Sequence[_Pair], what: str) -> Verdict | None:
    """A claim that all differences are above 0."""
    pairs = [pair for pair in pairs if pair.can_differ]
    if not pairs:
        return None
    clear = sum((pair.estimate.low or 0) > 0 for pair in pairs)
    against = sum(
        (pair.estimate.low or 0) <= 0 and (pair.difference.within(EQUIVALENCE) or _below(pair, 0)) for pair in pairs
    )
    return Verdict(claim, _grade(clear, against, len(pairs)), _told(pairs, what))


def _below(pair: _Pair, bound: float) -> bool:
    """Whether a pair's whole interval lies below a bound."""
    return pair.estimate.high is not None and pair.estimate.high < bound


def _told(pairs: Sequence[_Pair], what: str) -> str:
    clear = sum((pair.estimate.low or 0) > 0 for pair in pairs)
    against = sum((pair.estimate.high or 0) < 0 for pair in pairs)
    alike = sum(pair.difference.within(EQUIVALENCE) for pair in pairs)
    values = np.array([pair.estimate.value for pair in pairs])
    largest = max(pairs, key=lambda pair: pair.estimate.value)
    return (
        f"{what}: clear in {clear} of {plural(len(pairs), 'comparison')}, clearly the reverse in {against}, shown to "
        f"be within {EQUIVALENCE:g} in {alike}; median {round(float(np.median(values)), 3) + 0.0:+.3f}, largest "
        f"{with_interval(largest.estimate, '+')} ({largest.name})"
    )


def _counted_null(claim: str, pairs: Sequence[_Pair], what: str) -> Verdict | None:
    """A claim that no difference is larger than the margin of equivalence."""
    pairs = [pair for pair in pairs if pair.can_differ]
    if not pairs:
        return None
    shown = sum(pair.difference.within(EQUIVALENCE) for pair in pairs)
    worse = sum(_below(pair, -EQUIVALENCE) for pair in pairs)
    beyond = sum((pair.estimate.low or 0) > EQUIVALENCE for pair in pairs)
    return Verdict(claim, _grade(shown + worse, beyond, len(pairs)), _told(pairs, what))


def _grade(speaking: int, against: int, pairs: int) -> str:
    """What so many pairs for a claim and against it make of it."""
    if speaking >= _ALWAYS * pairs:
        return "holds"
    if against >= _ALWAYS * pairs:
        return "does not hold"
    return "undecided" if speaking + against < _HALF * pairs else "partly"


def _named(finding: Finding) -> str:
    settings = finding.settings
    return f"{data_label(settings)}, {model_label(settings)}, {settings['attack_model']} attack"


def _all(found: Iterable[Panel]) -> list[Finding]:
    """Each setting once: of several on data or code of their own, the one with most seeds."""
    kept: dict[str, Finding] = {}
    for finding in (finding for panel in found for _, finding in panel.points):
        asked = digest({name: value for name, value in finding.settings.items() if value not in (None, False)})
        if asked not in kept or len(finding.seeds) > len(kept[asked].seeds):
            kept[asked] = finding
    return list(kept.values())


def _ends(found: Sequence[Panel]) -> list[_Pair]:
    """First point of each panel less its last."""
    pairs = []
    for panel in found:
        (start, first), (end, last) = panel.points[0], panel.points[-1]
        pairs += _pair(f"{_named(first)}, {start} against {end}", first, last)
    return pairs


def _defended(found: Sequence[Panel], kind: str) -> list[_Pair]:
    """AUC without less that with each defense of a kind."""
    pairs = []
    for panel in found:
        bare = [finding for name, finding in panel.points if name == "none"]
        for name, finding in panel.points:
            if bare and str(name).startswith(kind) and finding.settings.get("defense") is None and _defends(finding):
                pairs += _pair(f"{_named(finding)}, {name}", bare[0], finding)
    return pairs


def _defends(finding: Finding) -> bool:
    """Temperature 1 changes nothing but the last digits, so that two runs of it are no pair of a comparison."""
    return finding.settings["temperature"] != 1 or finding.settings["top_k"] is not None


# ---------------------------------------------------------------- claims


def _works(found: Panels) -> Verdict | None:
    base = _all(found["scratch"])
    pairs = [_Pair(_named(finding), _above_half(finding)) for finding in base]
    return _counted("The attack works", pairs, "AUC above 0.5")


def _above_half(finding: Finding) -> Combined:
    """The chosen attack's AUC less 0.5."""
    auc = finding.features[CHOSEN]["auc"]
    ends = [None if end is None else end - 0.5 for end in (auc.estimate.low, auc.estimate.high)]
    return replace(auc, estimate=Estimate(auc.estimate.value - 0.5, ends[0], ends[1], auc.estimate.error))


def _beats_classical(found: Panels) -> Verdict | None:
    base = _all(found["scratch"])
    pairs = [_Pair(_named(finding), finding.features[CHOSEN]["auc_gain"]) for finding in base]
    return _counted("It beats the classical attack", pairs, "AUC above the classical attack's (paired)")


def _best_where_general(found: Panels) -> Verdict | None:
    pairs = []
    for panel in found["overfitting"]:
        shared = over_common_seeds([finding for _, finding in panel.points])
        if not shared:
            continue
        ranked = sorted(shared, key=lambda finding: finding.overfitting_level)
        gains = [finding.features[CHOSEN]["auc_gain"] for finding in (ranked[0], ranked[-1])]
        least, most = ((_named(finding), finding.overfitting_level) for finding in (ranked[0], ranked[-1]))
        name = f"{least[0]}, gap {least[1]:+.3f} against {most[0]}, {most[1]:+.3f}"
        pairs.append(_Pair(name, difference(*gains)))
    claim = "The advantage over the classical attack is largest where the model generalises well"
    return _counted(claim, pairs, "gain of the least overfitted model less that of the most overfitted")


def _differences_beat_concatenations(found: Panels) -> Verdict | None:
    base = [finding for finding in _all(found["scratch"]) if finding.settings["attack_model"] in ("DT", "RF")]
    pairs = [
        _Pair(f"{_named(finding)}, {kind}", paired_difference(finding, f"{kind}_diff", f"{kind}_concat"))
        for finding in base
        for kind in ("direct", "sorted")
    ]
    claim = "Differences beat concatenations for tree attacks"
    return _counted(claim, pairs, "AUC of a difference less that of the same concatenation")


def _sorting_helps(found: Panels) -> Verdict | None:
    base = _all(found["scratch"])
    pairs = [_Pair(_named(finding), paired_difference(finding, "sorted_diff", "direct_diff")) for finding in base]
    return _counted("Sorting helps", pairs, "AUC of sorted_diff less that of direct_diff")


def _ends_claim(name: str, claim: str, what: str) -> Callable[[Panels], Verdict | None]:
    return lambda found: _counted(claim, _ends(found[name]), what)


def _online_weakens(found: Panels) -> Verdict | None:
    """Every exchange against the deletion of as many records, all else equal."""
    deletions = {_asked(finding): finding for finding in _all(found["group_deletion"])}
    pairs = [
        pair
        for finding in _all(found["online_learning"])
        if _asked(finding) in deletions
        for pair in _pair(
            f"{_named(finding)}, {finding.settings['target_unlearning_num']} exchanged",
            deletions[_asked(finding)],
            finding,
        )
    ]
    claim = "New records learned beside the deletion weaken the attack"
    return _counted(claim, pairs, "AUC for deleted less for exchanged records")


def _asked(finding: Finding) -> str:
    return alike_but_for(finding.settings, "samples_to_evaluate")


def _transfers(found: Panels) -> Verdict | None:
    pairs = [
        _Pair(f"{source} -> {aim}", _above_half(finding))
        for panel in found["transfer"]
        for (source, aim), finding in panel.points
        if source != aim
    ]
    return _counted("An attack learned on other data or another family works", pairs, "AUC above 0.5")


def _defense_claim(kind: str, claim: str) -> Callable[[Panels], Verdict | None]:
    return lambda found: _counted(claim, _defended(found["defense"], kind), "AUC without less with the defense")


def _top_k_does_not_help(found: Panels) -> Verdict | None:
    return _counted_null("Top-k does not help", _defended(found["defense"], "top"), "AUC without less with the defense")


_CLAIMS: tuple[Callable[[Panels], Verdict | None], ...] = (
    _works,
    _beats_classical,
    _best_where_general,
    _differences_beat_concatenations,
    _sorting_helps,
    _ends_claim("sisa", "SISA weakens the attack", "AUC for the fewest less for the most shards"),
    _ends_claim(
        "group_deletion", "Larger groups weaken the attack", "AUC for the smallest less for the largest request"
    ),
    _ends_claim(
        "multi_version",
        "Unseen intermediate versions weaken the attack",
        "AUC for the fewest less for the most deletions",
    ),
    _online_weakens,
    _transfers,
    _defense_claim("label only", "Publishing the label alone helps"),
    _defense_claim("temperature", "Temperature scaling helps"),
    _defense_claim("DP-SGD", "DP-SGD helps"),
    _top_k_does_not_help,
)

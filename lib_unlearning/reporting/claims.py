"""The paper's claims, each held against all findings that bear on it.

A claim about pairs of findings (with and without shards, a defense, ...) is counted pair by pair: a pair speaks for it
where the difference of AUCs has the claimed sign and its 95 % interval excludes 0. Features of the same attack are
compared by a paired bootstrap. Three quarters of the pairs make it
"holds", fewer than one quarter "does not hold", all between "partly".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib_unlearning.reporting.archive import CHOSEN, Finding, paired_difference, with_interval
from lib_unlearning.reporting.comparisons import COMPARISONS, Panel, data_label, model_label, panels
from lib_unlearning.statistics.metrics import Estimate, within

_ALWAYS, _SELDOM = 0.75, 0.25


@dataclass(frozen=True)
class Verdict:
    """One claim, "holds" / "partly" / "does not hold", what was measured, and what today's attacker makes of it."""

    claim: str
    verdict: str
    measured: str
    today: str = "not measured yet"

    @property
    def tone(self) -> str:
        """How the page colours it."""
        return {"holds": "holds", "does not hold": "fails"}.get(self.verdict, "soft")


@dataclass(frozen=True)
class _Pair:
    """Two AUCs, what tells them apart in words, and their difference."""

    name: str
    difference: Estimate


# Data sets that the project brings; tables of one's own are not judged by the paper's claims.
_DATA = ("adult", "accident", "location", "mnist", "cifar10", "stl10")


def judge(findings: Sequence[Finding]) -> list[Verdict]:
    """A verdict on every claim that the findings bear on."""
    known = [finding for finding in findings if finding.settings["dataset_name"] in _DATA]
    found = {name: panels(comparison, known) for name, comparison in COMPARISONS.items()}
    return [verdict for claim in _CLAIMS if (verdict := claim(found)) is not None]


Panels = dict[str, list[Panel]]


# ---------------------------------------------------------------- pairs


def _difference(more: Finding, less: Finding) -> Estimate:
    """AUC of the chosen attack in one finding less that in another, as if both were independent: where they share
    models the interval is too wide, not too narrow."""
    first, second = more.features[CHOSEN]["auc"], less.features[CHOSEN]["auc"]
    errors = (first.estimate.error, second.estimate.error)
    value = first.estimate.value - second.estimate.value
    if errors[0] is None or errors[1] is None:
        return Estimate(value, None, None, None)
    variances = np.square(np.array(errors, dtype=float))
    error = float(np.sqrt(variances.sum()))
    weights = variances / variances.sum() if error else np.array([0.5, 0.5])
    degrees = 1 / float((weights**2 / np.array([first.degrees, second.degrees])).sum())  # Welch and Satterthwaite
    return within(value, error, degrees, -1.0, 1.0)


def _counted(claim: str, pairs: Sequence[_Pair], what: str) -> Verdict | None:
    """A claim that all differences are above 0."""
    if not pairs:
        return None
    clear = [pair for pair in pairs if (pair.difference.low or 0) > 0]
    against = [pair for pair in pairs if (pair.difference.high or 0) < 0]
    values = np.array([pair.difference.value for pair in pairs])
    largest = max(pairs, key=lambda pair: pair.difference.value)
    measured = (
        f"{what}: clear in {len(clear)} of {len(pairs)} comparisons, clearly the reverse in {len(against)}; median "
        f"{np.median(values):+.3f}, largest {with_interval(largest.difference, '+.3f')} ({largest.name})"
    )
    return Verdict(claim, _grade(len(clear) / len(pairs)), measured)


def _grade(share: float) -> str:
    if share >= _ALWAYS:
        return "holds"
    return "does not hold" if share < _SELDOM else "partly"


def _named(finding: Finding) -> str:
    settings = finding.settings
    return f"{data_label(settings)}, {model_label(settings)}, {settings['attack_model']} attack"


def _all(found: Iterable[Panel]) -> list[Finding]:
    return [finding for panel in found for _, finding in panel.points]


def _ends(found: Sequence[Panel]) -> list[_Pair]:
    """First point of each panel less its last."""
    pairs = []
    for panel in found:
        (start, first), (end, last) = panel.points[0], panel.points[-1]
        pairs.append(_Pair(f"{_named(first)}, {start} against {end}", _difference(first, last)))
    return pairs


def _defended(found: Sequence[Panel], kind: str) -> list[_Pair]:
    """AUC without less that with each defense of a kind."""
    pairs = []
    for panel in found:
        bare = [finding for name, finding in panel.points if name == "none"]
        for name, finding in panel.points:
            if bare and str(name).startswith(kind):
                pairs.append(_Pair(f"{_named(finding)}, {name}", _difference(bare[0], finding)))
    return pairs


# ---------------------------------------------------------------- claims


def _works(found: Panels) -> Verdict | None:
    base = _all(found["scratch"])
    pairs = [_Pair(_named(finding), _above(finding.features[CHOSEN]["auc"].estimate, 0.5)) for finding in base]
    return _counted("The attack works", pairs, "AUC above 0.5")


def _above(estimate: Estimate, level: float) -> Estimate:
    ends = [None if end is None else end - level for end in (estimate.low, estimate.high)]
    return Estimate(estimate.value - level, ends[0], ends[1], estimate.error)


def _beats_classical(found: Panels) -> Verdict | None:
    base = _all(found["scratch"])
    pairs = [_Pair(_named(finding), finding.features[CHOSEN]["auc_gain"].estimate) for finding in base]
    return _counted("It beats the classical attack", pairs, "AUC above the classical attack's (paired)")


def _best_where_general(found: Panels) -> Verdict | None:
    pairs = []
    for panel in found["overfitting"]:
        ranked = sorted((finding for _, finding in panel.points), key=lambda finding: finding.overfitting_level)
        gains = [finding.features[CHOSEN]["auc_gain"] for finding in (ranked[0], ranked[-1])]
        least, most = ((_named(finding), finding.overfitting_level) for finding in (ranked[0], ranked[-1]))
        name = f"{least[0]}, gap {least[1]:+.3f} against {most[0]}, {most[1]:+.3f}"
        pairs.append(_Pair(name, _gain_difference(gains)))
    claim = "The advantage over the classical attack is largest where the model generalises well"
    return _counted(claim, pairs, "gain of the least overfitted model less that of the most overfitted")


def _gain_difference(gains: Sequence[Any]) -> Estimate:
    value = gains[0].estimate.value - gains[1].estimate.value
    errors = [gain.estimate.error for gain in gains]
    if None in errors:
        return Estimate(value, None, None, None)
    return within(value, float(np.hypot(*errors)), min(gain.degrees for gain in gains), -2.0, 2.0)


def _differences_beat_concatenations(found: Panels) -> Verdict | None:
    base = [finding for finding in _all(found["scratch"]) if finding.settings["attack_model"] in ("DT", "RF")]
    pairs = [
        _Pair(f"{_named(finding)}, {kind}", paired_difference(finding, f"{kind}_diff", f"{kind}_concat").estimate)
        for finding in base
        for kind in ("direct", "sorted")
    ]
    claim = "Differences beat concatenations for tree attacks"
    return _counted(claim, pairs, "AUC of a difference less that of the same concatenation")


def _sorting_helps(found: Panels) -> Verdict | None:
    base = _all(found["scratch"])
    pairs = [
        _Pair(_named(finding), paired_difference(finding, "sorted_diff", "direct_diff").estimate) for finding in base
    ]
    return _counted("Sorting helps", pairs, "AUC of sorted_diff less that of direct_diff")


def _ends_claim(name: str, claim: str, what: str) -> Callable[[Panels], Verdict | None]:
    return lambda found: _counted(claim, _ends(found[name]), what)


def _online_weakens(found: Panels) -> Verdict | None:
    """Every exchange against the deletion of as many records, all else equal."""
    deletions = {_key(finding): finding for finding in _all(found["group_deletion"])}
    pairs = [
        _Pair(
            f"{_named(finding)}, {finding.settings['target_unlearning_num']} exchanged",
            _difference(deletions[_key(finding)], finding),
        )
        for finding in _all(found["online_learning"])
        if _key(finding) in deletions
    ]
    claim = "New records learned beside the deletion weaken the attack"
    return _counted(claim, pairs, "AUC for deleted less for exchanged records")


def _key(finding: Finding) -> str:
    return repr(sorted((name, str(part)) for name, part in finding.settings.items() if name != "samples_to_evaluate"))


def _transfers(found: Panels) -> Verdict | None:
    pairs = [
        _Pair(f"{source} -> {aim}", _above(finding.features[CHOSEN]["auc"].estimate, 0.5))
        for panel in found["transfer"]
        for (source, aim), finding in panel.points
        if source != aim
    ]
    return _counted("An attack learned on other data or another family works", pairs, "AUC above 0.5")


def _defense_claim(kind: str, claim: str) -> Callable[[Panels], Verdict | None]:
    return lambda found: _counted(claim, _defended(found["defense"], kind), "AUC without less with the defense")


def _top_k_does_not_help(found: Panels) -> Verdict | None:
    """A null claim: it holds where at most few pairs show a fall."""
    pairs = _defended(found["defense"], "top")
    counted = _counted("Top-k does not help", pairs, "AUC without less with the defense")
    if counted is None:
        return None
    falls = sum((pair.difference.low or 0) > 0 for pair in pairs) / len(pairs)
    return Verdict(counted.claim, _grade(1 - falls), counted.measured)


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

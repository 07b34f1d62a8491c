"""An audit as a document: what was audited, how, what was found, in words; the same for every door."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np

from lib_unlearning import __version__
from lib_unlearning.attacks.registry import TODAY, WITH_OWN_MODELS
from lib_unlearning.audit.controls import FAILED, NOT_JUDGED, Control
from lib_unlearning.audit.evidence import Evidence, Options, Sides, same_cases
from lib_unlearning.audit.examine import Examination
from lib_unlearning.audit.questions import STILL_THERE, TPR_NAME, Question
from lib_unlearning.cache.files import digest, digest_arrays, library_versions
from lib_unlearning.report import single_records
from lib_unlearning.statistics.intervals import OVERLAP
from lib_unlearning.statistics.privacy import distinct_strangers
from lib_unlearning.wording import with_interval

# Exit code of the command line for each verdict; other mistakes are 2.
EXIT_CODES = {"equivalent": 0, "below": 0, "leaks": 3, "undecided": 4, "no verdict": 4}
SENTENCES = {
    "leaks": "{leaking}, more than its margin allows.",
    "equivalent": "The deletion is equivalent to retraining, each question within its margin (AUC {margin:g}).",
    "below": "What shows, and what the unlearned model tells alone, lies below the margins (AUC {margin:g} over 0.5).",
    "undecided": "The data do not settle whether the margins are kept (AUC {margin:g}).",
    "no verdict": "A control did not give its known answer, so the figures cannot be trusted.",
}
# What leaks, by whether it is the question of the record that is still there.
_LEAKING = {
    False: "the deletion shows to whoever asks both versions",
    True: "the record is still in the unlearned model",
}
_REVERSED = "Deleted records and strangers are told apart, the wrong way round, as if one side's roles were exchanged."
# Undecided though every question has its answer: by whether both versions, and retrained models, answered alike.
_OTHERWISE = {
    False: "The deletion differs from retraining, and is not shown to give away more.",
    True: "Both versions answer alike in every case, from which nothing can be told of the deletion.",
}
_NO_INTERVALS = (
    "So few separate sample sets allow no interval; what would is more records, or sets that share fewer of them."
)
_STAYS = "What is less than retraining, or differs from it, stays so whatever their number: this is not equivalent."
# By whether sets share so many records that more of them are worth little more.
_NARROWER = {
    False: "More sample sets, or more deletions, narrow the intervals.",
    True: "Sets that share fewer records (smaller ones, or more records) narrow the intervals.",
}
LIMITS = (
    "An attack that finds nothing is no proof that none could: the verdict is about these attacks, this adversary, "
    "these records and sizes.",
    "Records of the same person, records that were not drawn, and other deletions than these were not audited.",
    "How answers are written (to how many digits, how they are rounded) was not looked at, only what they say.",
    "Strangers who differ from deleted records in more than that these were deleted (another year, another place) are "
    "told apart by that, and it counts as a leak unless retrained models are beside it; classes are made alike.",
)


@dataclass(frozen=True)
class Dossier:
    """One audit.

    Attributes:
        title: what was audited.
        settings: all that shaped it, as JSON has it. digests: of what it rests on.
        evidence, options, examination: answers and scores, how they were judged, what came out.
        ids: [m] what the target cases' records are called; shown only where asked for.
        notes: what else a reader must know.
        versions, made, command: of the libraries, when, and how.
    """

    title: str
    settings: dict[str, Any]
    digests: dict[str, str]
    evidence: Evidence
    options: Options
    examination: Examination
    ids: np.ndarray
    notes: list[str]
    versions: dict[str, str] = field(default_factory=lambda: versions())
    made: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    command: str = field(default_factory=lambda: shlex.join([sys.argv[0] or "python", *sys.argv[1:]]))

    def __post_init__(self) -> None:
        plain_settings = json.loads(json.dumps(plain(self.settings), default=str))
        object.__setattr__(self, "settings", plain_settings)  # as they are read back from a pack
        object.__setattr__(self, "evidence", _unnamed(self.evidence))

    @property
    def digest(self) -> str:
        """Hex SHA-256 of what was audited (title, digests of what it rests on, settings), answers and scores: what the
        report and the pack are known by. When, by which command and how fast is not among it: a second run is the same
        audit."""
        parts = [self.evidence.cases, self.evidence.retrained or {}]
        answers = [digest_arrays(*vars(case).values()) for sides in parts for _, case in sorted(sides.items())]
        scores = [
            [name, digest_arrays(values)]
            for found in (self.evidence.found, self.evidence.other)
            for kind in ((found.scores, found.tried) if found else ())
            for name, values in sorted(kind.items())
        ]
        return digest([self.title, self.digests, plain(self.settings), plain(self.options), answers, scores])

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        found = self.examination
        kinds = {question.verdict for question in found.questions}
        told = SENTENCES[found.verdict]
        if found.verdict == "leaks" and found.unchanged:
            told = "Both versions answer alike in every case, retrained models do not: nothing was deleted."
        if found.verdict == "undecided" and "reversed" in kinds:
            told = _REVERSED
        elif found.verdict == "undecided" and "undecided" not in kinds:
            told = _OTHERWISE[found.silent]
        leaks = [question.name for question in found.questions if question.verdict == "leaks"]
        leaking = " and ".join(dict.fromkeys(_LEAKING[name.startswith(STILL_THERE)] for name in leaks))
        return f"{found.verdict.capitalize()}: {told.format(margin=self.options.margin, leaking=leaking)}"

    @property
    def adversary(self) -> str:
        """Against whom the deletion was audited."""
        told = "Sees what both versions answer, and knows the records that he asks about and their labels"
        if any(name in TODAY for name in self.examination.results):
            told += "; has records of his own, and asks about them"
        if any(name in WITH_OWN_MODELS for name in self.examination.results):
            told += ", and trains models on them"
        learned = "on another part of the same cases" if same_cases(self.evidence.cases) else "on cases of his own"
        return f"{told}. He learned {learned}; * marks the attack that counts, all of them are shown."

    def lines(self) -> list[str]:
        """The verdict and its grounds, a line each."""
        found = self.examination
        lines = [f"Verdict: {self.sentence}"]
        lines += self.remarks()
        lines += [told(question) for question in found.questions]
        lines.append(f"Controls: {controls_told(found.controls)}")
        return [*lines, self.single_records]

    @property
    def single_records(self) -> str:
        """How many cases stand out one by one."""
        cases, found = self.evidence.cases, self.examination
        if same_cases(cases):
            return "Single records are not judged without a shadow side."
        strangers = len(distinct_strangers(cases["shadow"].record, cases["shadow"].member))
        return single_records(found.exposed, cases["target"].member, strangers, found.chosen, found.wrong)

    def remarks(self) -> list[str]:
        """What explains the verdict beyond its figures."""
        found, kinds = self.examination, {question.verdict for question in self.examination.questions}
        remarks = []
        if found.silent:
            remarks.append("Both versions answered alike in every case: what is found is found in each by itself.")
        elif not found.unchanged and "differs" in kinds and "leaks" not in kinds:
            remarks.append("The unlearned models can be told from retrained ones; what else tells them apart is open.")
        if not any(TPR_NAME in question.name for question in found.questions):
            remarks.append("No TPR at 1 % FPR was judged: so few different strangers do not resolve it.")
        if found.verdict == "undecided" and "undecided" in kinds:
            remarks += self._what_would_settle_it(kinds)
        return remarks

    def _what_would_settle_it(self, kinds: Set[str]) -> list[str]:
        if self.examination.questions[0].measured.low is None:
            return [_NO_INTERVALS]
        if self.examination.silent:
            return []
        return [_NARROWER[self.options.overlap > OVERLAP], *([_STAYS] if kinds & {"less", "differs"} else [])]

    def verdict(self) -> dict[str, Any]:
        """What `verdict.json` holds."""
        found = self.examination
        return {
            "verdict": found.verdict,
            "sentence": self.sentence,
            "exit_code": EXIT_CODES[found.verdict],
            "margin": self.options.margin,
            "tpr_margin": self.options.tpr_margin,
            "questions": plain(found.questions),
            "controls": plain(found.controls),
            "attacks": plain(found.results),
            "chosen": found.chosen,
            "unchanged": found.unchanged,
            "exposed": int(found.exposed.sum()),
            "digest": self.digest,
        }


def controls_told(controls: Sequence[Control]) -> str:
    """Which controls failed, and which the sets are too few to judge."""
    failed, silent = ([part.name for part in controls if part.outcome == kind] for kind in (FAILED, NOT_JUDGED))
    told = f"failed: {', '.join(failed)}." if failed else "none failed."
    return f"{told} Not judged, as the sample sets are too few: {', '.join(silent)}." if silent else told


def _unnamed(evidence: Evidence) -> Evidence:
    """The same without the numbers of records, which are names to whoever has the table; which cases are about one
    record, and in which order records come, stays."""

    def without(sides: Sides) -> Sides:
        codes = {side: np.unique(cases.record, return_inverse=True)[1] for side, cases in sides.items()}
        return {side: replace(cases, record=codes[side]) for side, cases in sides.items()}

    retrained = None if evidence.retrained is None else without(evidence.retrained)
    return replace(evidence, cases=without(evidence.cases), retrained=retrained)


def told(question: Question) -> str:
    """A question with its figures."""
    line = f"- {question.name}: {question.asks} {with_interval(question.measured)}"
    if question.reference is not None:
        line += f", retrained {with_interval(question.reference)}"
    if question.difference is not None:
        line += f", difference {with_interval(question.difference, '+')}"
    return f"{line} -> {question.verdict} (margin {question.margin:g})"


def versions() -> dict[str, str]:
    """Of this library, Python, and what figures depend on."""
    ours = {"unlearning-leakage": __version__, "python": platform.python_version()}
    return {**ours, **library_versions("numpy", "scipy", "scikit-learn", "pandas")}


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

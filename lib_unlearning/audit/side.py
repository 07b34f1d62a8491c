"""One side of an audit by files: its cases, what stands for sample sets, and what cannot be right about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lib_unlearning.audit.answer_table import (
    NAMES,
    REQUIRED,
    answers_in,
    listed,
    numbered,
    read_table,
    row_flags,
    whole_numbers,
)
from lib_unlearning.audit.class_mix import counts_of, differ, kept_alike, strata
from lib_unlearning.audit.order import check_order
from lib_unlearning.audit.same_people import check_apart
from lib_unlearning.cache.files import digest_file
from lib_unlearning.errors import UserError
from lib_unlearning.posterior import PosteriorSet
from lib_unlearning.seeds import spawn
from lib_unlearning.statistics.metrics import repeated_share
from lib_unlearning.wording import plural

_MOST_SETS = 50
_INVENTED_SETS = 20  # that cases are divided into where a file names none
_FEWEST_SETS, _FEWEST_STRANGERS = 2, 2
INVENTED, _BY_RECORD = "invented", "by record"
# What a reader must know of what stands for sample sets.
INSTEAD = {
    INVENTED: "--{flag}cases names no sets: cases were divided at random, as if all were independent.",
    _BY_RECORD: "--{flag}cases asks about the same records in several sets: cases were divided by record, so that "
    "nothing is judged on a record that it learned from; how much models differ is not in the intervals.",
}


@dataclass(frozen=True)
class AnswerFiles:
    """One side's files; `retrained` holds what models answer that were retrained without the deleted records."""

    before: Path
    after: Path
    cases: Path
    retrained: Path | None = None

    @property
    def answers(self) -> dict[str, Path]:
        """Name -> each file of answers."""
        return {"before": self.before, "after": self.after} | ({"retrained": self.retrained} if self.retrained else {})

    def digests(self, side: str) -> dict[str, str]:
        """Name -> SHA-256 of each file."""
        return {f"{side} {name}": digest_file(path) for name, path in (*self.answers.items(), ("cases", self.cases))}


@dataclass(frozen=True)
class Side:
    """What one side's files hold.

    Attributes:
        cases: answers before and after. retrained: the same with retrained models' in the place of those after.
        names: [m] what the file calls the cases' records; their numbers where it names none.
        named: whether it names them.
        sets: what stands for sample sets where the file's own cannot: "" for these, see `INSTEAD`.
        columns: [c] what the files call the classes.
        left_out: what a reader must know of cases that were left out; "" where there are none.
    """

    cases: PosteriorSet
    retrained: PosteriorSet | None
    names: np.ndarray
    named: bool = False
    sets: str = ""
    columns: list[str] = field(default_factory=list)
    left_out: str = ""

    def select(self, chosen: np.ndarray) -> Side:
        """Some of the cases."""
        retrained = None if self.retrained is None else self.retrained.select(chosen)
        return replace(self, cases=self.cases.select(chosen), retrained=retrained, names=self.names[chosen])

    def alike_in_class(self, seed: int, side: str, where: str) -> Side:
        """The same with deleted records and strangers of the same classes, where these differ more than by chance: what
        whoever knows a label knows is no leak. Raises `UserError` where so few are of the same."""
        cases = self.cases
        classes = strata(cases.label, cases.original.shape[1] == 1)
        counts = counts_of(classes, cases.member)
        if not differ(counts, spawn(seed, "alike in class", side)):
            return self
        kept = kept_alike(classes, cases.member, cases.set, seed, side)
        lost = [int((cases.member[~kept] == kind).sum()) for kind in (0, 1)]
        told = _of_other_classes(classes, cases, counts, lost)
        found = self.select(kept)
        if self.sets == INVENTED and kept.any():
            found = found.in_sets(invented_sets(found.cases.member, seed))
        joined = found.joined_until_judged
        if joined is None:
            left = "So few are left" if kept.any() else "None are left"
            raise UserError(f"{where}: {told} {left}; ask about strangers of the deleted records' classes")
        sets = [len(np.unique(part.cases.set)) for part in (found, joined)]
        if sets[1] < sets[0]:
            told += f" So few are left of some sample sets that the {sets[0]} were joined to {sets[1]}."
        return replace(joined, left_out=told)

    @property
    def joined_until_judged(self) -> Side | None:
        """The same with sets joined until each has what an attack is judged by; None where two have it not."""
        sets = np.unique(self.cases.set, return_inverse=True)[1].ravel()
        count = int(sets.max(initial=-1)) + 1
        while count >= _FEWEST_SETS:
            found = self.in_sets(sets % count)
            if _can_be_judged(found.cases):
                return found
            count //= 2
        return None

    def in_sets(self, sets: np.ndarray) -> Side:
        """The same with other groups [m] in the sample sets' place."""
        retrained = None if self.retrained is None else replace(self.retrained, set=sets)
        return replace(self, cases=replace(self.cases, set=sets), retrained=retrained)

    def by_record(self, seed: int, allowed: float) -> Side:
        """The same with all cases of a record in one group, and these in the sample sets' place, where more than a
        share of the cases are about records that come in other sets as well: nothing is then judged on a record that
        it learned from, and a record counts once."""
        if repeated_share(self.cases.record, self.cases.set) <= allowed:
            return self
        return replace(self.in_sets(_record_groups(self.cases, seed)), sets=_BY_RECORD)

    @property
    def with_few_sets(self) -> Side:
        """Many sample sets joined to as many as intervals need."""
        return self.in_sets(self.cases.set % _MOST_SETS)


def read_side(files: AnswerFiles, kind: str, seed: int, flag: str = "", in_order: bool = False) -> Side:
    """One side's files.

    Args:
        kind: one of `settings.ANSWER_KINDS`.
        flag: start of the flags that named the files, for messages.
        in_order: whether somebody says that the files are not swapped, whatever they look like.

    Raises:
        UserError: a file is missing, damaged, or not what it should be.
    """
    where = f"--{flag}cases {files.cases}"
    table = read_table(files.cases, f"--{flag}cases", NAMES)
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise UserError(
            f"{where}: no column {' and no column '.join(missing)}; it holds {listed(table)}. "
            f"Needed are {', '.join(REQUIRED)}, welcome are record, set, request"
        )
    count = len(table["deleted"])
    deleted = row_flags(table["deleted"], where)
    found = {name: answers_in(path, kind, f"--{flag}{name}", count, table) for name, path in files.answers.items()}
    answers = _alike_in_form(found, kind, flag)
    classes = answers["before"].shape[1]
    label = whole_numbers(table["label"], f"{where}: label")
    if label.min() < 0 or label.max() >= classes:
        raise UserError(
            f"{where}: labels run from {label.min()} to {label.max()}, but there are {classes} columns of answers: "
            "labels are their numbers, from 0"
        )
    invented = "set" not in table
    names = table["record"] if "record" in table else np.arange(1, count + 1)
    cases = PosteriorSet(
        answers["before"],
        answers["after"],
        deleted,
        numbered(names, f"{where}: record"),
        label,
        invented_sets(deleted, seed) if invented else numbered(table["set"], f"{where}: set"),
        numbered(table["request"], f"{where}: request") if "request" in table else _paired(deleted),
    )
    _check_kinds(cases, files.cases, flag)
    if "record" in table and not invented:
        _check_records(cases, names, where)
    if not in_order:
        check_order(cases, f"--{flag}before", f"--{flag}after")
    retrained = replace(cases, unlearned=answers["retrained"]) if "retrained" in answers else None
    side = Side(cases, retrained, names, "record" in table, INVENTED if invented else "", found["before"][1])
    return side.alike_in_class(seed, flag, where)


def _alike_in_form(found: Mapping[str, tuple[np.ndarray, list[str]]], kind: str, flag: str) -> dict[str, np.ndarray]:
    """Answers [m, c] of each file, with the same classes in the same order."""
    answers = {name: values for name, (values, _) in found.items()}
    if kind == "labels":  # a class may be named in one of the files only
        most = max(part.shape[1] for part in answers.values())
        answers = {name: np.pad(part, ((0, 0), (0, most - part.shape[1]))) for name, part in answers.items()}
    for name, values in answers.items():
        if values.shape != answers["before"].shape:
            raise UserError(
                f"--{flag}before has {answers['before'].shape[1]} classes, --{flag}{name} {values.shape[1]}"
            )
        _check_columns(found["before"][1], found[name][1], flag, name)
    return answers


def _paired(deleted: np.ndarray) -> np.ndarray:
    """Requests [m] where a file names none: the k-th deleted record and the k-th stranger make one."""
    found = np.empty(len(deleted), dtype=np.int64)
    for kind in (0, 1):
        rows = np.flatnonzero(deleted == kind)
        found[rows] = np.arange(len(rows))
    return found


def invented_sets(deleted: np.ndarray, seed: int) -> np.ndarray:
    """Sets [m] as large as each other, deleted and strangers spread over all."""
    sets = np.empty(len(deleted), dtype=np.int64)
    count = min(_INVENTED_SETS, max(2, int(np.bincount(deleted, minlength=2).min()) // 2))
    for kind in (0, 1):
        rows = spawn(seed, "invented sets", kind).permutation(np.flatnonzero(deleted == kind))
        sets[rows] = np.arange(len(rows)) % count
    return sets


def _record_groups(cases: PosteriorSet, seed: int) -> np.ndarray:
    """Groups [m] as large as each other, all cases of a record in one."""
    records, which = np.unique(cases.record, return_inverse=True)
    ever_deleted = np.zeros(len(records), dtype=np.int64)
    np.maximum.at(ever_deleted, which.ravel(), cases.member)
    return invented_sets(ever_deleted, seed)[which.ravel()]


def _of_other_classes(classes: np.ndarray, cases: PosteriorSet, counts: np.ndarray, lost: list[int]) -> str:
    """What was left out, and why: the class whose shares differ most, or of a regression the fifth of the numbers."""
    shares = counts / counts.sum(axis=1, keepdims=True)
    most = int(np.abs(shares[1] - shares[0]).argmax())
    of = f"the label {cases.label[classes == most][0]}"
    if cases.original.shape[1] == 1:
        of = f"labels of part {most + 1} of {counts.shape[1]} of their range"
    return (
        f"{shares[1, most]:.0%} of the deleted records and {shares[0, most]:.0%} of the strangers have {of}: labels "
        f"alone would read as a leak. {plural(lost[1], 'deleted record')} and {plural(lost[0], 'stranger')} were left "
        "out, so that both are of the same classes."
    )


def _check_kinds(cases: PosteriorSet, path: Path, flag: str) -> None:
    for kind, name in ((1, "deleted records"), (0, "strangers")):
        if not (cases.member == kind).any():
            raise UserError(f"--{flag}cases {path}: no {name}; an attack is judged by telling both apart")
    lacking = int((_sizes(cases.set, cases.member) == 0).any(axis=0).sum())
    if lacking:
        told = "set holds" if lacking == 1 else "sets hold"
        raise UserError(f"--{flag}cases {path}: {lacking} {told} only deleted records or only strangers")
    check_sizes(cases.set, cases.member, f"--{flag}cases {path}")


def _check_records(cases: PosteriorSet, names: np.ndarray, where: str) -> None:
    """Raise `UserError` where a record is deleted from one model twice, or is a stranger there as well."""
    places = cases.set * (int(cases.record.max()) + 1) + cases.record
    gone = cases.member == 1
    deleted, first, counts = np.unique(places[gone], return_index=True, return_counts=True)
    if counts.max() > 1:
        name = names[gone][first[counts.argmax()]]
        raise UserError(f"{where}: record {name} is deleted from one set {counts.max()} times; name it once")
    both = np.flatnonzero(~gone & np.isin(places, deleted))
    if len(both):
        raise UserError(f"{where}: record {names[both[0]]} is deleted from a set and a stranger to it as well")


def _can_be_judged(cases: PosteriorSet) -> bool:
    """Whether every set has deleted records and enough strangers, and sets are enough."""
    strangers, gone = _sizes(cases.set, cases.member)
    return _are_enough(strangers) and gone.min() > 0


def _sizes(sets: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Strangers (0) and deleted records (1) of each set, [2, s]."""
    return counts_of(np.unique(sets, return_inverse=True)[1].ravel(), member)


def _are_enough(strangers: np.ndarray) -> bool:
    """Whether sets with so many strangers each [s] can judge an attack."""
    return len(strangers) >= _FEWEST_SETS and bool(strangers.min() >= _FEWEST_STRANGERS)


def check_sizes(sets: np.ndarray, deleted: np.ndarray, where: str) -> None:
    """Raise `UserError` where cases are too few for their sets: controls put strangers in the deleted's place."""
    strangers, _ = _sizes(sets, deleted)
    if not _are_enough(strangers):
        raise UserError(
            f"{where}: {len(strangers)} sets, of {strangers.min()} strangers at the least; an attack is judged by "
            f"{_FEWEST_SETS} sets of {_FEWEST_STRANGERS} strangers: name more, or join sets"
        )


def _check_columns(before: list[str], others: list[str], flag: str, name: str) -> None:
    """Refuse answers whose columns share names with those before, and not all of them in the same order."""
    if before != others and set(before) & set(others):
        raise UserError(
            f"--{flag}{name} has other columns than --before, or in another order ({', '.join(others[:4])}, not "
            f"{', '.join(before[:4])}); make them the same"
        )


def check_sides(target: Side, shadow: Side) -> None:
    classes = [part.cases.original.shape[1] for part in (shadow, target)]
    if classes[0] != classes[1]:
        raise UserError(f"--shadow_before has {classes[0]} classes, --before {classes[1]}")
    _check_columns(target.columns, shadow.columns, "shadow_", "before")
    pairs = ((target.cases.original, shadow.cases.original), (target.cases.unlearned, shadow.cases.unlearned))
    if all(np.array_equal(*pair) for pair in pairs):
        raise UserError("--shadow_before and --before hold the same answers: nothing is judged on what it learned from")
    if target.named and shadow.named:
        check_apart((target.names, shadow.names), (target.cases.label, shadow.cases.label))
    if (target.retrained is None) != (shadow.retrained is None):
        raise UserError("--retrained and --shadow_retrained: both sides are compared with retraining, or neither")

"""An audit of two files of answers, without any model: CSV, Parquet or npz, a row a case."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.attack import CLASS_ORDER, CLASSES, POSTERIORS, View
from lib_unlearning.attacks.choice import cross_fitted_scores
from lib_unlearning.attacks.registry import attacks_on
from lib_unlearning.audit.dossier import Dossier
from lib_unlearning.audit.examine import LEARNED, Attacked, Evidence, Options, attacked, conclude, spread
from lib_unlearning.audit.probabilities import as_posteriors
from lib_unlearning.cache.files import digest_file
from lib_unlearning.errors import UserError, error_text
from lib_unlearning.posterior import PosteriorSet
from lib_unlearning.readers.cells import is_nested
from lib_unlearning.record_split import SIDES
from lib_unlearning.seeds import spawn
from lib_unlearning.settings import AuditInputs
from lib_unlearning.statistics.intervals import OVERLAP

# The attack that counts where there is nothing to choose it on: the first that can be used.
_UNCHOSEN = ("residual_gradient", "label_logit", "residuals")
_REQUIRED = ("label", "deleted")
_COLUMNS = ("record", "set", "request", *_REQUIRED)
_MOST_SETS = 50
_INVENTED_SETS = 20  # that cases are divided into where a file names none
_MOST_BYTES = 8 * 2**30
_FEWEST_SETS, _FEWEST_STRANGERS = 2, 2
_INVENTED, _BY_RECORD = "invented", "by record"
# What a reader must know of what stands for sample sets.
_INSTEAD = {
    _INVENTED: "--{flag}cases names no sets: cases were divided at random, as if all were independent.",
    _BY_RECORD: "--{flag}cases asks about the same records in several sets: cases were divided by record, so that "
    "nothing is judged on a record that it learned from; how much models differ is not in the intervals.",
}
_SURELY = 1e-6  # chance below which labels that agree are those of the same records
_SWAPPED = 3.5  # standard errors by which answers to deleted records must have become better


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
        sets: what stands for sample sets where the file's own cannot: "" for these, see `_INSTEAD`.
        columns: [c] what the files call the classes.
    """

    cases: PosteriorSet
    retrained: PosteriorSet | None
    names: np.ndarray
    named: bool = False
    sets: str = ""
    columns: list[str] = field(default_factory=list)

    def select(self, chosen: np.ndarray) -> Side:
        """Some of the cases."""
        retrained = None if self.retrained is None else self.retrained.select(chosen)
        return replace(self, cases=self.cases.select(chosen), retrained=retrained, names=self.names[chosen])

    def by_record(self, seed: int, allowed: float) -> Side:
        """The same with all cases of a record in one group, and these in the sample sets' place, where more than a
        share of the cases are about records that come in other sets as well: nothing is then judged on a record that
        it learned from, and a record counts once."""
        pairs = np.unique(np.column_stack([self.cases.record, self.cases.set]), axis=0)
        often, counts = np.unique(pairs[:, 0], return_counts=True)
        if np.isin(self.cases.record, often[counts > 1]).mean() <= allowed:
            return self
        found = replace(self.cases, set=_record_groups(self.cases, seed))
        retrained = None if self.retrained is None else replace(self.retrained, set=found.set)
        return replace(self, cases=found, retrained=retrained, sets=_BY_RECORD)

    @property
    def with_few_sets(self) -> Side:
        """Many sample sets joined to as many as intervals need."""
        few = self.cases.set % _MOST_SETS
        retrained = None if self.retrained is None else replace(self.retrained, set=few)
        return replace(self, cases=replace(self.cases, set=few), retrained=retrained)


def read_side(files: AnswerFiles, kind: str, seed: int, flag: str = "") -> Side:
    """One side's files.

    Args:
        kind: one of `settings.ANSWER_KINDS`.
        flag: start of the flags that named the files, for messages.

    Raises:
        UserError: a file is missing, damaged, or not what it should be.
    """
    where = f"--{flag}cases {files.cases}"
    table = read_table(files.cases, f"--{flag}cases")
    missing = [name for name in _REQUIRED if name not in table]
    if missing:
        raise UserError(
            f"{where}: no column {' and no column '.join(missing)}; it holds {_listed(table)}. "
            f"Needed are {', '.join(_REQUIRED)}, welcome are record, set, request"
        )
    count = len(table["deleted"])
    deleted = row_flags(table["deleted"], where)
    found = {name: _answers(path, kind, f"--{flag}{name}", count, table) for name, path in files.answers.items()}
    answers = _alike_in_form(found, kind, flag)
    classes = answers["before"].shape[1]
    label = _whole(table["label"], f"{where}: label")
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
        _numbered(names, f"{where}: record"),
        label,
        invented_sets(deleted, seed) if invented else _numbered(table["set"], f"{where}: set"),
        _numbered(table["request"], f"{where}: request") if "request" in table else _paired(deleted),
    )
    _check_kinds(cases, files.cases, flag)
    if "record" in table and not invented:
        _check_records(cases, names, where)
    _check_order(cases, flag)
    retrained = replace(cases, unlearned=answers["retrained"]) if "retrained" in answers else None
    return Side(cases, retrained, names, "record" in table, _INVENTED if invented else "", found["before"][1])


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
        sides[side] = read_side(files, inputs.answers, options.seed, prefix)
        digests |= files.digests(side)
    alone = "shadow" not in sides
    for side, part in sides.items():
        sides[side] = part.by_record(options.seed, 0.0 if alone else OVERLAP)
        if sides[side].sets:
            notes.append(_INSTEAD[sides[side].sets].format(flag="shadow_" if side == "shadow" else ""))
    target, shadow = sides["target"], sides.get("shadow")
    if shadow is not None:
        _check_sides(target, shadow)
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


# ---------------------------------------------------------------- parts


def read_table(path: Path, flag: str) -> dict[str, np.ndarray]:
    """Columns of a file by name; an npz array of two dimensions gives one column for each of its own."""
    import pandas as pd

    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{flag} {path}: larger than {_MOST_BYTES:,} bytes")
        if path.suffix == ".npz":
            return _npz(path)
        whole = path.suffix in (".parquet", ".pq")
        frame = pd.read_parquet(path) if whole else pd.read_csv(path, encoding="utf-8-sig")
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, pd.errors.ParserError) as error:
        raise UserError(f"{flag} {path} cannot be read ({error_text(error)})") from error
    frame.columns = [str(name).strip() for name in frame.columns]
    if not len(frame):
        raise UserError(f"{flag} {path} holds no rows")
    for name in frame.columns:
        if frame[name].dtype == object and frame[name].map(is_nested).any():
            raise UserError(f"{flag} {path}: column {name} holds lists; a cell is one value")
    return {name: frame[name].to_numpy() for name in frame.columns}


def _npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    found: dict[str, np.ndarray] = {}
    for name, values in arrays.items():
        if values.ndim == 1:
            found[name] = values
        elif values.ndim == 2:
            found |= {f"{name}{number}": column for number, column in enumerate(values.T)}
        else:
            raise ValueError(f"array {name} has {values.ndim} dimensions")
    if len({len(values) for values in found.values()}) > 1:
        raise ValueError("its arrays are not equally long")
    if not found or not len(next(iter(found.values()))):
        raise ValueError("it holds no rows")
    return found


def _answers(
    path: Path, kind: str, flag: str, count: int, cases: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, list[str]]:
    """Posteriors [m, c] of a file of answers, its rows in the order of the cases, and the names of its columns."""
    table = read_table(path, flag)
    for name in ("record", "set", "request"):
        if name in table and name in cases and not np.array_equal(table[name], cases[name]):
            raise UserError(
                f"{flag} {path}: its column {name} is not that of the cases; rows must be in the same order"
            )
    named = {name: values for name, values in table.items() if name not in _COLUMNS}
    if not named and kind == "labels" and "label" in table:
        named = {"label": table["label"]}
    for name, values in named.items():
        if len(named) > 1 and (name.startswith("Unnamed") or name in ("", "index") or _counts(values)):
            raise UserError(f"{flag} {path}: column {name!r} numbers the rows and is no answer; leave it out")
    columns = list(named.values())
    if not columns:
        hint = "; if label holds them, add --answers labels" if "label" in table else ""
        raise UserError(f"{flag} {path}: no column of answers; it holds {_listed(table)}{hint}")
    if len(columns[0]) != count:
        raise UserError(f"{flag} {path} has {len(columns[0]):,} rows, the cases {count:,}")
    try:
        values = np.column_stack([column.astype(np.float64) for column in columns])
    except ValueError as error:
        raise UserError(f"{flag} {path}: answers must be numbers ({error_text(error)})") from error
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise UserError(f"{flag} {path}: row {row + 1} holds NaN or infinity")
    classes = int(_whole(cases["label"], "--cases: label").max()) + 1
    return as_posteriors(values, kind, f"{flag} {path}", classes), list(named)


def _counts(values: np.ndarray) -> bool:
    """Whether a column does nothing but count its rows."""
    number = np.issubdtype(values.dtype, np.number)
    return bool(number and len(values) > 2 and (np.diff(values) == 1).all())


def row_flags(values: np.ndarray, where: str) -> np.ndarray:
    texts = {"1": 1, "true": 1, "yes": 1, "1.0": 1, "0": 0, "false": 0, "no": 0, "0.0": 0}
    distinct = {value: str(value).strip().lower() for value in np.unique(values.astype(str))}
    unknown = [value for value, text in distinct.items() if text not in texts]
    if unknown:
        raise UserError(f"{where}: deleted must be 0 or 1, found {str(unknown[0])!r}")
    lookup = {value: texts[text] for value, text in distinct.items()}
    return np.array([lookup[value] for value in values.astype(str)])


def _whole(values: np.ndarray, where: str) -> np.ndarray:
    try:
        numbers = values.astype(np.float64)
    except ValueError as error:
        raise UserError(f"{where} must be whole numbers from 0 ({error_text(error)})") from error
    if not np.isfinite(numbers).all() or (numbers != numbers.round()).any():
        raise UserError(f"{where} must be whole numbers from 0")
    return numbers.astype(np.int64)


def _paired(deleted: np.ndarray) -> np.ndarray:
    """Requests [m] where a file names none: the k-th deleted record and the k-th stranger make one."""
    found = np.empty(len(deleted), dtype=np.int64)
    for kind in (0, 1):
        rows = np.flatnonzero(deleted == kind)
        found[rows] = np.arange(len(rows))
    return found


def _numbered(values: np.ndarray, where: str) -> np.ndarray:
    """Numbers [m] in the place of names, in their order."""
    absent = np.flatnonzero([value is None or value != value for value in values.tolist()])
    if len(absent):
        raise UserError(f"{where}: row {absent[0] + 1} holds none")
    if values.dtype == object:
        values = values.astype(str)
    return np.unique(values, return_inverse=True)[1].ravel()


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


def _check_kinds(cases: PosteriorSet, path: Path, flag: str) -> None:
    for kind, name in ((1, "deleted records"), (0, "strangers")):
        if not (cases.member == kind).any():
            raise UserError(f"--{flag}cases {path}: no {name}; an attack is judged by telling both apart")
    lacking = [number for number in np.unique(cases.set) if len(np.unique(cases.member[cases.set == number])) < 2]
    if lacking:
        told = "set holds" if len(lacking) == 1 else "sets hold"
        raise UserError(f"--{flag}cases {path}: {len(lacking)} {told} only deleted records or only strangers")
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


def check_sizes(sets: np.ndarray, deleted: np.ndarray, where: str) -> None:
    """Raise `UserError` where cases are too few for their sets: controls put strangers in the deleted's place."""
    names, columns = np.unique(sets, return_inverse=True)
    strangers = np.bincount(columns, deleted == 0)
    if len(names) < _FEWEST_SETS or strangers.min() < _FEWEST_STRANGERS:
        raise UserError(
            f"{where}: {len(names)} sets, of {strangers.min():.0f} strangers at the least; an attack is judged by "
            f"{_FEWEST_SETS} sets of {_FEWEST_STRANGERS} strangers: name more, or join sets"
        )


def _check_columns(before: list[str], others: list[str], flag: str, name: str) -> None:
    """Refuse answers whose columns share names with those before, and not all of them in the same order."""
    if before != others and set(before) & set(others):
        raise UserError(
            f"--{flag}{name} has other columns than --before, or in another order ({', '.join(others[:4])}, not "
            f"{', '.join(before[:4])}); make them the same"
        )


def _check_sides(target: Side, shadow: Side) -> None:
    classes = [part.cases.original.shape[1] for part in (shadow, target)]
    if classes[0] != classes[1]:
        raise UserError(f"--shadow_before has {classes[0]} classes, --before {classes[1]}")
    _check_columns(target.columns, shadow.columns, "shadow_", "before")
    pairs = ((target.cases.original, shadow.cases.original), (target.cases.unlearned, shadow.cases.unlearned))
    if all(np.array_equal(*pair) for pair in pairs):
        raise UserError("--shadow_before and --before hold the same answers: nothing is judged on what it learned from")
    _check_apart(target, shadow)
    if (target.retrained is None) != (shadow.retrained is None):
        raise UserError("--retrained and --shadow_retrained: both sides are compared with retraining, or neither")


def _check_apart(target: Side, shadow: Side) -> None:
    """Refuse a shadow side that names the target's records: names that both use, always with the same label."""
    if not (target.named and shadow.named):
        return
    labels = [dict(zip(part.names.tolist(), part.cases.label.tolist(), strict=True)) for part in (target, shadow)]
    shared = labels[0].keys() & labels[1].keys()
    shares = np.bincount(list(labels[0].values())) / len(labels[0])
    by_chance = len(shared) * np.log(max((shares**2).sum(), 1e-12))
    if all(labels[0][name] == labels[1][name] for name in shared) and by_chance < np.log(_SURELY):
        raise UserError(
            f"--shadow_cases and --cases name {len(shared)} of the same records: nothing is judged on records that it "
            "learned from; name others, or, if these are others, by other names"
        )


def _check_order(cases: PosteriorSet, flag: str) -> None:
    """Refuse files that were named the wrong way round: forgetting does not make answers to the forgotten better."""
    column = cases.label[:, None]
    change = (np.take_along_axis(cases.unlearned, column, 1) - np.take_along_axis(cases.original, column, 1))[:, 0]
    gone, others = change[cases.member == 1], change[cases.member == 0]
    error = np.sqrt(sum(part.var() / len(part) for part in (gone, others))) + 1e-12
    if gone.mean() - others.mean() > _SWAPPED * error and gone.mean() > 0:
        raise UserError(
            f"--{flag}before and --{flag}after: the answers after the deletion fit the deleted records better than "
            "those before it; are the two files swapped?"
        )


def _listed(table: Mapping[str, Any]) -> str:
    names = list(table)
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")

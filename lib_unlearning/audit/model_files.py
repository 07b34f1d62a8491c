"""An audit of two models in files, joblib, pickle or ONNX, and a table that says who was deleted between them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.attack import (
    BOTH_VERSIONS,
    CLASS_ORDER,
    CLASSES,
    NUMBERS,
    ORIGINAL,
    POSTERIORS,
    View,
)
from lib_unlearning.audit.answer_table import read_table, row_flags
from lib_unlearning.audit.answers_file import evidence_of
from lib_unlearning.audit.directly import direct_notes
from lib_unlearning.audit.dossier import Dossier
from lib_unlearning.audit.evidence import Options
from lib_unlearning.audit.examine import conclude
from lib_unlearning.audit.foreign_models import LABELS, ModelFile, asked, load_model
from lib_unlearning.audit.order import check_order
from lib_unlearning.audit.probabilities import as_posteriors
from lib_unlearning.audit.records import Unit
from lib_unlearning.audit.side import INVENTED, Side, check_sizes, invented_sets
from lib_unlearning.cache.files import digest_file
from lib_unlearning.errors import LOGGER, UserError
from lib_unlearning.link import Identity, Softmax
from lib_unlearning.posterior import PosteriorSet
from lib_unlearning.readers.tables import plain_text
from lib_unlearning.seeds import spawn
from lib_unlearning.settings import AuditInputs
from lib_unlearning.wording import plural

_FEWEST = 10  # deleted records that an attack is judged by
_FEWEST_STRANGERS = 4
_SAME_FILES = "Both files are the same, byte by byte."
_OWN = 0.5  # share of the strangers that the adversary keeps as records of his own


@dataclass(frozen=True)
class People:
    """The table as it was read: features [N, d] as a data frame, the label's column [N], and `deleted` [N], 1 where a
    record was deleted, 0 where no version knew it."""

    frame: Any
    label: np.ndarray
    deleted: np.ndarray

    def with_columns(self, *names: tuple[str, ...] | None) -> People:
        """The same without columns that neither model was trained on, where both say on which they were."""
        if None in names:
            return self
        used = {name for part in names if part is not None for name in part}
        return replace(self, frame=self.frame[[name for name in self.frame if name in used]])


@dataclass(frozen=True)
class Table:
    """The records that both models are asked about.

    Attributes:
        frame: [N, d] features as a data frame. deleted: see `People`.
        labels: [N] positions among the classes, or the numbers of a regression, in its `unit`.
        classes: [c]; None for a regression. unit: of its numbers.
    """

    frame: Any
    labels: np.ndarray
    deleted: np.ndarray
    classes: np.ndarray | None
    unit: Unit | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Columns of every answer."""
        return 1 if self.classes is None else len(self.classes)

    @cached_property
    def numbers(self) -> np.ndarray | None:
        """[N, d] features as numbers; None where one of them is text, so that no record can be compared."""
        try:
            found = self.frame.to_numpy(dtype=np.float64)
        except (TypeError, ValueError):
            return None
        return found if np.isfinite(found).all() else None

    def rows(self, records: np.ndarray) -> np.ndarray:
        """Features of records [k] as numbers."""
        assert self.numbers is not None
        found: np.ndarray = self.numbers[records]
        return found


def audit_models(inputs: AuditInputs, options: Options) -> Dossier | str:
    """Audit `--model_before`, `--model_after` and `--table`; what can be said where too few records were deleted for an
    attack to be judged by.

    Raises:
        UserError: a file is missing, damaged, or not what it should be; a pickle is not trusted.
    """
    needed = {"--model_before": inputs.model_before, "--model_after": inputs.model_after, "--table": inputs.table}
    lacking = [name for name, path in needed.items() if path is None]
    if lacking:
        raise UserError(f"--exp audit: {', '.join(lacking)} missing; name both models and the table of records")
    assert inputs.model_before is not None
    assert inputs.model_after is not None
    assert inputs.table is not None
    paths = {"--model_before": inputs.model_before, "--model_after": inputs.model_after}
    kind = inputs.answers
    before, after = (load_model(path, flag, kind, inputs.trust) for flag, path in paths.items())
    after = after.in_order(before.classes, f"--model_after {inputs.model_after}")
    people = read_people(inputs.table, inputs.label).with_columns(before.names, after.names)
    named = [(model, f"{flag} {path}") for model, (flag, path) in zip((before, after), paths.items(), strict=True)]
    answers = [asked(model, people.frame, where, kind) for model, where in named]
    table = _table(people, (before, after), answers, kind, inputs.table)
    answers = [_checked(found, table, kind, where) for found, (_, where) in zip(answers, named, strict=True)]
    view, own = _view(table, answers, kind, options.seed)
    if not inputs.in_order:
        check_order(view.cases, "--model_before", "--model_after")
    directly = direct_notes(view, table, options.seed)
    deleted = int(view.cases.member.sum())
    if deleted < _FEWEST:
        few = f"No verdict: the table names {deleted} deleted, and {_FEWEST} are the fewest an attack is judged by."
        return " ".join([few, *directly])
    check_sizes(view.cases.set, view.cases.member, f"--table {inputs.table}")
    whole = Side(view.cases, None, view.cases.record, sets=INVENTED)
    whole = whole.alike_in_class(options.seed, "", f"--table {inputs.table}")
    evidence, notes = evidence_of(whole, None, options, view)
    digests = {name.lstrip("-"): digest_file(path) for name, path in needed.items() if path is not None}
    return Dossier(
        title=f"models {inputs.model_before} and {inputs.model_after}",
        settings={name: value for name, value in vars(inputs).items() if name not in ("pack", "show_ids")},
        digests=digests,
        evidence=evidence,
        options=options,
        examination=conclude(evidence, options),
        ids=evidence.cases["target"].record,
        notes=[
            f"{len(whole.cases):,} cases, {plural(int(whole.cases.member.sum()), 'deleted record')}; "
            f"{plural(own, 'stranger')} are the adversary's own. One "
            "pair of models was asked: cases were divided at random, as if they were independent.",
            _right(table, answers),
            *([_SAME_FILES] if digests["model_before"] == digests["model_after"] else []),
            *([whole.left_out] if whole.left_out else []),
            *notes,
            *directly,
        ],
    )


def _right(table: Table, answers: list[np.ndarray]) -> str:
    """How well both models know strangers: a table with its columns in another order, or other labels, is seen here."""
    rows = table.deleted == 0
    labels = table.labels[rows]
    if table.classes is None:
        spread = ((labels - labels.mean()) ** 2).sum() or 1.0
        told = [f"{1 - ((labels - found[rows, 0]) ** 2).sum() / spread:.3f}" for found in answers]
        return f"Of the strangers' variance, the models explain {' before and '.join(told)} after."
    told = [f"{(found[rows].argmax(axis=1) == labels).mean():.1%}" for found in answers]
    return f"The models are right on {' of the strangers before and '.join(told)} after."


# ---------------------------------------------------------------- answers


def _checked(found: np.ndarray, table: Table, kind: str, where: str) -> np.ndarray:
    """Predictions [N, 1], or posteriors [N, c]."""
    if table.unit is not None:
        if found.shape[1] != 1:
            raise UserError(f"{where}: {found.shape[1]} answers to each record, where numbers are asked for")
        return table.unit(found)
    assert table.classes is not None
    if kind == LABELS:
        found = _places(found[:, 0], table.classes, where)[:, np.newaxis].astype(np.float64)
    posteriors = as_posteriors(found, kind, where, table.num_classes)
    if posteriors.shape[1] != table.num_classes:
        raise UserError(
            f"{where}: {found.shape[1]} answers to each record, where {table.num_classes} classes are asked for"
        )
    return posteriors


# ---------------------------------------------------------------- records


def read_people(path: Path, label: str | None) -> People:
    """The table: features, the label's column, and `deleted` (0 or 1)."""
    import pandas as pd

    columns = read_table(path, "--table")
    if label is None:
        raise UserError(f"--table {path}: --label_column says which of its columns the models predict")
    missing = [name for name in (label, "deleted") if name not in columns]
    if missing:
        raise UserError(
            f"--table {path}: no column {' and no column '.join(missing)}; it holds {', '.join(list(columns)[:8])}. "
            "Needed are the features, the label (--label_column NAME) and deleted (1, or 0 for records that no "
            "version knew)"
        )
    columns[label] = _whole_labels(columns[label], path, label)
    columns = _without_twins(columns, path)
    deleted = row_flags(columns["deleted"], f"--table {path}")
    if len(np.unique(deleted)) < 2:
        raise UserError(f"--table {path}: {'no' if deleted.max() == 0 else 'only'} deleted records; both are needed")
    strangers = int((deleted == 0).sum())
    if strangers < _FEWEST_STRANGERS:
        raise UserError(
            f"--table {path}: {plural(strangers, 'stranger')} (deleted 0); at least {_FEWEST_STRANGERS} are needed, as "
            "half of them become the adversary's own"
        )
    frame = pd.DataFrame({name: part for name, part in columns.items() if name not in (label, "deleted")})
    return People(frame, columns[label], deleted)


def _whole_labels(labels: np.ndarray, path: Path, name: str) -> np.ndarray:
    """Labels [N] of which none is missing; NA and the like are a class's name where a table's cells say so."""
    import pandas as pd

    if not pd.isna(labels).any():
        return labels
    written = read_table(path, "--table", (name,))[name]
    missing = np.flatnonzero(pd.isna(written) | (written == ""))
    if len(missing) or written.dtype.kind not in "OUT":
        row = missing[0] if len(missing) else np.flatnonzero(pd.isna(labels))[0]
        raise UserError(f"--table {path}: row {row + 1} holds no {name}")
    return written


def _without_twins(columns: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """The table less the rows that equal another in every column, deleted records first: nobody could tell these apart,
    and an attack would be judged on what it learned from."""
    import pandas as pd

    deleted = row_flags(columns["deleted"], f"--table {path}") == 1
    rest = pd.DataFrame({name: part for name, part in columns.items() if name != "deleted"})
    rows = pd.util.hash_pandas_object(rest, index=False).to_numpy()
    order = np.argsort(~deleted, kind="stable")
    twins = np.ones(len(rows), dtype=bool)
    twins[order[np.unique(rows[order], return_index=True)[1]]] = False
    if not twins.any():
        return columns
    LOGGER.warning("--table %s: %s equal others and are left out", path, plural(int(twins.sum()), "row"))
    return {name: part[~twins] for name, part in columns.items()}


def _table(
    people: People, models: tuple[ModelFile, ModelFile], answers: list[np.ndarray], kind: str, path: Path
) -> Table:
    """The records with their labels, as what the models are says how these are to be read."""
    numeric = [_is_regression(model, found, people.label, kind) for model, found in zip(models, answers, strict=True)]
    if len(set(numeric)) > 1:
        raise UserError("--model_before and --model_after: one predicts numbers, the other classes")
    if numeric[0]:
        labels = _numbers(people.label, path)
        unit = Unit.of(labels)
        return Table(people.frame, unit(labels), people.deleted, None, unit)
    classes = models[0].classes
    known = np.unique(people.label) if classes is None else classes
    return Table(people.frame, _places(people.label, known, f"--table {path}"), people.deleted, known)


def _places(labels: np.ndarray, classes: np.ndarray, where: str) -> np.ndarray:
    """Positions [N] of labels among the classes, however they are spelled."""
    texts = {plain_text(value): number for number, value in enumerate(classes.tolist())}
    found = [texts.get(plain_text(value), -1) for value in labels.tolist()]
    if min(found) < 0:
        strange = labels[int(np.argmin(found))]
        raise UserError(f"{where}: label {plain_text(strange)!r} is none of the classes ({', '.join(texts)})")
    return np.array(found)


def _is_regression(model: ModelFile, answers: np.ndarray, labels: np.ndarray, kind: str) -> bool:
    """What a model, or the kind of its answers, says; else one column is the probability of a class if it can be."""
    if kind != "auto":
        return bool(model.regression)
    if model.regression is not None:
        return model.regression
    likely = bool(((answers >= 0) & (answers <= 1)).all()) and len(np.unique(labels.astype(str))) <= 2
    return answers.shape[1] == 1 and not likely


def _numbers(labels: np.ndarray, path: Path) -> np.ndarray:
    try:
        found = labels.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"--table {path}: the models predict numbers, the label's column holds others") from error
    if not np.isfinite(found).all():
        raise UserError(f"--table {path}: the label's column holds NaN or infinity")
    return found


def _view(table: Table, answers: list[np.ndarray], kind: str, seed: int) -> tuple[View, int]:
    """What the adversary sees: cases, and, where records are numbers and answers are not labels alone, what both models
    say of records of his own."""
    asks = table.numbers is not None and kind != LABELS
    gone, strangers = (np.flatnonzero(table.deleted == kind) for kind in (1, 0))
    strangers = spawn(seed, "the adversary's own strangers").permutation(strangers)
    own = strangers[: int(_OWN * len(strangers))] if asks else strangers[:0]
    records = np.sort(np.concatenate([gone, strangers[len(own) :]]))
    member = table.deleted[records]
    cases = PosteriorSet(
        answers[0][records],
        answers[1][records],
        member,
        records,
        table.labels[records],
        invented_sets(member, seed),
        np.zeros(len(records), dtype=np.int64),
    )
    columns = {NUMBERS} if table.classes is None else {CLASSES, CLASS_ORDER}
    link = Identity() if table.classes is None else Softmax()
    plain = View(cases, frozenset({POSTERIORS} | columns), candidates=records, link=link)
    if not asks:
        return plain, 0
    numbers = table.numbers
    assert numbers is not None
    return dataclasses.replace(
        plain,
        offers=plain.offers | BOTH_VERSIONS,
        answer=lambda _, version, which: answers[0 if version == ORIGINAL else 1][which],
        look_up=lambda which: numbers[which],
        label_of=table.labels.__getitem__,
        own=np.sort(own),
        set_size=len(gone),
    ), len(own)

"""An audit of two models in files, joblib, pickle or ONNX, and a table that says who was deleted between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
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
from lib_unlearning.audit.answers_file import Side, check_sizes, evidence_of, invented_sets, read_table, row_flags
from lib_unlearning.audit.directly import direct_notes
from lib_unlearning.audit.dossier import Dossier
from lib_unlearning.audit.examine import Options, conclude
from lib_unlearning.audit.probabilities import improbable
from lib_unlearning.cache.files import digest_file
from lib_unlearning.errors import UserError, error_text
from lib_unlearning.link import Identity, Softmax
from lib_unlearning.posterior import PosteriorSet
from lib_unlearning.readers.tables import plain_text
from lib_unlearning.seeds import spawn
from lib_unlearning.settings import AuditInputs
from lib_unlearning.wording import plural

_PICKLES = (".joblib", ".pkl", ".pickle")
_FEWEST = 10  # deleted records that an attack is judged by
_FEWEST_STRANGERS = 4
_OWN = 0.5  # share of the strangers that the adversary keeps as records of his own

# Features [k, d] as a data frame -> probabilities [k, c], or predictions [k] or [k, 1].
Predict = Callable[[Any], np.ndarray]


@dataclass(frozen=True)
class ModelFile:
    """A model that answers.

    Attributes:
        predict: see `Predict`.
        classes: [c] labels that the columns of its answers stand for; None where it does not say.
        regression: whether it predicts numbers; None where only its answers tell.
    """

    predict: Predict
    classes: np.ndarray | None
    regression: bool | None = False


@dataclass(frozen=True)
class People:
    """The table as it was read: features [N, d] as a data frame, the label's column [N], and `deleted` [N], 1 where a
    record was deleted, 0 where no version knew it."""

    frame: Any
    label: np.ndarray
    deleted: np.ndarray


@dataclass(frozen=True)
class Table:
    """The records that both models are asked about.

    Attributes:
        frame: [N, d] features as a data frame. deleted: see `People`.
        labels: [N] positions among the classes, or the numbers of a regression.
        classes: [c]; None for a regression.
    """

    frame: Any
    labels: np.ndarray
    deleted: np.ndarray
    classes: np.ndarray | None

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
    before, after = (load_model(path, flag, inputs.trust) for flag, path in paths.items())
    after = _in_order(after, before.classes, inputs.model_after)
    people = read_people(inputs.table, inputs.label)
    answers = [
        _asked(model, people.frame, f"{flag} {path}")
        for model, (flag, path) in zip((before, after), paths.items(), strict=True)
    ]
    table = _table(people, (before, after), answers, inputs.table)
    answers = [
        _checked(found, table, f"{flag} {path}") for found, (flag, path) in zip(answers, paths.items(), strict=True)
    ]
    view, own = _view(table, answers, options.seed)
    directly = direct_notes(view, table, options.seed)
    deleted = int(view.cases.member.sum())
    if deleted < _FEWEST:
        few = f"No verdict: the table names {deleted} deleted, and {_FEWEST} are the fewest an attack is judged by."
        return " ".join([few, *directly])
    check_sizes(view.cases.set, view.cases.member, f"--table {inputs.table}")
    whole = Side(view.cases, None, view.cases.record, invented=True)
    evidence, notes = evidence_of(whole, None, options, view)
    return Dossier(
        title=f"models {inputs.model_before} and {inputs.model_after}",
        settings={name: value for name, value in vars(inputs).items() if name not in ("pack", "show_ids")},
        digests={name.lstrip("-"): digest_file(path) for name, path in needed.items() if path is not None},
        evidence=evidence,
        options=options,
        examination=conclude(evidence, options),
        ids=evidence.cases["target"].record,
        notes=[
            f"{len(view.cases):,} cases, {deleted:,} deleted records; {own:,} strangers are the adversary's own. One "
            "pair of models was asked: cases were divided at random, as if they were independent.",
            *notes,
            *directly,
        ],
    )


# ---------------------------------------------------------------- models


def _in_order(model: ModelFile, classes: np.ndarray | None, path: Path) -> ModelFile:
    """A model with its answers in the order of the other one's classes; raises `UserError` where these differ."""
    if classes is None or model.classes is None or np.array_equal(classes, model.classes):
        return model
    own = [str(value) for value in model.classes.tolist()]
    wanted = [str(value) for value in classes.tolist()]
    if sorted(own) != sorted(wanted):
        raise UserError(
            f"--model_after {path}: its classes are {', '.join(own)}, the other model's {', '.join(wanted)}"
        )
    order = [own.index(value) for value in wanted]
    return dataclasses.replace(model, predict=lambda frame: model.predict(frame)[:, order], classes=classes)


def load_model(path: Path, flag: str, trust: bool) -> ModelFile:
    """A model in a file; raises `UserError` where that cannot be opened, or would run what a stranger wrote."""
    if not path.is_file():
        raise UserError(f"{flag} {path}: there is no such file")
    if path.suffix == ".onnx":
        return _onnx(path, flag)
    if path.suffix not in _PICKLES:
        raise UserError(f"{flag} {path}: not one of .onnx, {', '.join(_PICKLES)}")
    if not trust:
        raise UserError(
            f"{flag} {path}: opening a pickle runs whatever its maker put there; add --trust true if you trust him, or "
            "save the model as ONNX"
        )
    import joblib

    try:
        model = joblib.load(path)
    except ModuleNotFoundError as error:
        raise UserError(f"{flag} {path}: it was made with {error.name}, which is not installed here") from error
    except Exception as error:  # unpickling may do anything
        raise UserError(f"{flag} {path} cannot be opened ({error_text(error)})") from error
    classes = getattr(model, "classes_", None)
    regression = not hasattr(model, "predict_proba")
    if regression and (classes is not None or not hasattr(model, "predict")):
        raise UserError(f"{flag} {path}: a {type(model).__name__} has no predict_proba")
    ask = model.predict if regression else model.predict_proba
    named = hasattr(model, "feature_names_in_")
    return ModelFile(
        lambda frame: ask(frame if named else frame.to_numpy()),
        None if classes is None else np.asarray(classes),
        regression,
    )


def _onnx(path: Path, flag: str) -> ModelFile:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise UserError(f"{flag} {path}: needs the package onnxruntime; run: pip install onnxruntime") from error
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has errors of its own
        raise UserError(f"{flag} {path} cannot be opened ({error_text(error)})") from error
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise UserError(f"{flag} {path}: it has {len(inputs)} inputs; one matrix of features is expected")
    kind = np.float64 if "double" in inputs[0].type else np.float32

    def predict(frame: Any) -> np.ndarray:
        found = session.run(None, {inputs[0].name: frame.to_numpy(dtype=kind)})[-1]
        rows = [list(row.values()) for row in found] if isinstance(found, list) else found
        return np.asarray(rows, dtype=np.float64)

    return ModelFile(predict, None, None)


def _asked(model: ModelFile, frame: Any, where: str) -> np.ndarray:
    """Answers [N, c] to a table: probabilities, or one column of anything."""
    try:
        found = np.asarray(model.predict(frame), dtype=np.float64)
    except Exception as error:  # it is anybody's
        raise UserError(f"{where} cannot answer the table ({type(error).__name__}: {error_text(error)})") from error
    if found.ndim not in (1, 2) or len(found) != len(frame):
        raise UserError(f"{where}: answers of shape {found.shape} to {len(frame):,} records")
    if not np.isfinite(found).all():
        raise UserError(f"{where}: its answers are not all finite numbers")
    return found.reshape(len(frame), -1)


def _checked(found: np.ndarray, table: Table, where: str) -> np.ndarray:
    """Predictions [N, 1], or probabilities [N, c], where one column is the probability of the second of two classes."""
    if table.classes is not None and found.shape[1] == 1:
        found = np.hstack([1 - found, found])
    if found.shape[1] != table.num_classes:
        kind = "numbers" if table.classes is None else f"{table.num_classes} classes"
        raise UserError(f"{where}: {found.shape[1]} answers to each record, where {kind} are asked for")
    if table.classes is None:
        return found
    if len(improbable(found)):
        raise UserError(f"{where}: its answers are no probabilities that sum to 1")
    return np.asarray(np.clip(found, 0, 1))


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
    deleted = row_flags(columns["deleted"], f"--table {path}")
    if len(np.unique(deleted)) < 2:
        raise UserError(f"--table {path}: {'no' if deleted.max() == 0 else 'only'} deleted records; both are needed")
    strangers = int((deleted == 0).sum())
    if strangers < _FEWEST_STRANGERS:
        raise UserError(
            f"--table {path}: {plural(strangers, 'stranger')} (deleted 0); at least {_FEWEST_STRANGERS} are needed, as "
            "half of them become the adversary's own"
        )
    missing_label = np.flatnonzero(pd.isna(columns[label]))
    if len(missing_label):
        raise UserError(f"--table {path}: row {missing_label[0] + 1} holds no {label}")
    frame = pd.DataFrame({name: part for name, part in columns.items() if name not in (label, "deleted")})
    return People(frame, columns[label], deleted)


def _table(people: People, models: tuple[ModelFile, ModelFile], answers: list[np.ndarray], path: Path) -> Table:
    """The records with their labels, as what the models are says how these are to be read."""
    kinds = [_is_regression(model, found, people.label) for model, found in zip(models, answers, strict=True)]
    if len(set(kinds)) > 1:
        raise UserError("--model_before and --model_after: one predicts numbers, the other classes")
    if kinds[0]:
        return Table(people.frame, _numbers(people.label, path), people.deleted, None)
    classes = models[0].classes
    known = np.unique(people.label) if classes is None else classes
    texts = {plain_text(value): number for number, value in enumerate(known.tolist())}
    found = [texts.get(plain_text(value), -1) for value in people.label.tolist()]
    if min(found) < 0:
        strange = people.label[int(np.argmin(found))]
        raise UserError(
            f"--table {path}: label {plain_text(strange)!r} is none of the models' classes ({', '.join(texts)})"
        )
    return Table(people.frame, np.array(found), people.deleted, known)


def _is_regression(model: ModelFile, answers: np.ndarray, labels: np.ndarray) -> bool:
    """What a model says of itself; where it does not, one column is the probability of a class only if it can be."""
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


def _view(table: Table, answers: list[np.ndarray], seed: int) -> tuple[View, int]:
    """What the adversary sees: cases, and where records are numbers also what both models say of records of his own."""
    gone, strangers = (np.flatnonzero(table.deleted == kind) for kind in (1, 0))
    strangers = spawn(seed, "the adversary's own strangers").permutation(strangers)
    own = strangers[: int(_OWN * len(strangers))] if table.numbers is not None else strangers[:0]
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
    kind = {NUMBERS} if table.classes is None else {CLASSES, CLASS_ORDER}
    link = Identity() if table.classes is None else Softmax()
    plain = View(cases, frozenset({POSTERIORS} | kind), candidates=records, link=link)
    if table.numbers is None:
        return plain, 0
    numbers = table.numbers
    return dataclasses.replace(
        plain,
        offers=plain.offers | BOTH_VERSIONS,
        answer=lambda _, version, which: answers[0 if version == ORIGINAL else 1][which],
        look_up=lambda which: numbers[which],
        label_of=table.labels.__getitem__,
        own=np.sort(own),
        set_size=len(gone),
    ), len(own)

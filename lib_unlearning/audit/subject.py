"""What is audited: a model that can be trained, and a way to make it forget."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lib_unlearning.audit.probabilities import improbable
from lib_unlearning.audit.records import Records
from lib_unlearning.errors import UserError, error_text
from lib_unlearning.seeds import integer_seed
from lib_unlearning.training.tasks import Trainer, TrainingTask
from lib_unlearning.unlearning.base import Deletion, Ensemble, UnlearningMethod, Work
from lib_unlearning.unlearning.sharded import Retraining

_WITH_SEED = 3  # arguments of an own unlearn(X, y, seed)
# (model, (X, y) to keep, (X, y) to forget, seed) -> model that has forgotten
Unlearn = Callable[[Any, tuple[Any, np.ndarray], tuple[Any, np.ndarray], int], Any]


class Answering:
    """A trained model as the library asks it: posteriors in the order of the data's classes, or predictions [m, 1] in
    the labels' unit."""

    facts: Mapping[str, Any] = {}

    def __init__(self, model: Any, records: Records) -> None:
        self.model = model
        self._classes, self._unit = records.classes, records.unit

    def predict_proba(self, features: Any) -> np.ndarray:
        """Answers [m, c]; raises `UserError` when they are no probabilities."""
        asked = features.shape[0] if hasattr(features, "shape") else len(features)
        if self._unit is not None:
            return self._unit(_finite(self._ask("predict", features, asked).reshape(-1, 1)))
        assert self._classes is not None
        given = self._ask("predict_proba", features, asked)
        if given.ndim == 1:
            given = np.column_stack([1 - given, given])
        known = getattr(self.model, "classes_", None)
        if known is None and given.shape[1] != len(self._classes):
            raise UserError(
                f"predict_proba gives {given.shape[1]} columns for {len(self._classes)} classes; a model that may lack "
                "one says in classes_ which it has"
            )
        places = np.arange(given.shape[1]) if known is None else _places(known, self._classes)
        if given.shape[1] != len(places) or len(places) > len(self._classes):
            raise UserError(f"predict_proba gives {given.shape[1]} columns for {len(self._classes)} classes")
        answers = np.zeros((len(given), len(self._classes)))
        answers[:, places] = _finite(given)
        if len(improbable(answers)):
            raise UserError("predict_proba gives no probabilities: rows must be non-negative and sum to 1")
        return np.clip(answers, 0, 1)

    def _ask(self, method: str, features: Any, asked: int) -> np.ndarray:
        """Answers of a user's model, which raises what it likes."""
        try:
            found = getattr(self.model, method)(features)
        except (UserError, MemoryError):
            raise
        except Exception as error:
            raise UserError(f"{method} of {type(self.model).__name__} fails ({_error_told(error)})") from error
        return _for_each(found, asked, method)


def _error_told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error_text(error)}"


def _places(known: Any, classes: np.ndarray) -> np.ndarray:
    """Columns of a model's classes among the data's; a model that was given class numbers knows these."""
    found: np.ndarray = np.asarray(known)
    if np.isin(found, classes).all():
        return np.asarray(np.searchsorted(classes, found))
    return found.astype(int)


def _for_each(answers: Any, asked: int, method: str) -> np.ndarray:
    """Answers as an array, one a record that was asked about."""
    try:
        if np.iscomplexobj(answers):
            raise TypeError
        found = np.asarray(answers, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{method} answers with {type(answers).__name__}, not with numbers") from None
    single = found.ndim == 2 and found.shape[1] == 1
    if found.ndim not in (1, 2) or len(found) != asked or (method == "predict" and found.ndim == 2 and not single):
        raise UserError(f"{method} was asked about {asked} records and answers with the shape {found.shape}")
    return found


def _finite(answers: np.ndarray) -> np.ndarray:
    if not np.isfinite(answers).all():
        raise UserError("the model answers with NaN or infinity")
    return answers


def described(model: Any) -> str:
    """A model's class and those parameters that are not its defaults; of texts and collections, which may hold data, no
    more than their kind."""
    if not hasattr(model, "get_params"):
        return type(model).__name__
    usual = inspect.signature(type(model)).parameters
    shown = []
    for name, value in sorted(model.get_params(deep=False).items()):
        default = usual[name].default if name in usual else inspect.Parameter.empty
        told = _told(value, isinstance(default, str))
        if told != _told(default, True):
            shown.append(f"{name}={told}")
    return f"{type(model).__name__}({', '.join(shown)})"


def _told(value: Any, may_be_text: bool) -> str:
    if isinstance(value, bool | int | float | np.number | type(None)):
        return repr(value)
    if isinstance(value, str) and may_be_text:
        return repr(value)
    if hasattr(value, "get_params") and not isinstance(value, type):
        return described(value)
    if isinstance(value, list | tuple) and value and all(_is_step(part) for part in value):
        return f"[{', '.join(described(part[1]) for part in value)}]"
    return f"<{type(value).__name__}>"


def _is_step(value: Any) -> bool:
    """Whether this is one of a pipeline's or a column transformer's steps."""
    return isinstance(value, tuple) and len(value) > 1 and hasattr(value[1], "get_params")


class SubjectTrainer(Trainer):
    """Trains copies of a user's model.

    Args:
        model: scikit-learn's interface, or an own `fit(X, y, seed)` with `predict_proba(X)` or `predict(X)`.
    """

    def __init__(self, model: Any, records: Records) -> None:
        self.dataset = records
        self.records = records
        self.title = type(model).__name__
        self._model = model
        self._takes_seed = "seed" in inspect.signature(model.fit).parameters

    def fit(self, tasks: Sequence[TrainingTask]) -> list[Any]:
        """One trained copy a task."""
        self.check(tasks)
        return [self._fit_one(task) for task in tasks]

    def _fit_one(self, task: TrainingTask) -> Answering:
        features, target = self.records.rows(task.records), self.records.target[task.records]
        model = _copied(self._model) if self._takes_seed else _seeded(self._model, task.seed)
        try:
            seed = {"seed": task.seed} if self._takes_seed else {}
            model = model.fit(features, target, **seed) or model
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # a user's model raises what it likes
            one = self.records.classes is not None and len(np.unique(target)) < 2
            mend = "; a set holds one class only: raise set_size, or leave rare classes out" if one else ""
            raise UserError(
                f"{self.title} cannot be trained on {len(target):,} records ({error_text(error)}){mend}"
            ) from error
        return Answering(model, self.records)


def _copied(model: Any) -> Any:
    try:
        return copy.deepcopy(model)
    except Exception as error:  # of a lock, a file, a session
        raise UserError(f"{type(model).__name__} cannot be copied ({_error_told(error)})") from error


def _seeded(model: Any, seed: int) -> Any:
    """A fresh copy of an estimator, all of whose random states (a pipeline's steps included) come from a seed."""
    from sklearn.base import clone

    if not hasattr(model, "get_params"):
        raise UserError(
            f"{type(model).__name__} is no scikit-learn estimator and its fit takes no seed: fit(X, y, seed)"
        )
    fresh = clone(model)
    names = [name for name in fresh.get_params() if name == "random_state" or name.endswith("__random_state")]
    return fresh.set_params(**{name: integer_seed(seed, name) for name in names})


class OwnUnlearning(UnlearningMethod):
    """A user's own way to forget: a function, or the model's own `unlearn(X, y)` or `unlearn(model, keep, forget,
    seed)`."""

    def __init__(self, unlearn: Unlearn | None, records: Records) -> None:
        super().__init__(None, records)
        self._unlearn = unlearn
        self._records = records

    def work(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> Work:
        """Train the original, then let it forget each deletion, from a copy of it each time."""
        (original,) = yield [TrainingTask(records, integer_seed(seed, "shard", 0))]
        unlearned = []
        for deletion in deletions:
            kept = records[~np.isin(records, deletion.records)]
            model = self._forget(_copied(original.model), kept, deletion.records, deletion.seed or seed)
            unlearned.append(Ensemble([Answering(model, self._records)], [kept]))
        return Ensemble([original], [records]), unlearned

    def _forget(self, model: Any, kept: np.ndarray, gone: np.ndarray, seed: int) -> Any:
        keep, forget = ((self._records.rows(part), self._records.target[part]) for part in (kept, gone))
        try:
            found = self._called(model, keep, forget, seed)
        except (UserError, MemoryError):
            raise
        except (Exception, SystemExit) as error:  # a user's function raises what it likes
            raise UserError(f"unlearn fails ({_error_told(error)})") from error
        needed = "predict" if self._records.classes is None else "predict_proba"
        if not hasattr(found, needed):
            raise UserError(f"unlearn gives {type(found).__name__}, not a model with {needed}")
        return found

    def _called(self, model: Any, keep: tuple[Any, np.ndarray], forget: tuple[Any, np.ndarray], seed: int) -> Any:
        if self._unlearn is not None:
            return self._unlearn(model, keep, forget, seed)
        needed = _needed(model.unlearn)
        if needed == _WITH_SEED:
            return model.unlearn(*forget, seed) or model
        return (model.unlearn(*forget) if needed < _WITH_SEED else model.unlearn(model, keep, forget, seed)) or model


def _needed(method: Any) -> int:
    """Arguments that a method cannot do without."""
    parameters = inspect.signature(method).parameters.values()
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(part.kind in plain and part.default is inspect.Parameter.empty for part in parameters)


def forgetting(unlearn: str | Unlearn, model: Any, records: Records) -> UnlearningMethod:
    """The unlearning method that a user asks for: "retrain", "own", "nothing", or a function (see `Unlearn`)."""
    if unlearn == "retrain":
        return Retraining(None, records)
    if unlearn == "nothing":
        return OwnUnlearning(lambda fitted, keep, forget, seed: fitted, records)
    if unlearn == "own":
        if not hasattr(model, "unlearn"):
            raise UserError(f'unlearn="own": {type(model).__name__} has no method unlearn(X, y)')
        return OwnUnlearning(None, records)
    if callable(unlearn):
        return OwnUnlearning(unlearn, records)
    raise UserError(f"unlearn={unlearn!r}: retrain, own, nothing, or a function (model, keep, forget, seed) -> model")

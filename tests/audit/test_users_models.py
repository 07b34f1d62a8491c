"""What users bring may be anything: functions that fail, models that are another one each time, tables turned round."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import check_is_fitted

from lib_unlearning import DeletionAudit
from lib_unlearning.audit import deletion_audit
from lib_unlearning.audit.order import check_order
from lib_unlearning.audit.records import Records
from lib_unlearning.errors import UserError
from lib_unlearning.posterior import PosteriorSet
from tests.audit.doors import audit, audited, two_models

SMALL: dict[str, Any] = {"n_sets": 4, "n_requests": 6, "attacks": "paper", "attack_model": "LR", "own_models": 0}


def table() -> tuple[np.ndarray, np.ndarray]:
    features, labels = load_breast_cancer(return_X_y=True)
    return features[:, :5], labels


class TwoPartError(Exception):
    """Cannot be made again from its message, as pickle does."""

    def __init__(self, device: str, state: int) -> None:
        super().__init__(f"{device} is in state {state}")


def lost(*given: Any) -> Any:
    raise TwoPartError("your GPU", 3)


class WithSeed(DecisionTreeClassifier):
    """Unlearns by `unlearn(X, y, seed)`."""

    def unlearn(self, features: np.ndarray, labels: np.ndarray, seed: int) -> None:
        self.seen_ = seed


class Answerless(BaseEstimator):
    def predict(self, features: np.ndarray) -> np.ndarray:
        return np.zeros(len(features))


class Restless(ClassifierMixin, BaseEstimator):
    """Another model each time that it is trained."""

    trained = 0

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Restless:
        type(self).trained += 1
        self.classes_ = np.unique(labels)
        self.lean_ = np.random.default_rng(type(self).trained).uniform(0.3, 0.7)
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        return np.tile([1 - self.lean_, self.lean_], (len(features), 1))


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_that_cannot_travel_is_told(jobs: int) -> None:
    with pytest.raises((UserError, RuntimeError), match="your GPU is in state 3"):
        DeletionAudit(DecisionTreeClassifier(), unlearn=lost, n_jobs=jobs, **SMALL).fit(*table())


@pytest.mark.parametrize(
    ("unlearn", "complaint"),
    [
        (lambda model: model, "unlearn fails .TypeError"),
        (lambda *given: Answerless(), "gives Answerless, not a model with predict_proba"),
        (lambda *given: LogisticRegression(), "predict_proba of LogisticRegression fails .NotFittedError"),
        (np.array([1, 2]), "unlearn=ndarray"),
        (3, "unlearn=int"),
    ],
)
def test_functions_that_do_not_unlearn_are_one_line(unlearn: Any, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as raised:
        DeletionAudit(DecisionTreeClassifier(), unlearn=unlearn, n_jobs=1, **SMALL).fit(*table())
    assert "\n" not in str(raised.value)


class Locked(DecisionTreeClassifier):
    """Cannot be copied once it is trained."""

    def fit(self, features: np.ndarray, labels: np.ndarray, *more: Any) -> Locked:
        super().fit(features, labels)
        self.lock_ = threading.Lock()
        return self


@pytest.mark.parametrize(
    ("model", "unlearn", "complaint"),
    [
        (Locked(), lambda model, *more: model, "Locked cannot be copied .TypeError"),
        (DecisionTreeClassifier(), lambda *given: sys.exit(), "unlearn fails .SystemExit"),
    ],
)
def test_models_that_cannot_be_copied_and_functions_that_leave(model: Any, unlearn: Any, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        DeletionAudit(model, unlearn=unlearn, n_jobs=1, **SMALL).fit(*table())


def test_an_own_unlearn_may_take_a_seed() -> None:
    found = DeletionAudit(WithSeed(), unlearn="own", n_jobs=1, **SMALL).fit(*table())
    assert found.verdict_ == "leaks"  # nothing was forgotten


def test_a_model_that_is_another_one_each_time_is_said_to_be() -> None:
    found = DeletionAudit(Restless(), n_jobs=1, **SMALL).fit(*table())
    assert "another one when it is made again from the same seed" in " ".join(found.dossier_.notes)

    def restless(model: Any, keep: Any, forget: Any, seed: int) -> Any:
        return Restless().fit(*keep)

    found = DeletionAudit(LogisticRegression(max_iter=1000), unlearn=restless, n_jobs=1, **SMALL).fit(*table())
    assert "made again from the same seed" in " ".join(found.dossier_.notes)
    for unlearn in ("retrain", "nothing"):
        steady = DeletionAudit(DecisionTreeClassifier(), unlearn=unlearn, n_jobs=1, **SMALL).fit(*table())
        assert "made again" not in " ".join(steady.dossier_.notes)


def test_an_audit_that_did_not_end_is_not_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*given: Any) -> Any:
        raise MemoryError

    whole = DeletionAudit(DecisionTreeClassifier(), n_jobs=1, **SMALL).fit(*table())
    before = whole.dossier_
    fresh = DeletionAudit(DecisionTreeClassifier(), n_jobs=1, **SMALL)
    monkeypatch.setattr(deletion_audit, "examine", no_memory)
    for broken in (fresh, whole):
        with pytest.raises(MemoryError):
            broken.fit(*table())
    with pytest.raises(NotFittedError):
        check_is_fitted(fresh)
    assert whole.dossier_ is before


def test_a_table_has_a_digest_of_its_own() -> None:
    frame = pd.DataFrame({"town": ["Bern", "Basel", "Bern", "Genf"], "age": [0.0, 1.0, np.nan, 3.0]})
    labels = np.array(["a", "b", "a", "b"])
    others = [
        (frame.assign(town=["B", "Basel", "B", "Genf"]), labels),
        (frame.assign(age=[0.0, 1.0, 0.0, 3.0]), labels),
        (frame.rename(columns={"age": "years"}), labels),
        (frame, np.array(["a", "c", "a", "c"])),
        (frame.assign(age=[0.0, 1.0, np.nan, np.inf]), labels),
    ]
    digests = [Records.of(*pair).digest for pair in [(frame, labels), (frame.copy(), labels.copy()), *others]]
    assert digests[0] == digests[1]
    assert len(set(digests)) == len(digests) - 1
    wide = [csr_matrix(([1.0, 2.0], [0, 1], ends), shape=(4, 6000)) for ends in ([0, 1, 2, 2, 2], [0, 0, 1, 2, 2])]
    assert len({Records.of(part, labels).digest for part in wide}) == 2


def test_swapped_versions_of_which_most_answers_are_the_same_are_told() -> None:
    """As of full trees, and of labels alone."""
    rng = np.random.default_rng(0)
    member, label = np.repeat([1, 0], [100, 200]), rng.integers(0, 2, 300)
    right = rng.random(300) < 0.75
    later = right | ((member == 1) & (rng.random(300) < 0.9))
    before, after = (np.eye(2)[np.where(part, label, 1 - label)] for part in (right, later))
    numbers = np.arange(300)
    with pytest.raises(UserError, match="swapped"):
        check_order(PosteriorSet(before, after, member, numbers, label, numbers % 5, numbers), "before", "after")
    check_order(PosteriorSet(after, before, member, numbers, label, numbers % 5, numbers), "before", "after")


def test_columns_find_their_names_and_what_models_know_is_said(tmp_path: Path) -> None:
    flags = [*two_models(tmp_path, 20), "--trust"]
    told = audited(tmp_path, *flags, code=4)
    assert "The models are right on" in told["told"]
    people = pd.read_csv(tmp_path / "people.csv")
    people[people.columns[::-1]].assign(number=np.arange(len(people)) * 3.7, note="text").to_csv(
        tmp_path / "people.csv", index=False
    )
    again = audited(tmp_path, *flags, code=4)
    assert again["attacks"]["label_logit"] == told["attacks"]["label_logit"]
    assert "; 300 strangers are the adversary's own" in again["told"]
    people.drop(columns="debt").to_csv(tmp_path / "people.csv", index=False)
    assert "the table has no column debt" in audit(tmp_path, *flags, code=2)
    people.to_csv(tmp_path / "people.csv", index=False)
    shutil.copy(tmp_path / "before.joblib", tmp_path / "after.joblib")
    same = audited(tmp_path, *flags, code=4)
    assert "Both files are the same, byte by byte." in same["told"]
    assert "narrow the intervals" not in same["told"]

"""`DeletionAudit`: verdicts that constructions imply, kinds of data and models, what is refused."""

from __future__ import annotations

import io
import json
import re
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_classification
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from lib_unlearning import DeletionAudit, DeletionLeakError
from lib_unlearning.attack import View
from lib_unlearning.attacks.choice import chosen_attack
from lib_unlearning.audit.controls import FAILED, NOT_JUDGED, PASSED, Control
from lib_unlearning.audit.dossier import controls_told
from lib_unlearning.audit.examine import _overall, conclude
from lib_unlearning.audit.pack import verify_pack, write_pack
from lib_unlearning.audit.questions import Question, _alike_so_far, relative
from lib_unlearning.errors import UserError
from lib_unlearning.posterior import PosteriorSet
from lib_unlearning.statistics.intervals import Estimate, interval
from tests.audit.packs import parts_of, put_together

SMALL: dict[str, Any] = {"n_sets": 5, "n_requests": 8, "attacks": "paper", "attack_model": "LR", "n_jobs": 1}


def cancer() -> tuple[np.ndarray, np.ndarray]:
    features, target = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(features), target


class Forgetful(LogisticRegression):
    """Forgets by one step of gradient ascent, as its own `unlearn` says."""

    def unlearn(self, features: np.ndarray, target: np.ndarray) -> Forgetful:
        error = self.predict_proba(features)[:, 1] - target
        self.coef_: Any = np.asarray(self.coef_) + 30 * (error @ features)
        return self


def retrain(model: Any, keep: Any, forget: Any, seed: int) -> Any:
    return clone(model).fit(*keep)


def to_noise(model: Any, keep: Any, forget: Any, seed: int) -> Any:
    class Noise:
        classes_ = model.classes_

        def predict_proba(self, features: np.ndarray) -> np.ndarray:
            return np.random.default_rng(seed).dirichlet([1, 1], len(features))

    return Noise()


# ---------------------------------------------------------------- verdicts


def test_retraining_a_linear_model_leaks(tmp_path: Path) -> None:
    records = make_classification(2400, 20, n_informative=10, random_state=0)  # strangers enough to name records
    audit = DeletionAudit(LogisticRegression(), n_sets=6, n_requests=12, attack_model="RF", n_jobs=2, set_size=100)
    assert audit.fit(*records).verdict_ == "leaks"
    assert audit.auc_ > 0.85
    low, high = audit.interval_
    assert low is not None
    assert high is not None
    assert low <= audit.auc_ <= high
    assert {control.outcome for control in audit.examination_.controls} == {PASSED}
    scores = audit.scores_
    assert scores["deleted"].sum() == 6 * 12
    assert scores[scores["exposed"]]["deleted"].mean() > 0.9
    with pytest.raises(DeletionLeakError, match="shows to whoever asks both versions, more than its margin"):
        audit.check()
    named = audit.to_html(tmp_path / "named.html", show_ids=True).read_text(encoding="utf-8")
    assert f"<td>{scores.sort_values('score')['id'].iloc[-1]}</td>" in named


def test_doing_nothing_is_seen() -> None:
    audit = DeletionAudit(LogisticRegression(), unlearn="nothing", **SMALL).fit(*cancer())
    assert audit.verdict_ == "leaks"
    assert "nothing was deleted" in audit.summary()


def test_retraining_is_equivalent_to_retraining() -> None:
    audit = DeletionAudit(LogisticRegression(), unlearn=retrain, **SMALL | {"n_sets": 12, "n_requests": 12}, margin=0.1)
    audit.fit(*cancer())
    assert {question.verdict for question in audit.examination_.questions} == {"equivalent"}
    assert audit.verdict_ == "equivalent"
    audit.check()


def test_noise_is_no_leak_and_not_equivalent() -> None:
    audit = DeletionAudit(LogisticRegression(), unlearn=to_noise, **SMALL).fit(*cancer())
    assert audit.verdict_ == "undecided"
    assert "told from retrained" in audit.summary()


def test_ascent_that_goes_too_far_leaks_more_than_retraining() -> None:
    """What answers wildly about a record gives it away: the unlearned model alone does."""
    sizes = {"n_sets": 12, "n_requests": 12, "attack_model": "RF"}
    audit = DeletionAudit(Forgetful(C=0.01), unlearn="own", **SMALL | sizes).fit(*cancer())
    assert audit.verdict_ == "undecided"  # 144 deletions do not settle a margin of 0.05
    assert audit.still_there_.value > 0.6
    found = next(question for question in audit.examination_.questions if question.name == "still there")
    assert found.difference is not None
    assert found.difference.value > 0.1
    assert found.measured.low is not None
    assert found.measured.low > 0.5


def test_the_reference_is_the_same_whatever_is_audited() -> None:
    """Retrained models are attacked with their own answers, and own models that are retrained."""
    sizes = SMALL | {"attacks": "all", "own_models": 0}
    found = [DeletionAudit(LogisticRegression(), unlearn=how, **sizes).fit(*cancer()) for how in (retrain, "nothing")]
    shows = [audit.examination_.questions[0].reference for audit in found]
    assert shows[0] == shows[1]


def test_answers_that_do_not_change_are_no_leak_by_themselves() -> None:
    audit = DeletionAudit(DummyClassifier(strategy="most_frequent"), **SMALL).fit(*cancer())
    assert audit.examination_.silent
    assert audit.verdict_ == "undecided"
    assert "answered alike in every case" in audit.summary()
    assert [part.verdict for part in audit.examination_.questions if part.name.startswith("shows")] == ["alike"]


def test_differences_by_hand() -> None:
    assert relative(interval(0.2, 0.03, 9, -1, 1), 0.05) == "leaks"
    assert relative(interval(0.0, 0.01, 9, -1, 1), 0.05) == "equivalent"
    assert relative(interval(0.0, 0.05, 9, -1, 1), 0.05) == "undecided"
    assert relative(interval(-0.3, 0.03, 9, -1, 1), 0.05) == "less"
    assert relative(interval(-0.05, 0.03, 9, -1, 1), 0.05) == "undecided"
    assert relative(Estimate(0.3, None, None, None), 0.05) == "undecided"


def test_a_failed_control_leaves_no_verdict() -> None:
    value = Estimate(0.5, 0.4, 0.6, 0.05)
    questions = [Question("shows", "", value, None, None, "leaks", 0.05)]
    kinds = (PASSED, NOT_JUDGED, FAILED)
    controls = [Control(f"control {kind}", "", value, kind) for kind in kinds]
    assert _overall(questions, controls, unchanged=False, silent=False) == "no verdict"
    assert _overall(questions, controls[:2], unchanged=False, silent=False) == "leaks"
    assert controls_told(controls[:1]) == "none failed."
    assert controls_told(controls) == (
        "failed: control failed. Not judged, as the sample sets are too few: control not judged."
    )


def test_sets_that_are_one_table_again_and_again_judge_nothing() -> None:
    rows, labels = load_iris(return_X_y=True)
    audit = DeletionAudit(DecisionTreeClassifier(), n_sets=5, n_requests=10, attacks="paper").fit(
        rows[40:70], labels[40:70]
    )
    assert audit.verdict_ == "undecided"
    assert PASSED not in {control.outcome for control in audit.examination_.controls}
    told = audit.summary()
    assert "allow no interval" in told
    assert "narrow the intervals" not in told
    assert "Not judged" in told
    with pytest.raises(DeletionLeakError, match=r"there is no interval that would show it to be at most 0\.6"):
        audit.check(max_auc=0.6)


def test_controls_that_agree_by_chance_are_not_exact() -> None:
    rows, labels = load_iris(return_X_y=True)
    audit = DeletionAudit(DecisionTreeClassifier(), n_sets=5, n_requests=10, attacks="paper").fit(rows, labels)
    for control in audit.examination_.controls:
        assert control.found.low is None or control.found.low < (control.found.high or 0.0), control
        if control.outcome == PASSED and control.name == "planted leak":
            assert (control.found.low or 0.0) > 0.5


# ---------------------------------------------------------------- data and models


def test_frames_pipelines_and_ids() -> None:
    features, target = load_breast_cancer(return_X_y=True)
    frame = pd.DataFrame({"size": features[:, 0], "kind": np.where(features[:, 1] > 18, "rough", "fine")})
    frame.index = pd.Index([f"patient {number}" for number in range(len(frame))])
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["kind"]), remainder=StandardScaler()),
        LogisticRegression(),
    )
    audit = DeletionAudit(model, **SMALL).fit(frame, np.where(target == 1, "benign", "malignant"))
    assert audit.scores_["id"].str.startswith("patient ").all()
    assert audit.accuracy_.min() > 0.7


def test_sparse_matrices_and_regression() -> None:
    features, target = cancer()
    sparse = DeletionAudit(DecisionTreeClassifier(max_leaf_nodes=5), **SMALL).fit(csr_matrix(features), target)
    dense = DeletionAudit(DecisionTreeClassifier(max_leaf_nodes=5), **SMALL).fit(features, target)
    assert sparse.auc_ == pytest.approx(dense.auc_)
    numbers = DeletionAudit(LinearRegression(), n_sets=5, n_requests=8, attack_model="RF", n_jobs=1)
    numbers.fit(*load_diabetes(return_X_y=True))
    assert {"residuals", "residual_gradient", "probe_matched"} <= numbers.examination_.results.keys()
    assert "label_logit" not in numbers.examination_.results
    assert numbers.examination_.results["residual_gradient"]["auc"].value > 0.9


def test_an_own_class_with_a_seed_and_any_number_of_processes() -> None:
    class Own:
        def fit(self, features: np.ndarray, target: np.ndarray, seed: int) -> None:
            self.model = DecisionTreeClassifier(max_leaf_nodes=5, random_state=seed).fit(features, target)
            self.classes_ = self.model.classes_

        def predict_proba(self, features: np.ndarray) -> np.ndarray:
            return np.asarray(self.model.predict_proba(features))

    one, two = (DeletionAudit(Own(), **SMALL | {"n_jobs": jobs}).fit(*cancer()) for jobs in (1, 2))
    pd.testing.assert_frame_equal(one.scores_, two.scores_)


def test_manners_of_scikit_learn() -> None:
    audit = DeletionAudit(LogisticRegression(C=3), n_sets=4)
    again = clone(audit)
    assert again.get_params()["n_sets"] == 4
    assert again.model.C == 3
    with pytest.raises(NotFittedError):
        audit.check()
    plan = audit.plan(*cancer())
    assert plan.sets > 10
    assert plan.models > plan.sets
    assert DeletionAudit(LogisticRegression(), margin=0.2).plan(*cancer()).sets < plan.sets


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"y": np.zeros(569)}, "one class only"),
        ({"y": np.arange(569)}, "is it a regression"),
        ({"y": np.zeros((569, 2))}, "one value a record"),
        ({"y": np.where(np.arange(569) == 3, np.nan, 1.0)}, "missing"),
        ({"unlearn": "erase"}, "retrain, own, nothing"),
        ({"unlearn": "own"}, "no method unlearn"),
        ({"y": np.array([1, "a"] * 284 + ["b"], dtype=object)}, "mixes texts and numbers"),
        ({"n_sets": 0}, "from 2 on"),
        ({"n_sets": 2.5}, "from 2 on"),
        ({"n_requests": 100}, "569 records give sets of 37: too few for 100 deletions"),
        ({"n_requests": 1}, "two deleted records a set"),
        ({"set_size": 5000}, "569 records"),
        ({"set_size": "many"}, "set_size='many'"),
        ({"own_models": -1}, "own_models=-1"),
        ({"random_state": None}, "random_state=None"),
        ({"margin": 0}, "above 0 and below 0.5"),
        ({"margin": float("nan")}, "above 0 and below 0.5"),
        ({"margin": "0.1"}, "above 0 and below 0.5"),
        ({"attack_model": "XYZ"}, "attack_model='XYZ'"),
        ({"model": LinearSVC()}, "a classifier without predict_proba"),
        ({"model": LinearRegression()}, "2 whole numbers, and the model has no predict_proba"),
        ({"unlearn": lambda model, keep, forget, seed: None}, "unlearn gives NoneType"),
        ({"model": object()}, "has no fit"),
        ({"compare_with": "itself"}, "compare_with"),
    ],
)
def test_what_cannot_be_audited_is_said_in_a_line(change: dict[str, Any], complaint: str) -> None:
    features, target = cancer()
    target = change.pop("y", target)
    audit = DeletionAudit(**{"model": LogisticRegression(), **SMALL, **change})
    with pytest.raises(UserError, match=complaint) as raised:
        audit.fit(features, target)
    assert "\n" not in str(raised.value)


class Columns:
    """A classifier of its own, which answers with so many columns and rows less."""

    def __init__(self, columns: int, less: int = 0) -> None:
        self.columns, self.less = columns, less

    def fit(self, features: np.ndarray, target: np.ndarray, seed: int) -> None:
        pass

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        return np.full((len(features) - self.less, self.columns), 1 / self.columns)


SHAPES = [(Columns(1), "1 columns for 2 classes"), (Columns(3), "3 columns for 2"), (Columns(2, 1), "with the shape")]


@pytest.mark.parametrize(("model", "complaint"), SHAPES)
def test_answers_of_another_shape_are_refused(model: Columns, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        DeletionAudit(model, **SMALL).fit(*cancer())


@pytest.mark.parametrize("features", [None, [], np.zeros((569, 0)), np.zeros(569)])
def test_records_that_are_none(features: Any) -> None:
    with pytest.raises(UserError, match=r"X has the shape|one value a record"):
        DeletionAudit(LogisticRegression(), **SMALL).fit(features, cancer()[1])


def test_a_method_may_forget_by_all_it_needs() -> None:
    class Forgetful(LogisticRegression):
        def unlearn(self, model: Any, keep: Any, forget: Any, seed: int) -> Any:
            return LogisticRegression().fit(*keep)

    audit = DeletionAudit(Forgetful(), unlearn="own", **SMALL | {"attacks": "paper"}).fit(*cancer())
    assert audit.verdict_ in ("equivalent", "undecided")


def test_packs_of_untouched_audits_agree() -> None:
    """Which of a repeated stranger's cases counts is drawn alike before and after records lose their numbers."""
    for seed in range(4):
        tree = DecisionTreeClassifier(max_leaf_nodes=10)
        more: dict[str, Any] = {"n_sets": 5, "n_requests": 10, "attacks": "paper", "n_jobs": 1}
        audit = DeletionAudit(tree, random_state=seed, **more).fit(*cancer())
        folder = Path(tempfile.mkdtemp())
        found = verify_pack(audit.to_pack(folder / "audit.zip"))
        assert found.agrees, found.complaints


@pytest.mark.parametrize("damage", ["answers", "no title", "no attack", "label", "lengths"])
def test_a_pack_of_something_else_is_refused(damage: str, tmp_path: Path) -> None:
    """With digests that fit: whoever made it also made its manifest."""
    audit = DeletionAudit(LogisticRegression(), **SMALL).fit(*cancer())
    parts = parts_of(audit.to_pack(tmp_path / "audit.zip"))
    settings = json.loads(parts["settings.json"])
    with np.load(io.BytesIO(parts["answers.npz"])) as stored:
        arrays = {name: stored[name] for name in stored.files}
    if damage == "no title":
        del settings["title"]
    elif damage == "no attack":
        settings["chosen"] = []
    elif damage == "label":
        arrays["cases/target/label"] = arrays["cases/target/label"] + 9
    elif damage == "lengths":
        arrays["cases/target/member"] = arrays["cases/target/member"][:-3]
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    parts["answers.npz"] = b"nothing" if damage == "answers" else buffer.getvalue()
    parts["settings.json"] = json.dumps(settings).encode()
    other = put_together(parts, tmp_path / "other.zip")
    with pytest.raises(UserError, match="not those of an audit"):
        verify_pack(other)


def test_overlap_is_told() -> None:
    features, target = cancer()
    audit = DeletionAudit(LogisticRegression(), **SMALL | {"set_size": 120}).fit(features, target)
    assert audit.overlap_ > 0.2
    assert any("Two sets share" in note for note in audit.dossier_.notes)


def test_a_plan_that_nothing_settles_says_so() -> None:
    plan = DeletionAudit(LogisticRegression(), margin=1e-4).plan(*cancer())
    assert str(plan).startswith("No number of sample sets")


@pytest.mark.parametrize(
    ("package", "name"),
    [("xgboost", "XGBClassifier"), ("lightgbm", "LGBMClassifier"), ("catboost", "CatBoostClassifier")],
)
def test_boosted_trees_of_other_packages(package: str, name: str) -> None:
    """Through their scikit-learn faces, where they are installed."""
    kind = getattr(pytest.importorskip(package), name)
    few = {"iterations": 5, "verbose": 0} if package == "catboost" else {"n_estimators": 5}
    small = SMALL | {"n_sets": 3, "n_requests": 4, "attacks": "paper"}
    audit = DeletionAudit(kind(**few), **small).fit(*cancer())
    assert 0 <= audit.auc_ <= 1


def test_answers_that_are_no_probabilities_are_refused() -> None:
    class Wild(LogisticRegression):
        def predict_proba(self, features: np.ndarray) -> np.ndarray:
            return np.asarray(super().predict_proba(features)) * 2

    with pytest.raises(UserError, match="sum to 1"):
        DeletionAudit(Wild(), **SMALL).fit(*cancer())


# ---------------------------------------------------------------- documents


def test_page_and_pack(tmp_path: Path) -> None:
    features, target = cancer()
    names = [f"Jane Doe {number}" for number in range(len(target))]
    audit = DeletionAudit(LogisticRegression(), unlearn=retrain, **SMALL, name="cancer").fit(features, target, names)
    page = audit.to_html(tmp_path / "audit.html").read_text(encoding="utf-8")
    assert audit.dossier_.digest in page
    assert audit.dossier_.sentence in page
    assert "Jane Doe" not in page
    pack = audit.to_pack(tmp_path / "audit.zip")
    assert b"Jane Doe" not in pack.read_bytes()
    with zipfile.ZipFile(pack) as archive, np.load(io.BytesIO(archive.read("answers.npz"))) as stored:
        kept = stored["cases/target/record"]  # which are one record's, and their order; no row numbers
        np.testing.assert_array_equal(np.unique(kept), np.arange(len(np.unique(audit.cases_.record))))
        assert not np.array_equal(kept, audit.cases_.record)
    found = verify_pack(pack)
    assert found.agrees, found.complaints
    assert found.checked > 100
    content = bytearray(pack.read_bytes())
    content[len(content) // 3] ^= 1
    pack.write_bytes(content)
    with pytest.raises(UserError):
        verify_pack(pack)


def test_a_pack_without_its_best_attack_disagrees(tmp_path: Path) -> None:
    audit = DeletionAudit(DecisionTreeClassifier(), n_sets=6, n_requests=12, attacks="paper").fit(*cancer())
    whole = audit.dossier_

    def less(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: part for name, part in found.items() if name != whole.evidence.found.chosen}

    found = whole.evidence.found
    views = {side: View(part) for side, part in whole.evidence.cases.items()}
    chosen = chosen_attack(less(found.tried), views["shadow"])
    evidence = replace(
        whole.evidence, found=replace(found, scores=less(found.scores), tried=less(found.tried), chosen=chosen)
    )
    forged = replace(whole, evidence=evidence, examination=conclude(evidence, whole.options))
    assert verify_pack(write_pack(whole, tmp_path / "whole.zip")).complaints == []
    complaints = verify_pack(write_pack(forged, tmp_path / "forged.zip")).complaints
    assert any(f"{found.chosen} is missing" in told for told in complaints)


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"n_requests": 40, "set_size": 10}, "a set holds 10 records, so 10 requests of 1"),
        ({"n_requests": 10, "request_size": 3, "set_size": 20}, "so 6 requests of 3"),
        ({"n_jobs": "a"}, "n_jobs='a': a whole number"),
        ({"n_jobs": 0}, "n_jobs=0: a whole number"),
        ({"compare_with": "retraining"}, "compare_with='retraining'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(parameters: dict[str, Any], complaint: str) -> None:
    class Untrained(DecisionTreeClassifier):
        def fit(self, rows: Any, labels: Any) -> Any:
            raise AssertionError("trained")

    with pytest.raises(UserError, match=re.escape(complaint)):
        DeletionAudit(Untrained(), **{"n_sets": 3, "n_requests": 5, **parameters}).fit(*cancer())


def test_the_same_deletion_again_is_no_second_one() -> None:
    answers, count = np.full((80, 2), 0.5), np.arange(80)
    cases = PosteriorSet(answers, answers, np.ones(80, dtype=int), count % 10, count % 2, count // 40, count)
    found = _alike_so_far(cases, 0.0)
    assert found.high == pytest.approx(1 - 0.05 ** (1 / 20))  # ten records of each of two sets
    apart = _alike_so_far(replace(cases, record=count), 0.0)
    assert apart.high == pytest.approx(1 - 0.05 ** (1 / 80))


class _Forgetful(DecisionTreeClassifier):
    """Forgets by two arguments, with others that have defaults."""

    def unlearn(self, rows: Any, labels: Any, epochs: int = 5, rate: float = 0.1, **more: Any) -> None:
        assert len(rows) == len(labels) == 1
        assert (epochs, rate, more) == (5, 0.1, {})


def test_what_forgetting_needs_not_is_left_to_its_defaults() -> None:
    audit = DeletionAudit(_Forgetful(), unlearn="own", n_sets=3, n_requests=5, attacks="paper").fit(*cancer())
    assert audit.verdict_ in ("leaks", "undecided")


def test_features_without_bounds_or_that_are_lists_are_audited() -> None:
    rows, labels = cancer()
    wild = pd.DataFrame(rows).astype(float)
    wild.iloc[::50, 0] = np.inf
    wild.iloc[:, 1] *= 1e305
    wild["list"] = [[number] for number in range(len(wild))]
    model = make_pipeline(
        FunctionTransformer(lambda frame: np.clip(frame.drop(columns="list").to_numpy(dtype=float), -1e6, 1e6)),
        LogisticRegression(),
    )
    wild.columns = wild.columns.astype(str)
    audit = DeletionAudit(model, n_sets=3, n_requests=5, own_models=0).fit(wild, labels)
    assert audit.auc_ >= 0


def test_a_class_of_ones_own_that_predicts_numbers() -> None:
    class Own:
        def fit(self, features: np.ndarray, target: np.ndarray, seed: int) -> None:
            self.model = LinearRegression().fit(features, target)

        def predict(self, features: np.ndarray) -> np.ndarray:
            return np.asarray(self.model.predict(features))

    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 3))
    audits = [
        DeletionAudit(Own(), **SMALL | {"attacks": "paper"}).fit(features, features[:, 0] + rng.normal(size=300))
        for _ in range(2)
    ]
    assert " at 0x" not in audits[0].dossier_.settings["model"]
    assert audits[0].scores_["score"].between(0, 1).all()


def test_so_few_cases_that_nothing_is_learned_are_not_called_a_failed_control() -> None:
    audit = DeletionAudit(DecisionTreeClassifier(max_leaf_nodes=5), n_sets=2, n_requests=3, n_jobs=1, own_models=0)
    audit.fit(*cancer())
    outcomes = {control.name: control.outcome for control in audit.examination_.controls}
    assert outcomes["planted leak"] == "not judged"
    assert audit.verdict_ != "no verdict"


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"set_size": 280}, "set_size 280: of 569 records, each side has 227 to train on"),
        ({"model": DecisionTreeClassifier}, "is a class; give one of its objects"),
    ],
)
def test_messages_name_parameters_and_no_flags(more: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        DeletionAudit(**{"model": DecisionTreeClassifier(), **SMALL, **more}).fit(*cancer())
    with pytest.raises(UserError, match=r"ids have the shape \(\)"):
        DeletionAudit(DecisionTreeClassifier(), **SMALL).fit(*cancer(), ids=5)


@pytest.mark.filterwarnings("ignore:overflow encountered in square")  # scikit-learn's, of 1e200
@pytest.mark.parametrize("unlearn", ["retrain", "nothing"])
def test_a_regression_has_any_unit_and_any_zero(unlearn: str) -> None:
    table, target = load_diabetes(return_X_y=True)
    sizes: dict[str, Any] = {
        "n_sets": 5,
        "n_requests": 10,
        "own_models": 0,
        "attacks": "paper",
        "attack_model": "DT",
        "n_jobs": 1,
    }
    numbers = (target, 1e-9 * target, 1e200 * target, target + 1e9)
    found = [DeletionAudit(LinearRegression(), unlearn=unlearn, **sizes).fit(table, part) for part in numbers]
    assert len({audit.verdict_ for audit in found}) == 1
    for audit in found[1:]:
        assert audit.auc_ == pytest.approx(found[0].auc_, abs=0.02)
        assert audit.examination_.silent == found[0].examination_.silent


class Blind(ClassifierMixin, BaseEstimator):
    """Answers by the record, and by chance, whatever it was trained on."""

    def fit(self, table: np.ndarray, labels: np.ndarray) -> Blind:
        self.classes_ = np.array([0, 1])
        self.chance_ = np.random.default_rng(int(abs(table).sum() * 1e6) % 2**32).normal(0, 0.05, table.shape[1])
        return self

    def predict_proba(self, table: np.ndarray) -> np.ndarray:
        positive = 1 / (1 + np.exp(-(table[:, 0] * 2 + table[:, 1] + table @ self.chance_)))
        return np.column_stack([1 - positive, positive])


def test_few_people_who_are_asked_about_in_many_sets_are_no_evidence() -> None:
    """Of a model that learns nothing an audit finds nothing, however often it asks about the same twelve strangers."""
    sizes: dict[str, Any] = {
        "n_sets": 60,
        "n_requests": 5,
        "set_size": 6,
        "own_models": 0,
        "attacks": "paper",
        "attack_model": "DT",
    }
    verdicts, held = [], 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        table = rng.normal(size=(120, 4))
        labels = (table[:, 0] + rng.normal(size=120) > 0).astype(int)
        audit = DeletionAudit(Blind(), random_state=seed, n_jobs=1, **sizes).fit(table, labels)
        verdicts.append(audit.verdict_)
        for found in (audit.examination_.questions[0].measured, audit.still_there_):
            assert found.low is not None
            assert found.high is not None
            held += found.low <= 0.5 <= found.high
    assert "leaks" not in verdicts
    assert held >= 21  # of 24 intervals at 95 %


def test_what_a_model_is_called_tells_none_of_its_data(tmp_path: Path) -> None:
    """Categories stand in a model's own description; neither the page nor the pack has them."""
    table, labels = load_iris(return_X_y=True)
    frame = pd.DataFrame(table, columns=list("abcd")).assign(
        town=np.where(np.arange(150) % 3, "Anytown", "Secretville")
    )
    towns = OneHotEncoder(categories=[["Anytown", "Secretville"]], handle_unknown="ignore")
    model = make_pipeline(make_column_transformer((towns, ["town"]), remainder="passthrough"), LogisticRegression(C=7))
    audit = DeletionAudit(model, **SMALL | {"n_sets": 3, "n_requests": 4}).fit(frame, labels)
    parts = parts_of(audit.to_pack(tmp_path / "audit.zip"))
    assert b"LogisticRegression(C=7)" in parts["settings.json"]
    assert not [name for name, content in parts.items() if b"Secretville" in content]


def test_processes_are_no_part_of_what_was_audited() -> None:
    found = [DeletionAudit(LogisticRegression(), **SMALL | {"n_jobs": jobs}).fit(*cancer()) for jobs in (1, 2)]
    assert found[0].dossier_.digest == found[1].dossier_.digest


@pytest.mark.parametrize("bad", ["one class in a set", "missing numbers", "complex answers", "no names"])
def test_what_cannot_be_trained_or_named_is_a_line(bad: str) -> None:
    table, labels = cancer()
    model, ids = LogisticRegression(), None
    if bad == "one class in a set":
        labels = np.where(np.arange(len(labels)) == 5, 1, 0)
    elif bad == "missing numbers":
        table = np.where(np.arange(len(table))[:, None] == 3, np.nan, table)
    elif bad == "no names":
        ids = [None] * len(labels)
    else:
        model = Complex()
    with pytest.raises(
        UserError, match={"one": "one class only", "missing": "NaN", "no": "ids"}.get(bad.split()[0], "numbers")
    ):
        DeletionAudit(model, **SMALL).fit(table, labels, ids)


class Complex(LogisticRegression):
    """Answers with complex numbers."""

    def predict_proba(self, table: np.ndarray) -> np.ndarray:
        found: np.ndarray = super().predict_proba(table) + 0j
        return found

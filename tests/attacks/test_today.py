"""Today's attacks: exact where the answer is known, blind where there is nothing to see, behind every defense."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import data_prepare
import models
from lib_unlearning import link, own_models
from lib_unlearning.attack import Budget, View
from lib_unlearning.attacks import linear, residual_gradient
from lib_unlearning.attacks.probes import Whitening, agreement
from lib_unlearning.attacks.reconstruction import rebuild
from lib_unlearning.attacks.registry import TODAY, attacks_on
from lib_unlearning.audit.sources import StudySource
from lib_unlearning.cache.spool import Memo
from lib_unlearning.defense import DEFENSES
from lib_unlearning.parallel import Stopwatch
from lib_unlearning.posterior import PosteriorSet
from lib_unlearning.record_split import SIDES
from lib_unlearning.run_files import answers_name
from lib_unlearning.study import open_study
from lib_unlearning.unlearning.base import Deletion, train_and_unlearn
from lib_unlearning.unlearning.registry import UNLEARNING_METHODS
from parameter_parser import parse_settings
from tests.test_commands import result_rows, run

SIZES = [
    f"--{side}_{name}={value}"
    for side in ("shadow", "target")
    for name, value in (("set_num", 4), ("set_size", 600), ("unlearning_size", 10))
]


def attack(folder: Path, *flags: str) -> dict[str, dict[str, str]]:
    always = ["--exp", "mem_inf", "--train_missing", "--attacks", "all", "--quiet"]
    always += [] if "--attack_model" in flags else ["--attack_model", "LR"]
    return result_rows(run(folder, *always, *SIZES, *flags, small=False))


def fitted(seed: int = 0, classes: int = 2) -> tuple[np.ndarray, np.ndarray, LogisticRegression]:
    """Standard inputs with a one at the end, labels, and a converged regression without penalty of its own bias."""
    rng = np.random.default_rng(seed)
    inputs = np.hstack([rng.normal(size=(500, 4)), np.ones((500, 1))])
    labels = (inputs @ rng.normal(size=(5, classes)) + rng.gumbel(size=(500, classes))).argmax(axis=1)
    model = LogisticRegression(C=100, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(inputs, labels)
    return inputs, labels, model


@pytest.mark.parametrize("classes", [2, 3])
def test_a_linear_model_is_known_from_a_few_answers(classes: int) -> None:
    inputs, _, model = fitted(classes=classes)
    answers = model.predict_proba(inputs)
    signal = link.centred_logs(answers)
    theta = linear.extract(inputs[:20], signal[:20])
    np.testing.assert_allclose(link.softmax(inputs @ theta), answers, atol=1e-6)
    assert linear.unexplained(inputs, signal, theta) < 1e-9
    bent = np.abs(answers - 0.3) + 0.1
    bent /= bent.sum(axis=1, keepdims=True)
    bent_signal = link.centred_logs(bent)
    assert linear.unexplained(inputs, bent_signal, linear.extract(inputs, bent_signal)) > 0.01


def test_hessian_and_gradients_against_finite_differences() -> None:
    inputs, labels, _ = fitted(classes=3)
    rng = np.random.default_rng(1)
    theta, change = rng.normal(size=(2, 5, 3))

    def mean_gradient(at: np.ndarray) -> np.ndarray:
        found: np.ndarray = linear.loss_gradients(inputs, labels, at).mean(axis=0)
        return found

    step = 1e-5
    expected = (mean_gradient(theta + step * change) - mean_gradient(theta - step * change)) / (2 * step)
    np.testing.assert_allclose(linear.hessian_times(inputs, theta, change), expected, atol=1e-7)


def test_the_deleted_record_explains_the_change_best() -> None:
    """With the exact Hessian, of 500 records the deleted one has the largest cosine."""
    inputs, labels, model = fitted()
    before = linear.extract(inputs, link.centred_logs(model.predict_proba(inputs)))
    for deleted in (3, 77, 240):
        kept = np.arange(500) != deleted
        later = LogisticRegression(C=100, fit_intercept=False, tol=1e-10, max_iter=10_000)
        after = linear.extract(inputs, link.centred_logs(later.fit(inputs[kept], labels[kept]).predict_proba(inputs)))
        residual = linear.hessian_times(inputs, before, after - before)
        fit = residual_gradient.fit_of(linear.loss_gradients(inputs, labels, before), residual)
        assert fit[:, 0].argmax() == deleted
        assert fit[deleted, 0] > 0.99


def test_agreement_by_hand() -> None:
    seen, expected = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 2.0]])
    found = agreement(seen, expected)
    np.testing.assert_allclose(found[0], [1, 1, 1, 0, np.log(25), np.log(25), 25])
    np.testing.assert_allclose(found[1], [0, 0, 0, np.sqrt(5), 0, np.log(4), -4])


def test_whitened_changes_have_no_preferred_direction() -> None:
    rng = np.random.default_rng(0)
    changes = rng.normal(size=(400, 3)) * np.array([10.0, 2.0, 1.0])
    white = Whitening.of([changes])(changes)
    variances = np.linalg.eigvalsh(white.T @ white / 400)
    assert variances.max() / variances.min() < 1.5


def test_on_linear_models_they_see_far_more_than_the_paper(tmp_path: Path) -> None:
    rows = attack(tmp_path, "--original_model", "LR")
    for name in ("residual_gradient", "probe_newton", "probe_matched", "combined"):
        assert float(rows[name]["auc"]) > 0.92
        assert float(rows[name]["shadow_auc"]) > 0.92
    assert float(rows["combined"]["auc"]) > float(rows["direct_diff"]["auc"]) + 0.1
    assert rows["combined"]["chosen"] == "True"
    placebo = attack(tmp_path, "--original_model", "LR", "--placebo")
    linear_only = set(TODAY) - {"probe_gradient"}  # networks have gradients
    assert linear_only <= placebo.keys()
    for name in linear_only:
        assert float(placebo[name]["auc_low"]) <= 0.5 <= float(placebo[name]["auc_high"])
        assert float(placebo[name]["empirical_epsilon"]) < 0.5


class Counted:
    """Answers of a view, and who was asked about for how many candidates' sake."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.asked: dict[tuple[int, int], set[int]] = defaultdict(set)
        self.made: dict[tuple[int, int], int] = defaultdict(int)

    def answer(self, number: int, version: int, records: np.ndarray) -> np.ndarray:
        self.asked[number, version].update(records.tolist())
        return self.view.ask(number, version, records)

    def answer_rows(self, number: int, version: int, rows: np.ndarray) -> np.ndarray:
        self.made[number, version] = max(self.made[number, version], len(rows))
        return self.view.ask_rows(number, version, rows)


def source(folder: Path, *flags: str) -> StudySource:
    always = ["--exp=mem_inf", "--train_missing", "--attacks=all", "--quiet", f"--temp_data={folder}", *SIZES]
    settings = parse_settings([*always, "--original_model=LR", "--num_process=1", *flags])
    dataset = data_prepare.obtain_dataset("adult", "income", settings.layout)
    study = open_study(settings, dict.fromkeys(SIDES, dataset), models.TARGET_MODELS, UNLEARNING_METHODS)
    return StudySource(study, answers_name(settings), Stopwatch())


@pytest.mark.parametrize(("leaves", "found"), [(0, True), (1, False), (10, False)])
def test_a_tree_is_not_linear_though_few_values_lie_on_a_plane(leaves: int, found: bool) -> None:
    """Where all but one leaf lack a class, the answers that say something are all alike."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2000, 3))
    answers = link.softmax(np.hstack([rows, np.zeros((2000, 1))]))
    if leaves:
        answers = answers[np.floor(leaves * rng.random(2000)).astype(int)]
    cases = PosteriorSet(*(np.zeros((1, 4)),) * 2, *(np.zeros(1, dtype=int),) * 5)
    view = View(
        cases,
        answer=lambda number, version, records: answers[records],
        look_up=lambda records: rows[records],
        own=np.arange(2000),
    )
    assert linear.is_linear(view, 0) is found


def _looked_up(answers: np.ndarray, number: int, version: int, records: np.ndarray) -> np.ndarray:
    found: np.ndarray = answers[records]
    return found


def test_a_line_is_known_whatever_columns_hardly_ever_vary() -> None:
    """Columns that are nearly always the same leave directions of which a few answers say nothing."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3000, 8)) * (rng.random((3000, 8)) < [1, 1, 1, 1, 1, 0.02, 0.01, 0.005])
    slopes = rng.normal(size=(8, 3))
    cases = PosteriorSet(*(np.zeros((1, 3)),) * 2, *(np.zeros(1, dtype=int),) * 5)
    for bent in (False, True):
        answers = link.softmax(np.maximum(rows, 0) @ slopes if bent else rows @ slopes)
        view = View(
            cases,
            answer=partial(_looked_up, answers),
            look_up=rows.__getitem__,
            own=np.arange(3000),
        )
        for seed in range(30):
            assert linear.is_linear(replace(view, memo=Memo()), seed) is not bent
            if not bent:
                plan = linear.Extraction.plan(replace(view, memo=Memo()), seed)
                assert np.linalg.matrix_rank(plan.inputs) == 9


def test_own_models_answer_behind_a_defense_of_a_plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It publishes numbers alone: of what nobody was asked it is not asked either."""
    monkeypatch.setitem(DEFENSES, "in_steps", lambda posteriors: np.round(posteriors * 20) / 20)
    view = source(tmp_path, "--defense=in_steps").views()["target"]
    found = view.own_worlds(0)
    there = found.outside[~np.isnan(found.outside)]
    np.testing.assert_allclose(there * 20, np.round(there * 20), atol=1e-6)
    assert np.isnan(found.outside).any()
    assert not np.isnan(found.inside).any()


@pytest.mark.parametrize("kind", ["fresh", "matched"])
def test_own_models_are_retrained_as_the_provider_retrains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    seen: list[Deletion] = []

    def watched(method: Any, trainer: Any, records: Any, deletions: list[Deletion], seed: int) -> Any:
        seen.extend(deletions)
        return train_and_unlearn(method, trainer, records, deletions, seed)

    monkeypatch.setattr(own_models, "train_and_unlearn", watched)
    source(tmp_path, "--original_model=DT", f"--retrain_randomness={kind}").views()["target"].own_worlds(0)
    seeds = [deletion.seed for deletion in seen]
    assert len(set(seeds)) == (len(seeds) if kind == "fresh" else 1)
    assert (None in seeds) == (kind == "matched")
    assert {deletion.leaves_gap for deletion in seen} == {kind == "matched"}


def test_one_version_is_not_called_the_deletion(tmp_path: Path) -> None:
    always = ["--exp", "mem_inf", "--train_missing", "--attack_model", "LR", "--quiet", "--original_model", "DT"]
    told = run(tmp_path, *always, *SIZES, "--versions", "original", "--margin", "0.9", small=False)
    assert "membership in the original shows less than" in told
    assert "Unlearned model alone: this adversary never sees it." in told
    assert "epsilon of the deletion" not in told.lower()
    assert "make deletion visible" not in told


@pytest.mark.parametrize("queries", [2, 15, 200])
def test_no_attack_asks_more_than_its_budget(tmp_path: Path, queries: int) -> None:
    views = source(tmp_path, f"--queries={queries}").views()
    attacks = attacks_on(views["shadow"], "LR", 0, today=True)
    for name, attack in attacks.items():
        counted = Counted(views["target"])
        target = replace(views["target"], answer=counted.answer, answer_rows=counted.answer_rows, memo=Memo())
        attack.fit(views["shadow"], 0).score(target)
        most = max(map(len, counted.asked.values()), default=0)
        assert most <= queries, name
        assert most == queries or name not in ("combined", "probe_newton")
        assert max(counted.made.values(), default=0) <= 2 * (1 + queries), name  # a request has two candidates
    counted = Counted(views["target"])
    list(rebuild(replace(views["target"], answer=counted.answer, memo=Memo()), 0, linear=True))
    assert max(map(len, counted.asked.values())) == queries


def test_labels_that_are_not_known_do_not_reach_own_models(tmp_path: Path) -> None:
    """Own models of another truth say the same, as they are trained on what the adversary takes for it."""
    known, unknown = (source(tmp_path, f"--label_known={known}") for known in ("true", "false"))
    assert known.views()["target"].labels_taken is None
    target = unknown.views()["target"]
    true = unknown.study.dataset["target"].labels[target.candidates]
    assert target.labels_taken is not None
    assert 0.6 < (target.labels_taken == true).mean() < 1
    found = target.own_worlds(0)
    assert not np.array_equal(found.inside, known.views()["target"].own_worlds(0).inside)
    for path in tmp_path.rglob("own-*.npz"):
        path.unlink()
    other = unknown.study.dataset["shadow"].labels.copy()
    other[target.candidates] = 1 - true
    unknown.study.dataset["shadow"] = replace(unknown.study.dataset["shadow"], labels=other)
    again = replace(target, memo=Memo()).own_worlds(0)
    np.testing.assert_array_equal(found.inside, again.inside)


def test_what_own_models_say_grows_with_candidates_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All groups say the same of their own candidates, however few are asked about the others'."""
    found = source(tmp_path / "all").views()["target"].own_worlds(0)
    monkeypatch.setattr(own_models, "_MOST_OTHERS", 2)
    less = source(tmp_path / "few").views()["target"].own_worlds(0)
    assert (found.outside.shape[1], less.outside.shape[1]) == (8, 2)
    np.testing.assert_allclose(found.outside[:, :2], less.outside, atol=1e-5)
    for name in ("changes", "inside", "probes"):
        np.testing.assert_allclose(getattr(found, name), getattr(less, name), atol=1e-5)


def test_a_small_table_keeps_records_for_own_models(caplog: pytest.LogCaptureFixture) -> None:
    own, pool = np.arange(100), np.arange(50)
    cases = PosteriorSet(*(np.zeros((1, 2)),) * 2, *(np.zeros(1, dtype=int),) * 5)
    for set_size, most in ((10, 90), (30, 70), (50, 50)):
        probes = View(cases, own=own, pool=pool, set_size=set_size, budget=Budget(probes=80)).probe_records(0)
        assert len(np.unique(probes)) == len(probes) == min(80, most)
        assert len(np.setdiff1d(pool, probes)) >= set_size
    assert "50 probes, not 80" in caplog.text


def test_less_is_seen_with_less(tmp_path: Path) -> None:
    """Without questions there is no extraction, without own models no pairs; two digits hide most of a deletion."""
    few = attack(tmp_path, "--original_model", "LR", "--queries", "1", "--own_models", "0", "--attack_model", "LR")
    assert not set(TODAY) & few.keys()
    alone = attack(tmp_path, "--original_model", "LR", "--versions", "unlearned", "--attack_model", "LR")
    assert float(alone["combined"]["auc"]) < 0.65
    assert not {"probe_matched", "residual_gradient", "rmia_original"} & alone.keys()
    rounded = attack(tmp_path, "--original_model", "LR", "--round_digits", "2", "--own_models", "0")
    assert float(rounded["label_logit"]["auc"]) < 0.9


def test_what_is_not_linear_is_left_to_the_probes(tmp_path: Path) -> None:
    rows = attack(tmp_path, "--original_model", "DT")
    assert "residual_gradient" not in rows
    assert "probe_matched" in rows


def test_they_see_through_the_defense_only(tmp_path: Path) -> None:
    """The label alone is no linear function, and hardly changes: nobody goes round the view."""
    rows = attack(tmp_path, "--original_model", "LR", "--top_k", "0")
    assert "residual_gradient" not in rows
    assert float(rows["probe_matched"]["auc"]) < 0.75


def test_they_are_the_same_with_any_number_of_processes(tmp_path: Path) -> None:
    small = ["--original_model", "LR", "--attack_model", "DT", "--shadow_unlearning_size", "5"]
    one = attack(tmp_path / "one", "--num_process", "1", *small)
    two = attack(tmp_path / "two", "--num_process", "2", *small)
    assert one == two

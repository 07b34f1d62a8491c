"""Reconstruction where the answer is known, and where there is none."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from lib_unlearning.attacks.reconstruction import Match, Population, Public, Rebuilt, from_falls, from_residual
from lib_unlearning.reconstruct import Attempt, Reconstruction, _hidden
from tests.test_commands import run

SIZES = [
    f"--{side}_{name}={value}"
    for side in ("shadow", "target")
    for name, value in (("set_num", 3), ("set_size", 600), ("unlearning_size", 5))
]


def public(seed: int = 0) -> Public:
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 5, size=(300, 4)).astype(float)
    return Public.from_rows(rows, rng.integers(0, 3, 300))


@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_gradient_gives_the_record_back(label: int) -> None:
    """A single record's loss gradient is the record times its error; noise of a tenth of a step changes nothing."""
    known = public()
    record = np.array([3.0, 0.0, 4.0, 1.0])
    error = np.array([0.2, 0.3, 0.5]) - np.eye(3)[label]
    gradient = np.outer(known.coordinates(record[None])[0], error)
    found = from_residual(gradient / 2000, known)
    assert found.label == label
    np.testing.assert_array_equal(found.row, record)
    np.testing.assert_allclose(found.standard, known.coordinates(record[None])[0, :-1])


def test_no_change_gives_no_record() -> None:
    known = public()
    found = from_residual(np.zeros((5, 3)), known)
    assert found.label == -1
    np.testing.assert_array_equal(found.row, known.usual().row)


def test_noise_is_left_out_where_the_gradient_cannot_be() -> None:
    """A gradient is of rank one. Among many classes that tells most of the noise, and the label, from the rest."""
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(400, 60))
    known, right = Public.from_rows(rows, rng.integers(0, 10, 400)), 0
    for row, label in zip(rows[:50], known.labels[:50], strict=True):
        error = rng.dirichlet(np.ones(10)) - np.eye(10)[label]
        gradient = np.outer(known.coordinates(row[None])[0], error)
        found = from_residual(gradient + rng.normal(scale=0.7, size=gradient.shape), known)
        right += found.label == label
    assert right >= 45  # the lowest error of the last row alone names 22


def test_a_region_gives_the_label_and_what_is_common_there() -> None:
    known = public()
    falls = np.zeros((300, 3))
    inside = (known.rows[:, 0] == 2) & (known.labels == 1)
    falls[known.rows[:, 0] == 2, 1] = 0.01
    falls[:, 0] = 0.002
    found = from_falls(falls, known, regions=True)
    assert found.label == 1
    assert found.row[0] == 2
    assert found.row[1] == np.bincount(known.rows[inside, 1].astype(int)).argmax()
    assert from_falls(-falls, known, regions=True).label == -1


def test_matches_by_hand() -> None:
    rows = np.array([[0.0, 0.0], [1.0, 1.0], [4.0, 4.0]])
    everybody = Population(rows, rows, np.array([0, 1, 1]))
    guess = Rebuilt(1, np.array([0.9, 1.2]), np.array([1.0, 0.0]))
    found = everybody.match(guess, rows[1], rows[1], 1)
    assert (found.label, found.exact, found.rank) == (True, 0.5, 1)
    assert found.cosine == pytest.approx(2.1 / np.sqrt(2 * (0.81 + 1.44)))
    assert everybody.match(guess, rows[2], rows[2], 1).rank == 3


def test_linear_models_give_the_person_back_and_strangers_do_not(tmp_path: Path) -> None:
    always = ["--exp", "reconstruct", "--train_missing", *SIZES]
    told = run(tmp_path, *always, "--original_model", "LR", small=False)
    rows = {line.split("  ")[0]: line.split() for line in told.splitlines() if line.startswith(("rebuilt", "placebo"))}
    assert float(rows["rebuilt"][1]) > 0.9  # median cosine
    assert float(rows["rebuilt"][2]) > 0.9  # label right
    assert abs(float(rows["placebo (a stranger)"][3])) < 0.4
    assert "14 attributes" in " ".join(told.split())
    folder = Path(told.strip().rpartition("Results: ")[2])
    header, *lines = (folder / "reconstruction.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3 * 5 * 5
    assert "age" not in header  # no attribute of anybody
    assert (folder / "reconstruction.png").exists()
    tree = run(tmp_path, *always, "--original_model", "DT", small=False)
    assert "anonymity" in tree
    for flags in (["--queries", "1"], ["--versions", "unlearned"]):
        assert "leave out --versions" in run(tmp_path, *always, *flags, code=2, small=False)


def test_deletions_that_nothing_shows_are_told() -> None:
    guess = Rebuilt(1, np.zeros(2), np.zeros(2))
    matches = [Match(right, 0.0, 0.5, 3) for right in (True, False, False)]
    attempts = [Attempt("rebuilt", 0, n, n, guess, match, shows=n != 1) for n, match in enumerate(matches)]
    (_, told) = _hidden(Reconstruction(attempts, 10), None)
    assert told == "In 1 deletion no answer that was asked for changed; of the other 2 the label is right in 1."
    assert not list(_hidden(Reconstruction(attempts[:1], 10), None))


def test_fewer_questions_find_smaller_changes(tmp_path: Path) -> None:
    """What a budget does not allow is not asked: the largest change among 20 records is another than among all."""
    always = ["--exp", "reconstruct", "--train_missing", *SIZES, "--original_model", "DT"]
    rows = []
    for flags in ([], ["--queries", "20"]):
        told = run(tmp_path, *always, *flags, small=False)
        rows.append([line for line in told.splitlines() if line.startswith(("largest change", "mean record"))])
    assert rows[0][0] != rows[1][0]
    assert rows[0][1] == rows[1][1]


def test_a_stream_of_deletions(tmp_path: Path) -> None:
    sizes = [flag for flag in SIZES if "unlearning_num" not in flag]
    flags = ["--train_missing", "--original_model", "LR", *sizes]
    told = run(tmp_path / "td", "--exp", "stream", "--stream_lengths", "4,1", *flags, small=False)
    assert [line.split()[0] for line in told.splitlines()[3:5]] == ["1", "4"]
    (path,) = (tmp_path / "td" / "attack_data").glob("*stream*/stream.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [(row["deletions"], row["asked_about"]) for row in rows] == [
        (number, name) for number in ("1", "4") for name in ("deleted", "remaining")
    ]
    once = ["--exp", "mem_inf", "--samples_to_evaluate", "in_out_multi_version", *flags]
    alone = run(tmp_path / "td", *once, "--shadow_unlearning_num", "4", "--target_unlearning_num", "4", small=False)
    assert f"AUC {float(rows[2]['auc']):.3f} [" in " ".join(alone.split())
    run(tmp_path / "td", "--exp", "stream", "--stream_lengths", "4,1", *flags, "--top_k", "0", small=False)
    assert len(list((tmp_path / "td" / "attack_data").glob("*stream*/stream.csv"))) == 2


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--samples_to_evaluate", "in_in"], "leave out --samples_to_evaluate"),
        (["--stream_lengths", "600"], "a set holds 600 records and must keep one"),
        (["--stream_lengths", "0"], "at least 1"),
    ],
)
def test_streams_that_cannot_be(flags: list[str], complaint: str, tmp_path: Path) -> None:
    words = ["--exp", "stream", "--train_missing", *flags, *SIZES]
    assert complaint in run(tmp_path / "td", *words, code=2, small=False)


def test_three_classes_are_told(tmp_path: Path) -> None:
    flags = ["--exp", "three_classes", "--train_missing", "--original_model", "LR", "--attack_model", "RF"]
    told = run(tmp_path, *flags, *SIZES, small=False)
    rows = {line.split()[0]: line.split()[1] for line in told.splitlines() if line.startswith(("deleted", "remaining"))}
    assert float(rows["deleted"]) > 0.7
    assert float(rows["remaining"]) < 0.85
    other = run(tmp_path, *flags, *SIZES, "--top_k", "0", small=False)
    folders = {printed.rpartition("Results: ")[2] for printed in (told, other)}
    assert len(folders) == 2  # other settings, another folder
    assert "asks its own" in run(tmp_path, *flags, "--samples_to_evaluate", "in_in", code=2, small=False)
    unknown = run(tmp_path, *flags, *SIZES, "--attacks", "all", "--label_known", "false", small=False)
    assert "combined" in unknown

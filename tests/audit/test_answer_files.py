"""Audits of files of answers: leaks and none, formats, and files that are broken."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib_unlearning.audit.side import AnswerFiles, read_side
from lib_unlearning.errors import UserError
from tests.audit.doors import CASES, audit, audited, write_side


def test_a_leak_in_two_files_is_found(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 0.5)
    alone = audited(tmp_path, *flags, code=3)
    assert alone["verdict"] == "leaks"
    assert "no shadow side" in alone["told"]
    both = audited(tmp_path, *flags, *write_side(tmp_path, 0.5, "shadow_", 1), code=3)
    assert both["attacks"][both["chosen"]]["auc"]["value"] > 0.95


@pytest.mark.parametrize("sides", [("",), ("", "shadow_")])
def test_files_are_held_against_retrained_models(tmp_path: Path, sides: tuple[str, ...]) -> None:
    """A deletion that shows as much as retraining is equivalent; one that shows where retraining does not leaks."""
    flags = []
    for number, side in enumerate(sides):
        flags += write_side(tmp_path, 0.5, side, number)
        shutil.copy(tmp_path / f"{side}after.csv", tmp_path / f"{side}retrained.csv")
        flags += [f"--{side}retrained", str(tmp_path / f"{side}retrained.csv")]
    found = audited(tmp_path, *flags, "--margin", "0.65", code=0)
    assert found["verdict"] == "equivalent"
    assert "shows, TPR at 1 % FPR" in {question["name"] for question in found["questions"]}
    pack = found["told"].partition("Pack: ")[2].strip()
    assert "agrees with itself" in audit(tmp_path, "--verify", pack, code=0)
    for side in sides:
        shutil.copy(tmp_path / f"{side}before.csv", tmp_path / f"{side}retrained.csv")
    assert audited(tmp_path, *flags, code=3)["verdict"] == "leaks"
    if "shadow_" in sides:
        assert "or neither" in audit(tmp_path, *flags[:-2], code=2)
    pd.read_csv(tmp_path / "retrained.csv").iloc[:-1].to_csv(tmp_path / "retrained.csv", index=False)
    assert "399 rows, the cases 400" in audit(tmp_path, *flags, code=2)


def test_no_leak_is_found_where_there_is_none(tmp_path: Path) -> None:
    found = audited(tmp_path, *write_side(tmp_path, 0.0), "--margin", "0.7", "--tpr_margin", "0.25", code=0)
    assert found["verdict"] == "below"


def test_cases_of_one_class_are_said_to_be_that(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 0.5)
    frames = [pd.read_csv(path) for path in flags[1::2]]
    chosen = frames[2]["label"] == 1
    for frame, path in zip(frames, flags[1::2], strict=True):
        frame[chosen].to_csv(path, index=False)
    assert "of one class (label 1)" in " ".join(audited(tmp_path, *flags, code=3)["told"].split())


def test_logits_labels_and_other_formats(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 0.5)
    for name in ("before", "after"):
        frame = pd.read_csv(tmp_path / f"{name}.csv")
        frame.apply(np.log).to_parquet(tmp_path / f"{name}.parquet")
    cases = pd.read_csv(tmp_path / "cases.csv")
    columns = [cases[name].to_numpy() for name in ("label", "deleted", "set")]
    np.savez(tmp_path / "cases.npz", label=columns[0], deleted=columns[1], set=columns[2])
    other = ["--before", "before.parquet", "--after", "after.parquet", "--cases", "cases.npz", "--answers", "logits"]
    other = [str(tmp_path / part) if "." in part else part for part in other]
    plain, logits = (audited(tmp_path, *some, code=3) for some in (flags, other))
    assert plain["attacks"]["label_logit"]["auc"] == logits["attacks"]["label_logit"]["auc"]


def broken(folder: Path, what: str) -> None:
    cases = pd.read_csv(folder / "cases.csv")
    values = pd.read_csv(folder / "before.csv").to_numpy()
    if what == "nan":
        values[3, 1] = np.nan
    elif what == "sum":
        values[3, 1] += 0.5
    elif what == "rows":
        values = values[:-1]
    elif what == "classes":
        values = values[:, :2] / values[:, :2].sum(axis=1, keepdims=True)
    elif what == "label":
        cases.loc[3, "label"] = 7
    elif what == "strangers":
        cases["deleted"] = 1
    elif what == "column":
        cases = cases.drop(columns="deleted")
    elif what == "words":
        cases["deleted"] = "perhaps"
    elif what == "empty":
        values = values[:0]
    elif what == "record":
        cases["record"] = [None if row == 4 else f"p{row}" for row in range(CASES)]
    elif what == "nan flag":
        cases["deleted"] = np.where(np.arange(CASES) == 3, np.nan, cases["deleted"])
    elif what == "huge":
        values = np.where(np.arange(CASES) == 3, 10**9, cases["label"])[:, None]
    elif what == "one a set":
        cases["set"] = np.arange(CASES) // 2
    elif what == "one set":
        cases["set"] = 0
    elif what == "index":
        values = np.column_stack([np.arange(len(values)), values])
    cases.to_csv(folder / "cases.csv", index=False)
    frame = pd.DataFrame(values)
    if what == "order":
        frame = frame[[1, 0, 2]]
    if what == "other class":
        frame.columns = ["0", "1", "fox"]
    if what == "swapped":
        (folder / "before.csv").rename(folder / "kept.csv")
        (folder / "after.csv").rename(folder / "before.csv")
        (folder / "kept.csv").rename(folder / "after.csv")
        return
    frame.to_csv(folder / "before.csv", index=False)


@pytest.mark.parametrize(
    ("what", "complaint"),
    [
        ("nan", "row 4 holds NaN"),
        ("sum", "row 4 is no probability"),
        ("rows", "399 rows, the cases 400"),
        ("classes", "classes"),
        ("label", "labels"),
        ("strangers", "no strangers"),
        ("column", "no column deleted"),
        ("words", "0 or 1"),
        ("empty", "no rows"),
        ("index", "numbers the rows"),
        ("record", "record: row 5 holds none"),
        ("nan flag", "found 'nan'"),
        ("huge", "there may be 1,000 classes"),
        ("one a set", "200 sets, of 1 strangers at the least"),
        ("one set", "1 sets, of 200"),
        ("order", "in another order"),
        ("other class", "other columns than --before"),
        ("swapped", "are the two swapped"),
    ],
)
def test_bad_files_are_refused_in_a_line_and_nothing_is_written(tmp_path: Path, what: str, complaint: str) -> None:
    write_side(tmp_path, 0.5)
    broken(tmp_path, what)
    files = AnswerFiles(*(tmp_path / f"{name}.csv" for name in ("before", "after", "cases")))
    with pytest.raises(UserError, match=complaint) as raised:
        read_side(files, "auto", 0)
    assert "\n" not in str(raised.value)


def test_sides_that_cannot_be_held_against_each_other(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 0.5)
    same = [flag.replace("--", "--shadow_") for flag in flags]
    assert "hold the same answers" in audit(tmp_path, *flags, *same, code=2)
    turned = write_side(tmp_path, 0.5, "shadow_", 1)
    for name in ("before", "after"):
        frame = pd.read_csv(tmp_path / f"shadow_{name}.csv")
        frame[frame.columns[::-1]].to_csv(tmp_path / f"shadow_{name}.csv", index=False)
    assert "in another order" in audit(tmp_path, *flags, *turned, "--in_order", code=2)
    shadow = write_side(tmp_path, 0.5, "shadow_", 1)
    for name in ("before", "after"):
        two = pd.read_csv(tmp_path / f"shadow_{name}.csv").iloc[:, :2]
        two.div(two.sum(axis=1), axis=0).to_csv(tmp_path / f"shadow_{name}.csv", index=False)
    cases = pd.read_csv(tmp_path / "shadow_cases.csv")
    cases.assign(label=cases["label"] % 2).to_csv(tmp_path / "shadow_cases.csv", index=False)
    assert "--shadow_before has 2 classes, --before 3" in audit(tmp_path, *flags, *shadow, code=2)


def test_labels_alone_may_be_called_label(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 3.0)
    for name in ("before", "after"):
        answers = pd.read_csv(tmp_path / f"{name}.csv").to_numpy().argmax(axis=1)
        pd.DataFrame({"label": answers}).to_csv(tmp_path / f"{name}.csv", index=False)
    assert audited(tmp_path, *flags, "--answers", "labels", code=3)["verdict"] == "leaks"


def test_swapped_files_and_missing_flags_are_told(tmp_path: Path) -> None:
    write_side(tmp_path, 0.5)
    files = {name: str(tmp_path / f"{name}.csv") for name in ("before", "after", "cases")}
    swapped = ["--before", files["after"], "--after", files["before"], "--cases", files["cases"]]
    assert "swapped" in audit(tmp_path, *swapped, code=2)
    assert "--after, --cases missing" in audit(tmp_path, "--before", files["before"], code=2)
    assert not (tmp_path / "out" / "audits").exists()


@pytest.mark.parametrize("kind", ["npz", "lists"])
def test_cases_that_are_no_table_are_one_line(kind: str, tmp_path: Path) -> None:
    flags = write_side(tmp_path, 0.5)
    cases = pd.read_csv(tmp_path / "cases.csv")
    path = tmp_path / ("cases.npz" if kind == "npz" else "cases.parquet")
    if kind == "npz":
        columns = {name: cases[name].to_numpy() for name in cases}
        np.savez(path, **{**columns, "deleted": columns["deleted"][:-3]})
    else:
        pytest.importorskip("pyarrow")
        cases.assign(record=[[number] for number in range(len(cases))]).to_parquet(path)
    told = audit(tmp_path, *(str(path) if flag.endswith("cases.csv") else flag for flag in flags), code=2)
    assert ("not equally long" if kind == "npz" else "holds lists; a cell is one value") in told


@pytest.mark.parametrize(("exchanged", "code"), [("shadow_", 3), ("", 4)])
def test_roles_that_are_exchanged_on_one_side_are_no_reason_for_calm(tmp_path: Path, exchanged: str, code: int) -> None:
    """An attack that learned that deleted records are strangers tells both apart all the same; where the shadow side's
    roles are the wrong ones, a threshold that learns nothing sees the leak."""
    flags = ["--in_order", "true", *write_side(tmp_path, 0.5), *write_side(tmp_path, 0.5, "shadow_", 1)]
    cases = pd.read_csv(tmp_path / f"{exchanged}cases.csv")
    cases.assign(deleted=1 - cases["deleted"]).to_csv(tmp_path / f"{exchanged}cases.csv", index=False)
    found = audited(tmp_path, *flags, code=code)
    assert found["questions"][0]["measured"]["value"] < 0.1
    assert found["questions"][0]["verdict"] == "reversed"
    assert ("wrong way round" in found["sentence"]) == (code == 4)
    for side in ("", "shadow_"):  # the same beside retrained models
        shutil.copy(tmp_path / f"{side}before.csv", tmp_path / f"{side}retrained.csv")
        flags += [f"--{side}retrained", str(tmp_path / f"{side}retrained.csv")]
    assert audited(tmp_path, *flags, code=code)["questions"][0]["verdict"] == "reversed"


def test_a_shadow_side_with_the_same_answers_before_is_one(tmp_path: Path) -> None:
    """Labels that are all right before say nothing of whose they are: what came after does."""
    flags = [*write_side(tmp_path, 0.5), *write_side(tmp_path, 0.6, "shadow_")]
    found = audited(tmp_path, *flags, code=3)
    assert "without a shadow side" not in found["told"]
    pack = found["told"].partition("Pack: ")[2].strip()
    assert "agrees with itself" in audit(tmp_path, "--verify", pack, code=0)


def test_what_the_last_digits_show_shows(tmp_path: Path) -> None:
    """A leak that is smaller than rounding to 32 bits would be, in files that hold more digits."""
    flags = write_side(tmp_path, 0.0)
    before, cases = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("before", "cases"))
    after = before.to_numpy() * (1 - 1e-7 * cases[["deleted"]].to_numpy())
    pd.DataFrame(after).to_csv(tmp_path / "after.csv", index=False)
    assert audited(tmp_path, *flags, code=3)["questions"][0]["verdict"] == "leaks"
    before.to_csv(tmp_path / "after.csv", index=False)
    assert audited(tmp_path, *flags, code=4)["questions"][0]["verdict"] == "alike"


def test_rows_that_do_not_change_at_all_give_the_others_away(tmp_path: Path) -> None:
    """A leak far below what other rows move by, with and without a shadow side."""
    flags = [*write_side(tmp_path, 0.0), *write_side(tmp_path, 0.0, "shadow_", 1)]
    for side in ("", "shadow_"):
        before, cases = (pd.read_csv(tmp_path / f"{side}{name}.csv") for name in ("before", "cases"))
        after = before.to_numpy() * (1 - 1e-9 * cases[["deleted"]].to_numpy())
        noisy = np.arange(CASES) % 97 == 0
        after[noisy] = np.roll(after[noisy], 1, axis=1)
        pd.DataFrame(after).to_csv(tmp_path / f"{side}after.csv", index=False)
    for some in (flags[:6], flags):
        found = audited(tmp_path, *some, "--margin", "0.6", code=3)
        assert any("the size of the change alone" in question["name"] for question in found["questions"])


def test_columns_that_are_called_alike_are_refused(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 0.5)
    frame = pd.read_csv(tmp_path / "cases.csv")
    frame.assign(**{"set ": 1}).to_csv(tmp_path / "cases.csv", index=False)
    assert "two columns 'set'" in audit(tmp_path, *flags, code=2)

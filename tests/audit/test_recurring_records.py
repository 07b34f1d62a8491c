"""Records that come again: in several sets, on both sides, under other names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib_unlearning.audit.side import AnswerFiles, read_side
from tests.audit.doors import CASES, audit, audited, two_models, write_side
from tests.processes import command


def same_people(folder: Path, names: list[str], others: list[str], wrong: int = 0) -> list[str]:
    """Both sides ask about the same 400 people, by names that may be written in two ways; nothing leaks but who they
    are. `wrong` labels of the shadow side are spoilt."""
    flags = [*write_side(folder, 0.0), *write_side(folder, 0.0, "shadow_", 1)]
    cases, shadow = (pd.read_csv(folder / f"{side}cases.csv") for side in ("", "shadow_"))
    label = cases["label"].to_numpy().copy()
    label[:wrong] = (label[:wrong] + 1) % 3
    cases.assign(record=names).to_csv(folder / "cases.csv", index=False)
    shadow.assign(record=others, label=label).to_csv(folder / "shadow_cases.csv", index=False)
    return flags


@pytest.mark.parametrize("wrong", [0, 3, 40])
@pytest.mark.parametrize("others", ["{}", "{:04d}", "0{}"])
def test_the_same_people_on_both_sides_are_refused_however_they_are_written(
    tmp_path: Path, others: str, wrong: int
) -> None:
    numbers = range(1, CASES + 1)
    flags = same_people(tmp_path, [str(number) for number in numbers], [others.format(n) for n in numbers], wrong)
    assert "of the same records" in audit(tmp_path, *flags, code=2)


def test_other_people_may_have_the_same_numbers(tmp_path: Path) -> None:
    flags = [*write_side(tmp_path, 0.5), *write_side(tmp_path, 0.5, "shadow_", 1)]
    for side in ("", "shadow_"):
        frame = pd.read_csv(tmp_path / f"{side}cases.csv")
        frame.assign(record=np.arange(CASES)).to_csv(tmp_path / f"{side}cases.csv", index=False)
    assert audited(tmp_path, *flags, code=3)["verdict"] == "leaks"


def test_names_stay_as_they_are_written(tmp_path: Path) -> None:
    """7, 007 and 7.0 are three people, NA is one, and so are numbers that no double holds."""
    flags = write_side(tmp_path, 2.0)
    frame = pd.read_csv(tmp_path / "cases.csv")
    names = [f"{2**60 + number}" for number in range(CASES)]
    names[:6] = ["7", "007", "7.0", "NA", "1e0", "null"]
    frame.assign(record=names).to_csv(tmp_path / "cases.csv", index=False)
    side = read_side(AnswerFiles(*(tmp_path / f"{name}.csv" for name in ("before", "after", "cases"))), "auto", 0)
    assert side.names.tolist() == names
    assert len(np.unique(side.cases.record)) == CASES
    frame.assign(record=["", *names[1:]]).to_csv(tmp_path / "cases.csv", index=False)
    assert "row 1 holds none" in audit(tmp_path, *flags, code=2)


@pytest.mark.parametrize(
    ("names", "others"), [("ID{:03d}", "id{}"), ("5,{:03d}", "5{:03d}"), ("{}.0", "{}"), ("p {}", "P{}")]
)
def test_one_class_of_the_same_people_is_known_by_their_names(tmp_path: Path, names: str, others: str) -> None:
    numbers = range(1, CASES + 1)
    flags = same_people(tmp_path, [names.format(n) for n in numbers], [others.format(n) for n in numbers], 300)
    if names != "{}.0":
        assert "of the same records" in audit(tmp_path, *flags, code=2)
    else:  # these only count rows, and their labels are others
        audited(tmp_path, *flags, code=4)


def _with_records(folder: Path) -> list[str]:
    """A side's files whose cases name their records."""
    flags = write_side(folder, 0.5)
    cases = pd.read_csv(folder / "cases.csv")
    cases.assign(record=np.arange(len(cases)), request=np.arange(len(cases)) // 2).to_csv(folder / "cases.csv")
    pd.read_csv(folder / "cases.csv", index_col=0).to_csv(folder / "cases.csv", index=False)
    return flags


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"request": 1000}, "is deleted from one set 2 times"), ({"deleted": None}, "and a stranger to it as well")],
)
def test_a_record_is_deleted_from_a_set_once_and_no_stranger_to_it(
    change: dict[str, int | None], complaint: str, tmp_path: Path
) -> None:
    flags = _with_records(tmp_path)
    audited(tmp_path, *flags, code=3)
    for name in ("before", "after", "cases"):
        table = pd.read_csv(tmp_path / f"{name}.csv")
        again = table.copy()
        if name == "cases":
            for column, more in change.items():
                again[column] = 1 - again[column] if more is None else again[column] + more
        pd.concat([table, again]).to_csv(tmp_path / f"{name}.csv", index=False)
    assert complaint in audit(tmp_path, *flags, code=2)


def test_strangers_who_are_the_deleted_are_left_out(tmp_path: Path) -> None:
    flags = two_models(tmp_path, 20)
    table = pd.read_csv(tmp_path / "people.csv")
    pd.concat([table, table.assign(deleted=0)[table["deleted"] == 1]]).to_csv(tmp_path / "people.csv", index=False)
    done = command("main.py", ["--exp", "audit", *flags, "--trust", "--temp_data", str(tmp_path / "out")], tmp_path)
    assert "20 rows equal others and are left out" in done.stderr
    assert "320 cases, 20 deleted records" in " ".join(done.stdout.split())


def same_records(folder: Path, seed: int, models: int = 10, people: int = 40) -> list[str]:
    """A null: answers of several pairs of models to the same people, none of whom any model knew."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    own = rng.normal(0, 1, people)  # what all models say of a person, more or less
    label, deleted = rng.integers(0, 2, people), np.tile([1, 0], people // 2)
    logits = np.tile(own, models) + rng.normal(0, 0.05, people * models)
    for name, values in (("before", logits), ("after", logits + rng.normal(0, 0.05, len(logits)))):
        share = 1 / (1 + np.exp(-values))
        pd.DataFrame({"0": 1 - share, "1": share}).to_csv(folder / f"{name}.csv", index=False)
    cases = {"record": np.arange(people), "label": label, "deleted": deleted}
    table = pd.concat([pd.DataFrame(cases).assign(set=number) for number in range(models)])
    table.to_csv(folder / "cases.csv", index=False)
    return [word for name in ("before", "after", "cases") for word in (f"--{name}", str(folder / f"{name}.csv"))]


@pytest.mark.parametrize("seed", range(3))
def test_the_same_records_in_every_set_are_no_leak(tmp_path: Path, seed: int) -> None:
    """Cross-fitted by set, a forest would know each person again."""
    found = audited(tmp_path, *same_records(tmp_path, seed), "--attack_model", "RF", code=4)
    assert found["verdict"] == "undecided"
    assert "divided by record" in " ".join(found["told"].split())


def test_a_shadow_side_of_the_same_records_is_refused(tmp_path: Path) -> None:
    flags = same_records(tmp_path, 0)
    shadow = same_records(tmp_path / "shadow", 0, models=8)
    told = audit(tmp_path, *flags, *(word.replace("--", "--shadow_", 1) for word in shadow), code=2)
    assert "name 40 of the same records" in told


def test_records_are_called_what_the_file_calls_them(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 2.0)
    shadow = write_side(tmp_path, 2.0, "shadow_", 1)
    cases = pd.read_csv(tmp_path / "cases.csv")
    cases.assign(record=np.arange(CASES) + 900_000).to_csv(tmp_path / "cases.csv", index=False)
    audited(tmp_path, *flags, *shadow, "--show_ids", "true", code=3)
    (page,) = (tmp_path / "out" / "audits").rglob("audit.html")
    named = re.findall(r"<tr><td>(\d+)</td><td>[\d.]+</td><td>deleted", page.read_text(encoding="utf-8"))
    assert named
    assert all(900_000 <= int(name) < 900_000 + CASES and int(name) % 2 == 0 for name in named)

"""Inputs from public reports, each with its right answer (skipped where the cases are not beside the project)."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.test_commands import PROJECT, result_rows, run
from tests.test_data_prepare import prepare

CASES = PROJECT.parent / "shared" / "cases"
SMALL = [
    f"--{side}_{name}={value}"
    for side in ("shadow", "target")
    for name, value in (("set_num", 2), ("set_size", 200), ("unlearning_size", 5))
]


def case(number: str, name: str = "") -> Path:
    found = list(CASES.glob(f"{number}-*"))
    if not found:
        pytest.skip(f"case {number} is not here")
    return found[0] / name if name else found[0]


def own(folder: Path, source: Path, label: str, *flags: str, code: int = 0) -> str:
    return prepare(folder, "--dataset_name", "csv", "--source", str(source), "--label_column", label, *flags, code=code)


def features(folder: Path, name: str) -> np.ndarray:
    (path,) = (folder / "processed_dataset").glob(f"own-{name}_*/features.npy")
    return np.load(path)


def held_out_accuracy(folder: Path, name: str, *flags: str) -> float:
    output = run(folder, "--exp", "mem_inf", "--train_missing", "--dataset_name", name, *SMALL, *flags, small=False)
    return float(result_rows(output)["basic_mia"]["original_held_out_accuracy"])


def test_01_fashion_is_not_taken_for_mnist(tmp_path: Path) -> None:
    shutil.copytree(case("01", "dataset"), tmp_path / "dataset")
    assert "1 x 28 x 20 features" in prepare(tmp_path, "--dataset_name", "mnist")
    fashion = str(tmp_path / "dataset" / "FashionMNIST" / "raw")
    assert "holds FashionMNIST" in prepare(tmp_path, "--dataset_name", "mnist", "--source", fashion, code=2)
    shutil.rmtree(tmp_path / "dataset" / "MNIST")
    assert "no raw file of mnist" in prepare(tmp_path, "--dataset_name", "mnist", "--force", code=2)


def test_02_no_interval_of_width_0(tmp_path: Path) -> None:
    own(tmp_path, case("02", "month.csv"), "month")
    flags = ["--original_model=LR", "--unlearning_method=sisa", "--shadow_num_shard=50", "--target_num_shard=50"]
    train = ["--exp", "mem_inf", "--train_missing", "--dataset_name", "month"]
    for row in result_rows(run(tmp_path, *train, *SMALL, *flags, small=False)).values():
        assert not row["auc_low"] or float(row["auc_high"]) - float(row["auc_low"]) > 0.1


def test_03_large_integers_do_not_collapse(tmp_path: Path) -> None:
    for name in ("epoch_ms", "same_less_constant"):
        own(tmp_path, case("03", f"{name}.csv"), "risk")
    shifted, plain = features(tmp_path, "epoch_ms"), features(tmp_path, "same_less_constant")
    assert len(np.unique(shifted)) == len(np.unique(plain)) == 1190
    np.testing.assert_array_equal(np.argsort(shifted[:, 0], kind="stable"), np.argsort(plain[:, 0], kind="stable"))
    assert held_out_accuracy(tmp_path, "epoch_ms") > 0.9


def test_05_a_wide_header(tmp_path: Path) -> None:
    assert "60 records, 5,000 features" in own(tmp_path, case("05", "wide.csv"), "risk")


def test_07_byte_order_marks(tmp_path: Path) -> None:
    for name in ("bom_first_label", "bom_quoted"):
        assert "2 features" in own(tmp_path, case("07", f"{name}.csv"), "risk")
    np.testing.assert_array_equal(features(tmp_path, "bom_first_label"), features(tmp_path, "bom_quoted"))
    for name in ("adult_bom.csv", "adult.data"):
        assert "1200 records" in prepare(tmp_path, "--dataset_name", "adult", "--source", str(case("07", name)))


def test_08_codes_that_look_like_numbers_are_categories(tmp_path: Path) -> None:
    for name, label, column in (("passengers", "Survived", "Ticket"), ("hospital", "readmitted", "diag_1")):
        told = own(tmp_path, case("08", f"{name}.csv"), label)
        assert re.search(rf"^{column} +category", told, re.MULTILINE)
    complaint = own(tmp_path, case("08", "hospital.csv"), "readmitted", "--numeric", "diag_1", code=2)
    assert "--categorical diag_1" in complaint


def test_09_thousands_percent_and_currency_are_numbers(tmp_path: Path) -> None:
    told = own(tmp_path, case("09", "thousands.csv"), "band")
    own(tmp_path, case("09", "plain.csv"), "band")
    for column in ("income", "rate", "price"):
        assert re.search(rf"^{column} +number", told, re.MULTILINE)
    np.testing.assert_array_equal(features(tmp_path, "thousands")[:, 0], features(tmp_path, "plain")[:, 0])


def test_10_one_class_is_spelled_one_way(tmp_path: Path) -> None:
    for name, label in (("float_mixed", "risk"), ("dot", "class"), ("case", "class")):
        assert "2 classes" in own(tmp_path, case("10", f"label_{name}.csv"), label)
    assert "the label is missing" in own(tmp_path, case("10", "label_NA.csv"), "risk", code=2)


def test_11_and_16_pictures_that_do_not_fit(tmp_path: Path) -> None:
    told = prepare(tmp_path, "--dataset_name", "mnist", "--source", str(case("11")), code=2)
    assert "pictures of different sizes, 1 x 28 x 28 and 1 x 32 x 32" in told
    told = prepare(tmp_path, "--dataset_name", "cifar10", "--source", str(case("16")), code=2)
    assert "data_batch_1 holds float64 numbers, not bytes" in told


def test_13_epsilon_is_never_negative(tmp_path: Path) -> None:
    case("13")
    flags = ["--original_model=LRTorch", "--num_epochs=2", "--is_dp_defense=true", "--sigma=2", *SMALL]
    for delta in ("0.9", "1"):
        told = run(tmp_path, "--exp", "model_train", *flags, f"--delta={delta}", code=2, small=False)
        assert f"--delta {delta}: must be below 1 / 200" in told


def test_15_adult_in_all_its_spellings(tmp_path: Path) -> None:
    tables = []
    for path in sorted(case("15").glob("*.csv")):
        assert "1200 records, 14 features" in prepare(tmp_path, "--dataset_name", "adult", "--source", str(path))
        tables.append(np.load(tmp_path / "processed_dataset" / "adult_income" / "features.npy"))
    assert len(tables) == 3
    for table in tables[1:]:
        np.testing.assert_array_equal(table, tables[0])


def test_18_foursquare_in_other_wrappings(tmp_path: Path) -> None:
    for name, city in (("NYC.csv", "New York"), ("NYC.txt", "New York"), ("TKY.txt", "Tokyo")):
        path = str(case("18", f"dataset_TSMC2014_{name}"))
        told = prepare(tmp_path, "--dataset_name", "location", "--source", path)
        assert f"Foursquare check-ins in {city}, 2012;" in told
        assert "Food" in told  # cafes have an accent


def test_19_what_is_not_shown_is_not_denied(tmp_path: Path) -> None:
    own(tmp_path, case("19", "c900.csv"), "user")
    flags = ["--unlearning_method=sisa", *SMALL]
    output = run(tmp_path, "--exp", "mem_inf", "--train_missing", "--dataset_name", "c900", *flags, small=False)
    assert "It is not more than" not in output
    assert "cannot tell" in output or "no verdict" in output or "That is more than" in output


def test_20_other_encodings_and_separators(tmp_path: Path) -> None:
    assert "city" in own(tmp_path, case("20", "latin1.csv"), "risk")
    own(tmp_path, case("20", "cp1252_late.csv"), "risk")
    told = own(tmp_path, case("20", "semi.csv"), "risk")
    assert re.search(r"^income +number +1,200", told, re.MULTILINE)

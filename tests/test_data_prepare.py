"""data_prepare.py as people use it: real processes, real and damaged files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import data_prepare
from lib_unlearning.cache.layout import Layout
from lib_unlearning.errors import UserError
from tests.processes import PROJECT, command
from tests.readers.test_readers import SHARED, need, write_cifar10, write_mnist, write_stl10
from tests.test_commands import SMALL, result_rows, run


def prepare(folder: Path, *flags: str, code: int = 0) -> str:
    """Run data_prepare.py; what it printed, or its one line of complaint."""
    done = command("data_prepare.py", [*flags, "--temp_data", str(folder)], PROJECT)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code == 0:
        return done.stdout
    (complaint,) = [line for line in done.stderr.splitlines() if not line.startswith(("INFO", "WARNING"))]
    return complaint


def test_adult_is_prepared_listed_and_loaded_fast(tmp_path: Path) -> None:
    assert "adult / income: not ready" in prepare(tmp_path, "--list")
    line = "adult / income: ready, 48842 records, 14 features, 2 classes (<=50K 76.1%, >50K 23.9%)"
    assert line in prepare(tmp_path)
    listed = prepare(tmp_path, "--list")
    assert line in listed
    for name, labels in data_prepare.DATASETS.items():
        for label, form in labels.items():
            assert f"{name} / {label}" in listed
            assert form.licence in listed
    fastest = min(_load_seconds(tmp_path) for _ in range(5))
    assert fastest < 0.1


def _load_seconds(folder: Path) -> float:
    start = time.perf_counter()
    data_prepare.obtain_dataset("adult", "income", Layout(folder))
    return time.perf_counter() - start


def test_list_and_help_do_not_import_torch() -> None:
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    for flag in ("--list", "--help"):
        command = [sys.executable, "data_prepare.py", flag]
        done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, env=environment, check=True)
        assert not re.search(r"\| +(torch|torchvision|sklearn|pandas)$", done.stderr, re.MULTILINE)


@pytest.mark.parametrize("name", ["features.npy", "labels.npy", "dataset.json"])
def test_a_changed_file_is_noticed(tmp_path: Path, name: str) -> None:
    prepare(tmp_path)
    path = tmp_path / "processed_dataset" / "adult_income" / name
    content = bytearray(path.read_bytes())
    position = content.index(b"CC BY") if name == "dataset.json" else len(content) - 8
    content[position] ^= 3
    path.write_bytes(content)
    with pytest.raises(UserError, match="adult_income"):
        data_prepare.obtain_dataset("adult", "income", Layout(tmp_path))


@pytest.mark.parametrize("name", ["accident", "foursquare", "synthetic", "mnist", "cifar10", "stl10", "csv"])
def test_a_whole_study_on_every_data_set(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    flags = ["--dataset_name", name]
    labels = rng.integers(0, 10, 1500)
    pixels = (rng.integers(0, 100, (1500, 32, 32, 3)) + 12 * labels[:, None, None, None]).astype(np.uint8)
    if name == "accident":
        prepare(tmp_path, *flags, "--source", str(need(SHARED / "us_accidents_2023_5000.csv.gz")))
    elif name == "foursquare":
        flags = ["--dataset_name", "location", "--original_label", name]
        prepare(tmp_path, *flags, "--source", str(need(SHARED / "foursquare_nyc_checkins.csv.gz")))
    elif name == "synthetic":
        flags = ["--dataset_name", "location", "--original_label", name]
    elif name == "mnist":
        small = pixels[:, :28, :28, 0]
        write_mnist(
            tmp_path / "dataset" / "MNIST" / "raw", {"train": (small, labels), "t10k": (small[:500], labels[:500])}
        )
    elif name == "cifar10":
        write_cifar10(tmp_path / "dataset" / "cifar-10-batches-py", pixels, labels)
    elif name == "stl10":
        write_stl10(
            tmp_path / "dataset" / "stl10_binary", np.kron(pixels[:300], np.ones((1, 3, 3, 1), np.uint8)), labels[:300]
        )
    else:
        table = pd.DataFrame({"n": labels + rng.normal(size=1500), "w": labels % 3, "kind": labels % 4})
        table.to_csv(tmp_path / "own.csv", index=False)
        prepare(tmp_path, *flags, "--source", str(tmp_path / "own.csv"), "--label_column", "kind")
        flags += ["--original_label", "kind"]
    size = "=40" if name in ("mnist", "cifar10", "stl10") else "=100"
    sizes = [flag.replace("=400", size).replace("set_num=3", "set_num=2") for flag in SMALL]
    output = run(tmp_path, "--exp", "mem_inf", "--train_missing", *flags, *sizes, small=False)
    assert len(result_rows(output)) == 8
    assert ("(synthetic)" in output) == (name == "synthetic")


def test_what_is_missing_is_explained(tmp_path: Path) -> None:
    complaint = prepare(tmp_path, "--dataset_name", "accident", code=2)
    for part in (
        "https://www.kaggle.com",
        "put the CSV",
        "--dataset_name accident --original_label severity --download",
    ):
        assert part in complaint
    assert "LA" in prepare(tmp_path, "--dataset_name", "location", "--original_label", "Paris", code=2)
    assert "--source is missing" in prepare(tmp_path, "--dataset_name", "csv", "--label_column", "y", code=2)
    assert "has nothing to fetch" in prepare(
        tmp_path, "--dataset_name", "location", "--original_label", "synthetic", "--download", code=2
    )
    assert not list(tmp_path.rglob("*.npy"))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text("Severity,Start_Lat,Start_Lng\n1,2,3\n")
    (tmp_path / "td" / "dataset").mkdir(parents=True)
    (tmp_path / "td" / "dataset" / "accident.csv").symlink_to(outside)
    assert "is a link out of" in prepare(tmp_path / "td", "--dataset_name", "accident", code=2)
    assert not list(tmp_path.rglob("*.npy"))


def test_a_second_table_of_one_name_and_flags_of_own_tables_are_refused(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "people.csv").write_text("x,risk\n" + "1,a\n2,b\n" * 20)
    flags = ["--dataset_name", "csv", "--label_column", "risk", "--temp_data", str(tmp_path / "td"), "--source"]
    assert command("data_prepare.py", [*flags, str(tmp_path / "one" / "people.csv")], PROJECT).returncode == 0
    assert command("data_prepare.py", [*flags, str(tmp_path / "one" / "people.csv")], PROJECT).returncode == 0
    assert command("data_prepare.py", [*flags, str(tmp_path / "two" / "people.csv")], PROJECT).returncode == 2
    assert (
        command("data_prepare.py", [*flags, str(tmp_path / "two" / "people.csv"), "--force"], PROJECT).returncode == 0
    )
    assert (
        command(
            "data_prepare.py",
            ["--dataset_name", "adult", "--drop", "age", "--temp_data", str(tmp_path / "td")],
            PROJECT,
        ).returncode
        == 2
    )


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "processed_dataset").write_text("a file where a folder should be")
    assert f"cannot lock {tmp_path}" in prepare(tmp_path, code=2)

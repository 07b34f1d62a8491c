"""Raw forms of every data set, real ones where they are at hand, and everything that can be wrong with them."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import config
from lib_unlearning.cache.layout import Layout
from lib_unlearning.errors import UserError
from lib_unlearning.readers import accident, adult, images, location, own_table, safe_pickle, tables
from lib_unlearning.readers.raw import RawDataset, check

DATA = Path(__file__).resolve().parent.parent / "data"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SHIPPED = Layout(config.TEMP_DATA_DIR).raw_data / "adult.csv.xz"
CHECKIN = location.CheckInOptions()
LABEL = own_table.TableOptions("label")


def need(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    return path


# ---------------------------------------------------------------- adult


def uci_lines(text: str, dot: str) -> str:
    """Rows of the Kaggle form as UCI writes them."""
    rows = [["?" if cell == "" else cell for cell in line.split(",")] for line in text.splitlines()]
    return "".join(", ".join(row) + dot + "\n" for row in rows)


def test_three_forms_of_adult_are_one_data_set(tmp_path: Path) -> None:
    with tables.open_bytes(SHIPPED) as handle:
        header, *rows = handle.read().decode().splitlines()[:2001]
    kaggle, question = tmp_path / "kaggle.csv", tmp_path / "question.csv"
    kaggle.write_text("\n".join([header, *rows]))
    marked = [",".join(cell or "?" for cell in row.split(",")) for row in rows]
    question.write_text("\n".join([header, *marked]))
    (tmp_path / "adult.data").write_text(uci_lines("\n".join(rows[:1500]), "") + "\n")
    (tmp_path / "adult.test").write_text("|1x3 Cross validator\n" + uci_lines("\n".join(rows[1500:]), ".") + "\n")
    expected = adult.read(kaggle)
    assert expected.features.shape == (2000, 14)
    for path in (question, tmp_path / "adult.data", tmp_path):
        found = adult.read(path)
        np.testing.assert_array_equal(found.features, expected.features)
        np.testing.assert_array_equal(found.labels, expected.labels)
        assert path.is_dir() or adult.recognise(path)
    assert expected.details["category_codes"]["workclass"][0] == ""


def test_the_shipped_file_is_the_whole_of_adult() -> None:
    found = adult.read(SHIPPED)
    assert found.features.shape == (48842, 14)
    assert np.bincount(found.labels).tolist() == [37155, 11687]
    workclass = found.features[:, found.details["columns"].index("workclass")]
    assert (workclass == 0).sum() == 2799


# ---------------------------------------------------------------- accident


@pytest.mark.parametrize(
    ("name", "rows", "columns", "lacking"),
    [
        ("us_accidents_june2020_10000.csv.gz", 10_000, 29, []),
        ("us_accidents_2023_5000.csv.gz", 5_000, 26, ["TMC", "Wind_Chill(F)", "Side"]),
    ],
)
def test_real_accidents(name: str, rows: int, columns: int, lacking: list[str]) -> None:
    path = need(SHARED / name)
    assert accident.recognise(path)
    found = check(accident.read(path), path)
    assert found.features.shape == (rows, columns)
    assert found.details["left_out"] == lacking


def accident_table(rows: int) -> pd.DataFrame:
    numbers = {name: np.arange(rows) * 0.5 for name in accident.NUMERIC}
    words = {name: np.where(np.arange(rows) % 2, "a", "b") for name in accident.CATEGORICAL}
    return pd.DataFrame({"ID": range(rows), accident.LABEL: np.arange(rows) % 4 + 1, **numbers, **words})


def test_accident_reads_the_first_rows_only_and_codes_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accident, "MAX_ROWS", 60)
    table = accident_table(100)
    table.loc[3, "TMC"] = np.nan
    table.loc[3, "Side"] = np.nan
    table.to_csv(tmp_path / "x.csv", index=False)
    found = accident.read(tmp_path / "x.csv")
    assert len(found.labels) == 60
    assert found.labels[:4].tolist() == [0, 0, 1, 1]
    side = found.details["columns"].index("Side")
    assert (found.features[3, 0], found.features[3, side]) == (-1.0, 0.0)  # below the smallest; before the first


# ---------------------------------------------------------------- location


def test_foursquare_sample(caplog: pytest.LogCaptureFixture) -> None:
    path = need(SHARED / "foursquare_nyc_checkins.csv.gz")
    assert location.recognise_checkins(path)
    found = location.read_checkins(path, CHECKIN)
    assert found.features.shape == (6961, 168)
    assert found.details["venues_before_min_checkins"] == 15204
    assert len(found.classes) == 9
    assert "Event" in found.details["left_out"]
    assert len(location.read_checkins(path, location.CheckInOptions(5)).labels) == 2583


def test_tsmc_check_ins_in_local_time(tmp_path: Path) -> None:
    path = tmp_path / "dataset_TSMC2014_NYC.txt"
    line = "1\t{venue}\tid\t{category}\t40.7\t-74.0\t-240\t{time}\n"
    rows = [
        line.format(venue=f"v{number:02}", category="Caf\xe9" if number % 2 else "Bar", time=time)
        for number in range(24)
        for time in ("Tue Apr 03 02:00:09 +0000 2012", "Tue Apr 03 18:00:09 +0000 2012")
    ]
    rows.append(line.format(venue="v99", category="Spaceport", time="Tue Apr 03 18:00:09 +0000 2012"))
    path.write_bytes("".join(rows).encode("latin-1"))
    assert location.recognise_checkins(path)
    found = location.read_checkins(path, CHECKIN)
    assert found.classes == ["Food", "Nightlife Spot"]
    assert "Spaceport" in found.details["left_out"]
    assert np.flatnonzero(found.features[0]).tolist() == [22, 24 + 14]  # Monday 22 h and Tuesday 14 h in New York
    for number, separator in enumerate(",;|"):
        other = tmp_path / f"other{number}.csv"
        other.write_bytes("".join(rows).replace("\t", separator).encode("latin-1"))
        assert location.recognise_checkins(other)
        np.testing.assert_array_equal(location.read_checkins(other, CHECKIN).features, found.features)
    commas = tmp_path / "commas.csv"
    commas.write_bytes(
        "".join(rows).replace("40.7", "40,783550").replace("-74.0", "-74,02").replace("\t", ";").encode("latin-1")
    )
    assert location.read_checkins(commas, CHECKIN).details["source"] == found.details["source"]
    broken = tmp_path / "broken.txt"
    broken.write_bytes("".join(rows).replace("Apr 03 02:00", "Apr 93 02:00", 1).encode("latin-1"))
    with pytest.raises(UserError, match="record 1, column utc_time: 'Tue Apr 93"):
        location.read_checkins(broken, CHECKIN)


def test_hours_of_the_week_and_pickles(tmp_path: Path) -> None:
    columns = {str(hour): np.arange(30) % (hour + 1) for hour in range(168)}
    table = pd.DataFrame({"locid": range(30), **columns, "category": np.repeat([10, 2, 3], 10)})
    table.to_csv(tmp_path / "ny_withCatId.csv", index=False)
    with pd.option_context("mode.string_storage", "python"):
        plain = table.copy()
        plain.columns = pd.Index([str(name) for name in table.columns], dtype=object)
        plain.to_pickle(tmp_path / "Insta_ny")
    from_csv, from_pickle = (
        location.read_hours(tmp_path / "ny_withCatId.csv"),
        location.read_hours(tmp_path / "Insta_ny"),
    )
    assert from_csv.classes == from_pickle.classes == ["2", "3", "10"]
    np.testing.assert_array_equal(from_csv.features, table.iloc[:, 1:169])
    np.testing.assert_array_equal(from_csv.features, from_pickle.features)
    np.testing.assert_array_equal(from_csv.labels, np.repeat([2, 0, 1], 10))


def test_pickles_of_pandas_1_open() -> None:
    insta = location.read_hours(DATA / "insta_pandas1.pickle")
    assert (insta.features.shape, insta.classes) == ((30, 168), ["1", "2", "5"])
    assert adult.read(DATA / "adult_pandas1.pickle").features.shape == (20, 2)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_all_protocols_and_column_types_open(tmp_path: Path, protocol: int) -> None:
    table = pd.DataFrame({"a": [1.0, 2.0], "b": [True, False], "c": pd.Categorical(["x", "y"]), "d": ["s", "t"]})
    with pd.option_context("mode.string_storage", "python"):
        table = table.astype({"d": "str"})
        table["c"] = pd.Categorical(["x", "y"])
        table.columns = pd.Index(list("abcd"))
        table.to_pickle(tmp_path / "t.pickle", protocol=protocol)
    pd.testing.assert_frame_equal(safe_pickle.load(tmp_path / "t.pickle", 10**6), table)


def test_the_synthetic_table_is_always_the_same_and_says_what_it_is() -> None:
    found = location.synthesise(records=500)
    assert found.features.shape == (500, 168)
    assert found.details["synthetic"] is True
    np.testing.assert_array_equal(found.features, location.synthesise(records=500).features)


# ---------------------------------------------------------------- pickles that run commands


class Commands:
    """Pickles that would do something, by several routes."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_that_would_run_a_command_does_not(tmp_path: Path, protocol: int) -> None:
    proof = tmp_path / "proof"
    for attempt in (
        Commands(os.system, f"touch {proof}"),
        Commands(exec, f"open({str(proof)!r}, 'w')"),
        Commands(pd.read_pickle, str(proof)),
        Commands(np.save, str(proof), np.zeros(1)),
        Commands(getattr, "text", "upper"),
    ):
        path = tmp_path / "Insta_ny"
        path.write_bytes(pickle.dumps(attempt, protocol=protocol))
        with pytest.raises(UserError, match="opened safely"):
            location.read_hours(path)
        assert not list(tmp_path.glob("proof*"))


def test_a_data_frame_without_its_parts_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "Insta_ny"
    path.write_bytes(b"\x80\x02cpandas.core.frame\nDataFrame\n)\x81.")  # made, but never filled
    with pytest.raises(UserError, match=r"damaged table \(.*\); export it as CSV$"):
        safe_pickle.table(path, ("income",), 10**6)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=200), st.tuples(st.integers(0, 1188), st.binary(min_size=1, max_size=8))))
def test_fuzzed_pickles_give_a_table_or_one_line(tmp_path: Path, change: Any) -> None:
    content = bytearray((DATA / "adult_pandas1.pickle").read_bytes())
    if isinstance(change, bytes):
        content = bytearray(b"\x80" + change)
    else:
        content[change[0] : change[0] + len(change[1])] = change[1]
    path = tmp_path / "fuzzed"
    path.write_bytes(content)
    try:
        safe_pickle.table(path, ("income",), 10**6)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017


# ---------------------------------------------------------------- tables that are wrong


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=300), st.text(alphabet='a1,"\n\r\t;? .-en\x00\u00e9', max_size=300)))
def test_fuzzed_tables_give_a_data_set_or_one_line(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "fuzzed.csv"
    path.write_bytes(content if isinstance(content, bytes) else b"a,b,label\n1,x,0\n" + content.encode())
    try:
        found = check(own_table.read(path, LABEL), path)
        assert np.isfinite(found.features).all()
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017


BAD_TABLES: list[tuple[bytes, str]] = [
    (b"", "is empty"),
    (b"a,b,label\n", "a header and no rows"),
    (b"a:b:label\n1:2:x\n", "has no such column"),
    (b"a,a,label\n1,2,x\n", "has the column 'a' twice"),
    (b"a,b,label\n1,2,x\n", "holds 1 usable record"),
    (b"a,b,label\n1,2,x\n3,4,x\n", "all 2 records are of class 'x'"),
    (b"a,b,label\n1,2,x\n3,4,x\n5,6,y\n", "class 'y' has 1 record"),
    (b"a,b,label\n1,2,x\n3,inf,x\n5,6,y\n7,8,y\n", "record 2, column b: 'inf' is no finite 32-bit number"),
    (b"a,b,label\n1,2,x\n3,1e39,x\n5,6,y\n7,8,y\n", "record 2, column b: '1e.?39' is no finite 32-bit number"),
    (b"a,b,label\n1,2,x\n3,oops,x\n5,6,y\n7,8,y\n", "record 2, column b: 'oops' is no finite 32-bit number"),
    (b"a,b,label\n1,2,x\n3,4\n5,6,y\n", "record 2: 2 fields, not 3"),
    (b"a,b,label\n1,2,x\n3,4,x,9\n5,6,y\n", "record 2: 4 fields, not 3"),
    (b"a,b,label\n1,\xff\xfe,x\n3,4,x\n5,6,y\n", "column b: '\u00ff\u00fe' is no finite 32-bit number|class 'y' has 1"),
    (b"a,b,label\n1,2,x\n3,4,\n5,6,y\n", "record 2, column label: the label is missing"),
    (gzip.compress(b"a,b,label\n" + b"1,2,x\n" * 5000, mtime=0)[:-40], "cannot be read"),
    (b"PAR1 and then nothing", "Parquet"),
    (b"\x89PNG\r\n\x1a\n\x00\x00", "is not a text table|has no such column|cannot be read"),
]


@pytest.mark.parametrize(("content", "complaint"), BAD_TABLES)
def test_a_bad_table_is_one_line(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=complaint) as caught:
        check(own_table.read(path, LABEL), path)
    assert "\n" not in str(caught.value)
    assert "table.csv" in str(caught.value)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        own_table.read(tmp_path / "no.csv", LABEL)
    with pytest.raises(UserError, match="is a folder"):
        own_table.read(tmp_path, LABEL)


def test_a_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wb") as handle:
        handle.write(b"a,b,label\n")
        for _ in range(50):
            handle.write(b"0,0,x\n" * 10_000)
    with pytest.raises(UserError, match="unpacks to more than 1000000 bytes"):
        tables.read_columns(path, limit=1_000_000)
    zipped = tmp_path / "bomb.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.csv", b"a,b,label\n" + b"0" * 10_000_000)
    with pytest.raises(UserError, match="unpacks to more than 1000000 bytes"):
        tables.read_columns(zipped, limit=1_000_000)


def test_an_own_table_of_numbers_and_words(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"n": [1.5, np.nan, 3.0, 4.0], "w": ["u", "v", None, "u"], "label": ["no", "yes", "no", "yes"]}
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    found = own_table.read(tmp_path / "t.csv", LABEL)
    np.testing.assert_array_equal(found.features, [[1.5, 1], [0.5, 2], [3, 0], [4, 1]])
    assert (found.classes, found.labels.tolist()) == (["no", "yes"], [0, 1, 0, 1])
    pytest.importorskip("pyarrow")
    table.to_parquet(tmp_path / "t.parquet")
    np.testing.assert_array_equal(own_table.read(tmp_path / "t.parquet", LABEL).features, found.features)


def test_a_class_outside_those_known_is_named(tmp_path: Path) -> None:
    table = accident_table(8)
    table.loc[5, accident.LABEL] = 7
    table.to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(UserError, match="record 6, column Severity: '7' is none of 1, 2, 3, 4"):
        accident.read(tmp_path / "x.csv")
    table.drop(columns="State").to_csv(tmp_path / "y.csv", index=False)
    with pytest.raises(UserError, match="lacks the column State"):
        accident.read(tmp_path / "y.csv")


# ---------------------------------------------------------------- images


def write_mnist(folder: Path, parts: dict[str, tuple[np.ndarray, np.ndarray]], packed: bool = False) -> None:
    """idx files as torchvision leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (pixels, labels) in parts.items():
        for kind, array in (("images-idx3-ubyte", pixels), ("labels-idx1-ubyte", labels)):
            content = (
                struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
            )
            suffix = ".gz" if packed else ""
            (folder / f"{name}-{kind}{suffix}").write_bytes(gzip.compress(content) if packed else content)


def write_cifar10(folder: Path, pixels: np.ndarray, labels: np.ndarray, batches: int = 6) -> None:
    """Batches as torchvision leaves them: pickled dicts with bytes as keys, channels first."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"][:batches]
    rows = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    for name, part in zip(names, np.array_split(np.arange(len(labels)), batches), strict=True):
        batch = {b"data": rows[part], b"labels": labels[part].tolist(), b"batch_label": b"x", b"filenames": [b"f"]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))


def write_stl10(folder: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    """Binary files: channels first, column by column, labels from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    half = len(labels) // 2
    for part, rows in (("train", slice(0, half)), ("test", slice(half, None))):
        (folder / f"{part}_X.bin").write_bytes(pixels[rows].transpose(0, 3, 2, 1).tobytes())
        (folder / f"{part}_y.bin").write_bytes((labels[rows] + 1).astype(np.uint8).tobytes())


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_files(tmp_path: Path, packed: bool) -> None:
    rng = np.random.default_rng(0)
    parts = {
        name: (rng.integers(0, 256, (size, 28, 28)), np.arange(size) % 10)
        for name, size in (("train", 40), ("t10k", 20))
    }
    write_mnist(tmp_path / "MNIST" / "raw", parts, packed)
    assert images.recognise_mnist(tmp_path / "MNIST" / "raw")
    found = images.read_mnist(tmp_path / "MNIST" / "raw")
    assert (found.features.shape, found.features.dtype) == ((60, 1, 28, 28), np.uint8)
    np.testing.assert_array_equal(found.features[40:, 0], parts["t10k"][0])
    assert found.labels.tolist() == [*(np.arange(40) % 10), *(np.arange(20) % 10)]


def test_torchvision_reads_the_same_mnist(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    rng = np.random.default_rng(0)
    parts = {name: (rng.integers(0, 256, (20, 28, 28)), np.arange(20) % 10) for name in ("train", "t10k")}
    write_mnist(tmp_path / "MNIST" / "raw", parts)
    theirs = torchvision.datasets.MNIST(tmp_path, train=True)
    ours = images.read_mnist(tmp_path / "MNIST" / "raw")
    np.testing.assert_array_equal(ours.features[:20, 0], theirs.data.numpy())
    np.testing.assert_array_equal(ours.labels[:20], theirs.targets.numpy())


def test_cifar10_folder_and_archive(tmp_path: Path) -> None:
    pixels, labels = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8), np.arange(60) % 10
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar10(folder, pixels, labels)
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder, "cifar-10-batches-py")
    for path in (folder, tmp_path / "cifar-10-python.tar.gz"):
        assert images.recognise_cifar10(path)
        found = images.read_cifar10(path)
        np.testing.assert_array_equal(found.features, pixels.transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(found.labels, labels)
    (folder / "data_batch_1").write_bytes(pickle.dumps(Commands(os.mkdir, str(tmp_path / "proof"))))
    with pytest.raises(UserError, match="opened safely"):
        images.read_cifar10(folder)
    assert not (tmp_path / "proof").exists()


def test_stl10_files_and_archive(tmp_path: Path) -> None:
    pixels, labels = np.random.default_rng(0).integers(0, 256, (20, 96, 96, 3), dtype=np.uint8), np.arange(20) % 10
    write_stl10(tmp_path / "stl10_binary", pixels, labels)
    found = images.read_stl10(tmp_path / "stl10_binary")
    np.testing.assert_array_equal(found.features, pixels.transpose(0, 3, 1, 2))
    with tarfile.open(tmp_path / "stl.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "stl10_binary", "stl10_binary")
    images.unpack_stl10(tmp_path / "stl.tar.gz", tmp_path / "again")
    np.testing.assert_array_equal(images.read_stl10(tmp_path / "again").labels, labels)
    (tmp_path / "again" / "train_X.bin").write_bytes(b"short")
    with pytest.raises(UserError, match="has 5 bytes for 10 labels"):
        images.read_stl10(tmp_path / "again")


def test_truncated_images_are_named(tmp_path: Path) -> None:
    parts = {name: (np.zeros((20, 28, 28)), np.arange(20) % 10) for name in ("train", "t10k")}
    write_mnist(tmp_path, parts)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="has 15679 values, not the 15680"):
        images.read_mnist(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="is no idx file"):
        images.read_mnist(tmp_path)
    write_mnist(tmp_path, {**parts, "train": (np.zeros((20, 28, 28)), np.full(20, 11))})
    with pytest.raises(UserError, match="label outside"):
        images.read_mnist(tmp_path)


def test_features_that_are_not_finite_are_named(tmp_path: Path) -> None:
    features = np.zeros((4, 2), dtype=np.float32)
    features[2, 1] = np.nan
    raw = RawDataset(features, np.array([0, 0, 1, 1]), ["a", "b"], {"columns": ["x", "y"]})
    with pytest.raises(UserError, match="record 3, column y"):
        check(raw, tmp_path / "file")


def test_a_stream_that_is_no_pickle_is_one_line() -> None:
    with pytest.raises(UserError, match="opened safely"):
        safe_pickle.loads(io.BytesIO(b"\x80\x04garbage"), Path("x"))

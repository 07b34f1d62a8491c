"""Kinds of columns, labels and files that once turned into something else in silence."""

from __future__ import annotations

import datetime
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib_unlearning.errors import UserError
from lib_unlearning.readers import adult, images, location, own_table
from lib_unlearning.readers.own_table import TableOptions
from lib_unlearning.readers.raw import RawDataset
from tests.readers.test_readers import write_cifar10

DAYS = [datetime.date(2020, 1, 1) + datetime.timedelta(number) for number in range(300)]
BIG = 2**53


def table(folder: Path, cells: list[str], delimiter: str = ",", **options: object) -> RawDataset:
    lines = [f'"{cell}"{delimiter}{"ab"[number % 2]}' for number, cell in enumerate(cells)]
    path = folder / "table.csv"
    path.write_text("\n".join([f"x{delimiter}risk", *lines]) + "\n", encoding="utf-8")
    return own_table.read(path, TableOptions(label="risk", **options))  # type: ignore[arg-type]


LONG_NUMBERS = {
    "twenty digits": [str(99999999999999999000 + number) for number in range(300)],
    "decimals": [f"0.{1234567890123456000 + number}" for number in range(300)],
    "exponents": [f"{1700000000000000000 + number}e0" for number in range(300)],
    "with blanks": [str(BIG + number) if number % 9 else "" for number in range(300)],
    "thousands": [f"{BIG + number:,}" for number in range(300)],
    "with fractions": [f"{BIG + number}.0" for number in range(300)],
    "currency": [f"${BIG + number}" for number in range(300)],
}


@pytest.mark.parametrize("name", LONG_NUMBERS)
def test_numbers_longer_than_64_bits_stay_different_and_in_order(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cells = LONG_NUMBERS[name]
    column = table(tmp_path, cells).features[:, 0]
    assert len(np.unique(column)) == len(set(cells))
    known = column[[number for number, cell in enumerate(cells) if cell]]
    assert (np.diff(known) > 0).all()
    assert "taken off, so that different values stay different" in caplog.text


def test_whole_numbers_of_parquet_with_missing_ones_stay_different(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    values = pd.array([2**60 + number if number % 9 else None for number in range(300)], dtype="Int64")
    pd.DataFrame({"x": values, "risk": ["a", "b"] * 150}).to_parquet(tmp_path / "t.parquet")
    found = own_table.read(tmp_path / "t.parquet", TableOptions(label="risk"))
    assert len(np.unique(found.features[:, 0])) == len(values.unique())


def test_a_few_values_that_become_equal_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cells = [str(0.5 + number) for number in range(288)] + [str(30000000 + number) for number in range(12)]
    table(tmp_path, cells)
    assert "5 of 300 different values are equal to others in 32-bit numbers" in caplog.text


@pytest.mark.parametrize("cells", [["0", "00001", "2", "00000", "1", "7"], ["01", "1", "001", "2"], ["007", "010"]])
def test_codes_that_leading_zeros_tell_apart_are_kept(
    cells: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = table(tmp_path, cells * 20)
    assert found.details["summary"][0]["kind"] == "category"
    assert len(np.unique(found.features[:, 0])) == len(cells)
    assert "codes with leading zeros" in caplog.text


def test_leading_zeros_that_say_nothing_are_dropped_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = table(tmp_path, [*map(str, range(100)), "0101", "102"])
    assert found.details["summary"][0]["kind"] == "number"
    assert "leading zeros, as of '0101', are dropped" in caplog.text


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        (["5064.50 EUR", "1,005.00 EUR"], [5064.5, 1005]),
        (["CHF 7975", "CHF 12.5"], [7975, 12.5]),
        (["($8961)", "$12"], [-8961, 12]),
        (["(8961)", "12"], [-8961, 12]),
        (["9.544.979,50", "1,25"], [9544979.5, 1.25]),
        (["4'422'383", "12"], [4422383, 12]),
        (["4\u00a0422\u00a0383", "12"], [4422383, 12]),
        (["4\u202f422\u202f383", "12"], [4422383, 12]),
        (["\u2212383", "12"], [-383, 12]),
        (["-1,234 €", "5 €"], [-1234, 5]),
        (["12.5%", "3%"], [0.125, 0.03]),
        (["0,125", "2,375"], [0.125, 2.375]),
        (["1234,567", "1500"], [1234.567, 1500]),
        (["1.234,50", "1.250"], [1234.5, 1250]),
        (["12,5 %", "3%"], [0.125, 0.03]),
        (["1.234,50 €", "5 €"], [1234.5, 5]),
        (["1.234 EUR", "0,5 EUR"], [1234, 0.5]),
    ],
)
def test_numbers_as_people_write_them(cells: list[str], first: list[float], tmp_path: Path) -> None:
    found = table(tmp_path, cells * 10, ";")
    assert found.details["summary"][0]["kind"] == "number"
    np.testing.assert_array_equal(found.features[:2, 0], np.array(first, dtype=np.float32))


def _write_semicolons(path: Path, cells: dict[str, tuple[str, str]]) -> Path:
    """A table of 20 rows whose columns hold two cells in turn."""
    rows = [";".join(pair[number % 2] for pair in cells.values()) + f";{'ab'[number % 2]}" for number in range(20)]
    path.write_text("\n".join([";".join([*cells, "risk"]), *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("cells", "first"),
    [(("1.234", "987"), [1234, 987]), (("1,234", "5"), [1.234, 5]), (("1.234", "-5.678"), [1234, -5678])],
)
def test_one_column_tells_what_points_and_commas_mean_in_another(
    cells: tuple[str, str], first: list[float], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = _write_semicolons(tmp_path / "t.csv", {"x": cells, "height": ("1,5", "1,75")})
    for options in (TableOptions(label="risk"), TableOptions(label="risk", numeric=("x",))):
        found = own_table.read(path, options)
        np.testing.assert_array_equal(found.features[:2], np.array([[first[0], 1.5], [first[1], 1.75]], np.float32))
        assert "column x: numbers with decimal commas" in caplog.text


def test_points_that_may_stand_between_thousands_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = own_table.read(_write_semicolons(tmp_path / "t.csv", {"x": ("1.234", "987")}), TableOptions(label="risk"))
    np.testing.assert_array_equal(found.features[:2, 0], np.array([1.234, 987], np.float32))
    assert "column x: '1.234' is read as a number with three decimals; if it is in thousands" in caplog.text
    caplog.clear()
    found = own_table.read(_write_semicolons(tmp_path / "t.csv", {"x": ("1.234", "0.5")}), TableOptions(label="risk"))
    assert found.features[0, 0] == np.float32(1.234)
    assert not caplog.text


@pytest.mark.parametrize(
    "cells",
    [
        ["905k", "3M"],
        ["$5023", "€1786"],
        ["10-19", "20-29"],
        ["1.3.6.1.4.1.311.21.8.12345671", "2020.01.01.12.30.45.123"],
    ],
)
def test_words_with_digits_are_categories_with_a_word(
    cells: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert table(tmp_path, cells * 10).details["summary"][0]["kind"] == "category"
    assert "have digits and are no numbers" in caplog.text


@pytest.mark.parametrize("mark", ["None", "#N/A", "\\N", ".", "--", "NULL"])
def test_marks_of_missing_leave_a_column_of_numbers(mark: str, tmp_path: Path) -> None:
    found = table(tmp_path, [mark if number % 5 == 0 else str(number) for number in range(60)])
    assert found.details["summary"][0] | {"column": ""} == {
        "column": "",
        "kind": "number",
        "distinct": 48,
        "missing": 12,
        "identifier": False,
    }


@pytest.mark.parametrize(
    "form", ["%d/%m/%Y", "%d.%m.%Y", "%m/%d/%Y", "%d-%m-%y", "%Y-%m-%d", "%d %B %Y", "%m/%d/%Y %H:%M"]
)
def test_dates_of_a_column_have_one_order(form: str, tmp_path: Path) -> None:
    found = table(tmp_path, [day.strftime(form) for day in DAYS], date=("x",))
    first = (DAYS[0] - datetime.date(1970, 1, 1)).days
    np.testing.assert_array_equal(found.features[:, 0], np.arange(first, first + len(DAYS)))


def test_dates_that_do_not_tell_day_from_month_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table(tmp_path, ["03/04/2020", "05/06/2020"] * 10, date=("x",))
    assert "'03/04/2020' is read as month, day, year" in caplog.text
    with pytest.raises(UserError, match="both orders"):
        table(tmp_path, ["13/01/2020", "01/13/2020"] * 10, date=("x",))


def test_spellings_of_true_are_one_value(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = table(tmp_path, ["true", "TRUE", "False", "false"] * 5)
    assert len(np.unique(found.features[:, 0])) == 2
    assert "are read as True and False" in caplog.text
    caplog.clear()
    assert table(tmp_path, ["true", "false"] * 5).details["category_codes"] == {"x": ["false", "true"]}
    assert "read as" not in caplog.text


def test_dates_beyond_2262_are_days_too(tmp_path: Path) -> None:
    found = table(tmp_path, ["9999-12-31", "1066-10-14"] * 10, date=("x",))
    epoch = datetime.date(1970, 1, 1)
    days = [(datetime.date(*date) - epoch).days for date in ((9999, 12, 31), (1066, 10, 14))]
    assert found.features[:2, 0].tolist() == days


@pytest.mark.parametrize("cells", [["SKU001", "SKU01", "SKU1", "SKU2"], ["AAA 1", "AAA 10"], ["5%", "7", "0.5"]])
def test_codes_and_mixtures_are_no_numbers(cells: list[str], tmp_path: Path) -> None:
    found = table(tmp_path, cells * 10)
    assert found.details["summary"][0]["kind"] == "category"
    assert len(np.unique(found.features[:, 0])) == len(cells)


def test_numbers_that_no_constant_saves_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3 different values would be 2"):
        table(tmp_path, [str(BIG), str(BIG + 1), "0"] * 10)


def test_codes_far_down_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = table(tmp_path, [*map(str, range(1, 1200)), "0001"])
    assert found.details["summary"][0]["kind"] == "category"
    assert len(np.unique(found.features[:, 0])) == 1200
    assert "codes with leading zeros" in caplog.text


def test_zeros_far_down_in_another_column_change_nothing_here(tmp_path: Path) -> None:
    lines = [f"{number},{number % 7},{'ab'[number % 2]}" for number in range(1500)]
    (tmp_path / "t.csv").write_text("\n".join(["x,code,risk", *lines, "5,007,a", '"6","004","b"']) + "\n")
    x, code = own_table.read(tmp_path / "t.csv", TableOptions(label="risk")).details["summary"]
    assert (x["kind"], code["kind"], code["distinct"]) == ("number", "category", 9)


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_plus_and_minus_are_two_classes(delimiter: str, tmp_path: Path) -> None:
    """A lone minus says that there is no value, unless a plus stands beside it (UCI credit approval)."""
    lines = [f"{number}{delimiter}{'+-'[number % 2]}" for number in range(200)]
    (tmp_path / "t.csv").write_text("\n".join([f"x{delimiter}A16", *lines]) + "\n")
    found = own_table.read(tmp_path / "t.csv", TableOptions(label="A16"))
    assert found.classes == ["+", "-"]
    assert found.labels[:4].tolist() == [0, 1, 0, 1]


def test_plus_and_minus_in_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pd.DataFrame({"x": range(200), "A16": ["+", "-"] * 100}).to_parquet(tmp_path / "t.parquet")
    assert own_table.read(tmp_path / "t.parquet", TableOptions(label="A16")).classes == ["+", "-"]


def test_plus_and_minus_are_two_categories(tmp_path: Path) -> None:
    found = table(tmp_path, ["+", "-", "+", ""] * 25)
    assert found.details["summary"][0]["distinct"] == 2
    assert found.details["summary"][0]["missing"] == 25


def test_numeric_reads_what_is_read_without_it(tmp_path: Path) -> None:
    cells = ["1,234", "5", "7"] * 10
    plain, stated = table(tmp_path, cells, ";"), table(tmp_path, cells, ";", numeric=("x",))
    np.testing.assert_array_equal(plain.features, stated.features)
    with pytest.raises(UserError, match="--numeric x: --categorical names it as well"):
        table(tmp_path, cells, categorical=("x",), numeric=("x",))


def test_quoted_fields_of_tab_separated_files(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text('"x"\t"risk"\n' + '1\t"a"\n2\t"b"\n' * 10)
    found = own_table.read(path, TableOptions(label="risk"))
    assert (found.classes, found.features[:2, 0].tolist()) == (["a", "b"], [1, 2])


def test_an_identifier_is_seen_before_rounding(tmp_path: Path) -> None:
    cells = [str(10**9 + 7 * number) for number in range(500)]
    found = table(tmp_path, [*cells, "NA"])
    assert found.details["summary"][0]["identifier"]


@pytest.mark.parametrize("cell", ["10:30", "10:30:15", "Monday", "5 May"])
def test_a_cell_without_a_year_is_no_date(cell: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no date"):
        table(tmp_path, ["2020-01-01", cell] * 10, date=("x",))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("True", "1"),
        ("> 50K", ">50K"),
        ("caf\u00e9", "cafe\u0301"),
        ("well-off", "well off"),
        ("'a'", "a"),
        ("01", "1"),
        ("50%", "50"),
        ("Yes", "Y"),
        ("N", "No"),
        ("1 000", "1000"),
    ],
)
def test_classes_that_spelling_alone_tells_apart_are_named(
    one: str, other: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,risk\n" + f"1,{one}\n2,{other}\n3,z\n" * 5, encoding="utf-8")
    assert len(own_table.read(path, TableOptions(label="risk")).classes) == 3
    assert "differ in spelling only; are they one?" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_recognised(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(("x,risk\n" + "1,a\n2,b\n" * 20).encode(encoding))
    assert own_table.read(path, TableOptions(label="risk")).features[:2, 0].tolist() == [1, 2]


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;", "sep=;\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_line_for_excel_says_the_separator(first: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    lines = [f"{number};007,{number};{'ab'[number % 2]}" for number in range(1200)]
    path.write_bytes("\n".join([first, "x;y;risk", *lines, ""]).encode(encoding))
    found = own_table.read(path, TableOptions(label="risk"))
    assert found.details["columns"] == ["x", "y"]
    assert found.features[:3, 0].tolist() == [0, 1, 2]
    path.write_text("sep=;\nx;risk\n1;a\n2\n")
    with pytest.raises(UserError, match="record 2: 1 fields, not 2"):
        own_table.read(path, TableOptions(label="risk"))


def test_names_of_rows_are_not_kept(tmp_path: Path) -> None:
    lines = [f"Jane Doe {number},{'xyz'[number % 3]},{'ab'[number % 2]}" for number in range(300)]
    (tmp_path / "t.csv").write_text("\n".join(["name,kind,risk", *lines]) + "\n")
    found = own_table.read(tmp_path / "t.csv", TableOptions(label="risk"))
    assert list(found.details["category_codes"]) == ["kind"]
    assert len(np.unique(found.features[:, 0])) == 300


def test_other_separators_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x^risk\n1^a\n2^b\n")
    with pytest.raises(UserError, match="--delimiter names what is between them"):
        own_table.read(path, TableOptions(label="risk"))


def test_pictures_in_mnists_format_are_not_called_mnist(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 20)):
        pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        for kind, values in (("images-idx3", pixels), ("labels-idx1", np.arange(count, dtype=np.uint8) % 10)):
            header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, dtype=">u4").tobytes()
            (tmp_path / f"{part}-{kind}-ubyte").write_bytes(header + values.tobytes())
    found = images.read_mnist(tmp_path)
    assert found.details["licence"] == "not stated"
    assert "not MNIST as published" in caplog.text


def test_pictures_with_channels_last_are_turned(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(60) % 10
    write_cifar10(tmp_path / "plain", pixels, labels)
    for part in (tmp_path / "plain").iterdir():
        batch = pickle.loads(part.read_bytes())
        batch[b"data"] = batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        part.write_bytes(pickle.dumps(batch))
    np.testing.assert_array_equal(images.read_cifar10(tmp_path / "plain").features, pixels.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    "cells", [["1.500 €", "900 €", "75 €"], ["€ 1.234", "€ 75"], ["1.500%", "900%"], ["1.500 EUR", "3 EUR"]]
)
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_points_that_may_stand_between_thousands_are_said_whatever_the_unit(
    cells: list[str], delimiter: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table(tmp_path, [cells[number % len(cells)] for number in range(60)], delimiter)
    assert "if it is in thousands, take the point out" in caplog.text


@pytest.mark.parametrize("cells", [["0:00", "1:10:00"], ["01-Jan-70", "1-MAR-80"], ["12:30", "7:05"]])
def test_no_advice_that_cannot_be_followed(cells: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table(tmp_path, [cells[number % len(cells)] for number in range(60)])
    assert "looks like dates" not in caplog.text


def test_an_order_that_a_cell_tells_is_not_called_a_guess(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cells = ["13/01/82", "14/02/83", "01/03/04"]
    found = table(tmp_path, [cells[number % 3] for number in range(60)], date=("x",))
    assert "nothing in it says so" not in caplog.text
    assert "years of two digits as 1969 to 2068" in caplog.text
    days = [
        (datetime.date(*day) - datetime.date(1970, 1, 1)).days for day in ((1982, 1, 13), (1983, 2, 14), (2004, 3, 1))
    ]
    np.testing.assert_array_equal(found.features[:3, 0], days)


def test_words_that_are_no_numbers_are_counted_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cells = ["5 km", "7 km", "9 km", "0.05"]
    table(tmp_path, [cells[number % 4] for number in range(60)])
    assert "3 words such as '5 km' have digits and are no numbers" in caplog.text


def test_a_column_that_holds_nothing_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,none,risk\n" + "".join(f"{n},,{'ab'[n % 2]}\n" for n in range(30)), encoding="utf-8")
    own_table.read(path, TableOptions(label="risk"))
    assert "column none: holds nothing; --drop none" in caplog.text


def test_a_workbook_is_called_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as archive:
        for name in ("[Content_Types].xml", "xl/workbook.xml", "xl/worksheets/sheet1.xml"):
            archive.writestr(name, "<xml/>")
    with pytest.raises(UserError, match="is a workbook; save the sheet as CSV"):
        own_table.read(tmp_path / "t.xlsx", TableOptions(label="risk"))


@pytest.mark.parametrize("count", [500, 48842])
def test_adults_columns_alone_do_not_make_it_adult(count: int, tmp_path: Path) -> None:
    head = "age,workclass,fnlwgt,education,educational-num,marital-status,occupation,relationship,race,gender,"
    head += "capital-gain,capital-loss,hours-per-week,native-country,income"
    rows = "".join(
        f"{20 + n % 60},a,{n},b,{n % 9},c,d,e,f,g,0,0,40,h,{('<=50K', '>50K')[n % 2]}\n" for n in range(count)
    )
    (tmp_path / "adult.csv").write_text(f"{head}\n{rows}", encoding="utf-8")
    assert ("not Adult as published" in adult.read(tmp_path / "adult.csv").details.get("source", "")) == (count == 500)


@pytest.mark.parametrize(
    "cells",
    [
        ["US$10.50", "US$9.90", "US$100.00"],
        ["A$10.50", "A$9.90"],
        ["Rs. 10", "Rs. 9"],
        ["R$ 1.234,50", "R$ 9,90"],
        ["USD 5", "EUR 10", "USD 7"],
        ["item 10", "item 9"],
    ],
)
def test_an_order_that_the_alphabet_turns_round_is_said(
    cells: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table(tmp_path, [cells[number % len(cells)] for number in range(60)], delimiter="\t")
    assert "have digits and are no numbers; kept as a category, in alphabetical order" in caplog.text


@pytest.mark.parametrize(
    "cells",
    [
        ["1", "2", "3", "4", "10"] * 11 + ["refused", "unknown", "other", "none of these", "skipped"],
        ["10", "9"] * 20 + ["low", "high", "middle"] * 6,
        ["True", "1", "0", "False"] * 15,
        ["10", "9", "low", "high"] * 15,
    ],
)
def test_numbers_among_as_many_words_are_said(
    cells: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table(tmp_path, cells)
    assert "among numbers; kept as a category (--numeric x refuses them)" in caplog.text


@pytest.mark.parametrize("mark", ["N/a", "nAn", "NuLL", "n.A.", "nA"])
def test_marks_of_missing_values_in_any_mixture_of_letters(mark: str, tmp_path: Path) -> None:
    found = table(tmp_path, ["3", mark, "5"] * 20)
    assert found.features[1, 0] < 3
    path = tmp_path / "label.csv"
    path.write_text("x,risk\n" + "".join(f"{n},{('a', 'b', mark)[n % 3]}\n" for n in range(30)), encoding="utf-8")
    with pytest.raises(UserError, match="the label is missing"):
        own_table.read(path, TableOptions(label="risk"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000), "is an old workbook"),
        (b"SQLite format 3\x00" + bytes(2000), "is a SQLite database"),
        (pickle.dumps([1, 2, 3] * 100), "is a pickle"),
        (b'[{"x": 1, "risk": "a"},\n {"x": 2, "risk": "b"}]\n', "is JSON"),
        (b'{"x": 1, "risk": "a"}\n{"x": 2, "risk": "b"}\n', "is JSON"),
        (b"[\n  {\n", "is JSON"),
        (b"<table>\n<tr><td>x</td></tr>\n</table>\n", "is HTML or XML"),
        (b"% people\n@RELATION people\n@ATTRIBUTE x NUMERIC\n", "is ARFF"),
        (b"# made by hand\nx,y,risk\n1,2,a\n3,4,b\n", "if the first line is a comment, take it out"),
        (b"x,risk\nr1,1,a\nr2,2,b\n", "if its first field names the row"),
        (b'x,y,risk\n1,2,a\n3,"4,b\n5,6,a\n7,8,b\n', "a quotation mark may open in it that is not closed"),
        (b"x,y,risk\n1,2,a\n3,4,b\nx,y,risk\n5,6,a\n", "record 3 is the header once more"),
        (b"x,y,risk\nu,v,a\nw,v,b\nx,y,risk\nu,v,a\n", "record 3 is the header once more"),
    ],
)
def test_the_true_cause_is_named(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "people.data"
    path.write_bytes(content)
    with pytest.raises(UserError, match=told) as raised:
        own_table.read(path, TableOptions(label="risk"))
    assert "\n" not in str(raised.value)


def test_names_may_begin_with_brackets_or_marks(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes("\ufeff\ufeffrisk,#n,[id]\n".encode() + b"a,1,2\nb,3,4\n" * 20)
    assert own_table.read(path, TableOptions(label="risk")).details["columns"] == ["#n", "[id]"]


@pytest.mark.parametrize("cell", [[1, 2], {"a": 1}, b"12"])
def test_parquet_cells_that_are_several_values_are_refused(cell: object, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pd.DataFrame({"x": [cell] * 60, "risk": ["a", "b"] * 30}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="column x holds lists, records or bytes"):
        own_table.read(tmp_path / "t.parquet", TableOptions(label="risk"))


def test_long_numbers_as_classes_are_not_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,risk\n" + "".join(f"{n},{BIG + n % 2}.0\n" for n in range(40)), encoding="utf-8")
    assert len(own_table.read(path, TableOptions(label="risk")).classes) == 2
    assert "differ in spelling only" not in caplog.text


def test_times_with_and_without_a_zone_are_told_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cells = ["2020-01-01 10:00:00", "2020-01-02T10:00:00+02:00"]
    table(tmp_path, [cells[number % 2] for number in range(40)], date=("x",))
    assert "states a time zone" in caplog.text
    caplog.clear()
    table(tmp_path, [cells[0], "2020-01-05 10:00:00"] * 20, date=("x",))
    assert "time zone" not in caplog.text


def test_pictures_that_are_not_the_published_ones_are_called_that(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar10(folder, rng.integers(0, 256, (60, 3, 32, 32), dtype=np.uint8), np.arange(60) % 10)
    found = images.read_cifar10(folder)
    assert found.details["source"] == "pictures in CIFAR-10's format, not CIFAR-10 as published"
    assert "not CIFAR-10 as published" in caplog.text


def test_check_ins_of_several_cities_are_of_no_city() -> None:
    there = np.tile([[40.7, -74.0], [35.7, 139.7]], (50, 1))
    assert location._city(there) == "several cities"
    assert location._city(there[::2]) == "New York"
    assert location._city(np.array([[51.5, 0.0]])) == "a city at 51.5, 0.0"

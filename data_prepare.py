"""Raw files -> processed data sets. `python data_prepare.py --list` shows what there is."""

from __future__ import annotations

import argparse
import csv
import difflib
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import utils

if __name__ == "__main__":
    utils.require("data_prepare.py", "numpy")

import numpy as np

import config
from lib_unlearning import __version__
from lib_unlearning.cache.files import digest, digest_file, file_name, locked
from lib_unlearning.cache.layout import Layout
from lib_unlearning.dataset import Dataset, load_dataset, read_description, save_dataset
from lib_unlearning.errors import LOGGER, UserError
from lib_unlearning.options import boolean, whole
from lib_unlearning.plugins import load_plugins, source_of
from lib_unlearning.readers import accident, adult, download, images, location, own_table
from lib_unlearning.readers.raw import RawDataset, check
from lib_unlearning.terminal import say
from lib_unlearning.wording import plural

DRIVE_FOLDER = "INSTA_DRIVE_FOLDER"  # environment variable: the authors' folder is not under a fixed address
OWN = "csv"  # anybody's own table; its label is a column of it
_OWN_FOLDER = "own-"  # start of the folders of such tables
_MOST_TOLD = 40  # columns, or classes


@dataclass(frozen=True)
class Options:
    """What a reader may be told beside the path: venues to keep, and all that is said of an own table."""

    check_ins: location.CheckInOptions = field(default_factory=location.CheckInOptions)
    table: own_table.TableOptions = field(default_factory=own_table.TableOptions)


@dataclass(frozen=True)
class Form:
    """One label of a data set: where its raw files come from and how they are read.

    Attributes:
        read: (path, options) -> data set.
        recognise: whether a path is a raw form, told by its content; None for data that need no file.
        fetch: (folder for raw files, quiet) -> None, downloads them; None where a person has to.
        get: how a person gets the files: page, and which file to put where.
        source, licence, citation: for tables and documents.
    """

    read: Callable[[Path, Options], RawDataset]
    recognise: Callable[[Path], bool] | None
    fetch: Callable[[Path, bool], None] | None
    get: str
    source: str
    licence: str
    citation: str


# ---------------------------------------------------------------- downloads

_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/"
_UCI_MD5 = {"adult.data": "5d7c39d7b8804f071cdd1f2a7c460872", "adult.test": "35238206dfdf7f1fe215bbb874adecdc"}
_WHEEL = "mat_data-0.1rc6-py3-none-any.whl"
_WHEEL_SHA256 = "b55519844a241069f936e844b0620c05889eb59d33c50dcf1879fa96361ee0ea"


def _fetch_adult(folder: Path, quiet: bool) -> None:
    for name, md5 in _UCI_MD5.items():
        download.fetch(_UCI + name, folder / "uci" / name, ("md5", md5), quiet)


def _fetch_foursquare(folder: Path, quiet: bool) -> None:
    download.fetch_wheel("mat-data==0.1rc6", _WHEEL_SHA256, folder / _WHEEL)


def _fetch_mnist(folder: Path, quiet: bool) -> None:
    from torchvision.datasets import MNIST

    for name, md5 in MNIST.resources:
        download.fetch(MNIST.mirrors[0] + name, folder / "mnist" / name, ("md5", md5), quiet)


def _fetch_cifar10(folder: Path, quiet: bool) -> None:
    from torchvision.datasets import CIFAR10

    download.fetch(CIFAR10.url, folder / CIFAR10.filename, ("md5", CIFAR10.tgz_md5), quiet)


def _fetch_stl10(folder: Path, quiet: bool) -> None:
    from torchvision.datasets import STL10

    archive = folder / STL10.filename
    download.fetch(STL10.url, archive, ("md5", STL10.tgz_md5), quiet)
    images.unpack_stl10(archive, folder / "stl10_binary")


def _fetch_accident(folder: Path, quiet: bool) -> None:
    client = shutil.which("kaggle")
    token = Path.home() / ".kaggle" / "kaggle.json"
    if client is None or not token.exists():
        raise UserError(
            f"accident needs Kaggle's client and a token in {token}; or fetch it by hand: {_ACCIDENT.get}, "
            "then run: python data_prepare.py --dataset_name accident"
        )
    utils.run_program([client, "datasets", "download", "-d", "sobhanmoosavi/us-accidents", "-p", str(folder)], quiet)


def _fetch_insta(folder: Path, quiet: bool) -> None:
    client, address = shutil.which("gdown"), os.environ.get(DRIVE_FOLDER)
    if client and address:
        utils.run_program([client, "--folder", address, "-O", str(folder / "insta")], quiet)
        return
    raise UserError(
        f"location: --download needs gdown, and the authors' Drive folder in {DRIVE_FOLDER}; or {_NY.get}, "
        "then run: python data_prepare.py --dataset_name location --original_label NY"
    )


# ---------------------------------------------------------------- the data sets

_PAPER = "Chen et al., CCS 2021"


def _insta(name: str, prefix: str) -> Form:
    return Form(
        read=lambda path, options: location.read_hours(path),
        # 168 hours look alike in every city: only the file's name tells which it is.
        recognise=lambda path: prefix in path.name.lower() and location.recognise_hours(path),
        fetch=_fetch_insta,
        get=f"ask for {prefix}_withCatId.csv or Insta_{prefix} at https://github.com/MinChen00/UnlearningLeaks and put "
        "it into temp_data/dataset/",
        source=f"Instagram check-ins in {name}",
        licence="not stated",
        citation=_PAPER,
    )


def _foursquare(min_checkins: int | None) -> Form:
    """Venues with at least so many check-ins; None for as many as the options say."""

    def read(path: Path, options: Options) -> RawDataset:
        least = options.check_ins.min_checkins if min_checkins is None else min_checkins
        return location.read_checkins(path, replace(options.check_ins, min_checkins=least))

    return Form(
        read=read,
        recognise=location.recognise_checkins,
        fetch=_fetch_foursquare,
        get="is downloaded with --download; or put dataset_TSMC2014_NYC.txt into temp_data/dataset/",
        source="Foursquare check-ins in New York, 2012-2013, PyPI package mat-data 0.1rc6",
        licence="package GPLv3+; data: cite the paper",
        citation="Yang et al., IEEE TSMC 2015",
    )


_NY = _insta("New York", "ny")
_ACCIDENT = Form(
    read=lambda path, options: accident.read(path),
    recognise=accident.recognise,
    fetch=_fetch_accident,
    get="visit https://www.kaggle.com/datasets/sobhanmoosavi/us-accidents and put the CSV (or its zip) into "
    "temp_data/dataset/",
    source="US-Accidents, Kaggle",
    licence="CC BY-NC-SA 4.0",
    citation="Moosavi et al., A Countrywide Traffic Accident Dataset, 2019",
)
_VISION = "is downloaded with --download, or put torchvision's files into temp_data/dataset/"

# name -> label -> form; the first label is the default.
DATASETS: dict[str, dict[str, Form]] = {
    "adult": {
        "income": Form(
            read=lambda path, options: adult.read(path),
            recognise=adult.recognise,
            fetch=_fetch_adult,
            get="ships with the project as temp_data/dataset/adult.csv.xz",
            source="UCI Machine Learning Repository, Adult, https://doi.org/10.24432/C5XW20",
            licence="CC BY 4.0",
            citation="Becker and Kohavi, 1996",
        )
    },
    "accident": {"severity": _ACCIDENT},
    "location": {
        "foursquare": _foursquare(None),
        "foursquare_5": _foursquare(5),
        "NY": _NY,
        "LA": _insta("Los Angeles", "la"),
        "synthetic": Form(
            read=lambda path, options: location.synthesise(),
            recognise=None,
            fetch=None,
            get="is generated",
            source="invented by lib_unlearning/readers/location.py",
            licence="MIT",
            citation="none: synthetic",
        ),
    },
    "mnist": {
        "digit": Form(
            read=lambda path, options: images.read_mnist(path),
            recognise=images.recognise_mnist,
            fetch=_fetch_mnist,
            get=f"MNIST {_VISION}mnist/",
            source="MNIST",
            licence="CC BY-SA 3.0",
            citation="LeCun et al., Proc. IEEE 1998",
        )
    },
    "cifar10": {
        "object": Form(
            read=lambda path, options: images.read_cifar10(path),
            recognise=images.recognise_cifar10,
            fetch=_fetch_cifar10,
            get=f"CIFAR-10 {_VISION}",
            source="CIFAR-10",
            licence="not stated",
            citation="Krizhevsky, 2009",
        )
    },
    "stl10": {
        "object": Form(
            read=lambda path, options: images.read_stl10(path),
            recognise=images.recognise_stl10,
            fetch=_fetch_stl10,
            get=f"STL-10 {_VISION}",
            source="STL-10",
            licence="not stated",
            citation="Coates et al., AISTATS 2011",
        )
    },
}
_OWN_FORM = Form(
    read=lambda path, options: own_table.read(path, options.table),
    recognise=lambda path: False,
    fetch=None,
    get="name your table: python data_prepare.py --dataset_name csv --source FILE --label_column NAME",
    source="the user's own table",
    licence="the user's own",
    citation="none",
)


# ---------------------------------------------------------------- names


def own_tables(layout: Layout) -> list[tuple[str, str]]:
    """Name and label of each own table that is prepared."""
    found = []
    for folder in sorted(layout.processed_data.glob(f"{_OWN_FOLDER}*")):
        description = read_description(folder)
        found.append((str(description["name"]), str(description["label"])))
    return found


def resolve(name: str, label: str | None, layout: Layout, flag: str = "") -> tuple[str, str]:
    """Name and label of the data set that flags ask for: the data set's own label where none is named.

    Args:
        flag: start of the flags' names, "shadow_" for the shadow side's.

    Raises:
        UserError: there is no such data set, or it has no such label, or several tables fit.
    """
    if name in DATASETS:
        labels = DATASETS[name]
        if label is not None and label not in labels:
            raise UserError(f"--{flag}original_label {label}: {name} has {', '.join(labels)}; name one of them")
        return name, label or next(iter(labels))
    known = own_tables(layout)
    fitting = [own for own in known if name in (OWN, own[0]) and label in (None, own[1])]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        shown = ", ".join(f"{own[0]} / {own[1]}" for own in fitting)
        with_flag = "original_label" if len({own[0] for own in fitting}) == 1 else "dataset_name"
        raise UserError(
            f"--{flag}dataset_name {name}: several tables fit ({shown}); name one, with --{flag}{with_flag}"
        )
    labels_here = [own[1] for own in known if own[0] == name]
    if labels_here:
        raise UserError(f"--{flag}original_label {label}: {name} has {', '.join(labels_here)}; name one of them")
    names = [*DATASETS, *dict.fromkeys(own[0] for own in known)]
    hint = difflib.get_close_matches(name, names, 1)
    meant = f"; did you mean {hint[0]}?" if hint else "."
    prepared = ", ".join(f"{own[0]} / {own[1]}" for own in known) or "none"
    raise UserError(
        f"--{flag}dataset_name {name}: there are {', '.join(DATASETS)}, and your own tables ({prepared}){meant} "
        "A table of yours: python data_prepare.py --dataset_name csv --source FILE --label_column NAME"
    )


def is_at_hand(name: str, label: str, layout: Layout) -> bool:
    """Whether a data set is prepared, or its raw files are there."""
    if (_folder(name, label, layout) / "dataset.json").exists():
        return True
    try:
        _find(name, label, _form(name, label), layout)
    except UserError:
        return False
    return True


def obtain_dataset(name: str, label: str, layout: Layout, download: bool = False) -> Dataset:
    """Load a data set, preparing it first where that was not done yet, and fetching it if so wished.

    Raises:
        UserError: raw files are missing or damaged, or the processed form is.
    """
    folder = _folder(name, label, layout)
    if not _is_prepared(folder, name, label):
        form = _form(name, label)
        if download and form.fetch is not None:
            form.fetch(layout.raw_data, True)
        prepare_dataset(name, label, layout, None, Options())
    return load_dataset(folder)


def _is_prepared(folder: Path, name: str, label: str) -> bool:
    """Whether the processed form is there, and a plug-in that reads this data set has not changed since."""
    if not (folder / "dataset.json").exists():
        return False
    reader = source_of(_form(name, label).read)
    return reader is None or read_description(folder).get("reader") == reader


def prepare_dataset(name: str, label: str, layout: Layout, source: Path | None, options: Options) -> None:
    """Read the raw files of a data set and write its processed form under `layout`.

    Args:
        source: file or folder with the raw form; None looks among the raw files.

    Raises:
        UserError: the files are missing, unreadable, or no data set that can be studied.
    """
    form = _form(name, label)
    path = source if source is not None else _find(name, label, form, layout)
    LOGGER.info("preparing %s / %s from %s", name, label, path if form.recognise else form.source)
    raw = check(form.read(path, options), path)
    counts = np.bincount(raw.labels, minlength=len(raw.classes)).tolist()
    description: dict[str, Any] = {
        "source": form.source,
        "licence": form.licence,
        **raw.details,
        "name": name,
        "label": label,
        "reader": source_of(form.read),
        "classes": raw.classes,
        "class_counts": counts,
        "records": len(raw.labels),
        "shape": list(raw.features.shape[1:]),
        "source_file": path.name if form.recognise else None,
        "source_place": None if name in DATASETS else _place(path),
        "source_sha256": digest_file(path) if form.recognise and path.is_file() else None,
        "citation": form.citation,
    }
    folder = _folder(name, label, layout)
    with locked(folder):
        save_dataset(folder, raw.features, raw.labels, description)


def _place(path: Path) -> str:
    """What tells a file's place from all others, without naming it."""
    return digest([str(path.resolve())])


def _check_not_another(folder: Path, name: str, source: Path) -> None:
    """Raise `UserError` where a table of this name was made from another file."""
    if (folder / "dataset.json").exists() and read_description(folder).get("source_place") not in (
        None,
        _place(source),
    ):
        raise UserError(
            f"--name {name}: another file was prepared under this name; give this one another --name, or --force true "
            "to put it in that one's place"
        )


def _form(name: str, label: str) -> Form:
    return DATASETS[name][label] if name in DATASETS else _OWN_FORM


def _folder(name: str, label: str, layout: Layout) -> Path:
    own = "" if name in DATASETS else _OWN_FOLDER
    return layout.processed_data / f"{own}{file_name(name)}_{file_name(label)}"


def _find(name: str, label: str, form: Form, layout: Layout) -> Path:
    """The raw file or folder of a data set, recognised by its content among the raw files."""
    if form.recognise is None:
        return layout.root
    for folder in (layout.raw_data, Layout(config.TEMP_DATA_DIR).raw_data):
        for path in _candidates(folder):
            if form.recognise(path):
                if not path.resolve().is_relative_to(folder.resolve()):
                    raise UserError(f"{path} is a link out of {folder}; copy the file, or name it with --source")
                return path
    fetch = (
        f"; or: python data_prepare.py --dataset_name {name} --original_label {label} --download" if form.fetch else ""
    )
    raise UserError(f"--dataset_name {name}: no raw file of {name} / {label} in {layout.raw_data}; {form.get}{fetch}")


def _candidates(folder: Path) -> Iterator[Path]:
    """Files and folders up to three levels deep, e.g. MNIST/raw."""
    for pattern in ("*", "*/*", "*/*/*"):
        yield from sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


# ---------------------------------------------------------------- command line


def list_datasets(layout: Layout) -> Iterator[str]:
    """A line or two a data set: ready or not, its size, balance, source, licence and digest."""
    known = [(name, label) for name, labels in DATASETS.items() for label in labels]
    for name, label in known:
        folder = _folder(name, label, layout)
        form = DATASETS[name][label]
        if not (folder / "dataset.json").exists():
            yield f"{name} / {label}: not ready. {form.source}; {form.licence}. To get it: {form.get}"
            continue
        yield _summary(folder)
    for name, label in own_tables(layout):
        yield _summary(_folder(name, label, layout))


def _summary(folder: Path) -> str:
    description = read_description(folder)
    counts = np.array(description["class_counts"])
    shares = [f"{name} {share:.1%}" for name, share in zip(description["classes"], counts / counts.sum(), strict=True)]
    more = len(shares) - _MOST_TOLD
    balance = ", ".join([*shares[:_MOST_TOLD], *([f"and {plural(more, 'more class', 'es')}"] if more > 0 else [])])
    invented = "SYNTHETIC, " if description.get("synthetic") else ""
    sizes = description["shape"]
    shape = plural(sizes[0], "feature") if len(sizes) == 1 else f"{' x '.join(map(str, sizes))} features"
    return (
        f"{description['name']} / {description['label']}: ready, {invented}{description['records']} records, "
        f"{shape}, {plural(len(counts), 'class', 'es')} ({balance}). {description['source']}; "
        f"{description['licence']}; digest {description['digest'][:16]}"
    )


def _column_table(folder: Path) -> Iterator[str]:
    """What became of each column of an own table."""
    told = read_description(folder).get("summary", [])
    if told:
        yield f"{'column':<28}{'read as':<14}{'distinct':>10}{'missing':>10}"
    for column in told[:_MOST_TOLD]:
        note = "  identifier?" if column["identifier"] else ""
        yield f"{column['column'][:27]:<28}{column['kind']:<14}{column['distinct']:>10,}{column['missing']:>10,}{note}"
    if len(told) > _MOST_TOLD:
        yield f"and {plural(len(told) - _MOST_TOLD, 'more column')}: {folder / 'dataset.json'}"


def _separator(text: str) -> str:
    """One character; a tab may be written as \\t."""
    text = "\t" if text == "\\t" else text
    if len(text) != 1:
        raise argparse.ArgumentTypeError("must be one character, or \\t for a tab")
    return text


def _build_parser() -> argparse.ArgumentParser:
    parser = utils.OneLineParser(prog="data_prepare.py", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--version", action="version", version=f"unlearning-leakage {__version__}")
    switch: dict[str, Any] = {"type": boolean, "nargs": "?", "const": True, "default": False, "metavar": "BOOL"}
    add("--list", **switch, help="show every data set: ready or not, what it holds, where it comes from")
    add("--dataset_name", default="adult", help=f"data set to prepare: {', '.join(DATASETS)}, {OWN} (adult)")
    add("--original_label", "--label_column", help="which of its labels; of your own table, the column to predict")
    add("--source", type=Path, help="raw file or folder (default: found in temp_data/dataset by its content)")
    add("--download", **switch, help="fetch the raw files first")
    add("--force", **switch, help="prepare again what is ready")
    add("--min_checkins", type=whole(1), default=2, help="check-ins a venue must have (2)")
    add("--min_class_size", type=whole(2), default=10, help="venues a root category must have (10)")
    add("--temp_data", type=Path, default=config.TEMP_DATA_DIR, help="folder for what runs leave")
    add("--plugin", action="append", default=[], help="file or module that adds data sets; repeatable")
    add("--quiet", **switch, help="no progress bars")
    own = parser.add_argument_group("your own table (--dataset_name csv)").add_argument
    own("--name", help="what it is called (the file's name)")
    for flag, what in _COLUMN_FLAGS.items():
        own(f"--{flag}", action="append", default=[], metavar="COLUMN,...", help=f"columns {what}")
    own("--delimiter", type=_separator, help="separator (found out)")
    own("--encoding", help="encoding of the text (UTF-8, or found out)")
    return parser


_COLUMN_FLAGS = {
    "categorical": "to read as categories, whatever they look like",
    "numeric": "to read as numbers",
    "one_hot": "to turn into a column of zeros and ones for each category",
    "date": "to read as dates, in days",
    "drop": "to leave out",
}


def _options(parsed: argparse.Namespace) -> Options:
    """What readers are told."""
    columns = {flag: tuple(chain.from_iterable(map(_names, getattr(parsed, flag)))) for flag in _COLUMN_FLAGS}
    table = own_table.TableOptions(
        label=parsed.original_label or "", delimiter=parsed.delimiter, encoding=parsed.encoding, **columns
    )
    return Options(location.CheckInOptions(parsed.min_checkins, parsed.min_class_size), table)


def _names(text: str) -> list[str]:
    """Names separated by commas, quoted as in a CSV file where they hold one."""
    return next(csv.reader([text], skipinitialspace=True), [])


def run(arguments: Sequence[str]) -> None:
    """Prepare or list data sets as the arguments say."""
    parser = _build_parser()
    early = utils.OneLineParser(add_help=False, allow_abbrev=False)
    early.add_argument("--plugin", action="append", default=[])
    load_plugins(early.parse_known_args(list(arguments))[0].plugin)
    parsed = parser.parse_args(arguments)
    layout = Layout(parsed.temp_data.expanduser().absolute())
    if parsed.list:
        say("\n".join(list_datasets(layout)))
        return
    name, label = _asked_for(parsed, layout)
    _check_flags(parsed, name)
    folder, form = _folder(name, label, layout), _form(name, label)
    if parsed.download:
        if form.fetch is None:
            raise UserError(f"--download: {name} / {label} has nothing to fetch; it {form.get}")
        form.fetch(layout.raw_data, parsed.quiet)
    if name not in DATASETS and parsed.source is not None and not parsed.force:
        _check_not_another(folder, name, parsed.source)
    if parsed.force or parsed.source is not None or not _is_prepared(folder, name, label):
        prepare_dataset(name, label, layout, parsed.source, _options(parsed))
    load_dataset(folder)
    print(_summary(folder))
    print("\n".join(_column_table(folder)), end="")
    if name not in DATASETS:
        named = f"--dataset_name {shlex.quote(name)}"
        if sum(known == name for known, _ in own_tables(layout)) > 1:
            named += f" --original_label {shlex.quote(label)}"
        print(f"\nTrain and attack: python main.py --exp mem_inf --train_missing {named}")


def _check_flags(parsed: argparse.Namespace, name: str) -> None:
    """Raise `UserError` where flags of an own table are given for a data set whose columns are known."""
    given = [flag for flag in (*_COLUMN_FLAGS, "delimiter", "encoding", "name") if getattr(parsed, flag)]
    if name in DATASETS and given:
        raise UserError(f"--{given[0]}: of your own table (--dataset_name {OWN}), not of {name}; leave it out")


def _asked_for(parsed: argparse.Namespace, layout: Layout) -> tuple[str, str]:
    """Name and label; a new own table is called after its file."""
    if parsed.original_label == "default":
        parsed.original_label = None
    if parsed.dataset_name != OWN:
        return resolve(parsed.dataset_name, parsed.original_label, layout)
    if parsed.source is None:
        raise UserError("--source is missing: name the file of your own table")
    if not parsed.original_label:
        raise UserError("--label_column is missing: name the column of your table that is to be predicted")
    name = parsed.name or parsed.source.name.split(".")[0]
    if name in DATASETS or name == OWN:
        raise UserError(f"--name {name}: a data set of this project has this name; choose another")
    return name, parsed.original_label


def main() -> int:
    """Run what the command line asks for; the exit code is 2 after a user's mistake."""
    utils.set_up_logging("info")
    return utils.run_command("data_prepare.py", lambda: run(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())

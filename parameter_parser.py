"""Command line -> Settings, validated once; nothing else reads argv. `_flags` is the table of all flags but options.

Options of unlearning methods and model families come from the dataclasses in their registries.
"""

from __future__ import annotations

import argparse
import inspect
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import config
import data_prepare
import models
import utils
from lib_unlearning import __version__
from lib_unlearning.attack import ATTACK_MODELS, ATTACKS, PEER_ATTACKS, PROBES, SEES_ORIGINAL, SEES_UNLEARNED, Budget
from lib_unlearning.cache.layout import Layout
from lib_unlearning.construct_feature import FEATURES
from lib_unlearning.defense import DEFENSES
from lib_unlearning.errors import LOGGER, UserError, error_text
from lib_unlearning.evaluation_cases import SAMPLES_TO_EVALUATE
from lib_unlearning.family import Family
from lib_unlearning.options import Option, boolean, distinct, number, options_of, whole
from lib_unlearning.parallel import usable_cores
from lib_unlearning.plugins import load_plugins
from lib_unlearning.record_split import SIDES, SideSettings
from lib_unlearning.reporting.comparisons import COMPARISONS
from lib_unlearning.settings import ANSWER_KINDS, KEPT, AuditInputs, Origin, Settings
from lib_unlearning.statistics.verdict import MARGIN, TPR_MARGIN
from lib_unlearning.study import check_sizes
from lib_unlearning.training.tasks import Privacy, TrainingSettings
from lib_unlearning.unlearning.base import UnlearningMethod
from lib_unlearning.unlearning.registry import UNLEARNING_METHODS
from lib_unlearning.yaml_file import read_yaml

RANDOMNESS = ("matched", "shared", "fresh")
LOG_LEVELS = ("debug", "info", "warning", "error")
# What each experiment does; exp.py has a class for each.
EXPERIMENTS = {
    "model_train": "train and cache models",
    "mem_inf": "attack them",
    "all": "both, in one process",
    "three_classes": "tell deleted, remaining and unknown records apart",
    "reconstruct": "rebuild deleted records without any candidate",
    "stream": "deletions one after another: what one leaks as others follow, what remaining records lose",
    "audit": "audit answers from elsewhere: --before, --after, --cases, or a --service; or --verify a pack",
    "report": "one page on all attacks so far",
    "sweep": "all settings of a --comparison, or of all of them, then the report",
    "status": "what is cached, its size, what is unfinished",
    "clean": "delete what is cached, by --name",
}


@dataclass(frozen=True)
class Flag:
    """A flag: how it is parsed, where the help shows it, whether it shapes the cached models."""

    option: Option
    group: str
    trains: bool = False
    of: tuple[str, ...] = ()  # the experiments that it has an effect on, () for most


def _flag(
    group: str, name: str, default: Any, help: str, trains: bool = False, of: tuple[str, ...] = (), **more: Any
) -> Flag:
    return Flag(Option(name, default, help, **more), group, trains, of)


# The experiments that train, ask or attack this project's own models.
_STUDIES = ("model_train", "mem_inf", "all", "three_classes", "reconstruct", "stream")
_study = partial(_flag, of=_STUDIES)


def _flags() -> Iterator[Flag]:
    """All flags in the order of the help; made anew, as plug-ins fill the registries that they choose from."""
    group = "experiment"
    told = "; ".join(f"{name}: {what}" for name, what in EXPERIMENTS.items())
    targets, names = tuple(models.TARGET_MODELS), ", ".join(data_prepare.DATASETS)
    yield _flag(group, "exp", None, told, choices=tuple(EXPERIMENTS), metavar="NAME")
    yield _study(group, "dataset_name", "adult", f"{names}, or a table of yours", True, metavar="NAME")
    help = "column to predict (default: the data set's own)"
    more: dict[str, Any] = {"flags": ("--original_label", "--label_column"), "metavar": "LABEL"}
    yield _flag(group, "original_label", None, help, True, of=_ATTACKING, **more)
    known = ", ".join(targets)
    yield _flag(
        group, "original_model", "DT", f"target model: {known}", True, of=_STUDIES, choices=targets, metavar="M"
    )
    for name, choices in (("dataset_name", None), ("original_label", None), ("original_model", targets)):
        help = f"--{name} of the shadow side (the target's)"
        yield _study(group, f"shadow_{name}", None, help, True, choices=choices, metavar="NAME")
    help = "target and attack models with the hyperparameters of the paper's released code (LR, MLP, LRTorch, RF)"
    yield _study(group, "peer_models", False, help, True, kind=boolean)
    yield _flag(group, "attack_model", "DT", "attack model", of=_ATTACKING, choices=tuple(ATTACK_MODELS))
    help = "the paper's features, or today's attacks as well"
    yield _flag(group, "attacks", "paper", help, of=_SWEPT, choices=("paper", "all"))
    help = "rounds of the adversary's own models, 0 for none"
    yield _flag(group, "own_models", 1, help, of=_ATTACKING, kind=whole(0, 1000), metavar="K")
    yield _flag(
        group,
        "probes",
        PROBES,
        "own records that both versions are asked about",
        of=_STUDIES,
        kind=whole(1),
        metavar="P",
    )
    help = "most questions to a version for one candidate, itself aside, 1 for none (as many as an attack likes)"
    yield _study(group, "queries", None, help, kind=whole(1), metavar="N")
    help = "which models the adversary sees"
    yield _study(group, "versions", "both", help, choices=("both", SEES_ORIGINAL, SEES_UNLEARNED))
    help = "whether he knows the candidates' labels; false: he takes the model's answer"
    yield _study(group, "label_known", True, help, kind=boolean)
    methods = tuple(UNLEARNING_METHODS)
    yield _study(group, "unlearning_method", "scratch", "how to forget", True, choices=methods)
    yield _flag(
        group, "samples_to_evaluate", "in_out", "what is asked", of=_STUDIES, choices=tuple(SAMPLES_TO_EVALUATE)
    )
    help = (
        "forget a request's records one after another (in_out_multi_version: true); retraining ends at the same model"
    )
    yield _study(group, "one_by_one", False, help, True, kind=boolean)
    yield _study(group, "placebo", False, "query strangers only: must find nothing", kind=boolean)
    help = "AUC from which on a deletion counts as visible"
    yield _flag(group, "margin", MARGIN, help, of=_ATTACKING, kind=number(at_least=0.5, at_most=1), metavar="X")
    help = "AUC that deletions in one batch shall stay under; the report says how many"
    yield _flag(group, "max_auc", 0.6, help, of=_PAGES, kind=number(above=0.5, at_most=1), metavar="X")
    yield _flag(group, "seed", 0, "seed of every random choice", True, of=_SWEPT, kind=whole(0, _SEEDS), metavar="N")
    help = "run for several seeds, e.g. 0,1,2, and summarise"
    yield _flag(
        group, "seeds", None, help, True, of=(*_STUDIES, "sweep"), kind=distinct(whole(0, _SEEDS)), metavar="N,..."
    )
    help = (
        "retraining leaves a gap and changes nothing else; shares the seed; or draws all anew (matched; DP-SGD: fresh)"
    )
    yield _study(group, "retrain_randomness", None, help, True, choices=RANDOMNESS)
    yield _flag(
        group, "fresh_retrain_seed", False, "alias of --retrain_randomness fresh", True, of=_STUDIES, kind=boolean
    )
    help = "of the report or the sweep, the one to make (all)"
    yield _flag(group, "comparison", None, help, of=_PAGES, choices=tuple(COMPARISONS), metavar="NAME")
    yield _flag(group, "small", False, "sweep: a minute or two instead of hours", of=("sweep",), kind=boolean)
    help = "stream: after how many deletions the models are asked"
    lengths = distinct(whole(1))
    yield _flag(group, "stream_lengths", (1, 10, 100), help, of=("stream",), kind=lengths, metavar="N,...")
    help = "clean: part of the names of what to delete (everything)"
    yield _flag(group, "name", None, help, of=("clean",), kind=_text, metavar="TEXT")
    yield _flag(group, "plugin", None, "file or module that adds to the registries; repeatable", True, metavar="FILE")

    sizes: tuple[tuple[str, int | None, str, int], ...] = (
        ("set_num", 10, "sample sets, one original model each", 1),
        ("set_size", None, "records a sample set (auto: 2000, down to 20 where sets would share more than a sixth)", 2),
        ("unlearning_size", 20, "deletion requests a set", 1),
        ("unlearning_num", 1, "records a deletion request", 1),
    )
    for side in SIDES:
        for name, default, help, lowest in sizes:
            kind = _auto(lowest) if default is None else whole(lowest)
            yield _study(f"{side} side", f"{side}_{name}", default, help, True, kind=kind, metavar="N")

    group = "execution and cache"
    yield _flag(
        group, "is_sample", True, "draw the record split; false: reuse the saved one", True, of=_STUDIES, kind=boolean
    )
    help = "query the models; false: reuse the saved posteriors"
    yield _study(group, "is_obtain_posterior", True, help, kind=boolean)
    yield _flag(group, "num_process", usable_cores(), "processes (usable cores)", kind=whole(1), metavar="N")
    help = "workers elsewhere in the place of processes: local:N, tcp://HOST:PORT, tls://..., slurm:FILE, mpi"
    yield _flag(group, "cluster", None, help, of=_SWEPT, metavar="SPEC")
    yield _flag(group, "is_train_multiprocess", True, "false: work in one process", kind=boolean)
    help = "which models stay on the disk; without all of them, attacks see the answers to their cases alone"
    yield _study(group, "keep_models", KEPT[0], help, True, choices=KEPT)
    yield _study(group, "retrain", False, "train again what is already cached", kind=boolean)
    yield _study(group, "train_missing", False, "mem_inf: train models that are not cached", kind=boolean)
    yield _study(group, "skip_finished", False, "mem_inf: keep results that are there", kind=boolean)
    yield _flag(
        group,
        "trust_cache",
        False,
        "use cached models and answers that this installation did not write",
        of=_SWEPT,
        kind=boolean,
    )
    help = "folder for what runs leave"
    yield _flag(group, "temp_data", config.TEMP_DATA_DIR, help, True, kind=_path, metavar="DIR")
    help = "say what would be trained and asked, how long it takes here and how much disk, and do nothing"
    yield _flag(group, "dry_run", False, help, kind=boolean)
    yield _flag(group, "yes", False, "clean: do not ask", of=("clean",), kind=boolean)
    yield _flag(group, "config", None, "YAML file of these flags; the command line wins", kind=_path, metavar="FILE")
    yield _flag(group, "save_config", None, "write the flags of this run as YAML", kind=_path, metavar="FILE")
    yield _flag(group, "quiet", False, "no progress bars, no log below warnings", kind=boolean)
    yield _flag(group, "log_level", "info", "log messages to show", choices=LOG_LEVELS)

    group = "networks"
    help = "GPU number (default: a GPU if there is one, else the CPU)"
    yield _study(group, "cuda", None, help, True, kind=whole(0), metavar="N")

    group = "defenses"
    help = "publish less than the posterior; needs --top_k, --temperature, --round_digits or --defense"
    yield _study(group, "is_defense", None, help, kind=boolean)
    yield _flag(
        group, "top_k", None, "entries to publish, 0 for the label alone", of=_STUDIES, kind=whole(0), metavar="K"
    )
    yield _flag(
        group, "temperature", None, "publish softmax(log p / T)", of=_STUDIES, kind=number(above=0), metavar="T"
    )
    yield _study(group, "round_digits", None, "decimal digits to publish", kind=whole(1, 15), metavar="N")
    help = "of a plug-in: what it makes of answers before they are published"
    yield _study(group, "defense", None, help, kind=_defense, metavar="NAME")
    yield _study(group, "is_dp_defense", False, "train networks with DP-SGD", True, kind=boolean)

    group = "audit"
    for side, told in (("", "target side's"), ("shadow_", "adversary's own")):
        for name, what in (
            ("before", "answers before the deletion"),
            ("after", "answers after the deletion"),
            ("cases", "cases: label, deleted, and record, set, request"),
            ("retrained", "answers of models retrained without the deleted: the verdict is relative to them"),
        ):
            yield _flag(group, f"{side}{name}", None, f"{told} {what}", **_FILE)
    yield _flag(group, "answers", "auto", "what these files hold, or models answer", of=_AUDITS, choices=ANSWER_KINDS)
    for name in ("before", "after"):
        yield _flag(group, f"model_{name}", None, f"model {name} the deletion: .onnx, .joblib, .pkl, .pt", **_FILE)
    help = "records that both models are asked about: features, --label_column, deleted"
    yield _flag(group, "table", None, help, **_FILE)
    help = "open pickled models, which runs what their maker put there"
    yield _flag(group, "trust", False, help, of=_AUDITS, kind=boolean)
    yield _flag(group, "service", None, "YAML file that says how a service trains, deletes, predicts", **_FILE)
    yield _flag(group, "verify", None, "audit pack whose numbers are computed again", **_FILE)
    yield _flag(group, "pack", None, "where to write the audit pack (beside the results)", **_FILE)
    help = "say how many sets, requests and own models settle --margin for these models, and what that costs here"
    yield _flag(group, "plan", False, help, of=_AUDITS, kind=boolean)
    help = "say that before and after are not swapped, though answers to deleted records became better"
    yield _flag(group, "in_order", False, help, of=_AUDITS, kind=boolean)
    help = "difference of TPR at 1 % FPR, from retraining or chance, that counts as none"
    yield _flag(group, "tpr_margin", TPR_MARGIN, help, of=_AUDITS, kind=number(above=0, at_most=0.9), metavar="X")
    yield _flag(group, "show_ids", False, "name exposed records in the page", of=_AUDITS, kind=boolean)

    group = "of the paper's released code, without effect here"
    for name in _IDLE:
        yield _flag(group, name, None, "accepted, does nothing", kind=whole(0), metavar="N")


def _text(text: str) -> str:
    """What is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("is empty")
    return text


def _defense(text: str) -> str:
    if text not in DEFENSES:
        known = f"choose from {', '.join(DEFENSES)}" if DEFENSES else "none is known: a --plugin brings them"
        raise argparse.ArgumentTypeError(f"{text!r} is no defense; {known}")
    return text


def _path(text: str) -> Path:
    path = Path(_text(text))
    try:
        path.expanduser()
    except RuntimeError as error:  # ~somebody
        raise argparse.ArgumentTypeError(f"{text}: {error_text(error)}") from error
    return path


_PAGES, _AUDITS = ("report", "sweep"), ("audit",)
_ATTACKING, _SWEPT = (*_STUDIES, "audit"), (*_STUDIES, "audit", "sweep")
_SHOWN_OWNERS = 2  # experiments that a flag's warning names
_FILE: dict[str, Any] = {"kind": _path, "of": _AUDITS, "metavar": "FILE"}


def _auto(lowest: int) -> Callable[[str], int | None]:
    """A whole number, or "auto" for None."""
    return lambda text: None if text == "auto" else whole(lowest)(text)


_SEEDS = 2**63 - 1
_LONG = 40  # characters of choices that a flag shows beside its name
_IDLE = ("num_threads", "n_accumulation_steps")


@dataclass(frozen=True)
class OptionSet:
    """A dataclass of options with who has it: names of families, or an unlearning method."""

    kind: type
    group: str
    owners: tuple[str, ...]


def option_sets() -> list[OptionSet]:
    """The option classes of all registries, each once."""
    sets = []
    for registry in (models.TARGET_MODELS, UNLEARNING_METHODS):
        owners: dict[type, list[str]] = {}
        for name, owner in registry.items():
            owners.setdefault(owner.Options, []).append(name)
        sets += [
            OptionSet(kind, f"options of {', '.join(names)}", tuple(names))
            for kind, names in owners.items()
            if list(options_of(kind))
        ]
    return [*sets, OptionSet(Privacy, "DP-SGD (--is_dp_defense true)", ("DP-SGD",))]


def _sided(found: Option) -> Iterator[Option]:
    """An option as the flags it has: one, or one a side."""
    if not found.per_side:
        yield found
        return
    for side in SIDES:
        yield Option(**{**vars(found), "name": f"{side}_{found.name}", "per_side": False})


def _formatter(prog: str) -> argparse.HelpFormatter:
    width = min(118, shutil.get_terminal_size((118, 24)).columns)
    return argparse.HelpFormatter(prog, max_help_position=min(38, width // 3), width=width)


def build_parser() -> argparse.ArgumentParser:
    """The parser of `main.py`; raises `UserError` when two plug-ins want the same flag for different things."""
    parser = utils.OneLineParser(
        prog="main.py",
        usage="python main.py --exp NAME [flags]",
        description="When a model forgets a record, who can tell? Membership inference against machine unlearning.",
        formatter_class=_formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"unlearning-leakage {__version__}")
    groups: dict[str, Any] = {}
    known: dict[str, Option] = {}

    def add(found: Option, group: str) -> None:
        if found.name in known:
            if known[found.name] != found:
                raise UserError(f"option {found.name} of {group}: another one has this name; rename it in the plug-in")
            return
        known[found.name] = found
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        _add_argument(groups[group], found)

    for flag in _flags():
        add(flag.option, flag.group)
    for options in option_sets():
        for found in options_of(options.kind):
            for part in _sided(found):
                add(part, options.group)
    return parser


def _add_argument(group: Any, found: Option) -> None:
    shown = str(found.default).lower() if isinstance(found.default, bool) else found.default
    # What is None or depends on the machine says so in its own words.
    told = found.default is None or "(" in found.help or found.name == "temp_data"
    help, metavar = found.help if told else f"{found.help} ({shown})", found.metavar
    if found.choices and metavar is None and len(",".join(found.choices)) > _LONG:
        help, metavar = f"{help}: {', '.join(found.choices)}", "NAME"
    more: dict[str, Any] = {
        "dest": found.name,
        "default": found.default,
        "help": help.replace("%", "%%"),
        "choices": found.choices,
        "metavar": metavar,
        "type": found.kind,
    }
    if found.kind is boolean:
        more |= {"nargs": "?", "const": True, "metavar": "BOOL"}
    if found.name == "plugin":
        more["action"] = "append"
        del more["choices"], more["type"]
    group.add_argument(*(found.flags or (f"--{found.name}",)), required=found.name == "exp", **more)


# ---------------------------------------------------------------- files of flags


@dataclass(frozen=True)
class _FileOfFlags:
    """What `--config` names: the file and the arguments that it stands for."""

    path: Path
    arguments: list[str]

    def check(self, parser: argparse.ArgumentParser) -> None:
        """Raise `UserError`, naming the file, for what the command line would refuse."""
        try:
            parser.parse_args([*self.arguments, "--exp", "status"])
        except UserError as error:
            raise UserError(f"--config {self.path}: {error}") from error


def _file_of_flags(arguments: Sequence[str]) -> _FileOfFlags | None:
    early = utils.OneLineParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=_path, action="append", default=[])
    paths = early.parse_known_args(list(arguments))[0].config
    if len(paths) > 1:
        raise UserError("--config is given twice; put the flags into one file")
    return _FileOfFlags(paths[0], _as_arguments(_read_config(paths[0]))) if paths else None


def _read_config(path: Path) -> dict[str, Any]:
    found = read_yaml(path, f"--config {path}")
    for name, value in found.items():
        if str(name) in _NOT_IN_FILES or not isinstance(name, str) or name.startswith("-"):
            raise UserError(f"--config {path}: {name} cannot stand in such a file; name flags without dashes")
        if isinstance(value, dict):
            raise UserError(f"--config {path}: {name} holds further names; every flag has a line of its own")
    return found


_NOT_SAVED = ("config", "save_config", "dry_run")
_NOT_IN_FILES = ("config", "save_config", "version", "help")


def _as_arguments(values: Mapping[str, Any]) -> list[str]:
    words = []
    for name, value in values.items():
        several = value if name == "plugin" and isinstance(value, list) else [value]
        words += [f"{_spelling(str(name))}={_as_text(part)}" for part in several if part is not None]
    return words


def _spelling(name: str) -> str:
    """The longest flag of an option."""
    spelled = {found.name: found.flags for options in option_sets() for found in options_of(options.kind)}
    return max(spelled.get(name) or (f"--{name}",), key=len)


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _save_config(path: Path, given: Mapping[str, Any]) -> None:
    import yaml

    from lib_unlearning.cache.files import write_text

    if path.exists():
        try:
            _read_config(path)
        except UserError:
            raise UserError(f"--save_config {path} is there, and no file of flags; name another place") from None
    plain = {
        name: value if isinstance(value, bool | int | float | list) else _as_text(value)
        for name, value in given.items()
    }
    write_text(path, yaml.safe_dump(plain, sort_keys=True))


# ---------------------------------------------------------------- settings


def parse_settings(arguments: Sequence[str]) -> Settings:
    """Settings of a command line; plug-ins are imported on the way.

    Raises:
        UserError: a flag is unknown, or its value impossible.
    """
    file = _file_of_flags(arguments)
    arguments = [*(file.arguments if file else ()), *arguments]
    plugins = _plugins(arguments)
    parser = build_parser()
    if file:
        file.check(parser)
    parsed = parser.parse_args(arguments)
    values = vars(parsed)
    given = {name: value for name, value in values.items() if value != parser.get_default(name)}
    for name in ("original_label", "shadow_original_label"):
        values[name] = None if values[name] == "default" else values[name]
    if parsed.seeds and "seed" in given:
        raise UserError("--seed and --seeds: name one of them")
    if parsed.peer_models:
        _name_peers(values)
    _note_of_the_papers_flags(given)
    # An audit's label is its table's, and no data set of this project has it.
    values["label"] = values["original_label"] if parsed.exp == "audit" else None
    values["original_label"] = None if values["label"] and not parsed.plan else values["original_label"]
    origins = _origins(values)
    used = _used_options(values, origins)
    if parsed.exp in _STUDIES or parsed.plan:
        _warn_of_idle_options(given, used, values)
    _warn_of_others_flags(given, parsed.exp)
    side_options = {side: _side_options(values, side) for side in SIDES}
    method_options = {side: _method_options(values, side) for side in SIDES}
    seeds = parsed.seeds or (parsed.seed,)
    settings = Settings(
        exp=parsed.exp,
        origins=origins,
        attack_model=parsed.attack_model,
        audit=AuditInputs(**{part.name: values[part.name] for part in fields(AuditInputs)}),
        attacks=parsed.attacks,
        budget=_budget(parsed, given),
        unlearning_method=parsed.unlearning_method,
        samples_to_evaluate=parsed.samples_to_evaluate,
        sides={side: _side_settings(values, side) for side in SIDES},
        side_options=side_options,
        method_options=method_options,
        is_sample=parsed.is_sample,
        is_obtain_posterior=parsed.is_obtain_posterior,
        cluster=parsed.cluster,
        num_process=parsed.num_process if parsed.is_train_multiprocess else 1,
        top_k=_published_entries(parsed),
        temperature=None if parsed.is_defense is False else parsed.temperature,
        round_digits=None if parsed.is_defense is False else parsed.round_digits,
        defense=None if parsed.is_defense is False else parsed.defense,
        seeds=seeds,
        seed=seeds[0],
        one_by_one=_one_by_one(parsed),
        retrain_randomness=_randomness(values, origins),
        placebo=parsed.placebo,
        stream_lengths=tuple(sorted(parsed.stream_lengths)),
        margin=parsed.margin,
        max_auc=parsed.max_auc,
        retrain=parsed.retrain,
        keep_models=parsed.keep_models,
        train_missing=parsed.train_missing,
        skip_finished=parsed.skip_finished,
        comparison=parsed.comparison,
        small=parsed.small,
        dry_run=parsed.dry_run,
        name=parsed.name,
        yes=parsed.yes,
        trust_cache=parsed.trust_cache,
        temp_data=parsed.temp_data.expanduser().absolute(),
        quiet=parsed.quiet,
        log_level="warning" if parsed.quiet and parsed.log_level == "info" else parsed.log_level,
        plugins=plugins,
        given={name: value for name, value in given.items() if name not in _NOT_SAVED},
        training_command=_training_command(given, used, parsed.samples_to_evaluate, _one_by_one(parsed)),
    )
    check_sizes(settings, UNLEARNING_METHODS[parsed.unlearning_method])
    if parsed.save_config is not None:
        _save_config(parsed.save_config, settings.given)
    return settings


def _plugins(arguments: Sequence[str]) -> dict[str, str]:
    early = utils.OneLineParser(add_help=False, allow_abbrev=False)
    early.add_argument("--plugin", action="append", default=[])
    loaded = load_plugins(early.parse_known_args(list(arguments))[0].plugin)
    if loaded:
        check_registries()
    return loaded


def check_registries() -> None:
    """Raise `UserError` for an entry of a registry that is no such thing; a plug-in may have put anything there."""
    wanted: dict[str, tuple[Mapping[str, Any], str, Callable[[Any], bool]]] = {
        "TARGET_MODELS": (models.TARGET_MODELS, "a Family", lambda found: isinstance(found, Family)),
        "UNLEARNING_METHODS": (UNLEARNING_METHODS, "a subclass of UnlearningMethod", _is_method),
        "FEATURES": (FEATURES, "a function of cases", callable),
        "ATTACKS": (ATTACKS, "a subclass of Attack that takes the name of an attack model", _is_attack),
        "ATTACK_MODELS": (ATTACK_MODELS, "a function of a seed", callable),
        "DEFENSES": (DEFENSES, "a function of posteriors", callable),
    }
    for registry, (entries, what, fits) in wanted.items():
        for name, found in entries.items():
            if not fits(found):
                raise UserError(f"--plugin: {registry}[{name!r}] must be {what}, found {found!r}")
            options = getattr(found, "Options", None)
            if options is not None and not is_dataclass(options):
                raise UserError(f"--plugin: {registry}[{name!r}].Options must be a dataclass, found {options!r}")


def _is_method(found: Any) -> bool:
    known = isinstance(found, type) and issubclass(found, UnlearningMethod)
    return known and inspect.isgeneratorfunction(found.work)


def _is_attack(found: Any) -> bool:
    try:
        inspect.signature(found).bind("DT")
    except (TypeError, ValueError):
        return False
    return callable(found)


def _name_peers(values: dict[str, Any]) -> None:
    for name, peers in (
        ("original_model", models.PEERS),
        ("shadow_original_model", models.PEERS),
        ("attack_model", PEER_ATTACKS),
    ):
        if name != "shadow_original_model" and values[name] not in peers:
            LOGGER.warning(
                "--peer_models: the released code's %s is the one here; nothing changes for it", values[name]
            )
        values[name] = peers.get(values[name], values[name])


def _note_of_the_papers_flags(given: Mapping[str, Any]) -> None:
    for name in _IDLE:
        if name in given:
            LOGGER.warning("--%s: a flag of the paper's released code; it does nothing here", name)
    if given.get("is_defense") is False:
        for name in ("top_k", "temperature", "round_digits", "defense"):
            if name in given:
                LOGGER.warning("--%s has no effect: --is_defense false takes every defense away", name)
    if "top_k" in given and "is_defense" not in given and "quiet" not in given:
        LOGGER.warning("--top_k defends here; the paper's released code would want --is_defense true as well")


def _origins(values: Mapping[str, Any]) -> dict[str, Origin]:
    layout = Layout(values["temp_data"].expanduser().absolute())
    name, label = data_prepare.resolve(values["dataset_name"], values["original_label"], layout)
    shadow_name = values["shadow_dataset_name"] or name
    shadow_label = values["shadow_original_label"] or (label if shadow_name == name else None)
    shadow = data_prepare.resolve(shadow_name, shadow_label, layout, "shadow_")
    model = values["original_model"]
    shadow_model = values["shadow_original_model"] or model
    _check_networks(values, [shadow_model, model])
    return {
        "shadow": Origin(*shadow, shadow_model, _family_options(values, shadow_model)),
        "target": Origin(name, label, model, _family_options(values, model)),
    }


def _check_networks(values: Mapping[str, Any], families: Sequence[str]) -> None:
    networks = [name for name in families if models.TARGET_MODELS[name].network]
    if values["is_dp_defense"] and not networks:
        known = ", ".join(name for name, family in models.TARGET_MODELS.items() if family.network)
        raise UserError(
            f"--is_dp_defense true: DP-SGD trains networks, not {values['original_model']}; name one of {known}"
        )
    if values["cuda"] is not None and values["device"] not in ("auto", "cuda"):
        raise UserError(
            f"--cuda {values['cuda']} and --device {values['device']} name different devices; leave one out"
        )


def _instance(kind: type, values: Mapping[str, Any], side: str) -> Any:
    """A dataclass of options with the values of its flags."""
    found = {part.name: values[f"{side}_{part.name}" if part.per_side else part.name] for part in options_of(kind)}
    return kind(**found)


def _family_options(values: Mapping[str, Any], model: str) -> Any:
    kind = models.TARGET_MODELS[model].Options
    if kind is not TrainingSettings:
        return _instance(kind, values, "target")
    on_gpu = values["cuda"] is not None or values["device"] == "cuda"
    device = f"cuda:{values['cuda'] or 0}" if on_gpu else values["device"]
    plain = _instance(kind, {**values, "device": device}, "target")
    privacy = _instance(Privacy, values, "target") if values["is_dp_defense"] else None
    return TrainingSettings(**{**vars(plain), "privacy": privacy})


def _side_options(values: Mapping[str, Any], side: str) -> dict[str, Any]:
    """The options of all methods that each side has its own of: columns of every result row."""
    return {
        part.name: values[f"{side}_{part.name}"]
        for method in UNLEARNING_METHODS.values()
        for part in options_of(method.Options)
        if part.per_side
    }


def _method_options(values: Mapping[str, Any], side: str) -> Any:
    return _instance(UNLEARNING_METHODS[values["unlearning_method"]].Options, values, side)


def _used_options(values: Mapping[str, Any], origins: Mapping[str, Origin]) -> set[str]:
    """Names of the option flags that have an effect on what these settings train."""
    kinds: list[type] = [type(origin.options) for origin in origins.values()]
    kinds.append(UNLEARNING_METHODS[values["unlearning_method"]].Options)
    kinds += [Privacy] if values["is_dp_defense"] else []
    names = {part.name for kind in kinds for found in options_of(kind) for part in _sided(found)}
    return names | {"cuda"} if TrainingSettings in kinds else names


def _warn_of_idle_options(given: Mapping[str, Any], used: set[str], values: Mapping[str, Any]) -> None:
    known = {part.name: options for options in option_sets() for o in options_of(options.kind) for part in _sided(o)}
    known["cuda"] = known["num_epochs"]
    for name in given:
        if name in known and name not in used:
            LOGGER.warning(
                "--%s has no effect on %s unlearned by %s: it is of %s",
                name,
                values["original_model"],
                values["unlearning_method"],
                ", ".join(known[name].owners),
            )


def _warn_of_others_flags(given: Mapping[str, Any], experiment: str) -> None:
    if experiment == "audit" and "dry_run" in given:
        raise UserError("--dry_run: an audit has none; --plan says what one of models trained here would need")
    planned = experiment == "audit" and given.get("plan")
    works_as = {experiment, "mem_inf"} if planned else {experiment}  # a plan is of models trained here
    owners = {flag.option.name: flag.of for flag in _flags()}
    owners |= {part.name: _STUDIES for options in option_sets() for o in options_of(options.kind) for part in _sided(o)}
    for name in sorted(given):
        of = owners.get(name, ())
        if of and not works_as & set(of):
            told = f": it is of {' and '.join(of)}" if len(of) <= _SHOWN_OWNERS else ""
            LOGGER.warning("--%s has no effect on --exp %s%s", name, experiment, told)


def _budget(parsed: argparse.Namespace, given: Mapping[str, Any]) -> Budget:
    """What the adversary has; the paper's attacks train no models and ask about candidates alone."""
    found = Budget(parsed.own_models, parsed.probes, parsed.queries, parsed.versions, parsed.label_known)
    if parsed.exp == "audit" or (parsed.attacks == "all" and parsed.exp != "reconstruct"):
        return found
    usual, spent, where = Budget(), {"own_models", "probes", "queries"}, "without --attacks all"
    if parsed.exp == "reconstruct":
        spent, where = {"own_models", "probes", "label_known"}, "on --exp reconstruct"
    for name in sorted(spent & given.keys()):
        LOGGER.warning("--%s has no effect %s", name, where)
    return replace(found, **{name: getattr(usual, name) for name in spent})


def _side_settings(values: Mapping[str, Any], side: str) -> SideSettings:
    names = ("set_num", "set_size", "unlearning_size", "unlearning_num")
    return SideSettings(*(values[f"{side}_{name}"] for name in names))


def _randomness(values: Mapping[str, Any], origins: Mapping[str, Origin]) -> str:
    """What retraining shares with the original; DP-SGD draws noise and batches anew in any case, and models that can
    leave no gap share the seed at most."""
    asked = values["retrain_randomness"] or ("fresh" if values["fresh_retrain_seed"] else None)
    if values["fresh_retrain_seed"] and asked != "fresh":
        raise UserError(f"--fresh_retrain_seed and --retrain_randomness {asked} differ; leave one out")
    if values["is_dp_defense"] and asked not in (None, "fresh"):
        raise UserError(f"--retrain_randomness {asked}: DP-SGD draws its noise anew, or it would cancel; leave it out")
    leave_gaps = all(getattr(origin.options, "leaves_gap", True) for origin in origins.values())
    if asked == "matched" and not leave_gaps:
        raise UserError(
            "--retrain_randomness matched: scikit-learn-intelex's forests take no weights, so a deleted record leaves "
            "no gap; name shared or fresh, or leave --accelerate out"
        )
    return asked or ("fresh" if values["is_dp_defense"] else "matched" if leave_gaps else "shared")


def _published_entries(parsed: argparse.Namespace) -> int | None:
    if parsed.is_defense and parsed.top_k is parsed.temperature is parsed.round_digits is parsed.defense is None:
        raise UserError(
            "--is_defense true: add --top_k K (--top_k 0 for the label alone), --temperature T, --round_digits N or "
            "--defense NAME"
        )
    return None if parsed.is_defense is False else parsed.top_k


def _one_by_one(parsed: argparse.Namespace) -> bool:
    """Whether it makes a difference and was asked for; intermediate versions that nobody saw are versions."""
    asked = parsed.one_by_one or parsed.samples_to_evaluate == "in_out_multi_version"
    return bool(asked and not UNLEARNING_METHODS[parsed.unlearning_method].exact)


def _training_command(given: Mapping[str, Any], used: set[str], question: str, one_by_one: bool) -> str:
    """The command that trains the models that these flags attack."""
    trains = {flag.option.name for flag in _flags() if flag.trains} | used
    if SAMPLES_TO_EVALUATE[question].online_learning or one_by_one:
        trains.add("samples_to_evaluate")
    if "keep_models" in given:  # answers are to these questions only
        trains |= {"samples_to_evaluate", "placebo"}
    words = ["python", "main.py", "--exp", "model_train"]
    for name, value in given.items():
        for part in value if name == "plugin" else [value]:
            words += [_spelling(name), _as_text(part)] if name in trains else []
    return shlex.join(words)

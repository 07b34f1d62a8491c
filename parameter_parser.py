"""Command line -> Settings, validated once; nothing else reads argv."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import config
import data_prepare
import models
import utils
from lib_unlearning.attack import ATTACK_MODELS
from lib_unlearning.evaluation_cases import SAMPLES_TO_EVALUATE
from lib_unlearning.record_split import SIDES, SideSettings
from lib_unlearning.reporting.comparisons import COMPARISONS
from lib_unlearning.settings import Origin, Settings
from lib_unlearning.unlearning import UNLEARNING_METHODS, Privacy, TrainingSettings
from utils import UserError

EXPERIMENTS = ("model_train", "mem_inf", "report")
OPTIMIZERS = ("Adam", "SGD")
DEVICES = ("auto", "cpu", "cuda", "mps")
ACCOUNTANTS = ("rdp", "prv")
LOG_LEVELS = ("debug", "info", "warning", "error")


def _boolean(text: str) -> bool:
    answers = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    try:
        return answers[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"expected true or false, found {text!r}") from None


def _positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, found {text!r}") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0 and finite, found {text}")
    return value


def _seeds(text: str) -> tuple[int, ...]:
    found = tuple(utils.whole_number(0)(part) for part in text.split(","))
    if len(set(found)) != len(found):
        raise argparse.ArgumentTypeError(f"names a seed twice: {text}")
    return found


def _share(text: str) -> float:
    value = _positive_number(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"must be at most 1, found {text}")
    return value


# Flags that shape the cached models, hence belong to the training command that an attack may have to name.
_TRAINING_FLAGS = (
    "dataset_name",
    "original_label",
    "original_model",
    "shadow_dataset_name",
    "shadow_original_label",
    "shadow_original_model",
    "max_leaf_nodes",
    "unlearning_method",
    *(
        f"{side}_{name}"
        for side in SIDES
        for name in ("set_num", "set_size", "unlearning_size", "unlearning_num", "num_shard")
    ),
    "is_sample",
    "fresh_retrain_seed",
    "seed",
    "seeds",
    "temp_data",
)
# Flags of models trained by gradient descent in torch; scikit-learn's models have no use for them.
_TORCH_FLAGS = ("num_epochs", "batch_size", "optim", "lr", "cuda", "device", "ensemble_size", "amp")
_DP_FLAGS = ("sigma", "max_per_sample_grad_norm", "delta", "sample_rate", "secure_rng", "target_epsilon", "accountant")
# Names of flags that are not their destination's.
_FLAG_SPELLINGS = {"max_per_sample_grad_norm": "--max-per-sample-grad_norm", "sample_rate": "--sample-rate"}


def build_parser() -> argparse.ArgumentParser:
    """The parser of `main.py`."""
    parser = utils.OneLineParser(
        prog="main.py",
        usage="python main.py --exp {model_train,mem_inf,report} [flags]",
        description="When a model forgets a record, who can tell? Membership inference against machine unlearning.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=38, width=118),
        allow_abbrev=False,
    )
    _add_experiment(parser)
    for side in SIDES:
        _add_side(parser, side)
    _add_execution(parser)
    _add_torch(parser)
    _add_defense(parser)
    return parser


def _add_experiment(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("experiment")
    add = group.add_argument
    add(
        "--exp",
        choices=EXPERIMENTS,
        required=True,
        help="train and cache models, attack them, or report on all attacks",
    )
    names = ", ".join(data_prepare.NAMES)
    add("--dataset_name", choices=data_prepare.NAMES, default="adult", help=f"{names} (adult)", metavar="NAME")
    add("--original_label", help="column to predict (default: the data set's own)", metavar="LABEL")
    targets = (*models.TARGET_MODELS, *models.NETWORKS)
    add("--original_model", choices=targets, default="DT", help=f"target model: {', '.join(targets)} (DT)", metavar="M")
    for name, what in (("dataset_name", data_prepare.NAMES), ("original_label", None), ("original_model", targets)):
        add(f"--shadow_{name}", choices=what, help=f"--{name} of the shadow side (the target's)", metavar="NAME")
    add(
        "--max_leaf_nodes",
        type=utils.whole_number(2),
        help="leaves of a tree target (DT 10, RF unlimited)",
        metavar="N",
    )
    add("--attack_model", choices=list(ATTACK_MODELS), default="DT", help="attack model (DT)")
    add("--unlearning_method", choices=list(UNLEARNING_METHODS), default="scratch", help="how to forget (scratch)")
    questions = list(SAMPLES_TO_EVALUATE)
    add("--samples_to_evaluate", choices=questions, default="in_out", help="what is asked (in_out)")
    add(
        "--placebo",
        type=_boolean,
        metavar="BOOL",
        nargs="?",
        const=True,
        default=False,
        help="query strangers only: must find nothing",
    )
    add("--seed", type=utils.whole_number(0), default=0, help="seed of every random choice (0)", metavar="N")
    add("--seeds", type=_seeds, help="run for several seeds, e.g. 0,1,2, and summarise", metavar="N,...")
    add(
        "--comparison", choices=list(COMPARISONS), help="of the report, the one to print and draw (all)", metavar="NAME"
    )
    add(
        "--fresh_retrain_seed",
        type=_boolean,
        metavar="BOOL",
        nargs="?",
        const=True,
        default=False,
        help="give each unlearned model a seed of its own, as a provider would (false)",
    )


def _add_side(parser: argparse.ArgumentParser, side: str) -> None:
    add = parser.add_argument_group(f"{side} side").add_argument
    add(
        f"--{side}_set_num",
        type=utils.whole_number(1),
        default=10,
        help="sample sets, one original model each (10)",
        metavar="N",
    )
    add(f"--{side}_set_size", type=utils.whole_number(2), default=2000, help="records a sample set (2000)", metavar="N")
    add(
        f"--{side}_unlearning_size",
        type=utils.whole_number(1),
        default=20,
        help="deletion requests a set (20)",
        metavar="N",
    )
    add(
        f"--{side}_unlearning_num",
        type=utils.whole_number(1),
        default=1,
        help="records a deletion request (1)",
        metavar="N",
    )
    add(f"--{side}_num_shard", type=utils.whole_number(1), default=10, help="shards of SISA (10)", metavar="N")


def _add_execution(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("execution and cache").add_argument
    add(
        "--is_sample",
        type=_boolean,
        metavar="BOOL",
        default=True,
        help="draw the record split; false: reuse the saved one (true)",
    )
    add(
        "--is_obtain_posterior",
        type=_boolean,
        metavar="BOOL",
        default=True,
        help="query the models; false: reuse the saved posteriors (true)",
    )
    add(
        "--num_process",
        type=utils.whole_number(1),
        default=utils.usable_cores(),
        help="processes (usable cores)",
        metavar="N",
    )
    add(
        "--is_train_multiprocess", type=_boolean, metavar="BOOL", default=True, help="false: work in one process (true)"
    )
    add("--retrain", action="store_true", help="train again what is already cached")
    add("--train_missing", action="store_true", help="mem_inf: train models that are not cached")
    add("--skip_finished", action="store_true", help="mem_inf: keep results that are there")
    add("--trust_cache", action="store_true", help="open cached models that this installation did not write")
    add("--temp_data", type=Path, default=config.TEMP_DATA_DIR, help="folder for what runs leave", metavar="DIR")
    add("--quiet", action="store_true", help="no progress bars, no log below warnings")
    add("--log_level", choices=LOG_LEVELS, default="info", help="log messages to show (info)")


def _add_torch(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("training of networks (LRTorch, MLPTorch, scnn, resnet50, densenet)").add_argument
    add(
        "--num_epochs",
        type=utils.whole_number(1),
        default=100,
        help="passes over the training records (100)",
        metavar="N",
    )
    add("--batch_size", type=utils.whole_number(1), default=64, help="records a gradient step (64)", metavar="N")
    add("--optim", choices=OPTIMIZERS, default="Adam", help="optimizer (Adam)")
    add("--lr", type=_positive_number, help="learning rate (default: the model's own)", metavar="X")
    add("--device", choices=DEVICES, default="auto", help="where networks are trained (auto: a GPU if there is one)")
    add("--ensemble_size", type=utils.whole_number(1), help="networks trained together (as many as suit)", metavar="N")
    add(
        "--cuda",
        type=utils.whole_number(0),
        help="GPU number (default: a GPU if there is one, else the CPU)",
        metavar="N",
    )
    add("--amp", action="store_true", help="compute products in bfloat16 (mixed precision)")


def _add_defense(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("defenses").add_argument
    add(
        "--is_defense",
        type=_boolean,
        metavar="BOOL",
        help="publish less than the posterior; needs --top_k or --temperature (false)",
    )
    add("--top_k", type=utils.whole_number(0), help="entries to publish, 0 for the label alone", metavar="K")
    add("--temperature", type=_positive_number, help="publish softmax(log p / T)", metavar="T")
    add("--is_dp_defense", type=_boolean, metavar="BOOL", default=False, help="train networks with DP-SGD (false)")
    add("--sigma", type=_positive_number, default=1.0, help="DP-SGD noise multiplier (1.0)", metavar="X")
    add(
        "-c",
        "--max-per-sample-grad_norm",
        type=_positive_number,
        default=1.0,
        help="DP-SGD clip norm (1.0)",
        metavar="X",
    )
    add(
        "--target_epsilon", type=_positive_number, help="privacy budget: --sigma is then chosen to meet it", metavar="X"
    )
    add("--delta", type=_share, default=1e-5, help="DP-SGD delta (1e-5)", metavar="X")
    add("-sr", "--sample-rate", type=_share, help="DP-SGD share of records a step (batch_size / n)", metavar="X")
    add(
        "--secure_rng",
        type=_boolean,
        metavar="BOOL",
        nargs="?",
        const=True,
        default=False,
        help="DP-SGD noise from a secure generator",
    )
    add("--accountant", choices=ACCOUNTANTS, default="rdp", help="how spent privacy is computed (rdp)")


def parse_settings(arguments: Sequence[str]) -> Settings:
    """Settings of a command line.

    Raises:
        UserError: a flag is unknown, its value impossible, or what it asks for is not built yet.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    origins = _origins(options)
    networks = [origin.original_model for origin in origins.values() if origin.original_model in models.NETWORKS]
    _warn_of_idle_flags(parser, options, bool(networks))
    if options.seeds and options.seed != parser.get_default("seed"):
        raise UserError("--seed and --seeds: name one of them")
    seeds = options.seeds or (options.seed,)
    return Settings(
        exp=options.exp,
        origins=origins,
        attack_model=options.attack_model,
        unlearning_method=options.unlearning_method,
        samples_to_evaluate=options.samples_to_evaluate,
        sides={side: _side_settings(options, side) for side in SIDES},
        max_leaf_nodes=_leaves(options, origins),
        is_sample=options.is_sample,
        is_obtain_posterior=options.is_obtain_posterior,
        num_process=options.num_process if options.is_train_multiprocess else 1,
        top_k=_published_entries(options),
        temperature=None if options.is_defense is False else options.temperature,
        training=_training(options, networks),
        seeds=seeds,
        seed=seeds[0],
        fresh_retrain_seed=options.fresh_retrain_seed,
        placebo=options.placebo,
        retrain=options.retrain,
        train_missing=options.train_missing,
        skip_finished=options.skip_finished,
        comparison=options.comparison,
        trust_cache=options.trust_cache,
        temp_data=options.temp_data.expanduser().absolute(),
        quiet=options.quiet,
        log_level="warning" if options.quiet and options.log_level == "info" else options.log_level,
        training_command=_training_command(parser, options, bool(networks)),
    )


def _origins(options: argparse.Namespace) -> dict[str, Origin]:
    name = options.dataset_name
    target = Origin(name, data_prepare.resolve_label(name, options.original_label), options.original_model)
    shadow_name = options.shadow_dataset_name or name
    label = options.shadow_original_label or (target.original_label if shadow_name == name else None)
    if shadow_name in data_prepare.DATASETS and label not in (None, *data_prepare.DATASETS[shadow_name]):
        known = ", ".join(data_prepare.DATASETS[shadow_name])
        raise UserError(f"--shadow_original_label {label}: {shadow_name} has {known}; name one of them")
    shadow = Origin(
        shadow_name,
        data_prepare.resolve_label(shadow_name, label),
        options.shadow_original_model or target.original_model,
    )
    return {"shadow": shadow, "target": target}


def _leaves(options: argparse.Namespace, origins: dict[str, Origin]) -> int | None:
    trees = [origin.original_model for origin in origins.values()]
    if options.max_leaf_nodes is not None and not set(trees) <= {"DT", "RF"}:
        raise UserError(f"--max_leaf_nodes {options.max_leaf_nodes}: shapes trees (DT, RF), not {' and '.join(trees)}")
    leaves: int | None = options.max_leaf_nodes
    return leaves


def _warn_of_idle_flags(parser: argparse.ArgumentParser, options: argparse.Namespace, network: bool) -> None:
    idle = [*(() if network else _TORCH_FLAGS), *(() if options.is_dp_defense else _DP_FLAGS)]
    for name in idle:
        if getattr(options, name) != parser.get_default(name):
            reason = "--is_dp_defense true" if name in _DP_FLAGS else f"a network, not {options.original_model}"
            utils.LOGGER.warning("--%s has no effect without %s", name, reason)


def _training(options: argparse.Namespace, networks: Sequence[str]) -> TrainingSettings:
    if options.is_dp_defense and not networks:
        raise UserError(
            f"--is_dp_defense true: DP-SGD trains networks, not {options.original_model}; "
            f"name one of {', '.join(models.NETWORKS)}"
        )
    smallest = min(options.shadow_set_size, options.target_set_size)
    if networks and options.batch_size > smallest:
        raise UserError(f"--batch_size {options.batch_size}: a set holds {smallest} records; lower it")
    if options.cuda is not None and options.device not in ("auto", "cuda"):
        raise UserError(f"--cuda {options.cuda} and --device {options.device} name different devices; leave one out")
    privacy = Privacy(
        sigma=options.sigma,
        clip=options.max_per_sample_grad_norm,
        delta=options.delta,
        sample_rate=options.sample_rate,
        target_epsilon=options.target_epsilon,
        secure_rng=options.secure_rng,
        accountant=options.accountant,
    )
    gpu = f"cuda:{options.cuda or 0}" if options.cuda is not None or options.device == "cuda" else options.device
    return TrainingSettings(
        num_epochs=options.num_epochs,
        batch_size=options.batch_size,
        optim=options.optim,
        lr=options.lr,
        device=gpu,
        ensemble_size=options.ensemble_size,
        amp=options.amp,
        privacy=privacy if options.is_dp_defense else None,
    )


def _side_settings(options: argparse.Namespace, side: str) -> SideSettings:
    values = vars(options)
    names = ("set_num", "set_size", "unlearning_size", "unlearning_num", "num_shard")
    settings = SideSettings(*(values[f"{side}_{name}"] for name in names))
    if settings.unlearning_num >= settings.set_size:
        raise UserError(
            f"--{side}_unlearning_num {settings.unlearning_num}: a set holds {settings.set_size} records and must keep "
            f"one; lower it or raise --{side}_set_size"
        )
    if settings.num_shard > settings.set_size:
        raise UserError(
            f"--{side}_num_shard {settings.num_shard}: a set holds {settings.set_size} records; "
            f"lower it or raise --{side}_set_size"
        )
    return settings


def _published_entries(options: argparse.Namespace) -> int | None:
    if options.is_defense and options.top_k is None and options.temperature is None:
        raise UserError("--is_defense true: add --top_k K (--top_k 0 for the label alone) or --temperature T")
    return None if options.is_defense is False else options.top_k


def _training_command(parser: argparse.ArgumentParser, options: argparse.Namespace, network: bool) -> str:
    words = ["python", "main.py", "--exp", "model_train"]
    names = list(_TRAINING_FLAGS)
    if network:
        names += [*_TORCH_FLAGS, "is_dp_defense", *_DP_FLAGS]
    if SAMPLES_TO_EVALUATE[options.samples_to_evaluate].online_learning:
        names.append("samples_to_evaluate")
    for name in names:
        value = getattr(options, name)
        if value != parser.get_default(name):
            flag = _FLAG_SPELLINGS.get(name, f"--{name}")
            words += [flag] if name == "amp" else [flag, _as_argument(value)]
    return shlex.join(words)


def _as_argument(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def settings_or_exit(arguments: Sequence[str] | None = None) -> Settings:
    """Settings of this process's command line; a mistake in it is told on one line, with exit code 2."""
    try:
        return parse_settings(sys.argv[1:] if arguments is None else arguments)
    except UserError as error:
        print(f"main.py: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None

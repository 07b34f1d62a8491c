"""The paper's comparisons: which findings belong side by side, and what is varied between them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lib_unlearning.attack import Budget
from lib_unlearning.cache.files import digest
from lib_unlearning.report import known
from lib_unlearning.reporting.archive import Finding, of_seeds
from lib_unlearning.wording import plural

Settings = dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """What is varied.

    Attributes:
        label: its name, with unit.
        free: settings that vary along it; all others of a panel are equal.
        value: settings -> position on the axis: a number, or a text for categories.
        wanted: settings that this axis may show, beside the comparison's own rule.
    """

    label: str
    free: tuple[str, ...]
    value: Callable[[Settings], Any]
    wanted: Callable[[Settings], bool] = lambda settings: True


@dataclass(frozen=True)
class Comparison:
    """One question of the paper.

    Attributes:
        title, lesson: heading, and what the paper says of it.
        kind: how it is drawn: "dots", "curves", "overfitting", "heat", "matrix", "defense".
        wanted: settings -> whether a finding belongs here.
        axes: what is varied; a panel for each and each group of findings that agree in all else.
        least: points that a panel must have.
        against_each_other: whether each point is read against the others, as a defense is against none of them, rather
            than by itself or along a curve.
    """

    title: str
    lesson: str
    kind: str
    wanted: Callable[[Settings], bool]
    axes: tuple[Axis, ...]
    least: int = 2
    against_each_other: bool = False

    def shown(self, found: Sequence[Panel]) -> list[Panel]:
        """Panels as tables and figures show them: where points are read against each other, those of a panel are over
        the same seeds."""
        if not self.against_each_other:
            return list(found)
        return [part for panel in found for part in panel.over_the_same_seeds(self.least)]


@dataclass(frozen=True)
class Panel:
    """Findings that agree in everything but the axis, in its order."""

    axis: Axis
    points: list[tuple[Any, Finding]] = field(repr=False)

    @property
    def settings(self) -> Settings:
        """What all points agree in."""
        first = self.points[0][1].settings
        return {name: value for name, value in first.items() if name not in self.axis.free}

    def over_the_same_seeds(self, least: int) -> list[Panel]:
        """Panels of at least so many points over the same seeds, the most seeds first, until each point stands in one;
        points that share their seeds with no others are left as they are, together."""
        parts, seen = [], set[int]()
        for seeds in sorted({frozenset(finding.seeds) for _, finding in self.points}, key=lambda part: -len(part)):
            chosen = [number for number, (_, finding) in enumerate(self.points) if seeds <= set(finding.seeds)]
            if len(chosen) >= least and not seen.issuperset(chosen):
                seen |= set(chosen)
                parts.append([(self.points[number][0], of_seeds(self.points[number][1], seeds)) for number in chosen])
        alone = [point for number, point in enumerate(self.points) if number not in seen]
        return [replace(self, points=points) for points in [*parts, alone] if points]


# ---------------------------------------------------------------- rules

_TRAINING = ("num_epochs", "batch_size", "optim", "lr", "device", "amp")
_CHOSEN = ("max_leaf_nodes", "solver", "accelerate", *_TRAINING)
_PRIVACY = (
    "sigma",
    "clip",
    "delta",
    "sample_rate",
    "target_epsilon",
    "secure_rng",
    "accountant",
)
_SIZES = ("set_num", "set_size", "unlearning_size", "unlearning_num", "num_shard")
_MODELS = ("original_model", "shadow_original_model")
# What a provider may hold back, and what an adversary may lack.
PUBLICATION = ("top_k", "temperature", "round_digits", "defense")
_BUDGET = ("own_models", "probes", "queries", "versions", "label_known")
_DATA = ("dataset_name", "original_label", "shadow_dataset_name", "shadow_original_label", "synthetic")


def is_open(settings: Settings) -> bool:
    """No defense: full posteriors, no DP-SGD."""
    return all(settings.get(name) is None for name in PUBLICATION) and "sigma" not in settings


def same_data(settings: Settings) -> bool:
    """Whether shadow and target side work on the same data set."""
    return all(settings[f"shadow_{name}"] == settings[name] for name in ("dataset_name", "original_label"))


def is_papers(settings: Settings) -> bool:
    """Whether the data set is one that the project brings; tables of one's own are not judged by the paper's claims."""
    return settings["dataset_name"] in ("adult", "accident", "location", "mnist", "cifar10", "stl10")


def same_model(settings: Settings) -> bool:
    """Whether shadow and target side train the same family."""
    return bool(settings["shadow_original_model"] == settings["original_model"])


def _same_sizes(settings: Settings) -> bool:
    return all(settings[f"shadow_{name}"] == settings[f"target_{name}"] for name in _SIZES)


def _plain(settings: Settings) -> bool:
    """An adversary who knows data and family, and a provider whose retraining shares what it can with the original."""
    return _known(settings) and settings["retrain_randomness"] == "matched"


def _known(settings: Settings) -> bool:
    """The paper's adversary, who knows data, family and labels, and sees both versions."""
    return settings["attacks"] == "paper" and _informed(settings) and usual_budget(settings)


def _informed(settings: Settings) -> bool:
    return same_data(settings) and same_model(settings) and not settings["placebo"]


def _today(settings: Settings) -> bool:
    """Today's adversary against a provider whose retraining shares what it can with the original."""
    return settings["attacks"] == "all" and _informed(settings) and _same_sizes(settings)


def _usual(settings: Settings) -> bool:
    return _plain(settings) and is_open(settings) and _same_sizes(settings)


def _single(settings: Settings) -> bool:
    return bool(settings["target_unlearning_num"] == 1)


def _asks(settings: Settings, question: str) -> bool:
    return bool(settings["samples_to_evaluate"] == question)


def alike_but_for(settings: Mapping[str, Any], *names: str) -> str:
    """A text that settings share which differ in nothing but these."""
    return repr(sorted((name, str(part)) for name, part in settings.items() if name not in names))


def _base(settings: Settings) -> bool:
    """Retraining from scratch, one record a request, both models queried about it."""
    return settings["unlearning_method"] == "scratch" and _asks(settings, "in_out") and _single(settings)


# ---------------------------------------------------------------- axes


def model_label(settings: Settings) -> str:
    """A target family with what makes it another one: "MLPTorch, 30 epochs, matched"; networks name the randomness of
    their retraining, the largest factor there is for them, and all others that which is not the default."""
    name = str(settings["original_model"])
    if "num_epochs" in settings:
        name += f", {settings['num_epochs']} epochs"
    if settings.get("batch_size", 64) != 64:
        name += f" of batches of {settings['batch_size']}"
    if settings.get("max_leaf_nodes") is not None:
        name += f", {settings['max_leaf_nodes']} leaves"
    if settings.get("solver", "lbfgs") != "lbfgs":
        name += f", {settings['solver']}"
    if settings.get("accelerate"):
        name += ", accelerated"
    randomness = settings.get("retrain_randomness", "matched")
    if randomness != "matched" or ("num_epochs" in settings and "retrain_randomness" in settings):
        name += f", {randomness}"
    return name


def data_label(settings: Settings, side: str = "") -> str:
    """A data set as figures name it; invented ones have "synthetic" for a label."""
    return f"{settings[f'{side}dataset_name']} / {settings[f'{side}original_label']}"


def defense_label(settings: Settings) -> str:
    """What a provider does against the attack, "none" for nothing."""
    parts = []
    if settings["top_k"] is not None:
        parts.append("label only" if settings["top_k"] == 0 else f"top {settings['top_k']}")
    if settings["temperature"] is not None:
        parts.append(f"temperature {settings['temperature']:g}")
    if settings["round_digits"] is not None:
        parts.append(f"rounded to {settings['round_digits']} digit{'' if settings['round_digits'] == 1 else 's'}")
    if settings.get("defense") is not None:
        parts.append(f"plug-in's {settings['defense']}")
    if "sigma" in settings:
        budget = settings.get("target_epsilon")
        parts.append(f"DP-SGD, epsilon {budget:g}" if budget else f"DP-SGD, sigma {settings['sigma']:g}")
    return ", ".join(parts) or "none"


def budget_label(settings: Settings) -> str:
    """What an adversary has, where it is not one round of own models and as many questions as he likes."""
    return known(Budget(*(settings[name] for name in _BUDGET))).removeprefix(", ") or "usual (1 round of own models)"


def _complexity(settings: Settings) -> int:
    """Leaves of a tree, epochs of a network."""
    if "num_epochs" in settings:
        return int(settings["num_epochs"])
    return int(settings["max_leaf_nodes"] or 10)  # the zoo's decision tree


def _protection(settings: Settings) -> str:
    """A defense, or fresh randomness in its place; DP-SGD draws anew in any case."""
    label = defense_label(settings)
    kind = settings["retrain_randomness"]
    return label if "sigma" in settings or kind == "matched" else f"{label}, {kind} retraining"


def usual_budget(settings: Settings) -> bool:
    """One round of own models, as many questions as an attack likes, both versions, labels known."""
    usual = Budget()
    return all(settings[name] == getattr(usual, name) for name in _BUDGET)


def sees_all(settings: Settings) -> bool:
    """Whether the adversary sees both versions and knows the labels."""
    return bool(settings["versions"] == "both" and settings["label_known"])


REQUEST_SIZE = "target_unlearning_num"
_REQUEST = Axis(
    "records a request",
    (REQUEST_SIZE, "shadow_unlearning_num"),
    lambda settings: settings["target_unlearning_num"],
)
_FAMILY = Axis(
    "target model / attack model",
    (*_MODELS, "attack_model", *_CHOSEN),
    lambda settings: f"{model_label(settings)} / {settings['attack_model']}",
)
_FAMILY_AND_METHOD = Axis(
    "target model / unlearning / attack model",
    (*_FAMILY.free, "unlearning_method"),
    lambda settings: f"{model_label(settings)} / {settings['unlearning_method']} / {settings['attack_model']}",
)


def _shadow_axis(name: str, label: str) -> Axis:
    others = [size for size in _SIZES if size not in (name, "num_shard")]
    return Axis(
        label,
        (f"shadow_{name}",),
        lambda settings: settings[f"shadow_{name}"],
        lambda settings: all(settings[f"shadow_{size}"] == settings[f"target_{size}"] for size in others),
    )


COMPARISONS: dict[str, Comparison] = {
    "scratch": Comparison(
        "Retraining from scratch",
        "The paper: the attack beats the classical one on every target family.",
        "dots",
        lambda settings: _usual(settings) and _base(settings) and settings["max_leaf_nodes"] is None,
        (_FAMILY,),
        least=1,
    ),
    "overfitting": Comparison(
        "Overfitting",
        "The paper: well-generalised models leak through unlearning although the classical attack fails on them.",
        "overfitting",
        lambda settings: (
            _usual(settings) and _base(settings) and (settings["original_model"] == "DT" or "num_epochs" in settings)
        ),
        (Axis("leaves or epochs", ("max_leaf_nodes", "num_epochs"), _complexity),),
    ),
    "sisa": Comparison(
        "SISA: number of shards",
        "The paper: SISA weakens the attack, as one retrained shard has one vote among many.",
        "curves",
        lambda settings: (
            _usual(settings)
            and settings["unlearning_method"] == "sisa"
            and _asks(settings, "in_out")
            and _single(settings)
        ),
        (Axis("shards", ("target_num_shard", "shadow_num_shard"), lambda settings: settings["target_num_shard"]),),
    ),
    "group_deletion": Comparison(
        "Group deletion",
        "The paper: the more records one request deletes, the less each of them shows.",
        "curves",
        lambda settings: _usual(settings) and _asks(settings, "in_out"),
        (_REQUEST,),
    ),
    "multi_version": Comparison(
        "Intermediate versions that the adversary never saw",
        "The paper: deletions in between blur the one that is asked about.",
        "curves",
        lambda settings: _usual(settings) and _asks(settings, "in_out_multi_version"),
        (Axis("records deleted since the original", _REQUEST.free, _REQUEST.value),),
    ),
    "online_learning": Comparison(
        "Online learning",
        "The paper: new records that are learned beside the deletion blur it.",
        "curves",
        lambda settings: _usual(settings) and _asks(settings, "online_learning"),
        (Axis("records exchanged", _REQUEST.free, _REQUEST.value),),
    ),
    "remaining": Comparison(
        "Remaining records",
        "Nothing was deleted of these; only an overfitted model tells them from strangers.",
        "dots",
        lambda settings: _usual(settings) and _asks(settings, "in_in") and _single(settings),
        (_FAMILY_AND_METHOD,),
        least=1,
    ),
    "shadow_size": Comparison(
        "The adversary's budget",
        "The paper: a few shadow models are enough.",
        "curves",
        lambda settings: _plain(settings) and is_open(settings) and _base(settings),
        (
            _shadow_axis("set_num", "shadow sample sets"),
            _shadow_axis("set_size", "records a shadow set"),
            _shadow_axis("unlearning_size", "unlearned models a shadow set"),
        ),
    ),
    "transfer": Comparison(
        "Transfer",
        "The paper: an attack that was learned on other data or another family still works.",
        "heat",
        lambda settings: (
            not settings["placebo"]
            and settings["attacks"] == "paper"
            and usual_budget(settings)
            and settings["retrain_randomness"] == "matched"
            and is_open(settings)
            and _same_sizes(settings)
            and _base(settings)
            and settings["max_leaf_nodes"] is None
            and settings.get("solver", "lbfgs") == "lbfgs"
            and not settings.get("accelerate")
        ),
        (
            Axis(
                "data set",
                _DATA,
                lambda settings: (data_label(settings, "shadow_"), data_label(settings)),
                same_model,
            ),
            Axis(
                "family",
                (*_MODELS, "solver", "accelerate", *_TRAINING),
                lambda settings: (str(settings["shadow_original_model"]), str(settings["original_model"])),
                same_data,
            ),
        ),
        least=4,
    ),
    "defense": Comparison(
        "Defenses",
        "The paper: label only, temperature and DP-SGD help, top-k does not.",
        "defense",
        # Each panel has one kind of randomness: DP-SGD is held against a baseline that draws anew as well.
        lambda settings: _known(settings) and _same_sizes(settings) and _base(settings),
        (Axis("defense", (*PUBLICATION, *_PRIVACY), defense_label),),
        against_each_other=True,
    ),
    "adversary": Comparison(
        "Today's adversary: what he has, what is published",
        "Not in the paper: own models, questions, versions and labels against what the provider lets through.",
        "matrix",
        lambda settings: _today(settings) and _base(settings) and "sigma" not in settings,
        (
            Axis(
                "adversary / published",
                (*_BUDGET, *PUBLICATION),
                lambda settings: (budget_label(settings), defense_label(settings)),
            ),
        ),
        least=4,
        against_each_other=True,
    ),
    "adversary_families": Comparison(
        "Today's adversary: all families and methods",
        "Not in the paper: attacks that ask elsewhere, or train models of their own.",
        "dots",
        lambda settings: (
            _today(settings)
            and is_open(settings)
            and usual_budget(settings)
            and _single(settings)
            and _asks(settings, "in_out")
            and settings["retrain_randomness"] == "matched"
        ),
        (_FAMILY_AND_METHOD,),
        least=1,
    ),
    "adversary_batches": Comparison(
        "Today's adversary: records a request",
        "Not in the paper: how many records must go together before even today's attacks lose them.",
        "curves",
        lambda settings: (
            _today(settings) and is_open(settings) and usual_budget(settings) and _asks(settings, "in_out")
        ),
        (_REQUEST,),
    ),
    "adversary_defense": Comparison(
        "Today's adversary: defenses",
        "Not in the paper: which defenses still help.",
        "defense",
        lambda settings: _today(settings) and usual_budget(settings) and _base(settings),
        (Axis("defense", (*PUBLICATION, *_PRIVACY, "retrain_randomness", "fresh_retrain_seed"), _protection),),
        against_each_other=True,
    ),
    "randomness": Comparison(
        "Randomness of retraining",
        "What the retrained model shares with the original: all but the deleted record (matched), the seed (shared), "
        "nothing (fresh).",
        "dots",
        lambda settings: _known(settings) and is_open(settings) and _same_sizes(settings) and _base(settings),
        (
            Axis(
                "randomness of retraining",
                ("retrain_randomness", "fresh_retrain_seed"),
                lambda settings: settings["retrain_randomness"],
            ),
        ),
        least=2,
        against_each_other=True,
    ),
    "placebo": Comparison(
        "Placebo",
        "A control: only strangers are queried, so there is nothing to find: at least 19 of 20 intervals hold 0.5.",
        "dots",
        lambda settings: settings["placebo"] and same_data(settings) and same_model(settings),
        (_FAMILY_AND_METHOD,),
        least=1,
    ),
}


OTHERS = Comparison(
    "Other settings",
    "What stands beside none of the others: one row a setting.",
    "dots",
    lambda settings: True,
    (),
    least=1,
)


def others(findings: Sequence[Finding], shown: Sequence[Panel]) -> list[Panel]:
    """A panel of the findings that no panel shows; none where there are none."""
    known = {id(finding) for panel in shown for _, finding in panel.points}
    left = [finding for finding in findings if id(finding) not in known]
    if not left:
        return []
    free = tuple(dict.fromkeys(name for finding in left for name in finding.settings))
    axis = Axis("setting", free, _setting)
    points = [(axis.value(finding.settings), finding) for finding in left]
    return [Panel(axis, sorted(told_apart(points), key=_position))]


def told_apart(points: Sequence[tuple[Any, Finding]]) -> list[tuple[Any, Finding]]:
    """The same points; to texts that several have is added what tells their settings, or else their data, apart."""
    alike: dict[Any, list[Finding]] = {}
    for value, finding in points:
        alike.setdefault(value, []).append(finding)
    named = []
    for value, finding in points:
        others = [other.settings for other in alike[value]]
        more = differences(finding.settings, others) if isinstance(value, str) else ""
        named.append((f"{value}, {more}" if more else value, finding))
    return named


_IN_WORDS = {"target_set_size": "sets of {:,}", "seeds": "{}"}
# What is counted, and what follows it.
_COUNTED = {
    "target_set_num": ("set", ""),
    "target_unlearning_size": ("request", " a set"),
    "target_unlearning_num": ("record", " a request"),
    "target_num_shard": ("shard", ""),
}


def in_words(name: str, settings: Settings) -> str:
    """One setting as people say it."""
    if name in _COUNTED and isinstance(settings.get(name), int):
        noun, rest = _COUNTED[name]
        return f"{plural(settings[name], noun)}{rest}"
    return _IN_WORDS.get(name, f"{name.replace('_', ' ')} {{}}").format(settings.get(name))


def differences(settings: Settings, alike: Sequence[Settings], said: Collection[str] = ()) -> str:
    """What tells some settings from others that go by the same name, in words, but for those that are `said` beside
    them; their number where nothing does."""
    if len(alike) < 2:
        return ""
    names = dict.fromkeys(name for other in alike for name in other)
    differ = [name for name in names if len({repr(other.get(name)) for other in alike}) > 1]
    words = [
        in_words(name, settings)
        for name in differ
        if name not in said and not (name.startswith("shadow_") and name.replace("shadow_", "target_") in differ)
    ]
    if differ:
        return ", ".join(words)
    return f"({1 + next(number for number, other in enumerate(alike) if other is settings)})"


def _setting(settings: Settings) -> str:
    words = [data_label(settings), model_label(settings), settings["unlearning_method"]]
    words += [settings["samples_to_evaluate"], f"{settings['attack_model']} attack"]
    if not same_data(settings) or not same_model(settings):
        words.append(f"learned on {data_label(settings, 'shadow_')} with {settings['shadow_original_model']}")
    defense = defense_label(settings)
    words += [] if defense == "none" else [defense]
    words += [] if usual_budget(settings) else [budget_label(settings)]
    return ", ".join([*words, *(["placebo"] if settings["placebo"] else [])])


def panels(comparison: Comparison, findings: Sequence[Finding]) -> list[Panel]:
    """The panels of a comparison that have enough points, those with the most cases first."""
    found = []
    for axis in comparison.axes:
        groups: dict[str, list[Finding]] = {}
        for finding in findings:
            if comparison.wanted(finding.settings) and axis.wanted(finding.settings):
                known = finding.settings.items()
                fixed = {name: value for name, value in known if name not in axis.free and value is not None}
                groups.setdefault(digest([fixed, _data_versions(finding, axis)]), []).append(finding)
        for group in groups.values():
            named = told_apart([(axis.value(finding.settings), finding) for finding in _latest(group, axis)])
            points = sorted(named, key=_position)
            if comparison.kind == "heat":
                points = _with_partners(points)
            if len(points) >= comparison.least:
                found.append(Panel(axis, points))
    return sorted(found, key=lambda panel: -sum(finding.outcomes["positives"] for _, finding in panel.points))


def _data_versions(finding: Finding, axis: Axis) -> list[Any]:
    """What records of each side were, and by which version of the code trained on: points of a panel agree in it,
    unless the axis is over data sets, or over families, whose versions differ."""
    if _over_data(axis):
        return []
    origin = finding.runs[0].origin
    known = ["dataset_digest", "cache_version", *([] if _over_families(axis) else ["revision"])]
    return [[side, *(part.get(name) for name in known)] for side, part in sorted(origin.items())]


def _over_families(axis: Axis) -> bool:
    return "original_model" in axis.free


def _over_data(axis: Axis) -> bool:
    return bool(set(_DATA) & set(axis.free))


def _latest(group: Sequence[Finding], axis: Axis) -> Sequence[Finding]:
    """On an axis over data sets, one finding a point: of several on a data set that was prepared anew, the latest."""
    if not _over_data(axis):
        return group
    found: dict[Any, Finding] = {}
    for finding in sorted(group, key=lambda part: str(part.runs[-1].made.get("date", ""))):
        found[axis.value(finding.settings)] = finding
    return list(found.values())


def _position(point: tuple[Any, Finding]) -> Any:
    """By number, or by kind and strength of a defense."""
    value = point[0]
    return defense_order(str(value)) if isinstance(value, str | tuple) else (value,)


def defense_order(label: str) -> tuple[int, float, str]:
    """Defenses by kind and strength; all other texts by the alphabet."""
    kinds = ("none", "top", "rounded", "label only", "temperature", "DP-SGD")
    rank = next((number for number, kind in enumerate(kinds) if label.startswith(kind)), -1)
    number = label.removesuffix("s").removesuffix(" digit").rpartition(" ")[2]
    strength = float(number) if rank >= 0 and number.replace(".", "").isdigit() else 0.0
    return rank, strength, label


def _with_partners(points: Sequence[tuple[Any, Finding]]) -> list[tuple[Any, Finding]]:
    """The cells of a heat map, less those of names that no attack was transferred from or to."""
    transferred = {name for pair, _ in points if pair[0] != pair[1] for name in pair}
    return [point for point in points if point[0][0] in transferred]

"""The sweeps: for each comparison of the paper, the settings that it puts side by side, as flags of main.py.

`python main.py --exp sweep --comparison sisa --small` runs one; scripts/NAME.sh does the same from a fresh clone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Scope:
    """What a sweep works with.

    Attributes:
        small: a minute or two instead of the full form.
        location: whether Foursquare's check-ins can be had, asked only where a sweep is about them; invented venues
            take their place otherwise.
        accident: whether US-Accidents is at hand.
        images: which of mnist and cifar10 are.
    """

    small: bool
    location: Callable[[], bool]
    accident: bool
    images: tuple[str, ...] = ()

    @cached_property
    def real_location(self) -> bool:
        """What `location` says, asked once."""
        return self.location()

    def pick(self, full: tuple, small: tuple) -> tuple:
        """Values of the full or of the small form."""
        return small if self.small else full

    @property
    def data(self) -> tuple[str, str]:
        """Flags of the two data sets."""
        label = "foursquare" if self.real_location else "synthetic"
        return (ADULT, f"--dataset_name location --original_label {label}")


ADULT = "--dataset_name adult"
# Families that take minutes a setting; they stand beside trees and linear models at two points of an axis.
SLOW = (
    "RF --shadow_unlearning_size 5 --target_unlearning_size 5",
    "MLP",
    "MLPTorch --num_epochs 30",
)
QUESTIONS = (1, 15, 200, 2000, 19000)  # d + 1 is 15 on Adult
NETWORKS = ("LRTorch --num_epochs 60", "MLPTorch --num_epochs 30")
# Pictures, at a size that two cores carry; resnet50 and densenet, at 50 ms a picture, are not for them.
PICTURES = "--original_model scnn --num_epochs 3 --shadow_set_size 500 --target_set_size 500"


def both_sides(name: str, value: object) -> str:
    """A flag of both sides."""
    return f"--shadow_{name} {value} --target_{name} {value}"


def scratch(scope: Scope) -> Iterator[str]:
    """Target families, attack models; accidents and pictures, where they are at hand, with one attack model."""
    for data in scope.data:
        for target in scope.pick(("DT", "LR", "RF", "MLP", *NETWORKS), ("DT", "LR")):
            for attack in ("DT", "LR", "RF", "MLP"):
                yield f"{data} --original_model {target} --attack_model {attack}"
    if scope.accident:
        for target in scope.pick(("DT", "LR", *SLOW, NETWORKS[0]), ("DT",)):
            yield f"--dataset_name accident --original_model {target} --attack_model RF"
    for data in scope.pick(scope.images, ()):
        yield f"--dataset_name {data} {PICTURES} --attack_model RF"


def overfitting(scope: Scope) -> Iterator[str]:
    """Trees of 2 to 500 leaves, networks of 2 to 30 epochs."""
    for data in scope.data:
        yield f"{data} --attack_model RF"
        for leaves in scope.pick((2, 5, 20, 50, 100, 500), (2, 50, 500)):
            yield f"{data} --attack_model RF --max_leaf_nodes {leaves}"
    for epochs in scope.pick((2, 5, 10, 30), ()):
        yield f"{ADULT} --attack_model RF --original_model MLPTorch --num_epochs {epochs}"


def sisa(scope: Scope) -> Iterator[str]:
    """1 to 20 shards."""
    for data in scope.data:
        for target in scope.pick(("DT", "LR"), ("DT",)):
            for count in scope.pick((1, 2, 5, 10, 20), (1, 5, 20)):
                yield f"{data} --original_model {target} --unlearning_method sisa {both_sides('num_shard', count)}"
    slow = [(ADULT, target) for target in SLOW] + [(data, SLOW[-1]) for data in scope.data[1:]]
    for data, target in scope.pick(tuple(slow), ()):
        for count in (1, 10):
            yield f"{data} --original_model {target} --unlearning_method sisa {both_sides('num_shard', count)}"


def _request_sizes(question: str) -> Callable[[Scope], Iterator[str]]:
    """Requests of 1 to 100 records, asked about as one value of --samples_to_evaluate says."""

    def lines(scope: Scope) -> Iterator[str]:
        for data in scope.data:
            for target in scope.pick(("DT", "LR"), ("DT",)):
                for count in scope.pick((1, 2, 5, 10, 20, 50, 100), (1, 10, 100)):
                    sizes = both_sides("unlearning_num", count)
                    yield f"{data} --original_model {target} --samples_to_evaluate {question} {sizes}"
        for target in scope.pick(SLOW, ()):
            for count in (1, 10):
                sizes = both_sides("unlearning_num", count)
                yield f"{ADULT} --original_model {target} --samples_to_evaluate {question} {sizes}"

    return lines


def remaining(scope: Scope) -> Iterator[str]:
    """Records that stay in both models."""
    for data in scope.data:
        for target in scope.pick(("DT", "LR", "RF", "MLP", *NETWORKS), ("DT", "LR")):
            for method in ("scratch", "sisa"):
                yield f"{data} --original_model {target} --unlearning_method {method} --samples_to_evaluate in_in"


def shadow_size(scope: Scope) -> Iterator[str]:
    """What the adversary's budget buys: shadow sets, records a set, unlearned models a set."""
    axes: dict[str, tuple] = {
        "set_num": scope.pick((1, 2, 5, 10, 20), (1, 10)),
        "set_size": scope.pick((250, 500, 1000, 2000, 5000), (500, 2000)),
        "unlearning_size": scope.pick((2, 5, 10, 20, 50), (5, 20)),
    }
    for target in scope.pick(("DT", "LR"), ("DT",)):
        for name, values in axes.items():
            for value in values:
                yield f"{ADULT} --original_model {target} --shadow_{name} {value}"


def transfer(scope: Scope) -> Iterator[str]:
    """Other data or another family than the target's; data sets of unlike size meet at sets of 500."""
    nine = ["synthetic", *(["foursquare", "foursquare_5"] if scope.real_location else [])]
    two = [("adult", "income"), *([("accident", "severity")] if scope.accident else [])]
    for target in scope.pick(("DT", "LR"), ("DT",)):
        for shadow in nine:
            for label in nine:
                names = f"--original_label {label} --shadow_original_label {shadow} --original_model {target}"
                yield f"--dataset_name location {names} {both_sides('set_size', 500)}"
        for shadow_name, shadow_label in two if len(two) > 1 else ():
            for name, label in two:
                source = f"--shadow_dataset_name {shadow_name} --shadow_original_label {shadow_label}"
                yield f"--dataset_name {name} --original_label {label} {source} --original_model {target}"
    families = scope.pick(("DT", "LR", "RF", "MLP", "LRTorch"), ("DT", "LR"))
    for shadow in families:
        for target in families:
            epochs = " --num_epochs 60" if "LRTorch" in (shadow, target) else ""
            yield f"{ADULT} --shadow_original_model {shadow} --original_model {target}{epochs}"


def defense(scope: Scope) -> Iterator[str]:
    """Top-k, label only, temperature, DP-SGD."""
    for data in scope.data:
        for target in scope.pick(("DT", "LR"), ("DT",)):
            base = f"{data} --original_model {target} --attack_model RF"
            yield base
            for k in (1, 2, 3, 0):
                yield f"{base} --top_k {k}"
            for degree in scope.pick((0.5, 1, 2, 5, 10), (0.5, 10)):
                yield f"{base} --temperature {degree}"
    network = f"{ADULT} --original_model LRTorch --num_epochs 10 --batch_size 256 --attack_model RF"
    if scope.small:
        network += f" {both_sides('set_num', 3)} {both_sides('unlearning_size', 5)}"
    # The baseline of DP-SGD draws as much anew as DP-SGD does; next to no noise shows what drawing anew does alone.
    yield f"{network} --retrain_randomness fresh"
    for sigma in scope.pick((1e-6, 0.5, 2, 10), (1e-6, 2)):
        yield f"{network} --is_dp_defense true --sigma {sigma}"


def randomness(scope: Scope) -> Iterator[str]:
    """Three kinds of retraining of networks, forests and trees."""
    networks = ("LRTorch --num_epochs 20", "MLPTorch --num_epochs 10")
    for data in scope.data:
        for target in scope.pick((*networks, "RF", "DT"), ("LRTorch --num_epochs 10", "DT")):
            for kind in ("matched", "shared", "fresh"):
                yield f"{data} --original_model {target} --attack_model RF --retrain_randomness {kind}"


def placebo(scope: Scope) -> Iterator[str]:
    """A control of the measurement itself: only strangers are queried, so every attack must end at 0.5."""
    for data in scope.data:
        for target in ("DT", "LR"):
            for method in ("scratch", "sisa"):
                yield f"{data} --original_model {target} --unlearning_method {method} --attack_model RF --placebo"


def _today(lines: tuple[str, ...]) -> Iterator[str]:
    for line in lines:
        yield f"{line} --attacks all --attack_model RF"


def adversary(scope: Scope) -> Iterator[str]:
    """Own models, questions, versions, labels against digits and labels: the threat-model matrix, on Adult with LR."""
    full = ("", *(f"--own_models {count}" for count in (0, 4, 16)), *(f"--queries {count}" for count in QUESTIONS))
    full += ("--versions unlearned", "--versions original", "--label_known false")
    budgets = scope.pick(full, ("", "--own_models 0", "--queries 1"))
    rounded = (f"--round_digits {digits}" for digits in (4, 3, 2))
    held_back = scope.pick(("", *rounded, "--top_k 1", "--top_k 0"), ("", "--top_k 0"))
    lines = tuple(f"{ADULT} --original_model LR {budget} {defense}" for budget in budgets for defense in held_back)
    yield from _today(lines)


def adversary_families(scope: Scope) -> Iterator[str]:
    """All families, both methods, all data sets at hand."""
    families = scope.pick(("DT", "LR", *NETWORKS, "MLP", SLOW[0], "DT --max_leaf_nodes 50"), ("DT", "LR"))
    lines = [f"{data} --original_model {family}" for data in scope.data for family in families]
    if scope.accident:
        lines += [f"--dataset_name accident --original_model {family}" for family in scope.pick(("DT", "LR"), ())]
    lines += [f"{ADULT} --original_model {family} --unlearning_method sisa" for family in ("DT", "LR")]
    yield from _today(tuple(lines))


def adversary_batches(scope: Scope) -> Iterator[str]:
    """Requests of 1 to 50 records."""
    counts = scope.pick((1, 2, 5, 10, 20, 50), (1, 10))
    lines = [f"{ADULT} --original_model LR {both_sides('unlearning_num', count)}" for count in counts]
    yield from _today(tuple(lines))


def adversary_defense(scope: Scope) -> Iterator[str]:
    """Label only, rounding, top-k, DP-SGD, fresh randomness."""
    nine = f"{scope.data[1]} --original_model LR"
    network = f"{ADULT} --original_model LRTorch --num_epochs 10 --batch_size 256"
    lines = [f"{ADULT} --original_model LR {held_back}" for held_back in ("", "--top_k 0", "--round_digits 2")]
    if not scope.small:
        lines += [f"{nine} {held_back}" for held_back in ("", "--top_k 1", "--top_k 0", "--round_digits 2")]
        lines += [network, f"{network} --retrain_randomness fresh"]
        lines += [f"{network} --is_dp_defense true --sigma {sigma}" for sigma in (1e-6, 2)]
    yield from _today(tuple(lines))


# In the order in which all of them run: what others need is trained first.
SWEEPS: dict[str, Callable[[Scope], Iterator[str]]] = {
    "sisa": sisa,
    "group_deletion": _request_sizes("in_out"),
    "multi_version": _request_sizes("in_out_multi_version"),
    "online_learning": _request_sizes("online_learning"),
    "shadow_size": shadow_size,
    "transfer": transfer,
    "placebo": placebo,
    "defense": defense,
    "randomness": randomness,
    "scratch": scratch,
    "overfitting": overfitting,
    "remaining": remaining,
    "adversary": adversary,
    "adversary_families": adversary_families,
    "adversary_batches": adversary_batches,
    "adversary_defense": adversary_defense,
}

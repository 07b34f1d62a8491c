"""What a run was asked for, as one frozen value; `parameter_parser` builds it from the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import models
from lib_unlearning.record_split import SIDES, SideSettings
from lib_unlearning.unlearning import TrainingSettings


@dataclass(frozen=True)
class Origin:
    """Where a side's models come from: data set, its label, model family."""

    dataset_name: str
    original_label: str
    original_model: str


@dataclass(frozen=True)
class Settings:
    """Everything a run was asked for.

    Attributes:
        origins: "shadow" / "target" -> data set and model family; they differ when an attack is transferred.
        sides: "shadow" / "target" -> what that side draws.
        max_leaf_nodes: leaves of tree targets, None for the zoo's own number.
        num_process: worker processes, 1 for none.
        top_k: entries published by the defense, 0 for the label alone, None for all.
        temperature: that posteriors are softened with, None for none.
        seeds: seeds that the experiment is run for, one after another; `seed` is the one at hand.
        train_missing: whether an attack trains models that are not cached.
        skip_finished: whether an attack whose results are there is left as it is.
        comparison: of the report, the one to print; None for all.
        training_command: the command that trains the models these settings attack.
    """

    exp: str
    origins: dict[str, Origin]
    attack_model: str
    unlearning_method: str
    samples_to_evaluate: str
    sides: dict[str, SideSettings]
    max_leaf_nodes: int | None
    is_sample: bool
    is_obtain_posterior: bool
    num_process: int
    top_k: int | None
    temperature: float | None
    training: TrainingSettings
    seeds: tuple[int, ...]
    seed: int
    fresh_retrain_seed: bool
    placebo: bool
    retrain: bool
    train_missing: bool
    skip_finished: bool
    comparison: str | None
    trust_cache: bool
    temp_data: Path
    quiet: bool
    log_level: str
    training_command: str

    @property
    def other_data(self) -> bool:
        """Whether the shadow side learns on another data set than the target side."""
        shadow, target = (self.origins[side] for side in SIDES)
        return (shadow.dataset_name, shadow.original_label) != (target.dataset_name, target.original_label)

    def named_by(self, *fields: str, joint: str) -> str:
        """Readable name of both sides' origins by some of their fields; the shadow's only where it differs."""
        target, shadow = (
            joint.join(getattr(self.origins[side], field) for field in fields) for side in ("target", "shadow")
        )
        return target if shadow == target else f"{target}_from_{shadow}"

    @property
    def trains_networks(self) -> bool:
        """Whether one side's models are networks."""
        return any(origin.original_model in models.NETWORKS for origin in self.origins.values())

    def flat(self) -> dict[str, Any]:
        """All that shapes a result, as name -> plain value: the first columns of every result row."""
        found: dict[str, Any] = asdict(self.origins["target"])
        found |= {f"shadow_{name}": value for name, value in asdict(self.origins["shadow"]).items()}
        names = ("attack_model", "unlearning_method", "samples_to_evaluate", "placebo", "max_leaf_nodes", "top_k")
        for name in (*names, "temperature", "fresh_retrain_seed", "seed"):
            found[name] = getattr(self, name)
        for side, part in self.sides.items():
            found |= {f"{side}_{name}": value for name, value in asdict(part).items()}
        if self.trains_networks:
            # How many train together changes rounding only; privacy has columns of its own.
            left_out = ("ensemble_size", "privacy")
            found |= {name: value for name, value in vars(self.training).items() if name not in left_out}
            found |= asdict(self.training.privacy) if self.training.privacy else {}
        return found

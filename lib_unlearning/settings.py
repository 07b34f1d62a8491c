"""What a run was asked for, as one frozen value; `parameter_parser` builds it from the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lib_unlearning.attack import Budget
from lib_unlearning.cache.layout import Layout
from lib_unlearning.evaluation_cases import SAMPLES_TO_EVALUATE
from lib_unlearning.options import NoOptions, columns
from lib_unlearning.record_split import SIDES, SideSettings


@dataclass(frozen=True)
class Origin:
    """Where a side's models come from: data set, its label, model family and what was chosen about it."""

    dataset_name: str
    original_label: str
    original_model: str
    options: Any = field(default_factory=NoOptions)

    @property
    def names(self) -> dict[str, str]:
        """Data set, label and family as columns."""
        return {name: getattr(self, name) for name in ("dataset_name", "original_label", "original_model")}


ORIGINALS = "originals"
KEPT = ("all", ORIGINALS, "none")  # of the trained models; answers are kept in any case
ANSWER_KINDS = ("auto", "posteriors", "logits", "labels")


@dataclass(frozen=True)
class AuditInputs:
    """What `--exp audit` works on, and what it leaves.

    Attributes:
        before, after, cases, retrained: files of answers to the target side's cases, and `shadow_...` to the
            adversary's; `retrained`: by models that were retrained without the deleted records.
        answers: what the files hold, or models are asked for (see `ANSWER_KINDS`).
        model_before, model_after, table: two models in files, and the records that they are asked about.
        label: the table's column that the models predict.
        trust: whether pickles may be opened.
        service: description of a service. verify: pack to verify. pack: where to write one.
        in_order: whether before and after are not swapped, though answers to deleted records became better.
        tpr_margin: difference of TPR at 1 % FPR that counts as none.
        show_ids: whether the page names records.
        plan: say what would settle the margin, and do nothing.
    """

    before: Path | None
    after: Path | None
    cases: Path | None
    retrained: Path | None
    shadow_before: Path | None
    shadow_after: Path | None
    shadow_cases: Path | None
    shadow_retrained: Path | None
    answers: str
    model_before: Path | None
    model_after: Path | None
    table: Path | None
    label: str | None
    trust: bool
    service: Path | None
    verify: Path | None
    pack: Path | None
    in_order: bool
    tpr_margin: float
    show_ids: bool
    plan: bool


@dataclass(frozen=True)
class Settings:
    """Everything a run was asked for.

    Attributes:
        origins: "shadow" / "target" -> data set and model family; they differ when an attack is transferred.
        sides: "shadow" / "target" -> what that side draws.
        side_options: "shadow" / "target" -> options of unlearning methods that each side has its own of.
        method_options: "shadow" / "target" -> the method's options.
        audit: inputs of `--exp audit`.
        attacks: "paper" for its features, "all" for today's attacks as well.
        budget: what today's adversary may spend, and what he knows.
        stream_lengths: after how many deletions of a stream the models are asked.
        margin: AUC from which on a deletion counts as visible.
        max_auc: that a batch of deletions shall stay under.
        one_by_one: whether methods that are not exact forget the records of a request one after another.
        retrain_randomness: what retraining shares with the original: "matched", "shared" or "fresh".
        num_process: worker processes, 1 for none.
        cluster: whose workers take their place (see `cluster.py`); None for none.
        top_k: entries published by the defense, 0 for the label alone, None for all.
        temperature: that posteriors are softened with, None for none.
        round_digits: decimal digits that are published, None for all.
        defense: of a plug-in, what it makes of answers before they are published; None for none.
        seeds: seeds that the experiment is run for, one after another; `seed` is the one at hand.
        train_missing: whether an attack trains models that are not cached.
        skip_finished: whether an attack whose results are there is left as it is.
        comparison: of the report or the sweep, the one to make; None for all.
        plugins: name -> source digest of the code from outside.
        given: the flags as they were given, by name; what `--save_config` writes.
        training_command: the command that trains the models these settings attack.
    """

    exp: str
    origins: dict[str, Origin]
    attack_model: str
    audit: AuditInputs
    attacks: str
    budget: Budget
    unlearning_method: str
    samples_to_evaluate: str
    sides: dict[str, SideSettings]
    side_options: dict[str, dict[str, Any]]
    method_options: dict[str, Any]
    is_sample: bool
    is_obtain_posterior: bool
    num_process: int
    cluster: str | None
    top_k: int | None
    temperature: float | None
    round_digits: int | None
    defense: str | None
    seeds: tuple[int, ...]
    seed: int
    one_by_one: bool
    retrain_randomness: str
    placebo: bool
    stream_lengths: tuple[int, ...]
    margin: float
    max_auc: float
    retrain: bool
    keep_models: str
    train_missing: bool
    skip_finished: bool
    comparison: str | None
    small: bool
    dry_run: bool
    name: str | None
    yes: bool
    trust_cache: bool
    temp_data: Path
    quiet: bool
    log_level: str
    plugins: dict[str, str]
    given: dict[str, Any]
    training_command: str

    @property
    def layout(self) -> Layout:
        """The folders of the run."""
        return Layout(self.temp_data)

    @property
    def other_data(self) -> bool:
        """Whether the shadow side learns on another data set than the target side."""
        shadow, target = (self.origins[side] for side in SIDES)
        return (shadow.dataset_name, shadow.original_label) != (target.dataset_name, target.original_label)

    @property
    def online(self) -> bool:
        """Whether new records take the place of deleted ones."""
        return SAMPLES_TO_EVALUATE[self.samples_to_evaluate].online_learning

    def named_by(self, *fields: str, joint: str) -> str:
        """Readable name of both sides' origins by some of their fields; the shadow's only where it differs."""
        target, shadow = (
            joint.join(getattr(self.origins[side], field) for field in fields) for side in ("target", "shadow")
        )
        return target if shadow == target else f"{target}_from_{shadow}"

    @property
    def answers_only(self) -> bool:
        """Whether attacks that would ask about other records than the cases had no models to ask."""
        return self.attacks == "all" and self.keep_models != KEPT[0]

    def flat(self) -> dict[str, Any]:
        """All that shapes a result, as name -> plain value: the first columns of every result row."""
        target, shadow = self.origins["target"], self.origins["shadow"]
        chosen = columns(shadow.options) | columns(target.options) | columns(self.method_options["target"])
        found: dict[str, Any] = dict(target.names)
        found |= {f"shadow_{name}": value for name, value in shadow.names.items()}
        for name in ("attack_model", "unlearning_method", "samples_to_evaluate", "placebo"):
            found[name] = getattr(self, name)
        found["max_leaf_nodes"] = chosen.pop("max_leaf_nodes", None)
        found |= {"top_k": self.top_k, "temperature": self.temperature}
        found |= {"fresh_retrain_seed": self.retrain_randomness == "fresh", "seed": self.seed}
        for side, part in self.sides.items():
            own = asdict(part) | self.side_options[side]
            found |= {f"{side}_{name}": value for name, value in own.items()}
            chosen = {name: value for name, value in chosen.items() if name not in self.side_options[side]}
        if self.one_by_one:
            found["one_by_one"] = True
        if self.plugins:
            found["plugins"] = " ".join(f"{name}@{source[:8]}" for name, source in self.plugins.items())
        found |= chosen | {
            "retrain_randomness": self.retrain_randomness,
            "attacks": self.attacks,
            "answers_only": self.answers_only,
        }
        return found | {"round_digits": self.round_digits, "defense": self.defense} | asdict(self.budget)

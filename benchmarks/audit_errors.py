"""How often audits of files err: nulls that are called a leak, planted leaks that are called none.

    python benchmarks/audit_errors.py --audits 100

Answers are drawn: models drift from one version to the next, by as much for strangers as for deleted records, and a
planted leak comes on top of it. Each kind is audited in four ways in turn, without a shadow side and with one, against
the margin (AUC 0.6) and beside retrained models; DT attack model.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from lib_unlearning.audit.answers_file import audit_files
from lib_unlearning.audit.evidence import Options
from lib_unlearning.errors import UserError
from lib_unlearning.link import softmax
from lib_unlearning.statistics.intervals import Estimate
from parameter_parser import parse_settings

COLUMNS = (
    *("deletions", "audits", "leaks", "below or equivalent", "undecided", "no verdict", "refused"),
    *("*shows* holds 0.5", "*still there* holds 0.5"),
)
_OPTIONS = Options(margin=0.1, attack_model="DT", today=False)


@dataclass(frozen=True)
class Kind:
    """Answers of so many models to so many deleted records and strangers.

    Attributes:
        drift: standard deviation by which a model's logits of a class move between versions.
        share: of the deleted records that are of the last class, and of the strangers that are of another.
        people: how many strangers there are in all; 0: others for each model.
        labels: whether models answer labels alone. named: whether the file names the models.
        leak: what deleted records lose of the label's logit; with `beside` what the first class gains and the second
            loses where neither is the label, the other way round for strangers. leaking: share of the deleted that do.
    """

    models: int = 10
    deleted: int = 20
    strangers: int = 20
    classes: int = 3
    drift: float = 0.3
    share: float | None = None
    people: int = 0
    labels: bool = False
    named: bool = True
    leak: float = 0.0
    beside: bool = False
    leaking: float = 1.0

    def draw(self, rng: np.random.Generator) -> dict[str, dict[str, np.ndarray]]:
        """Name of the file -> its columns."""
        each = self.deleted + self.strangers
        member = np.tile(np.repeat([1, 0], [self.deleted, self.strangers]), self.models)
        sets, count = np.repeat(np.arange(self.models), each), each * self.models
        label = rng.integers(0, self.classes, count)
        if self.share is not None:
            last = rng.random(count) < np.where(member == 1, self.share, 1 - self.share)
            label = np.where(last, self.classes - 1, rng.integers(0, self.classes - 1, count))
        record = 1000 * rng.integers(1, 10**9) + np.arange(count)
        logits = rng.normal(0, 1.5, (count, self.classes))
        if self.people:
            who = np.arange(count) % self.people
            ours = rng.normal(0, 1.5, (self.people, self.classes))
            record = np.where(member == 0, record[0] - 1 - who, record)
            label = np.where(member == 0, rng.integers(0, self.classes, self.people)[who], label)
            logits = np.where(member[:, None] == 0, ours[who] + rng.normal(0, 0.3, logits.shape), logits)
        logits[np.arange(count), label] += 0.8
        logits[:, -1] -= 0.8  # the last class is harder
        moved = [
            logits + rng.normal(0, self.drift, (self.models, self.classes))[sets] + rng.normal(0, 0.3, logits.shape)
            for _ in range(2)
        ]
        self._leak_into(moved[0], label, member * (rng.random(count) < self.leaking))
        cases = {"record": record, "label": label, "deleted": member}
        return {
            "cases": cases | ({"set": sets} if self.named else {}),
            "before": self._answers(logits),
            "after": self._answers(moved[0]),
            "retrained": self._answers(moved[1]),
        }

    def _leak_into(self, logits: np.ndarray, label: np.ndarray, leaking: np.ndarray) -> None:
        rows = np.arange(len(logits))
        if not self.beside:
            logits[rows, label] -= self.leak * leaking
            return
        for number, way in ((0, 1), (1, -1)):
            elsewhere = label > 1
            logits[elsewhere, number] += way * self.leak * (2 * leaking[elsewhere] - 1)

    def _answers(self, logits: np.ndarray) -> dict[str, np.ndarray]:
        return {"said": logits.argmax(axis=1)} if self.labels else {"posterior": softmax(logits)}


KINDS: Mapping[str, Kind] = {
    "10 models, 20 deleted records and 20 strangers each": Kind(),
    "models that drift far": Kind(drift=1.0),
    "4 models": Kind(models=4, drift=1.0),
    "60 models, 2 and 2": Kind(models=60, deleted=2, strangers=2, drift=1.0),
    "8 models, 2 and 40": Kind(models=8, deleted=2, strangers=40),
    "labels alone, 5 classes": Kind(classes=5, labels=True),
    "the same 20 strangers to each model": Kind(people=20, drift=1.0),
    "models not named": Kind(models=4, drift=1.0, named=False),
    "65 % and 35 % of one class": Kind(strangers=40, deleted=40, classes=2, share=0.65),
    "75 % and 25 % of one class": Kind(strangers=40, deleted=40, classes=2, share=0.75),
    "**leak**, AUC 0.63 of the label's logits": Kind(leak=0.3),
    "**leak**, AUC 0.76": Kind(leak=0.6),
    "**leak**, AUC 0.89": Kind(leak=1.0),
    "**leak** of one deleted record in four, far": Kind(leak=3.0, leaking=0.25),
    "**leak** beside the label": Kind(classes=5, leak=0.6, beside=True),
    "**leak**, AUC 0.89, and 75 % and 25 % of one class": Kind(
        strangers=40, deleted=40, classes=2, share=0.75, leak=1.0
    ),
}


def audited(kind: Kind, seed: int, shadow: bool, beside: bool) -> tuple[str, list[Estimate]]:
    """The verdict, and what *shows* and *still there* measured."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--exp", "audit", "--temp_data", folder]
        for prefix in ("", "shadow_") if shadow else ("",):
            for name, columns in kind.draw(rng).items():
                if name == "retrained" and not beside:
                    continue
                path = Path(folder) / f"{prefix}{name}.npz"
                np.savez(path, **columns)  # type: ignore[arg-type]
                flags += [f"--{prefix}{name}", str(path)]
        try:
            found = audit_files(parse_settings(flags).audit, _OPTIONS).examination
        except UserError:
            return "refused", []
    return found.verdict, [part.measured for part in found.questions if part.name in ("shows", "still there")]


def row(name: str, kind: Kind, audits: int) -> list[str]:
    """The cells of one kind."""
    verdicts: Counter[str] = Counter()
    holds: list[list[bool]] = [[], []]
    ways = [(shadow, beside) for shadow in (False, True) for beside in (False, True)]
    for number in range(audits):
        verdict, measured = audited(kind, number, *ways[number % len(ways)])
        verdicts[verdict] += 1
        for kept, one in zip(holds, measured, strict=False):
            if one.low is not None and one.high is not None:
                kept.append(one.low <= 0.5 <= one.high)
    told = [verdicts["leaks"], verdicts["below"] + verdicts["equivalent"], verdicts["undecided"]]
    told += [verdicts["no verdict"], verdicts["refused"]]
    return [name, str(audits), *map(str, told), *(f"{sum(kept)} of {len(kept)}" for kept in holds)]


def main() -> None:
    """Print one Markdown row a kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audits", type=int, default=40, help="of each kind, a quarter in each of four ways")
    arguments = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for name, kind in KINDS.items():
        print(f"| {' | '.join(row(name, kind, arguments.audits))} |", flush=True)


if __name__ == "__main__":
    main()

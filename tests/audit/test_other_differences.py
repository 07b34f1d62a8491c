"""What is no leak and looks like one, and leaks that the attack that counts does not see."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lib_unlearning.audit.answers_file import evidence_of
from lib_unlearning.audit.class_mix import counts_of, differ, kept_alike
from lib_unlearning.audit.evidence import Options
from lib_unlearning.audit.examine import Examination, conclude
from lib_unlearning.audit.order import check_order
from lib_unlearning.audit.side import Side
from lib_unlearning.errors import UserError
from lib_unlearning.link import softmax
from lib_unlearning.posterior import PosteriorSet
from tests.audit.doors import audit, audited, write_side

SETS, EACH = 10, 40
OPTIONS = Options(attack_model="DT", today=False)


def drawn(seed: int, share: float = 0.5, classes: int = 2, drift: float = 0.2) -> PosteriorSet:
    """Cases of which deletion shows nothing; so large a share of the deleted are of the last class, which is harder,
    and as large a share of the strangers of another."""
    rng = np.random.default_rng(seed)
    member, sets = np.tile(np.repeat([1, 0], EACH), SETS), np.repeat(np.arange(SETS), 2 * EACH)
    last = rng.random(len(member)) < np.where(member == 1, share, 1 - share)
    label = np.where(last, classes - 1, rng.integers(0, classes - 1, len(member)))
    before = rng.normal(0, 1.5, (len(member), classes))
    before[np.arange(len(member)), label] += 0.8
    before[:, -1] -= 0.8
    after = before + rng.normal(0, drift, (SETS, classes))[sets] + rng.normal(0, 0.3, before.shape)
    numbers = np.arange(len(member))
    return PosteriorSet(softmax(before), softmax(after), member, numbers, label, sets, numbers % EACH)


def moved(seed: int, towards: np.ndarray) -> np.ndarray:
    """Answers [m, 4] of `drawn(seed, classes=4)` after a deletion that moves what is neither the label's nor the next
    class's from one to the other, by the sign of `towards` [m]; the label's share moves as anybody's."""
    cases, rng = drawn(seed, classes=4), np.random.default_rng(seed + 1000)
    rows = np.arange(len(cases))
    one, other = (cases.label + 1) % 4, (cases.label + 2) % 4
    found = cases.original.copy()
    both = found[rows, one] + found[rows, other]
    part = np.log(found[rows, one] / found[rows, other]) + 0.6 * towards + rng.normal(0, 0.2, len(rows))
    part = 1 / (1 + np.exp(-part))
    found[rows, one], found[rows, other] = both * part, both * (1 - part)
    found[rows, cases.label] *= np.exp(rng.normal(0, 0.1, len(rows)))
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def examined(
    target: PosteriorSet, shadow: PosteriorSet | None = None, retrained: Sequence[PosteriorSet] = ()
) -> Examination:
    given = [cases for cases in (target, shadow) if cases is not None]
    sides = [
        Side(cases, again, cases.record).alike_in_class(0, "", "")
        for cases, again in zip_longest(given, retrained, fillvalue=None)
        if cases is not None
    ]
    evidence, _ = evidence_of(sides[0], sides[1] if shadow is not None else None, OPTIONS)
    return conclude(evidence, OPTIONS)


@pytest.mark.parametrize("with_shadow", [False, True])
@pytest.mark.parametrize("share", [0.65, 0.75])
def test_deleted_records_of_other_classes_are_no_leak(share: float, with_shadow: bool) -> None:
    for seed in range(4):
        found = examined(drawn(seed, share), drawn(seed + 50, share) if with_shadow else None)
        assert found.verdict in ("undecided", "below"), [(part.name, part.measured) for part in found.questions]


def test_a_leak_is_found_among_deleted_records_of_other_classes() -> None:
    cases = drawn(0, 0.75)
    gone = np.flatnonzero(cases.member == 1)
    cases.unlearned[gone] = 0.5
    assert examined(cases).verdict == "leaks"


def test_cases_are_kept_so_that_classes_are_alike() -> None:
    rng = np.random.default_rng(0)
    for seed in range(20):
        classes = rng.integers(0, 3, 300)
        member = (rng.random(300) < np.array([0.2, 0.5, 0.8])[classes]).astype(int)
        sets = rng.integers(0, 5, 300)
        kept = kept_alike(classes, member, sets, seed, "target")
        strangers, deleted = counts_of(classes[kept], member[kept])
        ratios = strangers / deleted
        assert ratios.max() - ratios.min() < 0.25 * ratios.mean()
        assert min(strangers.sum(), deleted.sum()) > 30
        assert differ(counts_of(classes, member), rng)
    alike = [differ(counts_of(rng.integers(0, 50, 200), np.arange(200) % 2), rng) for _ in range(200)]
    assert sum(alike) <= 20  # one in twenty


def test_classes_that_only_one_kind_has_are_told(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 0.5)
    cases = pd.read_csv(tmp_path / "cases.csv")
    assert "of other classes" not in audited(tmp_path, *flags, code=3)["told"]
    cases["label"] = np.where(cases["deleted"] == 1, cases["label"] % 2, 2)
    cases.to_csv(tmp_path / "cases.csv", index=False)
    told = audit(tmp_path, *flags, code=2)
    assert "labels alone would read as a leak" in told
    assert "strangers of the deleted records' classes" in told


def test_what_was_left_out_is_said(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 0.5)
    cases = pd.read_csv(tmp_path / "cases.csv")
    kept = (cases["deleted"] == 1) | (cases["label"] != 0) | (cases.index % 8 == 1)
    for path in flags[1::2]:
        pd.read_csv(path)[kept].to_csv(path, index=False)
    told = " ".join(audited(tmp_path, *flags, code=3)["told"].split())
    assert "32% of the deleted records and 9% of the strangers have the label 0: labels alone would" in told
    assert "50 deleted records and 7 strangers were left out" in told


@pytest.mark.parametrize("beside", [False, True])
def test_what_another_attack_sees_is_no_secret(beside: bool) -> None:
    """Without a shadow side the attack that counts looks at the label's answer, and the leak is elsewhere."""
    cases = drawn(3, classes=4)
    rng = np.random.default_rng(9)
    after, again = (moved(3, kinds) for kinds in (2 * cases.member - 1, rng.choice([-1, 1], len(cases))))
    cases = PosteriorSet(**{**vars(cases), "unlearned": after})
    retrained = PosteriorSet(**{**vars(cases), "unlearned": again})
    found = examined(cases, None, [retrained] if beside else [])
    assert abs(found.auc.value - 0.5) < 0.1
    best = [part for part in found.questions if "best of" in part.name]
    assert found.verdict == "leaks", found.questions
    assert [part.verdict for part in best] == ["leaks"]


def test_other_attacks_cry_no_wolf() -> None:
    """Nulls, and methods that are retraining: the best of many attacks is no leak, and seldom in the way."""
    names: list[str] = []
    for seed in range(40):
        cases = drawn(seed, classes=4)
        again = PosteriorSet(**{**vars(cases), "unlearned": drawn(seed, classes=4, drift=0.25).unlearned})
        for found in (examined(cases), examined(cases, None, [again])):
            names += [part.verdict for part in found.questions if "best of" in part.name]
            assert found.verdict != "leaks"
    assert "leaks" not in names
    assert len(names) <= 8


def test_models_that_differ_beside_the_label_are_told_from_retrained_ones() -> None:
    sides: dict[str, Any] = {}
    for side, seed in (("target", 3), ("shadow", 4)):
        cases = drawn(seed, classes=4)
        pair = [PosteriorSet(**{**vars(cases), "unlearned": moved(seed, np.full(len(cases), way))}) for way in (1, -1)]
        sides[side] = pair
    (target, beside), (shadow, beside_shadow) = sides["target"], sides["shadow"]
    found = examined(target, shadow, [beside, beside_shadow])
    assert {part.name: part.verdict for part in found.questions}["same as retrained"] == "differs"
    assert found.verdict == "undecided"


def test_models_that_drift_are_not_taken_for_swapped_ones() -> None:
    for seed in range(300):
        check_order(drawn(seed, 0.7, drift=1.0), "before", "after")


def test_swapped_versions_are_told_whatever_the_classes() -> None:
    for seed in range(20):
        cases = drawn(seed, 0.7, drift=0.3)
        gone = np.flatnonzero(cases.member == 1)
        cases.unlearned[gone, cases.label[gone]] += 0.3
        cases.unlearned[gone] /= cases.unlearned[gone].sum(axis=1, keepdims=True)
        with pytest.raises(UserError, match="swapped"):
            check_order(cases, "before", "after")


def test_columns_of_csv_files(tmp_path: Path) -> None:
    """Named twice, with other marks between them, or fewer in the header than in a row."""
    flags = write_side(tmp_path, 0.5)
    path = tmp_path / "cases.csv"
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    path.write_text("\n".join([f"{lines[0]},deleted", *(f"{line},1" for line in lines[1:])]), encoding="utf-8")
    assert "two columns 'deleted'" in audit(tmp_path, *flags, code=2)
    for mark in (";", "\t", "|"):
        path.write_text(text.replace(",", mark), encoding="utf-8")
        assert f"separated by {mark!r}" in audit(tmp_path, *flags, code=2)
    for first in ("7", "{}"):  # a column of its own, or one that counts rows, which pandas takes for their names
        longer = [f"{first.format(number)},{line}" for number, line in enumerate(lines[1:])]
        path.write_text("\n".join([lines[0], *longer]), encoding="utf-8")
        assert "more cells than its header" in audit(tmp_path, *flags, code=2)


def test_a_pack_takes_nobodys_place(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 0.5)
    text = (tmp_path / "cases.csv").read_bytes()
    assert "no audit pack" in audit(tmp_path, *flags, "--pack", str(tmp_path / "cases.csv"), code=2)
    assert (tmp_path / "cases.csv").read_bytes() == text
    for _ in range(2):
        audited(tmp_path, *flags, "--pack", str(tmp_path / "audit.zip"), code=3)
    assert "no file of flags" in audit(tmp_path, *flags, "--save_config", str(tmp_path / "cases.csv"), code=2)
    assert (tmp_path / "cases.csv").read_bytes() == text


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_answers_may_be_rounded(tmp_path: Path, digits: int) -> None:
    flags = write_side(tmp_path, 0.5)
    for path in flags[1:4:2]:
        pd.read_csv(path).round(digits).to_csv(path, index=False)
    audited(tmp_path, *flags, code=3)
    broken = pd.read_csv(flags[1])
    broken.iloc[5, 0] += 2 * 10.0**-digits + 0.001
    broken.round(digits).to_csv(flags[1], index=False)
    assert "row 6 is no probability" in audit(tmp_path, *flags, code=2)
    (100 * pd.read_csv(flags[3])).to_csv(flags[1], index=False)
    assert "divide them by 100" in audit(tmp_path, *flags, code=2)


def test_the_top_of_a_coarse_attack_is_not_all_that_is_looked_at() -> None:
    """A tree's few leaves tie where a plain threshold on the label's answer does not."""
    cases = [drawn(seed, classes=4) for seed in (3, 4)]
    for part in cases:
        gone = np.flatnonzero(part.member == 1)
        logits = np.log(part.unlearned)
        logits[gone, part.label[gone]] -= 1.5
        part.unlearned[:] = softmax(logits)
    found = examined(cases[0], cases[1])
    named = {part.name: part.verdict for part in found.questions}
    best = [name for name in named if name.startswith("shows, TPR at 1 % FPR, by")]
    assert len(best) == 1
    assert named[best[0]] == "leaks"


def test_flags_that_verifying_does_not_look_at_are_refused(tmp_path: Path) -> None:
    pack = tmp_path / "audit.zip"
    audited(tmp_path, *write_side(tmp_path, 0.5), "--pack", str(pack), code=3)
    for flag in ("--margin=0.9", "--attack_model=LR", "--seed=5", f"--pack={tmp_path / 'other.zip'}"):
        assert "has no effect on an audit by --verify" in audit(tmp_path, "--verify", str(pack), flag, code=2)
    told = audit(tmp_path, *write_side(tmp_path, 0.5), "--label_column", "label", code=2)
    assert told.startswith("main.py: error: --label_column has no effect")

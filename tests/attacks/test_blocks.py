"""Wide answers are looked at block by block: that changes no score, and memory does not grow with the cases."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib_unlearning import attack as module
from lib_unlearning.attack import Budget, View
from lib_unlearning.attacks.probes import ProbeMatched, Whitening
from lib_unlearning.attacks.registry import attacks_on
from lib_unlearning.cache.spool import Memo
from lib_unlearning.posterior import PosteriorSet
from tests.attacks.test_today import source


@pytest.mark.parametrize("model", ["LR", "DT"])
def test_scores_do_not_depend_on_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    views = source(tmp_path, f"--original_model={model}").views()

    def scores() -> dict[str, np.ndarray]:
        fresh = {side: replace(view, memo=Memo()) for side, view in views.items()}
        found = attacks_on(fresh["shadow"], "LR", 0, today=True)
        return {name: attack.fit(fresh["shadow"], 0).score(fresh["target"]) for name, attack in found.items()}

    whole = scores()
    monkeypatch.setattr(module, "BLOCK", 3)
    for name, found in scores().items():
        np.testing.assert_allclose(found, whole[name], atol=2e-3, err_msg=name)  # float32, and an iterative classifier


def test_whitening_block_by_block() -> None:
    changes = np.random.default_rng(0).normal(size=(300, 8)) * np.arange(1, 9)
    whole, parts = Whitening.of([changes])(changes), Whitening.of(np.array_split(changes, 9))(changes)
    np.testing.assert_allclose(whole @ whole.T, parts @ parts.T, atol=1e-9)


def test_whitening_is_that_of_the_covariance_with_a_ridge() -> None:
    """Also of fewer rows than columns, where directions that were never seen have the ridge alone."""
    changes = np.random.default_rng(0).normal(size=(300, 8)) * np.arange(1, 9)
    for few in (changes, changes[:5], changes[:1]):
        covariance = few.T @ few / len(few)
        ridge = 1e-3 * np.linalg.eigvalsh(covariance).max() * np.eye(8)
        white = Whitening.of([few])(changes)
        expected = changes @ np.linalg.solve(covariance + ridge, changes.T)
        np.testing.assert_allclose(white @ white.T, expected, rtol=1e-6, atol=1e-6)


class MadeUp:
    """Own worlds of any number of candidates, made when they are asked for."""

    def __init__(self, chosen: np.ndarray, probes: int) -> None:
        self.chosen, self.columns = chosen, 2 * probes

    def of(self, chosen: np.ndarray) -> MadeUp:
        return MadeUp(chosen, self.columns // 2)

    @property
    def changes(self) -> np.ndarray:
        return np.random.default_rng(int(self.chosen[0])).normal(size=(len(self.chosen), self.columns))


def peak_of(cases: int, probes: int = 100) -> float:
    """Megabytes at the peak of fitting and scoring the probe-matched attack."""
    index, labels = np.arange(cases), np.zeros(cases, dtype=int)
    answers = np.full((cases, 2), 0.5)
    view = View(
        PosteriorSet(answers, answers, index % 2, index, labels, index // 40, index // 2 % 20),
        frozenset({"classes"}) | Budget().offers,
        answer=lambda number, version, records: np.random.default_rng((number, version + 1)).dirichlet([1, 1], probes),
        own=np.arange(cases, cases + probes),
        pool=np.arange(cases + probes, cases + 2 * probes),
        worlds=lambda wanted: MadeUp(wanted.candidates, probes),  # type: ignore[arg-type, return-value]
        candidates=index,
        budget=Budget(probes=probes),
    )
    tracemalloc.start()
    ProbeMatched("LR").fit(view, 0).score(view)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return peak


def test_memory_is_that_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A case has 1.6 kB of changes, seen and expected, in 64 bits: 4,800 more cases would take 15 MB."""
    monkeypatch.setattr(module, "BLOCK", 200)
    monkeypatch.setattr("lib_unlearning.cache.spool._IN_MEMORY", 2**20)
    peak_of(200)  # whatever is loaded once
    assert peak_of(5600) - peak_of(800) < 5

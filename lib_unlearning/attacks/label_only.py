"""Label-only attack: how far a candidate lies from the decision boundary of both versions, told by labels alone.

The adversary asks about noisy copies of the candidate and counts how often the label stays (the setting of Apollo,
arXiv 2506.09923): a record that a model was trained on lies deeper in its region, and less deep once it is deleted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib_unlearning.attack import BOTH_VERSIONS, CLASSES, ORIGINAL, LearnedAttack, View
from lib_unlearning.seeds import spawn

RADII = (0.1, 0.25, 0.5, 1.0)  # of the noise, in standard deviations of each column
COPIES = 25  # questions a radius, if the budget allows


@dataclass(frozen=True)
class Depths:
    """Sees how often a candidate's label survives noise, before and after, [m, 3 (1 + radii)]; the seed draws noise."""

    seed: int

    def __call__(self, view: View) -> np.ndarray:
        found = np.empty((len(view.cases), 3 * (1 + len(_affordable(view)[0]))))
        for number, request, chosen in view.requests():
            records, labels = view.cases.record[chosen], view.cases.label[chosen]
            key = ("depths", self.seed, number, request, records.tobytes())
            found[chosen] = view.once(key, lambda: self._depths(view, number, request, records, labels))  # noqa: B023
        return found

    def _depths(self, view: View, number: int, request: int, records: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Of the cases [k] of one request."""
        radii, copies = _affordable(view)
        deviation = view.once("deviation", lambda: view.rows(view.own).std(axis=0))
        rows = view.rows(records)
        asked = np.concatenate([rows[None], *(self._noisy(rows, deviation, copies, radius) for radius in radii)])
        depth = []
        for version in (ORIGINAL, request):
            answers = view.ask_rows(number, version, asked.reshape(-1, asked.shape[-1])).argmax(axis=1)
            right = answers.reshape(len(asked), len(rows)) == labels  # [1 + radii copies, k]
            shares = right[1:].reshape(len(radii), copies, -1).mean(axis=1)
            depth.append(np.vstack([right[:1], shares]).T)
        return np.hstack([*depth, depth[0] - depth[1]])

    def _noisy(self, records: np.ndarray, deviation: np.ndarray, copies: int, radius: float) -> np.ndarray:
        """[copies, k, d] noisy copies; both versions are asked about the same ones."""
        noise = spawn(self.seed, "noise", int(1000 * radius)).normal(size=(copies, 1, records.shape[1]))
        found: np.ndarray = records + radius * deviation * noise
        return found


def _affordable(view: View) -> tuple[tuple[float, ...], int]:
    """The radii, and the copies at each, that a budget for one candidate allows."""
    questions = view.budget.allowed(COPIES * len(RADII))
    return RADII[:questions], max(1, questions // len(RADII))


class LabelOnly(LearnedAttack):
    """The boundary's distance before and after, judged by a classifier; sees labels only, whatever is published."""

    name = "label_only"
    needs = BOTH_VERSIONS | {CLASSES}

    def applies(self, shadow: View, seed: int) -> bool:
        """Records must be rows of numbers, and rows of the adversary's making be answered."""
        return shadow.answer_rows is not None

    def prepare(self, shadow: View, seed: int) -> Depths:
        """Nothing is learned beside the classifier."""
        return Depths(seed)

"""The pictures of docs/CONCEPTS.md: `python scripts/draw_concepts.py` writes docs/figures/concept_*.svg."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from lib_unlearning.reporting import style  # sets matplotlib's look
from lib_unlearning.statistics.metrics import plain_auc, roc_points

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "figures"
ORANGE, BLUE, GREEN, GREY = "#D55E00", "#0072B2", "#009E73", "#8c959f"


def _canvas(height: float = 1.6, columns: int = 1) -> Any:
    figure, axes = plt.subplots(1, columns, figsize=(5.6, height), squeeze=False)
    return figure, list(axes[0])


def _box(place: Any, x: float, y: float, width: float, height: float, colour: str, text: str) -> None:
    place.add_patch(Rectangle((x, y), width, height, facecolor=colour, alpha=0.25, edgecolor=colour))
    place.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8)


def _bare(place: Any, width: float, height: float) -> None:
    place.set(xlim=(0, width), ylim=(0, height))
    place.axis("off")


def sides() -> Any:
    """Half shadow, half target, each with its pools."""
    figure, (place,) = _canvas()
    _bare(place, 10, 3)
    for x, name, colour in ((0, "shadow", BLUE), (5.2, "target", ORANGE)):
        place.text(x + 2.4, 2.7, f"{name} half of all records", ha="center", fontsize=9, weight="bold")
        _box(place, x, 0.4, 3.84, 1.9, colour, "positive pool\n80 %: training records")
        _box(place, x + 3.84, 0.4, 0.82, 1.9, GREEN, "17 %")
        place.text(x + 4.25, 0.05, "strangers", ha="center", fontsize=7)
        _box(place, x + 4.66, 0.4, 0.14, 1.9, GREY, "")
    place.text(5, -0.3, "grey: 3 % replacements for online learning", ha="center", fontsize=7)
    return figure


def sample_set() -> Any:
    """One original model, one unlearned model a request."""
    figure, (place,) = _canvas(2.0)
    _bare(place, 10, 4)
    _box(place, 0, 2.6, 6, 1, BLUE, "sample set: 2,000 records")
    place.annotate("original model", (9.9, 3.1), (6.2, 3.1), va="center", fontsize=8)
    for number, (x, y) in enumerate(((0.8, 1.3), (3.4, 0.1))):
        _box(place, 0, y, 6, 0.9, BLUE, "")
        _box(place, x, y, 0.5, 0.9, ORANGE, "")
        told = f"request {number + 1}: without the\norange record, unlearned model"
        place.text(6.2, y + 0.45, told, va="center", fontsize=8)
    return figure


def request() -> Any:
    """A request of one record, of three, and one whose place a new record takes."""
    figure, (place,) = _canvas(2.0)
    _bare(place, 10, 4)
    rows = ((2.8, (1.0,), "one record is deleted"), (1.5, (1.0, 2.4, 4.6), "a group is deleted at once"))
    for y, gone, told in (*rows, (0.2, (1.0,), "online learning: a new record\n(green) is learned in its place")):
        _box(place, 0, y, 6, 0.9, BLUE, "")
        for x in gone:
            _box(place, x, y, 0.4, 0.9, ORANGE, "")
        place.text(6.2, y + 0.45, told, va="center", fontsize=8)
    _box(place, 1.4, 0.2, 0.4, 0.9, GREEN, "")
    return figure


def sisa() -> Any:
    """A deletion retrains one shard of many."""
    figure, (place,) = _canvas(1.7)
    _bare(place, 10, 3.2)
    for number in range(5):
        touched = number == 2
        text = "retrained" if touched else "kept"
        _box(place, 2 * number, 1.6, 1.8, 1.2, ORANGE if touched else BLUE, f"shard {number + 1}\nmodel {text}")
        place.annotate("", (5, 0.75), (2 * number + 0.9, 1.55), arrowprops={"arrowstyle": "->", "color": GREY})
    _box(place, 3.4, 0.05, 3.2, 0.7, GREEN, "answer: mean of five posteriors")
    return figure


def features() -> Any:
    """Two posteriors and three ways to look at them."""
    figure, places = _canvas(2.2, 4)
    before, after = np.array([0.2, 0.7, 0.1]), np.array([0.3, 0.5, 0.2])
    order = np.argsort(-before)
    panels = (
        ("answers", None, None),
        ("direct_diff", before - after, list("abc")),
        ("sorted_diff", (before - after)[order], ["1st", "2nd", "3rd"]),
        ("l2_distance", np.array([np.linalg.norm(before - after)]), [""]),
    )
    for place, (title, values, names) in zip(places, panels, strict=True):
        if values is None:
            place.bar(np.arange(3) - 0.2, before, 0.38, color=BLUE, label="original")
            place.bar(np.arange(3) + 0.2, after, 0.38, color=ORANGE, label="unlearned")
            place.set_xticks(range(3), list("abc"))
            place.set_ylim(0, 1)
            place.legend(fontsize=6)
        else:
            place.bar(range(len(values)), values, color=GREEN)
            place.set_xticks(range(len(values)), names)
            place.axhline(0, color=GREY)
        place.set_title(title, fontsize=8)
        place.tick_params(labelsize=7)
    return figure


def degradation() -> Any:
    """Confidence in the truth, case by case, under both attacks."""
    figure, (place,) = _canvas(2.2)
    classical = np.array([0.48, 0.55, 0.5, 0.46, 0.52, 0.5, 0.44, 0.53])
    new = np.array([0.9, 0.85, 0.45, 0.8, 0.95, 0.4, 0.88, 0.7])
    across = np.arange(len(new))
    place.vlines(across, classical, new, color=np.where(new > classical, GREEN, ORANGE), linewidth=2)
    place.plot(across, classical, "v", color=GREY, label="classical attack")
    place.plot(across, new, "o", color=BLUE, label="attack with both versions")
    gain = new - classical
    told = f"DegCount {np.mean(gain > 0):.2f} (share of green lines), DegRate {gain.mean():+.2f} (their mean)"
    place.set_title(told, fontsize=8)
    place.set(xlabel="case", ylabel="confidence\nin the truth")
    place.set_ylim(0.1, 1)
    place.legend(fontsize=7, loc="lower right", ncols=2)
    return figure


def _scores(distance: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    member = np.repeat([1, 0], 400)
    return rng.normal(size=800) + distance * member, member


def auc() -> Any:
    """Scores of deleted records and strangers at three AUCs, one below a half."""
    figure, places = _canvas(1.9, 3)
    for place, distance, meaning in zip(
        places, (2.0, 0.0, -1.0), ("told apart", "guessing", "wrong way round"), strict=True
    ):
        scores, member = _scores(distance)
        text = f"AUC {plain_auc(scores, member):.2f}: {meaning}"
        bins = np.linspace(-4, 5, 30)
        place.hist(scores[member == 1], bins, color=ORANGE, alpha=0.5, label="deleted")
        place.hist(scores[member == 0], bins, color=BLUE, alpha=0.5, label="stranger")
        place.set_title(text, fontsize=8)
        place.set_yticks([])
        place.tick_params(labelsize=7)
    places[0].legend(fontsize=7)
    return figure


def low_fpr() -> Any:
    """Two attacks of equal AUC, of which one finds some records with certainty."""
    figure, (place,) = _canvas(2.6)
    rng = np.random.default_rng(1)
    member = np.repeat([1, 0], 2000)
    spread = rng.normal(size=4000) + 0.8 * member
    certain = rng.normal(size=4000) + 8 * (member * (rng.random(4000) < 0.43))
    for scores, colour, text in ((spread, BLUE, "a little better everywhere"), (certain, ORANGE, "certain of some")):
        fpr, tpr = roc_points(scores, member)
        told = f"AUC {plain_auc(scores, member):.2f}, TPR at 1 % FPR {np.interp(0.01, fpr, tpr):.2f}"
        place.plot(fpr, tpr, color=colour, label=f"{text}: {told}")
    place.axvline(0.01, color=GREY, linestyle="--")
    place.set(xscale="log", xlim=(5e-4, 1), xlabel="false positive rate (log scale)", ylabel="true positive rate")
    place.legend(fontsize=7)
    return figure


PICTURES = (sides, sample_set, request, sisa, features, degradation, auc, low_fpr)


def main() -> None:
    """Write all pictures."""
    for picture in PICTURES:
        told = str(picture.__doc__)
        style.save(style.Drawing(f"concept_{picture.__name__}", picture(), told, told), FOLDER, ("svg",))


if __name__ == "__main__":
    main()

"""What the attack model sees of a case: functions of both posteriors (paper section 4.3)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lib_unlearning.posterior import PosteriorSet, in_order_of_original

BASELINE = "basic_mia"
# Features that are told apart by nothing but the order of classes; between data sets there is none.
CLASS_BOUND = ("direct_diff", "direct_concat")
_TINY = 1e-12


def _sorted(cases: PosteriorSet) -> tuple[np.ndarray, np.ndarray]:
    """Both posteriors in the descending order of the original's."""
    ordered = in_order_of_original(cases)
    return ordered.original, ordered.unlearned


def direct_diff(cases: PosteriorSet) -> np.ndarray:
    """DirectDiff: p_o - p_u, [m, c]."""
    found: np.ndarray = cases.original - cases.unlearned
    return found


def sorted_diff(cases: PosteriorSet) -> np.ndarray:
    """SortedDiff: the difference of both posteriors sorted by the original's, [m, c]."""
    original, unlearned = _sorted(cases)
    found: np.ndarray = original - unlearned
    return found


def direct_concat(cases: PosteriorSet) -> np.ndarray:
    """DirectConcat: [p_o, p_u], [m, 2c]."""
    return np.hstack([cases.original, cases.unlearned])


def sorted_concat(cases: PosteriorSet) -> np.ndarray:
    """SortedConcat: both posteriors sorted by the original's, [m, 2c]."""
    return np.hstack(_sorted(cases))


def l2_distance(cases: PosteriorSet) -> np.ndarray:
    """EucDist: Euclidean distance of both posteriors, [m, 1]."""
    found: np.ndarray = np.linalg.norm(cases.original - cases.unlearned, axis=1, keepdims=True)
    return found


def basic_mia(cases: PosteriorSet) -> np.ndarray:
    """The classical attack's view: p_o alone, [m, c]."""
    return cases.original


def label_diff(cases: PosteriorSet) -> np.ndarray:
    """Change of the true label's posterior and distance of both posteriors, [m, 2]."""
    before, after = of_true_label(cases)
    return np.hstack([before - after, l2_distance(cases)])


def label_logit(cases: PosteriorSet) -> np.ndarray:
    """Logits of the true label before, after and their difference; the same of posteriors; their distance, [m, 7]."""
    before, after = of_true_label(cases)
    columns = [logit(before), logit(after), logit(before) - logit(after), before, after, before - after]
    return np.hstack([*columns, l2_distance(cases)])


def of_true_label(cases: PosteriorSet) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors of the true label before and after, [m, 1] each."""
    column = cases.label[:, None]
    return np.take_along_axis(cases.original, column, axis=1), np.take_along_axis(cases.unlearned, column, axis=1)


def logit(probability: np.ndarray) -> np.ndarray:
    """Logit-scaled confidence, any shape: log(p + 1e-12) - log(1 - p + 1e-12)."""
    # Means and float32 sums may exceed 1 by a rounding error, which must not become a NaN.
    bounded = np.clip(probability, 0.0, 1.0)
    found: np.ndarray = np.log(bounded + _TINY) - np.log(1.0 - bounded + _TINY)
    return found


def unlearned_alone(cases: PosteriorSet) -> np.ndarray:
    """What the unlearned model says by itself, [m, c + 1]: its posterior, and the true label's logit.

    Of a regression its error and the error's size, [m, 2].
    """
    if cases.unlearned.shape[1] == 1:
        return residuals(cases)[:, [1, 3]]
    _, after = of_true_label(cases)
    return np.hstack([cases.unlearned, logit(after)])


def residuals(cases: PosteriorSet) -> np.ndarray:
    """Of a regression: errors before and after, their sizes, and what they lost, [m, 6]."""
    before, after = (answers[:, :1] - cases.label[:, None] for answers in (cases.original, cases.unlearned))
    columns = [before, after, np.abs(before), np.abs(after), before - after, np.abs(after) - np.abs(before)]
    return np.hstack(columns)


def of_known_label(cases: PosteriorSet) -> np.ndarray:
    """`label_logit`, or a regression's `residuals`: what is known of a case whose truth is known."""
    return residuals(cases) if cases.original.shape[1] == 1 else label_logit(cases)


# To add a feature: a function PosteriorSet -> [m, k] and one line here.
FEATURES: dict[str, Callable[[PosteriorSet], np.ndarray]] = {
    "direct_diff": direct_diff,
    "sorted_diff": sorted_diff,
    "direct_concat": direct_concat,
    "sorted_concat": sorted_concat,
    "l2_distance": l2_distance,
    "basic_mia": basic_mia,
    "label_diff": label_diff,
    "label_logit": label_logit,
    "residuals": residuals,
}
# Features of a regression's predictions alone, and those that are as good for predictions as for posteriors.
OF_NUMBERS = ("residuals",)
OF_BOTH = ("direct_diff", "direct_concat", "l2_distance", "basic_mia")

"""What a linear model's scores become: class posteriors by a softmax, or the prediction itself; loss and curvature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_TINY = 1e-12


def centred_logs(posteriors: np.ndarray) -> np.ndarray:
    """Log posteriors [..., c] less their mean: for a linear model, a linear function of the record."""
    logs = np.log(np.clip(posteriors, _TINY, None))
    found: np.ndarray = logs - logs.mean(axis=-1, keepdims=True)
    return found


def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax of [m, c] along classes."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return found


@dataclass(frozen=True)
class Softmax:
    """Classes: answers are posteriors, the loss is the cross-entropy."""

    def signal(self, answers: np.ndarray) -> np.ndarray:
        """What is linear in the record: centred logs."""
        return centred_logs(answers)

    def whole(self, answers: np.ndarray) -> np.ndarray:
        """Mask [m] of the answers whose logarithms are not cut off."""
        return np.asarray((answers > 10 * _TINY).all(axis=1))

    def errors(self, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Derivative [m, c] of each record's loss by its scores [m, c]."""
        found = softmax(scores)
        found[np.arange(len(labels)), labels] -= 1
        return found

    def curvature(self, scores: np.ndarray) -> np.ndarray:
        """Second derivative [m, c, c]."""
        p = softmax(scores)
        found: np.ndarray = p[:, :, None] * (np.eye(p.shape[1]) - p[:, None, :])
        return found


@dataclass(frozen=True)
class Identity:
    """Numbers: answers are predictions [m, 1], the loss is half the squared error."""

    def signal(self, answers: np.ndarray) -> np.ndarray:
        """The prediction."""
        return answers

    def whole(self, answers: np.ndarray) -> np.ndarray:
        """All of them."""
        return np.ones(len(answers), dtype=bool)

    def errors(self, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Prediction less truth [m, 1]."""
        found: np.ndarray = scores - labels[:, None]
        return found

    def curvature(self, scores: np.ndarray) -> np.ndarray:
        """One."""
        return np.ones((len(scores), 1, 1))


Link = Softmax | Identity

"""Attacks that compare a candidate's answers with those of own models that did and did not lose it.

Likelihood ratio: U-LiRA (Hayes et al., arXiv 2403.01218) turned to both versions. RMIA: Zarifzadeh et al., ICML 2024,
in its offline form. RULI's privacy game (arXiv 2506.13009) is the likelihood ratio of the unlearned model's answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib_unlearning.attack import ASK, CLASSES, ORIGINAL, OWN_MODELS, POSTERIORS, Attack, FittedAttack, OwnWorlds, View
from lib_unlearning.construct_feature import logit

_FEW = 32  # own models, below which all candidates share a variance
_RIDGE = 1e-6  # of a statistic's variance
_GAMMA = 2.0  # RMIA: how much more likely than another record a candidate must have become
_OFFLINE = 0.3  # RMIA: a of the offline prior, 0.5 ((1 + a) p_out + 1 - a)
_TIE = 1e-3
_TINY = 1e-12


def squashed(ratios: np.ndarray) -> np.ndarray:
    """Log ratios [m] as scores in 0 .. 1 with 0.5 for none; equal scores only for equal ratios."""
    slow = np.sign(ratios) * np.log1p(np.abs(ratios))
    found: np.ndarray = (1 + slow / (1 + np.abs(slow))) / 2
    return found


def statistics_of(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """After a deletion the logit-scaled confidence in the label, and how far it fell: [..., m, 2, c] -> [..., m, 2]."""
    confidence = logit(_of_label(np.moveaxis(answers, -3, -2), labels))  # [..., 2, m]
    confidence = np.moveaxis(confidence, -1, -2)
    return np.stack([confidence[..., 1], confidence[..., 0] - confidence[..., 1]], axis=-1)


@dataclass(frozen=True)
class Gaussians:
    """One Gaussian a candidate: means [m, k], covariances [m, k, k] or [1, k, k] where all share one."""

    mean: np.ndarray
    covariance: np.ndarray

    def log_density(self, values: np.ndarray) -> np.ndarray:
        """[m] log densities of values [m, k], less a constant."""
        away = values - self.mean
        inverse = np.linalg.inv(self.covariance)
        squares = np.einsum("mi,mij,mj->m", away, np.broadcast_to(inverse, (len(away), *inverse.shape[1:])), away)
        found: np.ndarray = -0.5 * (squares + np.linalg.slogdet(self.covariance)[1])
        return found


def gaussians(samples: np.ndarray, spread_of: np.ndarray | None = None) -> Gaussians:
    """From samples [n, m, k], NaN where there is none; a covariance each from `_FEW` samples on, one for all below.

    `spread_of` [n', m, k]: samples whose covariance is taken where there is a single one a candidate.
    """
    mean = _mean_of_seen(samples)
    counts = (~np.isnan(samples[..., 0])).sum(axis=0)
    if counts.max() < 2 and spread_of is not None:
        return Gaussians(mean, gaussians(spread_of).covariance)
    away = np.nan_to_num(samples - mean)
    if counts.min() >= _FEW:
        covariance = np.einsum("nmi,nmj->mij", away, away) / (counts - 1)[:, None, None]
    else:
        covariance = np.einsum("nmi,nmj->ij", away, away)[None] / max(int((counts - 1).clip(0).sum()), 1)
    ridge = _RIDGE * np.einsum("mii->mi", covariance).mean(axis=0) + _TINY
    return Gaussians(mean, covariance + np.diag(ridge))


def flat(worlds: OwnWorlds) -> np.ndarray:
    """The pairs that lost somebody else as one axis: [K G, m, 2, c]."""
    return worlds.outside.reshape(-1, *worlds.outside.shape[2:])


def log_ratios(view: View, seed: int, columns: tuple[int, ...] = (0, 1), offline: bool = False) -> np.ndarray:
    """[m] log likelihood ratio of deleted against never trained on, of some of the `statistics_of` a case.

    `offline` uses no model that ever saw the candidate: how far its confidence fell, in standard deviations.
    """
    cases = view.cases
    worlds = view.own_worlds(seed)
    seen = statistics_of(np.stack([cases.original, cases.unlearned], axis=1), cases.label)
    out = statistics_of(flat(worlds), cases.label)
    unknown = np.isnan(out[..., 0]).all(axis=0)  # every own model was trained on the candidate: nothing is known
    if offline:
        never = gaussians(out)
        spread = np.sqrt(np.einsum("mii->mi", never.covariance))
        return np.where(unknown, 0.0, ((seen - never.mean) / spread)[:, 1])
    inside = statistics_of(worlds.inside, cases.label)[..., columns]
    out, seen = out[..., columns], seen[:, columns]
    deleted, never = gaussians(inside, out), gaussians(out)
    return np.where(unknown, 0.0, deleted.log_density(seen) - never.log_density(seen))


def _mean_of_seen(samples: np.ndarray) -> np.ndarray:
    """Mean [m, ...] of samples [n, m, ...] that are there; NaN where none is."""
    counts = (~np.isnan(samples)).sum(axis=0)
    found: np.ndarray = np.where(counts > 0, np.nansum(samples, axis=0) / np.maximum(counts, 1), np.nan)
    return found


class WorldAttack(Attack, FittedAttack):
    """An attack that compares with own models and has nothing to learn from shadow cases."""

    needs: frozenset[str] = frozenset({POSTERIORS, CLASSES, OWN_MODELS})
    seed: int = 0

    def fit(self, shadow: View, seed: int) -> WorldAttack:
        """Keep the seed, which chooses probes and own models."""
        self.seed = seed
        return self


class LikelihoodRatio(WorldAttack):
    """Gaussians of what both versions say of the candidate, in worlds that deleted it and that never saw it."""

    def __init__(self, name: str, columns: tuple[int, ...] = (0, 1), offline: bool = False) -> None:
        self.name = name
        self.columns = columns
        self.offline = offline

    def score(self, view: View) -> np.ndarray:
        """Scores [m], above 0.5 where deletion is likelier."""
        return squashed(log_ratios(view, self.seed, self.columns, self.offline))


class Rmia(WorldAttack):
    """How much likelier a version makes the candidate than it makes other records, against own models.

    Args:
        versions: of "original" and "unlearned" the one that is judged, or both: the first one's score less the other's.
    """

    def __init__(self, name: str, versions: tuple[str, ...]) -> None:
        self.name = name
        self.versions = versions
        self.needs = frozenset({POSTERIORS, CLASSES, OWN_MODELS, ASK, *versions})

    def score(self, view: View) -> np.ndarray:
        """Shares [m] of the other records that the candidate exceeds; of both versions half the difference, and 0.5."""
        scores = [self._exceeded(view, version == "original") for version in self.versions]
        return scores[0] if len(scores) == 1 else (1 + scores[0] - scores[1]) / 2

    def _exceeded(self, view: View, original: bool) -> np.ndarray:
        cases, probes = view.cases, view.probe_records(self.seed)
        worlds = view.own_worlds(self.seed)
        labels = view.labels(probes)
        answers = _of_label(cases.original if original else cases.unlearned, cases.label)
        never = _mean_of_seen(_of_label(flat(worlds)[:, :, 0], cases.label))
        never = np.where(np.isnan(never), answers, never)  # of whom nothing is known, nothing stands out
        others = _of_label(worlds.probes.reshape(-1, *worlds.probes.shape[2:]), labels).mean(axis=0)
        ratio = answers / _prior(never)
        found = np.empty(len(cases))
        asked: dict[tuple[int, int], np.ndarray] = {}
        for number, request, chosen in view.requests():
            version = (number, ORIGINAL if original else request)
            if version not in asked:
                asked = {version: _of_label(view.ask(*version, probes), labels) / _prior(others)}
            found[chosen] = (ratio[chosen, None] >= _GAMMA * asked[version]).mean(axis=1)
        # A share of P records has few values; the ratio itself ranks those that share one.
        return (found + _TIE * squashed(np.log(ratio + _TINY))) / (1 + _TIE)


def _of_label(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[..., m, c] posteriors -> [..., m] of each label."""
    shape = (1,) * (answers.ndim - 2) + (len(labels), 1)
    return np.take_along_axis(answers, labels.reshape(shape), axis=-1)[..., 0]


def _prior(never: np.ndarray) -> np.ndarray:
    """What models in general say, from those that never saw the record."""
    return np.maximum(((1 + _OFFLINE) * never + 1 - _OFFLINE) / 2, _TINY)

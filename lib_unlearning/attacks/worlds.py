"""Attacks that compare a candidate's answers with those of own models that did and did not lose it.

Likelihood ratio: U-LiRA (Hayes et al., arXiv 2403.01218) turned to both versions. RMIA: Zarifzadeh et al., ICML 2024,
in its offline form. RULI's privacy game (arXiv 2506.13009) is the likelihood ratio of the unlearned model's answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


@dataclass(frozen=True)
class Moments:
    """What samples of each candidate say together: counts [m], means [m, k] (NaN where there is none), scatter
    [m, k, k] around them."""

    count: np.ndarray
    mean: np.ndarray
    scatter: np.ndarray

    @staticmethod
    def of(samples: np.ndarray) -> Moments:
        """Of samples [n, m, k], NaN where there is none."""
        mean = _mean_of_seen(samples)
        away = np.nan_to_num(samples - mean)
        return Moments((~np.isnan(samples[..., 0])).sum(axis=0), mean, np.einsum("nmi,nmj->mij", away, away))

    @staticmethod
    def joined(parts: Sequence[Moments]) -> Moments:
        """Of some candidates after others."""
        return Moments(
            np.concatenate([part.count for part in parts]),
            np.concatenate([part.mean for part in parts]),
            np.concatenate([part.scatter for part in parts]),
        )

    def columns(self, chosen: tuple[int, ...]) -> Moments:
        """Of some of the k columns."""
        return Moments(self.count, self.mean[:, chosen], self.scatter[:, chosen][:, :, chosen])


def gaussians(samples: Moments, spread_of: Moments | None = None) -> Gaussians:
    """From samples of each candidate; a covariance each from `_FEW` samples on, one for all below.

    `spread_of`: samples whose covariance is taken where there is a single one a candidate.
    """
    if samples.count.max() < 2 and spread_of is not None:
        return Gaussians(samples.mean, gaussians(spread_of).covariance)
    degrees = samples.count - 1
    if samples.count.min() >= _FEW:
        covariance = samples.scatter / degrees[:, None, None]
    else:
        covariance = samples.scatter.sum(axis=0)[None] / max(int(degrees.clip(0).sum()), 1)
    ridge = _RIDGE * np.einsum("mii->mi", covariance).mean(axis=0) + _TINY
    return Gaussians(samples.mean, covariance + np.diag(ridge))


def flat(worlds: OwnWorlds) -> np.ndarray:
    """The pairs that lost somebody else as one axis: [K G, m, 2, c]."""
    return worlds.outside.reshape(-1, *worlds.outside.shape[2:])


def log_ratios(view: View, seed: int, columns: tuple[int, ...] = (0, 1), offline: bool = False) -> np.ndarray:
    """[m] log likelihood ratio of deleted against never trained on, of some of the `statistics_of` a case.

    `offline` uses no model that ever saw the candidate: how far its confidence fell, in standard deviations.
    """
    cases = view.cases
    seen = statistics_of(np.stack([cases.original, cases.unlearned], axis=1), cases.label)
    inside, out = (Moments.joined(part) for part in zip(*_moments(view, seed), strict=True))
    unknown = out.count == 0  # every own model was trained on the candidate: nothing is known
    if offline:
        never = gaussians(out)
        spread = np.sqrt(np.einsum("mii->mi", never.covariance))
        return np.where(unknown, 0.0, ((seen - never.mean) / spread)[:, 1])
    inside, out, seen = inside.columns(columns), out.columns(columns), seen[:, columns]
    deleted, never = gaussians(inside, out), gaussians(out)
    return np.where(unknown, 0.0, deleted.log_density(seen) - never.log_density(seen))


def _moments(view: View, seed: int) -> Iterator[tuple[Moments, Moments]]:
    """Of worlds that deleted the candidate, and of those that never saw it, some candidates after others."""
    for block in view.blocks():
        worlds, labels = block.own_worlds(seed), block.cases.label
        yield Moments.of(statistics_of(worlds.inside, labels)), Moments.of(statistics_of(flat(worlds), labels))


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
        labels = view.labels(probes)
        answers = _of_label(cases.original if original else cases.unlearned, cases.label)
        never, others = self._of_own_models(view, labels)
        never = np.where(np.isnan(never), answers, never)  # of whom nothing is known, nothing stands out
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

    def _of_own_models(self, view: View, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean posterior of its label that own models which never saw it give each case [m], and each probe [P]."""
        never = []
        for block in view.blocks():
            worlds = block.own_worlds(self.seed)
            never.append(_mean_of_seen(_of_label(flat(worlds)[:, :, 0], block.cases.label)))
        others = _of_label(worlds.probes.reshape(-1, *worlds.probes.shape[2:]), labels).mean(axis=0)
        return np.concatenate(never), others


def _of_label(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[..., m, c] posteriors -> [..., m] of each label."""
    shape = (1,) * (answers.ndim - 2) + (len(labels), 1)
    return np.take_along_axis(answers, labels.reshape(shape), axis=-1)[..., 0]


def _prior(never: np.ndarray) -> np.ndarray:
    """What models in general say, from those that never saw the record."""
    return np.maximum(((1 + _OFFLINE) * never + 1 - _OFFLINE) / 2, _TINY)

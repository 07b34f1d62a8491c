"""Trains, deletes and asks on both sides, all in memory; what is left are answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lib_unlearning.attack import CLASS_ORDER, CLASSES, NUMBERS, ORIGINAL, POSTERIORS, Budget, View
from lib_unlearning.audit.records import Records
from lib_unlearning.errors import UserError
from lib_unlearning.evaluation_cases import evaluation_cases, whole_request
from lib_unlearning.own_models import Workshop
from lib_unlearning.parallel import parallel_map
from lib_unlearning.posterior import PosteriorSet, alike_answers, concatenate, evenly_spaced, obtain_posteriors, query
from lib_unlearning.record_split import SIDES, SideSettings, SideSplit, draw_split, most_records
from lib_unlearning.seeds import integer_seed
from lib_unlearning.training.tasks import Trainer
from lib_unlearning.unlearning.base import Deletion, Ensemble, UnlearningMethod, train_and_unlearn
from lib_unlearning.unlearning.sharded import Retraining

_PUBLIC = 2000  # own records that models are asked about, so that attacks can choose among them


@dataclass(frozen=True)
class SetAnswers:
    """What the models of one sample set answered.

    Attributes:
        cases: both versions' answers to the cases.
        retrained: [m, c] answers of models retrained without the deleted records; equal to the unlearned where these
            are retrained ones.
        public: [1 + requests, P, c] answers to public records, the original's first.
        public_retrained: the same with the retrained models.
        accuracy: [2, 2] of original and unlearned models on records that stay, and on held-out ones; for numbers, the
            share of variance explained.
    """

    cases: PosteriorSet
    retrained: np.ndarray
    public: np.ndarray
    public_retrained: np.ndarray
    accuracy: np.ndarray


@dataclass(frozen=True)
class Bench:
    """Both sides of an audit of an own model.

    Attributes:
        fresh: whether retraining draws its seed anew.
    """

    records: Records
    trainer: Trainer
    method: UnlearningMethod
    split: dict[str, SideSplit]
    sizes: SideSettings
    seed: int
    fresh: bool
    processes: int
    quiet: bool

    @staticmethod
    def open(records: Records, trainer: Trainer, method: UnlearningMethod, sizes: SideSettings, **more: Any) -> Bench:
        """Draw both sides; raises `UserError` when there are too few records, or a set has fewer than are deleted."""
        size, each, most = sizes.set_size or 0, sizes.unlearning_num, most_records(len(records))
        if size > most:
            raise UserError(f"set_size {size}: of {len(records)} records, each side has {most} to train on; lower it")
        if sizes.unlearning_size * each > size:
            raise UserError(
                f"{sizes.unlearning_size} requests: a set holds {size} records, so {size // each} requests of {each}; "
                "ask for fewer, or raise set_size"
            )
        split = draw_split(len(records), dict.fromkeys(SIDES, sizes), more["seed"])
        return Bench(records, trainer, method, split, sizes, **more)

    @property
    def public(self) -> np.ndarray:
        """[P] records of the adversary's own that all models are asked about."""
        shadow = self.split["shadow"]
        return np.sort(evenly_spaced(np.concatenate([shadow.positive, shadow.negative]), _PUBLIC))

    def answers(self) -> dict[str, list[SetAnswers]]:
        """Train and ask everything, a sample set a process."""
        which = [(side, index) for side in SIDES for index in range(len(self.split[side].sample_sets))]
        if self.processes > 1:
            self.trainer.warm_up()
        found = list(parallel_map(self._ask, which, self.processes, "models", self.quiet))
        return {side: [part for (of, _), part in zip(which, found, strict=True) if of == side] for side in SIDES}

    def differs_from_itself(self, answers: Mapping[str, Sequence[SetAnswers]]) -> float:
        """By how much answers differ of the first model and its first deletion, and of both made again from their seed;
        0.0 where that is rounding."""
        records, before = self.split["shadow"].sample_sets[0].records, answers["shadow"][0].public[:2]
        seed = integer_seed(self.seed, "shadow", 0, "model")
        deletion = self._deletions("shadow", 0)[:1]
        original, unlearned = train_and_unlearn(self.method, self.trainer, records, deletion, seed)
        found = np.stack(query([original, *unlearned], [self.public] * 2, self.records))
        return 0.0 if alike_answers(before, found) else float(np.abs(before - found).max())

    def _deletions(self, side: str, index: int) -> list[Deletion]:
        nobody = np.array([], dtype=np.int64)
        return [
            Deletion(
                records,
                nobody,
                integer_seed(self.seed, side, index, "retrained model", number) if self.fresh else None,
                leaves_gap=not self.fresh,
            )
            for number, records in enumerate(self.split[side].sample_sets[index].requests)
        ]

    def _ask(self, which: tuple[str, int]) -> SetAnswers:
        side, index = which
        part = self.split[side]
        sample_set = part.sample_sets[index]
        seed = integer_seed(self.seed, side, index, "model")
        deletions = self._deletions(side, index)
        original, unlearned = train_and_unlearn(self.method, self.trainer, sample_set.records, deletions, seed)
        cases = evaluation_cases(sample_set, part.negative, whole_request, self.seed, side, index, placebo=False)
        found = obtain_posteriors(original, unlearned, cases, self.records, index)
        again, retrained = unlearned, found.unlearned
        if not self.method.exact:
            exact = Retraining(None, self.records)
            again = train_and_unlearn(exact, self.trainer, sample_set.records, deletions, seed)[1]
            retrained = obtain_posteriors(original, again, cases, self.records, index).unlearned
        asked = [original, *unlearned, *again]
        public = query(asked, [self.public] * len(asked), self.records)
        count = 1 + len(unlearned)
        return SetAnswers(
            found,
            retrained,
            np.stack(public[:count]),
            np.stack([public[0], *public[count:]]),
            self._accuracy(original, unlearned, sample_set.records, part),
        )

    def _accuracy(
        self, original: Ensemble, unlearned: Sequence[Ensemble], training: np.ndarray, part: SideSplit
    ) -> np.ndarray:
        shown = []
        for records in (evenly_spaced(training, 500), evenly_spaced(part.negative, 500)):
            few = [original, *unlearned[:3]]
            scores = [self._score(answer, records) for answer in query(few, [records] * len(few), self.records)]
            shown.append([scores[0], float(np.mean(scores[1:]))])
        return np.array(shown).T

    def _score(self, answers: np.ndarray, records: np.ndarray) -> float:
        truth = self.records.labels[records]
        if self.records.classes is not None:
            return float((answers.argmax(axis=1) == truth).mean())
        return float(1 - ((answers[:, 0] - truth) ** 2).mean() / max(truth.var(), np.finfo(float).tiny))

    def views(self, answers: dict[str, list[SetAnswers]], budget: Budget) -> dict[str, View]:
        """Both sides as attacks see them."""
        return {side: self._view(side, answers[side], budget) for side in SIDES}

    def _view(self, side: str, answers: list[SetAnswers], budget: Budget) -> View:
        cases = concatenate([part.cases for part in answers])
        kind = {NUMBERS} if self.records.classes is None else {CLASSES, CLASS_ORDER}
        numeric = self.records.numeric
        return View(
            cases=cases,
            offers=frozenset({POSTERIORS} | kind) | (budget.offers if numeric is not None else frozenset()),
            answer=_Kept(self.public, [part.public for part in answers]),
            look_up=None if numeric is None else numeric.__getitem__,
            label_of=self.records.labels.__getitem__,
            own=self.public,
            pool=self.split["shadow"].positive,
            worlds=self.workshop(self.method).worlds,
            candidates=np.unique(cases.record),
            budget=budget,
            set_size=self.sizes.set_size or 0,
            link=self.records.link,
        )

    def retrained_views(self, answers: dict[str, list[SetAnswers]], budget: Budget) -> dict[str, View]:
        """The same cases with retrained models in the unlearned ones' place: in what they answer to whatever is asked,
        and in what the adversary trains himself."""
        views = {}
        for side, view in self.views(answers, budget).items():
            parts = answers[side]
            views[side] = replace(
                view,
                cases=replace(view.cases, unlearned=np.concatenate([part.retrained for part in parts])),
                answer=_Kept(self.public, [part.public_retrained for part in parts]),
                worlds=self.workshop(Retraining(None, self.records)).worlds,
            )
        return views

    def workshop(self, method: UnlearningMethod) -> Workshop:
        """With what the adversary trains models of his own: a method, on his own records."""
        return Workshop(
            dataset=self.records,
            trainer=self.trainer,
            method=method,
            pool=self.split["shadow"].positive,
            set_size=self.sizes.set_size or 0,
            together=self.sizes.unlearning_size,
            leaves_gap=not self.fresh,
            fresh=self.fresh,
            publish=_as_it_is,
            versions="both",
            shaped_by={},
            folder=None,
            trust=False,
            processes=self.processes,
            quiet=self.quiet,
            link=self.records.link,
        )


def _as_it_is(posteriors: np.ndarray) -> np.ndarray:
    return posteriors


@dataclass(frozen=True)
class _Kept:
    """Answers to public records, looked up: (sample set, version, records [k]) -> [k, c]."""

    public: np.ndarray
    answers: list[np.ndarray]

    def __call__(self, sample_set: int, version: int, records: np.ndarray) -> np.ndarray:
        place = 0 if version == ORIGINAL else 1 + version
        found: np.ndarray = self.answers[sample_set][place][np.searchsorted(self.public, records)]
        return found

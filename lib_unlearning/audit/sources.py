"""Where the answers of both sides come from: a study of our own, so far."""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lib_unlearning.attack import ASK, CLASS_ORDER, CLASSES, ORIGINAL, POSTERIORS, View, WantedWorlds, Worlds
from lib_unlearning.cache.files import digest, locked
from lib_unlearning.defense import Publication
from lib_unlearning.errors import UserError
from lib_unlearning.own_models import Workshop
from lib_unlearning.parallel import Stopwatch, parallel_map
from lib_unlearning.posterior import (
    Answers,
    PosteriorSet,
    gather,
    in_order_of_original,
    in_order_of_unlearned,
    load_answers,
    query,
    require_answers,
    save_answers,
)
from lib_unlearning.record_split import SIDES
from lib_unlearning.settings import KEPT, ORIGINALS
from lib_unlearning.study import Study
from lib_unlearning.study_models import QuerySet, train_and_ask, train_missing, warm_up
from lib_unlearning.training.tasks import GRADIENTS
from lib_unlearning.unlearning.base import Ensemble


class AnswerSource(Protocol):
    """Anything that can show both sides to an attack."""

    def views(self) -> dict[str, View]:
        """ "shadow" and "target" -> what the adversary sees of it."""


class StudySource:
    """The models of a study, trained and queried here.

    Args:
        name: start of the names of the files that keep the answers.
        watch: told how long asking takes.
    """

    def __init__(self, study: Study, name: str, watch: Stopwatch) -> None:
        self.study = study
        self._name = name
        self._watch = watch
        self._answers: dict[str, Answers] | None = None
        settings = study.settings
        self._publication = Publication(settings.top_k, settings.temperature, settings.round_digits, settings.defense)

    def check(self) -> None:
        """Raise `UserError` when models are missing that nothing here would train."""
        settings = self.study.settings
        paths = self._paths()
        kept = self._may_reuse() and all(path.exists() for path in paths.values())
        if not settings.is_obtain_posterior:
            for path in paths.values():
                require_answers(path)
            return
        if kept or settings.train_missing:
            return
        if not self._all_there():
            raise self._not_trained()

    def _not_trained(self) -> UserError:
        return UserError(f"the models for these settings are not trained; run: {self.study.settings.training_command}")

    def answers(self) -> dict[str, Answers]:
        """What the models of both sides give, asked now or, if so wished, an earlier time.

        Raises:
            UserError: the models are not trained, or the answers that shall be used again are not there.
        """
        if self._answers is None:
            self._answers = self._obtain()
        return self._answers

    def views(self) -> dict[str, View]:
        """Both sides behind the defense; where their data differ, without the order of classes."""
        found = self.answers()
        shadow = self.study.split["shadow"]
        own = np.concatenate([shadow.positive, shadow.negative])
        views = {}
        for side in SIDES:
            asked, cases = _Asked(self, side), self._as_seen(found[side].cases)
            candidates = np.unique(cases.record)
            views[side] = View(
                cases=cases,
                offers=self._offers(),
                answer=asked,
                answer_rows=asked.rows if self.study.dataset[side].normalisation is None else None,
                look_up=self.study.dataset[side].rows,
                label_of=self.study.dataset[side].labels.__getitem__,
                own=own,
                pool=shadow.positive,
                worlds=self._worlds,
                candidates=candidates,
                labels_taken=None if self.study.settings.budget.label_known else _taken(cases, candidates),
                budget=self.study.settings.budget,
                set_size=self.study.settings.sides[side].set_size or 0,
            )
        return views

    def asked_alone(self) -> dict[str, PosteriorSet]:
        """Both sides' cases as whoever asks one version alone sees them, and knows the labels: where data differ, in
        the order of the unlearned model's own answers."""
        found = {side: self._publication.of_cases(part.cases) for side, part in self.answers().items()}
        if not self.study.settings.other_data:
            return found
        return {side: in_order_of_unlearned(cases) for side, cases in found.items()}

    def _worlds(self, wanted: WantedWorlds) -> Worlds:
        with self._watch.stage("own models"):
            return self._workshop().worlds(wanted)

    def _workshop(self) -> Workshop:
        study, settings = self.study, self.study.settings
        return Workshop(
            dataset=study.dataset["shadow"],
            trainer=study.trainer["shadow"],
            method=study.method["shadow"],
            pool=study.split["shadow"].positive,
            set_size=settings.sides["shadow"].set_size or 0,
            together=settings.sides["shadow"].unlearning_size,
            leaves_gap=settings.retrain_randomness == "matched",
            fresh=settings.retrain_randomness == "fresh",
            publish=self._publication.of,
            versions=settings.budget.versions,
            shaped_by=study.store["shadow"].shaped_by,
            folder=settings.layout.posteriors,
            trust=settings.trust_cache,
            processes=study.processes,
            quiet=settings.quiet,
        )

    def publish(self, posteriors: np.ndarray) -> np.ndarray:
        """What the defense lets through of posteriors [m, c]."""
        return self._publication.of(posteriors)

    def _offers(self) -> frozenset[str]:
        if self.study.settings.other_data:
            return frozenset({POSTERIORS, CLASSES})
        known = {POSTERIORS, CLASSES, CLASS_ORDER} | (self.study.trainer["shadow"].capabilities & {GRADIENTS})
        found = frozenset(known) | self.study.settings.budget.offers
        return found if self.study.settings.keep_models == KEPT[0] else found - {ASK}

    def _as_seen(self, cases: PosteriorSet) -> PosteriorSet:
        seen = self.study.settings.budget.seen(self._publication.of_cases(cases))
        return in_order_of_original(seen) if self.study.settings.other_data else seen

    def _obtain(self) -> dict[str, Answers]:
        settings = self.study.settings
        paths = self._paths()
        kept = self._may_reuse() and all(path.exists() for path in paths.values())
        if kept or not settings.is_obtain_posterior:
            return {side: self._load(path) for side, path in paths.items()}
        if settings.keep_models != KEPT[0] and (settings.retrain or not self._all_there()):
            with locked(paths["target"]):  # another run's parts are not ours to take away
                if self._may_reuse() and all(path.exists() for path in paths.values()):
                    return {side: self._load(path) for side, path in paths.items()}
                return self._train_and_ask(paths)
        if settings.train_missing:
            train_missing(self.study, self._watch)
        with self._watch.stage("query models"):
            answers = self._ask_all()
        for side, path in paths.items():
            save_answers(path, answers[side])
        return answers

    def _load(self, path: Path) -> Answers:
        return load_answers(path, self.study.settings.trust_cache)

    def _may_reuse(self) -> bool:
        """Whether answers of an earlier time will do: always where no models are kept that could be asked again."""
        settings = self.study.settings
        if settings.keep_models == KEPT[0] or settings.retrain:
            return settings.skip_finished and not settings.retrain
        return settings.keep_models != ORIGINALS or self._all_there(ORIGINALS)

    def _all_there(self, variant: str | None = None) -> bool:
        """Whether the models of every sample set are kept, or the originals in their folder."""
        stores = {
            side: store if variant is None else store.variant(variant) for side, store in self.study.store.items()
        }
        return all(stores[side].has(index) for side, index in self.study.sets())

    def _train_and_ask(self, paths: dict[str, Path]) -> dict[str, Answers]:
        """Train, ask, and keep the answers of each sample set until there are all of them."""
        study = self.study
        parts = {
            (side, index): paths[side].with_suffix(".parts") / f"set_{index:04d}.npz" for side, index in study.sets()
        }
        if study.settings.retrain:
            for path in paths.values():
                path.unlink(missing_ok=True)
                shutil.rmtree(path.with_suffix(".parts"), ignore_errors=True)
        train_and_ask(study, parts, self._watch)
        answers = {side: gather([self._load(path) for (of, _), path in parts.items() if of == side]) for side in SIDES}
        for side, path in paths.items():
            save_answers(path, answers[side])
            shutil.rmtree(path.with_suffix(".parts"), ignore_errors=True)
        return answers

    def _paths(self) -> dict[str, Path]:
        key = digest([self.study.shaped_answers()])[:12]
        folder = self.study.settings.layout.posteriors
        return {side: folder / f"{self._name}_{side}-{key}.npz" for side in SIDES}

    def _ask_all(self) -> dict[str, Answers]:
        study, which = self.study, self.study.sets()
        warm_up(study, len(which))
        found = list(parallel_map(QuerySet(study), which, study.processes, "querying", study.settings.quiet))
        if any(answers is None for answers in found):
            raise self._not_trained()
        return {
            side: gather([answers for (of, _), answers in zip(which, found, strict=True) if of == side and answers])
            for side in SIDES
        }


def _taken(cases: PosteriorSet, candidates: np.ndarray) -> np.ndarray:
    """The label [q] that each candidate's cases have most often, of equals the first."""
    votes = np.zeros((len(candidates), cases.original.shape[1]), dtype=np.int64)
    np.add.at(votes, (np.searchsorted(candidates, cases.record), cases.label), 1)
    found: np.ndarray = votes.argmax(axis=1)
    return found


class _Asked:
    """Answers of one side's models to records of the adversary's choice; the last few sample sets stay open."""

    def __init__(self, source: StudySource, side: str) -> None:
        self.source = source
        self.side = side
        self._load = lru_cache(maxsize=2)(self._loaded)

    def __call__(self, sample_set: int, version: int, records: np.ndarray) -> np.ndarray:
        model = self._model(sample_set, version)
        return self.source.publish(query([model], [records], self.source.study.dataset[self.side])[0])

    def rows(self, sample_set: int, version: int, rows: np.ndarray) -> np.ndarray:
        """Answers to features [k, d] of the adversary's making."""
        return self.source.publish(self._model(sample_set, version).predict_proba(rows.astype(np.float32)))

    def _model(self, sample_set: int, version: int) -> Ensemble:
        trained = self._load(sample_set)
        found: Ensemble = trained.original if version == ORIGINAL else trained.unlearned[version]
        return found

    def _loaded(self, index: int) -> Any:
        study = self.source.study
        trained = study.store[self.side].load(index, study.sample_set(self.side, index))
        if trained is None:
            raise UserError(f"the models for these settings are not trained; run: {study.settings.training_command}")
        return trained

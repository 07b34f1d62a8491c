"""The experiments: ModelTrain trains and caches models, MemInf attacks them, Report shows all. Orchestration only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import config
import data_prepare
import utils
from lib_unlearning import attack, metrics, report, sealed_pickle
from lib_unlearning import posterior as posteriors_of
from lib_unlearning.construct_feature import BASELINE, CLASS_BOUND, FEATURES
from lib_unlearning.dataset import Dataset
from lib_unlearning.defense import defend
from lib_unlearning.evaluation_cases import SAMPLES_TO_EVALUATE, evaluation_cases
from lib_unlearning.model_store import TrainedSet
from lib_unlearning.posterior import Answers, PosteriorSet
from lib_unlearning.record_split import SIDES, SampleSet
from lib_unlearning.reporting.archive import seed_summary
from lib_unlearning.settings import Settings
from lib_unlearning.study import Study, open_study
from lib_unlearning.unlearning import Deletion, Ensemble
from utils import LOGGER, UserError


def _load_datasets(settings: Settings) -> dict[str, Dataset]:
    target, shadow = settings.origins["target"], settings.origins["shadow"]
    found = data_prepare.obtain_dataset(target.dataset_name, target.original_label, settings.temp_data)
    if not settings.other_data:
        return {"shadow": found, "target": found}
    other = data_prepare.obtain_dataset(shadow.dataset_name, shadow.original_label, settings.temp_data)
    if other.num_classes != found.num_classes:
        raise UserError(
            f"--shadow_dataset_name {shadow.dataset_name}: {other.title} has {other.num_classes} classes, "
            f"{found.title} {found.num_classes}; an attack transfers between equal numbers only"
        )
    return {"shadow": other, "target": found}


# ---------------------------------------------------------------- model_train


@dataclass(frozen=True)
class TrainSets:
    """Train and keep all models of some sample sets of one side; runs in a worker process."""

    study: Study

    def __call__(self, group: Sequence[tuple[str, int]]) -> None:
        study, side = self.study, group[0][0]
        method = study.method[side]
        work = [self._work(side, index) for _, index in group]
        plans = [method.plan(*known) for known in work]
        jobs = [job for plan in plans if plan for job in plan.jobs]
        fitted = iter(study.trainer[side].fit(jobs))
        for (_, index), plan, known in zip(group, plans, work, strict=True):
            if plan is None:
                self._keep(side, index, *method.train_and_unlearn(*known))
            else:
                self._keep(side, index, *plan.assemble([next(fitted) for _ in plan.jobs]))

    def _work(self, side: str, index: int) -> tuple[np.ndarray, list[Deletion], int]:
        sample_set = self.study.sample_set(side, index)
        seed = utils.integer_seed(self.study.settings.seed, side, index, "model")
        return sample_set.records, self._deletions(side, index, sample_set), seed

    def _keep(self, side: str, index: int, original: Ensemble, unlearned: list[Ensemble]) -> None:
        study, sample_set = self.study, self.study.sample_set(side, index)
        accuracy = posteriors_of.accuracies(
            [original, *unlearned],
            sample_set.records,
            study.split[side].negative,
            study.dataset[side],
            config.UTILITY_RECORDS,
        )
        spent = np.array([_epsilon(ensemble) for ensemble in [original, *unlearned]])
        study.store[side].save(index, sample_set, TrainedSet(original, unlearned, accuracy, spent))

    def _deletions(self, side: str, index: int, sample_set: SampleSet) -> list[Deletion]:
        settings = self.study.settings
        return [
            Deletion(
                records=records,
                replacements=newcomers if self.study.online else newcomers[:0],
                seed=utils.integer_seed(settings.seed, side, index, "retrained model", request)
                if settings.fresh_retrain_seed
                else None,
            )
            for request, (records, newcomers) in enumerate(
                zip(sample_set.requests, sample_set.replacements, strict=True)
            )
        ]


def _epsilon(ensemble: Ensemble) -> float:
    """Privacy that DP-SGD spent on any record: its shard's, at most the largest; NaN without DP-SGD."""
    spent = [getattr(model, "epsilon", np.nan) for model in ensemble.constituents]
    return float("nan") if np.isnan(spent).all() else float(np.nanmax(spent))


def train_missing(study: Study, watch: utils.Stopwatch) -> int:
    """Train what the cache does not hold; returns how many sample sets that were."""
    with watch.stage("check cache"):
        todo = study.untrained()
    with watch.stage("train models"):
        groups = study.grouped(todo)
        for _ in utils.parallel_map(TrainSets(study), groups, study.processes, "training", study.settings.quiet):
            pass
    return len(todo)


class ModelTrain:
    """Train original and unlearned models of both sides, as far as the cache does not hold them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> None:
        """Train, cache, and print what there is now."""
        settings, watch = self.settings, utils.Stopwatch()
        with watch.stage("load data and split records"):
            study = open_study(settings, _load_datasets(settings))
        with utils.unfinished(study.store["target"].folder / config.UNFINISHED, settings.flat()):
            trained = train_missing(study, watch)
        total = len(study.sets())
        models = sum(part.set_num * (1 + part.unlearning_size) for part in settings.sides.values())
        print(f"{trained} of {total} sample sets trained, {total - trained} reused: {models} models in")
        for side in SIDES:
            print(f"  {study.store[side].folder}")
            if trained:
                utils.write_json(study.store[side].folder / "timing.json", watch.stages)


# ---------------------------------------------------------------- mem_inf


@dataclass(frozen=True)
class QuerySet:
    """Ask all models of one sample set about their cases; runs in a worker process."""

    study: Study

    def __call__(self, which: tuple[str, int]) -> Answers | None:
        side, index = which
        study, settings = self.study, self.study.settings
        sample_set = study.sample_set(side, index)
        trained = study.store[side].load(index, sample_set)
        if trained is None:
            return None
        cases = evaluation_cases(
            sample_set,
            study.split[side].negative,
            SAMPLES_TO_EVALUATE[settings.samples_to_evaluate].positives,
            settings.seed,
            side,
            index,
            settings.placebo,
        )
        original, unlearned = trained.original, trained.unlearned
        return Answers(
            posteriors_of.obtain_posteriors(original, unlearned, cases, study.dataset[side], index),
            np.column_stack([trained.accuracy, trained.epsilon])[np.newaxis],
            posteriors_of.training_curves(original, unlearned),
        )


class MemInf:
    """Train attacks on the shadow side, judge them on the target side, report."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> Path:
        """Attack, print the table and its meaning, write everything under `attack_data`; returns the run's folder."""
        settings, watch = self.settings, utils.Stopwatch()
        with watch.stage("load data and split records"):
            study = open_study(settings, _load_datasets(settings))
        described = self._describe(study)
        run_name = self._name(settings.attack_model) + f"-{utils.digest(described)[:10]}"
        folder = settings.temp_data / config.ATTACK_DATA / run_name
        marker = folder / config.UNFINISHED
        if settings.skip_finished and (folder / "results.json").exists() and not marker.exists():
            print(f"finished already. Results: {folder}")
            return folder
        plain = settings.flat() | {"synthetic": any(data.synthetic for data in study.dataset.values())}
        with utils.unfinished(marker, plain):
            self._attack_and_save(study, folder, {"settings": plain, **described}, watch)
        return folder

    def _attack_and_save(self, study: Study, folder: Path, described: dict[str, Any], watch: utils.Stopwatch) -> None:
        settings = self.settings
        answers = self._answers(study, watch)
        cases = {side: self._as_seen(answers[side].cases) for side in SIDES}
        with watch.stage("train and apply attacks"):
            attacks, scores, headline = self._attack(cases)
            path = settings.temp_data / config.ATTACK_MODELS / f"{folder.name}.attacks"
            sealed_pickle.write(path, attacks, folder.name)
        with watch.stage("evaluate"):
            results = self._evaluate(cases["target"], scores)
        plain = described["settings"] | report.outcomes(answers["target"])
        report.save_results(folder, report.result_rows(plain, results, headline), described)
        report.save_scores(folder / "scores.csv", cases["target"], scores)
        report.save_curves(folder / "curves.csv", {side: answers[side].curves for side in SIDES})
        utils.write_json(folder / "timing.json", watch.stages)
        self._print(study.dataset["target"].title, answers["target"], results, headline, folder)

    def _name(self, *more: str) -> str:
        settings = self.settings
        parts = [
            settings.named_by("dataset_name", "original_label", "original_model", joint="-"),
            settings.unlearning_method,
            settings.samples_to_evaluate,
            *more,
            f"seed{settings.seed}",
        ]
        return utils.file_name("_".join([*parts, "placebo"] if settings.placebo else parts))

    def _answers(self, study: Study, watch: utils.Stopwatch) -> dict[str, Answers]:
        """What the models of both sides give, asked now or, if so wished, an earlier time."""
        settings = self.settings
        folder = settings.temp_data / config.ATTACK_DATA / "posteriors"
        key = utils.digest([self._shaped_posteriors(study)])[:12]
        paths = {side: folder / f"{self._name()}_{side}-{key}.npz" for side in SIDES}
        kept = settings.skip_finished and all(path.exists() for path in paths.values())
        if kept or not settings.is_obtain_posterior:
            return {side: posteriors_of.load_answers(path) for side, path in paths.items()}
        if settings.train_missing:
            train_missing(study, watch)
        with watch.stage("query models"):
            answers = self._ask(study)
        for side, path in paths.items():
            posteriors_of.save_answers(path, answers[side])
        return answers

    def _ask(self, study: Study) -> dict[str, Answers]:
        which = study.sets()
        quiet = self.settings.quiet
        found = list(utils.parallel_map(QuerySet(study), which, study.processes, "querying", quiet))
        if any(answers is None for answers in found):
            raise UserError(f"the models for these settings are not trained; run: {self.settings.training_command}")
        return {
            side: posteriors_of.gather(
                [answers for (of, _), answers in zip(which, found, strict=True) if of == side and answers]
            )
            for side in SIDES
        }

    def _as_seen(self, cases: PosteriorSet) -> PosteriorSet:
        """What the adversary sees: defended posteriors, and the order of classes only where it means the same."""
        seen = defend(cases, self.settings.top_k, self.settings.temperature)
        return posteriors_of.in_order_of_original(seen) if self.settings.other_data else seen

    def _features(self) -> list[str]:
        return [name for name in FEATURES if not (self.settings.other_data and name in CLASS_BOUND)]

    def _shaped_posteriors(self, study: Study) -> dict[str, Any]:
        return {
            "models": {side: study.store[side].shaped_by for side in SIDES},
            "records": [study.sample_set(side, index).digest() for side, index in study.sets()],
            "samples_to_evaluate": self.settings.samples_to_evaluate,
            "placebo": self.settings.placebo,
        }

    def _describe(self, study: Study) -> dict[str, Any]:
        """All settings that shape the result, and nothing that varies from run to run."""
        return {
            **self._shaped_posteriors(study),
            "attack_model": self.settings.attack_model,
            "top_k": self.settings.top_k,
            "temperature": self.settings.temperature,
            "sides": {side: asdict(part) for side, part in self.settings.sides.items()},
        }

    def _attack(self, cases: dict[str, PosteriorSet]) -> tuple[dict[str, attack.Attack], dict[str, np.ndarray], str]:
        """Fitted attack and target scores of each feature, and the feature that does best among shadow cases."""
        name, seed, shadow = self.settings.attack_model, self.settings.seed, cases["shadow"]
        attacks = {feature: attack.fit_attack(shadow, feature, name, seed) for feature in self._features()}
        scores = {feature: fitted.score(cases["target"]) for feature, fitted in attacks.items()}
        promise = {
            feature: _auc(attack.cross_fitted_scores(shadow, feature, name, seed), shadow.member)
            for feature in attacks
            if feature != BASELINE
        }
        return attacks, scores, max(promise, key=lambda feature: promise[feature])

    def _evaluate(self, cases: PosteriorSet, scores: dict[str, np.ndarray]) -> dict[str, dict[str, metrics.Estimate]]:
        return {
            feature: metrics.evaluate(
                values,
                None if feature == BASELINE else scores[BASELINE],
                cases.member,
                cases.set,
                utils.spawn(self.settings.seed, "bootstrap"),
            )
            for feature, values in scores.items()
        }

    def _print(self, title: str, answers: Answers, results: report.Results, headline: str, folder: Path) -> None:
        settings = self.settings
        print(report.heading(title, settings, answers), end="\n\n")
        print("\n".join(report.utility_table(answers.utility)), end="\n\n")
        print("\n".join(report.result_table(results, headline)), end="\n\n")
        question = SAMPLES_TO_EVALUATE[settings.samples_to_evaluate].question
        print(report.verdict(results, headline, question, settings.placebo))
        print(f"* chosen by cross-fitting on the shadow side. Results: {folder}")


def _auc(scores: np.ndarray, member: np.ndarray) -> float:
    whole = np.zeros(len(scores), dtype=int)
    return float(metrics.roc_metrics(scores, member, whole, np.ones((1, 1)))["auc"][0])


# ---------------------------------------------------------------- report


class Report:
    """Tables, figures and one HTML page from all results under `attack_data`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> None:
        """Write the report, or one comparison's part of it, and print what it shows."""
        from lib_unlearning.reporting.build import build_report  # needs matplotlib

        build_report(self.settings.temp_data, self.settings.comparison)


EXPERIMENTS: dict[str, Callable[[Settings], Any]] = {"model_train": ModelTrain, "mem_inf": MemInf, "report": Report}


def run_experiment(settings: Settings) -> None:
    """Run the experiment that the settings name, once for each seed; several attacks are summarised at the end."""
    LOGGER.debug("%s", settings)
    left = [EXPERIMENTS[settings.exp](replace(settings, seed=seed)).run() for seed in settings.seeds]
    folders = [folder for folder in left if folder is not None]
    if len(folders) > 1:
        print("\n".join(seed_summary(folders)))

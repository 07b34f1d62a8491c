"""The experiments: ModelTrain trains and caches models, MemInf attacks them. Orchestration only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import config
import data_prepare
import utils
from lib_unlearning import attack, metrics, network_file, report, sealed_pickle
from lib_unlearning import posterior as posteriors_of
from lib_unlearning.construct_feature import BASELINE, FEATURES
from lib_unlearning.dataset import Dataset
from lib_unlearning.defense import defend
from lib_unlearning.evaluation_cases import SAMPLES_TO_EVALUATE, evaluation_cases
from lib_unlearning.model_store import ModelStore, TrainedSet
from lib_unlearning.posterior import PosteriorSet
from lib_unlearning.record_split import SIDES, SampleSet, SideSplit, draw_split, load_split, save_split
from lib_unlearning.unlearning import UNLEARNING_METHODS, Deletion, Ensemble, ModelTrainer, UnlearningMethod
from models import NETWORKS
from parameter_parser import Settings
from utils import LOGGER, UserError

_LIBRARIES = ("numpy", "scikit-learn", "scipy")


@dataclass(frozen=True)
class Study:
    """What both experiments work on: the data, who holds which record, the method, and a store a side."""

    settings: Settings
    dataset: Dataset
    split: dict[str, SideSplit]
    method: dict[str, UnlearningMethod]
    stores: dict[str, ModelStore]
    device: str

    @property
    def online(self) -> bool:
        """Whether new records take the place of deleted ones."""
        return SAMPLES_TO_EVALUATE[self.settings.samples_to_evaluate].online_learning

    def sets(self) -> list[tuple[str, int]]:
        """(side, index) of every sample set."""
        return [(side, index) for side in SIDES for index in range(len(self.split[side].sample_sets))]

    def sample_set(self, side: str, index: int) -> SampleSet:
        """One sample set."""
        return self.split[side].sample_sets[index]


def open_study(settings: Settings) -> Study:
    """Load the data, draw or load the record split, and find the caches."""
    dataset = data_prepare.obtain_dataset(settings.dataset_name, settings.original_label, settings.temp_data)
    trainer = _trainer(settings, dataset)
    factory = UNLEARNING_METHODS[settings.unlearning_method]
    return Study(
        settings=settings,
        dataset=dataset,
        split=_obtain_split(settings, dataset),
        method={side: factory(trainer, settings.sides[side].num_shard) for side in SIDES},
        stores={side: _store(settings, dataset, side) for side in SIDES},
        device=getattr(trainer, "device", "cpu"),
    )


def _trainer(settings: Settings, dataset: Dataset) -> ModelTrainer:
    if settings.original_model not in NETWORKS:
        return ModelTrainer(dataset, settings.original_model)
    from lib_unlearning.ensemble import NetworkTrainer  # needs torch

    return NetworkTrainer(dataset, settings.original_model, settings.training)


def _obtain_split(settings: Settings, dataset: Dataset) -> dict[str, SideSplit]:
    sizes = "_".join(
        f"{side}-{part.set_num}x{part.set_size}-{part.unlearning_size}x{part.unlearning_num}"
        for side, part in settings.sides.items()
    )
    path = settings.temp_data / config.SPLIT_INDICES / f"{dataset.name}-{dataset.label}_{sizes}.npz"
    if settings.is_sample:
        split = draw_split(len(dataset), settings.sides, settings.seed)
        save_split(path, split)
        return split
    if not path.exists():
        raise UserError(f"--is_sample false: {path} does not exist; run once with --is_sample true")
    split = load_split(path)
    if max(part.records.max() for side in SIDES for part in split[side].sample_sets) >= len(dataset):
        raise UserError(f"--is_sample false: {path} names records that {dataset.name} lacks; run with --is_sample true")
    return split


def _store(settings: Settings, dataset: Dataset, side: str) -> ModelStore:
    drawn = settings.sides[side]
    sharded = settings.unlearning_method != "scratch"
    shaped_by: dict[str, Any] = {
        "dataset": dataset.title,
        "dataset_digest": dataset.digest,
        "side": side,
        "original_model": settings.original_model,
        "unlearning_method": settings.unlearning_method,
        "set_size": drawn.set_size,
        "unlearning_size": drawn.unlearning_size,
        "unlearning_num": drawn.unlearning_num,
        "num_shard": drawn.num_shard if sharded else None,
        "online_learning": SAMPLES_TO_EVALUATE[settings.samples_to_evaluate].online_learning,
        "fresh_retrain_seed": settings.fresh_retrain_seed,
        "seed": settings.seed,
        "libraries": utils.library_versions(*_LIBRARIES),
        "cache_version": config.CACHE_VERSION,
    }
    network = settings.original_model in NETWORKS
    if network:
        # How many train together changes rounding only, and no result that an attack could use.
        shaped_by["training"] = asdict(replace(settings.training, ensemble_size=None))
        shaped_by["libraries"] |= utils.library_versions("torch", "opacus")
    readable = f"{dataset.name}-{dataset.label}_{settings.original_model}_{settings.unlearning_method}"
    parent = settings.temp_data / config.SIDE_MODELS[side]
    return ModelStore(parent, readable, shaped_by, settings.trust_cache, network_file if network else sealed_pickle)


# ---------------------------------------------------------------- model_train


@dataclass(frozen=True)
class TrainSet:
    """Train and keep all models of one sample set; runs in a worker process."""

    study: Study

    def __call__(self, which: tuple[str, int]) -> None:
        side, index = which
        study = self.study
        sample_set, method = study.sample_set(side, index), study.method[side]
        seed = utils.integer_seed(study.settings.seed, side, index, "model")
        deletions = self._deletions(side, index, sample_set)
        original, unlearned = method.train_and_unlearn(sample_set.records, deletions, seed)
        accuracy = posteriors_of.accuracies(
            [original, *unlearned],
            sample_set.records,
            study.split[side].negative,
            study.dataset,
            config.UTILITY_RECORDS,
        )
        spent = np.array([_epsilon(ensemble) for ensemble in [original, *unlearned]])
        study.stores[side].save(index, sample_set, TrainedSet(original, unlearned, accuracy, spent))

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
    stacks = [getattr(model, "stack", None) for model in ensemble.constituents]
    spent = [
        stack.epsilon[model.index]
        for stack, model in zip(stacks, ensemble.constituents, strict=True)
        if stack is not None and stack.epsilon is not None
    ]
    return float(max(spent, default=float("nan")))


class ModelTrain:
    """Train original and unlearned models of both sides, as far as the cache does not hold them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> None:
        """Train, cache, and print what there is now."""
        settings, watch = self.settings, utils.Stopwatch()
        with watch.stage("load data and split records"):
            study = open_study(settings)
        with watch.stage("check cache"):
            todo = self._untrained(study)
        with watch.stage("train models"):
            work = utils.parallel_map(TrainSet(study), todo, self._processes(study), "training", settings.quiet)
            for _ in work:
                pass
        total = len(study.sets())
        models = sum(part.set_num * (1 + part.unlearning_size) for part in settings.sides.values())
        print(f"{len(todo)} of {total} sample sets trained, {total - len(todo)} reused: {models} models in")
        for side in SIDES:
            print(f"  {study.stores[side].folder}")
            if todo:
                utils.write_json(study.stores[side].folder / "timing.json", watch.stages)

    def _processes(self, study: Study) -> int:
        """A GPU is used by one process, which keeps it busy with stacks; it would not survive a fork either."""
        return self.settings.num_process if study.device == "cpu" else 1

    def _untrained(self, study: Study) -> list[tuple[str, int]]:
        for store in study.stores.values():
            store.prepare()
        return [
            (side, index)
            for side, index in study.sets()
            if self.settings.retrain or not study.stores[side].is_current(index, study.sample_set(side, index))
        ]


# ---------------------------------------------------------------- mem_inf


@dataclass(frozen=True)
class QuerySet:
    """Ask all models of one sample set about their cases; runs in a worker process."""

    study: Study

    def __call__(self, which: tuple[str, int]) -> tuple[PosteriorSet, np.ndarray] | None:
        side, index = which
        study, settings = self.study, self.study.settings
        sample_set = study.sample_set(side, index)
        trained = study.stores[side].load(index, sample_set)
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
        answers = posteriors_of.obtain_posteriors(trained.original, trained.unlearned, cases, study.dataset, index)
        # Accuracies and, beside them, the privacy spent: [1 + requests, 3].
        return answers, np.column_stack([trained.accuracy, trained.epsilon])


class MemInf:
    """Train attacks on the shadow side, judge them on the target side, report."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> None:
        """Attack, print the table and its meaning, and write everything under `attack_data`."""
        settings, watch = self.settings, utils.Stopwatch()
        with watch.stage("load data and split records"):
            study = open_study(settings)
        described = self._describe(study)
        run_name = self._name(study, settings.attack_model) + f"-{utils.digest(described)[:10]}"
        folder = settings.temp_data / config.ATTACK_DATA / run_name
        with watch.stage("query models"):
            obtained = self._posteriors(study)
        cases = {side: defend(obtained[side][0], settings.top_k, settings.temperature) for side in SIDES}
        with watch.stage("train and apply attacks"):
            attacks, scores, headline = self._attack(cases)
            path = settings.temp_data / config.ATTACK_MODELS / f"{run_name}.attacks"
            sealed_pickle.write(path, attacks, run_name)
        with watch.stage("evaluate"):
            results = self._evaluate(cases["target"], scores)
        self._save(folder, described, results, cases["target"], scores, obtained["target"][1])
        utils.write_json(folder / "timing.json", watch.stages)
        self._print(study.dataset.title, obtained["target"], results, headline, folder)

    def _name(self, study: Study, *more: str) -> str:
        settings = self.settings
        parts = [
            f"{study.dataset.name}-{study.dataset.label}",
            settings.original_model,
            settings.unlearning_method,
            settings.samples_to_evaluate,
            *more,
            f"seed{settings.seed}",
        ]
        return "_".join([*parts, "placebo"] if settings.placebo else parts)

    def _posteriors(self, study: Study) -> dict[str, tuple[PosteriorSet, np.ndarray]]:
        """side -> posteriors and accuracies, from the models or, if so asked, from the last time."""
        settings = self.settings
        folder = settings.temp_data / config.ATTACK_DATA / "posteriors"
        key = utils.digest([self._shaped_posteriors(study)])[:12]
        paths = {side: folder / f"{self._name(study)}_{side}-{key}.npz" for side in SIDES}
        if not settings.is_obtain_posterior:
            return {side: posteriors_of.load_posteriors(path) for side, path in paths.items()}
        which = study.sets()
        answers = list(utils.parallel_map(QuerySet(study), which, settings.num_process, "querying", settings.quiet))
        if any(answer is None for answer in answers):
            raise UserError(f"the models for these settings are not trained; run: {settings.training_command}")
        obtained = {}
        for side in SIDES:
            parts = [answer for (of, _), answer in zip(which, answers, strict=True) if of == side and answer]
            obtained[side] = (
                posteriors_of.concatenate([part for part, _ in parts]),
                np.stack([accuracy for _, accuracy in parts]),
            )
            posteriors_of.save_posteriors(paths[side], *obtained[side])
        return obtained

    def _shaped_posteriors(self, study: Study) -> dict[str, Any]:
        return {
            "models": {side: study.stores[side].shaped_by for side in SIDES},
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
        attacks = {feature: attack.fit_attack(shadow, feature, name, seed) for feature in FEATURES}
        scores = {feature: fitted.score(cases["target"]) for feature, fitted in attacks.items()}
        promise = {
            feature: _auc(attack.cross_fitted_scores(shadow, feature, name, seed), shadow.member)
            for feature in FEATURES
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

    def _save(
        self,
        folder: Path,
        described: dict[str, Any],
        results: report.Results,
        cases: PosteriorSet,
        scores: dict[str, np.ndarray],
        utility: np.ndarray,
    ) -> None:
        settings = self.settings
        plain = {
            name: getattr(settings, name)
            for name in (
                "dataset_name",
                "original_label",
                "original_model",
                "attack_model",
                "unlearning_method",
                "samples_to_evaluate",
                "placebo",
                "top_k",
                "temperature",
                "fresh_retrain_seed",
                "seed",
            )
        }
        for side, part in settings.sides.items():
            plain |= {f"{side}_{name}": value for name, value in asdict(part).items()}
        if settings.original_model in NETWORKS:
            plain |= asdict(replace(settings.training, ensemble_size=None, privacy=None))
            plain |= asdict(settings.training.privacy) if settings.training.privacy else {}
            plain["epsilon"] = None if np.isnan(utility[..., 2]).all() else round(float(np.nanmax(utility[..., 2])), 4)
        plain |= {"positives": int(cases.member.sum()), "negatives": int((1 - cases.member).sum())}
        report.save_results(folder, report.result_rows(plain, results), {"settings": plain, **described})
        report.save_scores(folder / "scores.csv", cases, scores)

    def _print(
        self,
        title: str,
        obtained: tuple[PosteriorSet, np.ndarray],
        results: report.Results,
        headline: str,
        folder: Path,
    ) -> None:
        settings, (cases, utility) = self.settings, obtained
        published = {None: "full posteriors", 0: "label only"}.get(settings.top_k, f"top {settings.top_k} posteriors")
        if settings.temperature is not None:
            published += f" at temperature {settings.temperature:g}"
        positives = int(cases.member.sum())
        print(
            f"{title}, {settings.original_model} target, "
            f"{settings.unlearning_method}, {settings.samples_to_evaluate}, {settings.attack_model} attack, "
            f"{published}, seed {settings.seed}{', placebo' if settings.placebo else ''}"
        )
        print(f"{len(utility)} target sample sets, {positives} positives, {len(cases) - positives} negatives\n")
        print("\n".join(report.utility_table(utility)), end="\n\n")
        print("\n".join(report.result_table(results, headline)), end="\n\n")
        question = SAMPLES_TO_EVALUATE[settings.samples_to_evaluate].question
        print(report.verdict(results, headline, question, settings.placebo))
        print(f"* chosen by cross-fitting on the shadow side. Results: {folder}")


def _auc(scores: np.ndarray, member: np.ndarray) -> float:
    whole = np.zeros(len(scores), dtype=int)
    return float(metrics.roc_metrics(scores, member, whole, np.ones((1, 1)))["auc"][0])


EXPERIMENTS: dict[str, Callable[[Settings], Any]] = {"model_train": ModelTrain, "mem_inf": MemInf}


def run_experiment(settings: Settings) -> None:
    """Run the experiment that the settings name."""
    LOGGER.debug("%s", settings)
    EXPERIMENTS[settings.exp](settings).run()

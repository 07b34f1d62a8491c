"""The experiments: ModelTrain trains and caches models, MemInf attacks them, Report shows all. Orchestration only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import data_prepare
import models
from lib_unlearning import report
from lib_unlearning.attack import attacks_on
from lib_unlearning.attacks.choice import chosen_attack
from lib_unlearning.audit.sources import StudySource
from lib_unlearning.cache import sealed_pickle
from lib_unlearning.cache.files import unfinished, write_json
from lib_unlearning.cache.layout import UNFINISHED
from lib_unlearning.dataset import Dataset
from lib_unlearning.errors import LOGGER, UserError
from lib_unlearning.parallel import Stopwatch
from lib_unlearning.record_split import SIDES
from lib_unlearning.settings import Settings
from lib_unlearning.statistics.metrics import evaluate_all
from lib_unlearning.study import Study, open_study
from lib_unlearning.study_models import train_missing
from lib_unlearning.unlearning.registry import UNLEARNING_METHODS


def _load_datasets(settings: Settings) -> dict[str, Dataset]:
    target, shadow = settings.origins["target"], settings.origins["shadow"]
    found = data_prepare.obtain_dataset(target.dataset_name, target.original_label, settings.layout)
    if not settings.other_data:
        return {"shadow": found, "target": found}
    other = data_prepare.obtain_dataset(shadow.dataset_name, shadow.original_label, settings.layout)
    if other.num_classes != found.num_classes:
        raise UserError(
            f"--shadow_dataset_name {shadow.dataset_name}: {other.title} has {other.num_classes} classes, "
            f"{found.title} {found.num_classes}; an attack transfers between equal numbers only"
        )
    return {"shadow": other, "target": found}


def _open(settings: Settings, watch: Stopwatch) -> Study:
    with watch.stage("load data and split records"):
        return open_study(settings, _load_datasets(settings), models.TARGET_MODELS, UNLEARNING_METHODS)


class ModelTrain:
    """Train original and unlearned models of both sides, as far as the cache does not hold them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> None:
        """Train, cache, and print what there is now."""
        watch = Stopwatch()
        study = _open(self.settings, watch)
        with unfinished(study.store["target"].folder / UNFINISHED, self.settings.flat()):
            trained = train_missing(study, watch)
        total = len(study.sets())
        count = sum(part.set_num * (1 + part.unlearning_size) for part in self.settings.sides.values())
        print(f"{trained} of {total} sample sets trained, {total - trained} reused: {count} models in")
        for side in SIDES:
            print(f"  {study.store[side].folder}")
            if trained:
                write_json(study.store[side].folder / "timing.json", watch.stages)


class MemInf:
    """Fit attacks on the shadow side, judge them on the target side, report."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> Path:
        """Attack, print the table and its meaning, write everything under `attack_data`; returns the run's folder."""
        settings, watch = self.settings, Stopwatch()
        study = _open(settings, watch)
        described = report.description(settings, study.shaped_answers())
        folder = settings.layout.attack_data / report.run_name(settings, described)
        marker = folder / UNFINISHED
        if settings.skip_finished and (folder / report.RESULTS).exists() and not marker.exists():
            print(f"finished already. Results: {folder}")
            return folder
        source = StudySource(study, report.answers_name(settings), watch)
        source.check()
        plain = settings.flat() | {"synthetic": any(data.synthetic for data in study.dataset.values())}
        with unfinished(marker, plain):
            self._attack_and_save(source, folder, {"settings": plain, **described}, watch)
        return folder

    def _attack_and_save(self, source: StudySource, folder: Path, described: dict[str, Any], watch: Stopwatch) -> None:
        settings = self.settings
        views, answers = source.views(), source.answers()
        with watch.stage("train and apply attacks"):
            attacks = attacks_on(views["shadow"], settings.attack_model)
            fitted = {name: attack.fit(views["shadow"], settings.seed) for name, attack in attacks.items()}
            scores = {name: attack.score(views["target"]) for name, attack in fitted.items()}
            headline = chosen_attack(attacks, views["shadow"], settings.seed)
            sealed_pickle.write(settings.layout.attack_models / f"{folder.name}.attacks", fitted, folder.name)
        with watch.stage("evaluate"):
            results = evaluate_all(scores, views["target"].cases, settings.seed)
        rows = report.result_rows(described["settings"] | report.outcomes(answers["target"]), results, headline)
        report.save_run(folder, rows, described, views["target"].cases, scores)
        report.save_curves(folder / report.CURVES, {side: answers[side].curves for side in SIDES})
        write_json(folder / report.TIMING, watch.stages)
        title = source.study.dataset["target"].title
        print(report.console(title, settings, answers["target"], results, headline))
        print(f"* chosen by cross-fitting on the shadow side. Results: {folder}")


class Report:
    """Tables, figures and one HTML page from all results under `attack_data`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> None:
        """Write the report, or one comparison's part of it, and print what it shows."""
        from lib_unlearning.reporting.build import build_report  # needs matplotlib

        build_report(self.settings.layout, self.settings.comparison)


EXPERIMENTS: dict[str, Callable[[Settings], Any]] = {"model_train": ModelTrain, "mem_inf": MemInf, "report": Report}


def run_experiment(settings: Settings) -> None:
    """Run the experiment that the settings name, once for each seed; several attacks are summarised at the end."""
    LOGGER.debug("%s", settings)
    left = [EXPERIMENTS[settings.exp](replace(settings, seed=seed)).run() for seed in settings.seeds]
    folders = [folder for folder in left if folder is not None]
    if len(folders) > 1:
        from lib_unlearning.reporting.archive import seed_summary

        print("\n".join(seed_summary(folders)))

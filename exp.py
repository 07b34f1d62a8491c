"""The experiments: ModelTrain trains and caches models, MemInf attacks them, Report shows all. Orchestration only."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import data_prepare
import models
from lib_unlearning import report, run_files
from lib_unlearning.attack import BOTH_VERSIONS
from lib_unlearning.attacks.choice import chosen_attack, cross_fitted_scores
from lib_unlearning.attacks.linear import is_linear
from lib_unlearning.attacks.registry import attacks_on, strongest_learned
from lib_unlearning.attacks.still_there import still_there
from lib_unlearning.attacks.three_classes import three_classes
from lib_unlearning.audit.answers_file import audit_files
from lib_unlearning.audit.dossier import EXIT_CODES
from lib_unlearning.audit.evidence import Options as AuditOptions
from lib_unlearning.audit.pack import check_place, verify_pack, write_pack
from lib_unlearning.audit.page import write_page
from lib_unlearning.audit.sources import StudySource
from lib_unlearning.cache import sealed_pickle
from lib_unlearning.cache.files import remove_stale_temporaries, unfinished, write_json
from lib_unlearning.cache.inventory import Entry, delete, inventory, size_text
from lib_unlearning.cache.layout import UNFINISHED
from lib_unlearning.cluster import cluster
from lib_unlearning.dataset import Dataset
from lib_unlearning.errors import LOGGER, UserError
from lib_unlearning.exposed_records import exposure
from lib_unlearning.options import NoOptions
from lib_unlearning.parallel import Stopwatch
from lib_unlearning.posterior import PosteriorSet
from lib_unlearning.reconstruct import lines, may_be_drawn, reconstruct, save_reconstruction
from lib_unlearning.record_split import SIDES, mean_overlap
from lib_unlearning.settings import KEPT, AuditInputs, Settings
from lib_unlearning.statistics.metrics import best_threshold, evaluate_all
from lib_unlearning.statistics.privacy import distinct_strangers
from lib_unlearning.study import Study, open_study
from lib_unlearning.study_models import train_missing
from lib_unlearning.terminal import say, table_lines, terminal_width
from lib_unlearning.unlearning.registry import UNLEARNING_METHODS
from lib_unlearning.wording import duration, plural

if TYPE_CHECKING:
    from scripts.sweeps import Scope


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
    for folder in settings.layout.written:  # what killed processes left
        remove_stale_temporaries(folder)
    with watch.stage("load data and split records"):
        return open_study(settings, _load_datasets(settings), models.TARGET_MODELS, UNLEARNING_METHODS)


def _keep_timing(folder: Path, study: Study, watch: Stopwatch) -> None:
    """Write when, how long and on which data a run was made."""
    digests = {side: data.digest for side, data in study.dataset.items()}
    write_json(folder / run_files.TIMING, run_files.made(watch.stages, digests))


class ModelTrain:
    """Train original and unlearned models of both sides, as far as the cache does not hold them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> None:
        """Train, cache, and print what there is now."""
        watch = Stopwatch()
        study = _open(self.settings, watch)
        study.keep_split()
        if study.settings.keep_models != KEPT[0]:
            self._answers_only(study, watch)
            return
        with unfinished(study.store["target"].folder / UNFINISHED, study.settings.flat()):
            trained = train_missing(study, watch)
        total = len(study.sets())
        count = sum(part.set_num * (1 + part.unlearning_size) for part in self.settings.sides.values())
        say(f"{trained} of {total} sample sets trained, {total - trained} reused: {count} models in")
        for side in SIDES:
            print(f"  {study.store[side].folder}")
            if trained:
                told = run_files.made(watch.stages, {side: study.dataset[side].digest})
                write_json(study.store[side].folder / run_files.TIMING, told)

    def _answers_only(self, study: Study, watch: Stopwatch) -> None:
        source = StudySource(study, run_files.answers_name(study.settings), watch)
        answers = source.answers()
        count = sum(part.utility.shape[0] * part.utility.shape[1] for part in answers.values())
        say(f"answers of {count} models, trained now or earlier, are in {study.settings.layout.posteriors}")


class MemInf:
    """Fit attacks on the shadow side, judge them on the target side, report."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> Path:
        """Attack, print the table and its meaning, write everything under `attack_data`; returns the run's folder."""
        watch = Stopwatch()
        study = _open(self.settings, watch)
        settings = study.settings
        described = run_files.description(settings, study.shaped_answers())
        folder = settings.layout.attack_data / run_files.run_name(settings, described)
        marker = folder / UNFINISHED
        if settings.skip_finished and not marker.exists() and run_files.is_finished(folder):
            print(f"finished already.\nResults: {folder}")
            return folder
        study.keep_split()
        source = StudySource(study, run_files.answers_name(settings), watch)
        source.check()
        synthetic = any(data.synthetic for data in study.dataset.values())
        plain = settings.flat() | study.privacy_used | {"synthetic": synthetic}
        try:
            with unfinished(marker, plain):
                self._attack_and_save(source, folder, {"settings": plain, **described}, watch)
        except BaseException:
            if run_files.is_finished(folder):  # by an earlier run, whose results are whole
                marker.unlink(missing_ok=True)
            raise
        return folder

    def quietly(self) -> Path:
        """The same, without a word on standard output."""
        with contextlib.redirect_stdout(io.StringIO()):
            return self.run()

    def _attack_and_save(self, source: StudySource, folder: Path, described: dict[str, Any], watch: Stopwatch) -> None:
        settings = source.study.settings
        views, answers = source.views(), source.answers()
        if settings.attacks == "all" and settings.other_data:
            LOGGER.warning("--attacks all: between data sets today's attacks do not apply; the paper's are run")
        sharing = run_files.sharing(source.study.split["target"].sample_sets, answers["target"].cases)
        with watch.stage("train and apply attacks"):
            attacks = attacks_on(views["shadow"], settings.attack_model, settings.seed, settings.attacks == "all")
            fitted = {name: attack.fit(views["shadow"], settings.seed) for name, attack in attacks.items()}
            scores = {name: attack.score(views["target"]) for name, attack in fitted.items()}
            tried = {name: cross_fitted_scores(part, views["shadow"], settings.seed) for name, part in attacks.items()}
            headline = chosen_attack(tried, views["shadow"])
            sealed_pickle.write(settings.layout.attack_models / f"{folder.name}.attacks", fitted, folder.name)
        with watch.stage("evaluate"):
            member = views["shadow"].cases.member
            thresholds = {name: best_threshold(found, member) for name, found in tried.items()}
            results = evaluate_all(scores, views["target"].cases, thresholds, sharing.overlap)
            on_shadow = evaluate_all(tried, views["shadow"].cases)
            reference = _retrained(source, watch)
            alone = still_there(source.asked_alone(), reference, settings.attack_model, settings.seed, sharing.overlap)
            target = views["target"].cases
            strangers = distinct_strangers(views["shadow"].cases.record, member)
            exposures = {name: exposure(found, target, tried[name][strangers]) for name, found in scores.items()}
        fixed = described["settings"] | run_files.outcomes(answers["target"], sharing, alone)
        rows = run_files.result_rows(fixed, results, headline, on_shadow, exposures, target.member)
        true = replace(target, label=answers["target"].cases.label)  # whatever the adversary takes it for
        run_files.save_run(folder, rows, described, true, scores, exposures[headline])
        run_files.save_curves(folder / run_files.CURVES, {side: answers[side].curves for side in SIDES})
        _keep_timing(folder, source.study, watch)
        title = source.study.dataset["target"].title
        shown = exposures[headline]
        one_score = [name for name, found in scores.items() if found.min() == found.max()]
        print(report.console(title, settings, answers["target"], sharing, alone, results, headline, shown, one_score))
        print(f"* chosen by cross-fitting on the shadow side.\nResults: {folder}")


def _retrained(source: StudySource, watch: Stopwatch) -> dict[str, PosteriorSet] | None:
    """What is answered by models retrained from scratch on the same records, where the method is not itself exact."""
    study = source.study
    if all(method.exact for method in study.method.values()):
        return None
    exact = replace(
        study.settings,
        unlearning_method="scratch",
        method_options=dict.fromkeys(SIDES, NoOptions()),
        one_by_one=False,
        train_missing=True,
    )
    reference = open_study(exact, study.dataset, models.TARGET_MODELS, UNLEARNING_METHODS)
    return StudySource(reference, run_files.answers_name(exact), watch).asked_alone()


class ThreeWays:
    """Tell deleted records, remaining ones and strangers apart with one attack."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> None:
        """Attack and print how each class is told."""
        if self.settings.samples_to_evaluate != "in_out" or self.settings.placebo:
            raise UserError("--exp three_classes asks its own questions: leave out --samples_to_evaluate and --placebo")
        watch, views = Stopwatch(), {}
        for question in ("in_out", "in_in"):
            study = _open(replace(self.settings, samples_to_evaluate=question), watch)
            source = StudySource(study, run_files.answers_name(study.settings), watch)
            source.check()
            views[question] = source.views()
        settings = replace(study.settings, samples_to_evaluate="three_classes")
        overlap = mean_overlap(study.split["target"].sample_sets)
        attack = strongest_learned(settings.attack_model, settings.attacks == "all")
        found = three_classes(views["in_out"], views["in_in"], attack, settings.seed, overlap)
        folder, kept = _to_keep(settings, study, attack.name)
        write_json(folder / run_files.SETTINGS, kept)
        write_json(folder / run_files.THREE_CLASSES, asdict(found) | {"confusion": found.confusion.tolist()})
        told = report.described_study(study.dataset["target"].title, settings)
        say(told)
        print("\n".join(report.three_class_table(found, attack.name)))
        print(f"Results: {folder}")


class Stream:
    """Delete records one after another, and ask on the way: about one that went, and about one that stays."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> None:
        """Attack after each number of deletions, print the table, write it."""
        from lib_unlearning.reporting.archive import read_run
        from lib_unlearning.reporting.stream import QUESTIONS, Step, save_stream, stream_lines

        if self.settings.samples_to_evaluate != "in_out":
            raise UserError("--exp stream asks its own questions: leave out --samples_to_evaluate")
        steps = []
        for length in self.settings.stream_lengths:
            runs = {name: MemInf(self._after(length, question)).quietly() for name, question in QUESTIONS.items()}
            steps.append(Step(length, {name: read_run(folder / run_files.RESULTS) for name, folder in runs.items()}))
        study = _open(self._after(self.settings.stream_lengths[-1], "in_in"), Stopwatch())
        settings = replace(study.settings, samples_to_evaluate="stream")
        lengths = "-".join(map(str, settings.stream_lengths))
        folder, kept = _to_keep(settings, study, lengths, stream_lengths=lengths)
        save_stream(steps, folder)
        write_json(folder / run_files.SETTINGS, kept)
        say(report.described_study(study.dataset["target"].title, settings))
        overlap = mean_overlap(study.split["target"].sample_sets)
        print("\n".join(stream_lines(steps, settings.margin, overlap, terminal_width())))
        print(f"Results: {folder}")

    def _after(self, length: int, question: str) -> Settings:
        """Settings that ask a question after so many deletions."""
        sides = {side: replace(part, unlearning_num=length) for side, part in self.settings.sides.items()}
        exact = UNLEARNING_METHODS[self.settings.unlearning_method].exact
        return replace(self.settings, sides=sides, samples_to_evaluate=question, one_by_one=not exact)


class TrainAndAttack(MemInf):
    """Train what is missing and attack it, in one process."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(replace(settings, train_missing=True))


class Reconstruct:
    """Rebuild deleted records from both versions' answers, without any candidate, and hold them against the truth."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> None:
        """Attack, print the table and three deletions in words, write everything under `attack_data`."""
        watch = Stopwatch()
        study = _open(self.settings, watch)
        settings = study.settings
        if settings.keep_models != KEPT[0]:
            raise UserError("--exp reconstruct asks models about records of the adversary's own: --keep_models all")
        if settings.samples_to_evaluate != "in_out" or settings.placebo:
            raise UserError("--exp reconstruct rebuilds deleted records: leave out --samples_to_evaluate and --placebo")
        source = StudySource(study, run_files.answers_name(settings), watch)
        source.check()
        if settings.other_data:
            raise UserError("--exp reconstruct asks about records of the adversary's own: name one data set")
        views = source.views()
        if not views["target"].offers >= BOTH_VERSIONS:
            raise UserError("--exp reconstruct asks both versions: leave out --versions, and --queries 1")
        dataset, sets = study.dataset["target"], study.split["target"].sample_sets
        with watch.stage("reconstruct"):
            requests = [part.requests for part in sets]
            linear = is_linear(views["target"], settings.seed)  # it is the target that is asked and rebuilt from
            pool = study.split["target"].positive
            found = reconstruct(views["target"], dataset, pool, requests, settings.seed, linear)
        overlap = mean_overlap(sets)
        folder, kept = _to_keep(settings, study, "reconstruct")
        save_reconstruction(found, dataset, overlap, folder)
        write_json(folder / run_files.SETTINGS, kept)
        _keep_timing(folder, study, watch)
        say(report.described_study(dataset.title, settings, attacked=False))
        each = settings.sides["target"].unlearning_num
        best = ", held against the one that fits best" if each > 1 else ""
        deletions = plural(len(found.of("rebuilt")), "deletion")
        say(f"{deletions} of {plural(each, 'record')}, rebuilt without a candidate{best}\n")
        print("\n".join(lines(found, dataset, overlap, terminal_width())))
        if may_be_drawn(dataset):
            from lib_unlearning.reporting.rebuilt import draw_rebuilt  # needs matplotlib

            draw_rebuilt(found, dataset, folder)
        print(f"Results: {folder}")


def _to_keep(settings: Settings, study: Study, kind: str, **more: str) -> tuple[Path, dict[str, Any]]:
    """Where an experiment that is no attack keeps what it found, and the settings that it keeps beside it."""
    described = more | run_files.description(settings, study.shaped_answers())
    folder = settings.layout.attack_data / run_files.run_name(settings, described, kind)
    return folder, {"settings": settings.flat(), **described}


_MODEL_FILES = "--model_before and --model_after"
_EXAMINED = ("margin", "attack_model", "attacks", "seed", "pack", "show_ids", "tpr_margin")
# What is audited -> the flags that name it and say how it is read and judged.
_DOORS = {
    "--plan": ("original_label", "margin", "attack_model", "attacks", "seed"),
    "--verify": ("verify",),
    "--service": ("service", *_EXAMINED),
    _MODEL_FILES: (
        *_EXAMINED,
        "model_before",
        "model_after",
        "table",
        "trust",
        "original_label",
        "answers",
        "in_order",
    ),
    "--before and --after": (
        *_EXAMINED,
        *("before", "after", "cases", "retrained", "answers", "in_order"),
        *("shadow_before", "shadow_after", "shadow_cases", "shadow_retrained"),
    ),
}


def _door(inputs: AuditInputs) -> str:
    """Which of these an audit goes through."""
    plan, verify, service, _, files = _DOORS
    if inputs.plan:
        return plan
    if inputs.verify is not None:
        return verify
    if inputs.service is not None:
        return service
    return _MODEL_FILES if inputs.model_before or inputs.model_after or inputs.table else files


class Audit:
    """Audit answers that come from elsewhere, or verify an audit pack; the exit code says the verdict."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> int:
        """Examine, print the verdict, write verdict, page and pack; returns the exit code."""
        inputs, door = self.settings.audit, _door(self.settings.audit)
        if not 0.5 < self.settings.margin < 1:
            raise UserError(f"--margin {self.settings.margin:g}: of an audit it lies above 0.5 and below 1")
        self._refuse_other_doors(door)
        if inputs.plan:
            self._plan()
            return 0
        if inputs.verify is not None:
            return self._verify(inputs.verify)
        if inputs.pack is not None:
            check_place(inputs.pack)
        if inputs.service is not None:
            from lib_unlearning.audit.service import audit_service

            dossier = audit_service(inputs.service, self._options(), self.settings)
        elif door == _MODEL_FILES:
            from lib_unlearning.audit.model_files import audit_models

            found = audit_models(inputs, self._options())
            if isinstance(found, str):
                if inputs.pack is not None:
                    LOGGER.warning("--pack %s: without a verdict there is no pack", inputs.pack)
                say(found)
                return EXIT_CODES["no verdict"]
            dossier = found
        else:
            dossier = audit_files(inputs, self._options())
        folder = self.settings.layout.audits / dossier.digest[:12]
        pack = write_pack(dossier, inputs.pack or folder / "audit.zip")  # first: it may have another place
        write_json(folder / "verdict.json", dossier.verdict())
        write_page(dossier, folder / "audit.html", inputs.show_ids)
        say("\n".join([dossier.title, *dossier.notes, *dossier.lines()]))
        print(f"Page: {folder / 'audit.html'}\nPack: {pack}")
        return EXIT_CODES[dossier.examination.verdict]

    def _refuse_other_doors(self, door: str) -> None:
        """Refuse inputs that would not be looked at: who names them expects a verdict that rests on them."""
        others = {flag for name, flags in _DOORS.items() if name != door for flag in flags} - set(_DOORS[door])
        idle = sorted(others & set(self.settings.given))
        if idle:
            name = "label_column" if idle[0] == "original_label" else idle[0]
            raise UserError(f"--{name} has no effect on an audit by {door}; leave it out")

    def _plan(self) -> None:
        """A row for each number of requests a set."""
        from lib_unlearning.estimate import plans

        width, margin = terminal_width(), self.settings.margin - 0.5
        relative = not UNLEARNING_METHODS[self.settings.unlearning_method].exact
        found = list(plans(self.settings, lambda settings: _open(settings, Stopwatch()), margin, relative))
        columns = {
            "sets a side": [f"{plan.sets:,}" for plan in found],
            "own models a side": [f"{plan.own_models:,}" for plan in found],
            "models in all": [plan.failure or f"{plan.models:,}" for plan in found],
            "takes about": ["-" if plan.failure else duration(plan.seconds) for plan in found],
        }
        told = (
            f"To settle one question with a margin of {margin:.2g} around AUC 0.5 at a power of about 80 %, if nothing "
            f"shows ({self.settings.origins['target'].original_model}, {self.settings.unlearning_method}, "
            f"{plural(self.settings.num_process, 'process', 'es')}); all questions at once, and TPR at 1 % FPR, need "
            "more:"
        )
        say(f"{told}\n")
        print(
            "\n".join(
                table_lines(
                    {"requests a set": [str(plan.requests) for plan in found]}, columns, width, "a wider terminal"
                )
            )
        )

    def _options(self) -> AuditOptions:
        return AuditOptions(
            margin=round(self.settings.margin - 0.5, 10),
            tpr_margin=self.settings.audit.tpr_margin,
            attack_model=self.settings.attack_model,
            today=self.settings.attacks == "all",
            seed=self.settings.seed,
        )

    def _verify(self, path: Path) -> int:
        found = verify_pack(path)
        told = [
            *(f"does not agree: {line}" for line in found.complaints[:20]),
            *(f"note: {line}" for line in found.notes),
        ]
        print("\n".join([f"{path}: {found.checked} numbers and words computed again", *told]))
        print("The pack agrees with itself." if found.agrees else f"{len(found.complaints)} disagreements.")
        return 0 if found.agrees else 3


class Report:
    """Tables, figures and one HTML page from all results under `attack_data`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> None:
        """Write the report, or one comparison's part of it, and print what it shows."""
        from lib_unlearning.reporting.build import build_report  # needs matplotlib

        build_report(self.settings.layout, self.settings.comparison, self.settings.max_auc)


class Sweep:
    """All settings of one comparison, or of all of them, attacked one after another; then the report."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> None:
        """Say what it will take, do what is not done yet, and report."""
        from scripts.sweeps import SWEEPS

        only = self.settings.comparison
        for name in [only] if only else SWEEPS:
            self._sweep(name)
        if self.settings.dry_run:
            return
        if only and self.settings.attacks == "paper":  # today's attacks on it stand beside the paper's claims
            Report(self.settings).run()
        Report(replace(self.settings, comparison=None)).run()

    def _sweep(self, name: str) -> None:
        from tqdm import tqdm

        plan = self.plan(name)
        sizes = f"{plural(len(plan), 'setting')} x {plural(len(plan[0].seeds), 'seed')}"
        say(f"{name}: {sizes}, {plural(plan[0].num_process, 'process', 'es')}")
        say(f"From what is there: {self._cost(plan)}")
        if self.settings.dry_run:
            return
        hidden = True if self.settings.quiet else None
        for settings in tqdm(plan, desc=name, unit="setting", disable=hidden):
            with contextlib.redirect_stdout(io.StringIO()):
                run_experiment(settings)

    def plan(self, name: str) -> list[Settings]:
        """The settings of one comparison's runs."""
        from parameter_parser import parse_settings
        from scripts.sweeps import SWEEPS

        settings = self.settings
        scope = self._scope()
        seeds = settings.seeds if {"seed", "seeds"} & set(settings.given) else ((0,) if scope.small else (0, 1, 2))
        common = ["--exp=mem_inf", "--train_missing", "--skip_finished", "--quiet"]
        common += [f"--temp_data={settings.temp_data}", f"--seeds={','.join(map(str, seeds))}"]
        common += [f"--num_process={settings.num_process}", f"--attacks={settings.attacks}"]
        common += [f"--plugin={plugin}" for plugin in settings.plugins]
        common += ["--trust_cache"] * settings.trust_cache
        common += [f"--cluster={settings.cluster}"] * (settings.cluster is not None)
        return [parse_settings([*common, *line.split()]) for line in SWEEPS[name](scope)]

    def _scope(self) -> Scope:
        from scripts.sweeps import Scope

        layout = self.settings.layout

        def location() -> bool:
            try:
                data_prepare.obtain_dataset("location", "foursquare", layout, download=not self.settings.dry_run)
            except UserError as error:
                LOGGER.warning("location / foursquare cannot be had here (%s): synthetic venues take its place", error)
                return False
            return True

        pictures = {"mnist": "digit", "cifar10": "object"}
        images = tuple(name for name, label in pictures.items() if data_prepare.is_at_hand(name, label, layout))
        return Scope(self.settings.small, location, data_prepare.is_at_hand("accident", "severity", layout), images)

    def _cost(self, plan: Sequence[Settings]) -> str:
        from lib_unlearning.estimate import Estimator, asked, told

        estimator = Estimator()
        logging.disable(logging.WARNING)
        try:
            costs = [estimator.cost(_open(settings, Stopwatch()), attacks=True) for settings in plan]
        finally:
            logging.disable(logging.NOTSET)
        total = sum(costs[1:], costs[0]).times(len(plan[0].seeds))
        return f"{asked(plan)}; {told(total, plan[0].num_process, self.settings.temp_data)}"


class Status:
    """What is cached, and what is unfinished."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> None:
        """Print an entry a line, with sizes."""
        found = _entries(self.settings)
        say("\n".join(map(str, found)) or f"nothing under {self.settings.temp_data}")
        total = size_text(sum(entry.size for entry in found))
        unfinished_runs = sum(entry.unfinished for entry in found)
        say(f"{len(found)} entries, {total}, {unfinished_runs} unfinished, under {self.settings.temp_data}")


class Clean:
    """Deletes what runs left, by name; raw files stay."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self) -> None:
        """Say what will go, ask, and delete it."""
        found = _entries(self.settings)
        if not found:
            say(f"nothing to delete under {self.settings.temp_data}")
            return
        say("\n".join(map(str, found)))
        total = size_text(sum(entry.size for entry in found))
        if self.settings.dry_run or not self._agreed(f"delete these {len(found)} entries ({total})?"):
            print("nothing was deleted")
            return
        for entry in found:
            delete(entry)
        print(f"{len(found)} entries deleted, {total}")

    def _agreed(self, question: str) -> bool:
        if self.settings.yes:
            return True
        try:
            return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            raise UserError("--exp clean: nobody answers here; add --yes") from None


def _entries(settings: Settings) -> list[Entry]:
    """What lies under `--temp_data` and has `--name` in its name or kind."""
    return [entry for entry in inventory(settings.layout) if (settings.name or "") in f"{entry.kind} {entry.path.name}"]


# What parameter_parser.EXPERIMENTS explains.
EXPERIMENTS: dict[str, Callable[[Settings], Any]] = {
    "model_train": ModelTrain,
    "mem_inf": MemInf,
    "all": TrainAndAttack,
    "three_classes": ThreeWays,
    "reconstruct": Reconstruct,
    "stream": Stream,
    "audit": Audit,
    "report": Report,
    "sweep": Sweep,
    "status": Status,
    "clean": Clean,
}
_ONCE = ("audit", "report", "sweep", "status", "clean")  # whatever the seeds


def run_experiment(settings: Settings) -> int:
    """Run the experiment that the settings name, once for each seed; several attacks are summarised at the end.

    Returns the exit code: 0, or what an audit's verdict says.
    """
    LOGGER.debug("%s", settings)
    experiment = EXPERIMENTS[settings.exp]
    if settings.exp in _ONCE:
        with cluster(settings.cluster if settings.exp == "sweep" else None, settings.temp_data):
            return experiment(settings).run() or 0
    if settings.dry_run:
        _say_cost(settings)
        return 0
    with cluster(settings.cluster, settings.temp_data):
        left = [experiment(replace(settings, seed=seed)).run() for seed in settings.seeds]
    folders = [folder for folder in left if folder is not None]
    if len(folders) > 1:
        from lib_unlearning.reporting.archive import seed_summary

        print("\n".join(seed_summary(folders)))
    return 0


def _say_cost(settings: Settings) -> None:
    from lib_unlearning.estimate import Estimator, asked, told

    study = _open(settings, Stopwatch())
    say(report.described_study(study.dataset["target"].title, study.settings))
    attacks = settings.exp != "model_train"
    cost = Estimator().cost(study, attacks).times(len(settings.seeds))
    say("; ".join([*([asked([study.settings])] if attacks else []), told(cost, study.processes, settings.temp_data)]))

"""An audit of a service: train, delete and predict are HTTP calls (see `service_description`).

What was answered is kept, so that nothing is asked twice and a broken audit goes on where it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.attack import Budget
from lib_unlearning.audit.bench import Bench
from lib_unlearning.audit.dossier import Dossier
from lib_unlearning.audit.evidence import Options
from lib_unlearning.audit.examine import examine
from lib_unlearning.audit.probabilities import improbable
from lib_unlearning.audit.records import Records
from lib_unlearning.audit.service_client import Client, without_secrets
from lib_unlearning.audit.service_description import Description, read_description
from lib_unlearning.audit.subject import Answering
from lib_unlearning.cache.files import digest, digest_file
from lib_unlearning.errors import LOGGER, UserError, error_text
from lib_unlearning.record_split import SideSettings, mean_overlap, suitable_size
from lib_unlearning.seeds import integer_seed
from lib_unlearning.settings import Settings
from lib_unlearning.training.tasks import Trainer, TrainingTask
from lib_unlearning.unlearning.base import Deletion, Ensemble, UnlearningMethod, Work
from lib_unlearning.wording import plural

_STEADY = 1e-6  # by which two answers to the same question may differ


# ---------------------------------------------------------------- as models


class ServiceModel:
    """A model at the service; answers as the library asks."""

    def __init__(self, client: Client, identity: str) -> None:
        self.client = client
        self.identity = identity

    def predict_proba(self, features: Any) -> np.ndarray:
        """Posteriors [m, c], a batch a call."""
        rows, about = _plain_rows(features), self.client.about
        batches = [rows[start : start + about.batch] for start in range(0, len(rows), about.batch)]
        answers = [self._batch(batch) for batch in batches]
        return np.concatenate(answers)

    def _batch(self, rows: list[Any], purpose: str = "predict") -> np.ndarray:
        def numbers(found: Any) -> np.ndarray:
            try:
                answers = np.asarray(found, dtype=np.float64)
            except (TypeError, ValueError):
                raise UserError("the service's predictions are no numbers") from None
            if answers.ndim == 0 or len(answers) != len(rows):
                told = len(answers) if answers.ndim else "none of them"
                raise UserError(f"the service was asked about {len(rows)} records and answered about {told}")
            both = np.column_stack([1 - answers, answers]) if answers.ndim == 1 else answers
            if answers.ndim > 2 or not np.isfinite(answers).all() or len(improbable(both)):
                raise UserError("the service's predictions are no probabilities: non-negative, with the sum 1")
            return answers

        values = {"rows": rows, "model": self.identity}
        found: np.ndarray = self.client.ask(self.client.about.predict, values, purpose, numbers)
        return found

    def steadiness(self, features: Any) -> float:
        """Largest difference between two answers to the same question."""
        rows = _plain_rows(features)
        first, second = (self._batch(rows, f"the same question, {time}") for time in ("once", "again"))
        return float(np.abs(first - second).max())


def _plain_rows(features: Any) -> list[Any]:
    values = features.to_numpy() if hasattr(features, "to_numpy") else np.asarray(features)
    return [[None if part != part else part for part in row] for row in values.tolist()]


class ServiceTrainer(Trainer):
    """Trains by calls; several models are trained one after another."""

    def __init__(self, client: Client, records: Records) -> None:
        self.dataset = records
        self.records = records
        self.client = client
        self.title = "service"

    def fit(self, tasks: Sequence[TrainingTask]) -> list[Any]:
        """One trained model a task."""
        self.check(tasks)
        return [self.trained(task.records, task.seed, "train") for task in tasks]

    def trained(self, records: np.ndarray, seed: int, purpose: str) -> Answering:
        """A model on records [n]; different purposes are different models, equal ones the same."""
        values = {**_labelled(self.records, records), "seed": seed}
        identity = self.client.ask(self.client.about.train, values, purpose, _name)
        return Answering(ServiceModel(self.client, identity), self.records)


class ServiceUnlearning(UnlearningMethod):
    """Forgets by calls; where that changes the model in place, each deletion has a model of its own."""

    def __init__(self, trainer: ServiceTrainer) -> None:
        super().__init__(None, trainer.records)
        self.trainer = trainer

    def work(self, records: np.ndarray, deletions: Sequence[Deletion], seed: int) -> Work:
        """Train the original; then delete, each time from it."""
        trainer, start = self.trainer, integer_seed(seed, "shard", 0)
        (original,) = yield [TrainingTask(records, start)]
        unlearned = []
        for number, deletion in enumerate(deletions):
            base = trainer.trained(records, start, f"copy {number}") if trainer.client.about.in_place else original
            values = {**_labelled(trainer.records, deletion.records), "model": base.model.identity}
            check = _name if trainer.client.about.in_place else _other_than(base.model.identity)
            identity = trainer.client.ask(trainer.client.about.delete, values, f"delete {number}", check)
            model = Answering(ServiceModel(trainer.client, identity), trainer.records)
            unlearned.append(Ensemble([model], [records[~np.isin(records, deletion.records)]]))
        return Ensemble([original], [records]), unlearned


def _name(found: Any) -> str:
    """The name of a model: a text or a number."""
    if isinstance(found, bool) or not isinstance(found, str | int) or str(found).strip() == "":
        raise UserError(f"--service: {found!r:.40} is no name of a model; run again, it is not kept")
    return str(found)


def _other_than(told: str) -> Callable[[Any], str]:
    """What takes the name of a model, unless it is the one that was to forget."""

    def check(found: Any) -> str:
        if _name(found) == told:
            raise UserError(
                f"--service: delete gives the model {told} back that it was told of; say in_place: true if it did"
            )
        return str(found)

    return check


def _labelled(records: Records, chosen: np.ndarray) -> dict[str, Any]:
    return {"rows": _plain_rows(records.rows(chosen)), "labels": records.target[chosen].tolist()}


# ---------------------------------------------------------------- the audit


def audit_service(path: Path, options: Options, settings: Settings) -> Dossier:
    """Audit the service that a YAML file describes; raises `UserError` when it fails, and keeps its answers."""
    about = read_description(path)
    records = _records(about)
    kept = settings.layout.audits / f"service-{_address(about, records)[:12]}.sqlite"
    client = Client(about, kept)
    with contextlib.closing(client):
        trainer = ServiceTrainer(client, records)
        size = about.set_size or suitable_size(len(records))
        sizes = SideSettings(about.sets, size, about.requests, 1)
        bench = Bench.open(
            records,
            trainer,
            ServiceUnlearning(trainer),
            sizes,
            seed=options.seed,
            fresh=False,
            processes=1,
            quiet=settings.quiet,
        )
        answers = bench.answers()
        budget = Budget(own_models=settings.budget.own_models)
        views = bench.views(answers, budget)
        retrained = bench.retrained_views(answers, budget)
        options = replace(options, overlap=mean_overlap(bench.split["target"].sample_sets))
        evidence, examination = examine(views, retrained, options)
        notes = list(_notes(client, trainer, bench))
    LOGGER.info("%d calls made; answers are kept in %s", client.made, kept)
    return Dossier(
        title=f"service at {without_secrets(about.predict.url)}",
        settings={"sets": about.sets, "requests": about.requests, "set_size": size, "data": about.data.name},
        digests={"description": digest_file(path), "records": records.digest},
        evidence=evidence,
        options=options,
        examination=examination,
        ids=records.ids[evidence.cases["target"].record],
        notes=notes,
    )


def _address(about: Description, records: Records) -> str:
    """What answers depend on: whom is asked, how, about which records; neither budget nor pace."""
    calls = [about.train, about.delete, about.predict]
    return digest([[[call.url, call.method, call.body, call.result] for call in calls], records.digest])


def _notes(client: Client, trainer: ServiceTrainer, bench: Bench) -> Iterator[str]:
    sample = bench.split["shadow"].sample_sets[0].records
    model = trainer.trained(sample, 0, "steadiness").model
    away = model.steadiness(trainer.records.rows(sample[: client.about.batch]))
    about, size = client.about, bench.sizes.set_size
    yield f"{plural(about.sets, 'model')} a side on {size:,} records, {plural(about.requests, 'deletion')} each."
    yield client.told
    if client.made == 0:
        yield "Nothing was asked now: what the service does today is not shown. --exp clean drops its answers."
    if away > _STEADY:
        yield f"The service does not answer the same question alike: two answers differ by up to {away:.2g}."


def _records(about: Description) -> Records:
    import pandas as pd

    try:
        frame = pd.read_csv(about.data, encoding="utf-8-sig")
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise UserError(f"data {about.data}: {error_text(error)}") from error
    if about.label_column not in frame:
        raise UserError(f"data {about.data}: no column {about.label_column}")
    return Records.of(frame.drop(columns=about.label_column), frame[about.label_column].to_numpy())

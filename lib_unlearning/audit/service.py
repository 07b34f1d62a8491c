"""An audit of a service: train, delete and predict are HTTP calls that a YAML file describes.

    data: people.csv            # records to train on and ask about
    label_column: risk
    train:   {url: "https://models.example/train", body: {rows: $rows, labels: $labels, seed: $seed}, model: $.id}
    delete:  {url: "https://models.example/models/{model}/delete", body: {rows: $rows, labels: $labels}, model: $.id}
    predict: {url: "https://models.example/models/{model}/predict", body: {rows: $rows}, answers: $.probabilities}
    headers: {Authorization: "Bearer ${API_TOKEN}"}       # secrets come from the environment
    sets: 10                    # and requests, set_size, batch, rate, retries, timeout, budget, in_place

What was answered is kept, so that nothing is asked twice and a broken audit goes on where it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from lib_unlearning.attack import Budget
from lib_unlearning.audit.bench import Bench
from lib_unlearning.audit.dossier import Dossier
from lib_unlearning.audit.examine import Options, examine
from lib_unlearning.audit.probabilities import improbable
from lib_unlearning.audit.records import Records
from lib_unlearning.audit.subject import Answering
from lib_unlearning.cache.files import digest, digest_file
from lib_unlearning.errors import LOGGER, UserError, error_text
from lib_unlearning.record_split import SideSettings, mean_overlap, suitable_size
from lib_unlearning.report import plural
from lib_unlearning.seeds import integer_seed
from lib_unlearning.settings import Settings
from lib_unlearning.training.tasks import Trainer, TrainingTask
from lib_unlearning.unlearning.base import Deletion, Ensemble, UnlearningMethod, Work

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SECRET = re.compile(r"auth|token|key|secret|cookie|password", re.IGNORECASE)
_SCHEME = re.compile(r"^(bearer|basic|token)\b", re.IGNORECASE)  # may stand beside a secret
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_AGAIN = (408, 425, 429, 500, 502, 503, 504)  # statuses after which a call is tried again
_LONGEST_WAIT = 60.0
_LARGEST = 1e9
_METHODS = ("POST", "PUT", "PATCH", "GET", "DELETE")
_STEADY = 1e-6  # by which two answers to the same question may differ


@dataclass(frozen=True)
class Call:
    """One kind of call: address, body with `$rows`, `$labels`, `$seed`, and where in the answer the result is."""

    url: str
    body: Mapping[str, Any]
    result: str
    method: str = "POST"


@dataclass(frozen=True)
class Description:
    """What the YAML file says; numbers have defaults.

    Attributes:
        batch: records a predict call. rate: calls a second at most. retries: of a call that failed.
        budget: calls in all. in_place: whether delete changes the model that it is told of.
    """

    data: Path
    label_column: str
    train: Call
    delete: Call
    predict: Call
    headers: Mapping[str, str] = field(default_factory=dict)
    sets: int = 10
    requests: int = 20
    set_size: int | None = None
    batch: int = 500
    rate: float = 50.0
    retries: int = 5
    timeout: float = 60.0
    budget: int = 100_000
    in_place: bool = False


def read_description(path: Path) -> Description:
    """Read and check the YAML file; raises `UserError` naming what is wrong."""
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"--service {path}: {error_text(error)}") from error
    if not isinstance(found, dict):
        raise UserError(f"--service {path}: not a mapping")
    known = {part.name for part in fields(Description)}
    unknown = [str(name) for name in found if name not in known]
    lacking = [name for name in ("data", "label_column", "train", "delete", "predict") if name not in found]
    if unknown or lacking:
        told = [f"unknown {', '.join(unknown)}"] * bool(unknown) + [f"without {', '.join(lacking)}"] * bool(lacking)
        raise UserError(f"--service {path}: {'; '.join(told)}")
    calls = {name: _call(path, name, found[name]) for name in ("train", "delete", "predict")}
    headers = found.get("headers") or {}
    if not isinstance(headers, dict) or not all(isinstance(name, str) for name in headers):
        raise UserError(f"--service {path}: headers must be names with values, found {headers!r}")
    for name, value in headers.items():
        if _SECRET.search(name) and _SCHEME.sub("", _VARIABLE.sub("", str(value))).strip():
            raise UserError(f"--service {path}: header {name} holds a secret; write ${{NAME}} and set it outside")
    numbers = {
        "sets": 1,
        "requests": 1,
        "set_size": 2,
        "batch": 1,
        "retries": 0,
        "budget": 1,
        "rate": 1e-3,
        "timeout": 0.1,
    }
    for name, least in numbers.items():
        value = found.get(name, least)
        kinds: Any = (int, float) if name in ("rate", "timeout") else int
        if not isinstance(value, kinds) or isinstance(value, bool) or not least <= value <= _LARGEST:
            kind = "a number" if name in ("rate", "timeout") else "a whole number"
            raise UserError(f"--service {path}: {name} must be {kind} from {least:g} on, found {value!r}")
    if not isinstance(found["label_column"], str):
        raise UserError(f"--service {path}: label_column must be a name, found {found['label_column']!r}")
    if not isinstance(found.get("in_place", False), bool):
        raise UserError(f"--service {path}: in_place must be true or false, found {found['in_place']!r}")
    found["headers"] = found.get("headers") or {}
    return Description(**{**found, **calls, "data": (path.parent / str(found["data"])).resolve()})


def _call(path: Path, name: str, found: Any) -> Call:
    result = "answers" if name == "predict" else "model"
    if not isinstance(found, dict) or not {"url", "body"} <= found.keys() or result not in found:
        raise UserError(f"--service {path}: {name} needs url, body and {result}")
    try:
        parts = urlsplit(str(found["url"]))
        port = parts.port  # said to be wrong only when it is asked for
    except ValueError as error:
        raise UserError(f"--service {path}: {name}: {found['url']} is no address ({error_text(error)})") from error
    if port == 0 or parts.username or parts.password:
        raise UserError(f"--service {path}: {name}: an address holds no user, no password and no port 0")
    if _holds_secret(found["body"]):
        raise UserError(f"--service {path}: {name}: secrets belong into headers, as ${{NAME}}, not into the body")
    if str(found.get("method", "POST")).upper() not in _METHODS:
        raise UserError(f"--service {path}: {name}: method must be one of {', '.join(_METHODS)}")
    if _SECRET.search(parts.query):
        raise UserError(f"--service {path}: {name}: secrets belong into headers, as ${{NAME}}")
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise UserError(f"--service {path}: {name}: only https, or http on this machine")
    return Call(found["url"], found["body"], str(found[result]), str(found.get("method", "POST")).upper())


def _holds_secret(body: Any) -> bool:
    """Whether a body names something secret and gives it a text of its own."""
    if isinstance(body, Mapping):
        return any(
            _holds_secret(part) or (_SECRET.search(str(name)) and isinstance(part, str) and not part.startswith("$"))
            for name, part in body.items()
        )
    return any(map(_holds_secret, body)) if isinstance(body, list) else False


# ---------------------------------------------------------------- calls


class Client:
    """Makes calls slowly enough, again where they failed, and none twice.

    Args:
        kept: file of all answers so far.
    """

    def __init__(self, about: Description, kept: Path) -> None:
        self.about = about
        self.made = 0
        self._last = 0.0
        self._headers = {name: _with_secrets(str(value), name) for name, value in about.headers.items()}
        self._path = kept
        self._opened: sqlite3.Connection | None = None
        self._before = self._count() if kept.exists() else 0

    @property
    def _kept(self) -> sqlite3.Connection:
        """The file of all answers, made with the first of them."""
        if self._opened is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._opened = sqlite3.connect(self._path)
            self._opened.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT)")
        return self._opened

    def _count(self) -> int:
        """Calls that earlier runs made: an answer each."""
        found: int = self._kept.execute("SELECT COUNT(*) FROM answers").fetchone()[0]
        return found

    def _known(self, key: str) -> Any:
        if self._opened is None and not self._path.exists():
            return None
        return self._kept.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()

    def ask(self, call: Call, values: Mapping[str, Any], purpose: str, check: Callable[[Any], Any] = str) -> Any:
        """The result of a call, as `check` makes it; what that refuses is not kept.

        Raises `UserError` when the service fails for good or answers something else.
        """
        url = call.url.replace("{model}", str(values.get("model", "")))
        body = _filled(call.body, values)
        key = digest([url, call.method, body, purpose])
        row = self._known(key)
        result = json.loads(row[0]) if row else _at(self._fetched(call.method, url, body), call.result, url)
        found = check(result)
        if not row:  # the result alone: whatever else the service says is not ours to keep
            with self._kept:
                self._kept.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, json.dumps(result)))
        return found

    def _fetched(self, method: str, url: str, body: Any) -> Any:
        import requests

        reason = ""
        for attempt in range(self.about.retries + 1):
            self._wait(attempt)
            if self._before + self.made >= self.about.budget:
                raise UserError(
                    f"the budget of {self.about.budget:,} calls is spent, with those that earlier runs had answered; "
                    "raise it: what was answered is kept"
                )
            self.made += 1
            try:
                got = requests.request(
                    method, url, json=body, headers=self._headers, timeout=self.about.timeout, allow_redirects=False
                )
            except requests.exceptions.SSLError as error:
                raise UserError(f"{_bare(url)}: its certificate cannot be trusted ({type(error).__name__})") from None
            except requests.exceptions.RequestException as error:
                reason = type(error).__name__
                continue
            if got.status_code in _AGAIN:
                reason = f"status {got.status_code}"
                self._be_patient(got.headers.get("Retry-After"))
                continue
            if got.is_redirect or not got.ok:  # another address might get what is secret
                raise UserError(f"{_bare(url)} answers with status {got.status_code}")
            try:
                return got.json()
            except ValueError:
                reason = "an answer that is no JSON"
        raise UserError(
            f"{_bare(url)} failed {self.about.retries + 1} times ({reason}); what was answered is kept, run again later"
        )

    def _wait(self, attempt: int) -> None:
        pause = self._last + 1 / self.about.rate - time.monotonic()
        backoff = min(0.2 * 2 ** (attempt - 1), _LONGEST_WAIT) if attempt else 0.0
        time.sleep(max(pause, backoff, 0.0))
        self._last = time.monotonic()

    def _be_patient(self, told: str | None) -> None:
        with contextlib.suppress(TypeError, ValueError):
            time.sleep(min(float(told or 0), _LONGEST_WAIT))

    def close(self) -> None:
        """Close the file of answers."""
        if self._opened is not None:
            self._opened.close()


def _with_secrets(text: str, name: str) -> str:
    missing = [variable for variable in _VARIABLE.findall(text) if variable not in os.environ]
    if missing:
        raise UserError(f"header {name}: set {missing[0]} in the environment")
    whole = _VARIABLE.sub(lambda match: os.environ[match[1]], text)
    try:
        whole.encode("latin-1")
    except UnicodeEncodeError:
        raise UserError(f"header {name}: letters outside Latin-1 cannot be sent") from None
    return whole


def _bare(url: str) -> str:
    """An address without what may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{':' + str(parts.port) if parts.port else ''}{parts.path}"


def _filled(body: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(body, str) and body.startswith("$"):
        if body[1:] not in values:
            raise UserError(
                f"--service: {body} is not known here; there are {', '.join(f'${name}' for name in values)}"
            )
        return values[body[1:]]
    if isinstance(body, Mapping):
        return {name: _filled(part, values) for name, part in body.items()}
    return [_filled(part, values) for part in body] if isinstance(body, list) else body


def _at(answer: Any, path: str, url: str) -> Any:
    """What a path such as `$.model.id` or `$.rows[*].scores` finds in an answer."""
    steps = re.findall(r"\.(\w+)|\[(\d+|\*)\]", path)
    try:
        return _followed(answer, steps)
    except (KeyError, IndexError, TypeError):
        raise UserError(f"{_bare(url)}: its answer has no {path}") from None


def _followed(value: Any, steps: Sequence[tuple[str, str]]) -> Any:
    for number, (name, index) in enumerate(steps):
        if index == "*":
            return [_followed(part, steps[number + 1 :]) for part in value]
        value = value[name] if name else value[int(index)]
    return value


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
        identity = self.client.ask(self.client.about.train, values, purpose)
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
            check = str if trainer.client.about.in_place else _other_than(base.model.identity)
            identity = trainer.client.ask(trainer.client.about.delete, values, f"delete {number}", check)
            model = Answering(ServiceModel(trainer.client, identity), trainer.records)
            unlearned.append(Ensemble([model], [records[~np.isin(records, deletion.records)]]))
        return Ensemble([original], [records]), unlearned


def _other_than(told: str) -> Callable[[Any], str]:
    """What takes the name of a model, unless it is the one that was to forget."""

    def check(found: Any) -> str:
        if str(found) == told:
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
        title=f"service at {_bare(about.predict.url)}",
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

"""What is to be known of a service that is audited: a YAML file of calls.

data: people.csv            # records to train on and ask about
label_column: risk
train:   {url: "https://models.example/train", body: {rows: $rows, labels: $labels, seed: $seed}, model: $.id}
delete:  {url: "https://models.example/models/{model}/delete", body: {rows: $rows, labels: $labels}, model: $.id}
predict: {url: "https://models.example/models/{model}/predict", body: {rows: $rows}, answers: $.probabilities}
headers: {Authorization: "Bearer ${API_TOKEN}"}       # secrets come from the environment
sets: 10                    # and requests, set_size, batch, rate, retries, timeout, budget, in_place
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lib_unlearning.errors import UserError, error_text
from lib_unlearning.yaml_file import read_yaml

VARIABLE = re.compile(r"\$\{(\w+)\}")  # of the environment
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SECRET = re.compile(r"auth|token|key|secret|cookie|password", re.IGNORECASE)
_PLAIN = ("accept", "accept-language", "content-type", "user-agent")  # headers that are nobody's secret
_SCHEME = re.compile(r"^(bearer|basic|token)\b", re.IGNORECASE)  # may stand beside a secret
_LARGEST = 1e9
_METHODS = ("POST", "PUT", "PATCH", "GET", "DELETE")


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
    found = read_yaml(path, f"--service {path}")
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
        if name.lower() not in _PLAIN and _SCHEME.sub("", VARIABLE.sub("", str(value))).strip():
            raise UserError(
                f"--service {path}: header {name} may hold a secret; write ${{NAME}} and set it outside (only "
                f"{', '.join(_PLAIN)} stand in the file)"
            )
    numbers = {
        "sets": 2,
        "requests": 2,
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
    if parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in _LOOPBACK):
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

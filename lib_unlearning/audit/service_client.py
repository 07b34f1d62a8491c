"""Calls to a service: slowly enough, again where they failed, and none twice, as answers are kept."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from lib_unlearning.audit.service_description import VARIABLE, Call, Description
from lib_unlearning.cache.files import digest
from lib_unlearning.errors import UserError

_AGAIN = (408, 425, 429, 500, 502, 503, 504)  # statuses after which a call is tried again
_LONGEST_WAIT = 60.0


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
            self._opened.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT, asked TEXT)")
            if "asked" not in {row[1] for row in self._opened.execute("PRAGMA table_info(answers)")}:
                self._opened.execute("ALTER TABLE answers ADD COLUMN asked TEXT")  # of an earlier version
        return self._opened

    @property
    def told(self) -> str:
        """How many calls were made now, and from when the answers are."""
        first, last = self._kept.execute("SELECT MIN(asked), MAX(asked) FROM answers").fetchone()
        kept = f"; {self._before:,} answers are of earlier runs, which were not asked for again" if self._before else ""
        when = f"from {first} to {last}" if first else "at times that an earlier version did not keep"
        return f"Calls made now: {self.made:,}{kept}. The service answered {when}."

    def _count(self) -> int:
        """Calls that earlier runs made: an answer each."""
        found: int = self._kept.execute("SELECT COUNT(*) FROM answers").fetchone()[0]
        return found

    def _known(self, key: str) -> Any:
        if self._opened is None and not self._path.exists():
            return None
        return self._kept.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()

    def ask(self, call: Call, values: Mapping[str, Any], purpose: str, check: Callable[[Any], Any]) -> Any:
        """The result of a call, as `check` makes it; what that refuses is not kept.

        Raises `UserError` when the service fails for good or answers something else.
        """
        url = call.url.replace("{model}", quote(str(values.get("model", "")), safe=""))
        body = _filled(call.body, values)
        key = digest([url, call.method, body, purpose])
        row = self._known(key)
        result = json.loads(row[0]) if row else _at(self._fetched(call.method, url, body), call.result, url)
        found = check(result)
        if not row:  # the result alone: whatever else the service says is not ours to keep
            with self._kept:
                row = (key, json.dumps(result), datetime.now(timezone.utc).isoformat(timespec="seconds"))
                self._kept.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", row)
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
                raise UserError(
                    f"{without_secrets(url)}: its certificate cannot be trusted ({type(error).__name__})"
                ) from None
            except requests.exceptions.RequestException as error:
                reason = type(error).__name__
                continue
            if got.status_code in _AGAIN:
                reason = f"status {got.status_code}"
                self._be_patient(got.headers.get("Retry-After"))
                continue
            if got.is_redirect or not got.ok:  # another address might get what is secret
                raise UserError(f"{without_secrets(url)} answers with status {got.status_code}")
            try:
                return got.json()
            except ValueError:
                reason = "an answer that is no JSON"
        raise UserError(
            f"{without_secrets(url)} failed {self.about.retries + 1} times ({reason}); what was answered is kept, run "
            "again later"
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
    missing = [variable for variable in VARIABLE.findall(text) if not os.environ.get(variable)]
    if missing:
        raise UserError(f"header {name}: set {missing[0]} in the environment")
    whole = VARIABLE.sub(lambda match: os.environ[match[1]], text)
    if not whole.isprintable():
        raise UserError(f"header {name}: line ends and other letters that nobody sees cannot be sent")
    try:
        whole.encode("latin-1")
    except UnicodeEncodeError:
        raise UserError(f"header {name}: letters outside Latin-1 cannot be sent") from None
    return whole


def without_secrets(url: str) -> str:
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
        raise UserError(f"{without_secrets(url)}: its answer has no {path}") from None


def _followed(value: Any, steps: Sequence[tuple[str, str]]) -> Any:
    for number, (name, index) in enumerate(steps):
        if index == "*":
            return [_followed(part, steps[number + 1 :]) for part in value]
        value = value[name] if name else value[int(index)]
    return value

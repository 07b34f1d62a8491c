"""Audits of a service: what it costs, what is kept, and what is told where it fails."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from lib_unlearning.audit.service_description import read_description
from lib_unlearning.errors import UserError
from tests.audit.doors import audit, audited
from tests.audit.serving import Misbehaviour, service_flags


def test_a_service_that_fails_now_and_then_is_audited_and_asked_nothing_twice(
    tmp_path: Path, service: tuple[Path, Misbehaviour], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, bad = service
    monkeypatch.setenv("AUDIT_TOKEN", "s3cret-token")
    found = audited(tmp_path, *service_flags(path), code=4)  # four small sets settle nothing
    assert found["verdict"] == "undecided"
    assert bad.tokens == {"Bearer s3cret-token"}
    for left in (tmp_path / "out").rglob("*"):
        assert left.is_dir() or b"s3cret-token" not in left.read_bytes()
    made = bad.calls
    assert "Nothing was asked now" not in found["told"]
    (kept,) = (tmp_path / "out").rglob("*.sqlite")
    with contextlib.closing(sqlite3.connect(kept)) as answers, answers:  # as an earlier version left them
        answers.execute("ALTER TABLE answers DROP COLUMN asked")
    again = audited(tmp_path, *service_flags(path), code=4)
    assert "Nothing was asked now: what the service does today is not shown" in again["told"]
    assert again["digest"] == found["digest"]
    assert bad.calls == made
    path.write_text("# whoever reads this\nbudget: 5000\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    bad.closed = True  # what was answered needs no service
    assert audited(tmp_path, *service_flags(path), code=4)["verdict"] == "undecided"
    assert bad.calls == made


def test_a_budget_counts_all_runs_and_what_it_bought_is_kept(
    tmp_path: Path, service: tuple[Path, Misbehaviour], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, bad = service
    monkeypatch.setenv("AUDIT_TOKEN", "t")
    bad.fails_every = 10**6
    plain = path.read_text(encoding="utf-8")
    for _ in range(2):
        path.write_text(f"{plain}budget: 20\n", encoding="utf-8")
        assert "the budget of 20 calls is spent" in audit(tmp_path, *service_flags(path), code=2)
        assert bad.calls == 20
    path.write_text(plain, encoding="utf-8")
    audited(tmp_path, *service_flags(path), code=4)
    whole = bad.calls
    shutil.rmtree(tmp_path / "out")
    audited(tmp_path, *service_flags(path), code=4)
    assert bad.calls == 2 * whole  # nothing was asked twice, then all of it


def test_a_service_that_goes_down_or_lies_is_told_in_a_line(
    tmp_path: Path, service: tuple[Path, Misbehaviour], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, bad = service
    assert "set AUDIT_TOKEN" in audit(tmp_path, *service_flags(path), code=2)
    monkeypatch.setenv("AUDIT_TOKEN", "t")
    path.write_text(path.read_text(encoding="utf-8") + "retries: 1\n", encoding="utf-8")
    bad.short = True
    assert "answered about" in audit(tmp_path, *service_flags(path), code=2)
    bad.short, bad.wild = False, True
    for _ in range(2):  # a lie is not kept
        assert "no probabilities" in audit(tmp_path, *service_flags(path), code=2)
    bad.wild, bad.in_place = False, True
    assert "say in_place: true" in audit(tmp_path, *service_flags(path), code=2)
    bad.in_place, bad.closed = False, True
    assert "failed 2 times (status 503)" in audit(tmp_path, *service_flags(path), code=2)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("http://127.0.0.1", "http://models.example", "only https"),
        ("${AUDIT_TOKEN}", "hunter2", "may hold a secret"),
        ("label_column: risk\n", "", "without label_column"),
        ("sets: 4", "stes: 4", "unknown stes"),
        ("sets: 4", "sets: 4.5", "a whole number from 2"),
        ("sets: 4", "sets: true", "a whole number from 2"),
        ("rate: 5000", "rate: .nan", "rate must be a number"),
        ("rate: 5000", "timeout: .inf", "timeout must be a number"),
        ("label_column: risk", "label_column: [risk]", "label_column must be a name"),
        ('headers: {Authorization: "Bearer ${AUDIT_TOKEN}"}', "headers: [a]", "headers must be names"),
        ("seed: $seed", "api_token: abc", "not into the body"),
        ("http://127.0.0.1:", "http://127.0.0.1:9", "is no address"),
        ("http://127.0.0.1:", "https://me:pw@127.0.0.1:", "no user, no password"),
        ("delete: {", "delete: {method: FOO, ", "method must be one of"),
        ("sets: 4", "in_place: 1", "in_place must be true or false"),
    ],
)
def test_descriptions_that_cannot_be_are_refused(
    service: tuple[Path, Misbehaviour], old: str, new: str, complaint: str
) -> None:
    path, _ = service
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=complaint):
        read_description(path)


def test_a_service_that_is_down_leaves_nothing(
    tmp_path: Path, service: tuple[Path, Misbehaviour], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, bad = service
    monkeypatch.setenv("AUDIT_TOKEN", "t")
    bad.closed = True
    path.write_text(path.read_text(encoding="utf-8") + "retries: 0\n", encoding="utf-8")
    assert "failed 1 times" in audit(tmp_path, *service_flags(path), code=2)
    assert not list((tmp_path / "out").rglob("*.sqlite"))

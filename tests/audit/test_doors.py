"""Audits from outside: files of answers, packs with other numbers, a real service that misbehaves."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from lib_unlearning.audit.pack import verify_pack
from lib_unlearning.audit.service_description import read_description
from lib_unlearning.audit.side import AnswerFiles, read_side
from lib_unlearning.errors import UserError
from tests.audit.packs import parts_of, put_together
from tests.processes import command
from tests.test_commands import run

CASES = 400


def write_side(folder: Path, leak: float, prefix: str = "", seed: int = 0) -> list[str]:
    """Three files of a side whose deleted records lose `leak` of their logit; the flags that name them."""
    rng = np.random.default_rng(seed)
    deleted, label = np.tile([1, 0], CASES // 2), rng.integers(0, 3, CASES)
    logits = rng.normal(size=(CASES, 3))
    later = logits + rng.normal(0, 0.05, (CASES, 3))
    later[np.arange(CASES), label] -= leak * deleted
    flags = []
    for name, values in (("before", logits), ("after", later)):
        powers = np.exp(values)
        pd.DataFrame(powers / powers.sum(axis=1, keepdims=True)).to_csv(folder / f"{prefix}{name}.csv", index=False)
        flags += [f"--{prefix}{name}", str(folder / f"{prefix}{name}.csv")]
    table = pd.DataFrame({"label": label, "deleted": deleted, "set": np.arange(CASES) // 40})
    table.to_csv(folder / f"{prefix}cases.csv", index=False)
    return [*flags, f"--{prefix}cases", str(folder / f"{prefix}cases.csv")]


def audit(tmp_path: Path, *flags: str, code: int) -> str:
    return run(tmp_path / "out", "--exp", "audit", *flags, code=code, small=False)


def audited(tmp_path: Path, *flags: str, code: int) -> dict[str, Any]:
    """Run an audit that prints a verdict, whatever its exit code."""
    project = Path(__file__).resolve().parent.parent.parent
    command = [sys.executable, str(project / "main.py"), "--exp", "audit", *flags, "--temp_data", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    page = Path(done.stdout.partition("Page: ")[2].splitlines()[0])
    found: dict[str, Any] = json.loads(page.with_name("verdict.json").read_text(encoding="utf-8"))
    return found | {"told": done.stdout}


def test_a_leak_in_two_files_is_found(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 0.5)
    alone = audited(tmp_path, *flags, code=3)
    assert alone["verdict"] == "leaks"
    assert "no shadow side" in alone["told"]
    both = audited(tmp_path, *flags, *write_side(tmp_path, 0.5, "shadow_", 1), code=3)
    assert both["attacks"][both["chosen"]]["auc"]["value"] > 0.95


@pytest.mark.parametrize("sides", [("",), ("", "shadow_")])
def test_files_are_held_against_retrained_models(tmp_path: Path, sides: tuple[str, ...]) -> None:
    """A deletion that shows as much as retraining is equivalent; one that shows where retraining does not leaks."""
    flags = []
    for number, side in enumerate(sides):
        flags += write_side(tmp_path, 0.5, side, number)
        shutil.copy(tmp_path / f"{side}after.csv", tmp_path / f"{side}retrained.csv")
        flags += [f"--{side}retrained", str(tmp_path / f"{side}retrained.csv")]
    found = audited(tmp_path, *flags, "--margin", "0.65", code=0)
    assert found["verdict"] == "equivalent"
    assert "shows, TPR at 1 % FPR" in {question["name"] for question in found["questions"]}
    pack = found["told"].partition("Pack: ")[2].strip()
    assert "agrees with itself" in audit(tmp_path, "--verify", pack, code=0)
    for side in sides:
        shutil.copy(tmp_path / f"{side}before.csv", tmp_path / f"{side}retrained.csv")
    assert audited(tmp_path, *flags, code=3)["verdict"] == "leaks"
    if "shadow_" in sides:
        assert "or neither" in audit(tmp_path, *flags[:-2], code=2)
    pd.read_csv(tmp_path / "retrained.csv").iloc[:-1].to_csv(tmp_path / "retrained.csv", index=False)
    assert "399 rows, the cases 400" in audit(tmp_path, *flags, code=2)


def test_no_leak_is_found_where_there_is_none(tmp_path: Path) -> None:
    found = audited(tmp_path, *write_side(tmp_path, 0.0), "--margin", "0.7", "--tpr_margin", "0.25", code=0)
    assert found["verdict"] == "below"


def test_cases_of_one_class_are_said_to_be_that(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 0.5)
    frames = [pd.read_csv(path) for path in flags[1::2]]
    chosen = frames[2]["label"] == 1
    for frame, path in zip(frames, flags[1::2], strict=True):
        frame[chosen].to_csv(path, index=False)
    assert "of one class (label 1)" in " ".join(audited(tmp_path, *flags, code=3)["told"].split())


def test_logits_labels_and_other_formats(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 0.5)
    for name in ("before", "after"):
        frame = pd.read_csv(tmp_path / f"{name}.csv")
        frame.apply(np.log).to_parquet(tmp_path / f"{name}.parquet")
    cases = pd.read_csv(tmp_path / "cases.csv")
    columns = [cases[name].to_numpy() for name in ("label", "deleted", "set")]
    np.savez(tmp_path / "cases.npz", label=columns[0], deleted=columns[1], set=columns[2])
    other = ["--before", "before.parquet", "--after", "after.parquet", "--cases", "cases.npz", "--answers", "logits"]
    other = [str(tmp_path / part) if "." in part else part for part in other]
    plain, logits = (audited(tmp_path, *some, code=3) for some in (flags, other))
    assert plain["attacks"]["label_logit"]["auc"] == logits["attacks"]["label_logit"]["auc"]


def broken(folder: Path, what: str) -> None:
    cases = pd.read_csv(folder / "cases.csv")
    values = pd.read_csv(folder / "before.csv").to_numpy()
    if what == "nan":
        values[3, 1] = np.nan
    elif what == "sum":
        values[3, 1] += 0.5
    elif what == "rows":
        values = values[:-1]
    elif what == "classes":
        values = values[:, :2] / values[:, :2].sum(axis=1, keepdims=True)
    elif what == "label":
        cases.loc[3, "label"] = 7
    elif what == "strangers":
        cases["deleted"] = 1
    elif what == "column":
        cases = cases.drop(columns="deleted")
    elif what == "words":
        cases["deleted"] = "perhaps"
    elif what == "empty":
        values = values[:0]
    elif what == "record":
        cases["record"] = [None if row == 4 else f"p{row}" for row in range(CASES)]
    elif what == "nan flag":
        cases["deleted"] = np.where(np.arange(CASES) == 3, np.nan, cases["deleted"])
    elif what == "huge":
        values = np.where(np.arange(CASES) == 3, 10**9, cases["label"])[:, None]
    elif what == "one a set":
        cases["set"] = np.arange(CASES) // 2
    elif what == "one set":
        cases["set"] = 0
    elif what == "index":
        values = np.column_stack([np.arange(len(values)), values])
    cases.to_csv(folder / "cases.csv", index=False)
    frame = pd.DataFrame(values)
    if what == "order":
        frame = frame[[1, 0, 2]]
    if what == "other class":
        frame.columns = ["0", "1", "fox"]
    if what == "swapped":
        (folder / "before.csv").rename(folder / "kept.csv")
        (folder / "after.csv").rename(folder / "before.csv")
        (folder / "kept.csv").rename(folder / "after.csv")
        return
    frame.to_csv(folder / "before.csv", index=False)


@pytest.mark.parametrize(
    ("what", "complaint"),
    [
        ("nan", "row 4 holds NaN"),
        ("sum", "row 4 is no probability"),
        ("rows", "399 rows, the cases 400"),
        ("classes", "classes"),
        ("label", "labels"),
        ("strangers", "no strangers"),
        ("column", "no column deleted"),
        ("words", "0 or 1"),
        ("empty", "no rows"),
        ("index", "numbers the rows"),
        ("record", "record: row 5 holds none"),
        ("nan flag", "found 'nan'"),
        ("huge", "there may be 1,000 classes"),
        ("one a set", "200 sets, of 1 strangers at the least"),
        ("one set", "1 sets, of 200"),
        ("order", "in another order"),
        ("other class", "other columns than --before"),
        ("swapped", "are the two swapped"),
    ],
)
def test_bad_files_are_refused_in_a_line_and_nothing_is_written(tmp_path: Path, what: str, complaint: str) -> None:
    write_side(tmp_path, 0.5)
    broken(tmp_path, what)
    files = AnswerFiles(*(tmp_path / f"{name}.csv" for name in ("before", "after", "cases")))
    with pytest.raises(UserError, match=complaint) as raised:
        read_side(files, "auto", 0)
    assert "\n" not in str(raised.value)


def test_sides_that_cannot_be_held_against_each_other(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 0.5)
    same = [flag.replace("--", "--shadow_") for flag in flags]
    assert "hold the same answers" in audit(tmp_path, *flags, *same, code=2)
    turned = write_side(tmp_path, 0.5, "shadow_", 1)
    for name in ("before", "after"):
        frame = pd.read_csv(tmp_path / f"shadow_{name}.csv")
        frame[frame.columns[::-1]].to_csv(tmp_path / f"shadow_{name}.csv", index=False)
    assert "in another order" in audit(tmp_path, *flags, *turned, "--in_order", code=2)
    shadow = write_side(tmp_path, 0.5, "shadow_", 1)
    for name in ("before", "after"):
        two = pd.read_csv(tmp_path / f"shadow_{name}.csv").iloc[:, :2]
        two.div(two.sum(axis=1), axis=0).to_csv(tmp_path / f"shadow_{name}.csv", index=False)
    cases = pd.read_csv(tmp_path / "shadow_cases.csv")
    cases.assign(label=cases["label"] % 2).to_csv(tmp_path / "shadow_cases.csv", index=False)
    assert "--shadow_before has 2 classes, --before 3" in audit(tmp_path, *flags, *shadow, code=2)


def test_records_are_called_what_the_file_calls_them(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 2.0)
    shadow = write_side(tmp_path, 2.0, "shadow_", 1)
    cases = pd.read_csv(tmp_path / "cases.csv")
    cases.assign(record=np.arange(CASES) + 900_000).to_csv(tmp_path / "cases.csv", index=False)
    audited(tmp_path, *flags, *shadow, "--show_ids", "true", code=3)
    (page,) = (tmp_path / "out" / "audits").rglob("audit.html")
    named = re.findall(r"<tr><td>(\d+)</td><td>[\d.]+</td><td>deleted", page.read_text(encoding="utf-8"))
    assert named
    assert all(900_000 <= int(name) < 900_000 + CASES and int(name) % 2 == 0 for name in named)


def test_labels_alone_may_be_called_label(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 3.0)
    for name in ("before", "after"):
        answers = pd.read_csv(tmp_path / f"{name}.csv").to_numpy().argmax(axis=1)
        pd.DataFrame({"label": answers}).to_csv(tmp_path / f"{name}.csv", index=False)
    assert audited(tmp_path, *flags, "--answers", "labels", code=3)["verdict"] == "leaks"


def test_flags_that_an_audit_does_not_know(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 0.5)
    assert "--plan says" in audit(tmp_path, *flags, "--dry_run", code=2)
    words = ["--exp", "audit", *flags, "--placebo", "--seeds", "0,1", "--temp_data", str(tmp_path / "out")]
    done = command("main.py", words, tmp_path)
    assert "--placebo has no effect on --exp audit" in done.stderr
    assert "--seeds has no effect on --exp audit" in done.stderr


def test_audits_are_listed_and_purged(tmp_path: Path) -> None:
    audited(tmp_path, *write_side(tmp_path, 0.5), code=3)
    assert "audits: " in run(tmp_path / "out", "--exp", "status", small=False)
    run(tmp_path / "out", "--exp", "clean", "--yes", "true", small=False)
    assert not list((tmp_path / "out" / "audits").iterdir())


def test_swapped_files_and_missing_flags_are_told(tmp_path: Path) -> None:
    write_side(tmp_path, 0.5)
    files = {name: str(tmp_path / f"{name}.csv") for name in ("before", "after", "cases")}
    swapped = ["--before", files["after"], "--after", files["before"], "--cases", files["cases"]]
    assert "swapped" in audit(tmp_path, *swapped, code=2)
    assert "--after, --cases missing" in audit(tmp_path, "--before", files["before"], code=2)
    assert not (tmp_path / "out" / "audits").exists()


def test_a_pack_with_other_numbers_does_not_verify(tmp_path: Path) -> None:
    audited(tmp_path, *write_side(tmp_path, 0.5), "--pack", str(tmp_path / "audit.zip"), code=3)
    told = run(tmp_path / "out", "--exp", "audit", "--verify", str(tmp_path / "audit.zip"), small=False)
    assert "agrees with itself" in told
    parts = parts_of(tmp_path / "audit.zip")
    verdict = json.loads(parts["verdict.json"])
    verdict["verdict"] = "below"
    verdict["attacks"]["label_logit"]["auc"]["value"] = 0.51
    parts["verdict.json"] = json.dumps(verdict).encode()
    found = verify_pack(put_together(parts, tmp_path / "forged.zip"))
    assert any("verdict.verdict" in line for line in found.complaints)
    assert any("label_logit.auc.value" in line for line in found.complaints)


def test_packs_that_were_made_to_deceive_or_to_break(tmp_path: Path) -> None:
    """Two parts of one name, more than an audit, endless nesting, and bits that fell over: refused in a line."""
    audited(tmp_path, *write_side(tmp_path, 0.5), "--pack", str(tmp_path / "audit.zip"), code=3)
    honest = parts_of(tmp_path / "audit.zip")
    whole = (tmp_path / "audit.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        for name, part in {"verdict.jso_": b"{}", **honest}.items():
            archive.writestr(name, part)
    twice = (tmp_path / "twice.zip").read_bytes().replace(b"verdict.jso_", b"verdict.json")
    (tmp_path / "twice.zip").write_bytes(twice)
    forged = [tmp_path / "twice.zip"]
    settings = json.loads(honest["settings.json"]) | {"more": 1}
    arrays = dict(np.load(io.BytesIO(honest["answers.npz"])))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, more=np.zeros(3))
    for number, (name, part) in enumerate(
        (
            *((name, b"[" * 100_000) for name in ("settings.json", "verdict.json")),
            ("settings.json", json.dumps(settings).encode()),
            ("answers.npz", buffer.getvalue()),
        )
    ):
        forged.append(put_together({**honest, name: part}, tmp_path / f"forged{number}.zip"))
    deep = tmp_path / "deep.zip"
    with zipfile.ZipFile(deep, "w") as archive:
        for name, part in {**honest, "manifest.json": b"[" * 100_000}.items():
            archive.writestr(name, part)
    for path in (*forged, deep):
        with pytest.raises(UserError, match=path.name):
            verify_pack(path)
    inner = honest["answers.npz"]
    for place in range(7, len(inner), len(inner) // 40):
        part = inner[:place] + bytes([inner[place] ^ 4]) + inner[place + 1 :]
        path = put_together({**honest, "answers.npz": part}, tmp_path / "flipped.zip")
        try:
            found = verify_pack(path)
        except UserError:
            continue
        assert not found.agrees or (parts_of(path) and _same_arrays(part, inner))
    for place in range(5, len(whole), len(whole) // 40):
        (tmp_path / "flipped.zip").write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            assert verify_pack(tmp_path / "flipped.zip").agrees
        except UserError:
            continue
        assert parts_of(tmp_path / "flipped.zip") == honest


def _same_arrays(one: bytes, other: bytes) -> bool:
    both = [np.load(io.BytesIO(content)) for content in (one, other)]
    return both[0].files == both[1].files and all(
        np.array_equal(both[0][name], both[1][name]) for name in both[0].files
    )


def test_files_that_never_end_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    flags = write_side(tmp_path, 0.5)
    for name in ("pipe.csv", "zero.csv"):
        for place in (1, 5):
            broken = [*flags[:place], str(tmp_path / name), *flags[place + 1 :]]
            assert "no regular file" in audit(tmp_path, *broken, code=2)
        for flag in ("--verify", "--service", "--config"):
            assert "no regular file" in audit(tmp_path, flag, str(tmp_path / name), code=2)


@pytest.mark.parametrize("text", ["[" * 100_000, "a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]\n", "- 1\n"])
def test_yaml_that_grows_without_end_is_not_unfolded(tmp_path: Path, text: str) -> None:
    (tmp_path / "deep.yaml").write_text(text, encoding="utf-8")
    for flag in ("--service", "--config"):
        told = audit(tmp_path, flag, str(tmp_path / "deep.yaml"), code=2)
        assert f"{flag} {tmp_path / 'deep.yaml'}" in told
        assert len(told.splitlines()) == 1


# ---------------------------------------------------------------- names


def same_people(folder: Path, names: list[str], others: list[str], wrong: int = 0) -> list[str]:
    """Both sides ask about the same 400 people, by names that may be written in two ways; nothing leaks but who they
    are. `wrong` labels of the shadow side are spoilt."""
    flags = [*write_side(folder, 0.0), *write_side(folder, 0.0, "shadow_", 1)]
    cases, shadow = (pd.read_csv(folder / f"{side}cases.csv") for side in ("", "shadow_"))
    label = cases["label"].to_numpy().copy()
    label[:wrong] = (label[:wrong] + 1) % 3
    cases.assign(record=names).to_csv(folder / "cases.csv", index=False)
    shadow.assign(record=others, label=label).to_csv(folder / "shadow_cases.csv", index=False)
    return flags


@pytest.mark.parametrize("wrong", [0, 3, 40])
@pytest.mark.parametrize("others", ["{}", "{:04d}", "0{}"])
def test_the_same_people_on_both_sides_are_refused_however_they_are_written(
    tmp_path: Path, others: str, wrong: int
) -> None:
    numbers = range(1, CASES + 1)
    flags = same_people(tmp_path, [str(number) for number in numbers], [others.format(n) for n in numbers], wrong)
    assert "of the same records" in audit(tmp_path, *flags, code=2)


def test_other_people_may_have_the_same_numbers(tmp_path: Path) -> None:
    flags = [*write_side(tmp_path, 0.5), *write_side(tmp_path, 0.5, "shadow_", 1)]
    for side in ("", "shadow_"):
        frame = pd.read_csv(tmp_path / f"{side}cases.csv")
        frame.assign(record=np.arange(CASES)).to_csv(tmp_path / f"{side}cases.csv", index=False)
    assert audited(tmp_path, *flags, code=3)["verdict"] == "leaks"


def test_names_stay_as_they_are_written(tmp_path: Path) -> None:
    """7, 007 and 7.0 are three people, NA is one, and so are numbers that no double holds."""
    flags = write_side(tmp_path, 2.0)
    frame = pd.read_csv(tmp_path / "cases.csv")
    names = [f"{2**60 + number}" for number in range(CASES)]
    names[:6] = ["7", "007", "7.0", "NA", "1e0", "null"]
    frame.assign(record=names).to_csv(tmp_path / "cases.csv", index=False)
    side = read_side(AnswerFiles(*(tmp_path / f"{name}.csv" for name in ("before", "after", "cases"))), "auto", 0)
    assert side.names.tolist() == names
    assert len(np.unique(side.cases.record)) == CASES
    frame.assign(record=["", *names[1:]]).to_csv(tmp_path / "cases.csv", index=False)
    assert "row 1 holds none" in audit(tmp_path, *flags, code=2)


def test_swapped_models_are_told_and_may_be_meant(tmp_path: Path) -> None:
    flags = two_models(tmp_path, 40, RandomForestClassifier(20, random_state=0))
    swapped = [flags[0].replace("before.joblib", "after.joblib"), flags[1].replace("after.joblib", "before.joblib")]
    told = audit(tmp_path, *swapped, *flags[2:], "--trust", code=2)
    assert "are the two swapped" in told
    assert not (tmp_path / "out" / "audits").exists()
    words = ["--exp", "audit", *swapped, *flags[2:], "--trust", "--in_order", "--temp_data", str(tmp_path / "out")]
    assert command("main.py", words, tmp_path).returncode in (3, 4)


# ---------------------------------------------------------------- a service


class Misbehaviour:
    """What the service does wrong, and what it was asked."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails_every = 60
        self.short = False
        self.wild = False
        self.in_place = False
        self.closed = False
        self.tokens: set[str] = set()


def make_app(bad: Misbehaviour) -> Any:
    app, models = FastAPI(), dict[str, Any]()

    def store(rows: list[list[float]], labels: list[int]) -> dict[str, str]:
        models[str(len(models))] = (np.array(rows), np.array(labels), LogisticRegression().fit(rows, labels))
        return {"id": str(len(models) - 1)}

    @app.middleware("http")
    async def misbehave(request: Request, call_next: Any) -> Any:
        bad.calls += 1
        bad.tokens.add(request.headers.get("authorization", ""))
        if bad.closed or bad.calls % bad.fails_every == 0:
            return JSONResponse({"sorry": True}, status_code=503, headers={"Retry-After": "0.01"})
        return await call_next(request)

    @app.post("/train")
    async def train(request: Request) -> Any:
        body = await request.json()
        return store(body["rows"], body["labels"])

    @app.post("/models/{model}/delete")
    async def delete(model: str, request: Request) -> Any:
        body = await request.json()
        if model not in models:
            raise HTTPException(404)
        rows, labels, _ = models[model]
        if bad.in_place:
            return {"id": model}
        kept = ~(rows[:, None] == np.array(body["rows"])[None]).all(axis=2).any(axis=1)
        return store(rows[kept].tolist(), labels[kept].tolist())

    @app.post("/models/{model}/predict")
    async def predict(model: str, request: Request) -> Any:
        rows = (await request.json())["rows"]
        answers = models[model][2].predict_proba(rows).round(5).tolist()
        answers[0] = [0.9, 0.9] if bad.wild else answers[0]
        return {"result": [{"scores": answer} for answer in answers[: -1 if bad.short else None]]}

    return app


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[Path, Misbehaviour]]:
    """A running server on loopback, its description, and what it does wrong."""
    import uvicorn

    bad = Misbehaviour()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(make_app(bad), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(600, 4))
    label = (features @ [1, -1, 0.5, 0] + rng.logistic(size=600) > 0).astype(int)
    pd.DataFrame(features.round(4)).assign(risk=label).to_csv(tmp_path / "people.csv", index=False)
    path = tmp_path / "service.yaml"
    url = f"http://127.0.0.1:{port}"
    path.write_text(
        "data: people.csv\nlabel_column: risk\nsets: 4\nrequests: 4\nset_size: 50\nrate: 5000\n"
        f'train: {{url: "{url}/train", body: {{rows: $rows, labels: $labels, seed: $seed}}, model: $.id}}\n'
        f'delete: {{url: "{url}/models/{{model}}/delete", body: {{rows: $rows}}, model: $.id}}\n'
        f'predict: {{url: "{url}/models/{{model}}/predict", body: {{rows: $rows}}, answers: "$.result[*].scores"}}\n'
        'headers: {Authorization: "Bearer ${AUDIT_TOKEN}"}\n',
        encoding="utf-8",
    )
    yield path, bad
    server.should_exit = True
    thread.join(timeout=10)


def service_flags(path: Path) -> list[str]:
    return ["--service", str(path), "--own_models", "0", "--attack_model", "LR", "--attacks", "paper", "--quiet"]


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
    again = audited(tmp_path, *service_flags(path), code=4)
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


# ---------------------------------------------------------------- two models and a table


def two_models(folder: Path, gone: int, model: Any = None) -> list[str]:
    """Models (logistic regressions) of 300 people with and without some, and a table of these and of strangers."""
    rng = np.random.default_rng(gone)
    rows = pd.DataFrame(rng.normal(size=(900, 4)), columns=["age", "income", "debt", "years"])
    labels = np.where(rows["age"] - rows["debt"] + rng.normal(size=900) > 0, "good", "bad")
    for name, first in (("before", 0), ("after", gone)):
        usual = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10, max_iter=1000))
        found = usual if model is None else clone(model)
        joblib.dump(found.fit(rows[first:300], labels[first:300]), folder / f"{name}.joblib")
    kept = np.r_[0:gone, 300:900]
    table = pd.DataFrame(rows.to_numpy()[kept], columns=rows.columns)
    table = table.assign(risk=labels[kept], deleted=(kept < 300).astype(int))
    table.to_csv(folder / "people.csv", index=False)
    models = [f"--model_{name}={folder / f'{name}.joblib'}" for name in ("before", "after")]
    return [*models, f"--table={folder / 'people.csv'}", "--label_column=risk"]


class Mirrored:
    """The same model, its classes the other way round."""

    def __init__(self, model: Any) -> None:
        self.model, self.classes_ = model, model.classes_[::-1]

    def predict_proba(self, rows: Any) -> np.ndarray:
        found: np.ndarray = self.model.predict_proba(pd.DataFrame(rows, columns=self.model.feature_names_in_))[:, ::-1]
        return found


def test_two_models_and_a_table(tmp_path: Path) -> None:
    flags = two_models(tmp_path, 20)
    assert "opening a pickle runs whatever its maker put there" in audit(tmp_path, *flags, code=2)
    done = command("main.py", ["--exp", "audit", *flags, "--trust", "--temp_data", str(tmp_path / "out")], tmp_path)
    assert done.returncode in (3, 4), done.stderr
    assert "the one that counts (residual_gradient) was named beforehand" in " ".join(done.stdout.split())
    pack = done.stdout.partition("Pack: ")[2].strip()
    assert "agrees with itself" in audit(tmp_path, "--verify", pack, code=0)


def test_one_deletion_between_two_models_is_ranked(tmp_path: Path) -> None:
    flags = two_models(tmp_path, 1)
    told = command("main.py", ["--exp", "audit", *flags, "--trust", "--temp_data", str(tmp_path / "out")], tmp_path)
    assert told.returncode == 4
    told_flat = " ".join(told.stdout.split())
    place = re.search(r"the deleted record is number (\d+) among\s+301 cases", told_flat)
    assert place is not None
    assert re.search(r"rebuilt: class right, \d of 4 attributes exact, cosine 0.99\d, number 1 of 301", told_flat)
    assert re.search(
        r"placebo \(a stranger\): class \w+, \d of 4 attributes exact, cosine -?0.\d+, number \d{2,}", told_flat
    )
    assert int(place[1]) <= 3
    for change, complaint in (
        ({"--label_column=risk": "--label_column=rsk"}, "no column rsk"),
        ({flags[1]: f"--model_after={tmp_path / 'none.joblib'}"}, "there is no such file"),
        ({flags[1]: f"--model_after={tmp_path / 'people.csv'}"}, "not one of .onnx"),
        ({flags[0]: "--name=x"}, "--model_before missing"),
    ):
        assert complaint in audit(tmp_path, *(change.get(flag, flag) for flag in flags), "--trust", code=2)
    after = joblib.load(tmp_path / "after.joblib")
    twin = Mirrored(after)
    joblib.dump(twin, tmp_path / "after.joblib")
    done = command("main.py", ["--exp", "audit", *flags, "--trust", "--temp_data", str(tmp_path / "out")], tmp_path)
    assert f"number {place[1]} among" in " ".join(done.stdout.split())
    (tmp_path / "after.joblib").write_bytes(b"no pickle")
    assert "cannot be opened" in audit(tmp_path, *flags, "--trust", code=2)
    joblib.dump(StandardScaler(), tmp_path / "after.joblib")
    assert "a StandardScaler has no predict_proba" in audit(tmp_path, *flags, "--trust", code=2)


def _two_regressions(folder: Path, gone: int) -> list[str]:
    """Linear regressions of 300 people with and without some of them, and a table of these and of strangers."""
    rng = np.random.default_rng(gone)
    rows = pd.DataFrame(rng.normal(size=(900, 4)).round(2), columns=["age", "income", "debt", "years"])
    price = 3 * rows["age"] - rows["debt"] + rng.normal(size=900)
    for name, first in (("before", 0), ("after", gone)):
        joblib.dump(LinearRegression().fit(rows[first:300], price[first:300]), folder / f"{name}.joblib")
    kept = np.r_[0:gone, 300:900]
    table = rows.iloc[kept].assign(price=price[kept], deleted=(kept < 300).astype(int))
    table.to_csv(folder / "people.csv", index=False)
    models = [f"--model_{name}={folder / f'{name}.joblib'}" for name in ("before", "after")]
    return [*models, f"--table={folder / 'people.csv'}", "--label_column=price"]


def test_two_regressions_and_a_table(tmp_path: Path) -> None:
    flags = _two_regressions(tmp_path, 20)
    done = command("main.py", ["--exp", "audit", *flags, "--trust", "--temp_data", str(tmp_path / "out")], tmp_path)
    assert done.returncode in (3, 4), done.stderr
    assert "the one that counts (residual_gradient) was named beforehand" in " ".join(done.stdout.split())
    pack = done.stdout.partition("Pack: ")[2].strip()
    assert "agrees with itself" in audit(tmp_path, "--verify", pack, code=0)
    flags = _two_regressions(tmp_path, 1)
    told = " ".join(command("main.py", ["--exp", "audit", *flags, "--trust"], tmp_path).stdout.split())
    assert re.search(r"rebuilt: \d of 4 attributes exact, cosine 0.99\d, number 1 of 301", told), told
    two_models(tmp_path, 1)
    (tmp_path / "after.joblib").rename(tmp_path / "classes.joblib")
    _two_regressions(tmp_path, 1)
    mixed = [flags[0], f"--model_after={tmp_path / 'classes.joblib'}", *flags[2:]]
    assert "one predicts numbers, the other classes" in audit(tmp_path, *mixed, "--trust", code=2)
    named = [*flags[:3], "--label_column=city"]
    table = pd.read_csv(tmp_path / "people.csv").drop(columns="price").assign(city=["a", "b", "c"] * 200 + ["a"])
    table.to_csv(tmp_path / "people.csv", index=False)
    assert "the label's column holds others" in audit(tmp_path, *named, "--trust", code=2)


def test_what_is_not_linear_is_not_called_linear(tmp_path: Path) -> None:
    """Whatever the unit of the numbers that a forest predicts."""
    flags = _two_regressions(tmp_path, 1)
    table = pd.read_csv(tmp_path / "people.csv")
    rows = table.drop(columns=["price", "deleted"])
    for unit in (1e-3, 1.0, 1e3):
        table.assign(price=table["price"] * unit).to_csv(tmp_path / "people.csv", index=False)
        for name, first in (("before", 0), ("after", 1)):
            forest = RandomForestRegressor(10, random_state=0).fit(rows[first:200], unit * table["price"][first:200])
            joblib.dump(forest, tmp_path / f"{name}.joblib")
        done = command("main.py", ["--exp", "audit", *flags, "--trust"], tmp_path)
        assert done.returncode == 4
        assert "linear" not in done.stdout


def test_two_models_that_are_alike_tell_nothing(tmp_path: Path) -> None:
    flags = two_models(tmp_path, 1)
    shutil.copy(tmp_path / "before.joblib", tmp_path / "after.joblib")
    done = command("main.py", ["--exp", "audit", *flags, "--trust"], tmp_path)
    assert "Both models answer alike in every case" in " ".join(done.stdout.split())
    assert "number" not in done.stdout
    pd.read_csv(tmp_path / "people.csv").iloc[:2].to_csv(tmp_path / "people.csv", index=False)
    assert "1 stranger (deleted 0); at least 4" in audit(tmp_path, *flags, "--trust", code=2)


def test_flags_of_another_door_are_named(tmp_path: Path) -> None:
    flags = [*two_models(tmp_path, 1), "--trust", "--before=nofile.csv", "--retrained=none.csv"]
    told = command("main.py", ["--exp", "audit", *flags], tmp_path).stderr
    for name in ("before", "retrained"):
        assert f"--{name} has no effect on an audit by --model_before and --model_after" in told
    told = command("main.py", ["--exp", "audit", *write_side(tmp_path, 0.5), "--trust"], tmp_path).stderr
    assert "--trust has no effect on an audit by --before and --after" in told


def test_onnx_models_need_no_trust(tmp_path: Path) -> None:
    onnx = pytest.importorskip("skl2onnx")
    flags = two_models(tmp_path, 12)
    for name in ("before", "after"):
        model = joblib.load(tmp_path / f"{name}.joblib")
        written = onnx.to_onnx(model, np.zeros((1, 4), dtype=np.float32), options={"zipmap": False})
        (tmp_path / f"{name}.onnx").write_bytes(written.SerializeToString())
    flags = [flag.replace(".joblib", ".onnx") for flag in flags]
    done = command("main.py", ["--exp", "audit", *flags, "--temp_data", str(tmp_path / "out")], tmp_path)
    assert done.returncode in (3, 4), done.stderr


def test_a_torch_module_is_asked_for_what_it_gives(tmp_path: Path) -> None:
    """The same two models as modules that give logits, with the same verdict, and alike as scikit-learn's scores."""
    flags = two_models(tmp_path, 20)
    out = ["--temp_data", str(tmp_path / "out")]
    told = command("main.py", ["--exp", "audit", *flags, "--trust", *out], tmp_path)
    expected = re.search(r"asks both versions\? (\S+ \[.*?\])", " ".join(told.stdout.split()))
    assert expected is not None, told.stdout
    for name in ("before", "after"):
        model = joblib.load(tmp_path / f"{name}.joblib")
        layer = torch.nn.Linear(4, 1, dtype=torch.float64)
        scaler, regression = model[0], model[1]
        slopes = regression.coef_ / scaler.scale_
        layer.weight.data = torch.from_numpy(slopes)
        layer.bias.data = torch.from_numpy(regression.intercept_ - slopes @ scaler.mean_)
        torch.save(layer, tmp_path / f"{name}.pt")
        torch.save(layer.state_dict(), tmp_path / f"{name}.pth")
    modules = [flag.replace(".joblib", ".pt") for flag in flags]
    assert "opening a pickle runs whatever its maker put there" in audit(tmp_path, *modules, code=2)
    assert "add --answers logits" in audit(tmp_path, *modules, "--trust", "--answers=posteriors", code=2)
    for given in (modules, flags):
        told = command("main.py", ["--exp", "audit", *given, "--trust", "--answers=logits", *out], tmp_path)
        assert expected[1] in told.stdout, told.stdout + told.stderr
    weights = [flag.replace(".joblib", ".pth") for flag in flags]
    assert "no torch module; save the whole module" in audit(tmp_path, *weights, "--trust", code=2)


def test_models_that_give_labels_alone(tmp_path: Path) -> None:
    flags = two_models(tmp_path, 20)
    table = pd.read_csv(tmp_path / "people.csv")
    rows = table.drop(columns=["risk", "deleted"])
    for name, first in (("before", 0), ("after", 20)):
        joblib.dump(LinearSVC().fit(rows[first:60], table["risk"][first:60]), tmp_path / f"{name}.joblib")
    told = audit(tmp_path, *flags, "--trust", code=2)
    assert "a LinearSVC has no predict_proba; it has what --answers logits and --answers labels ask for" in told
    out = ["--temp_data", str(tmp_path / "out")]
    done = command("main.py", ["--exp", "audit", *flags, "--trust", "--answers=labels", *out], tmp_path)
    assert done.returncode in (3, 4), done.stderr
    assert "answers are labels alone" in " ".join(done.stdout.split())
    assert "linear" not in done.stdout
    done = command("main.py", ["--exp", "audit", *flags, "--trust", "--answers=logits", *out], tmp_path)
    assert done.returncode in (3, 4), done.stderr


def test_a_plan_needs_fewer_sets_for_a_wider_margin(tmp_path: Path) -> None:
    sets = []
    for margin in ("0.6", "0.7"):
        told = audit(tmp_path, "--plan", "--margin", margin, code=0)
        row = re.search(r"^20 +(\d+) +(\d+) +([\d,]+) ", told, re.MULTILINE)
        assert row is not None
        sets.append(int(row[1]))
        assert int(row[2]) == (2 * 20 + 2) * sets[-1]  # each candidate once, twenty from one original
        assert int(row[3].replace(",", "")) == 2 * 21 * sets[-1] + 2 * int(row[2])
    assert sets[1] < sets[0]


def test_the_readmes_audits(
    tmp_path: Path, service: tuple[Path, Misbehaviour], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lines with their files in a folder; joblib's format in ONNX's place."""
    text = (Path(__file__).resolve().parent.parent.parent / "README.md").read_text(encoding="utf-8")
    lines = [line.split()[4:] for line in re.findall(r"^python main\.py --exp audit .*$", text, re.MULTILINE)]
    monkeypatch.setenv("AUDIT_TOKEN", "s3cret-token")
    write_side(tmp_path, 0.5)
    two_models(tmp_path, 20)
    files = {"a.onnx": tmp_path / "before.joblib", "b.onnx": tmp_path / "after.joblib"}
    files |= {"people.csv": tmp_path / "people.csv", "service.yaml": service[0]}
    first = audited(tmp_path, *(str(tmp_path / word) if word.endswith(".csv") else word for word in lines[0]), code=3)
    assert first["verdict"] == "leaks"
    files["audit.zip"] = next((tmp_path / "out").rglob("audit.zip"))
    more = [service_flags(service[0])[2:], ["--trust"], []]
    for words, others, codes in zip(lines[1:], more, ({4}, {3, 4}, {0}), strict=True):
        named = [str(files.get(word, word)) for word in words]
        project = Path(__file__).resolve().parent.parent.parent
        command = [sys.executable, str(project / "main.py"), "--exp", "audit", *named, *others, "--temp_data"]
        done = subprocess.run([*command, str(tmp_path / "out")], capture_output=True, text=True, check=False)
        assert done.returncode in codes, done.stdout + done.stderr


# ---------------------------------------------------------------- what is counted once


def _with_records(folder: Path) -> list[str]:
    """A side's files whose cases name their records."""
    flags = write_side(folder, 0.5)
    cases = pd.read_csv(folder / "cases.csv")
    cases.assign(record=np.arange(len(cases)), request=np.arange(len(cases)) // 2).to_csv(folder / "cases.csv")
    pd.read_csv(folder / "cases.csv", index_col=0).to_csv(folder / "cases.csv", index=False)
    return flags


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"request": 1000}, "is deleted from one set 2 times"), ({"deleted": None}, "and a stranger to it as well")],
)
def test_a_record_is_deleted_from_a_set_once_and_no_stranger_to_it(
    change: dict[str, int | None], complaint: str, tmp_path: Path
) -> None:
    flags = _with_records(tmp_path)
    audited(tmp_path, *flags, code=3)
    for name in ("before", "after", "cases"):
        table = pd.read_csv(tmp_path / f"{name}.csv")
        again = table.copy()
        if name == "cases":
            for column, more in change.items():
                again[column] = 1 - again[column] if more is None else again[column] + more
        pd.concat([table, again]).to_csv(tmp_path / f"{name}.csv", index=False)
    assert complaint in audit(tmp_path, *flags, code=2)


def test_strangers_who_are_the_deleted_are_left_out(tmp_path: Path) -> None:
    flags = two_models(tmp_path, 20)
    table = pd.read_csv(tmp_path / "people.csv")
    pd.concat([table, table.assign(deleted=0)[table["deleted"] == 1]]).to_csv(tmp_path / "people.csv", index=False)
    done = command("main.py", ["--exp", "audit", *flags, "--trust", "--temp_data", str(tmp_path / "out")], tmp_path)
    assert "20 rows equal others and are left out" in done.stderr
    assert "320 cases, 20 deleted records" in " ".join(done.stdout.split())


def test_rows_that_come_more_than_once_count_once(tmp_path: Path) -> None:
    flags = two_models(tmp_path, 20)
    once = audited(tmp_path, *flags, "--trust", code=4)
    table = pd.read_csv(tmp_path / "people.csv")
    pd.concat([table] * 4).to_csv(tmp_path / "people.csv", index=False)
    again = audited(tmp_path, *flags, "--trust", code=4)
    assert again["questions"] == once["questions"]


def same_records(folder: Path, seed: int, models: int = 10, people: int = 40) -> list[str]:
    """A null: answers of several pairs of models to the same people, none of whom any model knew."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    own = rng.normal(0, 1, people)  # what all models say of a person, more or less
    label, deleted = rng.integers(0, 2, people), np.tile([1, 0], people // 2)
    logits = np.tile(own, models) + rng.normal(0, 0.05, people * models)
    for name, values in (("before", logits), ("after", logits + rng.normal(0, 0.05, len(logits)))):
        share = 1 / (1 + np.exp(-values))
        pd.DataFrame({"0": 1 - share, "1": share}).to_csv(folder / f"{name}.csv", index=False)
    cases = {"record": np.arange(people), "label": label, "deleted": deleted}
    table = pd.concat([pd.DataFrame(cases).assign(set=number) for number in range(models)])
    table.to_csv(folder / "cases.csv", index=False)
    return [word for name in ("before", "after", "cases") for word in (f"--{name}", str(folder / f"{name}.csv"))]


@pytest.mark.parametrize("seed", range(3))
def test_the_same_records_in_every_set_are_no_leak(tmp_path: Path, seed: int) -> None:
    """Cross-fitted by set, a forest would know each person again."""
    found = audited(tmp_path, *same_records(tmp_path, seed), "--attack_model", "RF", code=4)
    assert found["verdict"] == "undecided"
    assert "divided by record" in " ".join(found["told"].split())


def test_a_shadow_side_of_the_same_records_is_refused(tmp_path: Path) -> None:
    flags = same_records(tmp_path, 0)
    shadow = same_records(tmp_path / "shadow", 0, models=8)
    told = audit(tmp_path, *flags, *(word.replace("--", "--shadow_", 1) for word in shadow), code=2)
    assert "name 40 of the same records" in told


@pytest.mark.parametrize("kind", ["npz", "lists"])
def test_cases_that_are_no_table_are_one_line(kind: str, tmp_path: Path) -> None:
    flags = write_side(tmp_path, 0.5)
    cases = pd.read_csv(tmp_path / "cases.csv")
    path = tmp_path / ("cases.npz" if kind == "npz" else "cases.parquet")
    if kind == "npz":
        columns = {name: cases[name].to_numpy() for name in cases}
        np.savez(path, **{**columns, "deleted": columns["deleted"][:-3]})
    else:
        pytest.importorskip("pyarrow")
        cases.assign(record=[[number] for number in range(len(cases))]).to_parquet(path)
    told = audit(tmp_path, *(str(path) if flag.endswith("cases.csv") else flag for flag in flags), code=2)
    assert ("not equally long" if kind == "npz" else "holds lists; a cell is one value") in told


@pytest.mark.parametrize("margin", ["0.5", "1"])
def test_a_margin_that_passes_everything_is_refused(margin: str, tmp_path: Path) -> None:
    told = audit(tmp_path, *write_side(tmp_path, 0.5), f"--margin={margin}", code=2)
    assert "of an audit it lies above 0.5 and below 1" in told


def test_roles_that_are_exchanged_on_one_side_are_no_reason_for_calm(tmp_path: Path) -> None:
    """An attack that learned that deleted records are strangers tells both apart all the same."""
    flags = ["--in_order", "true", *write_side(tmp_path, 0.5), *write_side(tmp_path, 0.5, "shadow_", 1)]
    cases = pd.read_csv(tmp_path / "shadow_cases.csv")
    cases.assign(deleted=1 - cases["deleted"]).to_csv(tmp_path / "shadow_cases.csv", index=False)
    found = audited(tmp_path, *flags, code=4)
    assert found["questions"][0]["measured"]["value"] < 0.1
    assert found["questions"][0]["verdict"] == "reversed"
    assert "wrong way round" in found["sentence"]
    for side in ("", "shadow_"):  # the same beside retrained models
        shutil.copy(tmp_path / f"{side}before.csv", tmp_path / f"{side}retrained.csv")
        flags += [f"--{side}retrained", str(tmp_path / f"{side}retrained.csv")]
    assert audited(tmp_path, *flags, code=4)["questions"][0]["verdict"] == "reversed"


def test_a_shadow_side_with_the_same_answers_before_is_one(tmp_path: Path) -> None:
    """Labels that are all right before say nothing of whose they are: what came after does."""
    flags = [*write_side(tmp_path, 0.5), *write_side(tmp_path, 0.6, "shadow_")]
    found = audited(tmp_path, *flags, code=3)
    assert "without a shadow side" not in found["told"]
    pack = found["told"].partition("Pack: ")[2].strip()
    assert "agrees with itself" in audit(tmp_path, "--verify", pack, code=0)


def test_what_the_last_digits_show_shows(tmp_path: Path) -> None:
    """A leak that is smaller than rounding to 32 bits would be, in files that hold more digits."""
    flags = write_side(tmp_path, 0.0)
    before, cases = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("before", "cases"))
    after = before.to_numpy() * (1 - 1e-7 * cases[["deleted"]].to_numpy())
    pd.DataFrame(after).to_csv(tmp_path / "after.csv", index=False)
    assert audited(tmp_path, *flags, code=3)["questions"][0]["verdict"] == "leaks"
    before.to_csv(tmp_path / "after.csv", index=False)
    assert audited(tmp_path, *flags, code=4)["questions"][0]["verdict"] == "alike"


def test_rows_that_do_not_change_at_all_give_the_others_away(tmp_path: Path) -> None:
    """A leak far below what other rows move by, with and without a shadow side."""
    flags = [*write_side(tmp_path, 0.0), *write_side(tmp_path, 0.0, "shadow_", 1)]
    for side in ("", "shadow_"):
        before, cases = (pd.read_csv(tmp_path / f"{side}{name}.csv") for name in ("before", "cases"))
        after = before.to_numpy() * (1 - 1e-9 * cases[["deleted"]].to_numpy())
        noisy = np.arange(CASES) % 97 == 0
        after[noisy] = np.roll(after[noisy], 1, axis=1)
        pd.DataFrame(after).to_csv(tmp_path / f"{side}after.csv", index=False)
    for some in (flags[:6], flags):
        found = audited(tmp_path, *some, "--margin", "0.6", code=3)
        assert "shows, by the size of the change alone" in {question["name"] for question in found["questions"]}


@pytest.mark.parametrize(
    ("names", "others"), [("ID{:03d}", "id{}"), ("5,{:03d}", "5{:03d}"), ("{}.0", "{}"), ("p {}", "P{}")]
)
def test_one_class_of_the_same_people_is_known_by_their_names(tmp_path: Path, names: str, others: str) -> None:
    numbers = range(1, CASES + 1)
    flags = same_people(tmp_path, [names.format(n) for n in numbers], [others.format(n) for n in numbers], 300)
    if names != "{}.0":
        assert "of the same records" in audit(tmp_path, *flags, code=2)
    else:  # these only count rows, and their labels are others
        audited(tmp_path, *flags, code=4)


def test_columns_that_are_called_alike_are_refused(tmp_path: Path) -> None:
    flags = write_side(tmp_path, 0.5)
    frame = pd.read_csv(tmp_path / "cases.csv")
    frame.assign(**{"set ": 1}).to_csv(tmp_path / "cases.csv", index=False)
    assert "two columns 'set'" in audit(tmp_path, *flags, code=2)

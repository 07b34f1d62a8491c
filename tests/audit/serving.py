"""A real service on loopback that delays, fails, rounds, limits and lies."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from sklearn.linear_model import LogisticRegression


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

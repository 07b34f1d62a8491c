"""Inputs of an audit's doors, as files, and the command that reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

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
    done = command("main.py", ["--exp", "audit", *flags, "--temp_data", str(tmp_path / "out")], tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    page = Path(done.stdout.partition("Page: ")[2].splitlines()[0])
    found: dict[str, Any] = json.loads(page.with_name("verdict.json").read_text(encoding="utf-8"))
    return found | {"told": done.stdout}


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

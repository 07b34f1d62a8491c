"""Audits of two models in files and a table."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from tests.audit.doors import audit, audited, two_models
from tests.processes import command


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


def test_classes_may_be_called_na(tmp_path: Path) -> None:
    """As a cell it is a name there, and nothing where nothing stands."""
    flags = two_models(tmp_path, 20)
    for name in ("before", "after"):
        model = joblib.load(tmp_path / f"{name}.joblib")
        model[-1].classes_ = np.array(["NA", "good"])
        joblib.dump(model, tmp_path / f"{name}.joblib")
    table = pd.read_csv(tmp_path / "people.csv")
    table["risk"] = table["risk"].replace("bad", "NA")
    table.to_csv(tmp_path / "people.csv", index=False)
    audited(tmp_path, *flags, "--trust", code=4)
    table.loc[4, "risk"] = ""
    table.to_csv(tmp_path / "people.csv", index=False)
    assert "row 5 holds no risk" in audit(tmp_path, *flags, "--trust", code=2)


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


def test_swapped_models_are_told_and_may_be_meant(tmp_path: Path) -> None:
    flags = two_models(tmp_path, 40, RandomForestClassifier(20, random_state=0))
    swapped = [flags[0].replace("before.joblib", "after.joblib"), flags[1].replace("after.joblib", "before.joblib")]
    told = audit(tmp_path, *swapped, *flags[2:], "--trust", code=2)
    assert "are the two swapped" in told
    assert not (tmp_path / "out" / "audits").exists()
    words = ["--exp", "audit", *swapped, *flags[2:], "--trust", "--in_order", "--temp_data", str(tmp_path / "out")]
    assert command("main.py", words, tmp_path).returncode in (3, 4)


def test_rows_that_come_more_than_once_count_once(tmp_path: Path) -> None:
    flags = two_models(tmp_path, 20)
    once = audited(tmp_path, *flags, "--trust", code=4)
    table = pd.read_csv(tmp_path / "people.csv")
    pd.concat([table] * 4).to_csv(tmp_path / "people.csv", index=False)
    again = audited(tmp_path, *flags, "--trust", code=4)
    assert again["questions"] == once["questions"]

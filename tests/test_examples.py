"""The examples of docs/, run as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lib_unlearning.audit.service_description import read_description
from tests.test_commands import PROJECT

EXAMPLES = PROJECT / "docs" / "examples"


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_prints_a_verdict(tmp_path: Path, name: str) -> None:
    by_command = "--exp" in (EXAMPLES / name).read_text(encoding="utf-8")
    elsewhere = [str(tmp_path / "files"), "--temp_data", str(tmp_path / "out")] if by_command else []
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "XDG_STATE_HOME": str(tmp_path)}
    command = [sys.executable, str(EXAMPLES / name), *elsewhere]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode in (0, 3, 4), done.stderr
    assert "Verdict: " in done.stdout
    assert "Controls: none failed." in " ".join(done.stdout.split())
    assert (tmp_path / "out" / "audits").is_dir() == by_command


PRELUDE = """
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale
X, y = load_breast_cancer(return_X_y=True)
X = scale(X)
"""


@pytest.mark.parametrize("document", ["README.md", "docs/AUDIT.md"])
def test_the_python_of_a_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: str) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (PROJECT / document).read_text(encoding="utf-8"), re.DOTALL)
    found: dict[str, Any] = {}
    for block in blocks:
        exec(PRELUDE + block, found)
    assert found["audit"].verdict_ == "leaks"


def test_the_description_of_a_service_is_read() -> None:
    about = read_description(EXAMPLES / "service.yaml")
    assert about.predict.result == "$.result[*].scores"
    assert about.budget == 20_000

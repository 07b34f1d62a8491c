"""The examples of docs/, run as a reader would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib_unlearning.audit.service import read_description
from tests.test_commands import PROJECT

EXAMPLES = PROJECT / "docs" / "examples"


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_prints_a_verdict(tmp_path: Path, name: str) -> None:
    for part in ("main.py", "exp.py", "config.py", "parameter_parser.py", "data_prepare.py", "models.py", "utils.py"):
        (tmp_path / part).symlink_to(PROJECT / part)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "XDG_STATE_HOME": str(tmp_path)}
    command = [sys.executable, str(EXAMPLES / name)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode in (0, 3, 4), done.stderr
    assert "Verdict: " in done.stdout
    assert "Controls: all as they must be." in " ".join(done.stdout.split())


def test_the_description_of_a_service_is_read() -> None:
    about = read_description(EXAMPLES / "service.yaml")
    assert about.predict.result == "$.result[*].scores"
    assert about.budget == 20_000

"""The wheel: built, and imported where the working folder holds files that are named like the command line's."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from lib_unlearning import __version__

PROJECT = Path(__file__).resolve().parent.parent


def test_the_wheel_is_the_library_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((PROJECT / name).read_bytes())
    (source / "lib_unlearning").symlink_to(PROJECT / "lib_unlearning")
    for name in ("main.py", "utils.py", "models.py"):
        (source / name).write_bytes((PROJECT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert wheel.name.startswith(f"unlearning_leakage-{__version__}-")
    assert {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")} == {"lib_unlearning"}
    for name in ("py.typed", "readers/venue_categories.json", "reporting/templates/report.html", "audit/sources.py"):
        assert f"lib_unlearning/{name}" in names
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("utils", "config", "models"):
        (elsewhere / f"{name}.py").write_text("raise RuntimeError('the wrong file')\n")
    code = (
        "import lib_unlearning, lib_unlearning.audit.sources, lib_unlearning.reporting.build, lib_unlearning.estimate;"
        "from lib_unlearning.unlearning.registry import UNLEARNING_METHODS; print(lib_unlearning.__file__)"
    )
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PATH": ""}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=elsewhere, env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert str(tmp_path / "site") in found.stdout

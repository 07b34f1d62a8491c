"""The audit command: flags, plans, lists, and input without an end."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.audit.doors import audit, audited, two_models, write_side
from tests.audit.serving import Misbehaviour, service_flags
from tests.processes import command
from tests.test_commands import run


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
        done = command("main.py", ["--exp", "audit", *named, *others, "--temp_data", str(tmp_path / "out")], tmp_path)
        assert done.returncode in codes, done.stdout + done.stderr


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


@pytest.mark.parametrize("flag", ["--before=nofile.csv", "--retrained=none.csv"])
def test_flags_of_another_door_are_refused(tmp_path: Path, flag: str) -> None:
    """A verdict would rest on other things than its reader takes it to."""
    told = audit(tmp_path, *two_models(tmp_path, 1), "--trust", flag, code=2)
    assert f"{flag.partition('=')[0]} has no effect on an audit by --model_before and --model_after" in told
    told = audit(tmp_path, *write_side(tmp_path, 0.5), "--trust", code=2)
    assert "--trust has no effect on an audit by --before and --after" in told


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


@pytest.mark.parametrize("margin", ["0.5", "1"])
def test_a_margin_that_passes_everything_is_refused(margin: str, tmp_path: Path) -> None:
    told = audit(tmp_path, *write_side(tmp_path, 0.5), f"--margin={margin}", code=2)
    assert "of an audit it lies above 0.5 and below 1" in told

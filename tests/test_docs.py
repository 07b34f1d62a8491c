"""README and docs say what the files say that they came from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lib_unlearning.reporting.comparisons import COMPARISONS
from scripts.update_docs import DOCUMENTS, RESULTS, blocks, fill

PROJECT = Path(__file__).resolve().parent.parent
# Comparisons whose full form was run.
MEASURED = [name for name in COMPARISONS if (PROJECT / RESULTS / f"{name}.md").exists()]
CELL = re.compile(r"(\d\.\d{3} \[\d\.\d\d, \d\.\d\d\]) \((\d\.\d\d)\)")


def text_of(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_tables_are_those_of_the_results(document: str) -> None:
    found = blocks(text_of(document))
    assert {f"{name}_short" for name in MEASURED} <= set(found)
    for name, content in found.items():
        assert content == text_of(f"{RESULTS}/{name}.md"), name


@pytest.mark.parametrize("name", MEASURED)
def test_short_and_full_tables_agree(name: str) -> None:
    """Each cell of the short table, AUC with interval and the classical attack's, is a row of the full one."""
    lines = [line.strip("| ").split(" | ") for line in text_of(f"{RESULTS}/{name}.md").splitlines()]
    known = [(row[1], float(row[2].split()[0])) for row in lines if len(row) > 9 and row[2][:1].isdigit()]
    cells = CELL.findall(text_of(f"{RESULTS}/{name}_short.md"))
    assert len(cells) >= 4
    for chosen, classical in cells:
        assert any(chosen == other and abs(float(classical) - value) < 0.0101 for other, value in known), (
            chosen,
            classical,
        )


def test_filling_replaces_blocks_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("| new |\n")
    before = "x\n<!-- table: a -->\n| old |\n<!-- end -->\ny\n"
    after = fill(before, tmp_path)
    assert after == "x\n<!-- table: a -->\n| new |\n<!-- end -->\ny\n"
    assert fill(after, tmp_path) == after
    assert blocks(after) == {"a": "| new |\n"}


@pytest.mark.parametrize(
    "document", ["README.md", *(f"docs/{path.name}" for path in sorted((PROJECT / "docs").glob("*.md")))]
)
def test_links_lead_somewhere(document: str) -> None:
    folder = (PROJECT / document).parent
    for target in re.findall(r"\]\(([^)#]+)\)", text_of(document)):
        if not target.startswith("http"):
            assert (folder / target).exists(), target

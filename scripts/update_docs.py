"""Copy a report's tables and figures into `docs/`, and its short tables into docs.

    python scripts/update_docs.py --report temp_data/attack_data/report

A block of a document that a table belongs to starts with `<!-- table: NAME -->` and ends with `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("docs/REPRODUCTION.md",)
RESULTS = "docs/results"
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def blocks(text: str) -> dict[str, str]:
    """Name -> content of each table block of a document."""
    return {match[2]: match[0].removeprefix(match[1]).removesuffix(match[3]) for match in BLOCK.finditer(text)}


def fill(text: str, results: Path) -> str:
    """The document with every block replaced by the table of its name."""

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}{(results / f'{match[2]}.md').read_text(encoding='utf-8')}{match[3]}"

    return BLOCK.sub(table, text)


def main() -> int:
    """Copy and fill; figures are those that the documents show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, default=PROJECT / "temp_data/attack_data/report")
    report = parser.parse_args().report
    if not (report / "tables").is_dir():
        print(f"update_docs.py: error: no tables in {report}; run main.py --exp report first", file=sys.stderr)
        return 2
    wanted = {name for document in DOCUMENTS for name in blocks((PROJECT / document).read_text(encoding="utf-8"))}
    missing = sorted(name for name in wanted if not (report / "tables" / f"{name}.md").exists())
    if missing:
        print(f"update_docs.py: error: {report} lacks {', '.join(missing)}; run the sweeps first", file=sys.stderr)
        return 2
    results = PROJECT / RESULTS
    results.mkdir(parents=True, exist_ok=True)
    for table in sorted((report / "tables").glob("*.md")):
        shutil.copyfile(table, results / table.name)
    for name in DOCUMENTS:
        path = PROJECT / name
        text = path.read_text(encoding="utf-8")
        path.write_text(fill(text, results), encoding="utf-8")
        for figure in re.findall(r"results/(\w[\w-]*\.png)", text):
            shutil.copyfile(report / "figures" / figure, results / figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How time and memory grow: with the number of models, and with the records of each.

    python benchmarks/growth.py --figure docs/results

Each point is one `main.py --exp all` (training, asking, the paper's attacks) beside the pure work in it, as
`benchmarks/run.py` measures both. Models: sets of 2,000 records of Adult. Records: two sets a side of a table of
200,000 x 14 (`make_classification`), as Adult has no 40,000 for one side.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import data_prepare
from benchmarks.run import Row, measured
from lib_unlearning.cache.layout import Layout
from lib_unlearning.reporting.style import Drawing, canvas, save

REQUESTS = 20
COLUMNS = (
    "model",
    "models",
    "records",
    "wall [s]",
    "ms a model",
    "pure work, one process, ms a model",
    "overhead",
    "peak memory [MiB]",
    "models on disk [MiB]",
)
_TABLE, _ROWS = "grown", 200_000
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def point(model: str, data: Sequence[str], sets: int, records: int, prepared: Path) -> Row:
    """One study of so many sets a side of so many records."""
    flags = [*data, "--original_model", model]
    for side in ("shadow", "target"):
        flags += [f"--{side}_set_num={sets}", f"--{side}_set_size={records}"]
    return measured(model, flags, prepared, straight=False)


def told(row: Row, records: int) -> str:
    """A Markdown row."""
    each, pure = 1e3 * row.wall / row.models, 1e3 * row.pure / row.models
    cells = [row.study, f"{row.models:,}", f"{records:,}", f"{row.wall:.1f}", f"{each:.1f}", f"{pure:.1f}"]
    cells += [f"{row.wall * row.processes / row.pure:.2f}", f"{row.memory:.0f}", f"{row.disk:.1f}"]
    return f"| {' | '.join(cells)} |"


def large_table(layout: Layout) -> list[str]:
    """Prepare the generated table, if it is not; flags that name it."""
    import numpy as np
    import pandas as pd
    from sklearn.datasets import make_classification

    flags = ["--dataset_name", _TABLE, "--original_label", "label"]
    if not data_prepare.is_at_hand(_TABLE, "label", layout):
        rows, labels = make_classification(_ROWS, 14, n_informative=8, flip_y=0.1, random_state=0)
        path = layout.root / f"{_TABLE}.csv"
        pd.DataFrame(np.round(rows, 4)).rename(columns=str).assign(label=labels).to_csv(path, index=False)
        words = ["--dataset_name", "csv", "--source", str(path), "--label_column", "label", "--name", _TABLE]
        data_prepare.run([*words, "--temp_data", str(layout.root)])
    return flags


def drawn(by_models: dict[str, list[tuple[int, Row]]], by_records: dict[str, list[tuple[int, Row]]]) -> Drawing:
    """Wall time of a study over its models, and over the records of each; log axes."""
    figure, places = canvas([3.2, 3.2])
    for place, points, axis in ((places[0], by_models, "models"), (places[1], by_records, "records a model")):
        for (model, rows), colour in zip(points.items(), _COLOURS, strict=False):
            sizes = [row.models if axis == "models" else records for records, row in rows]
            place.plot(sizes, [row.wall for _, row in rows], "o-", color=colour, label=f"{model}, wall time")
            halved = [row.pure / row.processes for _, row in rows]
            place.plot(sizes, halved, ":", color=colour, label=f"{model}, pure work over processes")
        place.set(xscale="log", yscale="log", xlabel=f"{axis} (log scale)", ylabel="seconds (log scale)")
        for ruler in (place.xaxis, place.yaxis):
            ruler.set_major_formatter(lambda value, _: f"{value:,g}")
            ruler.set_minor_formatter("")
        place.legend(fontsize=8)
    places[0].set_title("Models of 2,000 records (Adult)")
    places[1].set_title(f"Records of {next(iter(by_records.values()))[0][1].models} models (generated table)")
    caption = "Wall time of main.py --exp all, and the pure work in it over the number of processes."
    return Drawing("growth", figure, caption, "How wall time grows with models and with records")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Print a Markdown row a point; draw them where that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="DT,LR", help="comma-separated")
    parser.add_argument("--counts", type=_numbers, default=[500, 1000, 2000, 4000, 8000], help="models of a study")
    parser.add_argument("--records", type=_numbers, default=[1000, 2500, 5000, 10000, 20000, 40000], help="of a set")
    parser.add_argument("--temp_data", type=Path, default=PROJECT / "temp_data", help="where the data lie")
    parser.add_argument("--figure", type=Path, help="folder for growth.png")
    arguments = parser.parse_args()
    layout = Layout(arguments.temp_data.absolute())
    data_prepare.obtain_dataset("adult", "income", layout)
    table = large_table(layout)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    by_models: dict[str, list[tuple[int, Row]]] = {}
    by_records: dict[str, list[tuple[int, Row]]] = {}
    for model in arguments.models.split(","):
        for count in arguments.counts:
            sets = max(1, round(count / (2 * (1 + REQUESTS))))
            row = point(model, ["--dataset_name", "adult"], sets, 2000, layout.root)
            by_models.setdefault(model, []).append((2000, row))
            print(told(row, 2000), flush=True)
        for records in arguments.records:
            row = point(model, table, 2, records, layout.root)
            by_records.setdefault(model, []).append((records, row))
            print(told(row, records), flush=True)
    if arguments.figure:
        save(drawn(by_models, by_records), arguments.figure, ("png",))


if __name__ == "__main__":
    main()

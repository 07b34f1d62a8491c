"""Text that fits the terminal."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping


def terminal_width() -> int | None:
    """Columns of the terminal, None where the output is no terminal and nobody set COLUMNS."""
    if "COLUMNS" not in os.environ and not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size((80, 24)).columns


def fitted(text: str, width: int | None) -> str:
    """A text broken at words so that it fits a width; names of files are never broken."""
    if width is None:
        return text
    lines = (textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) for line in text.split("\n"))
    return "\n".join("\n".join(wrapped) for wrapped in lines)


def say(text: str) -> None:
    """Print a text so that it fits the terminal."""
    print(fitted(text, terminal_width()), flush=True)


def table_lines(
    names: dict[str, list[str]], columns: Mapping[str, list[str]], width: int | None, where: str
) -> list[str]:
    """Lines of a table; columns for which a terminal is too narrow are left out from the first one on, which is said.

    Args:
        names: the first column: title -> cells.
        columns: the others, the most important first.
        where: the file that has all of them.
    """
    shown, left_out = dict(names), list[str]()
    for title, cells in columns.items():
        if width is None or (not left_out and sum(map(_width, [*shown.items(), (title, cells)])) <= width):
            shown[title] = cells
        else:
            left_out.append(title)
    widths = [_width(column) for column in shown.items()]
    rows = zip(*shown.values(), strict=True)
    lines = [
        "".join(f"{cell:<{wide}}" for cell, wide in zip(row, widths, strict=True)).rstrip() for row in (shown, *rows)
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    if left_out:
        lines.append(fitted(f"(for want of width without {', '.join(left_out)}; {where} has them)", width))
    return lines


def _width(column: tuple[str, list[str]]) -> int:
    return max(map(len, [column[0], *column[1]])) + 2

"""YAML files that users write: a regular file of sensible size, without names for parts that are repeated."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from lib_unlearning.cache.files import check_regular
from lib_unlearning.errors import UNREADABLE, UserError, error_text

_MOST_BYTES = 2**20
_DEEPEST = 50


def read_yaml(path: Path, where: str) -> dict[str, Any]:
    """What a file maps names to; raises `UserError`, starting with `where`, when it cannot be read or is no mapping."""
    import yaml

    try:
        check_regular(path)
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it is larger than {_MOST_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8")
        if _depth(text) > _DEEPEST:
            raise ValueError(f"it is nested deeper than {_DEEPEST} brackets")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise ValueError("it repeats parts by name (*name), which may grow without end; write them out")
        found = yaml.safe_load(text)
        repr(found)  # numbers that are too long to be written are none
    except (*UNREADABLE, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f"line {mark.line + 1}: "
        raise UserError(f"{where}: {line}{error_text(error)}") from error
    if not isinstance(found, dict):
        raise UserError(f"{where}: not a list of `name: value` lines")
    return found


def _depth(text: str) -> int:
    """How deep brackets are nested at the most."""
    steps = [1 if letter in "[{" else -1 for letter in text if letter in "[]{}"]
    return max(itertools.accumulate(steps), default=0)

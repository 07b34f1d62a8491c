"""How numbers are said: values with their intervals, counts with their nouns."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lib_unlearning.statistics.intervals import Estimate


def plural(count: int, what: str, ending: str = "s") -> str:
    """ "1 question", "2,000 questions"."""
    return f"{count:,} {what}{'' if count == 1 else ending}"


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def with_interval(estimate: Estimate, sign: str = "") -> str:
    """A value with its interval, e.g. 0.853 [0.81, 0.90]; ends are rounded outwards, so that they hold the value."""
    value = round(estimate.value, 6)  # as it is stored, so that console and report agree to the last digit
    if estimate.low is None or estimate.high is None:
        return f"{value:{sign}.3f}"
    return f"{value:{sign}.3f} [{', '.join(outwards(estimate, sign))}]"


def outwards(estimate: Estimate, sign: str = "") -> tuple[str, str]:
    """Both ends of an interval with two digits, rounded outwards."""
    assert estimate.low is not None
    assert estimate.high is not None
    low, high = math.floor(100 * estimate.low + 1e-9) / 100, math.ceil(100 * estimate.high - 1e-9) / 100
    return f"{low:{sign}.2f}", f"{high:{sign}.2f}"


def duration(seconds: float) -> str:
    """Seconds for people: 3 s, 12 min, 4.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 else "1 s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

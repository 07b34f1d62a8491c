"""Shadow sides that name the target's records, however these are written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from lib_unlearning.audit.answer_table import as_texts
from lib_unlearning.errors import UserError

_SURELY = 1e-6  # chance below which labels that agree are those of the same records, and
_MOSTLY = 0.8  # share that must agree: labels may depend on a row's place as well


def check_apart(called: Sequence[np.ndarray], labelled: Sequence[np.ndarray]) -> None:
    """Refuse two sides that name the same records; where names only count rows, they must have labels that agree more
    often than those of different people would.

    Args:
        called: names [m] of each side's records. labelled: their labels [m].
    """
    names = [_bare(part) for part in called]
    labels = [dict(zip(found, part.tolist(), strict=True)) for found, part in zip(names, labelled, strict=True)]
    shared = labels[0].keys() & labels[1].keys()
    shares = [np.bincount([part[name] for name in shared], minlength=1) / max(len(shared), 1) for part in labels]
    agree = sum(labels[0][name] == labels[1][name] for name in shared)
    by_chance = sum(float(one * other) for one, other in zip(*shares, strict=False))
    alike = agree > _MOSTLY * len(shared) and _at_least(agree, len(shared), by_chance) < _SURELY
    if shared and (alike or not all(map(_count_rows, names))):
        raise UserError(
            f"--shadow_cases and --cases name {len(shared)} of the same records: nothing is judged on records that it "
            "learned from; name others, or, if these are others, by other names"
        )


def _bare(names: np.ndarray) -> list[str]:
    """Names as two files may both write them: letters and digits in one form, numbers without what fills them up."""
    return [_bare_text(text) for text in as_texts(names, "record").tolist()]


def _bare_text(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = "".join(letter for letter in plain if letter.isalnum() or letter in "+-.")
    try:
        return f"{Decimal(plain).normalize():f}"
    except ArithmeticError:
        return re.sub(r"\d+", lambda digits: digits[0].lstrip("0") or "0", plain)


def _count_rows(names: list[str]) -> bool:
    """Whether names do no more than count: 0 or 1 to their number."""
    if not all(name.isascii() and name.isdigit() for name in names):
        return False
    numbers = sorted(set(map(int, names)))
    return numbers[0] in (0, 1) and numbers[-1] - numbers[0] == len(numbers) - 1


def _at_least(events: int, trials: int, rate: float) -> float:
    """Chance of so many events or more among independent trials."""
    from scipy.special import bdtrc

    return 1.0 if events == 0 else float(bdtrc(events - 1, trials, min(rate, 1.0)))

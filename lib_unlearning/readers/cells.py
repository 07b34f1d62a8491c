"""What a cell says as a number: as Python writes them, or as people do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

_CURRENCY = "$€£¥₹"
_CODES = r"AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|ILS|INR|JPY|KRW|MXN|NOK|NZD|PLN|SEK|SGD|TRY|USD|ZAR"  # ISO 4217
# Whole numbers in groups of three, all with one mark between them, or in none.
_GROUPS = r"(?:[1-9]\d{0,2}(?:(?:,\d{3})+|(?:'\d{3})+|(?:[ \u00a0\u2009\u202f]\d{3})+)|0|[1-9]\d*)(?:\.\d+)?"
# How people write numbers: (name, what a cell looks like; its groups "number", "percent" and "money" say what is what).
_STYLES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("thousands separators", re.compile(rf"(?P<number>[+-]?{_GROUPS})")),
    ("percent signs", re.compile(rf"(?P<number>[+-]?{_GROUPS})\s?(?P<percent>%)")),
    (
        "currency signs",
        re.compile(
            rf"(?P<sign>[+-]?)(?P<money>[{_CURRENCY}]|{_CODES})\s?(?P<number>{_GROUPS})"
            rf"|(?P<number2>[+-]?{_GROUPS})\s?(?P<money2>[{_CURRENCY}]|{_CODES})"
        ),
    ),
    ("decimal commas", re.compile(r"(?P<number>[+-]?(?:[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?|\d+,\d+))")),
)
_MARKS = ",' \u00a0\u2009\u202f"
_SEPARATORS = str.maketrans("", "", _MARKS)
CODE = re.compile(r"0\d+")  # 007 is a code: as a number it would be another
LONG = re.compile(r"[+-]?(?=(?:\.?\d){16})\d*\.?\d+(?:[eE][+-]?\d+)?|[+-]?\d{16,}\.")


def must_stay_text(words: Sequence[str]) -> bool:
    """Whether distinct cells would lose something as 64-bit numbers: leading zeros, or what tells two of them apart."""
    if any(CODE.fullmatch(word) for word in words):
        return True
    long = [word for word in words if LONG.fullmatch(word)]
    return len({parsed(word) for word in long}) < len(long)


def parsed(word: str) -> float:
    """A cell as a number, NaN if it is none; Python would read 1_000 as one, people do not."""
    try:
        return float(word) if "_" not in word else float("nan")
    except ValueError:
        return float("nan")


def is_number(word: str) -> bool:
    """Whether a cell is meant as a number, be it finite or not."""
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def written_as(words: Sequence[str]) -> tuple[str, list[str]] | None:
    """How a column's words write numbers that Python does not read, and the numbers as it would; None where they do
    not, or in more than one currency."""
    signed = [_with_plain_sign(word) for word in words]
    if signed != list(words) and all(map(is_number, signed)):
        return "signs of their own", signed
    if any(CODE.fullmatch(word) for word in signed):
        return None  # leading zeros mean something
    for style, pattern in _STYLES:
        found = [pattern.fullmatch(word) for word in signed]
        if style == "thousands separators" and not any(mark in word for word in signed for mark in _MARKS):
            continue  # plain numbers, which this style matches as well
        if any(found) and all(match or is_number(word) for match, word in zip(found, signed, strict=True)):
            parts = [match.groupdict() if match else {} for match in found]
            if len({part.get("money") or part.get("money2") for part in parts} - {None}) > 1:
                return None
            if style == "percent signs" and not all(found):
                return None  # 5% beside 7: nobody can tell what 7 is
            return style, [_plain(style, part, word) for part, word in zip(parts, signed, strict=True)]
    return None


def _with_plain_sign(word: str) -> str:
    """A typographic minus as "-", and bookkeepers' (12) as "-12"."""
    if word.startswith("(") and word.endswith(")") and any(letter.isdigit() for letter in word):
        word = f"-{word[1:-1].strip()}"
    return word.replace("\u2212", "-")


def _plain(style: str, part: Mapping[str, str | None], word: str) -> str:
    """A cell as Python reads it: "-1,234 €" is "-1234", "5%" is "0.05"."""
    number = part.get("number") or part.get("number2")
    if number is None:
        return word
    if style == "decimal commas":
        return number.replace(".", "").replace(",", ".")
    text = (part.get("sign") or "") + number.translate(_SEPARATORS)
    return str(Decimal(text) / 100) if part.get("percent") else text

"""What a cell says as a number: as Python writes them, or as people do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

_CURRENCY = "$€£¥₹"
_CODES = r"AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|ILS|INR|JPY|KRW|MXN|NOK|NZD|PLN|SEK|SGD|TRY|USD|ZAR"  # ISO 4217
_BLANKS = " \u00a0\u2009\u202f"


@dataclass(frozen=True)
class _Style:
    """A way to write numbers: what a cell looks like (its groups "number", "percent" and "money" say what is what),
    and which mark stands before the fraction."""

    name: str
    pattern: re.Pattern[str]
    decimal: str


def _styles(decimal: str, group: str, plain: str, ending: str) -> tuple[_Style, ...]:
    """Numbers with a decimal mark, in groups of three with one mark between them or in none; percent; money."""
    groups = rf"(?:(?:\{group}\d{{3}})+|(?:'\d{{3}})+|(?:[{_BLANKS}]\d{{3}})+)"
    number = rf"(?:[1-9]\d{{0,2}}{groups}|0|[1-9]\d*)(?:\{decimal}\d+)?"
    money = (
        rf"(?P<sign>[+-]?)(?P<money>[{_CURRENCY}]|{_CODES})\s?(?P<number>{number})"
        rf"|(?P<number2>[+-]?{number})\s?(?P<money2>[{_CURRENCY}]|{_CODES})"
    )
    return (
        _Style(plain, re.compile(rf"(?P<number>[+-]?{number})"), decimal),
        _Style(f"percent signs{ending}", re.compile(rf"(?P<number>[+-]?{number})\s?(?P<percent>%)"), decimal),
        _Style(f"currency signs{ending}", re.compile(money), decimal),
    )


_POINTS = _styles(".", ",", "thousands separators", "")
_COMMAS = _styles(",", ".", "decimal commas", " and decimal commas")
_SEPARATORS = {mark: str.maketrans("", "", ",.'".replace(mark, "") + _BLANKS) for mark in ".,"}
_UNITS = re.compile(rf"[{_CURRENCY}%]|\b(?:{_CODES})\b")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+")  # 1.234: a thousand or one and a bit
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


def exactly(word: str) -> Decimal | None:
    """A cell as the number that it writes, to the last digit; None if it is none."""
    if not is_number(word):
        return None
    value = Decimal(word)
    return value.normalize() if value.is_finite() else None


def is_nested(cell: object) -> bool:
    """Whether a cell holds several values, or bytes of a meaning of their own."""
    return hasattr(cell, "__len__") and not isinstance(cell, str)


def is_number(word: str) -> bool:
    """Whether a cell is meant as a number, be it finite or not."""
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def written_as(words: Sequence[str], commas: bool = False) -> tuple[str, list[str]] | None:
    """How a column's words write numbers that Python does not read, and the numbers as it would; None where they do
    not, or in more than one currency.

    Args:
        commas: whether the table is known to write decimal commas, so that 1.234 is a thousand and 1,234 is not.
    """
    signed = [_with_plain_sign(word) for word in words]
    grouped, plain = commas and are_grouped(signed), all(map(is_number, signed))
    if not grouped and signed != list(words) and plain:
        return "signs of their own", signed
    if any(CODE.fullmatch(word) for word in signed):
        return None  # leading zeros mean something
    for style in (*_COMMAS, *_POINTS) if commas else (*_POINTS, *_COMMAS):
        if plain and not (grouped and style.decimal == ","):
            continue
        parts = _parts(style, signed)
        if any(parts):
            if len({part.get("money") or part.get("money2") for part in parts} - {None}) > 1:
                return None
            if any(part.get("percent") for part in parts) and not all(parts):
                return None  # 5% beside 7: nobody can tell what 7 is
            return style.name, [_plain(style, part, word) for part, word in zip(parts, signed, strict=True)]
    return None


def _parts(style: _Style, words: Sequence[str]) -> list[dict[str, str | None]]:
    """The groups of each word in a style, none of a number in any style; no parts as soon as a word is neither."""
    parts: list[dict[str, str | None]] = []
    for word in words:
        match = style.pattern.fullmatch(word)
        if match is None and not _plain_in(style, word):
            return []
        parts.append(match.groupdict() if match else {})
    return parts


def writes_decimal_commas(words: Sequence[str]) -> bool:
    """Whether a column's words can only be numbers with decimal commas: 1,5 and not 1,234."""
    style = written_as(words)
    return style is not None and style[0].endswith("decimal commas")


def are_grouped(words: Sequence[str]) -> bool:
    """Whether words could be whole numbers with points between their thousands, at least one having such a point."""
    found = [_GROUPED.fullmatch(word) is not None for word in words]
    return any(found) and all(match or word.lstrip("+-").isdecimal() for match, word in zip(found, words, strict=True))


def without_units(words: Sequence[str]) -> list[str]:
    """Words less the currency or percent sign that some of them bear."""
    return [_UNITS.sub("", _with_plain_sign(word)).strip() for word in words]


def _plain_in(style: _Style, word: str) -> bool:
    """Whether a cell is a number whichever the decimal mark."""
    return is_number(word) and (style.decimal == "." or "." not in word)


def _with_plain_sign(word: str) -> str:
    """A typographic minus as "-", and bookkeepers' (12) as "-12"."""
    if word.startswith("(") and word.endswith(")") and any(letter.isdigit() for letter in word):
        word = f"-{word[1:-1].strip()}"
    return word.replace("\u2212", "-")


def _plain(style: _Style, part: Mapping[str, str | None], word: str) -> str:
    """A cell as Python reads it: "-1,234 €" is "-1234", "5%" is "0.05"."""
    number = part.get("number") or part.get("number2")
    if number is None:
        return word
    text = (part.get("sign") or "") + number.translate(_SEPARATORS[style.decimal]).replace(style.decimal, ".")
    return str(Decimal(text) / 100) if part.get("percent") else text

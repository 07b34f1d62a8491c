"""Options of methods, model families and attacks: fields of a frozen dataclass that become flags of the command line.

    @dataclass(frozen=True)
    class MyOptions:
        strength: float = option(0.5, "how hard it forgets", kind=number(above=0))

gives `--strength` (with `per_side`, `--shadow_strength` and `--target_strength`), goes into the cache address, and into
the columns of results.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

_KEY = "option"


@dataclass(frozen=True)
class Option:
    """One option as the command line sees it.

    Attributes:
        name: of the field, and of the flag without its dashes.
        default: value without the flag.
        help: one line; the default is added to it.
        kind: text -> value; None for text.
        choices: the values there are.
        metavar: what the help shows for a value.
        per_side: whether shadow and target side have a flag each.
        shapes: whether it changes what is trained, hence is part of cache addresses and result rows.
        flags: how it is spelled, where not by its name.
    """

    name: str
    default: Any
    help: str
    kind: Callable[[str], Any] | None = None
    choices: Sequence[Any] | None = None
    metavar: str | None = None
    per_side: bool = False
    shapes: bool = True
    flags: tuple[str, ...] = ()


def option(default: Any, help: str, **more: Any) -> Any:
    """A dataclass field that is also a flag; the arguments are those of `Option`."""
    return field(default=default, metadata={_KEY: Option("", default, help, **more)})


@dataclass(frozen=True)
class NoOptions:
    """Of what has nothing to choose."""


def options_of(kind: type) -> Iterator[Option]:
    """The options that a dataclass declares."""
    for part in dataclasses.fields(kind):
        if _KEY in part.metadata:
            yield dataclasses.replace(part.metadata[_KEY], name=part.name)


def shaping(options: Any) -> dict[str, Any]:
    """Name -> plain value of all that changes what is trained; nested dataclasses become mappings."""
    idle = {found.name for found in options_of(type(options)) if not found.shapes}
    return {name: value for name, value in dataclasses.asdict(options).items() if name not in idle}


def columns(options: Any) -> dict[str, Any]:
    """`shaping`, with nested dataclasses spread out and absent ones left out: columns of result rows."""
    found: dict[str, Any] = {}
    for part in dataclasses.fields(options):
        value = getattr(options, part.name)
        if dataclasses.is_dataclass(value):
            found |= columns(value)
        elif _KEY in part.metadata and part.metadata[_KEY].shapes:
            found[part.name] = value
    return found


# ---------------------------------------------------------------- kinds of values


LARGEST = 2**31 - 1  # that every library takes for a count
_TINY, _HUGE = 1e-100, 1e100  # beyond, products vanish or are infinite


def whole(lowest: int = 0, highest: int = LARGEST) -> Callable[[str], int]:
    """Whole numbers from `lowest` to `highest`."""

    def parse(text: str) -> int:
        try:
            value = int(_plain(text))
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}") from None
        if value < lowest:
            raise argparse.ArgumentTypeError(f"must be at least {lowest}, found {value}")
        if value > highest:
            raise argparse.ArgumentTypeError(f"must be at most {highest}, found {value}")
        return value

    return parse


def number(above: float | None = None, at_least: float | None = None, at_most: float | None = None) -> Any:
    """Finite numbers within bounds."""

    def parse(text: str) -> float:
        try:
            value = float(_plain(text))
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a number, found {text!r}") from None
        if value and value not in (float("inf"), float("-inf")) and not _TINY <= abs(value) <= _HUGE:
            raise argparse.ArgumentTypeError(f"must be between {_TINY:g} and {_HUGE:g} in size, found {text}")
        if not float("-inf") < value < float("inf") or (above is not None and value <= above):
            raise argparse.ArgumentTypeError(f"must be {_bound(above)}finite, found {text}")
        if at_least is not None and value < at_least:
            raise argparse.ArgumentTypeError(f"must be at least {at_least:g}, found {text}")
        if at_most is not None and value > at_most:
            raise argparse.ArgumentTypeError(f"must be at most {at_most:g}, found {text}")
        return value

    return parse


def _plain(text: str) -> str:
    """The text of a number as it is usually written; Python's own underscores and other scripts' digits are none."""
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    return text


def _bound(above: float | None) -> str:
    return "" if above is None else f"above {above:g} and "


_ANSWERS = {"true": True, "t": True, "1": True, "yes": True, "y": True}
_ANSWERS |= {"false": False, "f": False, "0": False, "no": False, "n": False}


def boolean(text: str) -> bool:
    """True or false, also as t / f, y / n, 1 / 0."""
    try:
        return _ANSWERS[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"expected true or false, found {text!r}") from None


def distinct(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Comma-separated values, none twice."""

    def parse(text: str) -> tuple[Any, ...]:
        found = tuple(kind(part) for part in text.split(","))
        if len(set(found)) != len(found):
            raise argparse.ArgumentTypeError(f"names a value twice: {text}")
        return found

    return parse

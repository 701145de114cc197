"""Reading what people write: tables of TOML and JSON into attrs classes, with mistakes told in one line.

The same converters check what comes from a file, from the control API and from Python, so that a rule or a
profile that exists is one that makes sense.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import attrs

from remotevirt.errors import RemotevirtError

__all__ = [
    "SECONDS_MAXIMUM",
    "WorldError",
    "choice",
    "field",
    "flag",
    "make",
    "maybe",
    "number",
    "seconds",
    "text",
    "whole",
]

SECONDS_MAXIMUM: Final = 100 * 365 * 86400
"""Longest time that may be given: a century. Times are added up, and shall stay exact to the microsecond."""

TEXT_MAXIMUM: Final = 4096
"""Longest name, pattern or message, in characters."""

T = TypeVar("T")


class WorldError(RemotevirtError, ValueError):
    """A world, a rule or a profile that makes no sense; its text is one line that says where."""


def make(kind: type[T], table: object, where: str) -> T:
    """Make an attrs object of a table.

    Args:
        kind: the class.
        table: the values, by its fields' names.
        where: what the table is called in errors.

    Raises:
        WorldError: it is no table, has a key that the class does not know, or a value that makes no sense.
    """
    if not isinstance(table, Mapping):
        raise WorldError(f"{where}: a table is wanted, not {table!r:.80}")
    fields: Any = attrs.fields(kind)  # type: ignore[arg-type]
    known = [one.name for one in fields]
    for key in table:
        if key not in known:
            raise WorldError(f"{where}: there is no {key!r:.80}; known: {', '.join(known)}")
    for wanted in fields:
        if wanted.default is attrs.NOTHING and wanted.name not in table:
            raise WorldError(f"{where}: {wanted.name} is missing")
    try:
        return kind(**table)
    except ValueError as error:
        raise WorldError(f"{where}: {error}") from None


def number(name: str, low: float = 0.0, high: float = math.inf) -> Callable[[Any], float]:
    """Return a converter of numbers between two bounds."""

    def convert(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise WorldError(f"{name}: a number from {low:g} to {high:g} is wanted, not {value!r:.80}")
        return float(value)

    return convert


def seconds(name: str, low: float = 0.0) -> Callable[[Any], float]:
    """Return a converter of times."""
    return number(name, low, SECONDS_MAXIMUM)


def whole(name: str, low: int = 0, high: int = 2**31 - 1) -> Callable[[Any], int]:
    """Return a converter of whole numbers."""

    def convert(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise WorldError(f"{name}: a whole number from {low} to {high} is wanted, not {value!r:.80}")
        return value

    return convert


def text(name: str) -> Callable[[Any], str]:
    """Return a converter of texts."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or len(value) > TEXT_MAXIMUM or "\0" in value:
            raise WorldError(f"{name}: a text is wanted, not {value!r:.80}")
        return value

    return convert


def flag(name: str) -> Callable[[Any], bool]:
    """Return a converter of truth values."""

    def convert(value: Any) -> bool:
        if not isinstance(value, bool):
            raise WorldError(f"{name}: true or false is wanted, not {value!r:.80}")
        return value

    return convert


def choice(name: str, *words: str) -> Callable[[Any], str]:
    """Return a converter of one of some words."""

    def convert(value: Any) -> str:
        if value not in words:
            raise WorldError(f"{name}: one of {', '.join(words)} is wanted, not {value!r:.80}")
        return str(value)

    return convert


def field(convert: Callable[[Any], object], default: Any = attrs.NOTHING) -> Any:
    """Return an attrs field whose values are converted."""
    return attrs.field(default=default, converter=convert)


def maybe(convert: Callable[[Any], object], default: Any = None) -> Any:
    """Return an attrs field whose values are converted, or are None."""
    return attrs.field(default=default, converter=attrs.converters.optional(convert))

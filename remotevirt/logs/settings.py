"""libvirt's log settings as values: levels, filters, outputs, and the strings that say them.

::

    log_level     2                                     1 debug, 2 info, 3 warning, 4 error
    log_filters   "1:transport.tls 4:twisted"           LEVEL:MATCH ..., printed 1:*transport.tls* ...
    log_outputs   "1:file:/var/log/vm.log 3:journald"   LEVEL:KIND[:WHERE] ...

The strings are what ``libvirtd.conf`` holds, and what ``virt-admin daemon-log-filters`` and
``daemon-log-outputs`` print and take. Two kinds of output are ours: ``stdout`` and ``json:PATH``.
"""

from __future__ import annotations

import enum
import fnmatch
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NoReturn

import attrs

__all__ = [
    "Filter",
    "Kind",
    "Level",
    "Output",
    "parse_filters",
    "parse_level",
    "parse_outputs",
    "show",
]

MAX_PARTS = 64
"""Filters, and outputs, that one setting may hold; libvirt knows no bound. A hand writes a dozen at most."""

MAX_TEXT = 4096
"""Characters of a setting; the longest path that Linux opens has as many."""


class Level(enum.IntEnum):
    """How urgent a record is, by libvirt's numbers."""

    DEBUG = 1
    INFO = 2
    WARNING = 3
    ERROR = 4


class Kind(enum.Enum):
    """Where an output writes."""

    STDERR = "stderr"
    STDOUT = "stdout"
    FILE = "file"
    JSON = "json"
    SYSLOG = "syslog"
    JOURNALD = "journald"


PATH_KINDS = (Kind.FILE, Kind.JSON)
WHERE = {Kind.FILE: "an absolute path", Kind.JSON: "an absolute path", Kind.SYSLOG: "a name"}
"""What a kind of output wants after its name; the others want nothing."""


@attrs.frozen(slots=False)
class Filter:
    """A level of its own for some sources.

    Attributes:
        level: the least urgent level that passes.
        match: a glob that part of the source's name must match; libvirt writes it with a ``*`` on both
            sides, which need not be given and is not kept here.
    """

    level: Level
    match: str

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(fnmatch.translate(f"*{self.match}*"))

    def matches(self, source: str) -> bool:
        """Whether records of a source are this filter's business."""
        return self._pattern.match(source) is not None

    def __str__(self) -> str:
        return f"{self.level:d}:*{self.match}*" if self.match else f"{self.level:d}:*"


@attrs.frozen
class Output:
    """A place that records are written to.

    Attributes:
        level: the least urgent level that is written there.
        kind: what kind of place.
        where: the path of a file, or the name that syslog shows; empty for the other kinds.
    """

    level: Level
    kind: Kind
    where: str = ""

    def __str__(self) -> str:
        return f"{self.level:d}:{self.kind.value}" + (f":{self.where}" if self.where else "")


def show(parts: Iterable[Filter | Output]) -> str:
    """Filters or outputs as one string, which reads back as the same."""
    return " ".join(map(str, parts))


def parse_level(text: str) -> Level:
    """Read a level.

    Raises:
        ValueError: it is none.
    """
    if text not in ("1", "2", "3", "4"):
        raise ValueError(f"a log level is 1 (debug), 2 (info), 3 (warning) or 4 (error), not {text[:40]!r}")
    return Level(int(text))


def parse_filters(text: str) -> tuple[Filter, ...]:
    """Read filters; of two that match the same source, the first one counts.

    Raises:
        ValueError: one line that says which filter is wrong, and how.
    """
    found = []
    for part in _parts(text):
        level, colon, match = part.partition(":")
        match = match.removeprefix("+")  # older libvirts asked for stack traces by that; newer ones skip it
        if not colon or not match:
            _wrong("filter", part, "it is LEVEL:MATCH")
        if ":" in match:
            _wrong("filter", part, "a name of a source has no colon")
        found.append(Filter(_level("filter", part, level), match.strip("*")))
    return tuple(found)


def parse_outputs(text: str) -> tuple[Output, ...]:
    """Read outputs; of two for the same place the later one counts.

    Raises:
        ValueError: one line that says which output is wrong, and how.
    """
    found: dict[tuple[Kind, str], Output] = {}
    for part in _parts(text):
        level, _, rest = part.partition(":")
        name, colon, where = rest.partition(":")
        try:
            kind = Kind(name)
        except ValueError:
            _wrong("output", part, f"a kind is one of {', '.join(kind.value for kind in Kind)}")
        wanted = WHERE.get(kind)
        if wanted is None and colon:
            _wrong("output", part, f"{name} takes nothing more")
        if wanted is not None and (not where or (kind in PATH_KINDS and not where.startswith("/"))):
            _wrong("output", part, f"{name} wants {wanted}: LEVEL:{name}:...")
        found.pop((kind, where), None)
        found[kind, where] = Output(_level("output", part, level), kind, where)
    return tuple(found.values())


def _parts(text: str) -> Sequence[str]:
    if len(text) > MAX_TEXT:
        raise ValueError(f"log settings of more than {MAX_TEXT} characters")
    if "\0" in text:
        raise ValueError("log settings with a zero byte")
    parts = text.split()
    if len(parts) > MAX_PARTS:
        raise ValueError(f"more than {MAX_PARTS} log filters or outputs")
    return parts


def _level(what: str, part: str, level: str) -> Level:
    try:
        return parse_level(level)
    except ValueError as error:
        _wrong(what, part, str(error))


def _wrong(what: str, part: str, why: str) -> NoReturn:
    raise ValueError(f"log {what} {part[:80]!r}: {why}")

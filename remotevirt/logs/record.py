"""One thing that was logged, and the forms it is written in.

::

    text    2026-11-27 18:26:23.123+0000: 4711: info : remotevirt.transport.tls : TLS client ... refused: ...
    JSON    {"time": "2026-11-27T18:26:23.123Z", "level": "info", "source": ..., "message": ..., more fields}

The text is laid out as libvirtd's. What clients sent can be part of it, so a record cannot pretend to be two:
lines after the first are indented, and control characters are shown by their number.
"""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import attrs
from twisted.logger import LogLevel, formatEvent
from twisted.python.failure import Failure

from remotevirt.logs.settings import Level

__all__ = ["Record", "level_of", "source_of"]

MAX_MESSAGE = 32 * 1024
"""Characters of a message that are written; a traceback has a few thousand. The rest is cut."""

LEVELS: Mapping[Any, Level] = {
    LogLevel.debug: Level.DEBUG,
    LogLevel.info: Level.INFO,
    LogLevel.warn: Level.WARNING,
    LogLevel.error: Level.ERROR,
    LogLevel.critical: Level.ERROR,
}
"""Twisted's levels by libvirt's numbers."""

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def level_of(event: Mapping[str, Any]) -> Level:
    """How urgent an event of Twisted's log is."""
    return LEVELS.get(event.get("log_level"), Level.INFO)


def source_of(event: Mapping[str, Any]) -> str:
    """Which part of the program it comes from: as a rule the name of a module."""
    return str(event.get("log_namespace") or "unknown")


@attrs.frozen
class Record:
    """One thing that was logged.

    Attributes:
        time: when, in seconds since 1970.
        level: how urgent it is.
        source: the module that it comes from.
        message: what happened, a traceback below it where there is one; control characters made visible.
        fields: what else the event holds and JSON can say.
    """

    time: float
    level: Level
    source: str
    message: str
    fields: Mapping[str, Any] = attrs.field(factory=dict)

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Record:
        """Make a record of an event of Twisted's log."""
        message = formatEvent(dict(event))
        failure = event.get("log_failure")
        if isinstance(failure, Failure):
            message = f"{message}\n{failure.getTraceback()}"
        fields = {
            key: value
            for key, value in event.items()
            if not key.startswith("log_") and isinstance(value, str | int | float | bool | None)
        }
        text = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", message[:MAX_MESSAGE].rstrip("\n"))
        return cls(float(event.get("log_time", 0.0)), level_of(event), source_of(event), text, fields)

    @property
    def when(self) -> datetime.datetime:
        """When it happened, in universal time."""
        return datetime.datetime.fromtimestamp(self.time, datetime.UTC)

    def as_text(self) -> str:
        """Lay it out as libvirtd does, ending in a newline."""
        milliseconds = self.when.microsecond // 1000
        when = f"{self.when:%Y-%m-%d %H:%M:%S}.{milliseconds:03}+0000"
        message = self.message.replace("\n", "\n    ")
        return f"{when}: {os.getpid()}: {self.level.name.lower()} : {self.source} : {message}\n"

    def as_json(self) -> str:
        """One JSON object on one line, ending in a newline."""
        milliseconds = self.when.microsecond // 1000
        line = {
            "time": f"{self.when:%Y-%m-%dT%H:%M:%S}.{milliseconds:03}Z",
            "level": self.level.name.lower(),
            "source": self.source,
            "pid": os.getpid(),
            "message": self.message,
        }
        return json.dumps({**line, **self.fields, **line}) + "\n"

"""The log itself: an observer of Twisted's log that applies filters and hands records to outputs.

::

    event ──► level of its source ──────────────────────► level of each output ──► sink
              (the first filter that matches, log_level)
              less urgent: dropped, no text is made        less urgent: not there

All settings can be read and set while the daemon runs, as the strings that ``virt-admin`` shows and takes.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.logger import ILogObserver
from zope.interface import implementer

from remotevirt.logs.record import Record, level_of, source_of
from remotevirt.logs.settings import (
    Filter,
    Level,
    Output,
    parse_filters,
    parse_level,
    parse_outputs,
    show,
)
from remotevirt.logs.sinks import Sink, open_sink

__all__ = ["Logs"]

MAX_SOURCES = 1024
"""Sources whose level is remembered. There are as many as modules that log; a driver could invent more."""


@implementer(ILogObserver)
class Logs:
    """The daemon's log.

    Args:
        level: the level of sources that no filter matches.
        filters: levels for others; the first that matches counts.
        outputs: where to write; none means `default`.
        default: where to write when nothing else is said.
        open_sink: opens an output.

    Raises:
        ValueError: an output cannot be opened.
    """

    def __init__(
        self,
        level: Level = Level.INFO,
        filters: Sequence[Filter] = (),
        outputs: Sequence[Output] = (),
        default: Sequence[Output] = (),
        open_sink: Callable[[Output], Sink] = open_sink,
    ) -> None:
        self.level = level
        self.filters = tuple(filters)
        self.default = tuple(default)
        self._open_sink = open_sink
        self._sinks: dict[Output, Sink] = {}
        self._levels: dict[str, Level] = {}
        self._lock = threading.RLock()  # Twisted's log may be written to from any thread
        self._replace(outputs)

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take an event of Twisted's log."""
        source = source_of(event)
        level = level_of(event)
        with self._lock:
            wanted = self._levels.get(source)
            if wanted is None:
                wanted = self._level_of_source(source)
            if level < wanted:
                return
            record = None
            for output, sink in self._sinks.items():
                if level >= output.level:
                    if record is None:
                        record = Record.of(event)
                    sink.write(record)

    def _level_of_source(self, source: str) -> Level:
        if len(self._levels) >= MAX_SOURCES:
            self._levels.clear()
        for filter in self.filters:
            if filter.matches(source):
                self._levels[source] = filter.level
                break
        else:
            self._levels[source] = self.level
        return self._levels[source]

    def get_level(self) -> str:
        """The level of sources that no filter matches, as a string."""
        return str(int(self.level))

    def set_level(self, text: str) -> None:
        """Set the level of sources that no filter matches.

        Raises:
            ValueError: it is no level; nothing has changed.
        """
        level = parse_level(text)
        with self._lock:
            self.level = level
            self._levels.clear()

    def get_filters(self) -> str:
        """The filters, as ``virt-admin daemon-log-filters`` prints them; empty without any."""
        return show(self.filters)

    def set_filters(self, text: str) -> None:
        """Replace all filters; an empty string leaves none.

        Raises:
            ValueError: one of them is wrong; nothing has changed.
        """
        filters = parse_filters(text)
        with self._lock:
            self.filters = filters
            self._levels.clear()

    def get_outputs(self) -> str:
        """The outputs, as ``virt-admin daemon-log-outputs`` prints them."""
        return show(self._sinks)

    def set_outputs(self, text: str) -> None:
        """Replace all outputs; an empty string means the default ones again.

        Raises:
            ValueError: one of them is wrong, or cannot be opened; nothing has changed.
        """
        self._replace(parse_outputs(text))

    def _replace(self, outputs: Sequence[Output]) -> None:
        fresh: dict[Output, Sink] = {}
        try:
            for output in outputs or self.default:
                fresh[output] = self._open_sink(output)
        except ValueError:
            _close(fresh)
            raise
        with self._lock:
            old, self._sinks = self._sinks, fresh
        _close(old)

    def reopen(self) -> None:
        """Open files anew, after they have been moved away.

        Raises:
            ValueError: some could not be opened, and go on as they are; the others are open anew.
        """
        failed = []
        with self._lock:
            for output, sink in self._sinks.items():
                try:
                    sink.reopen()
                except OSError as error:
                    failed.append(f"log output {str(output)!r}: {error.strerror}")
        if failed:
            raise ValueError("; ".join(failed))

    def close(self) -> None:
        """Write no more."""
        with self._lock:
            old, self._sinks = self._sinks, {}
        _close(old)


def _close(sinks: Mapping[Output, Sink]) -> None:
    for output, sink in sinks.items():
        try:
            sink.close()
        except OSError as error:  # the last bytes of a file did not reach the disk
            if sys.__stderr__ is not None:
                sys.__stderr__.write(f"remotevirt: log output {str(output)!r}: {error.strerror}\n")

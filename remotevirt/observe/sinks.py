"""Where the audit trail's lines go: a file, or the systemd journal.

Both write a whole line in one system call, and both raise OSError when they cannot; what that means is for
:mod:`~remotevirt.observe.audit` to say.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

from twisted.logger import Logger

from remotevirt.outlets import JOURNAL, AppendedFile, DatagramOutlet, journal_record

__all__ = ["FileSink", "JournalSink", "LogSink", "Sink"]

CHECK_SECONDS = 1.0
"""Seconds between two looks at whether the file was moved away: lines written meanwhile go to the old one."""

MODE = 0o600
"""Permissions of a file that is made: the trail is for those who watch, not for those who are watched."""

PRIORITY_NOTICE = 5
"""syslog's number for what is normal but worth noting."""


class Sink(Protocol):
    """Takes lines."""

    def write(self, line: str, fields: Mapping[str, str]) -> None:
        """Write a line (without its end); ``fields`` are what an index wants to know of it.

        Raises:
            OSError: it could not be written.
        """

    def reopen(self) -> None:
        """Begin anew: what was opened may have been moved away."""

    def close(self) -> None:
        """Let go. May be called again."""


class LogSink:
    """Writes to the daemon's log, where filters and outputs decide what becomes of the lines."""

    log = Logger()

    def write(self, line: str, fields: Mapping[str, str]) -> None:
        """Write a line."""
        self.log.info("{line}", line=line, audit=dict(fields))

    def reopen(self) -> None:
        """Do nothing: the log sees to its own files."""

    def close(self) -> None:
        """Do nothing: the log goes on."""


class FileSink:
    """Appends to a file, and begins a new one when it was moved away (by logrotate, say).

    Args:
        path: the file; made with mode 0600 if it is not there.
        clock: the reactor.

    Raises:
        OSError: it cannot be opened.
    """

    log = Logger()

    def __init__(self, path: str, clock: Any) -> None:
        self._file = AppendedFile(path, MODE)
        self._clock = clock
        self._checked = clock.seconds()
        self._stale = False

    def write(self, line: str, fields: Mapping[str, str]) -> None:
        """Append a line."""
        now = self._clock.seconds()
        if self._file.closed or now - self._checked >= CHECK_SECONDS:
            self._checked = now
            if self._file.moved():
                self._follow()
        self._file.append(f"{line}\n")

    def _follow(self) -> None:
        """Open the path anew; as long as that fails, lines go to the moved file, which is said once."""
        try:
            self.reopen()
        except OSError as error:
            if self._file.closed:
                raise
            if not self._stale:
                self.log.error(
                    "{path} cannot be made anew: {reason}; lines go to the file that was moved away",
                    path=self._file.path,
                    reason=error.strerror,
                )
            self._stale = True

    def reopen(self) -> None:
        """Open the path anew; if that fails, what was open stays open."""
        self._file.reopen()
        self._stale = False

    def close(self) -> None:
        """Close the file; another write opens it again."""
        self._file.close()


class JournalSink:
    """Sends records to the systemd journal, in its own protocol.

    Args:
        path: its socket.

    Raises:
        OSError: there is no journal.
    """

    def __init__(self, path: str = JOURNAL) -> None:
        os.stat(path)
        self._outlet = DatagramOutlet(path)

    def write(self, line: str, fields: Mapping[str, str]) -> None:
        """Send a record whose message is the line, with the fields beside it."""
        record = {
            "MESSAGE": line,
            "PRIORITY": str(PRIORITY_NOTICE),
            "SYSLOG_IDENTIFIER": "remotevirt-audit",
            **{f"REMOTEVIRT_{name.upper()}": value for name, value in fields.items()},
        }
        self._outlet.send(journal_record(record))

    def reopen(self) -> None:
        """Do nothing: each record goes to whoever is the journal then."""

    def close(self) -> None:
        """Close our end."""
        self._outlet.close()

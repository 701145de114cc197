"""Where the audit trail's lines go: a file, or the systemd journal.

Both write a whole line in one system call, and both raise OSError when they cannot; what that means is for
:mod:`~remotevirt.observe.audit` to say.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from typing import Any, Protocol

from twisted.logger import Logger

__all__ = ["FileSink", "JournalSink", "LogSink", "Sink"]

CHECK_SECONDS = 1.0
"""Seconds between two looks at whether the file was moved away: lines written meanwhile go to the old one."""

MODE = 0o600
"""Permissions of a file that is made: the trail is for those who watch, not for those who are watched."""

JOURNAL = "/run/systemd/journal/socket"
"""Where systemd's journal takes records."""

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
        self.path = path
        self._clock = clock
        self._checked = clock.seconds()
        self._torn = False
        self._stale = False
        self._descriptor = self._open()

    def _open(self) -> int:
        # Not blocking: a FIFO that nobody reads shall be an error, and never stop the daemon.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        return os.open(self.path, flags, MODE)

    def write(self, line: str, fields: Mapping[str, str]) -> None:
        """Append a line."""
        now = self._clock.seconds()
        if self._descriptor < 0 or now - self._checked >= CHECK_SECONDS:
            self._checked = now
            if self._moved():
                self._follow()
        # What a full disk has cut off shall not swallow the next line as well.
        data = f"{chr(10) if self._torn else ''}{line}\n".encode()
        written = os.write(self._descriptor, data)
        self._torn = written < len(data)
        if self._torn:
            raise OSError(f"only {written} of {len(data)} bytes were written")

    def _moved(self) -> bool:
        """Tell whether the path no longer leads to what is open."""
        if self._descriptor < 0:
            return True
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False  # it cannot be seen, which does not mean that it was moved

    def _follow(self) -> None:
        """Open the path anew; as long as that fails, lines go to the moved file, which is said once."""
        try:
            self.reopen()
        except OSError as error:
            if self._descriptor < 0:
                raise
            if not self._stale:
                self.log.error(
                    "{path} cannot be made anew: {reason}; lines go to the file that was moved away",
                    path=self.path,
                    reason=error.strerror,
                )
            self._stale = True

    def reopen(self) -> None:
        """Open the path anew; if that fails, what was open stays open."""
        descriptor = self._open()
        self.close()
        self._descriptor = descriptor
        self._stale = False
        self._torn = False

    def close(self) -> None:
        """Close the file; another write opens it again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class JournalSink:
    """Sends records to the systemd journal, in its own protocol.

    Args:
        path: its socket.
    """

    def __init__(self, path: str = JOURNAL) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self.reopen()

    def write(self, line: str, fields: Mapping[str, str]) -> None:
        """Send a record whose message is the line, with the fields beside it."""
        if self._socket is None:
            self.reopen()
        assert self._socket is not None
        record = {
            "MESSAGE": line,
            "PRIORITY": str(PRIORITY_NOTICE),
            "SYSLOG_IDENTIFIER": "remotevirt-audit",
            **{f"REMOTEVIRT_{name.upper()}": value for name, value in fields.items()},
        }
        try:
            self._socket.send(b"".join(_field(name, value) for name, value in record.items()))
        except BlockingIOError:
            raise  # it is there, and busy
        except OSError:
            self.close()  # it was restarted: the next record finds the new one
            raise

    def reopen(self) -> None:
        """Find the journal's socket anew."""
        self.close()
        new = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            new.connect(self._path)
        except OSError:
            new.close()
            raise
        self._socket = new

    def close(self) -> None:
        """Close the socket; another record opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _field(name: str, value: str) -> bytes:
    """A field: ``NAME=value``, or where the value has several lines its length in between."""
    data = value.encode()
    if b"\n" in data:
        return b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(data)), data)
    return b"%s=%s\n" % (name.encode(), data)

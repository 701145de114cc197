"""What writes records: to a file, to standard output or error, to syslog, to the journal.

A sink that cannot write (a full disk, a journal that is not there) loses the record, counts it, and says so
in the place itself as soon as it can write again. Logging neither stops the daemon nor waits: sockets do not
block.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Protocol

from remotevirt.logs.record import Record
from remotevirt.logs.settings import Kind, Level, Output

__all__ = ["JOURNAL", "SYSLOG", "DatagramSink", "FileSink", "Sink", "StreamSink", "open_sink"]

JOURNAL = "/run/systemd/journal/socket"
"""Where systemd's journal takes records in its own form."""

SYSLOG = "/dev/log"
"""Where syslog takes them."""

IDENTIFIER = "remotevirt"
"""Who we are, for the journal."""

FILE_MODE = 0o600
"""Permissions of a log file that is made: a log names clients and objects. libvirtd's are the same."""

PRIORITIES = {Level.DEBUG: 7, Level.INFO: 6, Level.WARNING: 4, Level.ERROR: 3}
"""libvirt's levels by syslog's numbers."""

FACILITY_DAEMON = 3 << 3
"""LOG_DAEMON of syslog(3)."""


class Sink:
    """Writes records to one place. Subclasses say how.

    Attributes:
        lost: records that could not be written since the last one that could.
    """

    def __init__(self) -> None:
        self.lost = 0

    def write(self, record: Record) -> None:
        """Write a record; where that is not possible, count it."""
        try:
            if self.lost:
                text = f"{self.lost} records before this one could not be written here"
                self._write(Record(record.time, Level.ERROR, __name__, text))
                self.lost = 0
            self._write(record)
        except OSError:
            self.lost += 1

    def _write(self, record: Record) -> None:
        raise NotImplementedError

    def reopen(self) -> None:
        """Open the place anew, if it is one that may have been moved away.

        Raises:
            OSError: it cannot be opened; the sink goes on with what it has.
        """

    def close(self) -> None:
        """Write no more."""


class StreamSink(Sink):
    """Writes text to the standard output or error that the process began with; ``twistd`` replaced them.

    Args:
        name: ``"__stdout__"`` or ``"__stderr__"``.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def _write(self, record: Record) -> None:
        stream = getattr(sys, self.name)
        if stream is None:
            return
        encoding = stream.encoding or "utf-8"
        try:
            stream.write(record.as_text().encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
        except ValueError:
            raise OSError("it has been closed") from None


class FileSink(Sink):
    """Appends to a file, in text or JSON; made if need be.

    Args:
        path: where.
        json: whether each line is a JSON object.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str, *, json: bool = False) -> None:
        super().__init__()
        self.path = path
        self.json = json
        self._torn = False
        self._descriptor = self._open()

    def _open(self) -> int:
        # Not blocking: a FIFO that nobody reads is an error, and never stops the daemon.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY
        return os.open(self.path, flags, FILE_MODE)

    def _write(self, record: Record) -> None:
        # What a full disk has cut off shall not swallow the next line as well.
        text = "\n" if self._torn else ""
        data = f"{text}{record.as_json() if self.json else record.as_text()}".encode()
        written = os.write(self._descriptor, data)
        self._torn = written < len(data)
        if self._torn:
            raise OSError("the record is not whole")

    def reopen(self) -> None:
        """Open the path again: what rotates logs has moved the file away."""
        fresh = self._open()
        old, self._descriptor, self._torn = self._descriptor, fresh, False
        os.close(old)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class Form(Protocol):
    """Makes a datagram of a record."""

    def __call__(self, record: Record) -> bytes:
        """Return it."""


class DatagramSink(Sink):
    """Sends each record as a datagram to a UNIX socket, without waiting.

    Args:
        path: the socket's.
        form: makes the datagram.
    """

    def __init__(self, path: str, form: Form) -> None:
        super().__init__()
        self.path = path
        self.form = form
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def _write(self, record: Record) -> None:
        self._socket.sendto(self.form(record), self.path)

    def close(self) -> None:
        """Close our end."""
        self._socket.close()


def journal_form(record: Record) -> bytes:
    """A record in the journal's own form: fields, those of several lines with their length in front."""
    fields = {
        "MESSAGE": record.message,
        "PRIORITY": str(PRIORITIES[record.level]),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "LIBVIRT_SOURCE": record.source,
    }
    parts = []
    for name, text in fields.items():
        value = text.encode()
        if b"\n" in value:
            parts.append(b"%s\n%s%s\n" % (name.encode(), len(value).to_bytes(8, "little"), value))
        else:
            parts.append(b"%s=%s\n" % (name.encode(), value))
    return b"".join(parts)


def syslog_form(name: str) -> Form:
    """The form of syslog's local socket, with a name in front."""

    def form(record: Record) -> bytes:
        priority = FACILITY_DAEMON | PRIORITIES[record.level]
        message = record.message.replace("\n", " | ")
        return f"<{priority}>{name}[{os.getpid()}]: {record.source} : {message}".encode()

    return form


def open_sink(output: Output, *, journal: str = JOURNAL, syslog: str = SYSLOG) -> Sink:
    """Open what an output says.

    Args:
        output: the place.
        journal, syslog: the sockets of these two.

    Raises:
        ValueError: it cannot be opened; one line that says why.
    """
    kind = output.kind
    if kind in (Kind.FILE, Kind.JSON):
        # A ``file`` that is called .json gets JSON too, as libvirt's own tools know no kind ``json``.
        json = kind is Kind.JSON or output.where.endswith(".json")
        try:
            return FileSink(output.where, json=json)
        except OSError as error:
            raise ValueError(f"log output {str(output)!r}: {error.strerror}") from None
    if kind is Kind.SYSLOG or kind is Kind.JOURNALD:
        path = syslog if kind is Kind.SYSLOG else journal
        if not os.path.exists(path):
            raise ValueError(f"log output {str(output)!r}: there is no {path} on this system")
        return DatagramSink(path, syslog_form(output.where) if kind is Kind.SYSLOG else journal_form)
    return StreamSink("__stderr__" if kind is Kind.STDERR else "__stdout__")

"""What writes records: to a file, to standard output or error, to syslog, to the journal.

A sink that cannot write (a full disk, a journal that is not there) loses the record, counts it, and says so
in the place itself as soon as it can write again. Logging neither stops the daemon nor waits: sockets do not
block.
"""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from typing import Protocol

from remotevirt.logs.record import Record
from remotevirt.logs.settings import Kind, Level, Output
from remotevirt.outlets import JOURNAL, AppendedFile, DatagramOutlet, journal_record

__all__ = ["SYSLOG", "DatagramSink", "FileSink", "Sink", "StreamSink", "open_sink"]

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


class Sink(ABC):
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

    @abstractmethod
    def _write(self, record: Record) -> None:
        """Write a record; raises OSError."""

    def reopen(self) -> None:  # noqa: B027 - most places are never moved
        """Open the place anew, if it is one that may have been moved away.

        Raises:
            OSError: it cannot be opened; the sink goes on with what it has.
        """

    def close(self) -> None:  # noqa: B027 - some are not ours to close
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
        self.json = json
        self._file = AppendedFile(path, FILE_MODE)

    def _write(self, record: Record) -> None:
        self._file.append(record.as_json() if self.json else record.as_text())

    def reopen(self) -> None:
        """Open the path again: what rotates logs has moved the file away."""
        self._file.reopen()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


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
        self.form = form
        self._outlet = DatagramOutlet(path)

    def _write(self, record: Record) -> None:
        self._outlet.send(self.form(record))

    def close(self) -> None:
        """Close our end."""
        self._outlet.close()


def journal_form(record: Record) -> bytes:
    """A record in the journal's own form: fields, those of several lines with their length in front."""
    fields = {
        "MESSAGE": record.message,
        "PRIORITY": str(PRIORITIES[record.level]),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "LIBVIRT_SOURCE": record.source,
    }
    return journal_record(fields)


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

"""Where lines go that shall outlive the daemon: files that may be rotated, and the systemd journal.

The log and the audit trail both write there, each in its own form. Everything raises OSError when it fails;
what that means is for whoever writes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

__all__ = ["JOURNAL", "AppendedFile", "DatagramOutlet", "journal_record"]

JOURNAL = "/run/systemd/journal/socket"
"""Where systemd's journal takes records."""


class AppendedFile:
    """A file that is only appended to, each piece in one system call.

    Args:
        path: where; made if need be.
        mode: permissions of a file that is made.

    Raises:
        OSError: it cannot be opened.
    """

    __slots__ = ("_descriptor", "_mode", "_torn", "path")

    def __init__(self, path: str, mode: int) -> None:
        self.path = path
        self._mode = mode
        self._torn = False
        self._descriptor = self._open()

    def _open(self) -> int:
        # Not blocking: a FIFO that nobody reads shall be an error, and never stop the daemon.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        return os.open(self.path, flags, self._mode)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._descriptor < 0

    def append(self, text: str) -> None:
        """Append a piece that ends with its line.

        Raises:
            OSError: it could not be written, or not wholly.
        """
        # What a full disk has cut off shall not swallow the next line as well.
        data = ("\n" + text if self._torn else text).encode()
        written = os.write(self._descriptor, data)
        self._torn = written < len(data)
        if self._torn:
            raise OSError(f"only {written} of {len(data)} bytes were written")

    def moved(self) -> bool:
        """Tell whether the path no longer leads to what is open: somebody has rotated it."""
        if self.closed:
            return True
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False  # it cannot be seen, which does not mean that it was moved

    def reopen(self) -> None:
        """Open the path anew.

        Raises:
            OSError: that fails; what was open stays open.
        """
        descriptor = self._open()
        self.close()
        self._descriptor = descriptor
        self._torn = False

    def close(self) -> None:
        """Close it. May be called again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class DatagramOutlet:
    """Sends datagrams to a UNIX socket without waiting, whoever listens there at the time.

    Args:
        path: the socket's.
    """

    __slots__ = ("_socket", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    def send(self, data: bytes) -> None:
        """Send one.

        Raises:
            OSError: nobody is there, or it has too much to do.
        """
        self._socket.sendto(data, self.path)

    def close(self) -> None:
        """Close our end. May be called again."""
        self._socket.close()


def journal_record(fields: Mapping[str, str]) -> bytes:
    """Return a datagram in the journal's own form: fields, those of several lines with their length."""
    parts = []
    for name, text in fields.items():
        value = text.encode()
        if b"\n" in value:
            parts.append(b"%s\n%s%s\n" % (name.encode(), len(value).to_bytes(8, "little"), value))
        else:
            parts.append(b"%s=%s\n" % (name.encode(), value))
    return b"".join(parts)

"""The host's end of a guest's console or channel, as a stream.

::

    client ── write ──► LineStream ──► terminal or socket ──► QEMU ──► guest     as fast as the guest reads
    client ◄── read ─── LineStream ◄── terminal or socket ◄── QEMU ◄── guest     as fast as the client reads

Nothing is kept here but the bytes of one packet that the guest has not taken yet, and nothing is read before
the client can take it: whoever is slow holds up the other end only.

A line has one holder at a time. It ends when the client says so; when somebody else takes it by force, which
the client is told as a failure; and when the guest ends, which is the end of what can be read.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from remotevirt.drivers.qemu.settings import Settings
from remotevirt.drivers.streams import DriverStream
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationDenied, Rpc, VirSystemError

__all__ = ["LineHolders", "LineStream", "open_socket", "open_terminal"]

READ_MAXIMUM: Final = 65536
"""Bytes that are read at once; a terminal holds 4 KiB, a UNIX socket some 200."""


def _lost() -> VirError:
    """Return what libvirt's daemon says of a stream whose end on the host is gone."""
    return Rpc("stream had I/O failure", domain=c.VIR_FROM_STREAMS)


class LineStream(DriverStream):
    """A descriptor as a stream; the reactor is told of it only while somebody waits.

    Args:
        reactor: for input and output.
        descriptor: of a terminal or a connected socket, not blocking; closed here.
    """

    readable = True
    writable = True

    def __init__(self, reactor: Any, descriptor: int) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._holders: LineHolders | None = None
        self._name = ""
        self._size = 0
        self._reader: Deferred[bytes] | None = None
        self._writer: Deferred[None] | None = None
        self._unwritten = b""
        self._ended = False
        """The guest is gone: what is still there may be read."""
        self._ousted = False

    # -- as the server's stream ------------------------------------------------------------------------

    def read(self, size: int) -> bytes | Deferred[bytes]:
        """Return what the guest has sent, at least a byte; waits for it. No bytes when the guest is gone."""
        self._size = min(size, READ_MAXIMUM)
        found = self._take()
        if found is not None:
            return found
        self._reader = Deferred(self._cancelled)
        self._reactor.addReader(self)
        return self._reader

    def write(self, data: bytes) -> Deferred[None] | None:
        """Send to the guest; waits until all of it is on its way."""
        self._unwritten = data
        if self._put():
            return None
        self._writer = Deferred(self._cancelled)
        self._reactor.addWriter(self)
        return self._writer

    def finish(self) -> None:
        """Let go of the line."""
        self.abort()

    def abort(self) -> None:
        """Let go of the line; does nothing if that was done."""
        holders, self._holders = self._holders, None
        if holders is not None:
            holders.release(self._name, self)
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor != -1:
            self._forget()
            os.close(descriptor)

    # -- as whoever holds the line -----------------------------------------------------------------------

    def hold(self, holders: LineHolders, name: str) -> None:
        """Be the one who holds a line, until :meth:`abort`."""
        self._holders, self._name = holders, name

    def oust(self) -> None:
        """Make place for somebody else; the client is told that its stream has failed."""
        self._ousted = True
        self.abort()
        self._fail()

    def guest_ended(self) -> None:
        """Wait no more: give what has come, and then the end."""
        self._ended = True
        self._hung_up()

    # -- as the reactor's descriptor ---------------------------------------------------------------------

    def fileno(self) -> int:
        """Return the descriptor; -1 when it is closed."""
        return self._descriptor

    def logPrefix(self) -> str:
        """Return what the reactor's log calls it."""
        return "console"

    def doRead(self) -> None:
        """Give whoever waits what has come."""
        self._answer_reader()

    def doWrite(self) -> None:
        """Send more of what waits."""
        try:
            done = self._put()
        except VirError:
            writer = self._drop_writer()
            if writer is not None:
                writer.errback(Failure())
            return
        if done:
            writer = self._drop_writer()
            if writer is not None:
                writer.callback(None)

    def connectionLost(self, reason: Failure) -> None:
        """QEMU has closed its end, or the reactor stops; the descriptor is no longer watched."""
        self._hung_up()

    # -- inside ------------------------------------------------------------------------------------------

    def _take(self) -> bytes | None:
        """Read what there is; None if nothing has come yet.

        Raises:
            Rpc: the line was taken away.
        """
        if self._descriptor == -1:
            if self._ousted:
                raise _lost()
            return b""
        try:
            return os.read(self._descriptor, self._size)
        except BlockingIOError:
            return b"" if self._ended else None
        except OSError:
            return b""  # EIO: nobody has the other end of the terminal any more

    def _put(self) -> bool:
        """Send what is not sent; return whether that was all.

        Raises:
            Rpc: nobody has the other end any more.
        """
        if self._descriptor == -1:
            raise _lost()
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(self._descriptor, self._unwritten) :]
        except BlockingIOError:
            return False
        except OSError:
            self._unwritten = b""
            raise _lost() from None
        return True

    def _answer_reader(self) -> None:
        try:
            found = self._take()
        except VirError:
            reader = self._drop_reader()
            if reader is not None:
                reader.errback(Failure())
            return
        if found is not None:
            reader = self._drop_reader()
            if reader is not None:
                reader.callback(found)

    def _hung_up(self) -> None:
        if self._reader is not None:
            self._answer_reader()
            reader = self._drop_reader()
            if reader is not None:
                reader.callback(b"")
        writer = self._drop_writer()
        if writer is not None:
            writer.errback(_lost())

    def _fail(self) -> None:
        """Tell whoever waits that the line is lost."""
        for waiting in (self._drop_reader(), self._drop_writer()):
            if waiting is not None:
                waiting.errback(_lost())

    def _cancelled(self, _: object) -> None:
        """Nobody waits any more: the stream has ended."""
        self._drop_reader()
        self._drop_writer()

    def _drop_reader(self) -> Deferred[bytes] | None:
        """Stop waiting for bytes of the guest; return who did."""
        reader, self._reader = self._reader, None
        if reader is not None:
            self._reactor.removeReader(self)
        return reader

    def _drop_writer(self) -> Deferred[None] | None:
        """Stop waiting for the guest to take bytes; return who did."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._reactor.removeWriter(self)
        return writer

    def _forget(self) -> None:
        """Have the reactor forget the descriptor, before it is closed."""
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)


class LineHolders:
    """Who holds which line of a guest, by the alias of its device."""

    def __init__(self) -> None:
        self._by_name: dict[str, LineStream] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def put(self, name: str, stream: LineStream) -> None:
        """Give a line to a stream; whoever had it is thrown out."""
        old = self._by_name.pop(name, None)
        if old is not None:
            old.oust()
        self._by_name[name] = stream
        stream.hold(self, name)

    def release(self, name: str, stream: LineStream) -> None:
        """Take note that a stream has let go of a line."""
        if self._by_name.get(name) is stream:
            del self._by_name[name]

    def close(self) -> None:
        """The guest has ended: so do the streams, when what has come is read."""
        streams, self._by_name = list(self._by_name.values()), {}
        for stream in streams:
            stream.guest_ended()


_TERMINAL: Final = re.compile(r"/dev/pts/[0-9]{1,10}")
"""Pseudo-terminals; the folder holds nothing else that has a number."""


def open_terminal(path: str, settings: Settings) -> int:
    """Open a guest's pseudo-terminal.

    Its name comes from QEMU, and a guest may have broken out into that: another user's terminal is refused.

    Raises:
        VirSystemError: it cannot be opened.
        OperationDenied: it is none of QEMU's.
    """
    flags = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
    if not _TERMINAL.fullmatch(path):
        raise _not_ours(path)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise _cannot_open(path, error) from error
    try:
        found = os.fstat(descriptor)
        if not os.isatty(descriptor) or found.st_uid != _owner(settings):
            raise _not_ours(path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_socket(path: str, settings: Settings) -> int:
    """Connect to a socket on which a guest's QEMU listens.

    The folder that it is in may be QEMU's own, and so changed by a guest that has broken out: the socket is
    looked at first, and then connected to by its descriptor. It must be the guest's user's own.

    Raises:
        VirSystemError: nobody listens there, or another client has been there before.
        OperationDenied: it is none of QEMU's.
    """
    try:
        place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise _cannot_open(path, error) from error
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found = os.fstat(place)
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != _owner(settings):
            raise _not_ours(path)
        connected.setblocking(False)
        connected.connect(f"/proc/self/fd/{place}")
        return connected.detach()
    except OSError as error:
        raise _cannot_open(path, error) from error
    finally:
        os.close(place)
        connected.close()


def _owner(settings: Settings) -> int:
    return os.geteuid() if settings.user is None else settings.user.uid


def _cannot_open(path: str, error: OSError) -> VirError:
    text = f"Unable to open stream for '{path}': {error.strerror}"
    return VirSystemError(text, domain=c.VIR_FROM_STREAMS, int1=error.errno or 0)


def _not_ours(path: str) -> VirError:
    return OperationDenied(f"'{path}' does not belong to the guest", domain=c.VIR_FROM_QEMU)

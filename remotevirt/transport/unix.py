"""UNIX sockets that outlive crashes, and are never taken from a daemon that is alive.

A daemon that was killed leaves its socket's name behind, and the next ``bind`` fails. Twisted's own remedy is
a lock file with a process id in it, which fails where ids repeat: a container's daemon always has the same
one, so the stale lock looks alive for ever. Here the socket itself is asked. Connecting tells the truth: a
name nobody listens on refuses, and may be replaced; one that accepts (or whose queue is full) is somebody's,
and is left.

Between asking and binding another daemon could do the same, so both steps happen while the folder is locked
(``flock`` on the folder itself: the kernel drops it with the process, and no file is left over).
"""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet import unix
from twisted.internet.defer import Deferred, execute
from twisted.internet.error import AlreadyListened, CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from remotevirt.description import DescriptionError

__all__ = ["BACKLOG", "AdoptedUnixEndpoint", "UnixEndpoint"]

MAX_PATH = 107
"""Bytes in a socket's path: sockaddr_un holds 108, one of them the closing zero (unix(7))."""

BACKLOG = 1000
"""Connections that may wait to be accepted: libvirtd's default for ``max_queued_clients``. Beyond, a client
that does not wait for its connection is told to try again."""

PROBE_TIMEOUT = 1.0
"""Seconds to wait for a connection to a socket that exists. The kernel answers for a listener, even one that
hangs, in microseconds, unless its queue is full."""


@implementer(IStreamServerEndpoint)
class UnixEndpoint:
    """Listens on a path in the file system.

    Args:
        reactor: provides IReactorUNIX.
        path: where.
        mode: permission bits; who may connect needs write permission.
        backlog: connections that may wait to be accepted.
        group: name or number of the group that shall own the socket; None leaves it.
    """

    def __init__(
        self, reactor: Any, path: str, mode: int = 0o700, backlog: int = BACKLOG, group: str | None = None
    ) -> None:
        if len(os.fsencode(path)) > MAX_PATH:
            raise DescriptionError(f"unix:{path}: a socket's path holds at most {MAX_PATH} bytes")
        self.reactor = reactor
        self.path = path
        self.mode = mode
        self.backlog = backlog
        self._bound = False
        self.gid = None if group is None else _group_id(group)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Start listening.

        Returns:
            A Deferred of the port, or of :class:`~twisted.internet.error.CannotListenError`.
        """
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        try:
            with _folder_locked(os.path.dirname(self.path) or "."):
                _remove_if_dead(self.path)
                # The name must not be open to everybody between bind and chmod.
                before = os.umask(0o177)
                try:
                    port = self.reactor.listenUNIX(self.path, factory, self.backlog, self.mode, wantPID=False)
                finally:
                    os.umask(before)
        except OSError as error:
            raise CannotListenError(None, self.path, error) from error
        if self.gid is not None:
            try:
                os.chown(self.path, -1, self.gid)
            except OSError as error:
                port.stopListening()
                raise CannotListenError(None, self.path, error) from error
        self._bound = True
        return port  # type: ignore[no-any-return]

    def remove_name(self) -> None:
        """Remove the socket's name where Twisted will not: the reactor never ran, and closes nothing now."""
        if self._bound and not self.reactor.running:
            os.unlink(self.path)
            self._bound = False


@implementer(IStreamServerEndpoint)
class AdoptedUnixEndpoint:
    """A UNIX socket that another process (systemd) opened, whose name and permissions stay as they are.

    Twisted treats an adopted socket as its own. It gives it mode 666, where the operator may have said
    ``SocketMode=0600`` (or fails to, where root made it and we are somebody else), and removes its name
    in the end, although systemd goes on listening and would start us again at the next connection.

    Args:
        reactor: what reads from the socket.
        descriptor: the listening socket; it is ours from now on.
    """

    def __init__(self, reactor: Any, descriptor: int) -> None:
        self.reactor = reactor
        self.descriptor: int | None = descriptor

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Start accepting.

        Returns:
            A Deferred of the port; of AlreadyListened at the second call, the socket being used up.
        """
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        if self.descriptor is None:
            raise AlreadyListened()
        listening = socket.socket(fileno=self.descriptor)
        self.descriptor = None
        listening.setblocking(False)
        # Twisted touches no file for a socket whose name begins with a zero byte. The port still says where
        # it is, for that it asks the socket.
        port = unix.Port(b"\0", factory, reactor=self.reactor)
        port._preexistingSocket = listening
        port.startListening()
        return port


def _group_id(group: str) -> int:
    """The number of a group that is named by name or number."""
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise DescriptionError(f"there is no group {group!r}") from None


@contextmanager
def _folder_locked(folder: str) -> Iterator[None]:
    """Hold the folder's lock, so that of two daemons starting at once one sees the other's socket."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(
                errno.EAGAIN, "another daemon is opening a socket in this folder just now"
            ) from None
        yield
    finally:
        os.close(handle)


def _remove_if_dead(path: str) -> None:
    """Remove a socket that nobody listens on.

    Raises:
        OSError: somebody listens there, or what is there is no socket.
    """
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise OSError(errno.EEXIST, "something that is not a socket is there")
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.settimeout(PROBE_TIMEOUT)
        probe.connect(path)
    except ConnectionRefusedError:
        os.unlink(path)
    except (TimeoutError, BlockingIOError):
        raise OSError(errno.EADDRINUSE, "a daemon that is busy listens there") from None
    else:
        raise OSError(errno.EADDRINUSE, "another daemon listens there")
    finally:
        probe.close()

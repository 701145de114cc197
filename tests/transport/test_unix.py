"""UNIX sockets: permissions, and whose socket may be replaced."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import AlreadyListened, CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.utils import getProcessValue
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from remotevirt.description import DescriptionError
from remotevirt.transport.unix import AdoptedUnixEndpoint, UnixEndpoint


class Ended(Protocol):
    """Tells when its connection is over."""

    def __init__(self) -> None:
        self.over: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.over.callback(None)


class UnixEndpointTests(TestCase):
    """Listening on a path."""

    def setUp(self) -> None:
        # A socket's path is short; trial's own temporary folders are not.
        self.folder = Path(os.path.relpath(self.mktemp()))
        self.folder.mkdir(parents=True)
        self.path = str(self.folder / "sock")
        self.ports: list[IListeningPort] = []

    @inlineCallbacks
    def tearDown(self) -> Any:
        for port in self.ports:
            yield port.stopListening()

    @inlineCallbacks
    def listen(self, **options: Any) -> Any:
        port = yield UnixEndpoint(reactor, self.path, **options).listen(Factory.forProtocol(Protocol))
        self.ports.append(port)
        return port

    @inlineCallbacks
    def refused(self, **options: Any) -> Any:
        """Listening fails; returns the operating system's words for it."""
        failure = yield self.assertFailure(self.listen(**options), CannotListenError)
        return failure.socketError.strerror

    @inlineCallbacks
    def test_mode_and_removal(self) -> Any:
        before = os.umask(0)
        try:
            port = yield self.listen(mode=0o764)
        finally:
            os.umask(before)
        self.assertEqual(0o764, stat.S_IMODE(os.stat(self.path).st_mode))
        yield port.stopListening()
        self.assertFalse(os.path.exists(self.path))
        self.assertEqual([], os.listdir(self.folder))

    @inlineCallbacks
    def test_umask_is_left_alone(self) -> Any:
        before = os.umask(0o027)
        try:
            yield self.listen()
            self.assertEqual(0o027, os.umask(0o027))
        finally:
            os.umask(before)

    @inlineCallbacks
    def test_dead_daemons_socket_is_replaced(self) -> Any:
        script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()"
        status = yield getProcessValue(sys.executable, ["-c", script, self.path], env=os.environ)
        self.assertEqual(0, status)
        self.assertTrue(os.path.exists(self.path))
        yield self.listen()
        client = yield connectProtocol(UNIXClientEndpoint(reactor, self.path), Ended())
        client.transport.loseConnection()
        yield client.over

    @inlineCallbacks
    def test_live_daemons_socket_is_left(self) -> Any:
        yield self.listen()
        inode = os.stat(self.path).st_ino
        self.assertEqual("another daemon listens there", (yield self.refused()))
        self.assertEqual(inode, os.stat(self.path).st_ino)

    @inlineCallbacks
    def test_hanging_daemons_socket_is_left(self) -> Any:
        """A daemon that accepts nobody, its queue full, is alive all the same."""
        with socket.socket(socket.AF_UNIX) as hanging, socket.socket(socket.AF_UNIX) as waiting:
            hanging.bind(self.path)
            hanging.listen(0)
            waiting.connect(self.path)
            self.patch(sys.modules[UnixEndpoint.__module__], "PROBE_TIMEOUT", 0.01)
            self.assertEqual("a daemon that is busy listens there", (yield self.refused()))
        self.assertTrue(os.path.exists(self.path))

    @inlineCallbacks
    def test_other_files_are_left(self) -> Any:
        Path(self.path).write_text("precious")
        self.assertEqual("something that is not a socket is there", (yield self.refused()))
        self.assertEqual("precious", Path(self.path).read_text())

    @inlineCallbacks
    def test_link_to_a_file_is_left(self) -> Any:
        os.symlink("nowhere", self.path)
        self.assertEqual("something that is not a socket is there", (yield self.refused()))

    @inlineCallbacks
    def test_missing_folder(self) -> Any:
        self.path = str(self.folder / "none" / "sock")
        self.assertEqual("No such file or directory", (yield self.refused()))

    @inlineCallbacks
    def test_folder_in_use(self) -> Any:
        """While another daemon opens its socket in the same folder, nothing there is judged."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self.assertIn("just now", (yield self.refused()))
        finally:
            os.close(handle)
        yield self.listen()

    def test_long_path(self) -> None:
        UnixEndpoint(reactor, "x" * 107)
        error = self.assertRaises(DescriptionError, UnixEndpoint, reactor, "x" * 108)
        self.assertIn("at most 107 bytes", str(error))

    def test_unknown_group(self) -> None:
        error = self.assertRaises(DescriptionError, UnixEndpoint, reactor, self.path, group="no such group")
        self.assertIn("'no such group'", str(error))

    @inlineCallbacks
    def test_group(self) -> Any:
        group = 1 if os.geteuid() == 0 else os.getgroups()[-1]
        yield self.listen(group=str(group))
        self.assertEqual(group, os.stat(self.path).st_gid)

    @inlineCallbacks
    def test_adopted_socket_stays_as_it_is(self) -> Any:
        with socket.socket(socket.AF_UNIX) as systemd:
            systemd.bind(self.path)
            systemd.listen()
            os.chmod(self.path, 0o600)
            adopted = AdoptedUnixEndpoint(reactor, os.dup(systemd.fileno()))
            port = yield adopted.listen(Factory.forProtocol(Protocol))
            self.assertEqual(0o600, stat.S_IMODE(os.stat(self.path).st_mode))
            self.assertEqual(UNIXAddress(os.fsencode(self.path)), port.getHost())
            client = yield connectProtocol(UNIXClientEndpoint(reactor, self.path), Ended())
            client.transport.loseConnection()
            yield client.over
            yield port.stopListening()
            self.assertTrue(os.path.exists(self.path))
            self.assertNotIn(port, reactor.getReaders())
            yield self.assertFailure(adopted.listen(Factory.forProtocol(Protocol)), AlreadyListened)

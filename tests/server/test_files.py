"""Descriptors over a real UNIX socket, to the daemon and from it."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import tempfile
from typing import Any

from twisted.internet import reactor as twisted_reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from remotevirt.drivers import FilesResult
from remotevirt.rpc.message import pack_call
from remotevirt.server import Daemon, ServerFactory
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote
from remotevirt.stubs.message import MessageError
from remotevirt.transport import identify
from tests.server.fakes import DOMAIN, FakeDriver

reactor: Any = twisted_reactor
NUMBER = remote.PROGRAM.number
CREATE = remote.PROGRAM.by_name["domain_create_with_files"]
GRAPHICS = remote.PROGRAM.by_name["domain_open_graphics_fd"]
TIMEOUT = 10.0


class FilesTests(TestCase):
    """One daemon in this process; its client blocks in a thread."""

    @inlineCallbacks
    def setUp(self) -> Any:
        self.driver = FakeDriver()
        self.hypervisor = self.driver.hypervisor
        self.daemon = Daemon([self.driver])
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        self.path = f"{folder}/sock"
        factory = ServerFactory(self.daemon.server, transport="unix", identify=identify)
        port = yield UNIXServerEndpoint(reactor, self.path).listen(factory)
        self.addCleanup(port.stopListening)
        self.socket = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.socket.close)
        self.socket.settimeout(TIMEOUT)
        self.buffer = b""
        yield deferToThread(self._open)
        before = len(os.listdir("/proc/self/fd"))
        self.addCleanup(lambda: self.assertLessEqual(len(os.listdir("/proc/self/fd")), before))

    def _open(self) -> None:
        self.socket.connect(self.path)
        call = remote.PROGRAM.by_name["connect_open"]
        self.socket.sendall(pack_call(NUMBER, 1, call.number, 1, call.args(None, 0).pack()))
        assert self._reply()[5] == 0

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def _reply(self) -> tuple[Any, ...]:
        """Program, version, procedure, type, serial, status and payload of the next message."""
        (length,) = struct.unpack(">I", self._receive(4))
        data = self._receive(length - 4)
        return (*struct.unpack_from(">6I", data), data[24:])

    def _create(self, files: list[int], serial: int = 5) -> None:
        data = pack_call(
            NUMBER, 1, CREATE.number, serial, CREATE.args(DOMAIN, 0).pack(), descriptors=len(files)
        )
        self.socket.sendall(data)
        for descriptor in files:
            socket.send_fds(self.socket, [b"\0"], [descriptor])

    @inlineCallbacks
    def test_received(self) -> Any:
        """The driver gets them, in order, and they are closed when its call has ended, not before."""
        got: list[list[int]] = []
        waiting: Deferred[Any] = Deferred()
        arrived: Deferred[None] = Deferred()

        def create(dom: Any, flags: int, files: list[int]) -> Deferred[Any]:
            got.append(list(files))
            arrived.callback(None)
            return waiting

        self.hypervisor.domain_create_with_files = create
        pipes = [os.pipe() for _ in range(3)]
        for reader, _ in pipes:
            self.addCleanup(os.close, reader)
        yield deferToThread(self._create, [writer for _, writer in pipes])
        for _, writer in pipes:
            os.close(writer)
        yield arrived
        for number, descriptor in enumerate(got[0]):
            os.write(descriptor, b"%d" % number)
        waiting.callback(DOMAIN)
        reply = yield deferToThread(self._reply)
        self.assertEqual((1, 5, 0), (reply[3], reply[4], reply[5]))
        for number, (reader, _) in enumerate(pipes):
            self.assertEqual(b"%d" % number, os.read(reader, 5))
            self.assertEqual(b"", os.read(reader, 5), "nobody holds the other end")

    @inlineCallbacks
    def test_refused(self) -> Any:
        """Closed where the call fails; the next call is served."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        yield deferToThread(self._create, [writer])
        os.close(writer)
        reply = yield deferToThread(self._reply)
        error = MessageError.unpack(reply[6], 0)[0]
        self.assertEqual((1, vir.VIR_ERR_NO_SUPPORT), (reply[5], error.code))
        self.assertEqual(b"", os.read(reader, 5))
        self.hypervisor.domain_open_graphics_fd = lambda *_: 1 / 0
        yield deferToThread(self._ask_graphics)
        reply = yield deferToThread(self._reply)
        self.assertEqual((1, 6, 1), (reply[3], reply[4], reply[5]), "an error carries no descriptors")
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    @inlineCallbacks
    def test_vanished(self) -> Any:
        """A client that goes while its call runs: they are closed."""
        arrived: Deferred[None] = Deferred()

        def create(dom: Any, flags: int, files: list[int]) -> Deferred[Any]:
            arrived.callback(None)
            return Deferred()

        self.hypervisor.domain_create_with_files = create
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        yield deferToThread(self._create, [writer])
        os.close(writer)
        yield arrived
        self.socket.close()
        waiting: Deferred[Any] = Deferred()
        reactor.addReader(_Watch(reader, waiting))
        data = yield waiting.addTimeout(TIMEOUT, reactor)
        self.assertEqual(b"", data)

    def _ask_graphics(self) -> None:
        self.socket.sendall(pack_call(NUMBER, 1, GRAPHICS.number, 6, GRAPHICS.args(DOMAIN, 0, 0).pack()))

    def _take_graphics(self, count: int) -> tuple[tuple[Any, ...], list[int]]:
        """The reply, and its descriptors, each taken with its own byte, as libvirt's client does."""
        reply = self._reply()
        files = []
        for _ in range(count):
            _, got, _, _ = socket.recv_fds(self.socket, 1, 1)
            files += got
        return reply, files

    @inlineCallbacks
    def test_sent(self) -> Any:
        """Behind the reply, which says how many; the daemon's own are closed."""
        reader, writer = os.pipe()
        other = os.open("/dev/null", os.O_RDONLY)
        self.addCleanup(os.close, reader)
        self.hypervisor.domain_open_graphics_fd = lambda *_: FilesResult((writer, other), None)
        self.hypervisor.connect_get_version = lambda: 7
        yield deferToThread(self._ask_graphics)
        version = remote.PROGRAM.by_name["connect_get_version"].number
        self.socket.sendall(pack_call(NUMBER, 1, version, 7))
        reply, files = yield deferToThread(self._take_graphics, 2)
        self.assertEqual((5, 6, 0, struct.pack(">I", 2)), (reply[3], reply[4], reply[5], reply[6]))
        self.assertEqual(2, len(files))
        os.write(files[0], b"hello")
        self.assertEqual(b"hello", os.read(reader, 10))
        for descriptor in files:
            os.close(descriptor)
        self.assertEqual(b"", os.read(reader, 10))
        self.assertRaises(OSError, os.fstat, other)
        reply = yield deferToThread(self._reply)
        self.assertEqual((1, 7), (reply[3], reply[4]))

    @inlineCallbacks
    def test_sent_to_a_client_that_reads_late(self) -> Any:
        """Descriptors wait until what was written before has gone out, and keep their place."""
        text = "x" * 1_000_000
        pipes = [os.pipe() for _ in range(3)]
        writers = iter([writer for _, writer in pipes])
        self.hypervisor.connect_get_capabilities = lambda: text
        self.hypervisor.domain_open_graphics_fd = lambda *_: FilesResult((next(writers),), None)
        capabilities = remote.PROGRAM.by_name["connect_get_capabilities"].number

        def ask() -> None:
            for serial in range(3):
                self.socket.sendall(pack_call(NUMBER, 1, capabilities, 10 + serial))
                self._ask_graphics()

        def take() -> list[tuple[Any, ...]]:
            found: list[tuple[Any, ...]] = []
            for serial in range(3):
                found.append(self._reply()[:6])
                reply, files = self._take_graphics(1)
                found.append(reply[:6])
                os.write(files[0], b"%d" % serial)
                os.close(files[0])
            return found

        yield deferToThread(ask)
        found = yield deferToThread(take)
        self.assertEqual([10, 6, 11, 6, 12, 6], [message[4] for message in found])
        for number, (reader, _) in enumerate(pipes):
            self.assertEqual(b"%d" % number, os.read(reader, 5))
            self.assertEqual(b"", os.read(reader, 5))
            os.close(reader)

    @inlineCallbacks
    def test_promised_and_not_sent(self) -> Any:
        """The client is disconnected: what follows cannot be told apart."""
        data = pack_call(NUMBER, 1, CREATE.number, 5, CREATE.args(DOMAIN, 0).pack(), descriptors=2)
        self.socket.sendall(data + b"\0\0")

        def read_all() -> bytes:
            found = b""
            while part := self.socket.recv(4096):
                found += part
            return found

        found = yield deferToThread(read_all)
        self.assertIn(b"descriptors were to come", found)

    def test_identity(self) -> None:
        """The kernel says who it is."""
        (client,) = self.daemon.clients
        identity = client.identity
        self.assertEqual((os.getuid(), os.getgid(), os.getpid()), (identity.uid, identity.gid, identity.pid))


class _Watch:
    """Waits for a descriptor to be readable and reads it."""

    def __init__(self, descriptor: int, then: Deferred[bytes]) -> None:
        self.descriptor = descriptor
        self.then = then

    def fileno(self) -> int:
        return self.descriptor

    def doRead(self) -> None:
        reactor.removeReader(self)
        self.then.callback(os.read(self.descriptor, 5))

    def logPrefix(self) -> str:
        return "watch"

    def connectionLost(self, reason: object) -> None:
        """The reactor's word for: there is nobody at the other end."""
        self.doRead()
